"""The network that tags music: against the same layers in PyTorch, written apart, on seeded weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from impasto.models import musicnn
from impasto.models.musicnn import RATE, TAGS, MusicTagger

KERNELS = ((7, 38), (7, 67), (128, 1), (64, 1), (32, 1))
FILTERS = (6, 5, 4, 3, 2, 8, 8, 8)


def seeded_weights():
    """Narrow, but with the published heights, lengths and names."""
    rng = np.random.default_rng(3)
    width = sum(FILTERS[:5])
    kernels = [*KERNELS, (7, width), (7, 8), (7, 8)]
    tensors = {}
    for layer, (kernel, filters) in enumerate(zip(kernels, FILTERS, strict=True)):
        name = f"conv2d_{layer}" if layer else "conv2d"
        tensors[f"{name}/kernel"] = rng.normal(0, 1 / np.sqrt(kernel[0] * kernel[1]), (*kernel, 1, filters))
        tensors[f"{name}/bias"] = rng.normal(0, 0.1, filters)
    pooled = 2 * (width + 24)
    for number, size in enumerate((1, *FILTERS, pooled, 12)):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        tensors[f"{name}/gamma"] = rng.normal(0, 1, size)  # of both signs: a norm may turn the order round
        tensors[f"{name}/beta"] = rng.normal(0, 0.3, size)
        tensors[f"{name}/moving_mean"] = rng.normal(0, 0.3, size)
        tensors[f"{name}/moving_variance"] = rng.uniform(0.3, 2, size)
    for name, shape in (("dense", (pooled, 12)), ("dense_1", (12, len(TAGS)))):
        tensors[f"{name}/kernel"], tensors[f"{name}/bias"] = rng.normal(0, 0.3, shape), rng.normal(0, 0.3, shape[1])
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def reference(tensors, loudness):
    """The paper's figure, layer by layer, channels first."""
    values = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}

    def norm(state, number):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        parts = (values[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta"))
        return functional.batch_norm(state, *parts, eps=1e-3)

    def convolved(state, layer, pad):
        name = f"conv2d_{layer}" if layer else "conv2d"
        kernel = values[f"{name}/kernel"].permute(3, 2, 0, 1)
        found = functional.conv2d(functional.pad(state, (0, 0, *pad)), kernel, values[f"{name}/bias"])
        return norm(functional.relu(found), layer + 1)

    heard = norm(torch.from_numpy(loudness)[None, None], 0)
    pads = [(3, 3), (3, 3), *(((length - 1) // 2, length // 2) for length in (128, 64, 32))]
    front = torch.cat([convolved(heard, layer, pad).amax(3) for layer, pad in enumerate(pads)], 1)
    first = convolved(front.transpose(1, 2)[:, None], 5, (3, 3))[..., 0]
    second = first + convolved(first.transpose(1, 2)[:, None], 6, (3, 3))[..., 0]
    third = second + convolved(second.transpose(1, 2)[:, None], 7, (3, 3))[..., 0]
    dense = torch.cat((front, first, second, third), 1)
    pooled = torch.stack((dense.amax(2), dense.mean(2)), 2).reshape(1, -1)
    hidden = functional.relu(norm(pooled, 9) @ values["dense/kernel"] + values["dense/bias"])
    return torch.sigmoid(norm(hidden, 10) @ values["dense_1/kernel"] + values["dense_1/bias"])[0].numpy()


def slow_loudness(samples):
    """One window after the other, by a sum of cosines and sines, and each band by its two slopes."""
    step = np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(8) / step, 98)
    edges = [mel * 200 / 3 if mel < 15 else 1000 * np.exp((mel - 15) * step) for mel in mels]
    places = np.arange(257) * RATE / 512
    turns = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    rows = []
    for start in range(0, len(samples) - 511, 256):
        power = np.abs(turns @ (samples[start : start + 512] * hann)) ** 2
        bands = [
            sum(power * np.interp(places, edges[band : band + 3], [0, 2 / (edges[band + 2] - edges[band]), 0]))
            for band in range(96)
        ]
        rows.append(np.log10(1 + 10000 * np.array(bands)))
    return np.array(rows)


def test_the_network_is_the_papers():
    tensors = seeded_weights()
    loudness = np.random.default_rng(0).uniform(0, 4, (187, 96)).astype(np.float32)
    own, expected = MusicTagger(tensors).of_piece(loudness), reference(tensors, loudness)
    assert own.shape == (len(TAGS),)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(own, expected, atol=2e-5)


def test_loudness_of_bands_is_as_in_a_slow_reference():
    samples = np.random.default_rng(1).normal(0, 0.3, 186 * 256 + 512).astype(np.float32)
    samples *= np.linspace(0, 1, len(samples), dtype=np.float32)
    own = musicnn._spectrogram(samples)
    assert own.shape == (187, 96)
    np.testing.assert_allclose(own[::31], slow_loudness(samples)[::31], atol=1e-4)


@pytest.mark.parametrize(("seconds", "pieces"), [(1, 1), (2.9, 1), (3, 1), (6, 2), (59, 19), (600, 20)])
def test_a_recording_is_heard_in_pieces_of_three_seconds_twenty_at_most(monkeypatch, seconds, pieces):
    seen = []
    monkeypatch.setattr(MusicTagger, "of_piece", lambda _self, piece: seen.append(piece) or np.zeros(len(TAGS)))
    samples = np.linspace(0, 1, round(seconds * RATE), dtype=np.float32)
    assert MusicTagger({})(samples).shape == (len(TAGS),)
    assert [piece.shape for piece in seen] == [(187, 96)] * pieces


def test_there_are_fifty_tags_each_once():
    assert len(set(TAGS)) == len(TAGS) == 50
