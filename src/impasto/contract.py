"""The two protocols, Stylizer and Objective, and the values that pass between packages.

Images between packages are tensors `(B, 3, H, W)`, sRGB in [0, 1], float32, on the placement's device. Importing this
module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from impasto.ops.tiling import Tile

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""The layers whose Gram matrices make up a style in Gatys 2016, and in our style distance."""

STRENGTH_LEVELS = (0.25, 0.5, 0.75, 1.0)
"""Strengths between which a map is interpolated by a method whose statistics cover whole areas."""

Features: TypeAlias = "Mapping[str, Tensor]"
"""Named feature maps `(B, C, h, w)`, such as `{"relu4_1": ...}`."""

Stats: TypeAlias = "Mapping[str, Tensor]"
"""Named statistics of feature maps, float32, the batch first."""


class Snapshot(Protocol):
    """The current state of a running job. Valid until the callback returns: copy what you keep."""

    def image(self) -> Tensor:
        """The result if the job ended now, `(1, 3, H, W)` in [0, 1] at full size."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """The state that `Job.resume` takes, by name, not copied; `steps` is the number of steps done."""
        ...


@dataclass(frozen=True)
class Progress:
    """One report of a running job.

    Attributes:
        stage: what is being done, for people ("fetching vgg19", "refining 512x384").
        step: units done, from 0 to `total`.
        total: units in all; 0 when unknown.
        unit: what is counted: "step", "byte", "picture".
        done: share of the work that is done, from 0 to 1, where steps differ in cost; None when they do not.
        losses: losses of this step by name.
        preview: `(B, 3, H, W)` in [0, 1], detached and not copied: copy it before keeping it.
        snapshot: what the job has come to, from methods that can go on from one; None from others.
    """

    stage: str
    step: int
    total: int
    unit: str = "step"
    done: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    preview: Tensor | None = None
    snapshot: Snapshot | None = None

    @property
    def share(self) -> float:
        """Share of the work that is done, from 0 to 1; 0 when unknown."""
        if self.done is not None:
            return self.done
        return self.step / self.total if self.total else 0.0


OnProgress: TypeAlias = Callable[[Progress], None]
"""Receives progress; cancels the job by raising `Cancelled`."""


def ignore(progress: Progress) -> None:
    """The callback that does nothing."""


_CHECK: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


def check_cancelled() -> None:
    """Raise Cancelled where the job that this thread paints is to stop; for loops inside a step, tile by tile."""
    _CHECK.get()()


@contextmanager
def cancelled_by(check: Callable[[], None]) -> Iterator[None]:
    """Have `check_cancelled` call `check` meanwhile, in this thread."""
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


@dataclass(frozen=True)
class Placement:
    """Where and how a job computes, decided once by `impasto.device`.

    Attributes:
        device: a torch device string: "cpu", "cuda:0", "mps".
        precision: "float32", "bfloat16" or "float16": the type of convolutions. Losses are summed in float32.
        channels_last: memory layout of feature maps.
        reason: why this precision, for `impasto doctor`.
        runtime: what runs the network: "torch", "onnx" (ONNX Runtime) or "openvino".
    """

    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = True
    reason: str = ""
    runtime: str = "torch"

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype of `precision`."""
        import torch

        dtype = getattr(torch, self.precision)
        assert isinstance(dtype, torch.dtype)
        return dtype


@dataclass(frozen=True)
class StyleImage:
    """One style image of a Style.

    Attributes:
        pixels: `(1, 3, H, W)`, sRGB in [0, 1]; integer codes where memory is short.
        weight: its share, above 0; shares are normalised to sum to 1.
        digest: sha256 of the decoded pixels, the cache key.
        name: a style of a trained network, which this image is only a specimen of.
        words: the style in words, for methods that take them; the image is then blank.
        seen: `(1, 1, H, W)` in [0, 1], how much of each pixel counts: its opacity; None for all of it.
    """

    pixels: Tensor
    weight: float = 1.0
    digest: str = ""
    name: str = ""
    words: str = ""
    seen: Tensor | None = None


@dataclass(frozen=True)
class Style:
    """The style to paint in: one or several weighted style images, or named styles of a trained network.

    Attributes:
        images: the style images, each at the size at which its strokes are wanted.
        canvas: height and width of the picture to be painted, for methods that work at several sizes.
        memory: as in `Job`.
    """

    images: tuple[StyleImage, ...] = ()
    canvas: tuple[int, int] = (512, 512)
    memory: int | None = None

    def shares(self) -> tuple[float, ...]:
        """The weights of the images, divided by their sum."""
        total = sum(image.weight for image in self.images)
        return tuple(image.weight / total for image in self.images)


@dataclass(frozen=True)
class StyleCode:
    """A style as one method sees it: named tensors, cached by everything that shapes them."""

    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Region:
    """A soft mask `(1, 1, H, W)` in [0, 1] and the style that it gets. Where masks overlap they sum to at most 1."""

    mask: Tensor
    code: StyleCode


@dataclass(frozen=True)
class Anchor:
    """An image `(1, 3, H, W)` to stay near, with its reliability map `(1, 1, H, W)` in [0, 1]."""

    image: Tensor
    reliability: Tensor


@dataclass(frozen=True)
class Guide:
    """What a method may take into account besides content and style.

    A method declares in the registry which fields it honours; asked for another, the engine raises InputError.

    Attributes:
        init: `(1, 3, H, W)`, the image to start from.
        anchors: images to stay near, such as warped earlier frames.
        regions: styles by soft mask. They replace the job's own code; what none covers stays the content, exactly
            where the masks sum to 0.
        strength: `(1, 1, H, W)` in [0, 1], multiplies the knob of that name; exactly the content where it is 0.
        directions: `(1, 2, H, W)`, vectors (x, y) along which strokes should run, either way; their length in [0, 1] is
            how much that counts.
        seen: `(1, 1, H, W)` in [0, 1], how much of each pixel of the content counts in statistics: its opacity; None
            for all of it. Advice that every method may leave aside.
    """

    init: Tensor | None = None
    anchors: tuple[Anchor, ...] = ()
    regions: tuple[Region, ...] = ()
    strength: Tensor | None = None
    directions: Tensor | None = None
    seen: Tensor | None = None


@dataclass(frozen=True)
class Job:
    """One batch item.

    Attributes:
        code: its style.
        knobs: the method's frozen dataclass.
        guide: what to honour beside content and style.
        resume: the state of a Snapshot of this very job, to go on from.
        memory: bytes that a method of tiles may take beside its weights and what it is given; None for one piece. With
            a limit, pictures may come as integer codes (uint8, uint16) and then go as such.
    """

    code: StyleCode
    knobs: Any
    guide: Guide = Guide()
    resume: Mapping[str, Tensor] | None = None
    memory: int | None = None


class Stylizer(Protocol):
    """Maps images to images. Holds weights, never a job's state, so that threads may share it."""

    def encode_style(self, style: Style, knobs: Any) -> StyleCode:
        """Reduce a style to what `stylize` needs."""
        ...

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Paint `content (B, 3, H, W)`, one job a batch item. Returns the pastiches, same shape, in [0, 1]."""
        ...


class Costs:
    """Needs and costs of a method that its row in the registry does not state.

    A method whose settings decide derives its class from this and overrides what differs; others need not.
    """

    @staticmethod
    def needs(knobs: Any) -> tuple[str, ...] | None:  # noqa: ARG004
        """Names of the weights for these settings: ids of assets, or `NAME:FILE`; None for those of the row."""
        return None

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """Tensors of a user's file, `NAME:FILE`, of those that `needs` gives."""
        raise AssertionError(f"this method names no weights of a user's own, such as {name}")

    @staticmethod
    def passes(height: int, width: int, knobs: Any) -> float:  # noqa: ARG004
        """Work of a job, in passes at full size, each of the row's `operations`."""
        return 1.0

    @staticmethod
    def bytes_per_pixel(knobs: Any, placement: Placement) -> float | None:  # noqa: ARG004
        """Memory for a pixel at its peak, in one piece; None for the row's `memory`."""
        return None

    @staticmethod
    def fixed_bytes(knobs: Any, placement: Placement) -> int:  # noqa: ARG004
        """Memory in one piece beside that for each pixel."""
        return 0

    @staticmethod
    def least_memory(height: int, width: int, knobs: Any, placement: Placement) -> int:  # noqa: ARG004
        """Bytes that a picture needs in tiles; asked of methods whose row has `tiling`.

        Raises:
            InputError: something that was asked for cannot be tiled.
        """
        raise AssertionError("this method does not paint in tiles")


class Objective(Protocol):
    """Scores an image's features, differentiably.

    Attributes:
        layers: the layers it reads, so that one encoder pass serves all objectives.
        additive: its statistics are means over positions, so those of tiles, weighted by their shares, add up to those
            of the picture. An objective that is not additive cannot be tiled exactly.
    """

    @property
    def layers(self) -> frozenset[str]:
        """See above."""
        ...

    @property
    def additive(self) -> bool:
        """See above."""
        ...

    def statistics(self, features: Features) -> Stats:
        """Reduce feature maps to statistics."""
        ...

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """A scalar loss of an image's statistics against `target`."""
        ...


@runtime_checkable
class PlacedObjective(Objective, Protocol):
    """An Objective that knows places: it holds maps over the picture, or looks at neighbours.

    Attributes:
        margin: pixels beyond a tile that it looks at; tiles begin at multiples of it.
    """

    @property
    def margin(self) -> int:
        """See above."""
        ...

    def partial(self, features: Features, tile: Tile) -> Stats:
        """A tile's contribution to the statistics of the whole picture; the sum over all tiles is `statistics`.

        Args:
            features: layers over the tile alone; "image" over `tile.margins(self.margin)` too.
            tile: where it lies.
        """
        ...


@runtime_checkable
class PooledObjective(Objective, Protocol):
    """An Objective whose statistics of several pictures make those of all of them together."""

    def pool(self, parts: Sequence[tuple[float, Stats]]) -> Stats:
        """Statistics as of one picture that consists of these, each with its share; the shares sum to 1."""
        ...


@runtime_checkable
class MappedObjective(Objective, Protocol):
    """An Objective whose statistics are maps over the picture, and whose loss is a sum over positions."""

    def placed(self, target: Stats) -> PlacedObjective:
        """The same loss against `target` as something to add up over tiles."""
        ...
