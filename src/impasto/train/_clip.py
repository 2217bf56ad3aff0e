"""A small CLIP in training: a picture's vector must lie nearest to that of its own caption."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.losses.losses import sum_of
from impasto.methods.settings import ClipTrainKnobs
from impasto.models.bpe import BytePairs, merges_of
from impasto.models.clip import Clip, ClipSpec, TowerSpec
from impasto.train._learner import Batch, Learner
from impasto.train._shapes import COLORS, PATTERNS, WORDS, Drawn, draw

SIDE = 32
"""Pixels along each side of the picture that it sees: half of what is drawn."""

_VALIDATED = 96
_DRAWN = 6  # drawings over each photograph of a batch: cutting photographs takes longer than drawing
_STEEPEST = 4.6  # the logarithm of the largest scale, 100


class ClipLearner(Learner):
    """Learns colours and patterns by name, from drawings over photographs.

    All captions of a batch that are true of a picture count as right (arXiv:2204.03610), since there are few words.

    Args:
        knobs: of the training.
        placement: device; it computes in float32.

    Paper: arXiv:2103.00020 (Radford et al. 2021), figure 3.
    """

    knobs: ClipTrainKnobs

    def __init__(self, knobs: ClipTrainKnobs, placement: Placement) -> None:
        super().__init__(knobs, placement, _VALIDATED)
        words = BytePairs.of_merges(merges_of(WORDS))
        spec = ClipSpec(
            image=TowerSpec(knobs.width, 3, 4),
            text=TowerSpec(64, 2, 4),
            resolution=SIDE,
            patch=4,
            context=16,
            vocabulary=len(words.vocabulary),
            size=64,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(knobs.seed)
            self.clip = Clip(spec, words)
        self.average = copy.deepcopy(self.clip).requires_grad_(False)

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The network and its average."""
        return [(self.clip, self.average)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        drawn = draw(batch["images"].repeat(_DRAWN, 1, 1, 1), [self.knobs.seed, 8, int(batch["numbers"][0])])
        loss = _contrast(self.clip, drawn)
        self.note({"contrast": loss[None]})
        return loss

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """The loss of the average, and the share of drawings in which it takes another name for nearer."""
        drawn = draw(photographs.to(self.device), [self.knobs.seed, 9])
        wrong = {
            f"wrong {kind}": self._wrong(drawn, [*names]) for kind, names in (("color", COLORS), ("pattern", PATTERNS))
        }
        return {"loss": float(_contrast(self.average, drawn)), **wrong}

    def _wrong(self, drawn: Drawn, names: list[str]) -> float:
        """Share of the drawings for which it finds another of some names."""
        rows = [row for row, shown in enumerate(drawn.shown) if shown & {*names}]
        alike = self.average.embed_images(drawn.pictures[rows]) @ self.average.embed_texts(names).T
        wrong = [
            names[place] not in drawn.shown[row] for row, place in zip(rows, alike.argmax(1).tolist(), strict=True)
        ]
        return float(sum(wrong)) / max(1, len(wrong))

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A drawing of which `style` is the number."""
        return draw(photograph, [self.knobs.seed, 10, style]).pictures

    @torch.no_grad()
    def named(self, picture: Tensor) -> str:
        """The name that the average finds for a picture `(1, 3, H, W)`."""
        names = [f"{color} {pattern}" for color in COLORS for pattern in PATTERNS]
        alike = self.average.embed_images(picture) @ self.average.embed_texts(names).T
        return names[int(alike.argmax())]


def _contrast(clip: Clip, drawn: Drawn) -> Tensor:
    """Cross-entropy of pictures against captions and of captions against pictures; what is true is equally likely."""
    pictures, texts = clip.embed_images(drawn.pictures), clip.embed_texts(drawn.captions)
    scores = clip.logit_scale.clamp(max=_STEEPEST).exp() * pictures @ texts.T
    true = drawn.matches().to(scores.device)
    pairs = (scores, true), (scores.T, true.T)
    return sum_of(F.cross_entropy(one, right / right.sum(1, keepdim=True)) for one, right in pairs) / 2
