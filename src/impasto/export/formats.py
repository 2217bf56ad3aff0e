"""The formats that models are exported to, and the one way that writes, checks and publishes a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError, MissingExtra
from impasto.export import check
from impasto.export.model import CODE, STYLE, Array, Exportable, Painter
from impasto.files import publish, storing, temporary_beside
from impasto.settings import close_names

Shape = tuple[int, int]
"""Height and width."""


class Writer(Protocol):
    """What the module of a format has."""

    def write(self, model: Exportable, path: Path, shape: Shape | None) -> None:
        """Write the model."""
        ...

    def load(self, path: Path, model: Exportable) -> tuple[Painter, str]:
        """The file in the format's own runtime, and that runtime's name and version."""
        ...


@dataclass(frozen=True)
class Format:
    """A format as a row of the table.

    Attributes:
        name: what `--to` takes.
        suffix: of the file's name; "" for a folder of any name.
        summary: one line for people.
        extra: whose packages it needs; "" for none.
        modules: of those packages.
        seconds: the second inputs that it can have, and so which models it takes.
        shape: the height and width that are fixed where none are asked for; None where sides are free.
        fixable: whether a shape can be asked for.
        batch: whether it takes several pictures at once.
        aligned: whether sides must be multiples of the network's stride.
        marker: the file that tells a folder of this format from others; "" where it is a file.
        library: the asset that the check paints with where it can be had; "" where it needs none.
    """

    name: str
    suffix: str
    summary: str
    extra: str = ""
    modules: tuple[str, ...] = ()
    seconds: tuple[str, ...] = (CODE,)
    shape: Shape | None = None
    fixable: bool = False
    batch: bool = True
    aligned: bool = False
    marker: str = ""
    library: str = ""

    def writer(self) -> Writer:
        """The module that writes it.

        Raises:
            MissingExtra: a package is missing.
        """
        self.check_installed()
        return cast("Writer", import_module(f"impasto.export.{self.name}"))

    def check_installed(self) -> None:
        """Raise MissingExtra where a package is missing."""
        for module in self.modules:
            if find_spec(module) is None:  # looked up and not imported: that takes seconds
                raise MissingExtra(
                    f"{module} is not installed, and --to {self.name} needs it", f'pip install "impasto[{self.extra}]"'
                )


FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format("onnx", ".onnx", "ONNX, for most programs", "onnx", ("onnx", "onnxruntime"), (CODE, STYLE)),
        Format(
            "openvino",
            ".xml",
            "OpenVINO, for Intel's processors: .xml with the weights in a .bin beside",
            "onnx,openvino",
            ("openvino", "onnx"),
            (CODE, STYLE),
        ),
        Format("torchscript", ".pt", "TorchScript, for C++ and old Android", seconds=(CODE, STYLE)),
        Format(
            "litert",
            ".tflite",
            "LiteRT (TensorFlow Lite), for Android",
            "litert",
            ("litert_torch", "ai_edge_litert"),
            shape=(512, 512),
            fixable=True,
            batch=False,
        ),
        Format(
            "coreml",
            ".mlpackage",
            "Core ML, for iPhone and Mac",
            "coreml",
            ("coremltools",),
            fixable=True,
            batch=False,
            aligned=True,
            marker="Manifest.json",
        ),
        Format("tfjs", "", "TensorFlow.js, for pages and Node", marker="impasto-1.bin", library="tensorflow-js"),
    )
}

WEB = Format(
    "web",
    "",
    "a page that paints in the browser, with ONNX Runtime Web",
    "onnx",
    ("onnx", "onnxruntime"),
    marker="networks.json",
)
"""A folder for several networks at once; `impasto.export.web` writes it."""


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Attributes:
        path: the file or folder.
        format: of the table.
        styles: names of its styles.
        bytes: its size, with what belongs to it.
        parity: how far it is from PyTorch; of several networks, the worst.
    """

    path: Path
    format: str
    styles: tuple[str, ...]
    bytes: int
    parity: check.Parity


def find(name: str) -> Format:
    """The row of a format.

    Raises:
        InputError: there is none of that name.
    """
    known = {**FORMATS, WEB.name: WEB}
    if name not in known:
        raise InputError(f"there is no format {name!r}", close_names(name, known))
    return known[name]


def check_target(to: Format, path: Path, second: str, shape: Shape | None) -> None:
    """Refuse, before anything is computed, what cannot be written.

    Raises:
        InputError: the format does not take this model or shape, or the name does not fit it.
        MissingExtra: a package is missing.
    """
    if second not in to.seconds:
        takers = ", ".join(row.name for row in FORMATS.values() if second in row.seconds)
        raise InputError(f"a network that takes a painting cannot be exported to {to.name}", f"it can be to {takers}")
    if shape is not None and not to.fixable:
        raise InputError(f"--shape is for litert and coreml; {to.name} takes any size", "leave it out")
    if to.suffix and path.suffix.lower() != to.suffix:
        raise InputError(
            f"{path} is not named as {to.name} needs", f"give a name that ends in {to.suffix} with -o, or another --to"
        )
    if not path.name:
        raise InputError(f"{path} has no name of its own", "name a new folder with -o")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist", "make it first, or name another with -o")
    if path.exists() and bool(to.marker) != path.is_dir():
        kind = "a file" if path.is_file() else "a folder"
        raise InputError(f"{path} is {kind}, which {to.name} is not", "name another with -o")
    if path.is_dir() and any(path.iterdir()) and not (path / to.marker).is_file():
        raise InputError(f"{path} holds other files", "name a new folder with -o")
    to.check_installed()


def export(
    model: Exportable,
    to: Format,
    path: Path,
    photographs: Sequence[Array],
    *,
    shape: Shape | None = None,
    on_progress: OnProgress = ignore,
) -> Exported:
    """Write a model, let the format's own runtime paint, and leave it behind only where it paints as PyTorch does.

    Args:
        model: the network.
        to: the format.
        path: the file, or the folder.
        photographs: to compare with, see `check.read_photographs`.
        shape: height and width to be fixed.
        on_progress: called while it works.

    Raises:
        InputError, MissingExtra: as `check_target`; or a shape that the network cannot take.
        StyleError: the file paints other pictures than the model.
    """
    check_target(to, path, model.second, shape)
    shape = shape or to.shape
    _check_shape(shape, model.stride)
    writer = to.writer()
    with workplace(path) as work:
        made = work / path.name
        on_progress(Progress(f"writing {to.name}", 0, 1))
        writer.write(model, made, shape)
        painter, runtime = writer.load(made, model)
        given = check.cases(model, photographs, shape=shape, aligned=to.aligned, batch=to.batch)
        parity = check.compare(painter, runtime, model, given, on_progress=on_progress)
        check.refuse_far(parity, to.name)
        size = sum(part.stat().st_size for part in work.rglob("*") if part.is_file())
        with storing(path.name):
            for part in sorted(work.iterdir(), key=lambda one: one.name == path.name):
                put(part, path.with_name(part.name))
    return Exported(path, to.name, model.styles, size, parity)


def _check_shape(shape: Shape | None, stride: int) -> None:
    if shape is None:
        return
    if any(side % stride or side < 4 * stride for side in shape):
        raise InputError(
            f"--shape is {shape[0]}x{shape[1]}; this network takes multiples of {stride} from {4 * stride} up",
            f"such as --shape {'x'.join(str(max(4 * stride, round(side / stride) * stride)) for side in shape)}",
        )


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk, which vanishes with all that is left in it."""
    work = temporary_beside(path)
    with storing(path.name):
        work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def put(made: Path, final: Path) -> None:
    """Give what was made its name; a folder takes the place of the one that has it."""
    if made.is_dir() and final.exists():
        old = temporary_beside(final)
        final.replace(old)
        publish(made, final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        publish(made, final)
