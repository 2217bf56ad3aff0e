"""How a descent fits into memory: in one piece, in tiles, with a shorter history, or with plain pixels.

Bytes by pixel were measured (bench/RESULTS.md) with VGG-19; other encoders take more or less by the features they have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from impasto.contract import Placement
from impasto.errors import InputError
from impasto.methods.optimize.balances import stroke_layers
from impasto.methods.optimize.levels import STRIDE
from impasto.methods.optimize.objectives import content_objectives, style_loss
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import Block, Convolution, EncoderSpec, Fork, Residual, find
from impasto.models.encoders import winograd_bytes
from impasto.ops.tiling import side_within
from impasto.optim.evaluator import can_approximate
from impasto.optim.schedule import Schedule

LEAST_TILE = 128  # pixels; with smaller tiles nearly everything would be margin
_GOOD_TILE = 320  # rather forget history than take smaller ones
_LEAST_HISTORY = 3
# copies of all features that are held at once: of a window at the peak of its second pass, of a level in one piece, and
# of that with checkpointing
_WINDOW_COPIES = 2.6
_WHOLE_COPIES = 3.0
_CHECKPOINTED_COPIES = 1.9


@dataclass(frozen=True)
class Fit:
    """How one level of a descent goes.

    Attributes:
        tile: longest side of a tile in pixels; None for one piece.
        optimizer, history: of the schedule.
        low_memory: plain pixels and Adam, which take a tenth of a pyramid and L-BFGS; features of the photograph in
            bfloat16.
        winograd: features by Winograd's algorithm, for some more memory.
    """

    tile: int | None
    optimizer: str
    history: int
    low_memory: bool = False
    winograd: bool = False

    def schedule(self, steps: int, knobs: OptimizeKnobs) -> Schedule:
        """For so many steps."""
        return Schedule(steps, self.optimizer, knobs.learning_rate, history=self.history, low_memory=self.low_memory)


def fit(sides: tuple[int, int], knobs: OptimizeKnobs, placement: Placement, memory: int | None) -> Fit:
    """One piece where there is room; else tiles, then a shorter history, then plain pixels.

    Args:
        sides: height and width of a level.
        knobs: what was asked for.
        placement: for its precision.
        memory: bytes; None for as many as one piece takes.
    """
    pixels = math.prod(sides)
    if memory is None:
        return Fit(None, knobs.optimizer, knobs.history, winograd=_uses_winograd(knobs))
    if pixels * whole_bytes(knobs, placement) <= memory:
        return Fit(None, knobs.optimizer, knobs.history)
    target = _target_bytes(knobs, placement)
    room = memory - _tile_bytes(_GOOD_TILE, knobs, placement)
    for history in range(knobs.history, min(knobs.history, _LEAST_HISTORY) - 1, -1):
        held = (_descent_bytes(knobs.optimizer, history) + target) * pixels
        if held <= room:
            return Fit(tile_side(int(memory - held), knobs, placement), knobs.optimizer, history)
    left = int(memory - (_low_memory_bytes() + _target_bytes(knobs, placement, low_memory=True)) * pixels)
    return Fit(tile_side(left, knobs, placement), "adam", knobs.history, low_memory=True)


def tile_side(memory: int, knobs: OptimizeKnobs, placement: Placement) -> int:
    """Longest side of the tiles that fit into `memory`."""
    window = _WINDOW_COPIES * _feature_bytes(knobs, placement)
    return max(LEAST_TILE, side_within(memory, window, margin=_margin(knobs), stride=STRIDE))


def least_memory(sides: tuple[int, int], knobs: OptimizeKnobs, placement: Placement) -> int:
    """Bytes that the leanest descent takes.

    Raises:
        InputError: something that was asked for cannot be tiled.
    """
    _check(knobs)
    held = (_low_memory_bytes() + _target_bytes(knobs, placement, low_memory=True)) * math.prod(sides)
    return int(held + _tile_bytes(LEAST_TILE, knobs, placement))


def whole_bytes(knobs: OptimizeKnobs, placement: Placement) -> float:
    """Bytes a pixel of a descent in one piece at its peak."""
    copies = _CHECKPOINTED_COPIES if knobs.checkpointing == "on" else _WHOLE_COPIES
    strokes = _values(find(knobs.encoder), stroke_layers(knobs, find(knobs.encoder)))
    held = strokes * (4 if placement.precision == "float32" else 2)
    return copies * _feature_bytes(knobs, placement) + held + _descent_bytes(knobs.optimizer, knobs.history)


def fixed_bytes(knobs: OptimizeKnobs, placement: Placement) -> int:
    """Bytes of a descent in one piece beside those for each pixel."""
    layers = (*knobs.style_layers, *knobs.content_layers)
    return winograd_bytes(find(knobs.encoder), layers, placement) if _uses_winograd(knobs) and layers else 0


def _uses_winograd(knobs: OptimizeKnobs) -> bool:
    return knobs.checkpointing == "off"


def _check(knobs: OptimizeKnobs) -> None:
    """Refuse a loss that tiles cannot do, before the first levels are painted in vain."""
    named = [(one.name, one.objective) for one in content_objectives(knobs)]
    for name, objective in [("style", style_loss(knobs, find(knobs.encoder))), *named]:
        possible = can_approximate(objective)
        if objective.additive or (possible and knobs.tiling == "approximate"):
            continue
        asked = f"--{name}-loss {knobs.style_loss if name == 'style' else knobs.content_loss}"
        raise InputError(
            f"{asked} looks at the whole picture, which does not fit into memory in one piece",
            f"choose another --{name}-loss, a smaller --size" + (", or --tiling approximate" if possible else ""),
        )


def _margin(knobs: OptimizeKnobs) -> int:
    return find(knobs.encoder).reach((*knobs.style_layers, *knobs.content_layers))


def _tile_bytes(side: int, knobs: OptimizeKnobs, placement: Placement) -> float:
    return (side + 2 * _margin(knobs)) ** 2 * _WINDOW_COPIES * _feature_bytes(knobs, placement)


def _feature_bytes(knobs: OptimizeKnobs, placement: Placement) -> float:
    """A pixel, of one copy of all features on the way to the deepest layer."""
    values = find(knobs.encoder).values((*knobs.style_layers, *knobs.content_layers))
    return values * (4 if placement.precision == "float32" else 2)


def _descent_bytes(optimizer: str, history: int) -> float:
    """A pixel, of a descent on the pyramid: images, parameters and what the optimiser holds of their size."""
    return 360.0 + 54 * history if optimizer == "lbfgs" else 465.0


def _low_memory_bytes() -> float:
    """A pixel, of a descent on plain pixels by Adam: the image, its gradient, two moments, and the best in half."""
    return 5 * 12.0


def _target_bytes(knobs: OptimizeKnobs, placement: Placement, *, low_memory: bool = False) -> float:
    """A pixel, of the photograph's features that are kept as a target; with low_memory they are kept in bfloat16."""
    values = _values(find(knobs.encoder), knobs.content_layers)
    return values * (4 if placement.precision == "float32" and not low_memory else 2)


def _values(architecture: EncoderSpec, layers: Iterable[str]) -> float:
    """Of feature maps, for a pixel of the picture."""
    channels = {}
    for block in architecture.blocks:
        for name in block.layers:
            channels[name] = _channels(block)
    return sum(channels[layer] / architecture.stride(layer) ** 2 for layer in layers)


def _channels(block: Block) -> int:
    if isinstance(block, Convolution):
        return block.outputs
    if isinstance(block, Fork):
        return sum(branch.outputs for branch in block.branches)
    return block.inner[-1].outputs if isinstance(block, Residual) else 0
