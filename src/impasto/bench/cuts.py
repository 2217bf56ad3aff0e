"""Cuts in films: hard cuts between all ordered pairs of photographs, seen by a moving camera, and what is no cut."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.bench.results import machine_row
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.errors import InputError, counted
from impasto.ops import flow
from impasto.video.cuts import LOOKAHEAD, CutDetector
from impasto.videos import VideoReader

Frames: TypeAlias = list[NDArray[np.float32]]

SIDES = 96, 160  # height and width of a frame
SHOT = 16  # frames of a shot
_LEAST = 2  # photographs
_NOISE = 0.015  # deviation of a sensor's noise
_WIPES = (5, 12, 25)  # frames of dissolves and of fades
_BARS = np.pad(np.ones((72, 160, 1), np.float32), ((12, 12), (0, 0), (0, 0)))  # of a wide film
_DARK = np.float32(0.2)
_RUNS = 60  # frames whose time is taken


def cuts(
    folder: Path, clips: Sequence[Path] = (), *, seed: int = 0, on_progress: OnProgress = ignore
) -> list[dict[str, Any]]:
    """A row for each kind of film: how many cuts it has, how many are found, and how many are false.

    A cut that is told at the darkest place of a fade is neither: the scenes do change there. It is counted apart.

    Args:
        folder: with photographs, two or more.
        clips: real films, in which every cut that is found is listed.
        seed: of the camera's motion and noise.

    Raises:
        InputError: too few photographs, or a clip cannot be read.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in images.EXTENSIONS)
    if len(paths) < _LEAST:
        hint = f"give {_LEAST} or more; twelve are good"
        raise InputError(f"{folder} holds {counted(len(paths), 'photograph')}", hint)
    photographs = [images.read(path).pixels for path in paths]
    pairs = list(itertools.permutations(range(len(photographs)), 2))
    tally: dict[str, list[int]] = {}
    rng = np.random.default_rng(seed)
    for done, (one, other) in enumerate(pairs):
        on_progress(Progress("cutting", done, len(pairs), "pair"))
        for kind, (frames, wanted) in _films(photographs[one], photographs[other], rng, turn=done).items():
            told = _found(frames)
            darkest = _darkest(frames) if kind == "fade through black" else set()
            false, dark = set(told) - set(wanted) - darkest, set(told) & darkest
            found = set(told) & set(wanted)
            counts = tally.setdefault(kind, [0, 0, 0, 0, 0, 0])
            counts[:] = np.add(counts, [1, len(frames), len(wanted), len(found), len(false), len(dark)]).tolist()
    on_progress(Progress("cutting", len(pairs), len(pairs), "pair"))
    rows = [_row(kind, *counts) for kind, counts in tally.items()]
    for clip in clips:
        frames = [frame.pixels for frame in VideoReader(clip, size=320)]
        rows.append({"film": clip.name, "films": 1, "frames": len(frames), "told": " ".join(map(str, _found(frames)))})
    share = _time_share(photographs[0])
    return [
        {**machine_row(Placement()), "seed": seed, "photographs": len(paths), "time_share": share, **row}
        for row in rows
    ]


def _row(kind: str, films: int, frames: int, wanted: int, found: int, false: int, dark: int) -> dict[str, Any]:
    found_share = found / wanted if wanted else None
    return {
        "film": kind,
        "films": films,
        "frames": frames,
        "cuts": wanted,
        "found": found,
        "found_share": found_share,
        "false": false,
        "false_per_1000": 1000 * false / frames,
        "in_the_dark": dark,
    }


def _darkest(frames: Frames) -> set[int]:
    """The first frame of the second scene of a fade through black, where a new shot may be told."""
    return {len(frames) // 2}


def _found(frames: Frames) -> list[int]:
    finder = CutDetector()
    return [k for k, frame in enumerate(frames) if finder(frame, frames[k + 1 : k + 1 + LOOKAHEAD])[0]]


def _films(
    one: NDArray[Any], other: NDArray[Any], rng: np.random.Generator, *, turn: int
) -> dict[str, tuple[Frames, tuple[int, ...]]]:
    """Films of two photographs by kind, each with the frames at which a shot begins."""
    length = _WIPES[turn % len(_WIPES)]
    first, second = _shot(one, SHOT + length, rng), _shot(other, SHOT + length, rng)
    shares = [*np.zeros(SHOT // 2), *np.linspace(0, 1, length + 2)[1:-1], *np.ones(SHOT // 2)]
    cut, flashed, damaged = first[:SHOT] + second[:SHOT], [*first[:SHOT]], [*first[:SHOT]]
    flashed[SHOT // 2] = np.asarray((0.15 * flashed[SHOT // 2] + 0.9).clip(0, 1), np.float32)
    damaged[SHOT // 2] = rng.random(damaged[0].shape).astype(np.float32)
    strobe = [frame if k % 2 else np.ones_like(frame) for k, frame in enumerate(first[: SHOT - 1])]

    def mixed(weigh: Callable[[float], tuple[float, float]]) -> Frames:
        weights = [weigh(float(share)) for share in shares]
        pairs = zip(weights, first, second, strict=False)
        return [np.asarray(a * left + b * right, np.float32) for (a, b), left, right in pairs]

    return {
        "hard cut": (cut, (SHOT,)),
        "hard cut between bars": ([_BARS * frame for frame in cut], (SHOT,)),
        "hard cut in the dark": ([_DARK * frame for frame in cut], (SHOT,)),
        "dissolve": (mixed(lambda s: (1 - s, s)), ()),
        "fade through black": (mixed(lambda s: (max(0.0, 1 - 2 * s), max(0.0, 2 * s - 1))), ()),
        "flash": (flashed, ()),
        "damaged frame": (damaged, ()),
        "strobe": (strobe, ()),
        "whip pan": (_shot(one, 8, rng, pan=0.25), ()),
    }


def _shot(photograph: NDArray[Any], count: int, rng: np.random.Generator, *, pan: float = 0.0) -> Frames:
    """A photograph as a moving camera sees it, with noise. pan: how much of the width it moves by, each frame."""
    height, width = SIDES
    room = 1.5 + count * pan
    scale = max(width * room / photograph.shape[1], height * 1.5 / photograph.shape[0])
    sides = round(photograph.shape[1] * scale), round(photograph.shape[0] * scale)
    wide = np.asarray(cv2.resize(photograph, sides, interpolation=cv2.INTER_AREA), np.float32)
    speed, zoom, turn = rng.normal(0, 1.2, 2), rng.normal(0, 0.004), rng.normal(0, 0.004)
    speed[0] += pan * width
    middle = np.array([sides[0] / 2 - speed[0] * count / 2, sides[1] / 2])
    frames = []
    for index in range(count):
        angle, size = turn * index, np.exp(zoom * index)
        matrix = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        at = middle + speed * index + rng.normal(0, 0.5, 2) - matrix @ np.array([width / 2, height / 2])
        moved = np.hstack([matrix, at[:, None]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(wide, moved, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        frames.append(np.asarray((frame + rng.normal(0, _NOISE, frame.shape)).clip(0, 1), np.float32))
    return frames


def _time_share(photograph: NDArray[Any]) -> float:
    """Time of looking for cuts in frames of 640x360, as a share of that of looking for motion as `fast` does."""
    wide = np.asarray(cv2.resize(photograph, (700, 400), interpolation=cv2.INTER_AREA), np.float32)
    frames = [np.ascontiguousarray(wide[:360, k % 60 : k % 60 + 640]) for k in range(_RUNS)]
    finder, search = CutDetector(), flow.FlowFinder("brisk")
    small = [flow.grey(np.asarray(cv2.resize(frame, (400, 225)), np.float32)) for frame in frames]
    began = time.perf_counter()
    for k, frame in enumerate(frames):
        finder(frame, frames[k + 1 : k + 1 + LOOKAHEAD])
    looked = time.perf_counter()
    for one_grey, after_grey in itertools.pairwise(small):
        search(after_grey, one_grey)
    return (looked - began) / (time.perf_counter() - looked)
