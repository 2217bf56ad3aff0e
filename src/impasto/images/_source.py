"""Finding and opening what was given: a file, bytes or a stream, recognised by its first bytes, never by its name."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from impasto.errors import InputError, ResourceError, StyleError, plain
from impasto.files import name_of, refuse_address
from impasto.images import _png
from impasto.images._pipes import BufferedPipe, is_pipe, read_pipe

Stream: TypeAlias = IO[bytes]
READABLE = "PNG, JPEG, WebP, TIFF, GIF, BMP, HEIC, AVIF"
_USE_READABLE = f"use one of {READABLE}"

_SIGNATURES = (
    (_png.SIGNATURE, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_UNREADABLE = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file, perhaps an SVG drawing"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"RIFF", "a video or a sound"),
    (b"PK\3\4", "a ZIP archive"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL", "a JPEG XL picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"git-annex", "a pointer to a large file, not the file"),
    (b"version https://git-lfs", "a pointer to a large file, not the file"),
)


@contextmanager
def opened(source: Any) -> Iterator[tuple[Stream, str]]:
    """A seekable stream of a path, bytes or a binary file object, and what to call it in messages.

    A file object that can seek is left where it was, so that it may be probed and then read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield BytesIO(source), "the picture"
    elif isinstance(source, BufferedPipe):  # threads may share it, so its place in the stream means nothing
        yield BytesIO(source.getvalue()), plain(source.name)
    elif hasattr(source, "read"):
        with decoding("the picture"):
            held = _held(source)
        yield held, "the picture"
    else:
        if isinstance(source, str) and not source:
            raise InputError("the name of the picture is empty", "give a path or an array")
        try:
            path = Path(source)
        except TypeError as error:
            raise InputError(f"{type(source).__name__} is not a kind of picture", "give a path or an array") from error
        if is_pipe(path):
            yield BytesIO(read_pipe(path)), name_of(path)
            return
        with _open_file(path) as stream:
            yield (stream if stream.seekable() else BytesIO(stream.read())), name_of(path)


def _held(source: Any) -> BytesIO:
    seekable = hasattr(source, "seekable") and source.seekable()
    place = source.tell() if seekable else 0
    data = source.read()
    if seekable:
        source.seek(place)
    if not isinstance(data, bytes):
        raise InputError("the file object gives text, not bytes", "open it in binary mode, or pass sys.stdin.buffer")
    return BytesIO(data)


def _open_file(path: Path) -> Stream:
    name = name_of(path)
    refuse_address(str(path))
    try:
        if path.is_dir():
            raise InputError(f"{name} is a folder, not a picture", "name a picture in it")
        return path.open("rb")
    except PermissionError as error:
        raise InputError(f"{name} may not be read: permission denied", "change its permissions, or copy it") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{name} does not exist", _suggest(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name[:200]} cannot be opened: {reason}", "check the name") from error


def _suggest(path: Path) -> str:
    """A hint with names in the same folder that look alike."""
    try:
        if not path.parent.is_dir():
            return f"there is no folder {name_of(path.parent)}"
        names = {entry.name.lower(): entry.name for entry in islice(path.parent.iterdir(), 2000)}
    except OSError:
        return "check the name"
    near = difflib.get_close_matches(path.name.lower(), names, n=3, cutoff=0.75)
    return f"did you mean {' or '.join(name_of(Path(names[name])) for name in near)}?" if near else "check the name"


def sniff(stream: Stream, name: str) -> str:
    """The format by the first bytes.

    Raises:
        InputError: the file is empty or not of a format that we read; says what it is instead where that is plain.
    """
    stream.seek(0)
    start = stream.read(512)
    stream.seek(0)
    if not start:
        raise InputError(f"{name} is empty", "give a picture")
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        return _sniff_iso(start, name)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, what in _UNREADABLE:
        if text.startswith(signature):
            raise InputError(f"{name} is {what}, not a picture that Impasto reads", _USE_READABLE)
    raise InputError(f"{name} is not a picture that Impasto reads", _USE_READABLE)


def _sniff_iso(start: bytes, name: str) -> str:
    """AVIF or HEIF by the brands of the leading box (ISO/IEC 14496-12, 4.3)."""
    box = start[8 : min(int.from_bytes(start[:4], "big"), len(start))]
    brands = {box[index : index + 4] for index in range(0, len(box), 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "HEIF"
    raise InputError(f"{name} is a video, not a picture", "see `impasto video`")


def open_image(stream: Stream, name: str) -> ImageFile.ImageFile:
    """The image with its header read and nothing decoded; sizes are not checked here.

    The plugin is called directly, not through `Image.open`: only our formats can then run, whatever plugins others
    have registered, and our own size limit replaces Pillow's global one, which warns and cannot be raised for one call.
    """
    kind = sniff(stream, name)
    with decoding(name):
        if kind == "TIFF":
            return _open_tiff(stream, name)
        plugin = _plugin(kind)
        if kind != "PNG":
            return plugin(stream)
        try:
            return plugin(stream)
        except ValueError:  # oversized or broken metadata: the pixels may well be sound
            stream.seek(0)
            return plugin(BytesIO(_png.without_metadata(stream.read())))


def _open_tiff(stream: Stream, name: str) -> ImageFile.ImageFile:
    """As Pillow opens it.

    Raises:
        InputError: of a kind that Pillow has no mode for, such as floats in colour; says which.
    """
    try:
        return TiffImagePlugin.TiffImageFile(stream)
    except SyntaxError as error:
        if "pixel mode" not in str(error):
            raise
        import tifffile  # here, since few TIFFs need it

        stream.seek(0)
        with tifffile.TiffFile(stream) as file:
            page = file.pages.first
            what = f"{page.samplesperpixel} channels of {page.dtype}"
        hint = "convert it to 8 or 16 bits a channel, grey, RGB or RGBA"
        raise InputError(f"{name} is a TIFF of {what}, which is not read", hint) from error


def _plugin(kind: str) -> Callable[[Any], ImageFile.ImageFile]:
    if kind == "HEIF":
        import pillow_heif

        plugin: Callable[[Any], ImageFile.ImageFile] = pillow_heif.HeifImageFile
        return plugin
    if kind == "AVIF" and not AvifImagePlugin.SUPPORTED:
        raise InputError("this build of Pillow reads no AVIF", "install a Pillow wheel from PyPI, or convert the file")
    if kind == "WEBP" and not WebPImagePlugin.SUPPORTED:
        raise InputError("this build of Pillow reads no WebP", "install a Pillow wheel from PyPI, or convert the file")
    return {
        "PNG": PngImagePlugin.PngImageFile,
        # not jpeg_factory: of a multi-picture file we want the first, which every decoder sees
        "JPEG": JpegImagePlugin.JpegImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
    }[kind]


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a codec raises into an InputError, and keep its warnings to ourselves."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (StyleError, ImportError, NameError):  # the last two are bugs of ours, not the file's
        raise
    except MemoryError as error:
        raise ResourceError(f"{name} does not fit in memory", "use a smaller picture") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large for Pillow to decode", "turn it upright or shrink it first") from error
    except Exception as error:  # codecs raise nearly every type on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{name} is damaged or truncated ({reason})", "copy or export it again") from error
