"""Films of the whole sphere: each frame painted in views from its middle, and held where nothing changes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.request import OnNote, Request, silence
from impasto.images import Picture
from impasto.ops import masks
from impasto.scenes.paint import SceneSettings, ViewPainter
from impasto.scenes.panoramas import PanoramaScene
from impasto.videos import Coding, SourceTracks, VideoReader, VideoWriter, choose_coding

if TYPE_CHECKING:
    from impasto.engine.engine import Engine

_STILL = 0.03  # change of a colour, in [0, 1], up to which a place counts as the same
_HELD = 0.9  # of the painting before, that stays where nothing changes
_AROUND = 3.0  # pixels over which changes are looked at


@dataclass(frozen=True)
class PaintedFilm:
    """A film of the sphere: its file, frames, computing time in seconds, and how it was made."""

    path: Path
    frames: int
    seconds: float
    record: dict[str, Any]


def paint_film(
    engine: Engine,
    source: Path,
    styles: Any,
    out: Path,
    request: Request,
    settings: SceneSettings,
    *,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
) -> PaintedFilm:
    """Paint a film of the whole sphere in equirectangular form; sound is copied.

    The camera of such a film mostly stands, so what does not change keeps its paint; other places are painted anew.

    Args:
        engine, styles, request, settings: as for `paint_scene`; the method paints in one pass.
        source: twice as wide as high.
        out: where it goes.

    Raises:
        InputError: it is no such film, or the method descends.
        MissingExtra: PyAV is not installed.
    """
    started, coding = time.perf_counter(), choose_coding(out)
    reader = VideoReader(source, even=coding.even)
    painter: ViewPainter | None = None
    before: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    count = 0
    with VideoWriter(out, rate=reader.header.rate, coding=coding, beside=_tracks(source, coding)) as writer:
        for frame in reader:
            scene = PanoramaScene.of(Picture(frame.pixels, origin=images.Origin(path=source)))
            if painter is None:
                painter = ViewPainter(
                    engine, scene, styles, request, settings, on_progress=on_progress, on_note=on_note
                )
            on_progress(Progress("painting frames", count, reader.header.count, unit="frame"))
            painted = np.array(scene.painted(painter.paint(scene)).picture.pixels)
            if before is not None:
                painted = _held(painted, frame.pixels, before)
            writer.write(painted)
            before, count = (frame.pixels, painted), count + 1
    assert painter is not None  # a reader without frames has raised
    return PaintedFilm(out, count, time.perf_counter() - started, painter.record())


def _tracks(source: Path, coding: Coding) -> SourceTracks | None:
    return None if coding.codec in ("gif", "webp", "png") else SourceTracks(source)


def _held(
    painted: NDArray[np.float32],
    pixels: NDArray[np.float32],
    before: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """The painting, with that of the frame before where the two frames are alike."""
    change = torch.from_numpy(np.abs(pixels - before[0]).max(2))[None, None]
    trust = (1 - masks.feather(change, _AROUND) / _STILL).clamp(0, 1)[0, 0, :, :, None].numpy()
    result: NDArray[np.float32] = painted + _HELD * trust * (before[1] - painted)
    return result
