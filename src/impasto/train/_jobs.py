"""The training jobs: networks that paint in styles, networks for any painting, and decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.contract import OnProgress, Placement
from impasto.errors import InputError
from impasto.methods.settings import (
    AdaINTrainKnobs,
    AttentionTrainKnobs,
    ClipTrainKnobs,
    DecoderKnobs,
    DistillKnobs,
    ScheduleKnobs,
    TrainKnobs,
    TranslationKnobs,
)
from impasto.models import catalog, checkpoint, clip_files, codecs, decoders, network_specs, networks, predictors, sanet
from impasto.train import _pages
from impasto.train._adain import AdaINLearner
from impasto.train._attention import AttentionLearner
from impasto.train._clip import ClipLearner
from impasto.train._codec import CodecLearner
from impasto.train._critic import PATCH
from impasto.train._distill import Distiller
from impasto.train._learner import VALIDATED, Learner, validation_crops
from impasto.train._mirror import DecoderLearner, taught_before
from impasto.train._squares import Squares
from impasto.train._student import CACHED, CodePredictor, CodeTable, Student
from impasto.train._teacher import ASSETS, Balance, Floats, SharedBalance, Teacher, TrainingStyle
from impasto.train._translator import CycleTranslator, Translator, check_crop, translator
from impasto.train._words import WordsTeacher
from impasto.train.data import Crops, Photographs, check_separate, load_photographs, sources_of

_BUDGET_STYLES = 16  # paintings whose budgets stand for those of all
_SHEET_STYLES = 6  # paintings in the sheets of a network for any painting
_SHEET_PHOTOGRAPHS = 3  # in sheets
_SHEET_DRAWINGS = 24  # in the sheets of a CLIP
_SHEET_SIDE = 320  # px of the pictures in sheets
_UNPAIRED = "unpaired"
PALETTE = "palette"
"""What a recipe calls that codes mix colours, as `networks.Network` says."""

STARTING = "starting_network"
"""What a recipe calls the network that a training began with: its digest, or none."""

_TAUGHT_RATE = 0.1  # of the learning rate, for convolutions that have learnt before, beside a new predictor

_CROPS_PER_PHOTOGRAPH = 64  # crops of each photograph, where none is kept

Weights: TypeAlias = Mapping[str, Mapping[str, Tensor]]


def begun_with(start: Mapping[str, Tensor] | None) -> str:
    """What a recipe says of tensors that a training began with."""
    return "none" if start is None else checkpoint.digest(start)


def folder_of(target: Path) -> Path:
    """The folder of a training's checkpoint and all else that it writes."""
    return target.with_name(f"{target.stem}.training")


@dataclass(frozen=True)
class Beginning:
    """What the module of a training is made from.

    Attributes:
        weights: of the job's `assets`, by id.
        placement: device and precision.
        validation: photographs to validate on, by which a module may be calibrated; None where a run goes on, since its
            checkpoint holds what was measured.
        on_progress: hears of a calibration.
    """

    weights: Weights
    placement: Placement
    validation: Photographs | None
    on_progress: OnProgress


@dataclass(frozen=True, kw_only=True)
class TrainingJob(ABC):
    """What to train, on which photographs, and which file to write.

    Attributes:
        source: where the photographs are, as `load_photographs` takes them; or the photographs themselves.
        target: the file to write, `.safetensors`.
        knobs: of the training.
        devices: number of devices, with one process each (Lightning's DDP); works under torchrun.
        resume: continue from the checkpoint.
    """

    source: Path | Sequence[Path] | Photographs
    target: Path
    knobs: ScheduleKnobs
    devices: int = 1
    resume: bool = False

    assets: ClassVar[tuple[str, ...]]
    """Ids of the weights that it takes."""

    learns_from: ClassVar[str] = "photograph"
    """What one picture of `source` is, for people."""

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint and all else that the training writes."""
        return folder_of(self.target)

    @property
    def style_count(self) -> int:
        """Number of styles to train on."""
        return 1

    def recipe(self) -> dict[str, Any]:
        """The settings that a resumed run has to share with the one before."""
        return asdict(self.knobs)

    def crop_count(self, photographs: int) -> int:
        """How many different crops are cut from so many photographs."""
        return photographs * _CROPS_PER_PHOTOGRAPH

    def loaded(self, on_progress: OnProgress, on_note: Callable[[str], None]) -> Self:
        """The same with its photographs decoded.

        Raises:
            InputError: too few of them.
        """
        return replace(self, source=self.decoded(self.source, self.learns_from, on_progress, on_note))

    def decoded(
        self,
        source: Path | Sequence[Path] | Photographs,
        what: str,
        on_progress: OnProgress,
        on_note: Callable[[str], None],
    ) -> Photographs:
        """Pictures as the crops take them; `what` one is, for people."""
        if isinstance(source, Photographs):
            return source
        return load_photographs(
            source,
            what=what,
            least_side=self.knobs.crop,
            seed=self.knobs.seed,
            on_progress=on_progress,
            on_note=on_note,
        )

    @abstractmethod
    def learner(self, beginning: Beginning) -> Learner:
        """The module to train."""

    @abstractmethod
    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:
        """Write the target; `about` is the metadata of every file: recipe and losses."""

    @abstractmethod
    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Pictures of the contact sheet with their captions, three a row."""


@dataclass(frozen=True, kw_only=True)
class StyleTraining(TrainingJob):
    """A network that paints in styles.

    Attributes:
        training_styles: the styles.
        start: a network to start from, whose architecture then counts.
        predictor: with it, what predicts that network's codes, where it takes any painting.
        only_codes: keep its convolutions and learn the new styles' codes alone; its own styles stay in the file.
        thumbnail_photograph: the photograph of the thumbnails, `(H, W, 3)`; a validation photograph by default.
        unseen: how many of the last training_styles are used only for validation. Above 0 a network for any painting is
            trained.
        clip: weights of the CLIP that reads the training_styles' words; None where these are paintings.
    """

    knobs: TrainKnobs
    training_styles: Sequence[TrainingStyle]
    start: networks.Trained | None = None
    predictor: predictors.Predictor | None = None
    only_codes: bool = False
    thumbnail_photograph: Floats | None = None
    unseen: int = 0
    clip: Mapping[str, Tensor] | None = None

    assets = ASSETS

    @property
    def style_count(self) -> int:
        """Number of styles to train on: the first of training_styles."""
        return len(self.training_styles) - self.unseen

    def recipe(self) -> dict[str, Any]:
        """With the styles."""
        names = [style.name for style in self.training_styles]
        own: dict[str, Any] = {"styles": names, "only_codes": self.only_codes, "unseen": self.unseen}
        if self.unseen:
            own[PALETTE] = True
        settings = super().recipe()
        if self.start is None:
            return {**settings, STARTING: "none", **own}
        del settings["network"]  # its architecture counts
        return {**settings, STARTING: self.start.digest, **own}

    def crop_count(self, photographs: int) -> int:
        """As many as the cache holds features of, so that each is encoded once; at least 16 a photograph."""
        feature = 512 * (self.knobs.crop // 8) ** 2 * 2
        cached = CACHED // feature // photographs
        return photographs * (cached if cached >= 4 else 16)

    def learner(self, beginning: Beginning) -> Student:
        """A student; its content budgets are measured at the start."""
        weights, placement = beginning.weights, beginning.placement
        teacher: Teacher | WordsTeacher
        if self.clip is None:
            teacher = Teacher(weights, self.training_styles, self.knobs, placement, beginning.on_progress)
        else:
            teacher = WordsTeacher(weights, self.clip, self.training_styles, self.knobs, placement)
        student = self._student(teacher, placement)
        if beginning.validation is not None:
            crops = validation_crops(beginning.validation, self.knobs, VALIDATED).to(placement.device)
            sampled = range(min(self.style_count, _BUDGET_STYLES)) if self.unseen else None
            budgets = student.teacher.budgets(crops, sampled)
            student.balance.budgets.copy_(self.knobs.content_budget * (budgets.median() if self.unseen else budgets))
        return student

    def _student(self, teacher: Teacher | WordsTeacher, placement: Placement) -> Student:
        training_styles, knobs, start = self.training_styles, self.knobs, self.start
        if isinstance(teacher, WordsTeacher):
            _check_for_words(knobs)
        if isinstance(teacher, Teacher) and knobs.adversarial_weight and teacher.shortest_side < PATCH:
            raise InputError(
                f"a painting is {teacher.shortest_side} px wide on its canvas; the critic looks at {PATCH} px",
                "use a larger --canvas, another painting, or no --adversarial-weight",
            )
        generator = torch.Generator().manual_seed(knobs.seed)
        network = networks.Network(network_specs.find(knobs.network), generator) if start is None else start.network()
        if self.unseen and network.palette is None:
            network.add_palette()
        if start is None or not start.styles:
            codes = network.neutral_code().repeat(len(training_styles), 1)
        else:
            mean = torch.cat([start.code(name) for name in start.styles]).mean(0, keepdim=True)
            codes = torch.cat([start.code(one.name) if one.name in start.styles else mean for one in training_styles])
            codes = F.pad(codes, (0, network.code_length - codes.shape[1]))  # without a palette as it was
        common: dict[str, Any] = {"placement": placement, "knobs": knobs}
        if not self.unseen:
            balance = Balance(len(training_styles), knobs)
            return Student(network, CodeTable(codes), teacher, balance, only_codes=self.only_codes, **common)
        assert isinstance(teacher, Teacher)
        known = teacher.statistics
        if self.predictor is None:
            new = predictors.Predictor(codes.mean(0, keepdim=True), known[: self.style_count], generator)
            # its first codes mean nothing; convolutions that paint would unlearn to heed them
            book = CodePredictor(new, known, 1.0 if start is None else _TAUGHT_RATE)
        else:
            book = CodePredictor(predictors.widened(self.predictor, network.code_length), known)
        unseen = range(self.style_count, len(training_styles))
        return Student(network, book, teacher, SharedBalance(knobs), validation_styles=unseen, **common)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:
        """With the styles that the network had before."""
        assert isinstance(learner, Student)
        names = [style.name for style in self.training_styles]
        tensors, own = learner.tensors(names), self._about(learner, validation)
        if self.start is not None and self.only_codes:
            tensors = {**self.start.tensors, **tensors}
            for key in ("thumbnails", "licences", "paintings", "style_weights"):
                own[key] = {**self.start.about.get(key, {}), **own[key]}
            own["styles"] = [*self.start.styles, *(name for name in names if name not in self.start.styles)]
        networks.Trained(tensors, {**about, **own}).save(self.target)

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Each style, or some paintings that are used only for validation."""
        numbered = list(enumerate(self.training_styles))
        for row, style in numbered[self.style_count :][:_SHEET_STYLES] if self.unseen else numbered:
            for photograph in validation.pixels[:_SHEET_PHOTOGRAPHS]:
                yield _pages.painted(learner, row, photograph, min(_SHEET_SIDE, self.knobs.canvas)), style.name

    def _about(self, student: Student, validation: Photographs) -> dict[str, Any]:
        if self.unseen:
            trained, unseen = self.training_styles[: self.style_count], self.training_styles[self.style_count :]
            before = self.start.about if self.start is not None and self.predictor is not None else {}
            return {
                "kind": predictors.KIND,
                "paintings": sorted({*before.get("paintings", ()), *(style.id for style in trained)}),
                "unseen": [style.id for style in unseen],
                "licences": sorted({*before.get("licences", ()), *(style.licence for style in trained)}),
                "style_weight": round(float(student.balance.weights[0]), 3),
            }
        thumbnail_photograph = validation.pixels[0] if self.thumbnail_photograph is None else self.thumbnail_photograph
        thumbnails = {
            style.name: _pages.thumbnail(_pages.painted(student, row, thumbnail_photograph, 256))
            for row, style in enumerate(self.training_styles)
        }
        return {
            "styles": [style.name for style in self.training_styles],
            "paintings": {style.name: style.id for style in self.training_styles},
            "licences": {style.name: style.licence for style in self.training_styles},
            "thumbnails": thumbnails,
            "style_weights": {
                style.name: round(float(weight), 3)
                for style, weight in zip(self.training_styles, student.balance.weights, strict=True)
            },
        }


@dataclass(frozen=True, kw_only=True)
class UnpairedTraining(TrainingJob):
    """A generator that turns photographs into paintings, from a collection of each; see `Translator`.

    With the objective `cycle` the way back, from paintings to photographs, goes into a file of its own, `NAME-back`.

    Attributes:
        paintings: where they are, as `load_photographs` takes them; or the paintings themselves.
        thumbnail_photograph: the photograph of the thumbnail, `(H, W, 3)`; a validation photograph by default.
        licence: of the paintings.
    """

    knobs: TranslationKnobs
    paintings: Path | Sequence[Path] | Photographs
    thumbnail_photograph: Floats | None = None
    licence: str = ""

    assets = ()

    @property
    def back(self) -> Path:
        """The file of the way back."""
        return self.target.with_name(f"{self.target.stem}-back{self.target.suffix}")

    def recipe(self) -> dict[str, Any]:
        """With the kind, which tells it from the recipe of a network."""
        return {"kind": _UNPAIRED, **super().recipe()}

    def loaded(self, on_progress: OnProgress, on_note: Callable[[str], None]) -> Self:
        """With the paintings, too."""
        check_crop(self.knobs)
        _check_two(self.source, self.paintings)
        paintings = self.decoded(self.paintings, "painting", on_progress, on_note)
        return replace(super().loaded(on_progress, on_note), paintings=paintings)

    def learner(self, beginning: Beginning) -> Translator:
        """A translator, by the objective."""
        knobs, (known, unseen) = self.knobs, self._split()
        crops = Crops(known, knobs.crop, knobs.canvas, knobs.seed, self.crop_count(len(known)))
        return translator(knobs, beginning.placement, crops, validation_crops(unseen, knobs, VALIDATED))

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:
        """Of the objective `cycle` both ways."""
        assert isinstance(learner, Translator)
        photograph = validation.pixels[0] if self.thumbnail_photograph is None else self.thumbnail_photograph
        thumbnail = _pages.thumbnail(_pages.painted(learner, 0, photograph, 256))
        own = {"kind": _UNPAIRED, "licence": self.licence, "thumbnail": thumbnail}
        checkpoint.write(self.target, learner.average.tensors(), {**about, **own})
        if isinstance(learner, CycleTranslator):
            checkpoint.write(self.back, learner.average_back.tensors(), {**about, **own, "thumbnail": ""})

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Photographs, below them their pastiches, and below those paintings that it never saw."""
        longest = min(_SHEET_SIDE, self.knobs.canvas)
        shown = validation.pixels[:_SHEET_PHOTOGRAPHS]
        for photograph in shown:
            yield _pages.shrunk(photograph, longest), "photograph"
        for photograph in shown:
            yield _pages.painted(learner, 0, photograph, longest), "pastiche"
        for painting in self._split()[1].pixels[:_SHEET_PHOTOGRAPHS]:
            yield _pages.shrunk(painting, longest), "painting"

    def _split(self) -> tuple[Photographs, Photographs]:
        assert isinstance(self.paintings, Photographs)
        return self.paintings.split(seed=self.knobs.seed)


def _check_two(
    photographs: Path | Sequence[Path] | Photographs, paintings: Path | Sequence[Path] | Photographs
) -> None:
    """Raises InputError where a folder is named as both, or lies in the other."""
    if photographs is paintings:
        raise InputError("the photographs and the paintings are the same", "give two collections")
    if isinstance(photographs, Photographs) or isinstance(paintings, Photographs):
        return
    both = sources_of(photographs)
    for one in sources_of(paintings):
        if one.resolve() in [other.resolve() for other in both]:
            raise InputError(f"the photographs and the paintings are both {one}", "give two folders")
    check_separate([*both, *sources_of(paintings)])


@dataclass(frozen=True, kw_only=True)
class DecoderTraining(TrainingJob):
    """A decoder that rebuilds photographs from the features of one layer; see `DecoderLearner`.

    Attributes:
        start: tensors of a decoder to begin with.
    """

    knobs: DecoderKnobs
    start: Mapping[str, Tensor] | None = None

    assets = ASSETS[:1]

    def recipe(self) -> dict[str, Any]:
        """With the kind, which tells it from the recipe of a network."""
        settings = super().recipe()
        if not taught_before(self.start, self.knobs):
            del settings["layerwise"]  # counts for nothing
        return {"kind": decoders.KIND, STARTING: begun_with(self.start), **settings}

    def learner(self, beginning: Beginning) -> DecoderLearner:
        """A rebuilder."""
        return DecoderLearner(beginning.weights[self.assets[0]], self.knobs, beginning.placement, self.start)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With its layer."""
        assert isinstance(learner, DecoderLearner)
        checkpoint.write(self.target, learner.tensors(), {**about, "kind": decoders.KIND, "layer": self.knobs.layer})

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Photographs, and below them what is rebuilt."""
        longest = min(_SHEET_SIDE, self.knobs.canvas)
        for photograph in validation.pixels[:_SHEET_PHOTOGRAPHS]:
            yield _pages.shrunk(photograph, longest), "photograph"
        for photograph in validation.pixels[:_SHEET_PHOTOGRAPHS]:
            yield _pages.painted(learner, 0, photograph, longest), f"from {self.knobs.layer}"


@dataclass(frozen=True, kw_only=True)
class ClipTraining(TrainingJob):
    """A small CLIP that knows colours and patterns by name; see `ClipLearner`."""

    knobs: ClipTrainKnobs

    assets = ()

    def recipe(self) -> dict[str, Any]:
        """With the kind, which tells it from the recipe of a network."""
        return {"kind": clip_files.KIND, **super().recipe()}

    def learner(self, beginning: Beginning) -> ClipLearner:
        """One with random weights."""
        if self.knobs.width % 4:
            raise InputError(f"--width is {self.knobs.width}", "it takes a multiple of 4")
        return ClipLearner(self.knobs, beginning.placement)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With its shape and its vocabulary."""
        assert isinstance(learner, ClipLearner)
        clip_files.write(self.target, learner.average.weights(), about)

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Drawings over photographs, each with the name that it finds for it."""
        assert isinstance(learner, ClipLearner)
        for number, crop in enumerate(validation_crops(validation, self.knobs, _SHEET_DRAWINGS)):
            drawn = learner.painted(crop[None].to(learner.device), number)
            yield images.from_tensor(drawn), learner.named(drawn)


@dataclass(frozen=True, kw_only=True)
class PairTraining(TrainingJob):
    """Of what takes a photograph and a painting; see `PairLearner`.

    Attributes:
        training_styles: paintings.
    """

    training_styles: Sequence[TrainingStyle]

    kind: ClassVar[str]
    """Of the file."""

    @property
    def style_count(self) -> int:
        """Number of paintings."""
        return len(self.training_styles)

    def recipe(self) -> dict[str, Any]:
        """With the kind, which tells it from the recipe of a network, and the paintings."""
        paintings = [style.id for style in self.training_styles]
        return {"kind": self.kind, "training_paintings": paintings, **super().recipe()}

    def squares(self) -> Squares:
        """Of the paintings."""
        return Squares([style.pixels for style in self.training_styles], crop=self.knobs.crop, seed=self.knobs.seed)

    def about_paintings(self) -> dict[str, Any]:
        """The paintings and their licences, for the file."""
        paintings, licences = ({getattr(one, part) for one in self.training_styles} for part in ("id", "licence"))
        return {"kind": self.kind, "paintings": sorted(paintings), "licences": sorted(licences)}

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Some paintings."""
        for row, style in enumerate(self.training_styles[:_SHEET_STYLES]):
            for photograph in validation.pixels[:_SHEET_PHOTOGRAPHS]:
                yield _pages.painted(learner, row, photograph, min(_SHEET_SIDE, self.knobs.canvas)), style.name


@dataclass(frozen=True, kw_only=True)
class AttentionTraining(PairTraining):
    """Style attention for any painting; see `AttentionLearner`."""

    knobs: AttentionTrainKnobs

    assets = ASSETS
    kind = sanet.KIND

    def learner(self, beginning: Beginning) -> AttentionLearner:
        """A learner."""
        weights = [beginning.weights[asset] for asset in self.assets]
        return AttentionLearner(weights, self.squares(), self.knobs, beginning.placement)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With the paintings and their licences."""
        assert isinstance(learner, AttentionLearner)
        checkpoint.write(self.target, learner.tensors(), {**about, **self.about_paintings()})


@dataclass(frozen=True, kw_only=True)
class AdaINTraining(PairTraining):
    """A decoder for AdaIN; see `AdaINLearner`.

    Attributes:
        start: tensors of a decoder to begin with.
    """

    knobs: AdaINTrainKnobs
    start: Mapping[str, Tensor] | None = None

    assets = ASSETS[:1]
    kind = codecs.KIND

    def recipe(self) -> dict[str, Any]:
        """With what it began with."""
        return {STARTING: begun_with(self.start), **super().recipe()}

    def learner(self, beginning: Beginning) -> AdaINLearner:
        """A learner."""
        encoder = beginning.weights[self.assets[0]]
        return AdaINLearner(encoder, self.start, self.squares(), self.knobs, beginning.placement)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With VGG-19 down to the layer, so that the file is all that AdaIN needs."""
        assert isinstance(learner, AdaINLearner)
        checkpoint.write(self.target, learner.codec().tensors(), {**about, **self.about_paintings()})


@dataclass(frozen=True, kw_only=True)
class Distillation(TrainingJob):
    """A pruned network that learns the pictures of the full one; see `Distiller`.

    Attributes:
        pruned, full: both networks, of the same styles.
    """

    knobs: DistillKnobs
    pruned: networks.Trained
    full: networks.Trained

    assets = ()

    @property
    def style_count(self) -> int:
        """Number of styles to train on."""
        return len(self.full.styles)

    def recipe(self) -> dict[str, Any]:
        """With the shape of the network."""
        shape = [*self.pruned.architecture.widths, *self.pruned.architecture.normalised]
        return {"kind": "pruned", "channels": shape, **super().recipe()}

    def learner(self, beginning: Beginning) -> Distiller:
        """A distiller."""
        return Distiller(self.pruned, self.full, self.knobs, beginning.placement)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With what the full network says of its styles."""
        assert isinstance(learner, Distiller)
        kept = {key: value for key, value in self.full.about.items() if key != "validation"}
        networks.Trained(learner.tensors(), {**kept, **about}).save(self.target)

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:
        """Each style."""
        for row, style in enumerate(self.full.styles):
            for photograph in validation.pixels[:_SHEET_PHOTOGRAPHS]:
                yield _pages.painted(learner, row, photograph, min(_SHEET_SIDE, self.knobs.canvas)), style


@dataclass(frozen=True, kw_only=True)
class CodecDistillation(PairTraining):
    """AdaIN's narrower encoder and decoder, which learn the pictures of the full ones; see `CodecLearner`.

    Attributes:
        pruned, full: both.
    """

    knobs: DistillKnobs
    pruned: codecs.Codec
    full: codecs.Codec

    assets = ()
    kind = codecs.KIND

    def recipe(self) -> dict[str, Any]:
        """With the shape of the networks, and what was pruned."""
        begun = begun_with(self.full.tensors())
        return {"channels": list(self.pruned.widths), STARTING: begun, **super().recipe()}

    def learner(self, beginning: Beginning) -> CodecLearner:
        """A learner."""
        return CodecLearner(self.pruned, self.full, self.squares(), self.knobs, beginning.placement)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """With the paintings and their licences."""
        assert isinstance(learner, CodecLearner)
        own = {**self.about_paintings(), "channels": list(self.pruned.widths)}
        checkpoint.write(self.target, learner.codec().tensors(), {**about, **own})


def _check_for_words(knobs: TrainKnobs) -> None:
    """Raises InputError where a setting needs a painting."""
    for name in ("adversarial_weight", "large_weight", "stroke_weight"):
        if getattr(knobs, name):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} needs a painting, and words have none", "leave it out")


def load(name: str) -> networks.Trained:
    """A network to start from: `pack`, or a file.

    Raises:
        InputError: there is none, or it is not an Impasto network.
    """
    if name == "pack" and not catalog.PACK.exists():
        raise InputError("no pack of styles is installed", "give a file that impasto train has written")
    return networks.read(catalog.PACK if name == "pack" else name)


def load_arbitrary(name: str) -> tuple[networks.Trained, predictors.Predictor | None]:
    """A network to start one for any painting from, as `load` does; and its predictor, where it is one itself.

    `shipped` is the one that ships.

    Raises:
        InputError: see `load`.
    """
    path = catalog.ARBITRARY if name == "shipped" else Path(name)
    if name == "pack" or checkpoint.read(path)[1].get("kind") != predictors.KIND:
        return load(name), None
    tensors, about = predictors.read(path)
    network, predictor = predictors.unpack(tensors)
    return networks.Trained(network.state_dict(), about), predictor
