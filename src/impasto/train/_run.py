"""One training from start to end: photographs, learner, trainer, and what is written on the way."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.utils.data import DataLoader

from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.errors import Cancelled, InputError
from impasto.files import check_no_folder, discard_leftovers, whole, write_whole
from impasto.memory import FREED_MEMORY
from impasto.methods.settings import ScheduleKnobs
from impasto.train import _pages
from impasto.train._jobs import PALETTE, STARTING, Beginning, TrainingJob, folder_of
from impasto.train._learner import Batch, Batches, Learner, validation_crops
from impasto.train.data import Crops, Photographs

_LAST = "last.ckpt"
_SAVED_EVERY = 60.0  # seconds between two checkpoints
_VALIDATIONS = 20  # in all
_PROGRESS = 0.005  # of the validation loss counts as progress
_CLIP = 1.0  # of the gradient's norm; about twice what is usual, so only outliers are cut
_RESUMABLE = ("minutes", "steps", "patience")  # knobs that may change when a run is resumed
# what a run had whose recipe is older than the setting, where that is not the default
_BEFORE = {"grid_weight": 0.0, PALETTE: False, "layerwise": 0.0}

OnValidation: TypeAlias = Callable[[int, Mapping[str, float]], bool]


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        path: the network's file.
        steps: steps taken, those of earlier runs included.
        seconds: training time, that of earlier runs included.
        losses: validation losses at the end.
        pictures_a_second: photographs a second in this run.
        early: whether it stopped early: after `patience` validations without progress, or by `on_validation`.
        leader: whether this is the first of the processes that trained together.
    """

    path: Path
    steps: int
    seconds: float
    losses: Mapping[str, float]
    pictures_a_second: float
    early: bool
    leader: bool = True


def train(
    job: TrainingJob,
    *,
    weights: Mapping[str, Mapping[str, Tensor]],
    placement: Placement,
    on_progress: OnProgress = ignore,
    on_note: Callable[[str], None] = lambda _: None,
    on_validation: OnValidation = lambda _step, _losses: True,
    validations: int | None = None,
) -> TrainingResult:
    """Train a network.

    Beside the target, a folder `NAME.training` holds the checkpoint, the losses (CSV, TensorBoard, a curve) and sheets
    of validation pictures; the target itself is written again at each checkpoint.

    Args:
        job: what to train.
        weights: of the job's `assets`, by id.
        placement: device and precision.
        on_validation: called with the step and the validation losses; the training ends where it returns False.
        validations: their number in all; 20 by default.

    Raises:
        InputError: too few photographs, or a checkpoint that does not fit.
        Cancelled: `on_progress` asked to stop; the checkpoint is written.
    """
    knobs, folder = job.knobs, job.folder
    done, placement = _checkpoint(job), _own_device(placement, _processes(job))
    job = job.loaded(on_progress, on_note)
    assert isinstance(job.source, Photographs)
    photographs = job.source
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "recipe.json", json.dumps(job.recipe(), indent=2) + "\n")
    training, validation = photographs.split(seed=knobs.seed)
    learner = job.learner(Beginning(weights, placement, None if done is not None else validation, on_progress))
    crops = Crops(training, knobs.crop, knobs.canvas, knobs.seed, job.crop_count(len(training)))
    callback = _Callback(_Outputs(job, validation), on_progress, on_note, on_validation, validations or _VALIDATIONS)
    learner.loader = _Loader(crops, job.style_count, knobs, 0 if done is None else done)
    with _quiet(), FREED_MEMORY.during_job(limited=False):
        trainer = _trainer(job, placement, callback)
        trainer.fit(learner, ckpt_path=folder / _LAST if done is not None else None, weights_only=True)
    return callback.result(trainer, learner)


class _Loader:
    """Makes the loader once the trainer knows which process this is."""

    def __init__(self, crops: Crops, styles: int, knobs: ScheduleKnobs, done: int) -> None:
        self.crops, self.styles, self.knobs, self.done = crops, styles, knobs, done

    def __call__(self, rank: int, world: int) -> DataLoader[Batch]:
        start = self.done * self.knobs.accumulate
        batches = Batches(self.crops, self.styles, self.knobs, start=start, rank=rank, world=world)
        return DataLoader(batches, batch_size=None)


def check_target(target: Path, *, resume: bool) -> None:
    """Refuse to start or resume a training whose output file or folder does not allow it.

    Raises:
        InputError: another training has begun there, and `resume` is not set; or the file's name is that of a folder.
    """
    folder = folder_of(target)
    check_no_folder(target)
    if not resume and (folder / _LAST).exists():
        raise InputError(f"{folder} holds a training", "go on with --resume, or remove it to start anew")


def _checkpoint(job: TrainingJob) -> int | None:
    """Steps that are done, or None when there is nothing to go on from."""
    check_target(job.target, resume=job.resume)
    path = job.folder / _LAST
    if not path.exists():
        return None
    # a setting that the recipe lacks is newer than it, and had its default; what older runs began with is not known
    recipe, written = job.recipe(), json.loads((job.folder / "recipe.json").read_text())
    before = {**asdict(type(job.knobs)()), **_BEFORE, STARTING: recipe.get(STARTING), **written}
    for name, value in recipe.items():
        if name not in _RESUMABLE and before.get(name) != value:
            hint = _other_hint(name, before.get(name), name in asdict(job.knobs))
            raise InputError(f"{job.folder} was begun with {name} {before.get(name)}, not {value}", hint)
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])


def _other_hint(name: str, before: object, is_knob: bool) -> str:
    if name == PALETTE:
        return "go on from its result: --from FILE -o ANOTHER"
    return f"give the same: --{name.replace('_', '-')} {before}" if is_knob else "give the same"


def _processes(job: TrainingJob) -> tuple[int, int]:
    """On how many machines, and how many on each; torchrun knows better than the job."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", job.devices))


def _own_device(placement: Placement, processes: tuple[int, int]) -> Placement:
    """The placement on the CUDA device of this process, where several train together.

    Lightning moves the module there, but its losses are made before.
    """
    if max(processes) == 1 or not placement.device.startswith("cuda"):
        return placement
    rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))  # as Lightning finds it
    return replace(placement, device=f"cuda:{rank}")


def _trainer(job: TrainingJob, placement: Placement, callback: lightning.Callback) -> lightning.Trainer:
    knobs, folder = job.knobs, job.folder
    kind, _, index = placement.device.partition(":")
    nodes, devices = _processes(job)
    joined = nodes * devices > 1
    named = [int(index)] if index and not joined and kind == "cuda" else devices
    return lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=named,
        num_nodes=nodes,
        strategy="ddp" if joined else "auto",
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=[callback],
        plugins=[_AtomicCheckpointIO()],
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


class _AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: Lightning writes through another folder, and a kill may leave half a file."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ARG002 - Lightning's signature
    ) -> None:
        """Write it whole, or raise InputError or ResourceError."""
        with whole(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # torch hides what the system said
                    raise error.__context__ from error
                raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice, which is followed or does not apply."""
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
class _Outputs:
    """Writes the outputs of a training: network, losses, contact sheets."""

    job: TrainingJob
    validation: Photographs

    def write_losses(self, learner: Learner, validations: Sequence[Mapping[str, float]]) -> None:
        """CSV and curves."""
        _pages.write_csv(self.job.folder / "losses.csv", learner.history)
        _pages.write_csv(self.job.folder / "validation.csv", validations)
        _pages.write_curves(self.job.folder / "losses.svg", learner.history)

    def write_network(self, learner: Learner, validations: Sequence[Mapping[str, float]]) -> None:
        """The file, good for use."""
        about = {
            "recipe": {
                **asdict(self.job.knobs),
                "steps_done": learner.global_step,
                "seconds": round(learner.spent),
            },
            "losses": _pages.thinned(learner.history),
            "validation": list(validations),
        }
        self.job.write(learner, self.validation, about)

    def write_sheet(self, learner: Learner) -> None:
        """Validation photographs as the network paints them now."""
        path = self.job.folder / f"sheet-{learner.global_step:06d}.png"
        _pages.write_sheet(path, self.job.samples(learner, self.validation))


class _Callback(lightning.Callback):
    """Reports, validates, saves and stops.

    Lightning's ModelCheckpoint saves between the batches of one accumulated step, where a run cannot go on exactly, and
    no last time when it has saved before; its EarlyStopping knows no relative progress, and its validation loop no
    share of the minutes; its progress bar prints, where ours is `on_progress`.
    """

    def __init__(
        self,
        outputs: _Outputs,
        on_progress: OnProgress,
        on_note: Callable[[str], None],
        on_validation: OnValidation,
        validations: int,
    ) -> None:
        self.outputs, self.on_progress, self.on_validation = outputs, on_progress, on_validation
        self.on_note, self._noted = on_note, set[str]()
        self._every = 1 / validations
        self.validations: list[dict[str, float]] = []
        self.early = False
        self._saved = self._began = time.monotonic()
        self._first = 0
        self._next = 0.0
        self._seen = -1

    def on_train_start(self, trainer: lightning.Trainer, learner: lightning.LightningModule) -> None:
        """Note where this run begins."""
        assert isinstance(learner, Learner)
        if trainer.is_global_zero:  # by now all processes have written what they write at the start
            discard_leftovers(self.outputs.job.folder)
        self._began = self._saved = time.monotonic()
        self._first = self._seen = learner.global_step
        self._next = learner.share
        if learner.share >= 1:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, learner: lightning.LightningModule, *_arguments: Any
    ) -> None:
        """After each step."""
        assert isinstance(learner, Learner)
        if learner.global_step == self._seen:
            return
        self._seen = learner.global_step
        share = learner.share
        if share >= self._next or share >= 1:
            self._next = share + self._every
            self._validate(trainer, learner)
        over = share >= 1 or self.early
        if over or trainer.strategy.broadcast(time.monotonic() - self._saved > _SAVED_EVERY):
            self._save(trainer, learner)
        trainer.should_stop = over
        if trainer.is_global_zero:
            self._report(trainer, learner)

    def _report(self, trainer: lightning.Trainer, learner: Learner) -> None:
        latest = {name: value for name, value in learner.history[-1].items() if name != "step"}
        if trainer.logger is not None and learner.global_step % 10 == 0:
            trainer.logger.log_metrics(latest, step=learner.global_step)
        total = self.outputs.job.knobs.steps
        report = Progress("training", learner.global_step, total or 0, done=learner.share, losses=latest)
        try:
            self.on_progress(report)
        except Cancelled:
            self._save(trainer, learner)
            raise

    def _validate(self, trainer: lightning.Trainer, learner: Learner) -> None:
        losses = learner.validate(validation_crops(self.outputs.validation, self.outputs.job.knobs, learner.validated))
        losses = {name: float(trainer.strategy.broadcast(value)) for name, value in losses.items()}
        self.validations.append({"step": float(learner.global_step), **losses})
        if trainer.is_global_zero:
            self.outputs.write_sheet(learner)
            self._advise(learner)
            if trainer.logger is not None:
                named = {f"validation_{name}": value for name, value in losses.items()}
                trainer.logger.log_metrics(named, step=learner.global_step)
        patience = self.outputs.job.knobs.patience
        totals = [one["loss"] for one in self.validations]
        if patience and len(totals) > patience:
            self.early = min(totals[-patience:]) > min(totals[:-patience]) * (1 - _PROGRESS)
        self.early = self.early or not self.on_validation(learner.global_step, losses)

    def _advise(self, learner: Learner) -> None:
        """Say what goes wrong, once until it is well again."""
        found = learner.advice(self.validations)
        for name in found.keys() - self._noted:
            self.on_note(f"step {learner.global_step}: {found[name]}")
        self._noted = set(found)

    def _save(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Checkpoint, network and losses, each whole or not at all."""
        trainer.save_checkpoint(self.outputs.job.folder / _LAST)
        if trainer.is_global_zero:
            self.outputs.write_network(learner, self.validations)
            self.outputs.write_losses(learner, self.validations)
        self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The callback's part of a checkpoint."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self.validations = list(state_dict["validations"])

    def result(self, trainer: lightning.Trainer, learner: Learner) -> TrainingResult:
        """The result of the training."""
        knobs = self.outputs.job.knobs
        pictures = (learner.global_step - self._first) * knobs.batch * knobs.accumulate * trainer.world_size
        losses = {name: value for name, value in self.validations[-1].items() if name != "step"}
        took = max(1e-9, time.monotonic() - self._began)
        return TrainingResult(
            self.outputs.job.target,
            learner.global_step,
            learner.spent,
            losses,
            pictures / took,
            self.early,
            trainer.is_global_zero,
        )
