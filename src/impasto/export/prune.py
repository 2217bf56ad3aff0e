"""Structured pruning: whole channels leave a trained network, those that its pictures miss least.

A dependency graph (package torch-pruning) tells through which tensors a channel runs: the stream of residual blocks,
the skip, the codes. Channels leave a few at a time, always from the group of layers where a parameter costs the least
error against the full network's own pictures, as in NetAdapt; inside a group those of the least magnitude. What is left
is to be trained for a while.

Papers: arXiv:2301.12900 (Fang et al. 2023) for the graph and the magnitude over a group, arXiv:1804.03230 (Yang et al.
2018) for the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError, require
from impasto.models import networks
from impasto.models.networks import Trained

EXTRA = "compress"

_LEAST = 4  # channels that a layer keeps
_STYLES = 3  # that are painted to measure an error
_TRACED = 32  # px, of the picture that the graph is traced with


@dataclass(frozen=True)
class Sensitivity:
    """How a group of layers bears pruning.

    Attributes:
        layers: its layers, those whose channels leave.
        error: mean squared error of the pictures when half of its channels are gone, of a range of 1.
        before, after: channels of it in the full and in the pruned network.
    """

    layers: tuple[str, ...]
    error: float
    before: int
    after: int


@dataclass(frozen=True)
class Pruned:
    """A narrower network.

    Attributes:
        trained: its tensors, and what the full one said of itself.
        parameters: of the full and of the pruned network, without codes.
        sensitivities: of the groups of layers.
    """

    trained: Trained
    parameters: tuple[int, int]
    sensitivities: tuple[Sensitivity, ...]


def prune(trained: Trained, photographs: Sequence[Tensor], *, ratio: float, on_progress: OnProgress = ignore) -> Pruned:
    """Take channels out of a network until a share of its parameters is gone.

    Args:
        trained: the full network.
        photographs: `(1, 3, H, W)` in [0, 1], whose sides are multiples of its stride; a handful, 128 px wide, will do.
        ratio: share of the parameters that go, between 0 and 1.

    Raises:
        InputError: so many cannot go.
        MissingExtra: torch-pruning is not installed.
    """
    full = _Shrinking(trained, photographs)
    state, whole = full.tensors, _parameters(full.tensors)
    first = {key: state[f"{key}.weight"].shape[0] for key in full.groups(state)}
    halves = {key: full.error(full.without(state, key, max(1, count // 2))) for key, count in first.items()}
    while (left := _parameters(state)) > (1 - ratio) * whole:
        on_progress(Progress("pruning", whole - left, round(ratio * whole), "parameter"))
        state = full.step(state, first)
    on_progress(Progress("pruning", round(ratio * whole), round(ratio * whole), "parameter"))
    groups = full.groups(full.tensors)
    sensitivities = tuple(
        Sensitivity(groups[key], halves[key], count, state[f"{key}.weight"].shape[0]) for key, count in first.items()
    )
    return Pruned(Trained(state, trained.about), (whole, _parameters(state)), sensitivities)


def _parameters(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for name, tensor in tensors.items() if not name.startswith("style."))


class _Shrinking:
    """A network on its way to fewer channels; its tensors are values, of which each step makes new ones."""

    def __init__(self, trained: Trained, photographs: Sequence[Tensor]) -> None:
        self._pruning: Any = require("torch_pruning", EXTRA)
        self.tensors: Mapping[str, Tensor] = {name: tensor.float() for name, tensor in trained.tensors.items()}
        self._styles = trained.styles[:: max(1, len(trained.styles) // _STYLES)][:_STYLES]
        self._photographs = torch.cat(list(photographs))
        self._wanted = self._pictures(self.tensors)

    def groups(self, tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
        """The layers whose channels go together, by the first of them."""
        plain = _Plain(tensors)
        found: dict[str, tuple[str, ...]] = {}
        for group in self._graph(plain).get_all_groups(ignored_layers=[plain.last]):
            names = [plain.name(dep.target.module) for dep, _ in group if self._is_output(dep)]
            names = [name for name in names if name and name != "skip" and not name.endswith("depthwise")]
            found[names[0]] = tuple(sorted(set(names)))
        return found

    def step(self, tensors: Mapping[str, Tensor], first: Mapping[str, int]) -> Mapping[str, Tensor]:
        """Without the channels that a parameter costs least at. first: channels of each group in the full network."""
        best, least = None, float("inf")
        now = self.error(tensors)
        for key, count in first.items():
            have = tensors[f"{key}.weight"].shape[0]
            taken = min(channels_at_once(count), have - _LEAST)
            if taken < 1:
                continue
            narrower = self.without(tensors, key, taken)
            spared = _parameters(tensors) - _parameters(narrower)
            cost = (self.error(narrower) - now) / spared
            if cost < least:
                best, least = narrower, cost
        if best is None:
            raise InputError(
                "so many parameters cannot go: every layer is as narrow as it can be", "use a smaller --ratio"
            )
        return best

    def without(self, tensors: Mapping[str, Tensor], key: str, count: int) -> Mapping[str, Tensor]:
        """The tensors without the least important channels of a group."""
        plain = _Plain(tensors)
        graph, layer = self._graph(plain), plain.layers[_key(key)]
        whole = graph.get_pruning_group(layer, self._pruning.prune_conv_out_channels, list(range(layer.out_channels)))
        importance = self._pruning.importance.GroupMagnitudeImportance()(whole)
        gone = sorted(importance.argsort()[:count].tolist())
        group = graph.get_pruning_group(layer, self._pruning.prune_conv_out_channels, gone)
        norms = {id(norm): number for number, norm in enumerate(plain.norms)}
        lost = {norms[id(dep.target.module)]: idxs for dep, idxs in group if id(dep.target.module) in norms}
        group.prune()
        return {
            **plain.tensors(),
            **_narrower_codes(tensors, [norm.num_features for norm in _Plain(tensors).norms], lost),
        }

    @torch.no_grad()
    def error(self, tensors: Mapping[str, Tensor]) -> float:
        """Mean squared error against the full network's pictures."""
        return float(F.mse_loss(self._pictures(tensors), self._wanted))

    @torch.no_grad()
    def _pictures(self, tensors: Mapping[str, Tensor]) -> Tensor:
        trained = Trained(tensors)
        network = trained.network()
        return torch.cat(
            [
                network(self._photographs, trained.code(style).expand(len(self._photographs), -1))
                for style in self._styles
            ]
        )

    def _graph(self, plain: _Plain) -> Any:
        return self._pruning.DependencyGraph().build_dependency(plain, torch.zeros(1, 3, _TRACED, _TRACED))

    def _is_output(self, dep: Any) -> bool:
        return bool(
            dep.pruning_fn in (self._pruning.prune_conv_out_channels, self._pruning.prune_depthwise_conv_out_channels)
        )


def channels_at_once(channels: int) -> int:
    """Channels that leave at once: an eighth or less, and a power of 2, which suits vector instructions."""
    return 1 << max(1, (channels // 8).bit_length() - 1)


def _narrower_codes(
    tensors: Mapping[str, Tensor], sizes: Sequence[int], lost: Mapping[int, Sequence[int]]
) -> dict[str, Tensor]:
    """The codes without the scales and shifts of lost channels, which are numbered in each normalised layer."""
    keep, at = [], 0
    for number, size in enumerate(sizes):
        gone = set(lost.get(number, ()))
        own = [index for index in range(size) if index not in gone]
        keep += [at + index for index in own] + [at + size + index for index in own]
        at += 2 * size
    chosen = torch.tensor(keep)
    return {name: tensor[chosen] for name, tensor in tensors.items() if name.startswith("style.")}


class _Plain(nn.Module):
    """The same network out of torch's own layers, in which the dependency graph finds its way.

    The scales of its normalisations are the means of those of the styles, as far as magnitudes count them.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._row = networks.find_spec(tensors)
        codes = torch.stack([tensor.float() for name, tensor in tensors.items() if name.startswith("style.")])
        self.norms: Any = nn.ModuleList()
        at = 0
        for channels in self._row.normalised:
            norm = nn.InstanceNorm2d(channels, affine=True)
            norm.weight.data.copy_(codes[:, at : at + channels].abs().mean(0))
            self.norms.append(norm)
            at += 2 * channels
        self._names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
        self.layers: Any = nn.ModuleDict({name: self._layer(tensors, name) for name in map(_key, self._names)})
        if "skip" in tensors:
            channels = len(tensors["skip"])
            skip = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
            skip.weight.data.copy_(tensors["skip"][:, None, None, None])
            self.layers["skip"] = skip

    def _layer(self, tensors: Mapping[str, Tensor], key: str) -> nn.Conv2d:
        name = key.replace("/", ".")
        weight, bias = tensors[f"{name}.weight"].float(), tensors.get(f"{name}.bias")
        outputs, inputs, kernel = weight.shape[:3]
        groups = outputs if name.endswith("depthwise") else 1
        halving = name.startswith("down.") or (name == "stem" and self._row.stem_stride == 2)
        layer = nn.Conv2d(
            inputs * groups,
            outputs,
            kernel,
            stride=2 if halving else 1,
            padding=kernel // 2,
            groups=groups,
            bias=bias is not None,
        )
        layer.weight.data.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.data.copy_(bias)
        return layer

    def name(self, module: nn.Module) -> str:
        """Of a layer in the network's file; empty for what is none."""
        found = next((key for key, layer in self.layers.items() if layer is module), "")
        return found.replace("/", ".")

    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them, without codes."""
        found = {}
        for key, layer in self.layers.items():
            assert isinstance(layer, nn.Conv2d)
            name = key.replace("/", ".")
            if name == "skip":
                found["skip"] = layer.weight.detach().flatten()
                continue
            found[f"{name}.weight"] = layer.weight.detach()
            if layer.bias is not None:
                found[f"{name}.bias"] = layer.bias.detach()
        return found

    def forward(self, x: Tensor) -> Tensor:
        """As the network, but for padding."""
        norms = iter(self.norms)
        x = before = F.relu(next(norms)(self.layers["stem"](x)))
        for number in range(len(self._row.widths) - 1):
            before = x
            x = F.relu(next(norms)(self.layers[f"down/{number}"](x)))
        for number in range(self._row.blocks):
            inner = F.relu(next(norms)(self._half(x, f"blocks/{number}/first")))
            x = x + next(norms)(self._half(inner, f"blocks/{number}/second"))
        for number in range(len(self._row.widths) - 1):
            x = F.relu(next(norms)(self.layers[f"up/{number}"](F.interpolate(x, scale_factor=2.0))))
            if number == 0 and "skip" in self.layers:
                x = x + self.layers["skip"](before)
        if "full" in self.layers:
            x = self.layers["full"](F.interpolate(x, scale_factor=2.0))
        found: Tensor = self.layers["head"](F.relu(x)) if "head" in self.layers else x
        return found

    @property
    def last(self) -> nn.Module:
        """What makes the colours."""
        found: nn.Module = self.layers["head" if "head" in self.layers else "full"]
        return found

    def _half(self, x: Tensor, key: str) -> Tensor:
        if key in self.layers:
            found: Tensor = self.layers[key](x)
            return found
        joined: Tensor = self.layers[f"{key}/pointwise"](self.layers[f"{key}/depthwise"](x))
        return joined


def _key(name: str) -> str:
    """A layer's name as a module dictionary takes it, without dots."""
    return name.replace(".", "/")
