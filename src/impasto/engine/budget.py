"""Memory of a job: what it takes in one piece, what in tiles, and whether there is room for either.

Linux kills a process that runs out of memory, it does not raise; so this is counted before a job starts. What a method
takes by pixel is measured and stands in the registry; what the engine itself holds is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from impasto import device, images
from impasto.contract import Placement
from impasto.errors import ResourceError
from impasto.methods import recipes

FREE_SHARE = 0.85
"""Of what is free, that a job in tiles takes: others use memory too."""
_RESERVE = 200_000_000  # bytes that the libraries take for themselves while they compute
_MASK = 12.0  # bytes a pixel of a mask, with what methods make of it
_HOLDING = 12.0  # of the photograph, the picture to start from, the result and a style image of its size, as codes
_LEAST_SIZE = 64  # pixels, that are suggested
_WRITING = 16.0  # while a result is encoded


@dataclass(frozen=True)
class Budget:
    """The memory limits of a job.

    Attributes:
        memory: bytes in all; None where there is room for one piece.
        maps: masks of the size of the picture.
        needed: bytes in one piece.
    """

    memory: int | None
    maps: int = 0
    needed: int = 0

    @property
    def tiled(self) -> bool:
        """Whether pictures stay codes, and methods paint in tiles."""
        return self.memory is not None

    def left_for_method(self, pixels: int, others: int) -> int | None:
        """Bytes for a method beside the pictures.

        Args:
            pixels: of the result.
            others: bytes that style images take.
        """
        if self.memory is None:
            return None
        held = (_HOLDING + _MASK * self.maps) * pixels + others
        return max(1, int(self.memory - held) - _RESERVE)


def plan(
    stages: Sequence[recipes.Stage],
    placements: Sequence[Placement],
    sides: tuple[int, int],
    source: images.Header,
    *,
    maps: int = 0,
    regions: int = 0,
    limit: int | None = None,
) -> Budget:
    """Decide between one piece and tiles.

    Args:
        stages, placements: the methods and where they compute.
        sides: height and width of the result.
        source: the photograph's header.
        maps: masks that the job holds.
        regions: parts of the picture that have statistics of their own.
        limit: bytes that the user allows; None for what is free.

    Raises:
        ResourceError: neither fits; says what tiles would need.
        InputError: only tiles fit, and something that was asked for cannot be tiled.
    """
    on = placements[-1].device
    room = device.available_memory(on) if limit is None else limit
    pixels = sides[0] * sides[1]
    whole = max(
        bytes_in_one_piece(stage, placement, regions, pixels)
        for stage, placement in zip(stages, placements, strict=True)
    )
    needed = int(whole + _MASK * maps * pixels)
    if needed <= room:
        return Budget(None, maps, needed)
    if any(stage.method.tiling != "shared statistics" for stage in stages):
        device.check_memory(needed, sides[1], sides[0], limit=room, device=on)
    allowed = room if limit is not None else int(room * FREE_SHARE)
    check_in_tiles(partial(least_in_tiles, stages, placements, source=source, maps=maps), sides, allowed, limit)
    return Budget(allowed, maps, needed)


def check_in_tiles(
    least_at: Callable[[tuple[int, int]], int], sides: tuple[int, int], allowed: int, limit: int | None
) -> None:
    """Raise ResourceError where a picture does not fit in tiles either; it says what would.

    Args:
        least_at: bytes that a height and width need in tiles.
        sides: those of the result.
        allowed: bytes that may be used.
        limit: what the user allows; None for what is free.
    """
    least, longest, asked = least_at(sides), max(sides), limit is not None
    if least <= allowed:
        return
    sizes = (int(longest * 0.95**step) // 8 * 8 for step in range(1, 300))

    def needed_at(size: int) -> int:
        return least_at((round(sides[0] * size / longest), round(sides[1] * size / longest)))

    smaller = next((size for size in sizes if size >= _LEAST_SIZE and needed_at(size) <= allowed), None)
    hints = [f"--max-memory {-(-least // 10**7) / 100:g}GB"] if asked else []
    hints += [f"--size {smaller}"] if smaller is not None else []
    needed, room = device.readable_bytes(least), device.readable_bytes(allowed)
    raise ResourceError(
        f"{sides[1]}x{sides[0]} px in tiles needs {needed} of memory; {room} {'may be used' if asked else 'is free'}",
        f"use {' or '.join(hints)}" if hints else "free some memory",
    )


def least_in_tiles(
    stages: Sequence[recipes.Stage],
    placements: Sequence[Placement],
    sides: tuple[int, int],
    source: images.Header,
    maps: int = 0,
) -> int:
    """Bytes below which tiles do not fit either."""
    pixels = sides[0] * sides[1]
    painting: int = max(
        stage.method.costs().least_memory(*sides, stage.knobs, placement)
        for stage, placement in zip(stages, placements, strict=True)
    )
    painting += int((_HOLDING + _MASK * maps) * pixels) + _RESERVE
    reading = images.least_bytes(source, longest=max(sides))
    writing = int((_WRITING + _MASK * maps) * pixels)
    return max(painting, reading, writing)


def bytes_in_one_piece(stage: recipes.Stage, placement: Placement, regions: int, pixels: int) -> float:
    """Bytes that a stage takes in one piece, beside the pictures.

    Args:
        stage: the method and its settings.
        placement: where it computes.
        regions: parts of the picture that have statistics of their own.
        pixels: of the result.
    """
    share = 1.0 if placement.precision == "float32" else 0.5
    each = stage.method.bytes_per_pixel(stage.knobs, placement) + regions * stage.method.region_memory * share
    return each * pixels + stage.method.costs().fixed_bytes(stage.knobs, placement)


IN_ONE_PIECE = Budget(None)
