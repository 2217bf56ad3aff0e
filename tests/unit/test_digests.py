"""Digests by content: a film goes on only with the styles and settings that it began with."""

import os
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from impasto.engine.digests import content_digest
from impasto.engine.request import Request
from impasto.models import checkpoint
from impasto.video.resume import fingerprint
from impasto.video.settings import Film
from tiny import noise, tiny_arbitrary, tiny_encoder_weights, tiny_network


def pixels(seed=0, side=64):
    return np.ascontiguousarray(noise(side, side, seed=seed)[0].permute(1, 2, 0).numpy())


def test_arrays_that_differ_in_the_middle_differ():
    """Their printed forms are the same: numpy leaves the middle out."""
    one = pixels()
    other = one.copy()
    other[32, 32] = 1 - other[32, 32]
    assert str(one) == str(other)
    assert content_digest([one]) != content_digest([other])
    assert content_digest([one]) == content_digest([one.copy()])


def test_equal_pictures_at_other_addresses_are_equal():
    image = Image.fromarray((pixels() * 255).astype(np.uint8))
    assert content_digest((image, 2.0)) == content_digest((image.copy(), 2.0))
    assert content_digest((image, 2.0)) != content_digest((image, 1.0))


def test_an_edited_file_is_seen_even_with_its_old_time_and_size(tmp_path):
    path = tmp_path / "style.bin"
    path.write_bytes(b"aaaa")
    before, about = content_digest(path), path.stat()
    path.write_bytes(b"aaba")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert content_digest(path) != before


def test_a_film_goes_on_only_with_the_styles_it_began_with(tmp_path):
    source = tmp_path / "clip.mkv"
    source.write_bytes(b"film")
    request = Request(knobs={"strength": 0.5})
    first = fingerprint(source, [pixels()], request, Film())
    assert fingerprint(source, [pixels()], request, Film()) == first
    for changed in (
        fingerprint(source, [pixels(1)], request, Film()),
        fingerprint(source, [pixels()], Request(knobs={"strength": 0.6}), Film()),
        fingerprint(source, [pixels()], request, Film(crf=20)),
    ):
        assert changed != first


def test_names_too_long_for_a_file_are_words():
    assert content_digest("x" * 5000) != content_digest("y" * 5000)


@pytest.mark.parametrize("kind", ["arbitrary", "encoder", "one style"])
def test_films_take_settings_and_styles_that_are_files_of_networks(tmp_path, kind):
    """A network for any painting has no style of its own, an encoder is none: neither is to be looked up as a style."""
    source, path = tmp_path / "clip.mkv", tmp_path / "net.safetensors"
    source.write_bytes(b"film")
    tensors = {"arbitrary": tiny_arbitrary, "encoder": tiny_encoder_weights, "one style": tiny_network}[kind]()
    styles, knobs = {
        "arbitrary": ([pixels()], {"network": str(path)}),
        "encoder": ([pixels()], {"encoder": f"vgg19:{path}"}),
        "one style": (f"{path}:s3", {}),
    }[kind]

    def now(factor=1):
        checkpoint.write(path, {name: tensor * factor for name, tensor in tensors.items()}, {"kind": kind})
        return fingerprint(source, styles, Request(knobs=knobs), Film())

    first = now()
    assert now() == first
    assert now(0.5) != first


def test_numbers_count_by_their_values():
    for same in (np.float32(2), np.float64(2), np.int64(2), 2, Fraction(2)):
        assert content_digest([("a", same)]) == content_digest([("a", 2.0)])
    digests = {content_digest([("a", other)]) for other in (2, 2.5, Fraction(5, 3), -2, 2**60, 2**60 + 1, None)}
    assert len(digests) == 7
