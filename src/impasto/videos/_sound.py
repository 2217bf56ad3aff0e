"""Sound of a recording or of a film, as one channel of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.videos._av import load, reading

RATE = 22050
"""Samples a second, unless others are asked for; what lies above 11 kHz is not heard."""

LONGEST = 600.0
"""Seconds that are read; the rest of a longer recording does not count."""

SOUND_EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac"})
"""Endings of files that are sound alone."""


@dataclass(frozen=True)
class Sound:
    """A recording.

    Attributes:
        name: of the file, for messages.
        samples: `(N,)` float32 in [-1, 1], its channels averaged.
        rate: samples a second.
    """

    name: str
    samples: NDArray[np.float32]
    rate: int = RATE

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


def read_sound(path: Path, *, rate: int = RATE) -> Sound:
    """The sound of a file, its first `LONGEST` seconds, at `rate` samples a second.

    Raises:
        InputError: no such file, no sound in it, or nothing of it can be decoded.
        MissingExtra: PyAV is not installed.
    """
    av = load()
    if not path.is_file():
        raise InputError(f"{path} does not exist", "name a file with sound")
    parts, count = [], 0
    with reading(path.name, "sound"), av.open(str(path)) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise InputError(f"{path.name} has no sound", "give a recording, or a film with sound")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                parts.append(part.to_ndarray().reshape(-1))
                count += len(parts[-1])
            if count >= LONGEST * rate:
                break
    if not count:
        raise InputError(f"{path.name} holds no sound that can be decoded", "export it again")
    samples = np.concatenate(parts)[: round(LONGEST * rate)]
    return Sound(path.name, np.nan_to_num(samples.astype(np.float32)).clip(-1, 1), rate)
