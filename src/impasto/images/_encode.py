"""Encoding: a picture to the bytes of a file, with as much of its origin as the format holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, WebPImagePlugin

from impasto.errors import InputError, ResourceError, StyleError
from impasto.images import _color, _metadata, _png, _tiff
from impasto.images._picture import Picture, as_float, bands, quantise

QUALITY = 92
"""Of what is compressed with loss, where no other is asked for."""
LOSSY = ("JPEG", "WEBP", "AVIF", "HEIF")
"""Formats that a quality means something to."""
WRITABLE = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "BMP")
_DEEP = ("PNG", "TIFF")  # hold 16 bits
_OPAQUE = ("JPEG", "BMP")
_LARGEST = {"JPEG": 65535, "WEBP": 16383, "AVIF": 65535, "HEIF": 16384, "BMP": 65535}
_APP1 = 65_000  # a JPEG segment holds 65,535 bytes with its own header
_DEFLATE = 4  # a fifth of the time of 6, zlib's default, for a file that is 5 % larger


@dataclass(frozen=True)
class _Extras:
    """The metadata that goes into a file beside the pixels."""

    exif: Image.Exif
    xmp: bytes
    quality: int = QUALITY
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    record: str | None = None


def encode(
    picture: Picture, kind: str, *, quality: int, record: Mapping[str, Any] | None
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a file of format `kind`, and notes on what it could not hold.

    Raises:
        InputError: the format cannot hold the picture, or this installation cannot write it.
    """
    _check_able(picture, kind)
    bits = 16 if picture.origin.bits == 16 and kind in _DEEP else 8
    codes, icc, notes = _codes(picture, kind, bits)
    if picture.origin.bits == 16 and bits == 8:
        notes += (f"{kind} is written with 8 bits, not 16: use PNG or TIFF to keep them",)
    extras, extra_notes = _extras(picture, kind, record=record)
    extras = replace(extras, icc=icc, quality=quality)
    with _encoding(kind):
        data = _ENCODERS[kind](codes, extras)
    return data, notes + extra_notes


@contextmanager
def _encoding(kind: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError as error:
        raise ResourceError(f"encoding {kind} does not fit in memory", "use a smaller --size") from error
    except (OSError, ValueError, RuntimeError, cv2.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise StyleError(f"{kind} could not be encoded: {reason}", "save it as PNG, and please report this") from error


def check_quality(kind: str, quality: int | None) -> int:
    """The quality to encode a format with; QUALITY where none is asked for.

    Raises:
        InputError: it is no whole number from 1 to 100, or the format loses nothing.
    """
    if quality is None:
        return QUALITY
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise InputError(
            f"a quality of {quality!r} is not allowed", "it is a whole number from 1 to 100; 92 by default"
        )
    if kind not in LOSSY:
        raise InputError(f"a quality of {quality} means nothing to {kind}", f"leave it out, or use {', '.join(LOSSY)}")
    return quality


def _check_able(picture: Picture, kind: str) -> None:
    side, largest = max(picture.width, picture.height), _LARGEST.get(kind, 2**31 - 1)
    if side > largest:
        raise InputError(f"{kind} holds sides up to {largest} px; the picture has {side}", "save it as PNG or TIFF")
    missing = kind == "AVIF" and not AvifImagePlugin.SUPPORTED
    missing |= kind == "WEBP" and not WebPImagePlugin.SUPPORTED
    if kind == "HEIF":
        import pillow_heif

        missing = not pillow_heif.libheif_info()["encoders"]
    if missing:
        raise InputError(f"this installation cannot write {kind}", "save it as PNG, JPEG or TIFF")


def _codes(picture: Picture, kind: str, bits: int) -> tuple[NDArray[Any], bytes | None, tuple[str, ...]]:
    """What a file of a format holds, `(H, W, 3 or 4)`, made some rows at a time; its profile, and notes."""
    alpha = None if kind in _OPAQUE else picture.alpha
    codes = np.empty((picture.height, picture.width, 3 if alpha is None else 4), np.uint16 if bits == 16 else np.uint8)
    profile, icc, notes = _profile_for(picture, kind)
    for rows in bands(picture.pixels):
        pixels = as_float(picture.pixels[rows])
        if picture.alpha is not None and alpha is None:
            cover = picture.alpha[rows, :, None]
            pixels = pixels * cover + (1 - cover)
        codes[rows, :, :3] = quantise(pixels if profile is None else _color.from_srgb(pixels, profile), bits)
        if alpha is not None:
            codes[rows, :, 3] = quantise(alpha[rows], bits)
    if picture.alpha is not None and alpha is None:
        notes = (f"{kind} holds no transparency: laid over white (use PNG, WebP or TIFF to keep it)", *notes)
    return codes, icc, notes


def _profile_for(picture: Picture, kind: str) -> tuple[_color.Profile | None, bytes | None, tuple[str, ...]]:
    """The source's own colours and its profile, where that is a matrix profile; else none, for sRGB; and notes."""
    icc, profile = picture.origin.icc, _color.parse(picture.origin.icc)
    if profile is not None and profile.to_xyz is not None and kind != "BMP" and picture.origin.mode != "grey":
        return profile, icc, ()
    if icc and picture.origin.mode != "cmyk":
        return None, None, ("the source's colour profile cannot hold the result: written as sRGB",)
    return None, None, ()


def _extras(picture: Picture, kind: str, *, record: Mapping[str, Any] | None) -> tuple[_Extras, tuple[str, ...]]:
    origin = picture.origin
    exif = _metadata.exif_for(origin.exif, width=picture.width, height=picture.height, dpi=origin.dpi)
    text = None if record is None else _metadata.record_json(record)
    in_xmp = None if kind == "PNG" else text  # a PNG has a chunk of its own for it
    xmp, notes = _metadata.xmp_for(origin.xmp, record=in_xmp), _lost(picture, kind)
    if kind == "JPEG" and len(xmp) > _APP1:
        xmp = _metadata.xmp_for(None, record=in_xmp)
        notes += ("the source's XMP does not fit a JPEG and was left out",)
        if len(xmp) > _APP1:
            raise InputError(f"the record of {len(xmp)} bytes does not fit a JPEG", "save it as PNG")
    return _Extras(exif, xmp, dpi=origin.dpi, text=origin.text, record=text), notes


def _lost(picture: Picture, kind: str) -> tuple[str, ...]:
    if kind == "BMP":
        return ("BMP holds no metadata: neither the source's nor the record of the knobs is kept",)
    others = [key for key in picture.origin.text if not (key == "Comment" and kind == "JPEG")]
    return (f"text fields are kept by PNG only: {', '.join(others)[:80]} left out",) if others and kind != "PNG" else ()


def _png_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    order = [2, 1, 0, 3][: codes.shape[2]]
    done, data = cv2.imencode(".png", np.ascontiguousarray(codes[..., order]), [cv2.IMWRITE_PNG_COMPRESSION, _DEFLATE])
    assert done, "OpenCV encodes any PNG"
    chunks = [] if extras.icc is None else [_png.profile_chunk(extras.icc)]
    if extras.dpi:
        chunks.append(_png.density_chunk(extras.dpi))
    chunks.append(_png.chunk(b"eXIf", _metadata.exif_bytes(extras.exif)[6:]))
    chunks.append(_png.text_chunk("XML:com.adobe.xmp", extras.xmp.decode()))
    chunks.append(_png.text_chunk("Software", _metadata.software()))
    chunks += [_png.text_chunk(key, text) for key, text in extras.text.items()]
    if extras.record is not None:
        chunks.append(_png.text_chunk("impasto", extras.record, compress=len(extras.record) > 4096))
    return _png.with_chunks(data.tobytes(), chunks)


def _tiff_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    return _tiff.encode(codes, exif=extras.exif, icc=extras.icc, xmp=extras.xmp, dpi=extras.dpi)


def _jpeg_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    settings: dict[str, Any] = {"quality": extras.quality, "subsampling": 0 if extras.quality >= 90 else 2}
    if extras.dpi:
        settings["dpi"] = tuple(min(65535, max(1, round(value))) for value in extras.dpi)
    if comment := extras.text.get("Comment"):
        settings["comment"] = comment.encode("utf-8", "replace")[:65_000]
    return _by_pillow(codes, "JPEG", extras, exif_limit=_APP1, **settings)


def _webp_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    # exact keeps the colours under full transparency, which a later edit may uncover
    return _by_pillow(codes, "WEBP", extras, quality=extras.quality, method=4, exact=True)


def _avif_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    return _by_pillow(codes, "AVIF", extras, quality=extras.quality)


def _by_pillow(
    codes: NDArray[Any], kind: str, extras: _Extras, *, exif_limit: int = _metadata.MAX_METADATA, **settings: Any
) -> bytes:
    stream = BytesIO()
    exif = _metadata.exif_bytes(extras.exif, limit=exif_limit)
    if extras.icc:
        settings["icc_profile"] = extras.icc
    Image.fromarray(codes).save(stream, kind, exif=exif, xmp=extras.xmp, **settings)
    return stream.getvalue()


def _heif_bytes(codes: NDArray[Any], extras: _Extras) -> bytes:
    import pillow_heif

    image = Image.fromarray(codes)
    if extras.icc:
        image.info["icc_profile"] = extras.icc
    stream = BytesIO()
    exif = _metadata.exif_bytes(extras.exif)
    pillow_heif.from_pillow(image).save(stream, quality=extras.quality, exif=exif, xmp=extras.xmp)
    return stream.getvalue()


def _bmp_bytes(codes: NDArray[Any], _: _Extras) -> bytes:
    stream = BytesIO()
    Image.fromarray(codes).save(stream, "BMP")
    return stream.getvalue()


_ENCODERS = {
    "PNG": _png_bytes,
    "JPEG": _jpeg_bytes,
    "WEBP": _webp_bytes,
    "TIFF": _tiff_bytes,
    "AVIF": _avif_bytes,
    "HEIF": _heif_bytes,
    "BMP": _bmp_bytes,
}
