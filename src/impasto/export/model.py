"""What is exported: a trained network or AdaIN, what it says of itself, and how it paints in PyTorch."""

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
from impasto.contract import Job, OnProgress, Placement, Style, StyleImage, ignore
from impasto.export.portable import PlainAdaIN, PlainNetwork
from impasto.methods.adain import AdaIN
from impasto.methods.settings import AdaINKnobs
from impasto.models import catalog, networks
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes.graphs import Tensors, read

Array: TypeAlias = NDArray[np.float32]

Painter: TypeAlias = Callable[[Array, Array], Array]
"""From `image (B, 3, H, W)` and the second input, code or style, to the pastiche `(B, 3, H, W)`."""

IMAGE, CODE, STYLE, PASTICHE = "image", "code", "style", "pastiche"
"""Names of the inputs and of the output, in every format that has names."""


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
        tensors: of a network's file; None for AdaIN.
    """

    name: str
    second: str
    metadata: Mapping[str, str]
    reference: Painter
    seconds: tuple[Array, ...]
    stride: int
    module: Callable[[bool], nn.Module]
    tensors: Tensors | None = None

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
        tensors, about = read(path)
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
            tensors=tensors,
        )

    @classmethod
    def of_adain(cls, store: Store, styles: Sequence[Array], *, on_progress: OnProgress = ignore) -> Exportable:
        """AdaIN with the weights of the store.

        Args:
            store: of assets.
            styles: pictures `(1, 3, H, W)` to compare with.
            on_progress: called while something is fetched.

        Raises:
            AssetError: they cannot be had.
        """
        ids = ("vgg19-normalised", "adain-decoder")
        weights = {name: load_weights(store, name, on_progress=on_progress) for name in ids}
        return cls(
            name="AdaIN",
            second=STYLE,
            metadata={
                **_described("AdaIN", "; ".join(store.declared[name].licence for name in ids)),
                "paper": "arXiv:1703.06868",
                "ranges": f"{IMAGE} (batch, 3, height, width) and {STYLE} (batch, 3, any, any): sRGB in [0, 1]; "
                f"{PASTICHE}: as {IMAGE}",
            },
            reference=_adain_painter(weights),
            seconds=tuple(styles),
            stride=8,
            module=lambda _: PlainAdaIN(weights["vgg19-normalised"], weights["adain-decoder"]).eval(),
        )


def _adain_painter(weights: Mapping[str, Mapping[str, Tensor]]) -> Painter:
    stylizer, knobs = AdaIN(weights, Placement("cpu", "float32")), AdaINKnobs()

    def paint(image: Array, style: Array) -> Array:
        paintings = [Style((StyleImage(torch.from_numpy(one[None])),)) for one in style]
        jobs = [Job(stylizer.encode_style(painting, knobs), knobs) for painting in paintings]
        return stylizer.stylize(torch.from_numpy(image), jobs).numpy()

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
