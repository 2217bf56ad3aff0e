"""Controls besides content and style: colour, regions, what to keep. They mean the same for every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from impasto.engine.points import Points, is_points
from impasto.errors import InputError, as_number, quoted
from impasto.files import is_file

KEEP_COLOR = ("luminance", "histogram")
MATCHED_PARTS = 3
"""Parts of a photograph that are matched with parts of the painting, at most."""
FACE_AMOUNT = 0.7
"""How much less a face is painted when no amount is given."""


@dataclass(frozen=True)
class Controls:
    """How to treat colour and the parts of a picture.

    A mask is a picture of any kind (white where it holds; its transparency, where it has some), a word of
    `segment.ASSETS`, or `points.Points` as text: what is at `point 320,240`.

    Attributes:
        keep_color: "luminance" (painted luma, photograph's chroma), "histogram" (the style image is given the
            photograph's colours before painting), or None.
        color_only: the photograph with the style's colours, not painted.
        match_regions: paint each part of the photograph after the part of the painting that shows something like it.
        regions: pairs of mask and style (or a list of styles), or a mapping from the one to the other.
        feather: pixels over which the edges of all masks fade.
        preserve: mask of what stays the photograph.
        protect_faces: how much less faces are painted, from 0 to 1; None leaves faces alone.
        strength_map: mask that multiplies the strength.
        directions: `(H, W, 2)` float32 at the size of the result, vectors (x, y) along which strokes should run, no
            longer than 1; of methods that can lay strokes so.
    """

    keep_color: str | None = None
    color_only: bool = False
    match_regions: bool = False
    regions: tuple[tuple[Any, Any], ...] = ()
    feather: float = 0.0
    preserve: Any = None
    protect_faces: float | None = None
    strength_map: Any = None
    directions: Any = field(default=None, compare=False)  # an array: its comparison is none

    def __post_init__(self) -> None:
        given: Any = self.regions
        pairs = tuple(given.items()) if isinstance(given, Mapping) else given
        if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            raise InputError(f"regions are {quoted(given)}", "give pairs of mask and style: [(mask, style), ...]")
        object.__setattr__(self, "regions", tuple((mask, style) for mask, style in pairs))

    def check(self) -> None:
        """Raise InputError for what contradicts itself or is out of range."""
        if self.keep_color is not None and self.keep_color not in KEEP_COLOR:
            raise InputError(f"--keep-color is {quoted(self.keep_color)}", f"it is one of {', '.join(KEEP_COLOR)}")
        if self.keep_color and self.color_only:
            raise InputError("--keep-color and --color-only contradict each other", "leave one out")
        for flag, value, high in (("--feather", self.feather, 10_000.0), ("--protect-faces", self.protect_faces, 1.0)):
            if value is not None and not (as_number(value) is not None and 0 <= value <= high):
                raise InputError(f"{flag} is {quoted(value)}", f"it takes a number from 0 to {high:g}")
        for mask in (*(mask for mask, _ in self.regions), self.preserve, self.strength_map):
            if isinstance(mask, str) and is_points(mask) and not is_file(mask):
                Points.parse(mask)
        if self.match_regions and self.regions:
            raise InputError("--match-regions and --region contradict each other", "leave one out")
        if self.feather and not self.region_count() and self.preserve is None and self.strength_map is None:
            raise InputError(
                f"--feather is {self.feather:g}, but there is no mask whose edges could fade",
                "add --region, --preserve or --strength-map",
            )

    def guide_fields(self) -> frozenset[str]:
        """Fields of Guide that a method must honour for this; none when only colours are moved."""
        named = {"regions": self.region_count(), "strength": self.protect_faces or self.strength_map is not None}
        named["directions"] = self.directions is not None
        return frozenset(() if self.color_only else (name for name, used in named.items() if used))

    def region_count(self) -> int:
        """Regions, at most, where they are found in the photograph."""
        return MATCHED_PARTS if self.match_regions else len(self.regions)

    def map_count(self) -> int:
        """Masks of the size of the picture that are kept while it is painted, at most."""
        kept = self.region_count() + (self.region_count() > 0) + (self.preserve is not None)
        kept += 0 if self.directions is None else 2
        return kept + (self.strength_map is not None or bool(self.protect_faces))

    def record(self) -> dict[str, Any]:
        """The controls as plain values; defaults and regions (recorded with their styles) are left out."""
        values = {
            "keep_color": self.keep_color,
            "color_only": self.color_only or None,
            "match_regions": self.match_regions or None,
            "feather": self.feather or None,
            "preserve": mask_name(self.preserve),
            "protect_faces": self.protect_faces,
            "strength_map": mask_name(self.strength_map),
        }
        return {name: value for name, value in values.items() if value is not None}


def mask_name(mask: Any) -> str | None:
    """A mask's name in records: a word or a file name; "mask" for pixels in memory."""
    if mask is None:
        return None
    named = getattr(mask, "name", mask)
    return Path(named).name if isinstance(named, str | Path) else "mask"
