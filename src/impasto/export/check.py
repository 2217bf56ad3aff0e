"""The parity check: a file must paint, in its own runtime, what PyTorch paints, or it is not left behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import StyleError
from impasto.export.model import Array, Exportable, Painter

LARGEST = 2e-3
"""No number of a pastiche may differ by more from PyTorch's, both in float32: half a step of 8 bits."""

LEAST_PSNR = 70.0
"""Decibels that all pictures together must reach; a last bit of 8 that is always wrong would give 48."""

_SIDES = (160, 133, 96, 117)  # longest sides of the photographs, so that some are no multiples of any stride


@dataclass(frozen=True)
class Parity:
    """How far a file is from PyTorch.

    Attributes:
        runtime: what painted, with its version.
        pictures: how many were compared.
        maximum, mean: absolute differences, of a range of 1.
        psnr: decibels, over all pictures; infinite where nothing differs.
    """

    runtime: str
    pictures: int
    maximum: float
    mean: float
    psnr: float

    @property
    def is_near(self) -> bool:
        """Whether the file may be left; what is not a number is not near."""
        return self.maximum <= LARGEST and self.psnr >= LEAST_PSNR

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures in {self.runtime} differ from PyTorch by {self.maximum:.1e} at most, "
            f"{self.mean:.1e} on average, of a range of 1; PSNR {self.psnr:.1f} dB"
        )


@dataclass(frozen=True)
class Case:
    """Inputs of one comparison: `image (B, 3, H, W)`, and code or style of the same batch."""

    image: Array
    second: Array


def read_photographs(folder: Path) -> tuple[Array, ...]:
    """The pictures of a folder, small and of odd sizes, each `(1, 3, H, W)`."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in images.EXTENSIONS)
    return tuple(_small(path, _SIDES[number % len(_SIDES)]) for number, path in enumerate(found))


def _small(path: Path, longest: int) -> Array:
    picture = images.read(path)
    width, height = images.fit(picture.width, picture.height, longest)
    return np.ascontiguousarray(picture.resized(height, width).pixels.transpose(2, 0, 1)[None], np.float32)


def cases(
    model: Exportable,
    photographs: Sequence[Array],
    *,
    shape: tuple[int, int] | None = None,
    aligned: bool = False,
    batch: bool = True,
) -> list[Case]:
    """Each style with one of the photographs and each photograph with one of the styles.

    Args:
        model: what is exported.
        photographs: `(1, 3, H, W)` each.
        shape: height and width where the file takes no other.
        aligned: whether sides must be multiples of the model's stride; photographs are cut.
        batch: whether the file takes several at once: then the last case has two, of different styles.
    """
    stride = model.stride if aligned else 1
    given = [_fitted(photograph, shape or _whole(photograph, stride)) for photograph in photographs]
    count = max(len(given), len(model.seconds))
    found = [Case(given[i % len(given)], model.seconds[i % len(model.seconds)]) for i in range(count)]
    if batch:
        last = found[-1]
        both = np.concatenate([last.image, last.image[:, :, ::-1]])
        found.append(Case(both, np.concatenate([last.second, _other(model, last.second)])))
    return found


def _other(model: Exportable, second: Array) -> Array:
    """Another style of the same shape."""
    return next((one for one in model.seconds if one.shape == second.shape and one is not second), second)


def _whole(photograph: Array, stride: int) -> tuple[int, int]:
    height, width = photograph.shape[2:]
    return height // stride * stride, width // stride * stride


def _fitted(photograph: Array, shape: tuple[int, int]) -> Array:
    """The photograph, repeated by mirroring or cut to a shape: no number of it is invented."""
    missing = [max(0, side - had) for side, had in zip(shape, photograph.shape[2:], strict=True)]
    border = [(0, 0), (0, 0), (0, missing[0]), (0, missing[1])]
    return np.ascontiguousarray(np.pad(photograph, border, mode="symmetric")[:, :, : shape[0], : shape[1]])


def compare(
    painter: Painter, runtime: str, model: Exportable, given: Sequence[Case], *, on_progress: OnProgress = ignore
) -> Parity:
    """Paint all cases both ways."""
    largest, total, squares, count = 0.0, 0.0, 0.0, 0
    for done, case in enumerate(given):
        on_progress(Progress("checking", done, len(given), "picture"))
        apart = np.abs(painter(case.image, case.second) - model.reference(case.image, case.second)).astype(np.float64)
        largest = max(largest, float(apart.max())) if np.isfinite(apart).all() else math.inf
        total, squares, count = total + apart.sum(), squares + np.square(apart).sum(), count + apart.size
    on_progress(Progress("checking", len(given), len(given), "picture"))
    noise = squares / count
    psnr = math.inf if noise == 0 else -10 * math.log10(noise) if math.isfinite(noise) else 0.0
    return Parity(runtime, sum(len(case.image) for case in given), largest, float(total / count), psnr)


def refuse_far(parity: Parity, to: str) -> None:
    """Raise StyleError for a file that paints other pictures than PyTorch."""
    if not parity.is_near:
        raise StyleError(
            f"the {to} file paints other pictures than PyTorch: {parity}",
            f"nothing was left behind; {LARGEST:g} and {LEAST_PSNR:g} dB are allowed; please report it",
        )
