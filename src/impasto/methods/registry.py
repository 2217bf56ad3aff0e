"""The table of methods. Listing it imports nothing heavy; a method's module is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from impasto.contract import Costs
from impasto.errors import InputError, StyleError, require
from impasto.settings import Knobs, close_names

if TYPE_CHECKING:
    from impasto.contract import Placement

ENTRY_POINT_GROUP = "impasto.methods"


@dataclass(frozen=True)
class Method:
    """One method as a row.

    Attributes:
        name: what `--method` takes.
        target: "module:Class" of a Stylizer; the class takes `(weights, placement)`, where weights maps asset id to
            named tensors.
        knobs: "module:Dataclass" of its settings.
        summary: one line for people.
        paper: where the method comes from.
        kind: "map" (one pass) or "objective" (optimises each picture).
        assets: ids of the weights that it needs, where its `Costs` name no others.
        honours: fields of Guide that it takes into account.
        precisions: those it is tested in.
        smallest_side: least side of content and style images in pixels.
        operations: floating-point operations a pixel of one full-size pass (for a time estimate).
        memory: bytes a pixel at its peak in float32 (measured; half of it in bfloat16); 0 where `Costs` tells it.
        runtime_memory: the same in the runtime beside torch that takes most, whatever the precision; 0 for as in torch.
        region_memory: the same for each region, or each level of a strength map.
        tiling: "shared statistics" where the class paints in tiles under a limit (its jobs have `memory`, and its
            `Costs` tell its `least_memory`), else "no".
        extra: optional dependency group, or empty.
        trained: its styles are those of a trained network's file, which comes with the style.
        runtimes: what can run it; the class finds which one in its placement.
        takes_words: a sentence is its style as it is, and no search of the library for paintings.
    """

    name: str
    target: str
    knobs: str
    summary: str
    paper: str
    kind: str
    assets: tuple[str, ...]
    honours: frozenset[str] = frozenset()
    precisions: tuple[str, ...] = ("float32",)
    smallest_side: int = 16
    operations: float = 0.0
    memory: float = 0.0
    runtime_memory: float = 0.0
    region_memory: float = 0.0
    tiling: str = "no"
    extra: str = ""
    trained: bool = False
    runtimes: tuple[str, ...] = ("torch",)
    takes_words: bool = False

    def load_class(self) -> Any:
        """The Stylizer class. Raises MissingExtra when its optional packages are not there."""
        return _load(self.target, self.extra)

    def costs(self) -> type[Costs]:
        """The class that states needs and costs by settings: the method's own if it derives from `Costs`."""
        cls = self.load_class()
        return cls if isinstance(cls, type) and issubclass(cls, Costs) else Costs

    def needs(self, knobs: Any) -> tuple[str, ...]:
        """Names of the weights for these settings: ids of assets, or `NAME:FILE` for a user's own."""
        needed = self.costs().needs(knobs)
        return self.assets if needed is None else needed

    def bytes_per_pixel(self, knobs: Any, placement: Placement) -> float:
        """Memory for a pixel at its peak, in one piece."""
        if placement.runtime != "torch" and self.runtime_memory:
            return self.runtime_memory
        told = None if self.memory else self.costs().bytes_per_pixel(knobs, placement)
        return self.memory * (1.0 if placement.precision == "float32" else 0.5) if told is None else told

    def load_knobs(self) -> type[Knobs]:
        """The settings dataclass. Raises StyleError when a plug-in's is none."""
        cls = _load(self.knobs, self.extra)
        if not (isinstance(cls, type) and issubclass(cls, Knobs)):
            raise StyleError(
                f"the settings of method {self.name!r} do not derive from impasto.settings.Knobs",
                f"derive {self.knobs} from it",
            )
        return cls


BUILT_IN = (
    Method(
        name="adain",
        target="impasto.methods.adain:AdaIN",
        knobs="impasto.methods.settings:AdaINKnobs",
        summary="any style in one pass: matches mean and deviation of VGG-19 features, then decodes them",
        paper="arXiv:1703.06868 (Huang and Belongie 2017)",
        kind="map",
        assets=("vgg19-normalised", "adain-decoder"),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=16,
        operations=966e3,
        memory=1150.0,
        runtime_memory=2350.0,
        region_memory=120.0,
        tiling="shared statistics",
        runtimes=("torch", "onnx", "openvino"),
    ),
    Method(
        name="wct",
        target="impasto.methods.wct:WCT",
        knobs="impasto.methods.settings:WCTKnobs",
        summary="any style in five passes: whitens VGG-19 features level by level and colours them anew; bold textures",
        paper="arXiv:1705.08086 (Li et al. 2017), arXiv:2003.08436 (Wang et al. 2020: the small networks)",
        kind="map",
        assets=("wct-small",),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32",),
        smallest_side=32,
        operations=207e3,
        memory=700.0,
        region_memory=120.0,
        tiling="shared statistics",
    ),
    Method(
        name="attention",
        target="impasto.methods.attention:Attention",
        knobs="impasto.methods.settings:AttentionKnobs",
        summary="any style in one pass, by meaning: each place takes after places of the painting that resemble it",
        paper="arXiv:2108.03647 (Liu et al. 2021), arXiv:1812.02342 (Park and Lee 2019)",
        kind="map",
        assets=("vgg19-normalised", "adain-decoder"),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=16,
        operations=1.1e6,
        memory=1150.0,
        runtime_memory=2350.0,
        region_memory=120.0,
        tiling="shared statistics",
        runtimes=("torch", "onnx", "openvino"),
    ),
    Method(
        name="microast",
        target="impasto.methods.microast:MicroAST",
        knobs="impasto.methods.settings:MicroASTKnobs",
        summary="any style in one very quick pass of a small network, whose filters the painting modulates",
        paper="arXiv:2211.15313 (Wang et al. 2023)",
        kind="map",
        assets=("microast",),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=16,
        operations=56e3,
        memory=430.0,
        runtime_memory=640.0,
        tiling="shared statistics",
        runtimes=("torch", "onnx", "openvino"),
    ),
    Method(
        name="optimize",
        target="impasto.methods.optimize.method:Optimize",
        knobs="impasto.methods.settings:OptimizeKnobs",
        summary="optimises the pixels of each picture towards the painting's Gram matrices: the best, but slower",
        paper="arXiv:1508.06576 (Gatys, Ecker and Bethge 2016)",
        kind="objective",
        assets=("vgg19-normalised",),
        honours=frozenset({"anchors", "directions", "init", "regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=32,
        operations=1.44e6,
        region_memory=500.0,
        tiling="shared statistics",
    ),
    Method(
        name="clip",
        target="impasto.methods.clip:ClipStyle",
        knobs="impasto.methods.settings:ClipKnobs",
        summary="words that no painting shows: changes the photograph until CLIP sees it change as they say",
        paper="arXiv:2112.00374 (CLIPstyler, Kwon and Ye 2022)",
        kind="objective",
        assets=("vgg19-normalised",),
        honours=frozenset({"init", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=16,
        operations=1.44e6,
        memory=2700.0,
        takes_words=True,
    ),
    Method(
        name="feedforward",
        target="impasto.methods.feedforward:FeedForward",
        knobs="impasto.methods.settings:FeedForwardKnobs",
        summary="the styles of a trained network, in one fast pass; impasto train makes such a network",
        paper="arXiv:1603.08155 (Johnson, Alahi and Fei-Fei 2016), arXiv:1610.07629 (Dumoulin et al. 2017)",
        kind="map",
        assets=(),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=1,
        operations=310e3,
        memory=1500.0,
        trained=True,
        runtimes=("torch", "onnx", "openvino"),
    ),
    Method(
        name="unpaired",
        target="impasto.methods.unpaired:Unpaired",
        knobs="impasto.methods.settings:UnpairedKnobs",
        summary="the style of a whole collection, which a generator of CycleGAN or CUT has learnt, in one pass",
        paper="arXiv:1703.10593 (Zhu et al. 2017), arXiv:2007.15651 (Park et al. 2020)",
        kind="map",
        assets=(),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=1,
        operations=1.76e6,
        memory=1400.0,
        tiling="shared statistics",
        trained=True,
    ),
    Method(
        name="arbitrary",
        target="impasto.methods.arbitrary:Arbitrary",
        knobs="impasto.methods.settings:ArbitraryKnobs",
        summary="any style in one very quick pass of a small network",
        paper="arXiv:1705.06830 (Ghiasi et al. 2017)",
        kind="map",
        assets=("vgg19-normalised",),
        honours=frozenset({"regions", "strength"}),
        precisions=("float32", "bfloat16"),
        smallest_side=1,
        operations=30e3,
        memory=510.0,
        runtimes=("torch", "onnx", "openvino"),
    ),
)


def methods() -> Mapping[str, Method]:
    """All methods by name: our own, then those of installed plug-ins.

    Raises:
        StyleError: two rows have one name; both are named.
    """
    return collect(BUILT_IN, announced())


@lru_cache(maxsize=1)
def announced() -> tuple[EntryPoint, ...]:
    """Plug-ins of the packages that are installed. Looked for once: it reads a file of each installed package."""
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def collect(built_in: Iterable[Method], plugins: Iterable[EntryPoint]) -> Mapping[str, Method]:
    """Join rows into a table, refusing a name that is taken."""
    table: dict[str, Method] = {}
    rows = [(row, "impasto") for row in built_in]
    rows += [(entry.load(), entry.value) for entry in plugins]
    owners: dict[str, str] = {}
    for row, owner in rows:
        if row.name in table:
            raise StyleError(
                f"method {row.name!r} is registered twice, by {owners[row.name]} and by {owner}",
                "uninstall one of the two plug-ins",
            )
        table[row.name] = row
        owners[row.name] = owner
    return table


def find(name: str) -> Method:
    """The row of a method. Raises InputError when there is none."""
    table = methods()
    if name not in table:
        raise InputError(f"there is no method {name!r}", close_names(name, ["auto", *table]))
    return table[name]


def _load(target: str, extra: str) -> Any:
    module, _, attribute = target.partition(":")
    loaded = require(module, extra) if extra else import_module(module)
    return getattr(loaded, attribute)
