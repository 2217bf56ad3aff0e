"""Which codec, pixel format and options an output gets, from its name and what the user asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from impasto.errors import InputError


@dataclass(frozen=True)
class Coding:
    """How frames become bytes.

    Attributes:
        codec: as the user names it: h264, hevc, av1, vp9, prores, ffv1, gif, webp or png.
        encoder: FFmpeg's name of the encoder; empty where frames are written as pictures.
        pixel_format: FFmpeg's name.
        options: of the encoder.
        even: whether both sides must be even.
        deep: whether ten bits are kept.
        tag: of the codec in MP4 and MOV, where players insist on one.
    """

    codec: str
    encoder: str
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=dict)
    even: bool = True
    deep: bool = False
    tag: str = ""


_X264 = {"preset": "veryfast"}  # half of medium's time, the same size, 0.5 dB less
_X265 = {"preset": "medium", "x265-params": "log-level=none"}
_SVT = {"preset": "8"}
_VP9 = {"deadline": "good", "cpu-used": "4", "b": "0"}
_CODINGS = {
    ("h264", 8): Coding("h264", "libx264", "yuv420p", _X264),
    ("h264", 10): Coding("h264", "libx264", "yuv420p10le", _X264, deep=True),
    ("hevc", 8): Coding("hevc", "libx265", "yuv420p", _X265, tag="hvc1"),
    ("hevc", 10): Coding("hevc", "libx265", "yuv420p10le", _X265, deep=True, tag="hvc1"),
    ("av1", 8): Coding("av1", "libsvtav1", "yuv420p", _SVT),
    ("av1", 10): Coding("av1", "libsvtav1", "yuv420p10le", _SVT, deep=True),
    ("vp9", 8): Coding("vp9", "libvpx-vp9", "yuv420p", _VP9),
    ("prores", 10): Coding("prores", "prores_ks", "yuv422p10le", {"profile": "3"}, deep=True),
    ("ffv1", 8): Coding("ffv1", "ffv1", "bgr0", even=False),
    ("gif", 8): Coding("gif", "gif", "pal8", even=False),
    ("webp", 8): Coding("webp", "libwebp_anim", "bgra", even=False),
    ("png", 8): Coding("png", "", "rgb24", even=False),
}
_DEFAULT_CRF = {"h264": 17, "hevc": 20, "av1": 28, "vp9": 28}
_MOST_CRF = {"h264": 51, "hevc": 51, "av1": 63, "vp9": 63}
_CONTAINERS: Mapping[str, tuple[str, ...]] = {
    ".mp4": ("h264", "hevc", "av1"),
    ".m4v": ("h264", "hevc"),
    ".mov": ("h264", "hevc", "prores"),
    ".mkv": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
    ".webm": ("av1", "vp9"),
    ".gif": ("gif",),
    ".webp": ("webp",),
    ".png": ("png",),
}
_NUMBERED = re.compile(r"%0?\d*d")

LOSSLESS = _CODINGS["ffv1", 8]
"""For what is kept only until the output is put together."""

VIDEO_EXTENSIONS = tuple(_CONTAINERS)
"""What an output's name may end in; .png needs a place for numbers, such as frames/%05d.png."""

CODECS = tuple(dict.fromkeys(codec for codec, _ in _CODINGS))
"""What `--codec` takes."""


def choose_coding(path: Path, *, codec: str | None = None, bits: int = 8, crf: int | None = None) -> Coding:
    """The coding for an output.

    Args:
        path: its ending names the container; a name with %05d is a sequence of pictures.
        codec: one of `CODECS`; by default the first that the container holds.
        bits: 8 or 10; ProRes always has 10.
        crf: constant rate factor: smaller is better and larger. By default one at which no difference is seen.

    Raises:
        InputError: an unknown ending or codec, or a pair of them that does not go together.
    """
    ending = path.suffix.lower()
    if ending not in _CONTAINERS:
        raise InputError(f"{path.name} names no video format", f"use {' '.join(VIDEO_EXTENSIONS)}")
    if (ending == ".png") != bool(_NUMBERED.search(path.name)):
        raise InputError(
            f"{path.name} is no name for a video", "a sequence of pictures is named with its numbers: frames/%05d.png"
        )
    chosen = codec or _CONTAINERS[ending][0]
    if chosen not in _CONTAINERS[ending]:
        raise InputError(
            f"{ending} files hold no {chosen}" if chosen in CODECS else f"there is no codec {chosen!r}",
            f"{ending} takes {', '.join(_CONTAINERS[ending])}",
        )
    if bits not in (8, 10):
        raise InputError(f"--bits is {bits!r}", "it takes 8 or 10")
    coding = _CODINGS.get((chosen, bits)) or next(
        (each for (name, _), each in _CODINGS.items() if name == chosen and bits == 8), None
    )
    if coding is None:
        raise InputError(f"{chosen} has no {bits} bits here", "use h264, hevc, av1 or prores for 10 bits")
    return _with_crf(coding, crf)


def _with_crf(coding: Coding, crf: int | None) -> Coding:
    most = _MOST_CRF.get(coding.codec)
    if most is None:
        if crf is not None:
            raise InputError(f"{coding.codec} takes no --crf", "leave it out, or choose another --codec")
        return coding
    chosen = _DEFAULT_CRF[coding.codec] if crf is None else crf
    if not 0 <= chosen <= most:
        raise InputError(f"--crf is {chosen}", f"{coding.codec} takes 0 to {most}")
    return Coding(
        coding.codec,
        coding.encoder,
        coding.pixel_format,
        {**coding.options, "crf": str(chosen)},
        coding.even,
        coding.deep,
        coding.tag,
    )
