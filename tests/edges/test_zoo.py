"""A zoo of odd pictures, films, names and numbers: a report of a user's is one line more.

Each row is painted or refused in two lines: none ends in "a bug in impasto" or a traceback, nothing is half-written.
"""

import io
import json

import numpy as np
import pytest
from PIL import Image

from impasto.models import networks
from impasto.videos import VideoWriter
from tiny import noise, tiny_network

PAINTED, REFUSED = 0, 2


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A trained style that paints in milliseconds."""
    path = tmp_path_factory.mktemp("zoo") / "net.safetensors"
    networks.Trained(tiny_network()).save(path)
    return f"{path}:s3"


def codes(height=48, width=64, channels=3, kind=np.uint8):
    pixels = noise(height, width)[0].permute(1, 2, 0).numpy()
    pixels = np.concatenate([pixels, pixels[..., :1]], axis=2)[..., :channels]
    return (pixels * np.iinfo(kind).max).round().astype(kind)


def saved(image, kind="PNG", **more):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **more)
    return buffer.getvalue()


def plain():
    return Image.fromarray(codes())


def jpeg(**more):
    return saved(plain(), "JPEG", **more)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def huge_header():
    """A PNG whose header tells of ten gigapixels."""
    data = bytearray(saved(plain()))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(data)


PICTURES = {
    "8x8": ("a.png", saved(Image.fromarray(codes(8, 8))), PAINTED),
    "7x64": ("a.png", saved(Image.fromarray(codes(7, 64))), REFUSED),
    "1x1": ("a.png", saved(Image.fromarray(codes(8, 8)[:1, :1])), REFUSED),
    "10x500": ("a.png", saved(Image.fromarray(codes(500, 10))), PAINTED),
    "grey": ("a.png", saved(plain().convert("L")), PAINTED),
    "one bit": ("a.png", saved(plain().convert("1")), PAINTED),
    "grey with alpha": ("a.png", saved(plain().convert("LA")), PAINTED),
    "alpha": ("a.png", saved(Image.fromarray(codes(channels=4))), PAINTED),
    "palette": ("a.png", saved(plain().quantize(16)), PAINTED),
    "palette with a transparent colour": ("a.png", saved(plain().quantize(16), transparency=3), PAINTED),
    "16 bits": ("a.png", saved(Image.fromarray(codes(channels=1, kind=np.uint16)[..., 0])), PAINTED),
    "CMYK": ("a.jpg", saved(plain().convert("CMYK"), "JPEG"), PAINTED),
    "GIF": ("a.gif", saved(plain().quantize(16), "GIF"), PAINTED),
    "BMP": ("a.bmp", saved(plain(), "BMP"), PAINTED),
    "WebP": ("a.webp", saved(plain(), "WEBP"), PAINTED),
    "TIFF": ("a.tif", saved(plain(), "TIFF"), PAINTED),
    "float TIFF": ("a.tif", saved(Image.fromarray(codes()[..., 0].astype(np.float32)), "TIFF"), REFUSED),
    **{f"orientation {o}": ("a.jpg", jpeg(exif=exif(o)), PAINTED) for o in (2, 3, 6, 8)},
    "an orientation that is none": ("a.jpg", jpeg(exif=exif(99)), PAINTED),
    "broken EXIF": ("a.jpg", jpeg(exif=b"Exif\0\0broken"), PAINTED),
    "broken profile": ("a.jpg", jpeg(icc_profile=b"no profile"), PAINTED),
    "a JPEG without its end": ("a.jpg", jpeg()[:-2], PAINTED),
    "half a JPEG": ("a.jpg", jpeg()[:300], REFUSED),
    "half a PNG": ("a.png", saved(plain())[:300], REFUSED),
    "the wrong ending": ("a.png", jpeg(), PAINTED),
    "nothing": ("a.png", b"", REFUSED),
    "text": ("a.png", b"no picture", REFUSED),
    "zeros": ("a.png", bytes(1000), REFUSED),
    "a page": ("a.jpg", b"<!DOCTYPE html><html></html>", REFUSED),
    "float TIFF of zeros": ("a.tif", saved(Image.new("F", (64, 48)), "TIFF"), REFUSED),
    "an SVG": ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", REFUSED),
    "ten gigapixels": ("a.png", huge_header(), REFUSED),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(outcome, network, tmp_path, name):
    file, data, code = PICTURES[name]
    (tmp_path / file).write_bytes(data)
    check(outcome("stylize", tmp_path / file, "--style", network, "-o", tmp_path / "out.png"), code, tmp_path)


NAMES = [
    "with spaces.png",
    "ünïcødé 绘画.png",
    "\N{ARTIST PALETTE}.png",
    "UPPER.PNG",
    "many.dots.in.it.png",
    "per%cent %05d.png",
    'quote\'s "and" $HOME.png',
    "line\nbreak.png",
    "tab\there.png",
    "escape\x1b[31m.png",
    "a" * 200 + ".png",
    "no ending",
    "colon:2.png",
    "hash#1.png",
    "[brackets].png",
]


@pytest.mark.parametrize("name", NAMES)
def test_names(outcome, network, tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(saved(plain()))
    done = outcome("stylize", folder / name, "--style", network, "-o", tmp_path / "out.png")
    check(done, PAINTED, tmp_path)
    assert "\x1b" not in done.out + done.err.replace("\x1b[0m", "").replace("\x1b[2m", "")


NUMBERS = [
    *(("--size", value) for value in ("0", "-1", "7", "abc", "1e3", "nan", "½", "", "12.5", "0x20")),
    *(("--strength", value) for value in ("-0.1", "1.1", "nan", "inf", "0,5", "x", "")),
    *(("--max-memory", value) for value in ("0", "-1GB", "much", "1e999", "GB", "")),
    *(("--max-pixels", value) for value in ("0", "-1", "x", "10")),
    *(("--device", value) for value in ("banana", "cuda:99", "", "gpu")),
    *(("--precision", value) for value in ("float13", "", "int8")),
    *(("--quality", value) for value in ("fine", "best", "")),
    *(("--method", value) for value in ("banana", "", "adain")),
    *(("--feather", value) for value in ("-1", "nan", "3")),
    ("--jpeg-quality", "101"),
    ("--keep-color", "hue"),
    ("--steps", "10"),
    ("--seed", "1"),
    ("--no-such-flag", "1"),
    ("--protect-faces", "2"),
    ("--style", ""),
    ("--region", "mask.png"),
    ("--init", "noise"),
]


@pytest.mark.parametrize("words", NUMBERS, ids=" ".join)
def test_numbers_and_words(outcome, network, tmp_path, picture_file, words):
    photo = picture_file()
    check(outcome("stylize", photo, "--style", network, *words, "-o", tmp_path / "out.png"), REFUSED, tmp_path)


STYLES = [
    "NET:0",
    "NET:-1",
    "NET:nan",
    "NET:inf",
    "NET:",
    "nowhere.png",
    "https://example.com/a.jpg",
    "pack:nobody",
    ".",
    "s3://bucket/a.jpg",
]


@pytest.mark.parametrize("style", STYLES)
def test_styles(outcome, network, tmp_path, picture_file, style):
    style = style.replace("NET", network)
    check(outcome("stylize", picture_file(), "--style", style, "-o", tmp_path / "out.png"), REFUSED, tmp_path)


def film(path, frames=3, height=48, width=64):
    with VideoWriter(path, rate=25) as writer:
        for index in range(frames):
            writer.write(np.full((height, width, 3), index / max(1, frames), np.float32))


FILMS = {
    "one frame": (lambda path: film(path, 1), PAINTED),
    "odd sides": (
        lambda path: film(path.with_suffix(".mkv"), 3, 49, 65) or path.with_suffix(".mkv").rename(path),
        PAINTED,
    ),
    "small": (lambda path: film(path, 3, 8, 8), REFUSED),
    "text": (lambda path: path.write_text("no film"), REFUSED),
    "nothing": (lambda path: path.write_bytes(b""), REFUSED),
    "half": (lambda path: film(path, 20) or path.write_bytes(path.read_bytes()[:600]), REFUSED),
    "a folder": (lambda path: path.mkdir(), REFUSED),
}


@pytest.mark.parametrize("name", FILMS)
def test_films(outcome, network, tmp_path, name):
    make, code = FILMS[name]
    source, out = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    make(source)
    done = outcome("video", source, "--style", network, "-o", out, "--json")
    check(done, code, tmp_path, out)
    if code == PAINTED:
        assert json.loads(done.out)["frames"] >= 1


def check(done, code, folder, out=None):
    """That a command ended as it should, and left a whole output or none."""
    assert done.code == code, done.err
    assert "a bug in impasto" not in done.err
    assert "Traceback" not in done.err
    out = out or folder / "out.png"
    if code == PAINTED:
        assert out.stat().st_size > 0
        return
    lines = [line for line in done.err.splitlines() if not line.startswith("note:")]
    assert [line[:7] for line in lines] == ["error: ", "hint:  "], done.err
    assert all(len(line) > 8 for line in lines), done.err
    assert done.out == ""
    assert [path.name for path in folder.iterdir() if path.name.startswith(("out", ".out"))] == []
