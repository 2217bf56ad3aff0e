"""Trainings as jobs: a painting becomes a style of one pass, with photographs that the server's owner has named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import images
from impasto.contract import OnProgress, Progress
from impasto.engine.engine import Demand, Engine
from impasto.errors import Cancelled, InputError, MissingExtra, quoted, require_installed
from impasto.files import make_folder
from impasto.methods.settings import TrainKnobs
from impasto.models.checkpoint import SUFFIX
from impasto.serve import listing
from impasto.serve.fields import OrderReader, Upload, Values, read_number, read_text, single
from impasto.serve.jobs import TRAINING, Painted
from impasto.serve.settings import ServeSettings
from impasto.train.data import check_photographs, style_name

if TYPE_CHECKING:
    from impasto.train import TrainingStyle

_SETTINGS = ("style", "name", "minutes")
_MINUTES = 12.0
_LEAST_MINUTES = 0.01
_LEAST_SIDE = 64  # pixels of a painting
_SHEET_SIDE = 960


@dataclass(frozen=True)
class TrainingOrder:
    """A request for a training that was read and checked.

    Attributes:
        painting: `(H, W, 3)` in [0, 1].
        id, licence: of the painting.
        name: of the style.
        minutes: how long to train.
    """

    painting: Any
    id: str
    licence: str
    name: str
    minutes: float

    method, slow, bytes = TRAINING, True, 0
    """What is counted, as of `fields.Order`."""

    @property
    def demand(self) -> Demand:
        """What it will take."""
        return Demand(slow=True, seconds=60 * self.minutes)


@dataclass(frozen=True)
class Trainings:
    """Reads requests for trainings, and trains.

    Attributes:
        limits: what is allowed, and where the photographs are.
        reader: reads paintings.
    """

    limits: ServeSettings
    reader: OrderReader

    def check(self) -> None:
        """Raise what a client is told where no style is trained here.

        Raises:
            InputError: the owner has named no photographs.
            MissingExtra: the extra `train` is not installed.
        """
        if self.limits.training_photos is None:
            hint = "its owner names a folder of photographs when starting it"
            raise InputError("this service trains no styles: it has no photographs to train with", hint)
        require_installed("lightning", "train")

    def about(self) -> dict[str, Any]:
        """Whether styles are trained here, why not, and for how long."""
        why = ""
        try:
            self.check()
        except (InputError, MissingExtra) as error:
            why = error.message
        most = self.limits.training_minutes
        return {"offered": not why, "why_not": why, "minutes": min(_MINUTES, most), "most_minutes": most}

    def plain_settings(self, given: Values) -> dict[str, Any]:
        """Settings by name; what is empty counts as not given. Raises InputError for one that is unknown."""
        unknown = next((name for name in given if name not in _SETTINGS), None)
        if unknown is not None:
            raise InputError(f"there is no setting {quoted(unknown)}", f"a training takes {', '.join(_SETTINGS)}")
        several = next((name for name, value in given.items() if isinstance(value, list) and len(value) > 1), None)
        if several is not None:
            raise InputError(f"{several} was given {len(given[several])} times", "give it once")
        plain = {name: value[0] if value and isinstance(value, list) else value for name, value in given.items()}
        return {name: value for name, value in plain.items() if value not in (None, "", [])}

    def read(self, uploads: Sequence[Upload], given: Values) -> TrainingOrder:
        """The order of `plain_settings`.

        Raises:
            InputError: something cannot be used, or nothing is trained here; MissingExtra likewise.
        """
        self.check()
        minutes = read_number("minutes")(given.get("minutes", min(_MINUTES, self.limits.training_minutes)))
        if not _LEAST_MINUTES <= minutes <= self.limits.training_minutes:
            told = f"it takes {_LEAST_MINUTES:g} to {self.limits.training_minutes:g}"
            raise InputError(f"minutes is {minutes:g}", told)
        title, painting, found, licence = self._painting(uploads, given)
        if min(painting.shape[:2]) < _LEAST_SIDE:
            height, width = painting.shape[:2]
            raise InputError(f"the painting is {width}x{height} px", f"{_LEAST_SIDE} px are needed")
        name = _checked_name(read_text(given["name"])) if "name" in given else style_name(title)
        return TrainingOrder(painting, found, licence, name, minutes)

    def _painting(self, uploads: Sequence[Upload], given: Values) -> tuple[str, Any, str, str]:
        """Title, pixels, id and licence of the one painting."""
        upload = single(uploads, "style")
        if len(uploads) > (upload is not None) or (upload is not None and "style" in given):
            raise InputError("more than one painting was given", "give one as style: a file, or an id of /v1/styles")
        if upload is not None:
            picture = self.reader.decode(upload)
            return Path(upload.name).stem or "style", images.as_float(picture.pixels), "upload", "not stated"
        if "style" not in given:
            raise InputError("no painting was given", "give one as style: a file, or an id of /v1/styles")
        library = self.reader.library
        found = library.find(self.reader.painting_id(read_text(given["style"])))
        return found.title, images.as_float(library.read(found).pixels), found.id, found.licence

    def train(self, engine: Engine, order: TrainingOrder, folder: Path, on_progress: OnProgress) -> Painted:
        """Train; the checkpoint stays in `folder`, from which a broken training goes on.

        Raises:
            Cancelled: as `on_progress` does, with the style as it is in `result`.
        """
        from impasto import train as training
        from impasto.assets import load_weights
        from impasto.train.data import thumbnail_photograph

        assert self.limits.training_photos is not None
        check_photographs(self.limits.training_photos)
        make_folder(folder)
        target = folder / f"style{SUFFIX}"
        job = training.StyleTraining(
            source=self.limits.training_photos,
            target=target,
            knobs=TrainKnobs(minutes=order.minutes),
            resume=True,
            training_styles=[_style(order)],
            thumbnail_photograph=thumbnail_photograph(engine.store),
        )
        engine.store.fetch(job.assets, on_progress=on_progress)
        listener = _Listener(job.folder, on_progress)
        try:
            done = training.train(
                job,
                weights={asset: load_weights(engine.store.path(asset)) for asset in job.assets},
                placement=engine.placement(("float32", "bfloat16")),
                on_progress=listener,
            )
        except Cancelled as error:
            if target.exists():
                error.result = _trained(order, target, listener, 0.0)
            raise
        return _trained(order, target, listener, done.seconds)


class _Listener:
    """Passes reports on, with each new sheet of validation pictures as a preview."""

    def __init__(self, folder: Path, on_progress: OnProgress) -> None:
        self._folder, self._on_progress = folder, on_progress
        self._shown = ""
        self.sheet: images.Picture | None = None

    def __call__(self, progress: Progress) -> None:
        newest = max((path.name for path in self._folder.glob("sheet-*.png")), default="")
        if newest != self._shown:
            self._shown = newest
            self.sheet = images.read(self._folder / newest)
            pixels = images.to_tensor(np.ascontiguousarray(images.as_float(self.sheet.pixels)))
            progress = replace(progress, preview=pixels)
        self._on_progress(progress)


def _trained(order: TrainingOrder, target: Path, listener: _Listener, seconds: float) -> Painted:
    poster = b"" if listener.sheet is None else listing.jpeg(listener.sheet, _SHEET_SIDE)
    return Painted(
        target.read_bytes(), f"{order.name}{SUFFIX}", "application/octet-stream", {}, seconds=seconds, poster=poster
    )


def _style(order: TrainingOrder) -> TrainingStyle:
    from impasto.train import TrainingStyle

    return TrainingStyle(order.name, order.painting, order.id, order.licence)


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[^\W\d_][\w -]{0,39}", name):
        raise InputError(f"the name is {quoted(name)}", "it takes up to 40 letters, digits and spaces, a letter first")
    return style_name(name)
