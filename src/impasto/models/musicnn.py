"""musicnn, which says of music what people call it: 50 tags such as "guitar", "choir" or "techno".

In numpy: three seconds of sound take some hundredths of a second, and nothing waits for torch.

Paper: arXiv:1909.06654 (musicnn), arXiv:1711.02520 (the network: filters as high as timbres and as long as rhythms).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 16000
"""Samples a second that the network heard."""

TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano"),
    *("ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing"),
    *("vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop"),
    *("soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice"),
    *("female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral"),
)
"""Of MagnaTagATune, in the network's order."""

_WINDOW, _HOP, _BANDS = 512, 256, 96
_PIECE = 187  # frames: three seconds, as in training
_MOST_PIECES = 20  # of a recording, spread evenly: a minute tells what it is, and takes two seconds
_EPSILON = 1e-3  # of TensorFlow's batch normalisation


class MusicTagger:
    """The network.

    Args:
        tensors: its weights, named as published.
    """

    def __init__(self, tensors: Mapping[str, Floats]) -> None:
        self._tensors = tensors

    @classmethod
    def read(cls, path: Path) -> MusicTagger:
        """Load a .safetensors file."""
        from safetensors.numpy import load_file

        return cls(load_file(path))

    def __call__(self, samples: Floats) -> Floats:
        """How likely each of `TAGS` is, from 0 to 1: the mean over pieces of three seconds.

        Args:
            samples: `(N,)` in [-1, 1], `RATE` of them a second; what is shorter than a piece is repeated.
        """
        starts = np.arange(0, max(len(samples) // _HOP + 1 - _PIECE, 0) + 1, _PIECE)
        if len(starts) > _MOST_PIECES:
            starts = starts[np.linspace(0, len(starts) - 1, _MOST_PIECES).round().astype(int)]
        framed = np.pad(samples, _WINDOW // 2, mode="reflect")
        pieces = [framed[start * _HOP : (start + _PIECE - 1) * _HOP + _WINDOW] for start in starts]
        mean: Floats = np.mean([self.of_piece(_spectrogram(piece)) for piece in pieces], axis=0)
        return mean

    def of_piece(self, loudness: Floats) -> Floats:
        """The same of one piece; loudness: `(T, 96)`, logarithmic."""
        heard = self._norm(loudness[..., None], 0)[..., 0]
        wide = np.pad(heard, ((3, 3), (0, 0)))
        front = [self._convolved(sliding_window_view(wide, self._kernel(layer).shape[:2]), layer) for layer in (0, 1)]
        for layer in (2, 3, 4):
            length = len(self._kernel(layer))
            padded = np.pad(heard, (((length - 1) // 2, length // 2), (0, 0)))  # as TensorFlow's "same"
            front.append(self._convolved(sliding_window_view(padded, (length, 1)), layer))
        state = np.concatenate([one.max(1) for one in front], 1)  # (T, 561)
        layers = [state]
        for layer in (5, 6, 7):
            padded = np.pad(state, ((3, 3), (0, 0)))
            found = self._convolved(sliding_window_view(padded, (7, state.shape[1])), layer)[:, 0]
            state = found if layer == 5 else found + state
            layers.append(state)
        dense = np.concatenate(layers, 1)
        pooled = self._norm(np.stack((dense.max(0), dense.mean(0)), 1).reshape(-1), 9)
        hidden = self._norm(np.maximum(self._dense(pooled, "dense"), 0), 10)
        likely: Floats = (1 / (1 + np.exp(-self._dense(hidden, "dense_1")))).astype(np.float32)
        return likely

    def _convolved(self, windows: NDArray[Any], layer: int) -> Floats:
        """A convolution, ReLU and norm; windows: `(T, places, kh, kw)`, the result `(T, places, filters)`."""
        kernel = self._kernel(layer)
        flat = windows.reshape(-1, windows.shape[2] * windows.shape[3])
        found = flat @ kernel.reshape(flat.shape[1], -1) + self._tensors[f"{_numbered('conv2d', layer)}/bias"]
        return self._norm(np.maximum(found, 0), layer + 1).reshape(*windows.shape[:2], -1)

    def _kernel(self, layer: int) -> Floats:
        return self._tensors[f"{_numbered('conv2d', layer)}/kernel"]  # (kh, kw, 1, filters)

    def _dense(self, values: Floats, name: str) -> Floats:
        result: Floats = values @ self._tensors[f"{name}/kernel"] + self._tensors[f"{name}/bias"]
        return result

    def _norm(self, values: Floats, number: int) -> Floats:
        name = _numbered("batch_normalization", number)
        mean, variance, gamma, beta = (
            self._tensors[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        scale = gamma / np.sqrt(variance + np.float32(_EPSILON))
        result: Floats = values * scale + (beta - mean * scale)
        return result


def _numbered(kind: str, number: int) -> str:
    """TensorFlow's name of a layer: the first has no number."""
    return f"{kind}_{number}" if number else kind


def _spectrogram(samples: Floats) -> Floats:
    """Loudness `(_PIECE, 96)` of mel bands: log10(10,000 power + 1).

    The authors round powers to float16 before, in which what is loud overflows; here it does not.
    """
    short = (_PIECE - 1) * _HOP + _WINDOW
    samples = np.resize(samples, short) if len(samples) < short else samples
    frames = sliding_window_view(samples, _WINDOW)[::_HOP]
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    loudness: Floats = np.log10(10000 * (power @ _bands().T) + 1).astype(np.float32)
    return loudness


@lru_cache(maxsize=1)
def _bands() -> NDArray[np.float64]:
    """Triangles `(96, 257)`, evenly spaced in mels from 0 to 8 kHz, each of area 1 over its frequencies.

    Source: Slaney 1998, Auditory Toolbox: mels are linear below 1 kHz and logarithmic above.
    """
    step, corner = 200 / 3, 15.0  # Hz a mel below, and the mel that is 1 kHz
    mels = np.linspace(0, corner + 27 * np.log(RATE / 2000) / np.log(6.4), _BANDS + 2)
    edges = np.where(mels < corner, mels * step, 1000 * np.exp((mels - corner) * np.log(6.4) / 27))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    places = np.linspace(0, RATE / 2, _WINDOW // 2 + 1)
    rising, falling = (places - low) / (middle - low), (high - places) / (high - middle)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return triangles
