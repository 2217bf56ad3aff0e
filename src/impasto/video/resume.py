"""The folder of a film job: whole segments and what the next one needs to know, so that a killed job goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from impasto.engine.digests import content_digest
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.files import discard_leftovers, storing, whole, write_json
from impasto.video.settings import Film
from impasto.videos import Segment


def fingerprint(source: Path, styles: Any, request: Request, film: Film) -> str:
    """A digest that a resumed job must share with the one before: styles and settings by their content.

    Raises:
        InputError: a style or a mask cannot be read.
    """
    about = source.stat()  # hashing all of a film would take as long as decoding it
    film_file = [str(source.resolve()), about.st_size, about.st_mtime_ns]
    return content_digest([version("impasto"), *film_file, styles, request, film])


class FilmFolder:
    """The folder of a job: its settings, its segments, and what the next segment needs to know."""

    def __init__(self, out: Path, fingerprint: str, *, resume: bool) -> None:
        name = out.parent.name if "%" in out.name else out.name
        place = out.parent.parent if "%" in out.name else out.parent
        self.folder = place / f".{name}.impasto"
        self._plan = self.folder / "plan.json"
        self.fingerprint, self._resume = fingerprint, resume
        self.segments: list[Segment] = []
        self.state: dict[str, np.ndarray] = {}
        self.done = False

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder, or read what is in it. One that holds no segment is taken away in the end."""
        if self._resume and self._plan.is_file():
            self._read()
        else:
            self._make()
        try:
            yield
        finally:
            if not self.segments:
                self.remove()

    def _make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with storing(self.folder.name):
            self.folder.mkdir()
        write_json(self._plan, {"fingerprint": self.fingerprint, "segments": []})

    def _read(self) -> None:
        try:
            plan = json.loads(self._plan.read_text())
        except ValueError:
            plan = {"fingerprint": "", "segments": []}
        if plan["fingerprint"] != self.fingerprint:
            raise InputError(
                f"the job in {self.folder} has other settings, or its video has changed",
                "give the settings of then, or leave out --resume to begin anew",
            )
        self.segments = [Segment(self.folder / name, Fraction(start), count) for name, start, count in plan["segments"]]
        self.done = plan.get("done", False)
        if self.segments and not self.done:
            with np.load(self._state(len(self.segments))) as stored:
                self.state = dict(stored)
        discard_leftovers(self.folder)

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number:05d}.npz"

    def next_path(self) -> Path:
        """Where the next segment goes."""
        return self.folder / f"segment-{len(self.segments):05d}"

    def add(self, segment: Segment, state: Mapping[str, np.ndarray], *, done: bool) -> None:
        """Take in a whole segment: the state first, then the list that names both."""
        self.segments.append(segment)
        self.done = done
        number = len(self.segments)
        with whole(self._state(number)) as temporary, temporary.open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]
        listed = [(each.path.name, str(each.start), each.count) for each in self.segments]
        write_json(self._plan, {"fingerprint": self.fingerprint, "segments": listed, "done": done})
        with suppress(OSError):
            self._state(number - 1).unlink()

    def remove(self) -> None:
        """Take all away."""
        shutil.rmtree(self.folder, ignore_errors=True)
