"""Reading: any source to upright sRGB float pixels with alpha apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from impasto.errors import InputError
from impasto.images import _color, _metadata, _png
from impasto.images._arrays import is_array, picture_of_array, shape_of_array
from impasto.images._deep import as_tuple, decode_16, keyed
from impasto.images._fill import fill_hidden
from impasto.images._jpeg import with_end_marker
from impasto.images._picture import Floats, Header, Origin, Picture, as_float, bands, is_codes, quantise
from impasto.images._shrink import ask_for, averaged, averaged_codes, fitting_factor
from impasto.images._source import Stream, decoding, open_image, opened

MAX_PIXELS = 100_000_000
"""The most pixels that are decoded without being asked: 1.2 GB as float32 RGB."""

MAX_SIDE = 100_000
"""The longest side of a picture, in pixels."""

_MAX_TEXT = 1 << 16
_PALETTE_MODES = ("P", "PA")
_CLEAR_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")


def read(
    source: Any,
    *,
    max_pixels: int = MAX_PIXELS,
    compact: bool = False,
    longest: int | None = None,
    room: float | None = None,
) -> Picture:
    """Decode a picture: upright, sRGB, alpha apart; what is transparent has the colours around it, not hidden ones.

    Args:
        source: a path, bytes, a binary file object, a PIL image, a numpy array `(H, W, 3 | 4 | 1)` or `(H, W)` of
            uint8, uint16 or float in [0, 1], a torch tensor `(3, H, W)`, `(1, 3, H, W)` or `(H, W, 3)`, or a Picture
            that was read before.
        max_pixels: larger pictures are refused from their header.
        compact: keep pixels as codes of the source's depth (16 bits for floats), a quarter or half as large.
        longest: side that is wanted of it. What does not fit into `room` is decoded smaller, as large as fits, down to
            this side.
        room: bytes that reading may take; any by default.

    Raises:
        InputError: it is missing, not a picture, damaged, too large, or of a kind that is not read.
        ResourceError: it does not fit into `room`.
    """
    picture = _read(source, _Reading(max_pixels, compact, longest, room))
    if picture.alpha is None:
        return picture
    return replace(picture, pixels=fill_hidden(picture.pixels, picture.alpha))


@dataclass(frozen=True)
class _Reading:
    """How to read; see `read`."""

    max_pixels: int
    compact: bool
    longest: int | None
    room: float | None

    def factor(self, image: Image.Image, name: str) -> int:
        """How many times smaller the image is to be decoded."""
        _check_size(*_size(image), self.max_pixels, name)
        if self.room is None:
            return 1
        header = _described(image, *_size(image))
        return fitting_factor(header, name, longest=self.longest, room=self.room, compact=self.compact)


def _read(source: Any, reading: _Reading) -> Picture:
    compact = reading.compact
    if is_array(source):
        _check_size(*shape_of_array(source), reading.max_pixels, "the array")
        picture = picture_of_array(source)
        return replace(picture, pixels=_as_codes(picture.pixels, source)) if compact else picture
    if isinstance(source, Picture):
        _check_size(source.width, source.height, reading.max_pixels, source.name)
        pixels = _as_codes(source.pixels, source.pixels) if compact else as_float(source.pixels)
        return replace(source, pixels=pixels)
    if isinstance(source, Image.Image):
        _check_size(*source.size, reading.max_pixels, "the picture")
        return _decode(source, b"", "the picture", compact=compact)
    with opened(source) as (stream, name):
        image = open_image(stream, name)
        factor = reading.factor(image, name)
        try:
            data = _whole(stream) if _bits(image) == 16 else b""
            picture = _decode(image, data, name, compact=compact, factor=factor)
        except InputError:
            ended = with_end_marker(_whole(stream)) if image.format == "JPEG" else None
            if ended is None:
                raise
            picture = _decode(open_image(BytesIO(ended), name), b"", name, compact=compact, factor=factor)
            lost = "the end of the file is missing: the last corner of the picture may be damaged"
            picture = replace(picture, notes=(*picture.notes, lost))
    path = Path(source) if isinstance(source, str | Path) else None
    return replace(picture, origin=replace(picture.origin, path=path))


def _whole(stream: Stream) -> bytes:
    stream.seek(0)
    return stream.read()


def probe(source: Any, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What the header says, without decoding; the source and the errors about it are as for `read`."""
    if is_array(source):
        width, height = shape_of_array(source)
        _check_size(width, height, max_pixels, "the array")
        return Header(width, height, "", bits=16 if "16" in str(source.dtype) and "uint" in str(source.dtype) else 8)
    if isinstance(source, Picture):
        _check_size(source.width, source.height, max_pixels, source.name)
        alpha = source.alpha is not None
        channels = source.pixels.shape[2] + alpha
        return Header(source.width, source.height, "", source.origin.bits, channels=channels, transparent=alpha)
    if isinstance(source, Image.Image):
        return _header(source, max_pixels, "the picture")
    with opened(source) as (stream, name):
        return _header(open_image(stream, name), max_pixels, name)


def read_record(source: Any) -> dict[str, Any] | None:
    """The record that `write` put into a file's metadata, or None where there is none.

    Raises:
        InputError: the source cannot be opened as a picture.
    """
    with opened(source) as (stream, name):
        image = open_image(stream, name)
        text = image.info.get("impasto")
        found = _metadata.parse_record(str(text)) if text else None
        return found if found is not None else _metadata.record_in_xmp(_xmp(image))


def _header(image: Image.Image, max_pixels: int, name: str) -> Header:
    _check_size(*_size(image), max_pixels, name)
    with decoding(name):
        width, height = _size(image)
        # Pillow has turned the size of a TIFF already, but not yet its pixels
        if image.format != "TIFF" and _metadata.orientation_of(image) >= 5:
            width, height = height, width
        return _described(image, width, height)


def _described(image: Image.Image, width: int, height: int) -> Header:
    kind, alpha = _format(image), image.mode in _CLEAR_MODES or "transparency" in image.info
    passes = kind == "JPEG" and bool(image.info.get("progressive"))
    return Header(width, height, kind, _bits(image), _frames(image), len(image.getbands()), alpha, passes)


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{name} is {width}x{height} px: it has no pixels", "give a picture")
    if width * height > max_pixels:
        size = f"{name} is {width}x{height} px, {width * height:,} in all; at most {max_pixels:,} are allowed"
        raise InputError(size, f"if you trust it, allow more: --max-pixels {width * height}")
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{name} is {width}x{height} px; a side may have {MAX_SIDE:,}", "crop or shrink it")


def _size(image: Image.Image) -> tuple[int, int]:
    return int(image.size[0]), int(image.size[1])


def _format(image: Image.Image) -> str:
    return {"MPO": "JPEG"}.get(image.format or "", image.format or "")


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # a broken later frame does not matter to the first
        return 1


def _bits(image: Image.Image) -> int:
    """16 where the file holds 16 bits a channel, whatever mode Pillow opens it in."""
    if image.mode.startswith("I;16"):
        return 16
    if image.format == "PNG" and isinstance(image, ImageFile.ImageFile):
        # the raw mode, such as "RGB;16B", is where Pillow says so
        return 16 if any("16" in str(tile[3]) for tile in image.tile) else 8
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        return 16 if max(image.tag_v2.get(258, (8,))) in range(9, 17) else 8
    return 8


def _as_codes(pixels: NDArray[Any], source: Any) -> NDArray[Any]:
    """An array's pixels as codes: of 8 bits where it was uint8."""
    if is_codes(pixels):
        return pixels
    bits = 8 if "uint8" in str(source.dtype) else 16
    codes = np.empty(pixels.shape, np.uint8 if bits == 8 else np.uint16)
    for rows in bands(pixels):
        codes[rows] = quantise(pixels[rows], bits)
    return codes


def _decode(image: Image.Image, data: bytes, name: str, *, compact: bool = False, factor: int = 1) -> Picture:
    """Everything after the header. data: the whole file where it holds 16 bits, else empty."""
    notes = _notes(image)
    with decoding(name):
        ask_for(image, factor)
        if image.format == "PNG":
            _find_late_exif(image, data)
        exif, exif_notes = _metadata.exif_of(image)
        tags = _tiff_tags(image)
        orientation = _metadata.orientation_of(image)
        codes, shown = decode_16(image, data, tags) if data else None, image
        if codes is None:
            image.load()
            orientation = _metadata.orientation_of(image)  # Pillow turns a TIFF while it loads
            if data and not image.mode.startswith("I;16"):
                notes += ("16 bits of this kind are read as 8",)
            shown = averaged(image, factor)
            codes = _planes(shown, tags)
        if data and "transparency" in image.info and codes.dtype == np.uint16:
            codes = keyed(codes, image.info["transparency"])
        if codes.dtype == np.uint16:
            codes = averaged_codes(codes, factor)
    icc = _icc(image)
    pixels, color_notes = (_to_srgb_codes if compact else _to_srgb)(codes, shown, icc)
    alpha = _alpha(codes)
    origin = Origin(
        bits=16 if codes.dtype == np.uint16 else 8,
        mode=_mode(image, codes),
        format=_format(image),
        icc=icc,
        exif=exif,
        xmp=_xmp(image),
        dpi=_dpi(image, orientation),
        text=_text(image),
    )
    turned = None if alpha is None else _upright(alpha, orientation)
    return Picture(_upright(pixels, orientation), turned, origin, notes + exif_notes + color_notes)


def _find_late_exif(image: Image.Image, data: bytes) -> None:
    """Have a PNG's EXIF in its `info`, also where it stands behind the pixels, as it may."""
    if not data:
        image.load()
    elif "exif" not in image.info:
        for body in (body for name, body in _png.chunks(data) if name == b"eXIf"):
            image.info["exif"] = b"Exif\0\0" + body


def _notes(image: Image.Image) -> tuple[str, ...]:
    frames = _frames(image)
    if frames < 2:
        return ()
    if image.format == "TIFF":
        return (f"TIFF of {frames} pages: the first is used",)
    if image.format == "HEIF":
        return (f"HEIC of {frames} pictures: the main one is used",)
    return (f"animated {image.format}: the first of {frames} frames is used",)


def _tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """A copy, since Pillow changes the tags while it loads."""
    return dict(image.tag_v2) if image.format == "TIFF" and hasattr(image, "tag_v2") else {}


def _planes(image: Image.Image, tags: Mapping[int, Any]) -> NDArray[Any]:
    """A loaded image's codes `(H, W, 1 | 2 | 3 | 4)`; those of some modes are for `_to_srgb` to convert."""
    mode = image.mode
    if mode.startswith("I;16"):
        codes = np.asarray(image).astype(np.uint16)
        depth = max(as_tuple(tags.get(258, 16)))
        if depth < 16:
            codes = np.rint(codes * (65535.0 / (2**depth - 1))).astype(np.uint16)
        return codes[..., None]
    if mode in ("I", "F"):
        raise InputError(
            f"a picture of 32-bit {'integers' if mode == 'I' else 'floats'} is not read",
            "convert it to 8 or 16 bits a channel",
        )
    if "transparency" in image.info and mode in ("1", "L", "P", "RGB"):
        codes = np.asarray(image.convert("RGBA"))
        return codes[..., 2:] if mode in ("1", "L") else codes
    if mode in ("CMYK", "LAB"):
        return np.asarray(image)[..., :3]
    target = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, mode)
    if target not in ("L", "LA", "RGB", "RGBA"):
        target = "RGB"
    codes = np.asarray(image if mode == target else image.convert(target))
    return codes[..., None] if codes.ndim == 2 else codes


def _mode(image: Image.Image, codes: NDArray[Any]) -> str:
    if image.mode == "CMYK":
        return "cmyk"
    if image.mode in _PALETTE_MODES:
        return "palette"
    return "grey" if codes.shape[2] < 3 or image.mode in _GREY_MODES else "rgb"


def _alpha(codes: NDArray[Any]) -> Floats | None:
    if codes.shape[2] not in (2, 4):
        return None
    return codes[..., -1].astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)


def _to_srgb_codes(codes: NDArray[Any], image: Image.Image, icc: bytes | None) -> tuple[NDArray[Any], tuple[str, ...]]:
    """As `_to_srgb`, but back to codes band by band."""
    bits = 8 * codes.dtype.itemsize
    if image.mode in ("CMYK", "LAB"):
        return _ink_to_srgb(image, icc)
    result = np.empty((*codes.shape[:2], 3), dtype=codes.dtype)
    for rows in bands(codes):
        pixels, notes = _to_srgb(codes[rows], image, icc)
        result[rows] = quantise(pixels, bits)
    return result, notes


def _to_srgb(codes: NDArray[Any], image: Image.Image, icc: bytes | None) -> tuple[Floats, tuple[str, ...]]:
    """Pixels `(H, W, 3)` in sRGB, and notes."""
    if image.mode in ("CMYK", "LAB"):
        inks, told = _ink_to_srgb(image, icc)
        return inks.astype(np.float32) / np.float32(255), told
    color = codes[..., : 1 if codes.shape[2] < 3 else 3]
    top = int(np.iinfo(codes.dtype).max)
    profile, grey = _color.parse(icc), color.shape[2] == 1
    if profile is not None and (profile.to_xyz is None) == grey:
        return _color.to_srgb(color, profile, top=top), ()
    notes: tuple[str, ...] = ()
    if icc and profile is None and not grey:
        eight = color if top == 255 else np.rint(color / np.float32(257)).astype(np.uint8)
        converted = _color.by_littlecms(Image.fromarray(np.ascontiguousarray(eight)), icc)
        if converted is not None:
            if top > 255:
                notes = ("its colour profile is a table, which is applied at 8 bits",)
            return np.asarray(converted).astype(np.float32) / np.float32(255), notes
    if icc:
        notes = ("its colour profile does not fit its pixels: taken as sRGB",)
    values = color.astype(np.float32) / np.float32(top)
    return (np.repeat(values, 3, axis=2) if grey else values), notes


def _ink_to_srgb(image: Image.Image, icc: bytes | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """CMYK or Lab as codes of 8 bits.

    Pillow takes every CMYK JPEG as inverted, as Adobe writes them; without Adobe's mark it is not.
    """
    kind = "CMYK" if image.mode == "CMYK" else "Lab"
    if kind == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = image.point(lambda value: 255 - value)
    converted = _color.by_littlecms(image, icc) if icc or kind == "Lab" else None
    how = "" if converted is not None else ", without a usable profile, so its colours are approximate"
    rgb = converted if converted is not None else image.convert("RGB")
    return np.asarray(rgb), (f"{kind} picture{how}: the result is RGB",)


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn `(H, W, ...)` upright. Source: EXIF 2.32, tag 274."""
    turned = values.swapaxes(0, 1) if orientation >= 5 else values
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _icc(image: Image.Image) -> bytes | None:
    icc = image.info.get("icc_profile")
    return bytes(icc) if isinstance(icc, bytes) and 128 < len(icc) <= _color.MAX_PROFILE else None


def _xmp(image: Image.Image) -> bytes | None:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    limit = _metadata.MAX_METADATA + _metadata.MAX_RECORD
    return packet if isinstance(packet, bytes) and 0 < len(packet) <= limit else None


def _dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(isfinite(value) and 0 < value < 1e6 for value in (horizontal, vertical)):
        return None
    return (vertical, horizontal) if orientation >= 5 else (horizontal, vertical)


def _text(image: Image.Image) -> dict[str, str]:
    """A PNG's text chunks or a JPEG's comment, but for those that we write anew, up to 64 kB in all."""
    found: dict[str, str] = {}
    room = _MAX_TEXT
    comment = image.info.get("comment")
    pairs = dict(getattr(image, "text", {}) or {}) if image.format == "PNG" else {}
    if isinstance(comment, bytes):
        pairs["Comment"] = comment.decode("utf-8", "replace").rstrip("\0")
    for key, text in pairs.items():
        room -= len(key) + len(text)
        if room > 0 and key not in ("impasto", "Software", "XML:com.adobe.xmp") and not key.startswith("Raw profile"):
            found[str(key)] = str(text)
    return found
