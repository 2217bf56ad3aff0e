"""The losses of a network that learns sentences: CLIP says how far a pastiche has gone where its sentence points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from impasto.contract import Placement, Style, StyleImage
from impasto.errors import InputError
from impasto.losses.clip import DirectionalLoss, PatchDirectionalLoss
from impasto.losses.losses import TotalVariation, relative_error
from impasto.methods.clip import ASSET, PATCH_BALANCE, WHOLE_BALANCE, ClipStyle
from impasto.methods.settings import ClipKnobs, TrainKnobs
from impasto.models.clip import Clip
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import precise
from impasto.train._teacher import CONTENT_LAYER, TrainingStyle

_BUDGET = 0.42  # content error of a sentence; times the knob `content_budget` it is still readable
_PATCHES = 12  # of each crop


class WordsTeacher:
    """Scores pastiches against photographs and sentences, as `Teacher` does against paintings.

    Args:
        weights: of VGG-19, by id.
        clip: those of a CLIP, as `clip_files.read` gives them.
        training_styles: each with `words`.
        knobs: of the training.
        placement: where, and in which precision.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, Tensor]],
        clip: Mapping[str, Tensor],
        training_styles: Sequence[TrainingStyle],
        knobs: TrainKnobs,
        placement: Placement,
    ) -> None:
        for style in training_styles:
            if not style.words:
                raise InputError(f"{style.name} is a painting, and --clip learns words", "train it without --clip")
        self.placement = placement
        self._encoder = Encoder(VGG19, weights[ASSET], placement)
        self._clip = Clip.of_weights(clip).to(placement.device, placement.dtype)
        reader, own = ClipStyle({ASSET: weights[ASSET], "clip:": clip}, placement), ClipKnobs()
        blank = torch.full((1, 3, 16, 16), 0.5)
        codes = [reader.encode_style(Style((StyleImage(blank, words=one.words),)), own) for one in training_styles]
        self._directions = torch.cat([code.tensors["words"] for code in codes])
        self._side = round(own.patch_size * knobs.canvas)
        self._threshold = own.threshold

    @property
    def styles(self) -> int:
        """Number of styles."""
        return len(self._directions)

    @torch.no_grad()
    def content(self, photographs: Tensor) -> Tensor:
        """`(B, N)` of photographs `(B, 3, H, W)`: their relu4_1, flat, and their vector."""
        features = self._encoder(photographs, [CONTENT_LAYER])[CONTENT_LAYER]
        return torch.cat([precise(features).flatten(1), self._clip.embed_images(photographs.float())], 1)

    def losses(self, pastiches: Tensor, content: Tensor, styles: Tensor) -> dict[str, Tensor]:
        """Relative content error, turn away from the sentence, and roughness, each `(B,)` float32.

        Args:
            pastiches: `(B, 3, H, W)` in [0, 1].
            content: `content()` of their photographs.
            styles: `(B,)`, numbers of the training_styles.
        """
        size = self._directions.shape[1]
        wanted, source = content[:, :-size], content[:, -size:]
        target = {"source": source, "direction": self._directions[styles]}
        seen = pastiches.float()
        features = self._encoder(pastiches, [CONTENT_LAYER], winograd=True)[CONTENT_LAYER]
        # of the batch alone, so that a run that goes on draws what it would have drawn
        seed = int(source.double().sum().abs() * 1e9) % (1 << 31)
        patches = PatchDirectionalLoss(
            self._clip.embed_images,
            self._side,
            self._clip.spec.resolution,
            count=_PATCHES,
            threshold=self._threshold,
            seed=seed,
        )
        whole, balance = DirectionalLoss(self._clip.embed_images), PATCH_BALANCE / WHOLE_BALANCE
        near = [loss.each(loss.statistics({"image": seen}), target) for loss in (whole, patches)]
        return {
            "content": relative_error(precise(features).flatten(1), wanted),
            "style": (near[0] + balance * near[1]) / (1 + balance),
            "tv": TotalVariation().statistics({"image": seen})["image"],
        }

    def budgets(self, photographs: Tensor, styles: Iterable[int] | None = None) -> Tensor:  # noqa: ARG002 - no draft
        """The content error `(S,)` to aim for; a sentence has no draft to measure it by."""
        count = self.styles if styles is None else len([*styles])
        return torch.full((count,), _BUDGET)
