"""What an artist asks for beside content and style: colour, regions, what to keep. The same words for every method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto import color, images, masks, segment
from impasto.assets import Store
from impasto.contract import OnProgress, ignore
from impasto.errors import InputError
from impasto.library import means_file
from impasto.params import close_names
from impasto.tiling import unit

KEEP_COLOR = ("luminance", "histogram")
FACE_AMOUNT = 0.7
"""How much less a face is painted when no amount is given."""

_FACE_MARGIN = 1.15  # boxes end at chin and brow; the oval should take in both


@dataclass(frozen=True)
class Controls:
    """How to treat colour and the parts of a picture.

    A mask is a picture of any kind (white where it holds; its transparency, where it has some), or a word of
    `segment.ASSETS`.

    Attributes:
        keep_color: "luminance" (painted luma, photograph's chroma), "histogram" (the style image is given the
            photograph's colours before painting), or None.
        color_only: the photograph with the style's colours, not painted.
        regions: pairs of mask and style (or a list of styles).
        feather: pixels over which the edges of all masks fade.
        preserve: mask of what stays the photograph.
        protect_faces: how much less faces are painted, from 0 to 1; None leaves faces alone.
        strength_map: mask that multiplies the strength.
    """

    keep_color: str | None = None
    color_only: bool = False
    regions: tuple[tuple[Any, Any], ...] = ()
    feather: float = 0.0
    preserve: Any = None
    protect_faces: float | None = None
    strength_map: Any = None

    def check(self) -> None:
        """Raise InputError for what contradicts itself or is out of range."""
        if self.keep_color is not None and self.keep_color not in KEEP_COLOR:
            raise InputError(f"--keep-color is {self.keep_color!r}", f"it is one of {', '.join(KEEP_COLOR)}")
        if self.keep_color and self.color_only:
            raise InputError("--keep-color and --color-only contradict each other", "leave one out")
        for flag, value, high in (("--feather", self.feather, 10_000.0), ("--protect-faces", self.protect_faces, 1.0)):
            if value is not None and not (_is_number(value) and 0 <= value <= high):
                raise InputError(f"{flag} is {value!r}", f"it takes a number from 0 to {high:g}")

        if self.feather and not self.regions and self.preserve is None and self.strength_map is None:
            raise InputError(
                f"--feather is {self.feather:g}, but there is no mask whose edges could fade",
                "add --region, --preserve or --strength-map",
            )

    def guide_fields(self) -> frozenset[str]:
        """Fields of Guide that a method must honour for this; none when only colours are moved."""
        named = {"regions": self.regions, "strength": self.protect_faces or self.strength_map is not None}
        return frozenset(() if self.color_only else (name for name, used in named.items() if used))

    def map_count(self) -> int:
        """Masks of the size of the picture that are kept while it is painted, at most."""
        kept = len(self.regions) + (len(self.regions) > 0) + (self.preserve is not None)
        return kept + (self.strength_map is not None or bool(self.protect_faces))

    def record(self) -> dict[str, Any]:
        """What was asked for as plain values; defaults and regions (recorded with their styles) are left out."""
        values = {
            "keep_color": self.keep_color,
            "color_only": self.color_only or None,
            "feather": self.feather or None,
            "preserve": mask_name(self.preserve),
            "protect_faces": self.protect_faces,
            "strength_map": mask_name(self.strength_map),
        }
        return {name: value for name, value in values.items() if value is not None}


def mask_name(mask: Any) -> str | None:
    """What finds a mask again: a word or a file name; "mask" for pixels in memory."""
    if mask is None:
        return None
    return Path(mask).name if isinstance(mask, str | Path) else "mask"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass
class MaskReader:
    """Turns what stands for a mask into soft masks for one photograph.

    Attributes:
        photograph: `(1, 3, H, W)`, floats in [0, 1] or codes, at the size of the result.
        own_size: width and height of the photograph as it was given: masks of that size are resized without a word.
        store: where the networks are.
        feather: pixels over which edges fade.
    """

    photograph: Tensor
    own_size: tuple[int, int]
    store: Store
    feather: float = 0.0
    max_pixels: int = images.MAX_PIXELS
    on_progress: OnProgress = ignore
    on_note: Callable[[str], Any] = str  # hears nothing
    _found: dict[str, Tensor] = field(default_factory=dict)

    def read(self, mask: Any) -> Tensor:
        """The mask, `(1, 1, H, W)`, feathered.

        Raises:
            InputError: it is no picture or all black, or the photograph has no such thing.
            MissingExtra: finding subjects needs ONNX Runtime.
        """
        if isinstance(mask, str) and mask in segment.ASSETS and not Path(mask).exists():
            return masks.feather(self._find(mask), self.feather)
        if isinstance(mask, str) and not means_file(mask):
            raise InputError(f"{mask!r} is no mask", f"give a file, or a word: {close_names(mask, segment.ASSETS)}")
        picture = images.read(mask, max_pixels=self.max_pixels)
        name = mask_name(mask)
        values = picture.pixels @ color.LUMA if picture.alpha is None or picture.alpha.min() == 1 else picture.alpha
        height, width = self.photograph.shape[2:]
        if (picture.width, picture.height) not in ((width, height), self.own_size):
            self.on_note(f"{name} is {picture.width}x{picture.height} px: resized to {width}x{height}")
        pixels = torch.from_numpy(images.resize(values, height, width))[None, None]
        if pixels.max() < 1 / 255:
            raise InputError(f"mask {name} is all black: it selects nothing", "paint white what it should select")
        return masks.feather(pixels, self.feather)

    def faces(self) -> Tensor:
        """A mask of soft ovals over the faces; all zero, with a note, when there are none."""
        boxes = self._faces()
        self.on_note(f"{len(boxes)} face{'s' * (len(boxes) != 1)} found" if boxes else "no face was found to protect")
        return masks.ellipses([_grown(box) for box in boxes], *self.photograph.shape[2:])

    def _faces(self) -> list[segment.Box]:
        network = self.store.file(segment.FACES, f"{segment.FACES}.onnx", self.on_progress)
        return segment.find_faces(unit(self.photograph), network)

    def _find(self, what: str) -> Tensor:
        if what not in self._found:
            asset = segment.ASSETS[what]
            network = self.store.file(asset, f"{asset}.onnx", self.on_progress)
            if what == "background":
                self._found[what] = 1 - self._find("subject")
            else:
                faces = self._faces() if what == "person" else ()
                self._found[what] = segment.find(what, unit(self.photograph), network, faces)
        return self._found[what]


def _grown(box: segment.Box) -> segment.Box:
    left, top, right, bottom = box
    across, along = (right - left) / 2 * _FACE_MARGIN, (bottom - top) / 2 * _FACE_MARGIN
    middle = (left + right) / 2, (top + bottom) / 2
    return middle[0] - across, middle[1] - along, middle[0] + across, middle[1] + along


@dataclass(frozen=True)
class Layout:
    """The masks of one photograph, each `(1, 1, H, W)`.

    Attributes:
        regions: those of the controls' regions, in order, summing to at most 1.
        rest: what they leave; None when there are no regions, or nothing is left.
        strength: the strength map, faces included, or None.
        preserve: what stays the photograph, or None.
    """

    regions: tuple[Tensor, ...] = ()
    rest: Tensor | None = None
    strength: Tensor | None = None
    preserve: Tensor | None = None


def lay_out(controls: Controls, reader: MaskReader) -> Layout:
    """Read and combine all masks.

    Raises:
        InputError: a mask cannot be used.
    """
    regions = [reader.read(mask) for mask, _ in controls.regions]
    rest = None
    if regions:
        regions, overlap = masks.normalise(regions)
        if overlap:
            reader.on_note("regions overlap: where they do, they share the picture by the lightness of their masks")
        left = 1 - masks.cover(regions)
        rest = left if left.max() > 0 else None
    strength = None if controls.strength_map is None else reader.read(controls.strength_map)
    if controls.protect_faces:
        kept = 1 - controls.protect_faces * reader.faces()
        strength = kept if strength is None else strength * kept
    preserve = None if controls.preserve is None else reader.read(controls.preserve)
    return Layout(tuple(regions), rest, strength, preserve)
