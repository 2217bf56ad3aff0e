"""Snapshots of a long job: pictures to look at, and a state to resume from.

Everything lies in one folder: `step-00040.png` is the picture after 40 steps, and `state.safetensors` the newest state,
which replaces the one before, whole, and goes when the job ends. It holds tensors and plain values, no pickles.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto import images, videos
from impasto.contract import Snapshot
from impasto.errors import InputError, as_whole, require
from impasto.files import discard_leftovers, whole
from impasto.images import Picture

Floats: TypeAlias = NDArray[np.float32]

EVERY = 10
"""Steps between two snapshots when nothing else is said."""

FRAMES_A_SECOND = 12.5
_STATE, _FORMAT = "state.safetensors", 1


@dataclass(frozen=True)
class SavedState:
    """Where a job was stopped: the state for `Job.resume`, and the losses of the steps so far."""

    state: Mapping[str, Tensor]
    losses: tuple[Mapping[str, float], ...]

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return int(self.state["steps"])


@dataclass(frozen=True)
class Snapshots:
    """Keeps snapshots of one job.

    Attributes:
        folder: where; made when needed.
        every: steps between two.
        resume: go on from the state that lies there, if one does.
    """

    folder: Path
    every: int = EVERY
    resume: bool = False

    def check(self) -> None:
        """Raise InputError for a number that is none, or a folder that cannot be one."""
        if as_whole(self.every, low=1) is None:
            raise InputError(f"--save-every is {self.every!r}", "it takes a whole number of steps, 1 or more")
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.folder}: {error.strerror}", "choose another -o") from error
        if not os.access(self.folder, os.W_OK):
            raise InputError(f"the folder {self.folder} is read-only", "choose another -o")

    @property
    def has_state(self) -> bool:
        """Whether a stopped job left a state here."""
        return (self.folder / _STATE).is_file()

    def begin(self, identity: Mapping[str, Any]) -> SavedState | None:
        """Find where to go on, or clear the way for a job that begins.

        Args:
            identity: plain values of all that the picture depends on.

        Raises:
            InputError: the state is of another job, or no state of ours.
        """
        if self.resume and self.has_state:
            return self._load(identity)
        discard_leftovers(self.folder)
        for path in (*self.frames(), self.folder / _STATE):
            path.unlink(missing_ok=True)
        return None

    def is_due(self, step: int) -> bool:
        """Whether the step is one of every so many; the first picture, before any step, is."""
        return step % self.every == 0

    def keep(
        self,
        snapshot: Snapshot,
        step: int,
        identity: Mapping[str, Any],
        losses: Sequence[Mapping[str, float]],
        finished: Callable[[Tensor], Picture],
    ) -> None:
        """Write the picture after `step`, and the state in place of the one before.

        Args:
            snapshot: of the job.
            step: that it has come to.
            identity: see `begin`.
            losses: of all steps, each with its number as `step`.
            finished: from the image to what would be saved.

        Raises:
            ResourceError: the disk is full.
        """
        self._store_frame(finished(snapshot.image()), step)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.state().items()}
        done = int(state["steps"])
        known = {
            "format": _FORMAT,
            "identity": identity,
            "losses": [entry for entry in losses if entry.get("step", 0) <= done],
        }
        self._store(state, {"impasto": json.dumps(known)})

    def end(self, picture: Picture, step: int) -> None:
        """The job is done: its picture is the last, and nothing is left to go on from."""
        self._store_frame(picture, step)
        (self.folder / _STATE).unlink(missing_ok=True)

    def frames(self) -> list[Path]:
        """The pictures, in the order of their steps."""
        return sorted(self.folder.glob("step-*.png"))

    def _store_frame(self, picture: Picture, step: int) -> None:
        bare = replace(picture, origin=images.Origin())  # where and when the photograph was taken stays out of it
        images.write(bare, self.folder / f"step-{step:05d}.png")

    def _store(self, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
        with whole(self.folder / _STATE) as temporary:
            try:
                save_file(state, temporary, metadata)
            except SafetensorError as error:  # it tells what the system said in its text alone
                said = re.search(r"os error (\d+)", str(error))
                raise OSError(int(said[1]) if said else 0, str(error)) from error

    def _load(self, identity: Mapping[str, Any]) -> SavedState:
        path = self.folder / _STATE
        begin_again = "give what it was made with, or leave out --resume to begin again"
        try:
            with safe_open(path, "pt") as file:
                known = json.loads((file.metadata() or {}).get("impasto", "{}"))
                # in memory of their own: sums over tensors that lie elsewhere than usual round otherwise
                state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"the snapshot {path} cannot be read", "leave out --resume to begin again") from error
        if known.get("format") != _FORMAT:
            raise InputError(f"the snapshot {path} is not of this version", "leave out --resume to begin again")
        others = different(known["identity"], json.loads(json.dumps(identity)))
        if others:
            raise InputError(f"the snapshot {path} is of another job: {', '.join(others)}", begin_again)
        return SavedState(state, tuple(known["losses"]))


def different(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """The differences between two identities, in words: names, and values where they are short."""
    found: list[str] = []
    for name in sorted(kept.keys() | asked.keys()):
        one, other = kept.get(name), asked.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += different(one, other)
        elif max(len(str(one)), len(str(other))) < 24:
            found.append(f"{name} {one}, not {other}")
        else:
            found.append(f"another {name}")
    return found


def check_moving(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before anything is computed, an animation or video that could not be written.

    Raises:
        InputError: an ending that is neither an animation's nor a video's, or a place where nothing can be written.
        MissingExtra: videos need the extra `video`.
    """
    if path.suffix.lower() in images.ANIMATIONS:
        images.check_animation(path, inputs)
        return
    allowed = [ending for ending in (*images.ANIMATIONS, *videos.VIDEO_EXTENSIONS) if ending != ".png"]
    if path.suffix.lower() not in allowed:
        raise InputError(f"{path.name} is no animation or video", f"let it end in {', '.join(dict.fromkeys(allowed))}")
    images.check_output(path, inputs, formats=allowed)
    require("av", "video")


def write_moving(frames: Iterable[Floats], path: Path) -> None:
    """Write pictures one after another as an animation (.gif, .webp: a loop) or a video, `FRAMES_A_SECOND`.

    Args:
        frames: `(H, W, 3)` in [0, 1], all of one size; at least one. A video takes them one at a time.
        path: where.

    Raises:
        InputError: the file cannot be written there.
        MissingExtra: videos need the extra `video`.
        ResourceError: the disk is full.
    """
    check_moving(path)
    if path.suffix.lower() in images.ANIMATIONS:
        images.write_animation(list(frames), path, milliseconds=round(1000 / FRAMES_A_SECOND))
        return
    with videos.VideoWriter(path, rate=FRAMES_A_SECOND) as writer:
        for pixels in frames:
            writer.write(pixels)


def write_time_lapse(pictures: Sequence[Path], path: Path) -> None:
    """Join snapshots to an animation or a video, which lingers on the last for a second.

    Raises:
        InputError: there are none, or as `write_moving`.
    """
    if not pictures:
        raise InputError("no snapshot was taken for a time-lapse", "use a smaller --save-every")
    shown = [*pictures, *[pictures[-1]] * round(FRAMES_A_SECOND)]
    write_moving((images.read(picture).pixels for picture in shown), path)
