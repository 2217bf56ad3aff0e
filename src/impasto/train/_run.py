"""One training from start to end: photographs, teacher, trainer, and what is written on the way."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from impasto import images, networks, predictors, trained
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.data import Crops, Photographs, load_photographs
from impasto.errors import Cancelled, InputError
from impasto.knobs import TrainKnobs
from impasto.report.files import write_whole
from impasto.train import _pages
from impasto.train._critic import PATCH
from impasto.train._student import CACHED, Batch, Batches, Reader, Student, Table
from impasto.train._teacher import Balance, Floats, Lesson, SharedBalance, Teacher

_SAVED_EVERY = 60.0  # seconds between two checkpoints
_SAMPLED = 16  # paintings whose budgets stand for those of all
_SHOWN = 6  # paintings in the sheets of a network for any painting
_VALIDATIONS = 20  # in all
_VALIDATED = 8  # crops, or one a style
_PROGRESS = 0.005  # of the validation loss counts as progress
_CLIP = 1.0  # of the gradient's norm; about twice what is usual, so only outliers are cut
_FREE = ("minutes", "steps", "patience")  # knobs that may differ when a run goes on


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        path: the network's file.
        steps: steps taken, those of earlier runs included.
        seconds: of training, likewise.
        losses: validation losses at the end.
        pictures_a_second: photographs that this run learnt from, a second.
        early: whether it stopped because nothing got better.
        leader: whether this is the first of the processes that trained together.
    """

    path: Path
    steps: int
    seconds: float
    losses: Mapping[str, float]
    pictures_a_second: float
    early: bool
    leader: bool = True


@dataclass(frozen=True)
class Course:
    """What to train, from what, and where it goes.

    Attributes:
        lessons: the styles.
        source: photographs, as `load_photographs` takes them.
        target: the file to write, `.safetensors`.
        knobs: of the training.
        start: a network to start from, whose architecture then counts.
        only_codes: keep its convolutions and learn the new styles' codes alone; its own styles stay in the file.
        specimen: the photograph of the thumbnails, `(H, W, 3)`; a validation photograph by default.
        devices: processes on as many devices, joined by Lightning's DDP; those of torchrun are noticed.
        resume: go on where the checkpoint stands.
        unseen: how many of the last lessons are never learnt from, only validated in. Above 0 a network for any
            painting is trained; it learns each painting also with its colours exchanged, to see more of them.
    """

    lessons: Sequence[Lesson]
    source: Path
    target: Path
    knobs: TrainKnobs
    start: networks.Trained | None = None
    only_codes: bool = False
    specimen: Floats | None = None
    devices: int = 1
    resume: bool = False
    unseen: int = 0

    @property
    def learnt(self) -> int:
        """How many of the lessons, the first, are learnt from."""
        return len(self.lessons) - self.unseen

    @property
    def shown(self) -> list[tuple[int, Lesson]]:
        """Lessons with their numbers that sheets and thumbnails show."""
        numbered = list(enumerate(self.lessons))
        return numbered[self.learnt :][:_SHOWN] if self.unseen else numbered

    @property
    def folder(self) -> Path:
        """Where the checkpoint and everything else lie."""
        return self.target.with_name(f"{self.target.stem}.training")

    def recipe(self) -> dict[str, Any]:
        """What a run that goes on has to have in common with the one before."""
        names = [lesson.name for lesson in self.lessons]
        return {**asdict(self.knobs), "styles": names, "only_codes": self.only_codes, "unseen": self.unseen}


def train(
    course: Course,
    *,
    weights: Mapping[str, Mapping[str, Tensor]],
    placement: Placement,
    on_progress: OnProgress = ignore,
    on_note: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train one network in one style or several.

    Beside the target, a folder `NAME.training` holds the checkpoint, the losses (CSV, TensorBoard, a curve) and sheets
    of validation pictures; the target itself is written again at each checkpoint.

    Args:
        course: what to train.
        weights: of `ASSETS`, by id.
        placement: device and precision.

    Raises:
        InputError: too few photographs, or a checkpoint that does not fit.
        Cancelled: `on_progress` asked to stop; the checkpoint is written.
    """
    knobs, folder = course.knobs, course.folder
    done = _checkpoint(course)
    photographs = load_photographs(
        course.source, least_side=knobs.crop, seed=knobs.seed, on_progress=on_progress, on_note=on_note
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "recipe.json", json.dumps(course.recipe(), indent=2) + "\n")
    learning, held = photographs.split(seed=knobs.seed)
    student = _student(course, weights, placement, on_progress)
    if done is None:  # a checkpoint brings its own
        squares = _squares(held, knobs, _VALIDATED).to(placement.device)
        budgets = student.teacher.budgets(squares, range(min(course.learnt, _SAMPLED)) if course.unseen else None)
        student.balance.budgets.copy_(knobs.content_budget * (budgets.median() if course.unseen else budgets))
    crops = Crops(learning, knobs.crop, knobs.canvas, knobs.seed, _crop_count(len(learning), knobs))
    attendant = _Attendant(_Desk(course, held), on_progress)
    student.loader = _Loader(crops, course.learnt, knobs, 0 if done is None else done)
    with _quiet():
        trainer = _trainer(course, placement, attendant)
        trainer.fit(student, ckpt_path=folder / "last.ckpt" if done is not None else None, weights_only=True)
    return attendant.outcome(trainer, student)


def load(name: str) -> networks.Trained:
    """A network to start from: `pack`, or a file.

    Raises:
        InputError: there is none, or it is no network of ours.
    """
    if name == "pack" and not trained.PACK.exists():
        raise InputError("no pack of styles is installed", "give a file that impasto train has written")
    return networks.read(trained.PACK if name == "pack" else name)


class _Loader:
    """Makes the loader once the trainer knows which process this is."""

    def __init__(self, crops: Crops, styles: int, knobs: TrainKnobs, done: int) -> None:
        self.crops, self.styles, self.knobs, self.done = crops, styles, knobs, done

    def __call__(self, rank: int, world: int) -> DataLoader[Batch]:
        start = self.done * self.knobs.accumulate
        batches = Batches(self.crops, self.styles, self.knobs, start=start, rank=rank, world=world)
        return DataLoader(batches, batch_size=None)


def _checkpoint(course: Course) -> int | None:
    """Steps that are done, or None when there is nothing to go on from."""
    path = course.folder / "last.ckpt"
    if not path.exists():
        return None
    if not course.resume:
        raise InputError(f"{course.folder} holds a training", "go on with --resume, or remove it to start anew")
    # a setting that the recipe lacks is younger than it, and was as its default
    before = {**asdict(TrainKnobs()), **json.loads((course.folder / "recipe.json").read_text())}
    for name, value in course.recipe().items():
        if name not in _FREE and before.get(name) != value:
            raise InputError(f"{course.folder} was begun with {name} {before.get(name)}, not {value}", "give the same")
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])


def _student(
    course: Course, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement, on_progress: OnProgress
) -> Student:
    lessons, knobs, start = course.lessons, course.knobs, course.start
    teacher = Teacher(weights, lessons, knobs, placement, on_progress)
    if knobs.adversarial_weight and teacher.narrowest < PATCH:
        raise InputError(
            f"a painting is {teacher.narrowest} px wide on its canvas; the critic looks at {PATCH} px",
            "use a larger --canvas, another painting, or no --adversarial-weight",
        )
    generator = torch.Generator().manual_seed(knobs.seed)
    if start is None:
        network = networks.Network(networks.ARCHITECTURES[knobs.network], generator)
        codes = network.neutral_code().repeat(len(lessons), 1)
    else:
        network = start.network()
        mean = torch.cat([start.code(name) for name in start.styles]).mean(0, keepdim=True)
        codes = torch.cat([start.code(one.name) if one.name in start.styles else mean for one in lessons])
    common = {"placement": placement, "knobs": knobs}
    if not course.unseen:
        balance = Balance(len(lessons), knobs)
        return Student(network, Table(codes), teacher, balance, only_codes=course.only_codes, **common)  # type: ignore[arg-type]
    predictor = predictors.Predictor(codes.mean(0, keepdim=True), generator)
    reader = Reader(predictor, [_seen(lesson) for lesson in lessons], knobs.seed)
    validated = range(course.learnt, len(lessons))
    return Student(network, reader, teacher, SharedBalance(knobs), validated=validated, **common)  # type: ignore[arg-type]


def _seen(lesson: Lesson) -> Tensor:
    """A painting as a predictor looks at it."""
    height, width = lesson.pixels.shape[:2]
    width, height = images.fit(width, height, predictors.SIDE)
    return images.to_tensor(images.quantise(images.resize(lesson.pixels, height, width), 8))


def _crop_count(photographs: int, knobs: TrainKnobs) -> int:
    """As many crops as the cache holds features of, so that each is looked at once; at least 16 a photograph."""
    feature = 512 * (knobs.crop // 8) ** 2 * 2
    held = CACHED // feature // photographs
    return photographs * (held if held >= 4 else 16)


def _squares(photographs: Photographs, knobs: TrainKnobs, count: int) -> Tensor:
    crops = Crops(photographs, knobs.crop, knobs.canvas, knobs.seed, count)
    return torch.cat([images.to_tensor(crops[index]) for index in range(count)])


def _trainer(course: Course, placement: Placement, attendant: lightning.Callback) -> lightning.Trainer:
    knobs, folder = course.knobs, course.folder
    kind, _, index = placement.device.partition(":")
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))  # these two are torchrun's
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", course.devices))
    joined = nodes * devices > 1
    named = [int(index)] if index and not joined and kind == "cuda" else devices
    return lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=named,
        num_nodes=nodes,
        strategy="ddp" if joined else "auto",
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=[attendant],
        max_epochs=-1,
        max_steps=-1,
        accumulate_grad_batches=knobs.accumulate,
        gradient_clip_val=_CLIP,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for people who write loops; ours has been heeded or does not apply."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for text in (
                ".*does not have many workers.*",
                ".*`max_epochs` was not set.*",
                ".*GPU available but not used.*",
                ".*You are running a validation loop without.*",
                ".*Checkpoint directory .* exists.*",
                ".*was configured so `IterableDataset`.*",
                ".*treespec, LeafSpec.*",
                ".*isinstance.treespec, LeafSpec.*",
            ):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True)
class _Desk:
    """Writes what a training shows of itself."""

    course: Course
    held: Photographs

    def write_losses(self, student: Student, validations: Sequence[Mapping[str, float]]) -> None:
        """CSV and curves."""
        _pages.write_csv(self.course.folder / "losses.csv", student.history)
        _pages.write_csv(self.course.folder / "validation.csv", validations)
        _pages.write_curves(self.course.folder / "losses.svg", student.history)

    def write_network(self, student: Student, validations: Sequence[Mapping[str, float]]) -> None:
        """The file, good for stylising."""
        names = [lesson.name for lesson in self.course.lessons]
        tensors, about = student.tensors(names), self._about(student, validations)
        kept = self.course.start
        if kept is not None and self.course.only_codes:  # the styles that the network had before stay in it
            tensors = {**kept.tensors, **tensors}
            for key in ("thumbnails", "licences", "paintings"):
                about[key] = {**kept.about.get(key, {}), **about[key]}
            about["styles"] = [*kept.styles, *(name for name in names if name not in kept.styles)]
        networks.Trained(tensors, about).save(self.course.target)

    def write_sheet(self, student: Student) -> None:
        """Validation photographs in the styles."""
        path = self.course.folder / f"sheet-{student.global_step:06d}.png"
        _pages.write_sheet(path, self._pictures(student))

    def _pictures(self, student: Student) -> Iterator[tuple[Floats, str]]:
        for row, lesson in self.course.shown:
            for photograph in self.held.pixels[:3]:
                yield self._painted(student, row, photograph, min(320, self.course.knobs.canvas)), lesson.name

    def _painted(self, student: Student, style: int, photograph: Any, longest: int) -> Floats:
        unit = photograph.astype(np.float32) / np.float32(255) if photograph.dtype == np.uint8 else photograph
        return _pages.painted(student, style, unit, longest)

    def _about(self, student: Student, validations: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        about = {
            "recipe": {
                **asdict(self.course.knobs),
                "steps_done": student.global_step,
                "seconds": round(student.spent),
            },
            "losses": _pages.thinned(student.history),
            "validation": list(validations),
        }
        return about | (self._of_all(student) if self.course.unseen else self._of_styles(student))

    def _of_all(self, student: Student) -> dict[str, Any]:
        """What there is to say of a network for any painting."""
        learnt, unseen = self.course.lessons[: self.course.learnt], self.course.lessons[self.course.learnt :]
        return {
            "kind": predictors.KIND,
            "paintings": sorted({lesson.id for lesson in learnt}),
            "unseen": [lesson.id for lesson in unseen],
            "licences": sorted({lesson.licence for lesson in learnt}),
            "style_weight": round(float(student.balance.weights[0]), 3),
        }

    def _of_styles(self, student: Student) -> dict[str, Any]:
        specimen = self.held.pixels[0] if self.course.specimen is None else self.course.specimen
        thumbnails = {
            lesson.name: _pages.thumbnail(self._painted(student, row, specimen, 256))
            for row, lesson in enumerate(self.course.lessons)
        }
        return {
            "styles": [lesson.name for lesson in self.course.lessons],
            "paintings": {lesson.name: lesson.id for lesson in self.course.lessons},
            "licences": {lesson.name: lesson.licence for lesson in self.course.lessons},
            "thumbnails": thumbnails,
            "style_weights": {
                lesson.name: round(float(weight), 3)
                for lesson, weight in zip(self.course.lessons, student.balance.weights, strict=True)
            },
        }


class _Attendant(lightning.Callback):
    """Reports, validates, saves and stops."""

    def __init__(self, desk: _Desk, on_progress: OnProgress) -> None:
        self.desk, self.on_progress = desk, on_progress
        self.validations: list[dict[str, float]] = []
        self.early = False
        self._saved = self._began = time.monotonic()
        self._first = 0
        self._next = 0.0
        self._seen = -1

    def on_train_start(self, trainer: lightning.Trainer, student: lightning.LightningModule) -> None:
        """Note where this run begins."""
        assert isinstance(student, Student)
        self._began = self._saved = time.monotonic()
        self._first = self._seen = student.global_step
        self._next = student.share
        if student.share >= 1:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, student: lightning.LightningModule, *_arguments: Any
    ) -> None:
        """After each step."""
        assert isinstance(student, Student)
        if student.global_step == self._seen:
            return
        self._seen = student.global_step
        share = student.share
        if share >= self._next or share >= 1:
            self._next = share + 1 / _VALIDATIONS
            self._validate(trainer, student)
        over = share >= 1 or self.early
        if over or trainer.strategy.broadcast(time.monotonic() - self._saved > _SAVED_EVERY):
            self._save(trainer, student)
        trainer.should_stop = over
        if trainer.is_global_zero:
            self._report(trainer, student)

    def _report(self, trainer: lightning.Trainer, student: Student) -> None:
        latest = {name: value for name, value in student.history[-1].items() if name != "step"}
        if trainer.logger is not None and student.global_step % 10 == 0:
            trainer.logger.log_metrics(latest, step=student.global_step)
        total = self.desk.course.knobs.steps
        report = Progress(*("training", student.global_step, total if total else 0), done=student.share, losses=latest)
        try:
            self.on_progress(report)
        except Cancelled:
            self._save(trainer, student)
            raise

    def _validate(self, trainer: lightning.Trainer, student: Student) -> None:
        losses = student.validate(
            _squares(self.desk.held, self.desk.course.knobs, max(_VALIDATED, len(student.validated)))
        )
        losses = {name: float(trainer.strategy.broadcast(value)) for name, value in losses.items()}
        self.validations.append({"step": float(student.global_step), **losses})
        if trainer.is_global_zero:
            self.desk.write_sheet(student)
            if trainer.logger is not None:
                named = {f"validation_{name}": value for name, value in losses.items()}
                trainer.logger.log_metrics(named, step=student.global_step)
        patience = self.desk.course.knobs.patience
        totals = [one["loss"] for one in self.validations]
        if patience and len(totals) > patience:
            self.early = min(totals[-patience:]) > min(totals[:-patience]) * (1 - _PROGRESS)

    def _save(self, trainer: lightning.Trainer, student: Student) -> None:
        """Checkpoint, network and losses, each whole or not at all."""
        partial = self.desk.course.folder / ".last.ckpt.part"
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.desk.course.folder / "last.ckpt")
            self.desk.write_network(student, self.validations)
            self.desk.write_losses(student, self.validations)
        self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the attendant."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self.validations = list(state_dict["validations"])

    def outcome(self, trainer: lightning.Trainer, student: Student) -> Outcome:
        """What the training came to."""
        knobs = self.desk.course.knobs
        pictures = (student.global_step - self._first) * knobs.batch * knobs.accumulate * trainer.world_size
        losses = {name: value for name, value in self.validations[-1].items() if name != "step"}
        took = max(1e-9, time.monotonic() - self._began)
        return Outcome(
            self.desk.course.target,
            student.global_step,
            student.spent,
            losses,
            pictures / took,
            self.early,
            trainer.is_global_zero,
        )
