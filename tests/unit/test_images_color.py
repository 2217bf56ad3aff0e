"""Colour profiles: matrix and grey ones in float at 8 and 16 bits, tables through LittleCMS, and back on writing."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from impasto import images
from impasto.images import _png

# D50-adapted primaries, columns red, green, blue (the profiles that Apple and Adobe publish)
P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
ADOBE_RGB = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(value):
    return struct.pack(">i", round(value * 65536))


def parametric(*numbers):
    kind = {1: 0, 3: 1, 4: 2, 5: 3, 7: 4}[len(numbers)]
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(fixed, numbers))


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def table(values):
    codes = np.rint(np.asarray(values) * 65535).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + codes + b"\0" * (-len(codes) % 4)


def profile(tags, *, space=b"RGB ", connection=b"XYZ "):
    """An ICC profile of version 2.4 for a display."""
    offset, rows, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        rows += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space, connection)
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + rows + body


def xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))


def description():
    return b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78 + b"\0"


def matrix_profile(primaries, curve):
    columns = list(zip(*primaries, strict=True))
    tags = {b"desc": description(), b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    for letter, column in zip("rgb", columns, strict=True):
        tags[f"{letter}XYZ".encode()] = xyz(column)
        tags[f"{letter}TRC".encode()] = curve
    return profile(tags)


def grey_profile(curve, connection=b"XYZ "):
    return profile(
        {b"desc": description(), b"wtpt": xyz((0.9642, 1, 0.8249)), b"kTRC": curve},
        space=b"GRAY",
        connection=connection,
    )


def with_profile(codes, icc, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(codes).save(stream, kind, icc_profile=icc)
    return stream.getvalue()


def by_littlecms(codes, icc):
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(codes), source, ImageCms.createProfile("sRGB"), 1))


def inside_srgb(rng, height=40, width=50):
    """8-bit codes of muted colours, which lie within every gamut here."""
    return (90 + rng.integers(0, 90, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize("primaries", [P3, ADOBE_RGB])
@pytest.mark.parametrize(
    "curve",
    [
        parametric(*SRGB_CURVE),
        parametric(2.2),
        gamma(2.19921875),
        table(np.linspace(0, 1, 1024) ** 1.8),
        parametric(2.2, 0.9, 0.1),
        parametric(2.0, 0.9, 0.05, 0.02),
        parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0),
    ],
)
def test_matrix_profiles_agree_with_littlecms(primaries, curve):
    icc = matrix_profile(primaries, curve)
    codes = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    ours = np.rint(images.read(with_profile(codes, icc)).pixels * 255)
    difference = np.abs(ours - by_littlecms(codes, icc))
    assert difference.mean() < 0.2
    assert np.quantile(difference, 0.995) <= 2  # LittleCMS rounds its 8-bit tables in the shadows


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_wide_profile_comes_back(tmp_path, kind):
    icc = matrix_profile(P3, parametric(*SRGB_CURVE))
    codes = inside_srgb(np.random.default_rng(1))
    if kind == "WEBP":  # lossy: only flat colours come back
        codes[:] = (120, 150, 100)
    picture = images.read(with_profile(codes, icc))
    assert np.abs(np.rint(picture.pixels * 255) - codes).max() > 1  # it was converted
    path = tmp_path / f"out.{kind.lower()}"
    images.write(picture, path, quality=100 if kind == "WEBP" else None)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == icc
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - codes)
    assert difference.max() == 0 if kind != "WEBP" else difference.max() <= 3


def test_a_wide_profile_comes_back_in_sixteen_bits(tmp_path):
    icc = matrix_profile(ADOBE_RGB, gamma(2.2))
    codes = (20_000 + np.random.default_rng(2).integers(0, 20_000, (20, 30, 3))).astype(np.uint16)
    for extension in (".png", ".tiff"):
        first, second = tmp_path / f"a{extension}", tmp_path / f"b{extension}"
        tagged = replace(images.read(codes), origin=images.Origin(bits=16))
        images.write(tagged, first)
        images.write(replace(tagged, origin=images.Origin(bits=16, icc=icc)), first)
        stored = np.rint(images.read(first).pixels * 65535)
        images.write(images.read(first), second)
        again = images.read(second)
        assert again.origin.icc == icc
        assert again.origin.bits == 16
        assert np.abs(stored - codes).max() <= 2
        assert np.abs(np.rint(again.pixels * 65535) - codes).max() <= 2


@pytest.mark.parametrize(
    "icc",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        matrix_profile(SRGB, parametric(*SRGB_CURVE)),
    ],
)
def test_srgb_passes_unchanged_and_keeps_its_profile(tmp_path, icc):
    codes = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    picture = images.read(with_profile(codes, icc))
    assert (np.rint(picture.pixels * 255) == codes).all()
    images.write(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == codes).all()
        assert image.info["icc_profile"] == icc


def test_grey_profiles(tmp_path):
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = images.read(with_profile(codes, grey_profile(gamma(1.0))))
    light = codes / 255
    wanted = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    assert np.abs(picture.pixels - wanted[..., None]).max() < 1e-5
    notes = images.write(picture, tmp_path / "a.png")
    assert "written as sRGB" in notes[0]
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
    lab = images.read(with_profile(codes, grey_profile(gamma(1.0), b"Lab ")))
    assert abs(lab.pixels[7, 15, 0] - 0.4663) < 0.01  # L* of 50 is sRGB 119


def test_a_profile_of_tables_goes_through_littlecms(tmp_path):
    """A Lab-to-Lab "profile" is a table; on RGB pixels it does not fit, and so the pixels are taken as sRGB."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    codes = inside_srgb(np.random.default_rng(3))
    picture = images.read(with_profile(codes, icc))
    assert (np.rint(picture.pixels * 255) == codes).all()
    assert "does not fit" in picture.notes[0]
    notes = images.write(picture, tmp_path / "a.png")
    assert "written as sRGB" in notes[0]


def test_a_matrix_profile_with_tables_is_left_to_littlecms():
    icc = matrix_profile(P3, gamma(2.2))
    columns = list(zip(*P3, strict=True))
    tags = {b"desc": description(), b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"A2B0": lut8()}
    for letter, column in zip("rgb", columns, strict=True):
        tags[f"{letter}XYZ".encode()], tags[f"{letter}TRC".encode()] = xyz(column), gamma(2.2)
    both = profile(tags, connection=b"Lab ")
    codes = inside_srgb(np.random.default_rng(4))
    assert (images.read(with_profile(codes, both)).pixels != images.read(with_profile(codes, icc)).pixels).any()
    ours = np.rint(images.read(with_profile(codes, both)).pixels * 255)
    assert np.abs(ours - by_littlecms(codes, both)).mean() < 12  # the intent differs, the table is the same
    stream = io.BytesIO()
    images.write(images.read(codes.astype(np.uint16) * 257), stream, format="PNG")
    deep = images.read(_png.with_chunks(stream.getvalue(), [_png.profile_chunk(both)]))
    assert deep.origin.bits == 16
    assert deep.notes == ("its colour profile is a table, which is applied at 8 bits",)
    assert (np.rint(deep.pixels * 255) == ours).all()


def lut8():
    """A lut8Type that maps RGB to Lab by a 2-point grid: L from green, a and b near neutral."""
    ramp = bytes(range(256))
    grid = b"".join(bytes((255 * green, 128, 128)) for _ in (0, 1) for green in (0, 1) for _ in (0, 1))
    matrix = b"".join(fixed(float(row == column)) for row in range(3) for column in range(3))
    return b"mft1\0\0\0\0" + bytes((3, 3, 2, 0)) + matrix + ramp * 3 + grid + ramp * 3


@pytest.mark.parametrize("damage", range(30))
def test_damaged_profiles_never_stop_a_picture(damage):
    random = np.random.default_rng(damage)
    icc = bytearray(matrix_profile(P3, parametric(*SRGB_CURVE)))
    for place in random.integers(128, len(icc), 8):
        icc[place] = random.integers(0, 256)
    codes = inside_srgb(random, 6, 6)
    picture = images.read(with_profile(codes, bytes(icc)))
    assert np.isfinite(picture.pixels).all()
    images.write(picture, io.BytesIO())
    images.write(picture, io.BytesIO(), format="PNG")
