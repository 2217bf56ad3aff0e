"""What is exported: a trained network, AdaIN or MicroAST, what it says of itself, and how it paints in PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.assets import Store, load_weights
from impasto.contract import Job, OnProgress, Placement, Style, StyleCode, StyleImage, ignore
from impasto.export.portable import PlainAdaIN, PlainMicroAST, PlainNetwork
from impasto.files import slug
from impasto.methods import registry
from impasto.methods.coded import CodedPainter
from impasto.methods.settings import UnpairedKnobs
from impasto.models import catalog, checkpoint, codecs, generators, microast_spec, networks
from impasto.models.codecs import Codec
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes import any_style, graphs, translation

Array: TypeAlias = NDArray[np.float32]

Painter: TypeAlias = Callable[[Array, Array], Array]
"""From `image (B, 3, H, W)` and the second input, code or style, to the pastiche `(B, 3, H, W)`."""

IMAGE, CODE, STYLE, PASTICHE = "image", "code", "style", "pastiche"
"""Names of the inputs and of the output, in every format that has names."""

ANY_STYLE = ("adain", "microast")
"""Methods that are exported with a painting as their second input."""


@dataclass(frozen=True)
class Exportable:
    """One model to be written in any format.

    Attributes:
        name: of the network, for people.
        second: the name of the second input: `CODE (B, N)`, or `STYLE (B, 3, h, w)`, a painting in [0, 1].
        metadata: what goes into the file beside the model, as text by name.
        reference: paints in PyTorch, float32: what all formats are compared with.
        seconds: values of the second input to compare with, the batch 1: all styles, or paintings.
        stride: sides that are multiples of it need no padding.
        module: makes a plain module for exporters; handed False, one that takes multiples of the stride only.
        graph: writes the ONNX graph.
    """

    name: str
    second: str
    metadata: Mapping[str, str]
    reference: Painter
    seconds: tuple[Array, ...]
    stride: int
    module: Callable[[bool], nn.Module]
    graph: Callable[[], bytes]

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of its styles; AdaIN has none of its own."""
        return tuple(json.loads(self.metadata.get("styles", "[]")))

    @classmethod
    def of_network(cls, path: Path) -> Exportable:
        """A trained network from its file.

        Raises:
            InputError: it is not an Impasto network.
        """
        catalog.listing(path)
        tensors, about = graphs.read(path)
        trained = networks.read(path)
        network = trained.network().requires_grad_(False).eval()

        def paint(image: Array, code: Array) -> Array:
            height, width = image.shape[2:]
            with torch.inference_mode():
                padded = pad_to_multiple(torch.from_numpy(image), network.stride)
                return crop_to(network(padded, torch.from_numpy(code)), height, width).numpy()

        name = "pack" if path == catalog.PACK else path.stem
        codes = tuple(trained.code(style).numpy() for style in trained.styles)
        return cls(
            name=name,
            second=CODE,
            metadata=_metadata(name, about, trained.styles, codes),
            reference=paint,
            seconds=codes,
            stride=network.stride,
            module=lambda whole: PlainNetwork(network, whole=whole).eval(),
            graph=lambda: graphs.build(tensors),
        )

    @classmethod
    def of_generator(cls, path: Path) -> Exportable:
        """A generator of unpaired translation from its file; the graph alone, no plain module.

        Raises:
            InputError: it is no such generator.
        """
        tensors, plain = generators.read(path), Placement("cpu", "float32")
        painter = CodedPainter(generators.load(path, plain), plain)
        about = checkpoint.read_header(path)[0] if path.suffix == checkpoint.SUFFIX else {}
        name, code = slug(path.stem), np.zeros((1, 1), np.float32)

        def paint(image: Array, second: Array) -> Array:
            jobs = [Job(StyleCode({"code": torch.zeros(1, 1)}), UnpairedKnobs(float(1 - one[0]))) for one in second]
            return painter.stylize(torch.from_numpy(image), jobs).numpy()

        return cls(
            name=name,
            second=CODE,
            metadata={**_metadata(name, about, (name,), (code,)), "licence": str(about.get("licence", ""))},
            reference=paint,
            seconds=(code, code + np.float32(0.25)),
            stride=generators.Generator.stride,
            module=_no_module,
            graph=lambda: translation.build({key: one.numpy() for key, one in tensors.items()}),
        )

    @classmethod
    def of_method(
        cls, name: str, store: Store, styles: Sequence[Array], *, on_progress: OnProgress = ignore
    ) -> Exportable:
        """One of `ANY_STYLE` with the weights of the store.

        Args:
            name: of the method.
            store: of assets.
            styles: pictures `(1, 3, H, W)` to compare with.
            on_progress: called while something is fetched.

        Raises:
            AssetError: they cannot be had.
        """
        row = registry.find(name)
        weights = {one: load_weights(store, one, on_progress=on_progress) for one in row.assets}
        licences = [store.declared[one].licence for one in row.assets]
        return cls._of_weights(name, weights, styles, licences)

    @classmethod
    def of_codec(cls, path: Path, styles: Sequence[Array]) -> Exportable:
        """AdaIN with the networks of a file that `impasto train adain` or `impasto prune adain` has written.

        Raises:
            InputError: it is another kind of network.
        """
        codec = codecs.read(path)
        return cls._of_weights("adain", {codecs.KIND: codec.tensors()}, styles, (), title=path.stem)

    @classmethod
    def _of_weights(
        cls,
        name: str,
        weights: Mapping[str, Mapping[str, Tensor]],
        styles: Sequence[Array],
        licences: Sequence[str],
        *,
        title: str = "",
    ) -> Exportable:
        title, row = title or _TITLES[name], registry.find(name)
        plain = _module(name, weights)
        return cls(
            name=title,
            second=STYLE,
            metadata={
                **_described(title, "; ".join(licences)),
                "paper": row.paper,
                "ranges": f"{IMAGE} (batch, 3, height, width) and {STYLE} (batch, 3, any, any): sRGB in [0, 1]; "
                f"{PASTICHE}: as {IMAGE}",
            },
            reference=_painter(row, weights),
            seconds=tuple(styles),
            stride=any_style.ADAIN_STRIDE if name == "adain" else microast_spec.STRIDE,
            module=lambda _: plain.eval(),
            graph=lambda: _graph(name, weights),
        )


def _no_module(whole: bool) -> nn.Module:  # noqa: ARG001
    raise AssertionError("the edge offers generators to formats that take the graph")


_TITLES = {"adain": "AdaIN", "microast": "MicroAST"}


def _module(name: str, weights: Mapping[str, Mapping[str, Tensor]]) -> nn.Module:
    return PlainAdaIN(Codec.of_weights(weights)) if name == "adain" else PlainMicroAST(weights[name])


def _graph(name: str, weights: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    arrays = {key: {name: one.numpy() for name, one in own.items()} for key, own in weights.items()}
    return any_style.adain(Codec.of_weights(arrays)) if name == "adain" else any_style.microast(arrays[name])


def _painter(row: registry.Method, weights: Mapping[str, Mapping[str, Tensor]]) -> Painter:
    stylizer, knobs = row.load_class()(weights, Placement("cpu", "float32")), row.load_knobs()()

    def paint(image: Array, style: Array) -> Array:
        paintings = [Style((StyleImage(torch.from_numpy(one[None])),)) for one in style]
        jobs = [Job(stylizer.encode_style(painting, knobs), knobs) for painting in paintings]
        painted: Array = stylizer.stylize(torch.from_numpy(image), jobs).numpy()
        return painted

    return paint


def _metadata(name: str, about: Mapping[str, Any], styles: Sequence[str], codes: Sequence[Array]) -> dict[str, str]:
    licences = "; ".join(f"{style}: {licence}" for style, licence in about.get("licences", {}).items())
    length = codes[0].shape[1]
    return {
        **_described(name, licences),
        "recipe": json.dumps(about.get("recipe", {})),
        "ranges": f"{IMAGE} (batch, 3, height, width): sRGB in [0, 1]; {CODE} (batch, {length}): a row of codes, or "
        f"means of several; {PASTICHE}: as {IMAGE}",
        "styles": json.dumps(list(styles)),
        "codes": json.dumps({style: _plain(code[0]) for style, code in zip(styles, codes, strict=True)}),
        "impasto": json.dumps(about),
    }


def _described(name: str, licence: str) -> dict[str, str]:
    return {"name": name, "licence": licence, "made_by": f"impasto {version('impasto')}"}


def _plain(code: Array) -> list[float]:
    return [float(f"{value:.8g}") for value in code.astype(np.float64)]
