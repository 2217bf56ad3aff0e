"""Writing pictures: bit-exact, with their metadata and our record, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from impasto import images
from impasto.errors import Cancelled, InputError, ResourceError, StyleError
from impasto.images import _metadata, _save

RECORD = {"method": "adain", "strength": 0.8, "style": "Crows — 烏", "weights": [1, 2.5], "quote": '<&">\n'}
XMP = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="1" exif:GPSLatitude="48,51.5N">
<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator><exif:GPSLongitude>2,17.6E</exif:GPSLongitude>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
KEEPERS = ["png", "jpg", "webp", "tiff", "avif", "heic"]


def random_codes(*shape, dtype=np.uint8, seed=0):
    """Noise; all of it is visible where there is alpha."""
    top = np.iinfo(dtype).max
    codes = np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)
    if shape[2:] == (4,):
        codes[..., 3] |= top // 16 + 1
    return codes


def picture(*shape, dtype=np.uint8):
    return images.read(random_codes(*(shape or (12, 16, 3)), dtype=dtype))


def photograph(kind="JPEG", **settings):
    """A file with EXIF (camera, exposure, position), XMP, resolution and a comment."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x8298] = "Acme", "One", 6, "Ada"
    exif[0x8769] = {0x829A: 0.01, 0x9000: b"0232", 0xA002: 16, 0xA003: 12, 0x927C: b"maker's secret"}
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 36.0)}
    stream = io.BytesIO()
    image = Image.fromarray(random_codes(12, 16, 3))
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        info.add_text("Title", "Crows")
        settings["pnginfo"] = info
    elif kind == "TIFF":
        exif[700] = XMP
    else:
        settings["xmp"] = XMP
    if kind != "WEBP":
        settings["dpi"] = (300, 300)
    image.save(stream, kind, exif=exif.tobytes(), **settings)
    return stream.getvalue()


# ---- pixels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_bit_exact_round_trip_seen_by_opencv(tmp_path, extension, dtype, channels):
    codes = random_codes(37, 53, channels, dtype=dtype)
    path = tmp_path / f"a.{extension}"
    assert images.write(images.read(codes), path) == ()
    seen = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert seen.dtype == dtype
    if (extension, dtype, channels) == ("tiff", np.uint8, 4):  # OpenCV premultiplies these; Pillow does not
        with Image.open(path) as image:
            assert (np.asarray(image) == codes).all()
    else:
        assert (seen[..., [2, 1, 0, 3][:channels]] == codes).all()
    again = images.read(path)
    assert again.origin.bits == codes.itemsize * 8
    assert (np.rint(again.pixels * np.iinfo(dtype).max) == codes[..., :3]).all()
    assert (again.alpha is None) == (channels == 3)
    images.write(again, tmp_path / f"b.{extension}")
    assert (cv2.imread(str(tmp_path / f"b.{extension}"), cv2.IMREAD_UNCHANGED) == seen).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_code_survives(dtype):
    top = np.iinfo(dtype).max
    codes = np.arange(top + 1, dtype=dtype).reshape(16, -1)
    stream = io.BytesIO()
    images.write(images.read(codes), stream, format="png")
    assert (np.rint(images.read(stream.getvalue()).pixels[..., 1] * top) == codes).all()


def test_large_tiffs_have_many_strips(tmp_path):
    codes = random_codes(500, 700, 3, dtype=np.uint16)
    images.write(images.read(codes), tmp_path / "a.tif")
    assert (cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1] == codes).all()
    with Image.open(tmp_path / "a.tif") as image:
        assert (np.asarray(image) == codes >> 8).all()


def test_rounding_is_half_to_even_and_clips():
    pixels = np.array([[[0.5 / 255, 1.5 / 255, 2.5 / 255], [-3.0, 7.0, 0.999]]], np.float32)
    stream = io.BytesIO()
    images.write(images.Picture(pixels), stream, format="PNG")
    assert np.asarray(Image.open(stream)).tolist() == [[[0, 2, 2], [0, 255, 255]]]


def test_nan_is_never_written(tmp_path):
    with pytest.raises(StyleError, match="NaN"):
        images.write(images.Picture(np.full((2, 2, 3), np.nan, np.float32)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", images.WRITABLE_EXTENSIONS)
def test_every_extension_is_written_and_read(tmp_path, extension):
    flat = images.read(np.full((20, 30, 3), 120, np.uint8))
    path = tmp_path / f"A{extension.upper()}"
    images.write(flat, path)
    again = images.read(path)
    assert np.abs(again.pixels * 255 - 120).max() <= 3
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044 or os.name == "nt"


def test_alpha_is_kept_or_laid_over_white(tmp_path):
    clear = picture(12, 16, 4)
    for extension in ("png", "webp", "tiff", "avif", "heic"):
        images.write(clear, tmp_path / f"a.{extension}")
        again = images.read(tmp_path / f"a.{extension}")
        assert np.abs(again.alpha - clear.alpha).mean() < 0.1
    unseen = replace(clear, alpha=np.zeros_like(clear.alpha))
    for extension in ("jpg", "bmp"):
        assert "laid over white" in images.write(unseen, tmp_path / f"a.{extension}")[0]
        assert images.read(tmp_path / f"a.{extension}").pixels.min() > 0.99


def test_what_a_format_cannot_hold_is_told(tmp_path):
    assert "8 bits, not 16" in images.write(picture(4, 4, 3, dtype=np.uint16), tmp_path / "a.jpg")[0]
    assert "BMP holds no metadata" in images.write(picture(), tmp_path / "a.bmp")[0]
    assert "Title left out" in images.write(images.read(photograph("PNG")), tmp_path / "a.jpg")[0]
    with pytest.raises(InputError, match="16383"):
        images.write(picture(1, 16384, 3), tmp_path / "a.webp")


# ---- metadata ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("extension", KEEPERS)
def test_metadata_is_kept(tmp_path, source, extension):
    path = tmp_path / f"a.{extension}"
    original = images.read(photograph(source))
    assert original.pixels.shape == (16, 12, 3)
    images.write(original, path, record=RECORD)
    with images._source.opened(path) as (stream, name):
        image = images._source.open_image(stream, name)
        exif = image.getexif()
        exposure, position = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        xmp = image.info["xmp"]
    assert (exif[0x010F], exif[0x0110], exif[0x8298]) == ("Acme", "One", "Ada")
    assert exif[0x0131].startswith("Impasto")
    assert exif.get(0x0112, 1) == 1
    assert float(exposure[0x829A]) == pytest.approx(0.01)
    assert (exposure[0xA002], exposure[0xA003]) == (12, 16)
    assert [float(part) for part in position[2]] == [48, 51, 30]
    assert b"Ada" in xmp
    assert b"48,51.5N" in xmp
    if source != "WEBP" and extension in ("png", "jpg", "tiff"):
        assert images.read(path).origin.dpi == pytest.approx((300, 300), abs=0.1)
    assert images.read_record(path) == RECORD


def test_png_text_and_jpeg_comments_are_kept(tmp_path):
    images.write(images.read(photograph("PNG")), tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").origin.text == {"Title": "Crows"}
    images.write(images.read(photograph("JPEG", comment=b"hello")), tmp_path / "a.jpg")
    assert images.read(tmp_path / "a.jpg").origin.text == {"Comment": "hello"}


@pytest.mark.parametrize("extension", KEEPERS)
def test_the_position_is_dropped_on_request(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    images.write(images.read(photograph()), path, drop_gps=True)
    data = path.read_bytes()
    assert b"48,51.5N" not in data
    assert b"2,17.6E" not in data
    assert b"maker's secret" not in data
    with images._source.opened(path) as (stream, name):
        exif = images._source.open_image(stream, name).getexif()
        assert 0x8825 not in exif
        assert exif[0x010F] == "Acme"
        assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)


@pytest.mark.parametrize("extension", KEEPERS)
def test_the_record_and_the_mark_round_trip(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    images.write(picture(), path, record=RECORD)
    assert images.read_record(path) == RECORD
    assert images.read_record(path.read_bytes()) == RECORD
    assert images.DIGITAL_SOURCE_TYPE.encode() in path.read_bytes()
    images.write(images.read(path), path, record={"second": 2})
    assert images.read_record(path) == {"second": 2}
    assert path.read_bytes().count(images.DIGITAL_SOURCE_TYPE.encode()) == 1
    images.write(images.read(path), path)
    assert images.read_record(path) is None


def test_there_is_no_record_in_other_files(tmp_path):
    assert images.read_record(photograph()) is None
    for text in ("[1]", "{broken", ""):
        info = PngImagePlugin.PngInfo()
        info.add_text("impasto", text)
        Image.new("RGB", (2, 2)).save(tmp_path / "a.png", pnginfo=info)
        assert images.read_record(tmp_path / "a.png") is None


def test_large_records(tmp_path):
    record = {"losses": list(range(30_000))}
    for extension in ("png", "webp", "tiff"):
        images.write(picture(), tmp_path / f"a.{extension}", record=record)
        assert images.read_record(tmp_path / f"a.{extension}") == record
    with pytest.raises(InputError, match="does not fit a JPEG"):
        images.write(picture(), tmp_path / "a.jpg", record=record)
    with pytest.raises(InputError, match="at most"):
        images.write(picture(), tmp_path / "b.png", record={"x": "y" * 600_000})
    assert not (tmp_path / "a.jpg").exists()


def test_metadata_too_large_for_a_jpeg(tmp_path):
    big = XMP.replace(b"Ada", b"A" * 70_000)
    original = images.read(picture().pixels)
    stuffed = replace(original, origin=images.Origin(xmp=big))
    assert "does not fit a JPEG" in images.write(stuffed, tmp_path / "a.jpg", record=RECORD)[0]
    assert images.read_record(tmp_path / "a.jpg") == RECORD
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    exif[0x8769] = {0x927C: b"x" * 70_000, 0x829A: 0.01}
    stuffed = replace(original, origin=images.Origin(exif=exif.tobytes()[6:]))
    images.write(stuffed, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x010F] == "Acme"
        assert 0x927C not in image.getexif().get_ifd(0x8769)


@pytest.mark.parametrize(
    "packet",
    [
        b"not xml",
        b"<a/>",
        b"\xff\xfe\0",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        XMP[:200],
        b"<x>" * 100_000,
        b"<x>" * 9_000 + b"</x>" * 9_000,
    ],
)
def test_a_broken_or_hostile_packet_gives_way_to_a_fresh_one(packet):
    made = _metadata.xmp_for(packet, record="{}")
    assert _metadata.record_in_xmp(made) == {}
    assert _metadata.record_in_xmp(packet) is None


def test_undefined_exif_types_are_right(tmp_path):
    images.write(images.read(photograph()), tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    assert struct.pack("<HHI", 0x9000, 7, 4) in data or struct.pack(">HHI", 0x9000, 7, 4) in data


def test_a_record_of_paths_is_json():
    assert json.loads(_metadata.record_json({"path": Path("a.jpg")})) == {"path": "a.jpg"}


# ---- places --------------------------------------------------------------------------------------------------------


def place_refused(path, inputs, part):
    with pytest.raises(InputError) as caught:
        images.check_output(path, inputs)
    assert part in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_outputs_that_cannot_be(tmp_path):
    images.check_output(tmp_path / "a.png", [tmp_path / "b.png"])
    place_refused(tmp_path, [], "is a folder")
    place_refused(tmp_path / "a", [], "has no extension")
    place_refused(tmp_path / "a.xyz", [], "ends in .xyz")
    place_refused(tmp_path / "a.gif", [], "names no format")
    place_refused(tmp_path / "no" / "such" / "a.png", [], "there is no folder")
    (tmp_path / "file").touch()
    place_refused(tmp_path / "file" / "a.png", [], "is a file, not a folder")
    place_refused(Path("a\0.png"), [], "cannot be written")
    place_refused(tmp_path / ("x" * 300 + ".png"), [], "cannot be written")


def test_an_input_is_never_replaced(tmp_path, monkeypatch):
    given = tmp_path / "in.png"
    given.touch()
    place_refused(given, [given], "is an input")
    place_refused(tmp_path / "." / "in.png", [given], "is an input")
    (tmp_path / "soft.png").symlink_to(given)
    os.link(given, tmp_path / "hard.png")
    place_refused(tmp_path / "soft.png", [given], "is an input")
    place_refused(tmp_path / "hard.png", [Path("elsewhere.png"), given], "is an input")
    monkeypatch.chdir(tmp_path)
    place_refused(Path("in.png"), [given], "is an input")


def test_read_only_places(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(_save.os, "access", lambda path, mode: Path(path) != tmp_path.resolve())
    place_refused(tmp_path / "b.png", [], "is read-only")
    monkeypatch.setattr(_save.os, "access", lambda path, mode: Path(path) != tmp_path / "a.png")
    place_refused(tmp_path / "a.png", [], "a.png is read-only")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):  # pragma: no cover
    folder = tmp_path / "fixed"
    folder.mkdir(mode=0o555)
    place_refused(folder / "a.png", [], "is read-only")
    with pytest.raises(InputError, match="cannot be written"):
        images.write(picture(), folder / "a.png")


def test_an_existing_file_keeps_its_mode_and_a_link_its_target(tmp_path):
    path, link = tmp_path / "a.png", tmp_path / "link.png"
    path.touch()
    path.chmod(0o600)
    link.symlink_to(path)
    images.write(picture(), link)
    assert link.is_symlink()
    assert path.stat().st_size > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "link.png"]


def test_quality_shapes_what_is_lossy_and_nothing_else_takes_one(tmp_path):
    for extension in ("jpg", "webp", "avif", "heic"):
        sizes = []
        for quality in (30, None, 99):
            images.write(picture(64, 64, 3), tmp_path / f"a.{extension}", quality=quality)
            sizes.append((tmp_path / f"a.{extension}").stat().st_size)
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == 3
    for extension in ("png", "tiff", "bmp"):
        with pytest.raises(InputError, match="means nothing to"):
            images.write(picture(), tmp_path / f"b.{extension}", quality=80)
        with pytest.raises(InputError, match="means nothing to"):
            images.check_output(tmp_path / f"b.{extension}", (), quality=80)
        assert not (tmp_path / f"b.{extension}").exists()


def test_file_objects_and_formats(tmp_path):
    stream = io.BytesIO()
    images.write(images.read(photograph("JPEG")), stream)
    assert images.probe(stream.getvalue()).format == "JPEG"
    for name in ("webp", ".tif", "TIFF", "jpg", "heic"):
        stream = io.BytesIO()
        images.write(picture(), stream, format=name)
        assert images.probe(stream.getvalue()).format.lower()[:3] in {"web", "tif", "jpe", "hei"}
    with pytest.raises(InputError, match="'gif' is not a format"):
        images.write(picture(), io.BytesIO(), format="gif")
    for quality in (0, 101, True, 80.5):
        with pytest.raises(InputError, match="quality of"):
            images.write(picture(), tmp_path / "a.jpg", quality=quality)
    if Path(os.devnull).exists():
        images.write(picture(), os.devnull, format="PNG")


def test_a_closed_pipe_cancels():
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(Cancelled):
        images.write(picture(), Closed())


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(_save.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.write(picture(), path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_nothing_behind(tmp_path):
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from impasto import images
from impasto.errors import ResourceError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    images.write(images.read(np.random.default_rng(0).random((100, 100, 3))), Path(sys.argv[1]))
except ResourceError as error:
    print(error.hint)
"""
    (tmp_path / "a.png").write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "free some disk space, or write elsewhere\n"
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.process
def test_a_disk_that_is_really_full_and_really_read_only(small_disk):
    with pytest.raises(ResourceError, match="No space left"):
        images.write(picture(300, 300, 3), small_disk / "a.png")
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    place_refused(small_disk / "a.png", [], "is read-only")
    with pytest.raises(InputError, match="Read-only"):
        images.write(picture(), small_disk / "a.png")
