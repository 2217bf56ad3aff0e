"""The search for small networks: Optuna over widths, depths, block types and strides, for speed and for a low loss.

Each trial is a network that is first timed, untrained, beside a reference network on the runtime that will run it, and
then trained for some steps and scored on photographs that were held back. Everything is kept in a folder, so that a
search that was stopped or killed goes on: the study in SQLite, the trial in progress from its checkpoint.

Papers: arXiv:1907.10902 (Akiba et al. 2019, Optuna); Bergstra et al. 2011 and Ozaki et al. 2022 (TPE, the sampler).
Optuna prunes single objectives only; here a trial is given up when a network that is no slower had a lower loss at the
same step.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from torch import Tensor

from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.errors import InputError
from impasto.files import locked, make_folder
from impasto.methods.settings import SearchKnobs, TrainKnobs
from impasto.models import network_specs
from impasto.models.network_specs import NetworkSpec
from impasto.models.networks import Network
from impasto.train import _front, _space
from impasto.train._front import Outcome
from impasto.train._jobs import StyleTraining
from impasto.train._run import train
from impasto.train._speed import Stopwatch
from impasto.train._teacher import ASSETS, TrainingStyle
from impasto.train.data import Photographs, load_photographs

_STUDY = "study.db"
_TRIALS = "trials"
_NAME = "search"
_BY_CHANCE = 8  # trials before the sampler learns from them
_SLOWEST = 0.5  # of the reference's speed: slower networks are not trained
_WORSE = 1.06  # times the loss of a rival that is no slower: given up
_VALIDATIONS = 10  # of each trial
_EARLIEST = 0.5  # of a trial's steps, before it may be given up


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to search for.

    Attributes:
        source: where the photographs are, as `load_photographs` takes them.
        folder: of the study, the trials and the outcome.
        knobs: of the search and of the training of each trial.
        training_styles: the styles that networks are trained on.
        runtime: "auto", "torch", "onnx" or "openvino": what will run the network.
        sides: height and width of the pictures that are timed.
        name: of the winner.
        resume: go on with the study in the folder.
    """

    source: Path | Sequence[Path]
    folder: Path
    knobs: SearchKnobs
    training_styles: Sequence[TrainingStyle]
    runtime: str = "auto"
    sides: tuple[int, int] = (720, 1280)
    name: str = "winner"
    resume: bool = False

    assets = ASSETS

    def recipe(self) -> dict[str, Any]:
        """What a resumed search has to share with the one before."""
        knobs = {name: value for name, value in asdict(self.knobs).items() if name not in ("minutes", "trials")}
        return {**knobs, "styles": [one.name for one in self.training_styles], "sides": list(self.sides)}


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        outcomes: of all networks that were trained to the end, the reference first.
        winner: the file of the network that beats the reference; None if none does.
        table, plot: files.
        tried, pruned: trials in all, and those that were given up.
        seconds: of the search, those of earlier runs included.
        timed_on: runtime, precision and size of the picture, for people.
    """

    outcomes: tuple[Outcome, ...]
    winner: Path | None
    table: Path
    plot: Path
    tried: int
    pruned: int
    seconds: float
    timed_on: str

    def as_plain(self) -> dict[str, Any]:
        """As plain values; the front alone, without the losses by step."""
        along = [
            {key: value for key, value in one.as_plain().items() if key != "by_step"}
            for one in _front.front(self.outcomes)
        ]
        paths = {"winner": self.winner and str(self.winner), "table": str(self.table), "plot": str(self.plot)}
        told = {"tried": self.tried, "pruned": self.pruned, "seconds": round(self.seconds), "timed_on": self.timed_on}
        return {**paths, **told, "front": along}


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that a search cannot begin or go on in.

    Raises:
        InputError: it holds a search, and `resume` is not set; or it is none's.
    """
    begun = (folder / _STUDY).exists()
    if begun and not resume:
        raise InputError(f"{folder} holds a search", "go on with --resume, or name another folder with -o")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "name a folder with -o")


def search(
    job: Search,
    *,
    weights: Mapping[str, Mapping[str, Tensor]],
    placement: Placement,
    on_progress: OnProgress = ignore,
    on_note: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Search until the minutes, or the trials, are used up; then write the front.

    Args:
        job: what to search for.
        weights: of the job's `assets`, by id.
        placement: device and precision of the training.

    Raises:
        InputError: too few photographs; a folder that holds another search.
        MissingExtra: the runtime, or a package, is not installed.
        Cancelled: `on_progress` asked to stop; the study can go on.
    """
    check_folder(job.folder, resume=job.resume)
    make_folder(job.folder)
    with locked(job.folder), _quiet():
        study = _study(job)
        photographs = load_photographs(
            job.source, least_side=job.knobs.crop, seed=job.knobs.seed, on_progress=on_progress, on_note=on_note
        )
        stopwatch = Stopwatch.of(network_specs.find(job.knobs.network), job.runtime, job.sides)
        return _Searcher(job, study, photographs, stopwatch, weights, placement, on_progress).run()


def _study(job: Search) -> optuna.Study:
    """The study in the folder, which is made where there is none; what a killed search left is to be tried again."""
    path, recipe = job.folder / _STUDY, job.recipe()
    began = path.exists()
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.resolve()}",
            study_name=_NAME,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
        if not began:
            study.set_user_attr("recipe", recipe)
        before = study.user_attrs.get("recipe", {})
        study.sampler = optuna.samplers.TPESampler(seed=job.knobs.seed + len(study.trials), n_startup_trials=_BY_CHANCE)
        for one in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(one.number, state=TrialState.FAIL)
            study.enqueue_trial(one.params, skip_if_exists=False)
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is not the study of a search", "remove it, or name another folder with -o") from error
    for name, value in recipe.items():
        if before.get(name) != value:
            raise InputError(f"{job.folder} was begun with {name} {before.get(name)}, not {value}", "give the same")
    return study


class _Searcher:
    """Runs the trials of one search, one after the other."""

    def __init__(
        self,
        job: Search,
        study: optuna.Study,
        photographs: Photographs,
        stopwatch: Stopwatch,
        weights: Mapping[str, Mapping[str, Tensor]],
        placement: Placement,
        on_progress: OnProgress,
    ) -> None:
        self._job, self._study, self._photographs, self._stopwatch = job, study, photographs, stopwatch
        self._weights, self._placement, self._on_progress = weights, placement, on_progress
        self._before = float(study.user_attrs.get("seconds", 0.0))
        self._began = time.monotonic()
        self._stage = "reference"

    def run(self) -> SearchResult:
        """All trials that there is time for."""
        reference = self._reference()
        result = self._written(reference)
        while self._share() < 1 and self._goes_on():
            self._guess(reference)
            trial = self._study.ask()
            self._stage = f"trial {trial.number + 1}"
            self._try(trial, reference)
            self._keep_time()
            result = self._written(reference)
        self._keep_time()
        return replace(result, seconds=float(self._study.user_attrs["seconds"]))

    def _guess(self, reference: Outcome) -> None:
        """Queue the next of the first guesses, unless a trial that was interrupted waits."""
        trials = self._study.get_trials(deepcopy=False)
        if any(one.state == TrialState.WAITING for one in trials):
            return
        tried = [one.params for one in trials if one.state != TrialState.FAIL]
        guess = next((one for one in _space.first_guesses(reference.spec) if one not in tried), None)
        if guess is not None:
            self._study.enqueue_trial(dict(guess))

    def _goes_on(self) -> bool:
        most = self._job.knobs.trials
        done = [one for one in self._study.trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        return not most or len(done) < most

    def _reference(self) -> Outcome:
        """The reference network, trained as each trial is; once for a study."""
        spec = network_specs.find(self._job.knobs.network)
        kept = self._study.user_attrs.get("reference")
        if kept is None:
            losses, by_step, _ = self._trained(spec, "reference", lambda _step, _loss: True)
            kept = {"losses": losses, "by_step": by_step, "parameters": _parameters(spec)}
            self._study.set_user_attr("reference", kept)
            self._keep_time()
        return Outcome(spec, 1.0, kept["losses"], kept["parameters"], kept["by_step"], reference=True)

    def _try(self, trial: optuna.Trial, reference: Outcome) -> None:
        """Time and train one network, and tell the study; an equal one is not trained twice."""
        spec = _space.suggested(trial)
        known = next((one for one in self._outcomes(reference) if one.spec == spec), None)
        if known is not None:
            self._note(trial, known)
            self._study.tell(trial, [known.speed, known.losses["loss"]])
            return
        speed = self._stopwatch.speed(spec)
        trial.set_user_attr("speed", speed)
        if speed < _SLOWEST:
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        rivals = [one.by_step for one in self._outcomes(reference) if one.speed >= speed]
        losses, by_step, ended = self._trained(spec, _space.key(spec), lambda *at: self._is_promising(rivals, *at))
        if not ended:
            trial.set_user_attr("by_step", by_step)
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        self._note(trial, Outcome(spec, speed, losses, _parameters(spec), by_step))
        self._study.tell(trial, [speed, losses["loss"]])

    def _is_promising(self, rivals: Sequence[Mapping[str, float]], step: int, loss: float) -> bool:
        """Whether a trial is to go on: no rival that is as quick was better at this step, and there is time."""
        self._keep_time()
        if self._share() >= 1:
            return False
        early = step < _EARLIEST * self._job.knobs.steps
        return early or all(loss <= _WORSE * rival.get(str(step), loss) for rival in rivals)

    def _trained(
        self, spec: NetworkSpec, name: str, is_promising: Callable[[int, float], bool]
    ) -> tuple[Mapping[str, float], dict[str, float], bool]:
        """Losses at the end, the loss by step, and whether it came to the end."""
        folder = self._job.folder / _TRIALS
        make_folder(folder)
        network_specs.write(folder / f"{name}.json", replace(spec, name=name))
        knobs = TrainKnobs(**{key: value for key, value in asdict(self._job.knobs).items() if key != "trials"})
        training = StyleTraining(
            source=self._photographs,
            target=folder / f"{name}.safetensors",
            knobs=replace(knobs, network=str(folder / f"{name}.json")),
            training_styles=self._job.training_styles,
            resume=True,
        )
        by_step: dict[str, float] = {}

        def goes_on(step: int, losses: Mapping[str, float]) -> bool:
            by_step[str(step)] = losses["loss"]
            return is_promising(step, losses["loss"])

        result = train(
            training,
            weights=self._weights,
            placement=self._placement,
            on_progress=self._report,
            on_validation=goes_on,
            validations=_VALIDATIONS,
        )
        return result.losses, by_step, result.steps >= self._job.knobs.steps

    def _report(self, progress: Progress) -> None:
        self._on_progress(replace(progress, stage=f"{self._stage}: {progress.stage}", done=min(1.0, self._share())))

    def _note(self, trial: optuna.Trial, outcome: Outcome) -> None:
        trial.set_user_attr("outcome", outcome.as_plain())

    def _outcomes(self, reference: Outcome) -> list[Outcome]:
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = [reference, *(Outcome.of_plain(one.user_attrs["outcome"]) for one in done)]
        return list({one.spec: one for one in reversed(found)}.values())[::-1]

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def _share(self) -> float:
        return self._seconds() / (60 * self._job.knobs.minutes)

    def _keep_time(self) -> None:
        self._study.set_user_attr("seconds", self._seconds())

    def _written(self, reference: Outcome) -> SearchResult:
        outcomes = tuple(self._outcomes(reference))
        table, plot, winner = _front.write(self._job.folder, outcomes, self._job.name, self._stopwatch.title)
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        pruned = sum(one.state == TrialState.PRUNED for one in trials)
        tried = sum(one.state in (TrialState.COMPLETE, TrialState.PRUNED) for one in trials)
        title = self._stopwatch.title
        return SearchResult(outcomes, winner, table, plot, tried, pruned, self._seconds(), title)


def _parameters(spec: NetworkSpec) -> int:
    with torch.device("meta"):
        return sum(one.numel() for one in Network(spec).parameters())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log, which repeats what is reported, and its notes on what is experimental."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)
