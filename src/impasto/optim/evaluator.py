"""Scores pictures of any size: a loss as a sum of terms and its gradient, in one piece or tile by tile.

A style loss looks at a picture through statistics of the whole of it. Those that are means over positions add up over
tiles: one pass over the tiles collects them, the loss gives its gradient with respect to them, and a second pass takes
that back to the pixels of each tile. Both are what one pass over the whole picture would have given, to rounding, since
every tile is seen with all of the neighbourhood that its features depend on. So nothing is there to make a seam.

Paper: arXiv:2212.13459 (Galerne, Raad, Lezama and Morel 2022). Departs from it in the borders: inside the picture
nothing is padded, so margins are as narrow as they can be, and at its edges padding is by reflection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from impasto.contract import (
    Features,
    MappedObjective,
    Objective,
    PlacedObjective,
    PooledObjective,
    Stats,
    check_cancelled,
)
from impasto.errors import InputError
from impasto.losses.losses import sum_of
from impasto.memory import trim_memory
from impasto.models.encoders import Encoder
from impasto.ops.tiling import Tile, tiles_of
from impasto.optim.descent import differentiated


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    Attributes:
        name: of the loss that it belongs to, for people; terms of one name are added up.
        weight: factor.
        objective: what is measured.
        target: its target.
    """

    name: str
    weight: float
    objective: Objective
    target: Stats = field(default_factory=dict)


class Evaluator:
    """The loss of a picture as a sum of terms, and its gradient, in one piece or tile by tile.

    Args:
        encoder: gives the features of all terms in one pass.
        terms: what is summed.
        wrap: whether the picture goes on beyond its edges with the opposite ones.
        backdrop: `(below, cover)`, `(1, 3, H, W)` and `(1, 1, H, W)`: the picture is seen where it covers `below`.
        tile: longest side of a tile in pixels; None for one piece, which is quicker as long as it fits into memory.
        approximate: measure what is not additive tile by tile, and take the mean.
        checkpointing, winograd: in one piece, compute features twice rather than keep them, or by Winograd's algorithm;
            see `Encoder`.

    Raises:
        InputError: tiles are asked for, and a term is not additive.
    """

    def __init__(
        self,
        encoder: Encoder,
        terms: Sequence[Term],
        *,
        wrap: bool = False,
        backdrop: tuple[Tensor, Tensor] | None = None,
        tile: int | None = None,
        approximate: bool = False,
        checkpointing: bool = False,
        winograd: bool = False,
    ) -> None:
        self._encoder, self._terms, self._wrap, self._backdrop = encoder, tuple(terms), wrap, backdrop
        self._tile, self._checkpointing, self._winograd = tile, checkpointing, winograd
        for term in self._terms if tile is not None else ():
            possible = can_approximate(term.objective)
            if not term.objective.additive and not (approximate and possible):
                raise InputError(
                    f"the {term.name} loss looks at the whole picture, which does not fit into memory in one piece",
                    "choose another loss, a smaller --size" + (", or --tiling approximate" if possible else ""),
                )
        if tile is not None:
            self._terms = tuple(_for_tiles(term) for term in self._terms)
        self._bound = [term.objective.bind(term.target) for term in self._terms]

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """Losses of `image (1, 3, H, W)` by name, weighted, each a scalar; and the gradient of their sum.

        Raises Cancelled between tiles; see `check_cancelled`.
        """
        return differentiated(self.losses)(image) if self._tile is None else self._tiled(image, self._tile)

    def losses(self, image: Tensor) -> Mapping[str, Tensor]:
        """The losses in one piece, differentiable by autograd."""
        features = {"image": image}
        if self._backdrop is not None:  # seen as it will be: cut out, on what lies below
            features["image"] = torch.lerp(self._backdrop[0], image, self._backdrop[1])
        layers = layers_of(self._terms)
        if layers:
            found = self._encoder(
                features["image"],
                layers,
                wrap=self._wrap,
                checkpointing=self._checkpointing,
                winograd=self._winograd,
            )
            features.update(found)
        return self._sums([term.objective.statistics(features) for term in self._terms])

    def _sums(self, statistics: Sequence[Stats]) -> Mapping[str, Tensor]:
        """Losses by name, of each term's statistics."""
        found: dict[str, Tensor] = {}
        for term, loss, stats in zip(self._terms, self._bound, statistics, strict=True):
            found[term.name] = term.weight * loss(stats) + found.get(term.name, 0)
        return found

    def _tiled(self, image: Tensor, side: int) -> tuple[Mapping[str, Tensor], Tensor]:
        """First the statistics of all tiles, then their gradients tile by tile."""
        layers = layers_of(self._terms)
        margins = [_margin(term) for term in self._terms]
        stride = math.lcm(*(self._encoder.architecture.stride(layer) for layer in layers), *(m for m in margins if m))
        reach = max((self._encoder.architecture.reach(layers) if layers else 0, *margins))
        image = image.detach()
        tiles = tiles_of((image.shape[2], image.shape[3]), side, stride=stride, wrap=self._wrap)
        sums: list[dict[str, Tensor]] = [{} for _ in self._terms]
        with torch.no_grad():
            for tile in tiles:
                check_cancelled()
                for total, part in zip(sums, self._parts(tile.crop(image, reach), tile, reach, layers), strict=True):
                    for name, value in part.items():
                        total[name] = value + total[name] if name in total else value
                trim_memory()
        leaves = [{name: value.requires_grad_() for name, value in total.items()} for total in sums]
        losses = self._sums(leaves)
        torch.stack(tuple(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        slopes = [{name: leaf.grad for name, leaf in own.items() if leaf.grad is not None} for own in leaves]
        gradient = torch.zeros_like(image)
        for tile in tiles:
            check_cancelled()
            window = tile.crop(image, reach).clone().requires_grad_()
            parts = self._parts(window, tile, reach, layers)
            pairs = [
                (part[name], slope) for part, own in zip(parts, slopes, strict=True) for name, slope in own.items()
            ]
            pairs = [(value, slope) for value, slope in pairs if value.requires_grad]
            torch.autograd.backward([value for value, _ in pairs], [slope for _, slope in pairs])
            if window.grad is not None:
                _add(gradient, window.grad, tile, reach)
            del window, parts, pairs
            trim_memory()  # or the C library keeps blocks of every tile's sizes, a sixth of the limit in all
        return {name: loss.detach() for name, loss in losses.items()}, gradient

    def _parts(self, window: Tensor, tile: Tile, reach: int, layers: frozenset[str]) -> list[Stats]:
        """A tile's contribution to each term's statistics. window: the picture over the tile and its margins."""
        if self._backdrop is not None:
            below, cover = (tile.crop(part, reach) for part in self._backdrop)
            window = torch.lerp(below, window, cover)
        features: dict[str, Tensor] = {}
        if layers:
            own = _narrowed(window, tile, reach, self._encoder.architecture.reach(layers))
            features.update(self._encoder(own, layers, tile=tile))
        parts: list[Stats] = []
        for term in self._terms:
            features["image"] = _narrowed(window, tile, reach, _margin(term))
            if isinstance(term.objective, PlacedObjective):
                parts.append(term.objective.partial(features, tile))
            else:
                own_statistics = term.objective.statistics(features)
                parts.append({name: tile.share * value for name, value in own_statistics.items()})
        return parts


@dataclass(frozen=True)
class _TileMean:
    """An Objective that is not additive, taken for each tile by itself; their mean, weighted by their shares."""

    objective: Objective
    loss: Callable[[Stats], Tensor]
    additive: bool = True
    margin: int = 0

    @property
    def layers(self) -> frozenset[str]:
        return self.objective.layers

    def statistics(self, features: Features) -> Stats:
        return {"loss": self.loss(self.objective.statistics(features))}

    def partial(self, features: Features, tile: Tile) -> Stats:
        return {"loss": tile.share * self.statistics(features)["loss"]}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - the loss is bound already
        return lambda stats: stats["loss"]


def can_approximate(objective: Objective) -> bool:
    """Whether statistics of one tile mean anything: those that can be pooled with other pictures' do."""
    return isinstance(objective, PooledObjective)


def _for_tiles(term: Term) -> Term:
    """The same term, its objective such that what tiles contribute adds up."""
    if isinstance(term.objective, MappedObjective):
        return replace(term, objective=term.objective.placed(term.target), target={})
    if not term.objective.additive:
        return replace(term, objective=_TileMean(term.objective, term.objective.bind(term.target)), target={})
    return term


def layers_of(terms: Iterable[Term]) -> frozenset[str]:
    """Layers of the encoder that the terms read."""
    return frozenset().union(*(term.objective.layers for term in terms)) - {"image"}


def _margin(term: Term) -> int:
    return term.objective.margin if isinstance(term.objective, PlacedObjective) else 0


def _narrowed(window: Tensor, tile: Tile, wide: int, narrow: int) -> Tensor:
    """A crop with margins within `wide`, cut down to margins within `narrow`."""
    above, below, left, right = (
        more - less for more, less in zip(tile.margins(wide), tile.margins(narrow), strict=True)
    )
    return window[:, :, above : window.shape[2] - below, left : window.shape[3] - right]


def _add(gradient: Tensor, part: Tensor, tile: Tile, reach: int) -> None:
    """Add the gradient of a tile's window to that of the picture."""
    if not tile.wrap:
        tile.crop(gradient, reach).add_(part)
        return
    rows, columns = tile.indices(reach, gradient.device)
    flat = (rows[:, None] * tile.picture[1] + columns).flatten()
    gradient.flatten(2).index_add_(2, flat, part.flatten(2))


@torch.no_grad()
def collect(
    encoder: Encoder, objective: Objective, picture: Tensor, *, wrap: bool = False, tile: int | None = None
) -> Stats:
    """Statistics of a picture `(1, 3, H, W)`, such as a target, in one piece or tile by tile.

    What is not additive is pooled from tiles where the objective can pool pictures, which is close; see `Evaluator`.
    """
    layers = objective.layers - {"image"}
    if tile is None or not layers:
        features = {"image": picture}
        return objective.statistics({**features, **encoder(picture, layers, wrap=wrap)} if layers else features)
    stride, reach = max(map(encoder.architecture.stride, layers)), encoder.architecture.reach(layers)
    sides = picture.shape[2], picture.shape[3]
    maps: dict[str, Tensor] = {}
    parts: list[tuple[float, Stats]] = []
    for each in tiles_of(sides, tile, stride=stride, wrap=wrap):
        check_cancelled()
        features = dict(encoder(each.crop(picture, reach), layers, tile=each))
        if isinstance(objective, PlacedObjective):
            parts.append((1.0, objective.partial(features, each)))
            continue
        own = objective.statistics(features)
        if not isinstance(objective, MappedObjective):
            parts.append((each.share, own))
            continue
        for name, part in own.items():
            step = (each.rows[1] - each.rows[0]) // part.shape[2]
            if name not in maps:
                maps[name] = part.new_empty(*part.shape[:2], sides[0] // step, sides[1] // step)
            maps[name][:, :, *each.cells(step)] = part
    if maps or objective.additive:
        return maps or {name: sum_of(share * stats[name] for share, stats in parts) for name in parts[0][1]}
    assert isinstance(objective, PooledObjective)  # others are not collected by tiles
    return objective.pool(parts)
