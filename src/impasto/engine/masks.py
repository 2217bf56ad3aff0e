"""The masks of one photograph, read and laid out as its controls ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.assets import Store, load_weights
from impasto.assets.library import means_file
from impasto.contract import OnProgress, ignore
from impasto.engine.controls import Controls, mask_name
from impasto.engine.points import Points, is_points
from impasto.errors import InputError
from impasto.files import is_file
from impasto.models import mobile_sam, segment
from impasto.ops import color, masks
from impasto.ops.tiles import as_float
from impasto.settings import close_names

_FACE_MARGIN = 1.15  # boxes end at chin and brow; the oval should take in both


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
    room: float | None = None
    on_progress: OnProgress = ignore
    on_note: Callable[[str], Any] = str  # drops notes
    _found: dict[str, Tensor] = field(default_factory=dict)
    _pointer: segment.Pointer | None = None

    def read(self, mask: Any) -> Tensor:
        """The mask, `(1, 1, H, W)`, feathered.

        Raises:
            InputError: it is no picture or all black, the photograph has no such thing, or a point lies outside.
            MissingExtra: finding subjects needs ONNX Runtime.
            AssetError: a network that finds things is not there and cannot be fetched.
        """
        if isinstance(mask, str) and not is_file(mask):
            if mask in segment.ASSETS:
                return masks.feather(self._find(mask), self.feather)
            if is_points(mask):
                return masks.feather(self.pointed_at(Points.parse(mask).within(*self.own_size)), self.feather)
            if not means_file(mask):
                raise InputError(f"{mask!r} is no mask", f"give a file, or a word: {close_names(mask, segment.ASSETS)}")
        header = images.probe(mask, max_pixels=self.max_pixels)
        height, width = self.photograph.shape[2:]
        picture = images.read(mask, max_pixels=self.max_pixels, longest=max(height, width), room=self.room)
        name = mask_name(mask)
        values = picture.pixels @ color.LUMA if picture.alpha is None or picture.alpha.min() == 1 else picture.alpha
        if (header.width, header.height) not in ((width, height), self.own_size):
            self.on_note(f"{name} is {header.width}x{header.height} px: resized to {width}x{height}")
        pixels = torch.from_numpy(images.resize(values, height, width))[None, None]
        if pixels.max() < 1 / 255:
            raise InputError(f"mask {name} is all black: it selects nothing", "paint white what it should select")
        return masks.feather(pixels, self.feather)

    def faces(self) -> Tensor:
        """A mask of soft ovals over the faces; all zero, with a note, when there are none."""
        boxes = self._faces()
        self.on_note(f"{len(boxes)} face{'s' * (len(boxes) != 1)} found" if boxes else "no face was found to protect")
        return masks.ellipses([_grown(box) for box in boxes], *self.photograph.shape[2:])

    def figure(self, thing: str) -> Tensor:
        """A person or a subject as `read` finds it, with its head where that was left out."""
        found = self.read(thing)
        return found if thing == "person" else segment.with_heads(found, self._faces())

    def pointed_at(self, places: Sequence[mobile_sam.Place], *, like: Tensor | None = None) -> Tensor:
        """What is at places, not feathered; see `MobileSam.point`. Raises as `read`."""
        if self._pointer is None:
            tensors = load_weights(self.store, mobile_sam.ASSET, on_progress=self.on_progress)
            self._pointer = segment.Pointer(tensors, as_float(self.photograph).float())
        return self._pointer.find(places, like=like)

    def _faces(self) -> list[segment.Box]:
        network = self.store.file(segment.FACES, f"{segment.FACES}.onnx", self.on_progress)
        return segment.find_faces(as_float(self.photograph), network)

    def _find(self, what: str) -> Tensor:
        if what not in self._found:
            asset = segment.ASSETS[what]
            network = self.store.file(asset, f"{asset}.onnx", self.on_progress)
            if what == "background":
                self._found[what] = 1 - self._find("subject")
            else:
                faces = self._faces() if what == "person" else ()
                self._found[what] = segment.find(what, as_float(self.photograph), network, faces)
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
        directions: `(1, 2, H, W)`, along which strokes should run, or None.
    """

    regions: tuple[Tensor, ...] = ()
    rest: Tensor | None = None
    strength: Tensor | None = None
    preserve: Tensor | None = None
    directions: Tensor | None = None

    @classmethod
    def of(
        cls,
        regions: Sequence[Tensor],
        *,
        rest: bool | None = None,
        strength: Tensor | None = None,
        preserve: Tensor | None = None,
    ) -> tuple[Layout, bool]:
        """The masks put together, and whether regions overlapped.

        Args:
            regions: as they were read.
            rest: whether to give what they leave; None for where anything is left.
            strength, preserve: see the attributes.
        """
        if not regions:
            return cls((), None, strength, preserve), False
        shared, overlap = masks.normalise(regions)
        left = 1 - masks.cover(shared)
        wanted = bool(left.max() > 0) if rest is None else rest
        return cls(tuple(shared), left if wanted else None, strength, preserve), overlap


def lay_out(controls: Controls, reader: MaskReader) -> Layout:
    """Read and combine all masks.

    Raises:
        InputError: a mask cannot be used.
    """
    regions = [reader.read(mask) for mask, _ in controls.regions]
    strength = None if controls.strength_map is None else reader.read(controls.strength_map)
    if controls.protect_faces:
        kept = 1 - controls.protect_faces * reader.faces()
        strength = kept if strength is None else strength * kept
    preserve = None if controls.preserve is None else reader.read(controls.preserve)
    layout, overlap = Layout.of(regions, strength=strength, preserve=preserve)
    if overlap:
        reader.on_note("regions overlap: where they do, they share the picture by the lightness of their masks")
    return replace(layout, directions=_directions(controls.directions, reader))


def _directions(given: Any, reader: MaskReader) -> Tensor | None:
    """Directions as a tensor. Raises InputError for those of another size, and for what is none."""
    if given is None:
        return None
    values = np.asarray(given, np.float32)
    height, width = reader.photograph.shape[2:]
    if values.shape != (height, width, 2) or not np.isfinite(values).all() or np.abs(values).max() > 1:
        raise InputError(
            f"directions are an array of shape {values.shape}", f"they take ({height}, {width}, 2), in [-1, 1]"
        )
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()
