"""Requests and results: values that load no torch, so that the ONNX fast path never waits for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

from impasto import images, settings
from impasto.contract import Placement
from impasto.engine.controls import Controls, mask_name
from impasto.engine.record import COLOR, name_alone
from impasto.errors import InputError, as_whole, quoted
from impasto.images import Picture
from impasto.methods import recipes
from impasto.models.catalog import TrainedStyle

if TYPE_CHECKING:
    from impasto.engine.snapshots import Snapshots

T = TypeVar("T")

SMALLEST_CONTENT = 8

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
}
"""Names of the packages of runtimes, where they have others; the version of the one that is there is recorded."""

OnNote: TypeAlias = Callable[[str], None]
"""Receives one-line remarks for people: what was assumed, how long it will take."""


def silence(note: str) -> None:
    """A callback that ignores notes."""


@dataclass(frozen=True)
class Request:
    """How to paint.

    Attributes:
        method: a registered method, or "auto".
        quality: "draft", "good", "best", or None for good.
        size: longest side of the result in pixels; None keeps the photograph's.
        init: image to start from: one of the method's choices, or a picture of any kind.
        knobs: the method's settings by name.
        max_memory: bytes that the job may take, or None for what is available.
        max_pixels: refuse pictures with more.
        controls: colour, regions and what to keep.
        snapshots: what the last stage leaves on its way, and whether to go on from there; None for nothing.
        drop_gps: leave where the photograph was taken out of the result's metadata.
    """

    method: str = "auto"
    quality: str | None = None
    size: int | None = None
    init: Any = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    max_memory: int | None = None
    max_pixels: int = images.MAX_PIXELS
    controls: Controls = field(default_factory=Controls)
    snapshots: Snapshots | None = None
    drop_gps: bool = False

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Height and width of the result, of a photograph of that width and height.

        Raises:
            InputError: the photograph is too small, the size is no number of pixels, a side would vanish, or the
                result would have more than `max_pixels`.
        """
        if min(width, height) < SMALLEST_CONTENT:
            raise InputError(
                f"content image is {width}x{height} px; the least is {SMALLEST_CONTENT}x{SMALLEST_CONTENT}",
                "use a larger photograph",
            )
        size = self.size
        if size is None:
            check_result(width, height, self.max_pixels)
            return height, width
        whole = as_whole(size, low=SMALLEST_CONTENT)
        if whole is None:
            raise InputError(f"--size is {size!r}", f"it takes a whole number of pixels, {SMALLEST_CONTENT} or more")
        if whole * min(width, height) < max(width, height) / 2:
            least = math.ceil(max(width, height) / min(width, height) / 2)
            raise InputError(f"at --size {whole} a side of {width}x{height} px vanishes", f"use --size {least} or more")
        width, height = images.fit(width, height, whole)
        check_result(width, height, self.max_pixels)
        return height, width


@dataclass(frozen=True, eq=False)
class Task:
    """One picture to paint; content and styles as for `Engine.stylize`."""

    content: Any
    styles: Any
    request: Request = field(default_factory=Request)


def attempt(call: Callable[[], T]) -> T | Exception:
    """What a call returns or raises."""
    try:
        return call()
    except Exception as error:
        return error


def check_result(width: int, height: int, max_pixels: int) -> None:
    """Raise InputError for a result of more than `max_pixels`."""
    if width * height <= max_pixels:
        return
    fitting = int(max(width, height) * (max_pixels / (width * height)) ** 0.5)
    raise InputError(
        f"the result would be {width}x{height} px, {width * height:,} in all; at most {max_pixels:,} are allowed",
        f"use --size {fitting}, or allow more: --max-pixels {width * height}",
    )


@dataclass(frozen=True, eq=False)
class StyleSource:
    """A style image that was found and read.

    Attributes:
        label: for people and file names.
        id: identifies it: a library id or a file name.
        picture: its pixels.
        weight: its share.
        trained: the style of a trained network that this is; the picture is then a specimen.
        asked: what the user gave, where that stands for several style images: a sentence, a folder, a style file.
        group: which of the styles that were given this is an image of.
        similarity: how alike the painting and the sentence are; None where no sentence was given.
        music: what was measured of the recording that was given, and what it stands for; None where none was given.
        words: in English, for a method that takes a sentence as its style; the picture is then blank.
    """

    label: str
    id: str
    picture: Picture
    weight: float = 1.0
    trained: TrainedStyle | None = None
    asked: str = ""
    group: int = 0
    similarity: float | None = None
    music: Mapping[str, Any] | None = None
    words: str = ""

    @property
    def title(self) -> str:
        """The name of its style, for people."""
        return self.asked or self.label

    def record(self) -> dict[str, Any]:
        """Plain values of it, without folders."""
        own_id = self.id if self.words else name_alone(self.id)
        values: dict[str, Any] = {"id": own_id, "label": self.label, "weight": self.weight}
        if self.asked:
            values["asked"] = name_alone(self.asked)
        if self.similarity is not None:
            values["similarity"] = round(self.similarity, 4)
        if self.music is not None:
            values["music"] = dict(self.music)
        return values


Sources: TypeAlias = tuple[StyleSource, ...]


def by_style(sources: Sources) -> tuple[Sources, ...]:
    """The images of each style that was given, in their order."""
    return tuple(tuple(images) for _, images in itertools.groupby(sources, lambda source: source.group))


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A painted picture, and how it was made.

    Attributes:
        picture: pixels and all that is needed to write it like its source.
        losses: at each step of the last stage, by name, with the number of the step; empty for feed-forward methods.
        seconds: computing time, reading and writing left out.
        record: everything needed to paint it again, as plain values.
    """

    picture: Picture
    losses: tuple[Mapping[str, float], ...]
    seconds: float
    record: Mapping[str, Any]

    @classmethod
    def of(
        cls, picture: Picture, losses: Sequence[Mapping[str, float]], seconds: float, made: Mapping[str, Any]
    ) -> Result:
        """A picture with its record: `record_of` what made it, its size, steps and time."""
        sides = {"width": picture.width, "height": picture.height}
        record = {**made, **sides, "steps": len(losses) or 1, "seconds": round(seconds, 3)}
        return cls(picture, tuple(losses), seconds, record)

    def __repr__(self) -> str:
        made = f"{self.record['method']}, {self.record['steps']} steps, {self.seconds:.1f} s"
        return f"<Result {self.picture.width}x{self.picture.height} px by {made}>"

    @property
    def image(self) -> Any:
        """The picture as a PIL image."""
        return images.to_pil(self.picture)

    def save(
        self,
        path: str | Path | BinaryIO,
        *,
        format: str | None = None,  # noqa: A002 - as in PIL
        drop_gps: bool = False,
        jpeg_quality: int | None = None,
        on_note: OnNote = silence,
    ) -> Path | BinaryIO:
        """Write the picture, whole or not at all, with its record in the metadata.

        Args:
            path: its ending names the format; or a binary file object.
            format: for a file object, such as "PNG", which is the default.
            drop_gps: leave the place out of the metadata, as `Request.drop_gps` does.
            jpeg_quality: of JPEG, WebP, AVIF and HEIC, from 1 to 100; 92 by default.
            on_note: called with what the format cannot hold.

        Returns:
            The path, or the file object.

        Raises:
            InputError: it cannot be written there, or its format takes no quality.
            ResourceError: the disk is full.
        """
        if not isinstance(path, str | Path) and not hasattr(path, "write"):
            raise InputError(f"the output is {quoted(path)}", "it takes a path or a binary file object")
        target, kind = (Path(path), None) if isinstance(path, str | Path) else (path, format or "PNG")
        if isinstance(target, Path):
            source = self.picture.origin.path
            images.check_output(target, () if source is None else (source,))
        record = {**self.record, "drop_gps": True} if drop_gps else self.record
        notes = images.write(self.picture, target, format=kind, quality=jpeg_quality, record=record, drop_gps=drop_gps)
        for note in notes:
            on_note(note)
        return target

    def _repr_png_(self) -> bytes:
        import io

        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG")
        return buffer.getvalue()


Regions: TypeAlias = Sequence[tuple[Any, Sources]]
"""Masks with the styles that they get."""


def record_of(
    request: Request,
    stages: Sequence[recipes.Stage],
    placement: Placement,
    *,
    content: Picture,
    sources: Sources,
    regions: Regions = (),
) -> dict[str, Any]:
    """Everything needed to paint a picture again, as plain values; `Result.of` adds what is known when it is painted.

    Files are known by their names: where they lie on the machine of the one who painted concerns nobody else.

    Args:
        request: what was asked for.
        stages: the methods in order, with their settings.
        placement: where the last one computes.
        content: the photograph at the size of the result.
        sources, regions: the styles.
    """
    last = stages[-1]
    computed_by = installed_package(placement.runtime)
    return {
        "impasto": _version("impasto"),
        computed_by: _version(computed_by),
        "content": {
            "name": content.origin.path.name if content.origin.path else "",
            "pixels": images.digest(content.pixels),
        },
        "styles": _listed(sources),
        "regions": [{"mask": mask_name(mask), "styles": _listed(own)} for mask, own in regions],
        "controls": request.controls.record(),
        "method": COLOR if request.controls.color_only else last.method.name,
        "quality": request.quality or recipes.DEFAULT_QUALITY,
        "stages": [stage.method.name for stage in stages],
        "knobs": settings.with_files(type(last.knobs), settings.as_record(last.knobs), name_alone),
        "init": _file_name(request.init) if last.knobs.init == "file" else None,
        "device": placement.device,
        "precision": placement.precision,
        "drop_gps": request.drop_gps,
    }


def check_shape(given: Picture, width: int, height: int) -> None:
    """Raise InputError for an image to start from that has another shape than the content."""
    if abs(given.width * height - given.height * width) > max(given.width, given.height) * 2:
        raise InputError(
            f"the image to start from is {given.width}x{given.height} px, another shape than {width}x{height}",
            "crop it to the shape of the photograph",
        )


@lru_cache(maxsize=8)
def installed_package(runtime: str) -> str:
    """The package that a runtime is installed by; raises PackageNotFoundError where none is."""
    *others, last = PACKAGES.get(runtime, (runtime,))
    for name in others:
        with suppress(PackageNotFoundError):
            version(name)
            return name
    version(last)
    return last


_version = lru_cache(maxsize=8)(version)  # it reads and parses a file each time


def _file_name(source: Any) -> str:
    """A picture's name in records: its file's; "picture" for pixels in memory."""
    return name_alone(str(source)) if isinstance(source, str | Path) else "picture"


def _listed(sources: Sources) -> list[dict[str, Any]]:
    return [source.record() for source in sources]
