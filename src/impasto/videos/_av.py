"""PyAV, the extra `video`: imported when a video is touched, and its errors turned into ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from impasto.errors import InputError, require
from impasto.files import storing


def load() -> Any:
    """The module `av`, whose logging stays off: calling back into Python from codec threads would lock them up.

    Raises MissingExtra.
    """
    os.environ.setdefault("SVT_LOG", "1")  # only its errors: that encoder has no other switch
    return require("av", "video")


def scaling() -> int:
    """How FFmpeg scales and converts: bicubic, and chroma at full resolution, which is worth ten decibels."""
    flags = load().video.reformatter.Interpolation
    return int(flags.BICUBIC | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP | flags.ACCURATE_RND)


@contextmanager
def reading(name: str, kind: str = "a video") -> Iterator[None]:
    """Turn FFmpeg's failures to read into InputError; kind: of what it should be."""
    av = load()
    try:
        yield
    except av.error.FFmpegError as error:
        wanted = "an MP4, MKV, MOV, WebM or AVI file" if kind == "a video" else "a WAV, FLAC, OGG or MP3 file"
        raise InputError(f"{name} cannot be read as {kind}: {_reason(error)}", f"give {wanted}") from error


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn FFmpeg's and the system's failures to write into InputError, or ResourceError for a full disk."""
    av = load()
    with storing(name):
        try:
            yield
        except av.error.FFmpegError as error:
            raise OSError(getattr(error, "errno", None), _reason(error)) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:120]
