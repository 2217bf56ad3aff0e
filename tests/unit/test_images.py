"""Reading pictures: every kind of file and source, and every kind of bad input."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from impasto import images
from impasto.errors import InputError


def random_codes(*shape, dtype=np.uint8, seed=0):
    """Noise; all of it is visible where there is alpha."""
    top = np.iinfo(dtype).max
    codes = np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)
    if shape[2:] in ((2,), (4,)):
        codes[..., -1] |= top // 16 + 1
    return codes


def encoded(image, kind, **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, kind, rows, *, extra=b"", late=b""):
    """A PNG from raw big-endian rows; kind: 0 grey, 2 RGB, 4 grey with alpha, 6 RGBA."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + late + png_chunk(b"IEND", b"")


def png16(codes, kind, **settings):
    height, width = codes.shape[:2]
    return png(width, height, 16, kind, [row.astype(">u2").tobytes() for row in codes], **settings)


def as_codes(picture, bits=8):
    return np.rint(picture.pixels * (2**bits - 1)).astype(int)


def refused(source, *parts, **settings):
    """The InputError that reading raises; its two lines are checked for shape and for `parts`."""
    with pytest.raises(InputError) as caught:
        images.read(source, **settings)
    error = caught.value
    for line in (error.message, error.hint):
        assert line
        assert "\n" not in line
        assert not line.endswith(".")
    for part in parts:
        assert part in f"{error.message} | {error.hint}"
    return error


# ---- sources -------------------------------------------------------------------------------------------------------


def test_one_picture_by_every_kind_of_source(tmp_path):
    codes = random_codes(5, 7, 3)
    data = encoded(Image.fromarray(codes), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data), Image.fromarray(codes), codes, codes.astype(float) / 255):
        picture = images.read(source)
        assert picture.pixels.dtype == np.float32
        assert (picture.width, picture.height) == (7, 5)
        assert picture.alpha is None
        assert (as_codes(picture) == codes).all()
    assert images.read(path).origin.path == path
    assert images.read(path).origin.format == "PNG"


def test_tensors():
    import torch

    codes = random_codes(5, 7, 3)
    tensor = torch.from_numpy(codes)
    for source in (
        tensor,
        tensor.permute(2, 0, 1),
        tensor.permute(2, 0, 1)[None],
        tensor.permute(2, 0, 1).float() / 255,
        (tensor.permute(2, 0, 1).float() / 255).requires_grad_(),
    ):
        assert (as_codes(images.read(source)) == codes).all()
    half = images.read((tensor.permute(2, 0, 1).float() / 255).bfloat16())
    assert np.abs(half.pixels - codes / 255).max() < 0.005
    refused(tensor.permute(2, 0, 1)[None].repeat(2, 1, 1, 1), "shape")


def test_arrays_with_alpha_grey_and_sixteen_bits():
    rgba = random_codes(4, 6, 4, dtype=np.uint16)
    picture = images.read(rgba)
    assert picture.origin.bits == 16
    assert (as_codes(picture, 16) == rgba[..., :3]).all()
    assert (np.rint(picture.alpha * 65535) == rgba[..., 3]).all()
    for grey in (random_codes(4, 6), random_codes(4, 6, 1)):
        picture = images.read(grey)
        assert picture.origin.mode == "grey"
        assert (as_codes(picture) == grey.reshape(4, 6, 1)).all()


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), np.inf), "NaN or infinity"),
        (np.full((4, 4, 3), 200.0), "divide it by 255"),
        (np.full((4, 4, 3), -1.0), "[0, 1]"),
        (np.zeros((3, 9, 9)), "shape"),
        (np.zeros(5), "shape"),
        (np.zeros((0, 4, 3)), "no pixels"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
    ],
)
def test_arrays_that_are_no_pictures(array, part):
    refused(array, part)


def test_reading_does_not_share_memory_with_an_array():
    array = np.zeros((4, 4, 3), np.float32)
    picture = images.read(array)
    array[:] = 1
    assert picture.pixels.max() == 0


@pytest.mark.process
def test_importing_loads_no_torch():
    code = "import sys, impasto.images; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_file_object_may_be_probed_and_then_read():
    stream = io.BytesIO(encoded(Image.fromarray(random_codes(5, 7, 3)), "PNG"))
    assert images.probe(stream).width == images.read(stream).width == 7
    refused(io.StringIO("text"), "binary mode")
    refused(None, "NoneType")


def test_tensors_come_and_go_as_copies():
    for shape in ((5, 7, 3), (1, 1, 3)):
        pixels = random_codes(*shape).astype(np.float32) / 255
        tensor = images.to_tensor(pixels)
        assert tensor.shape == (1, 3, *shape[:2])
        assert (images.from_tensor(tensor) == pixels).all()
        tensor.zero_()
        assert pixels.max() > 0


# ---- orientation ---------------------------------------------------------------------------------------------------

TURN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_orientation_is_applied_and_reset(tmp_path, kind, orientation):
    codes = np.kron(random_codes(2, 3, 3), np.ones((16, 16, 1), np.uint8))
    codes[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}}
    data = encoded(Image.fromarray(codes), kind, exif=exif, **lossless.get(kind, {}))
    wanted = TURN[orientation](codes)
    picture, header = images.read(data), images.probe(data)
    assert (picture.height, picture.width) == wanted.shape[:2] == (header.height, header.width)
    error = np.abs(as_codes(picture) - wanted)
    assert error.max() == 0 if kind not in ("JPEG", "AVIF") else error.mean() < 4
    path = tmp_path / f"out.{kind.lower()}"
    images.write(picture, path)
    with Image.open(path) as again:
        assert again.getexif().get(0x0112, 1) == 1
        assert again.size == picture.pixels.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_sixteen_bits(orientation):
    codes = random_codes(4, 6, 3, dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png16(codes, 2, extra=png_chunk(b"eXIf", exif.tobytes()[6:]))
    assert (as_codes(images.read(data), 16) == TURN[orientation](codes)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_behind_the_pixels_of_a_png(dtype):
    codes = random_codes(4, 6, 3, dtype=dtype)
    exif = Image.Exif()
    exif[0x0112] = 6
    bits = codes.itemsize * 8
    rows = [row.astype(codes.dtype.newbyteorder(">")).tobytes() for row in codes]
    data = png(6, 4, bits, 2, rows, late=png_chunk(b"eXIf", exif.tobytes()[6:]))
    assert (as_codes(images.read(data), bits) == np.rot90(codes, -1)).all()


def test_probing_decodes_nothing(monkeypatch):
    data = encoded(Image.fromarray(random_codes(4, 6, 3)), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert images.probe(data).width == 6


def test_alpha_turns_with_the_picture():
    codes = random_codes(4, 6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = images.read(encoded(Image.fromarray(codes), "PNG", exif=exif))
    assert (np.rint(picture.alpha * 255) == np.rot90(codes[..., 3], -1)).all()


# ---- kinds of pixels -----------------------------------------------------------------------------------------------


def test_grey_and_one_bit():
    grey = random_codes(5, 6)
    picture = images.read(encoded(Image.fromarray(grey), "PNG"))
    assert picture.origin.mode == "grey"
    assert (as_codes(picture) == grey[..., None]).all()
    bits = Image.fromarray(grey).convert("1")
    picture = images.read(encoded(bits, "PNG"))
    assert set(np.unique(picture.pixels)) == {0.0, 1.0}
    assert (picture.pixels[..., 0] == np.asarray(bits)).all()


def test_grey_with_alpha():
    codes = random_codes(5, 6, 2)
    picture = images.read(encoded(Image.frombytes("LA", (6, 5), codes.tobytes()), "PNG"))
    assert (as_codes(picture) == codes[..., :1]).all()
    assert (np.rint(picture.alpha * 255) == codes[..., 1]).all()


def test_palette_with_and_without_transparency():
    palette = Image.fromarray(random_codes(8, 8, 3)).quantize(16)
    wanted, visible = np.asarray(palette.convert("RGB")), np.asarray(palette) > 0
    picture = images.read(encoded(palette, "PNG"))
    assert picture.origin.mode == "palette"
    assert picture.alpha is None
    assert (as_codes(picture) == wanted).all()
    picture = images.read(encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))))
    assert (np.rint(picture.alpha * 255) == np.asarray(palette) * 16).all()
    assert (as_codes(picture) == wanted)[visible].all()


def test_one_transparent_colour_in_8_and_16_bits():
    codes = random_codes(4, 5, 3)
    data = encoded(Image.fromarray(codes), "PNG", transparency=tuple(int(v) for v in codes[1, 2]))
    assert np.argwhere(images.read(data).alpha == 0).tolist() == [[1, 2]]
    deep = random_codes(4, 5, 3, dtype=np.uint16)
    data = png16(deep, 2, extra=png_chunk(b"tRNS", deep[2, 3].astype(">u2").tobytes()))
    picture = images.read(data)
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3]]
    assert np.argwhere((as_codes(picture, 16) != deep).any(2)).tolist() == [[2, 3]]


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_png_of_every_kind(kind, channels):
    codes = random_codes(5, 7, channels, dtype=np.uint16)
    data = png16(codes, kind)
    picture = images.read(data)
    assert picture.origin.bits == 16 == images.probe(data).bits
    color = codes[..., :1] if channels < 3 else codes[..., :3]
    assert (as_codes(picture, 16) == color).all()
    assert picture.origin.mode == ("grey" if channels < 3 else "rgb")
    assert (picture.alpha is not None) == (channels in (2, 4))
    if picture.alpha is not None:
        assert (np.rint(picture.alpha * 65535) == codes[..., -1]).all()


def test_sixteen_bit_tiff_by_opencv_and_pillow():
    codes = random_codes(9, 7, 3, dtype=np.uint16)
    data = cv2.imencode(".tiff", codes[..., ::-1].copy())[1].tobytes()
    assert (as_codes(images.read(data), 16) == codes).all()
    data = encoded(Image.fromarray(codes[..., 0]), "TIFF")
    picture = images.read(data)
    assert picture.origin.bits == 16
    assert (as_codes(picture, 16) == codes[..., :1]).all()


def test_a_pil_image_of_sixteen_bits():
    codes = random_codes(4, 5, dtype=np.uint16)
    picture = images.read(Image.fromarray(codes))
    assert picture.origin.bits == 16
    assert (as_codes(picture, 16) == codes[..., None]).all()


def test_premultiplied_alpha_of_a_tiff_is_divided_out(tmp_path):
    straight = random_codes(6, 6, 4, dtype=np.uint16)
    straight[..., 3] = np.maximum(straight[..., 3], 2100)
    path = tmp_path / "a.tiff"
    premultiplied = np.rint(straight[..., :3] * (straight[..., 3:] / 65535.0)).astype(np.uint16)
    images.write(images.read(np.dstack([premultiplied, straight[..., 3]])), path)
    data = bytearray(path.read_bytes())
    entry = data.find(struct.pack("<HHI", 338, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 1)
    assert np.abs(as_codes(images.read(bytes(data)), 16) - straight[..., :3]).max() <= 18


def planar_tiff(codes, **settings):
    stream = io.BytesIO()
    extra = {"extrasamples": ["unassalpha"]} if codes.shape[2] == 4 else {}
    planes = np.ascontiguousarray(np.moveaxis(codes, -1, 0))
    tifffile.imwrite(stream, planes, photometric="rgb", planarconfig="separate", **extra, **settings)
    return stream.getvalue()


@pytest.mark.parametrize(
    "settings", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}, {"byteorder": ">"}]
)
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_planes_of_a_tiff(channels, settings):
    codes = random_codes(21, 34, channels, dtype=np.uint16)
    picture = images.read(planar_tiff(codes, **settings))
    assert (as_codes(picture, 16) == codes[..., :3]).all()
    assert (picture.alpha is None) == (channels == 3)


def test_planes_that_inflate_to_more_than_their_size_are_refused():
    data = planar_tiff(np.zeros((4, 4, 3), np.uint16), compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        place = page.tags["StripOffsets"].valueoffset, page.tags["StripByteCounts"].valueoffset
        widths = page.tags["StripOffsets"].dtype, page.tags["StripByteCounts"].dtype
    bomb = zlib.compress(bytes(50_000_000))
    patched = bytearray(data + bomb)
    for at, kind, value in zip(place, widths, (len(data), len(bomb)), strict=True):
        struct.pack_into("<I" if kind == 4 else "<H", patched, at, value)
    tracemalloc.start()
    refused(bytes(patched), "damaged")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_planes_by_an_unusual_compression_are_refused():
    data = bytearray(planar_tiff(np.zeros((4, 4, 3), np.uint16), compression="zlib"))
    entry = data.find(struct.pack("<HHI", 259, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 5)
    refused(bytes(data), "LZW")


def test_floats_in_a_tiff_are_refused():
    data = encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    refused(data, "32-bit floats")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 4, 3), np.float32), photometric="rgb")
    refused(stream.getvalue(), "3 channels of float32")


def test_cmyk_jpeg_is_not_inverted():
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, 8:] = (0, 255, 255, 0)  # magenta and yellow make red; the left half is bare paper
    data = encoded(Image.frombytes("CMYK", (16, 16), inks.tobytes()), "JPEG", quality=95)
    picture = images.read(data)
    assert picture.origin.mode == "cmyk"
    assert "CMYK" in picture.notes[0]
    assert picture.pixels[4, 2].min() > 0.95
    assert picture.pixels[4, 13, 0] > 0.8
    assert picture.pixels[4, 13, 1:].max() < 0.2
    # without Adobe's marker the same bytes mean the opposite: 255 is then full ink
    marker = data.index(b"\xff\xee")
    bare = data[:marker] + data[marker + 2 + struct.unpack_from(">H", data, marker + 2)[0] :]
    assert images.read(bare).pixels[4, 2].max() < 0.1


def test_lab_tiff():
    from PIL import ImageCms

    codes = np.full((8, 8, 3), (200, 40, 40), np.uint8)
    lab = ImageCms.profileToProfile(
        Image.fromarray(codes), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    picture = images.read(encoded(lab, "TIFF"))
    assert np.abs(as_codes(picture) - codes).max() <= 3


def test_heic_and_avif():
    import pillow_heif

    codes = np.kron(random_codes(2, 2, 3), np.ones((32, 32, 1), np.uint8))
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(codes)).save(stream, quality=95)
    picture = images.read(stream.getvalue())
    assert picture.origin.format == "HEIF"
    assert np.abs(as_codes(picture) - codes).mean() < 12
    picture = images.read(encoded(Image.fromarray(codes), "AVIF", quality=95))
    assert picture.origin.format == "AVIF"
    assert np.abs(as_codes(picture) - codes).mean() < 12


def test_a_turned_heic_is_turned_once():
    import pillow_heif

    codes = np.zeros((64, 128, 3), np.uint8)
    codes[:, :64, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(codes)).save(stream, quality=95, exif=exif.tobytes())
    picture, header = images.read(stream.getvalue()), images.probe(stream.getvalue())
    assert (picture.width, picture.height) == (header.width, header.height) == (64, 128)
    assert picture.pixels[20, 32, 0] > 0.9
    assert picture.pixels[100, 32, 0] < 0.1


def test_the_first_of_a_multi_picture_jpeg():
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    picture = images.read(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert picture.origin.format == "JPEG"
    assert picture.pixels[8, 8, 0] > 0.95
    assert picture.notes == ()


def test_one_pixel_and_long_strips():
    assert images.read(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).pixels.tolist() == [[[1, 0, 0]]]
    assert images.read(encoded(Image.new("RGB", (2000, 100)), "JPEG")).width == 2000
    assert images.read(encoded(Image.new("RGB", (100, 2000)), "WEBP")).height == 2000


# ---- several frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "part"), [("GIF", "animated GIF"), ("WEBP", "animated WEBP"), ("PNG", "animated PNG")]
)
def test_the_first_frame_of_an_animation(kind, part):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    settings = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **settings)
    picture = images.read(data)
    assert picture.pixels[8, 8].tolist() == [1, 0, 0]
    assert picture.notes == (f"{part}: the first of 3 frames is used",)
    assert images.probe(data).frames == 3


def test_the_first_page_of_a_tiff():
    pages = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    picture = images.read(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert picture.pixels[4, 4].tolist() == [1, 0, 0]
    assert picture.notes == ("TIFF of 2 pages: the first is used",)


# ---- bad input -----------------------------------------------------------------------------------------------------


def test_a_missing_file_names_its_likes(tmp_path):
    (tmp_path / "Sunflowers.jpg").touch()
    refused(tmp_path / "sunflower.jpg", "does not exist", "did you mean Sunflowers.jpg")
    refused(tmp_path / "no" / "a.jpg", "there is no folder")
    refused(tmp_path / "Sunflowers.jpg" / "a.jpg", "does not exist")
    refused("a\0b.jpg", "cannot be opened")
    refused("x" * 5000, "cannot be opened")
    refused(tmp_path / "two\nlines.jpg", "two lines.jpg")


def test_a_folder_an_empty_file_and_text(tmp_path):
    refused(tmp_path, "is a folder")
    path = tmp_path / "a.jpg"
    path.touch()
    refused(path, "is empty")
    path.write_text("dear diary")
    refused(path, "is not a picture that Impasto reads", "use one of PNG")


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"<svg xmlns='x'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b"\x1aE\xdf\xa3", "a video"),
        (b"P6 1 1 255\n\0\0\0", "not a picture"),
    ],
)
def test_formats_outside_the_list_are_named(data, part):
    refused(data, part)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):  # pragma: no cover
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "permission denied")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_truncated_files(kind):
    data = encoded(Image.fromarray(random_codes(64, 64, 3)), kind)
    refused(data[: len(data) // 2], "damaged or truncated")
    refused(data[:20], "damaged or truncated")


def test_truncated_sixteen_bits(tmp_path, capfd):
    codes = random_codes(64, 64, 3, dtype=np.uint16)
    path = tmp_path / "a.tiff"
    images.write(images.read(codes), path)
    for data in (png16(codes, 2), path.read_bytes()):
        refused(data[: len(data) * 2 // 3], "truncated")
    altered = bytearray(png16(codes, 2))
    altered[500] ^= 1
    refused(bytes(altered), "checksum")
    assert capfd.readouterr() == ("", "")


def test_damaged_files_never_escape():
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        data = encoded(Image.fromarray(random_codes(24, 24, 3)), kind)
        for _ in range(40):
            altered = bytearray(data)
            for place in random.integers(0, len(data), 6):
                altered[place] = random.integers(0, 256)
            try:
                images.read(bytes(altered), max_pixels=10**6)
            except InputError as error:
                assert "\n" not in error.message


def test_a_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30_000, 30_000, 8, 2, [b"\0" * 90_000] * 4))
    start = time.perf_counter()
    for ask in (images.read, images.probe):
        with pytest.raises(InputError, match="30000x30000 px") as caught:
            ask(path)
        assert caught.value.hint == "if you trust it, allow more: --max-pixels 900000000"
    assert time.perf_counter() - start < 1
    assert images.probe(path, max_pixels=10**9).width == 30_000


def test_limits_are_ours_and_pillow_stays_quiet():
    data = png(10_000, 9_500, 8, 0, [b"\0" * 10])  # over Pillow's own warning, under our limit
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert images.probe(data).height == 9_500
    assert caught == []
    refused(png(200_000, 2, 8, 0, [b""]), "a side may have 100,000")
    refused(random_codes(10, 10, 3), "at most 99 are allowed", max_pixels=99)
    refused(Image.new("RGB", (10, 10)), "at most 99 are allowed", max_pixels=99)


def test_oversized_metadata_does_not_stop_a_picture():
    codes = random_codes(4, 4, 3)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    picture = images.read(encoded(Image.fromarray(codes), "PNG", pnginfo=text))
    assert (as_codes(picture) == codes).all()
    assert sum(map(len, picture.origin.text.values())) < 100_000


def test_a_damaged_exif_is_left_out_with_a_note():
    data = encoded(
        Image.fromarray(random_codes(8, 8, 3)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01" * 40
    )
    picture = images.read(data)
    assert picture.pixels.shape == (8, 8, 3)


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def test_fit():
    assert images.fit(4000, 3000, 512) == (512, 384)
    assert images.fit(300, 400, 512) == (384, 512)
    assert images.fit(2000, 1, 100) == (100, 1)
    with pytest.raises(InputError):
        images.fit(10, 10, 0)


def test_resize_is_exact_for_equal_sizes_and_copies():
    pixels = random_codes(5, 6, 3).astype(np.float32) / 255
    same = images.resize(pixels, 5, 6)
    assert (same == pixels).all()
    assert same is not pixels


@pytest.mark.parametrize("size", [(7, 9), (64, 48), (200, 31), (1, 1)])
def test_resize_keeps_constants_and_the_range(size):
    flat = images.resize(np.full((40, 30, 3), 0.3, np.float32), *size)
    assert flat.shape == (*size, 3)
    assert np.abs(flat - 0.3).max() < 1e-6
    edges = images.resize((random_codes(40, 30, 3) > 127).astype(np.float32), *size)
    assert edges.min() >= 0
    assert edges.max() <= 1
    assert images.resize(np.zeros((40, 30), np.float32), *size).shape == size


def test_resize_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1
    assert np.abs(images.resize(stripes, 16, 16)[:, 2:-2] - 0.5).max() < 0.02


def test_digest_knows_shape_and_values():
    pixels = random_codes(4, 6, 3).astype(np.float32) / 255
    assert images.digest(pixels) == images.digest(pixels.copy())
    assert images.digest(pixels) == images.digest(np.asfortranarray(pixels))
    assert images.digest(pixels) != images.digest(pixels.reshape(6, 4, 3))
    assert images.digest(pixels) != images.digest(pixels + 1e-6)


def test_to_pil():
    assert images.to_pil(images.read(random_codes(4, 6, 3))).mode == "RGB"
    rgba = random_codes(4, 6, 4)
    assert (np.asarray(images.to_pil(images.read(rgba))) == rgba).all()


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("Mäda Primavesi (1903–2000)", "Mada Primavesi (1903-2000)"),
        ("Œuvre “à l’été”…", 'OEuvre "a l\'ete"...'),
        ("Ж", "?"),
    ],
)
def test_captions_are_spelled_in_letters_that_the_font_has(caption, plain):
    pixels = np.zeros((9, 9, 3), np.float32)
    drawn, wanted = (images.contact_sheet([(pixels, text)], columns=1, cell=256) for text in (caption, plain))
    assert np.array_equal(drawn, wanted)
    assert drawn[8 + 258 :].min() < 0.5


def test_contact_sheet():
    cells = [
        (np.full((30, 60, 3), 0.2 * index, np.float32), f"a caption of many words, number {index}")
        for index in range(5)
    ]
    sheet = images.contact_sheet(cells, columns=3, cell=120)
    assert sheet.dtype == np.float32
    assert sheet.shape[1] == 8 + 3 * 128
    assert sheet.shape[0] == 8 + 2 * (60 + 8 + 2 * 20 + 4), "no row is higher than the tallest picture"
    assert sheet[8, 8].max() == sheet[8 + 59, 8 + 119].max() == 0
    caption = sheet[8 + 62 : 8 + 80, 8:128]
    assert caption.min() < 0.3 < 0.9 < caption.max()
    high = images.contact_sheet(cells, columns=3, cell=120, height=100, lines=0)
    assert high.shape[0] == 8 + 2 * 108
    assert high[8 + 20, 8].max() == high[8 + 79, 8 + 119].max() == 0 < high[8, 8].min()
    one = images.contact_sheet([(np.zeros((9, 9, 3)), "unbreakable" * 20)], columns=4, cell=64)
    assert one.shape[1] == 8 + 64 + 8
    with pytest.raises(InputError):
        images.contact_sheet([], columns=3)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 40, "optimize": True}])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_last_bytes_is_read_with_a_note(settings, missing):
    data = encoded(smooth(96, 128), "JPEG", **settings)
    picture = images.read(data[:-missing])
    assert np.array_equal(picture.pixels, images.read(data).pixels)
    assert "end of the file is missing" in picture.notes[0]
    assert images.read(data).notes == ()


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 40, "optimize": True}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_jpeg_of_which_a_part_is_missing_is_damaged(settings, share):
    data = encoded(smooth(96, 128), "JPEG", **settings)
    with pytest.raises(InputError, match="damaged or truncated"):
        images.read(data[: round(share * len(data))])


def smooth(height, width):
    return Image.fromarray(random_codes(height // 8, width // 8, 3)).resize((width, height), Image.Resampling.BICUBIC)
