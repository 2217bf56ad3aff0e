"""Structured pruning of AdaIN's encoder and decoder: whole channels leave both, those that pictures miss least.

Both together are a chain, in which what a layer gives is taken by the next one alone; so no graph of dependencies is
needed. Which channels leave is told by what the next layer loses that its other weights cannot make up for, and from
which layers by how much worse pictures become when half of one is gone. The weights of what is left are then fitted,
layer by layer, to give what the full layers give: a start from which little training is left to do.

Papers: arXiv:2208.11580 (Frantar and Alistarh 2022) for what a layer loses, arXiv:1707.06168 (He, Zhang and Sun 2017)
for the fit by least squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError
from impasto.export._surgeon import RIDGE, patches, removals
from impasto.export.prune import Sensitivity, channels_at_once
from impasto.losses.losses import relative_error
from impasto.models import decoders
from impasto.models.codecs import LAYER, Codec
from impasto.models.encoder_specs import VGG19, Pooling
from impasto.ops.stats import adaptive_instance_norm, gram_matrix, mean_std

_LEAST_SHARE = 0.125  # of its channels that a layer keeps
_LEAST = 2
_LOOKED_AT = 4  # pairs, by which layers are measured
_POSITIONS = 12000  # of a layer that its weights are fitted to
_SEEN = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")  # whose features tell how pictures differ
_COLOURS = "preprocess"


@dataclass(frozen=True)
class PrunedCodec:
    """A narrower encoder and decoder.

    Attributes:
        codec: their tensors.
        parameters: of the full and of the pruned ones.
        sensitivities: of the layers; see `Sensitivity`.
    """

    codec: Codec
    parameters: tuple[int, int]
    sensitivities: tuple[Sensitivity, ...]


@dataclass(frozen=True)
class _Step:
    """A convolution of the chain, and what happens before it: "", "pool", "exchange" or "double"."""

    part: str
    key: str
    before: str
    is_last: bool = False

    @property
    def name(self) -> str:
        return f"{self.part} {self.key}"


@torch.no_grad()
def prune(
    full: Codec,
    photographs: Sequence[Tensor],
    paintings: Sequence[Tensor],
    *,
    ratio: float,
    on_progress: OnProgress = ignore,
) -> PrunedCodec:
    """Take channels out of encoder and decoder until a share of their parameters is gone.

    Args:
        full: the full ones.
        photographs, paintings: `(1, 3, H, W)` in [0, 1], as many of the one as of the other and all of one size, whose
            sides 16 divides. A dozen, 256 px wide, will do.
        ratio: share of the parameters that go, between 0 and 1.

    Raises:
        InputError: so many cannot go.
    """
    chain = _Chain(full, photographs, paintings)
    steps = len(chain.steps)
    halves = []
    for done, (step, after) in enumerate(pairwise(chain.steps)):
        on_progress(Progress("measuring layers", done, steps, "layer"))
        halves.append(chain.measure(step, after))
    kept = chain.choose(ratio)
    for done, step in enumerate(chain.steps):
        on_progress(Progress("fitting layers", done, steps, "layer"))
        chain.fit(step, kept[step.name])
    on_progress(Progress("fitting layers", steps, steps, "layer"))
    pruned = chain.fitted()
    sensitivities = tuple(
        Sensitivity((step.name,), error, chain.weight(step).shape[0], len(kept[step.name]))
        for step, error in zip(chain.steps, halves, strict=False)
    )
    return PrunedCodec(pruned, (full.parameters, pruned.parameters), sensitivities)


def _steps() -> tuple[_Step, ...]:
    found, before = [], ""
    for block in VGG19.down_to(LAYER).blocks:
        if isinstance(block, Pooling):
            before = "pool"
        else:
            found.append(_Step("encoder", str(getattr(block, "key", "")), before))
            before = ""
    before = "exchange"
    for block in decoders.steps(LAYER):
        if isinstance(block, Pooling):
            before = "double"
        else:
            found.append(_Step("decoder", block.key, before))
            before = ""
    last = found.pop()
    return (*found, _Step(last.part, last.key, last.before, is_last=True))


class _Chain:
    """Encoder and decoder as one row of convolutions, and what passes through it."""

    def __init__(self, full: Codec, photographs: Sequence[Tensor], paintings: Sequence[Tensor]) -> None:
        self.steps = _steps()
        self._full = full
        self._colours = {name: one for name, one in full.encoder.items() if name.startswith(_COLOURS)}
        self._shown = self._coloured(torch.cat([*photographs, *paintings]))
        self._whole = self._narrow = self._shown
        self._taken = torch.arange(3)  # channels of the full network that the next layer still gets
        self._made: dict[str, dict[str, Tensor]] = {"encoder": dict(self._colours), "decoder": {}}
        few = torch.cat([*photographs[:_LOOKED_AT], *paintings[:_LOOKED_AT]])
        self._small = self._coloured(F.interpolate(few, scale_factor=0.5, mode="area"))
        self._wanted = self._seen(self._picture({}))
        self._leaving: dict[str, Tensor] = {}  # channels of a layer, the first to leave first
        self._costs: dict[str, Tensor] = {}  # error of pictures once so many have left

    def _coloured(self, pictures: Tensor) -> Tensor:
        return F.conv2d(pictures, self._colours[f"{_COLOURS}.weight"], self._colours[f"{_COLOURS}.bias"])

    def weight(self, step: _Step) -> Tensor:
        """Of the full network."""
        found: Tensor = getattr(self._full, step.part)[f"{step.key}.weight"]
        return found

    def measure(self, step: _Step, after: _Step) -> float:
        """Find in which order the channels of a layer leave, and what that costs; all layers in turn, from the first.

        Returns:
            The error of small pictures without half of them, for which the layer after it makes up as well as it can.
        """
        self._shown = _prepared(after, _activated(step, _convolved(self._shown, *self._own(step))))
        width = int(self.weight(step).shape[0])
        if width <= self._least(step):
            return 0.0
        inputs, _ = patches(F.pad(self._shown, (1, 1, 1, 1), mode="reflect"), _POSITIONS)
        weight = _joined(*self._own(after))
        order, errors, half = removals(inputs.T @ inputs / len(inputs), weight, keep=self._least(step))
        found = self._error(self._picture({after.name: half}))
        self._leaving[step.name] = order
        self._costs[step.name] = found * errors / errors[width // 2 - 1].clamp_min(1e-12)
        return found

    def choose(self, ratio: float) -> dict[str, Tensor]:
        """Channels that stay, by layer: those leave first whose parameters cost least.

        ratio: share of the parameters that go.
        """
        widths = {step.name: int(self.weight(step).shape[0]) for step in self.steps}
        first, whole = dict(widths), self._full.parameters
        while self._parameters(widths) > (1 - ratio) * whole:
            best = min(self._costs, key=lambda name: self._price(name, widths, first), default=None)
            taken = 0 if best is None else self._next(best, widths, first)
            if best is None or taken < 1:
                raise InputError(
                    "so many parameters cannot go: every layer is as narrow as it can be", "use a smaller --ratio"
                )
            widths[best] -= taken
        kept = {name: torch.arange(count) for name, count in first.items()}
        for name, order in self._leaving.items():
            stays = torch.ones(first[name], dtype=torch.bool)
            stays[order[: first[name] - widths[name]]] = False
            kept[name] = kept[name][stays]
        return kept

    def fit(self, step: _Step, kept: Tensor) -> None:
        """Make a layer of the narrow network, and let both networks pass it."""
        self._whole, self._narrow = (_prepared(step, x) for x in (self._whole, self._narrow))
        weight, bias = self._own(step)
        wanted = _convolved(self._whole, weight, bias)
        start = weight[kept][:, self._taken]
        weight, bias = _least_squares(self._narrow, wanted[:, kept], start, bias[kept])
        self._made[step.part] |= {f"{step.key}.weight": weight, f"{step.key}.bias": bias}
        self._whole, self._narrow = (_activated(step, x) for x in (wanted, _convolved(self._narrow, weight, bias)))
        self._taken = kept

    def fitted(self) -> Codec:
        """What `fit` has made."""
        return Codec(self._made["encoder"], self._made["decoder"])

    def _own(self, step: _Step) -> tuple[Tensor, Tensor]:
        own = getattr(self._full, step.part)
        return own[f"{step.key}.weight"], own[f"{step.key}.bias"]

    def _picture(self, others: Mapping[str, Tensor]) -> Tensor:
        """Small pictures. others: weights of some layers, the bias last, in place of their own."""
        x = self._small
        for step in self.steps:
            weight, bias = self._own(step)
            if step.name in others:
                weight, bias = others[step.name][:, :-1].reshape(weight.shape), others[step.name][:, -1]
            x = _activated(step, _convolved(_prepared(step, x), weight, bias))
        return x

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        """What the full encoder sees in pictures."""
        x, found = self._coloured(pictures), []
        for step in self.steps:
            if step.part != "encoder":
                break
            x = _activated(step, _convolved(_prepared(step, x), *self._own(step)))
            if step.key in _SEEN:
                found.append(x)
        return found

    def _error(self, pictures: Tensor) -> float:
        """Of small pictures: of their features and of the products of these, relative."""
        pairs = list(zip(self._seen(pictures), self._wanted, strict=True))
        found = [relative_error(one, wanted) for one, wanted in pairs]
        found += [relative_error(gram_matrix(one), gram_matrix(wanted)) for one, wanted in pairs]
        return float(torch.stack(found).mean())

    def _parameters(self, widths: Mapping[str, int]) -> int:
        total, given = sum(one.numel() for one in self._colours.values()), 3
        for step in self.steps:
            total += widths[step.name] * (9 * given + 1)
            given = widths[step.name]
        return int(total)

    def _least(self, step: _Step) -> int:
        """Channels that a layer keeps."""
        return max(_LEAST, int(_LEAST_SHARE * self.weight(step).shape[0]))

    def _next(self, name: str, widths: Mapping[str, int], first: Mapping[str, int]) -> int:
        """Channels that may leave a layer at once."""
        return int(min(channels_at_once(first[name]), len(self._costs[name]) - (first[name] - widths[name])))

    def _price(self, name: str, widths: Mapping[str, int], first: Mapping[str, int]) -> float:
        """Error that the next channels of a layer cost, for each parameter that goes with them."""
        taken = self._next(name, widths, first)
        if taken < 1:
            return float("inf")
        gone, costs = first[name] - widths[name], self._costs[name]
        more = float(costs[gone + taken - 1] - (costs[gone - 1] if gone else 0.0))
        return more / (self._parameters(widths) - self._parameters({**widths, name: widths[name] - taken}))


def _prepared(step: _Step, x: Tensor) -> Tensor:
    """What a step's convolution takes. Photographs come first, and from the exchange on they are alone."""
    if step.before == "pool":
        return F.max_pool2d(x, 2)
    if step.before == "double":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    if step.before == "exchange":
        photographs, paintings = x.chunk(2)
        return adaptive_instance_norm(photographs, *mean_std(paintings))
    return x


def _convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)


def _activated(step: _Step, x: Tensor) -> Tensor:
    return x if step.is_last else F.relu_(x)


def _least_squares(x: Tensor, wanted: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The weight and bias that turn `x` into `wanted` as well as can be, near those that are given.

    x: `(B, C, H, W)`; wanted: `(B, K, H, W)`, what the convolution is to give; some thousand positions settle it.
    """
    inputs, chosen = patches(F.pad(x, (1, 1, 1, 1), mode="reflect"), _POSITIONS)
    start = _joined(weight, bias)
    missing = wanted.movedim(1, 3).flatten(0, 2)[chosen] - inputs @ start.T
    square = (inputs.T @ inputs).double()
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    change = torch.linalg.solve(square, (inputs.T @ missing).double(), left=True).T.float()
    found = start + change
    return found[:, :-1].reshape(weight.shape).contiguous(), found[:, -1].contiguous()


def _joined(weight: Tensor, bias: Tensor) -> Tensor:
    """Weights `(K, 9 C + 1)` of a convolution, the bias last."""
    return torch.cat([weight.flatten(1), bias[:, None]], 1)


def paired(
    photographs: Sequence[Any], paintings: Sequence[Any], sides: tuple[int, int]
) -> tuple[list[Tensor], list[Tensor]]:
    """As many photographs as paintings, each `(1, 3, H, W)`, of arrays `(3, H, W)` in [0, 1].

    sides: height and width that they are brought to.
    """
    count = min(len(photographs), len(paintings))

    def small(pictures: Sequence[Any]) -> list[Tensor]:
        return [F.interpolate(torch.as_tensor(one)[None], sides, mode="area") for one in pictures[:count]]

    return small(photographs), small(paintings)
