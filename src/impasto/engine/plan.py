"""What a job will do, checked before weights are loaded: its stages, whether it fits, how long it takes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import device, images, settings
from impasto.contract import STRENGTH_LEVELS, Placement
from impasto.engine import budget, choosing, music
from impasto.engine.request import OnNote, Request
from impasto.engine.styles import weighted
from impasto.errors import InputError
from impasto.methods import recipes, registry
from impasto.models import catalog, onnx_files
from impasto.models.checkpoint import file_version

if TYPE_CHECKING:
    from impasto.engine.snapshots import Snapshots

_MASK_SHARE = 0.1  # of a step that each further mask costs: one more weighted Gram matrix a layer
_TILES_TAKE = 1.6  # times as long, for the second pass and the margins (bench/RESULTS.md)
_QUICK_TAKES = 0.65  # of the time of direct convolutions (bench/NOTES.md)
_SUSTAINED = 0.6  # of the convolution peak is what a whole pass reaches (bench/RESULTS.md)
_BORDER_ALLOWANCE = 1.1  # a painting of the library loses the rim of its photograph
_LONG = 5.0  # seconds; what takes longer is told beforehand


@dataclass(frozen=True)
class Plan:
    """A job before anything is read.

    Attributes:
        request: with the method that its styles ask for.
        stages: the methods in order, with their settings.
        placements: where each computes.
        sides: height and width of the result.
        room: the memory that it may take.
        own_size: width and height of the photograph as it was given.
        seconds: that painting is predicted to take.
        network: file of the trained network whose styles these are.
    """

    request: Request
    stages: tuple[recipes.Stage, ...]
    placements: tuple[Placement, ...]
    sides: tuple[int, int]
    room: budget.Budget
    own_size: tuple[int, int]
    seconds: float = 0.0
    network: Path | None = None

    @property
    def size_class(self) -> Hashable | None:
        """What pictures have in common that can be painted in one pass; None for those that are painted alone.

        Those with a strength or masks of their own are apart from plain ones, which take less time.
        """
        last, controls = self.stages[-1], self.request.controls
        strength = last.knobs.strength
        if len(self.stages) > 1 or last.method.kind != "map" or self.room.tiled or controls.color_only or strength == 0:
            return None
        plain = strength == 1 and not controls.guide_fields()
        return last.method.name, self.placements[-1], self.sides, self.network, last.method.needs(last.knobs), plain

    @property
    def style_side(self) -> int:
        """The longest side that a style image is wanted at."""
        scale = max(stage.knobs.style_scale for stage in self.stages)
        return math.ceil(max(self.sides) * scale * _BORDER_ALLOWANCE)


def make_plan(
    styles: Any,
    request: Request,
    header: images.Header,
    *,
    device_name: str,
    precision: str,
    runtime: str = "auto",
    on_note: OnNote,
) -> Plan:
    """Stages, places, sizes and memory of a job.

    Args:
        styles: as for `Engine.stylize`.
        request: how to paint.
        header: of the photograph.
        device_name, precision, runtime: as for `Engine`.
        on_note: called with what takes long, and with what is painted in tiles.

    Raises:
        InputError: something cannot be had together.
        ResourceError: the job does not fit into memory.
        MissingExtra: the runtime is not installed.
    """
    request.controls.check()
    sides = request.sides(header.width, header.height)
    request, network = _for_trained(with_music(request, styles), styles)
    stages = _stages(request) if network is None else _sized(_stages(request), network)
    _check_words(stages[-1].method, request)
    if request.snapshots is not None:
        _check_kept(stages[-1].method, request.snapshots)
    placements = tuple(choosing.place(stage, device_name, precision, runtime, network=network) for stage in stages)
    room, seconds = budget.IN_ONE_PIECE, 0.0
    if not request.controls.color_only:
        room, seconds = _check_fits(stages, placements, sides, header, request, on_note)
    own_size = header.width, header.height
    return Plan(request, stages, placements, sides, room, own_size, seconds=seconds, network=network)


def stages_of(styles: Any, request: Request) -> tuple[recipes.Stage, ...]:
    """The methods in order, with their settings; loads no torch.

    Raises:
        InputError: something cannot be had together.
    """
    request.controls.check()
    return _stages(_for_trained(with_music(request, styles), styles)[0])


def _stages(request: Request) -> tuple[recipes.Stage, ...]:
    values = dict(request.knobs)
    if request.init is not None:
        values["init"] = request.init if request.init in _init_choices(request) else "file"
    method = request.method
    if request.controls.color_only:
        if method != "auto" or request.init is not None or request.quality is not None:
            hint = "leave out --method, --quality and --init"
            raise InputError("--color-only moves colours and paints nothing", hint)
        method = recipes.DRAFT_METHOD  # for its knobs: the strength
    stages = recipes.plan(method, request.quality, values)
    for stage in stages:
        _check_honoured(stage.method, request.controls.guide_fields())
        if "init" in values and stage is stages[-1] and "init" not in stage.method.honours:
            raise InputError(f"method {stage.method.name} starts from no image", "leave out --init")
    return stages


def _check_fits(
    stages: Sequence[recipes.Stage],
    placements: Sequence[Placement],
    sides: tuple[int, int],
    header: images.Header,
    request: Request,
    on_note: OnNote,
) -> tuple[budget.Budget, float]:
    """Refuse what memory cannot hold, choose between one piece and tiles, and say beforehand what takes long.

    Returns the memory, and the predicted seconds.
    """
    height, width = sides
    parts = _mask_count(request)
    room = budget.plan(
        stages,
        placements,
        sides,
        header,
        maps=request.controls.map_count(),
        regions=parts if parts > 1 else 0,
        limit=request.max_memory,
    )
    pairs = zip(stages, placements, strict=True)
    seconds = sum(predicted_seconds(*pair, height, width, masks=parts, tiled=room.tiled) for pair in pairs)
    if room.tiled:
        _check_tiled(placements)
        on_note(f"{width}x{height} px in one piece would take more memory: painted in tiles, seen as one picture")
        seconds *= _TILES_TAKE
    if seconds >= _LONG:
        on_note(f"{width}x{height} px by {stages[-1].method.name}: about {duration(seconds)}")
    return room, seconds


def _check_tiled(placements: Sequence[Placement]) -> None:
    other = next((one.runtime for one in placements if one.runtime != "torch"), None)
    if other is not None:
        raise InputError(
            f"the picture has to be painted in tiles for want of memory, which --runtime {other} cannot",
            "leave out --runtime, or use a smaller --size",
        )


def predicted_seconds(
    stage: recipes.Stage, placement: Placement, height: int, width: int, *, masks: int = 1, tiled: bool = False
) -> float:
    """Time that a stage will take, from its operations and the measured rate of this machine.

    Args:
        stage: the method and its settings.
        placement: where it computes.
        height, width: of the picture.
        masks: soft masks whose statistics are taken apart.
        tiled: whether it paints in tiles.
    """
    costs = stage.method.costs()
    passes = costs.passes(height, width, stage.knobs)
    if stage.method.kind == "objective":
        passes *= 1 + _MASK_SHARE * (masks - 1)
    if not tiled and costs.fixed_bytes(stage.knobs, placement):
        passes *= _QUICK_TAKES
    operations = float(stage.method.operations * passes * height * width)
    return operations / (device.convolution_rate(placement) * _SUSTAINED)


def predicted_costs(method: str, size: int) -> tuple[float, int]:
    """Seconds and bytes that a picture of 4 to 3 takes here by a method with its own settings, in one piece.

    Args:
        method: a registered method.
        size: longest side in pixels.
    """
    stages = recipes.plan(method, None, {})
    height, width = size * 3 // 4, size
    places = [device.place(tested=stage.method.precisions) for stage in stages]
    pairs = list(zip(stages, places, strict=True))
    seconds = sum(predicted_seconds(stage, place, height, width) for stage, place in pairs)
    return seconds, int(max(budget.bytes_in_one_piece(stage, place, 0, height * width) for stage, place in pairs))


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _sized(stages: tuple[recipes.Stage, ...], path: Path) -> tuple[recipes.Stage, ...]:
    """Stages whose rows tell the work and the memory of this network, not of the largest."""
    if path.suffix == onnx_files.SUFFIX:  # which tells neither
        return stages
    work, memory = _costs_of(path, file_version(path))
    return tuple(replace(stage, method=replace(stage.method, operations=work, memory=memory)) for stage in stages)


@lru_cache(maxsize=16)
def _costs_of(path: Path, version: tuple[str | int, ...]) -> tuple[float, float]:  # noqa: ARG001 - a part of the key
    """Operations and memory a pixel of a network."""
    from impasto.models import generators, networks

    if catalog.listing(path)[0].method == "unpaired":
        generator = generators.load(path, Placement())
        return generator.operations(), generator.memory()
    network = networks.read(path).network()
    return network.operations(), network.memory()


def with_music(request: Request, styles: Any) -> Request:
    """With the strength and the strokes of its music, where these were not asked for and the method has them."""
    heard = [music.listen(style) for style, _ in weighted(styles) if music.is_sound(style)]
    if not heard or request.controls.color_only:
        return request
    method = recipes.chosen(request.method, request.quality, request.knobs)
    known = {knob.name for knob in settings.knobs_of(registry.find(method).load_knobs())}
    own = {name: value for name, value in music.settings_of(heard).items() if name in known}
    given = {name: value for name, value in request.knobs.items() if value is not None}
    return replace(request, knobs={**own, **given})


def _for_trained(request: Request, styles: Any) -> tuple[Request, Path | None]:
    """Choose the method for styles of a trained network, and refuse what such styles cannot do."""
    named = [style for style, _ in weighted(styles)]
    named += [style for _, own in request.controls.regions for style, _ in weighted(own)]
    found = [catalog.find(one) for one in named if catalog.is_trained(one)]
    asked = None if request.method == "auto" else registry.find(request.method)
    if not found:
        if asked is not None and asked.trained:
            hint = "give one with --style, such as NET.safetensors; impasto train makes it"
            raise InputError(f"method {asked.name} paints the styles of a trained network", hint)
        return request, None
    if len(found) < len(named):
        raise InputError("styles of a trained network do not mix with pictures", "give the one or the other")
    if len({one.path for one in found}) > 1:
        raise InputError("the styles belong to several networks", "mix styles of one")
    if asked is not None and (not asked.trained or asked.name != found[0].method):
        if asked.trained:
            raise InputError(f"{found[0].id} is painted by method {found[0].method}", "leave out --method")
        raise InputError(f"{found[0].id} is a trained style; method {asked.name} takes pictures", "leave out --method")
    if request.controls.match_regions:
        raise InputError("--match-regions needs a painting, not a trained style", "give a painting, or use --region")
    if request.controls.color_only or request.controls.keep_color == "histogram":
        given = "--color-only" if request.controls.color_only else "--keep-color histogram"
        raise InputError(f"{given} needs a painting's colours", "give a painting, or use --keep-color luminance")
    return replace(request, method=found[0].method), found[0].path


def _check_words(method: registry.Method, request: Request) -> None:
    if method.takes_words and request.controls.keep_color == "histogram":
        raise InputError("--keep-color histogram needs a painting's colours", "use --keep-color luminance")


def _check_kept(method: registry.Method, snapshots: Snapshots) -> None:
    if method.kind != "objective":
        raise InputError(
            f"method {method.name} paints in one step: it leaves no snapshots",
            "use --quality good, or leave out --save-every, --resume and --time-lapse",
        )
    snapshots.check()


def _check_honoured(method: registry.Method, fields: frozenset[str]) -> None:
    """Raise InputError for what a method cannot take into account, naming those that can."""
    words = {
        "regions": "regions",
        "strength": "a strength map or protected faces",
        "directions": "directions of strokes",
    }
    for name in sorted(fields - method.honours):
        able = [row.name for row in registry.methods().values() if name in row.honours]
        raise InputError(f"method {method.name} cannot honour {words[name]}", f"use --method {' or '.join(able)}")


def _mask_count(request: Request) -> int:
    """How many parts of the picture have statistics of their own: regions and their rest, by levels of strength."""
    controls = request.controls
    parts = controls.region_count() + 1 if controls.region_count() else 1
    return parts * (len(STRENGTH_LEVELS) if "strength" in controls.guide_fields() else 1)


def _init_choices(request: Request) -> tuple[str, ...]:
    """What a method's own `init` may be in words; anything else is a picture to start from."""
    if not isinstance(request.init, str):
        return ()
    rows = registry.methods().values()
    knobs = (knob for row in rows for knob in settings.knobs_of(row.load_knobs()) if knob.name == "init")
    return tuple(choice for knob in knobs for choice in knob.choices if choice != "file")
