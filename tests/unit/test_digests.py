"""Digests by content: a film goes on only with the styles and settings that it began with."""

import os

import numpy as np
from PIL import Image

from impasto.engine.digests import content_digest
from impasto.engine.request import Request
from impasto.video.resume import fingerprint
from impasto.video.settings import Film
from tiny import noise


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
