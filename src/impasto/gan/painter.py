"""Paints with a StyleGAN: random numbers or latents in, pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import device as hardware
from impasto import images
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.errors import InputError
from impasto.models import checkpoint, stylegan_files
from impasto.models.stylegan_files import StyleGan

PRECISIONS = ("float32", "bfloat16")
TRUNCATION = 0.7
"""From the average picture (0) to what random numbers give (1): below 1 fewer pictures fail, and they differ less."""

MOST_TRUNCATION = 2.0
MOST_SEED = 2**32 - 1
LATENTS = "stylegan-latents"

_LATENTS_HINT = "give one that impasto gan project has written with the same network"
_BATCH_PIXELS = 4 * 256 * 256  # painted at once
_MOST_BATCH = 16
_BANDS = ("coarse", "middle", "fine")

Floats = NDArray[np.float32]


class Painter:
    """A network in its place.

    Args:
        network: as read.
        placement: device and precision of the convolutions.
    """

    def __init__(self, network: StyleGan, placement: Placement) -> None:
        self.placement = placement
        self.generator = network.build().requires_grad_(False).to(placement.device)
        if placement.channels_last:
            self.generator = self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator.synthesis.dtype = placement.dtype

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", precision: str = "auto") -> Painter:
        """Read a network: ours, NVIDIA's `.pkl` or rosinality's `.pt`. Nothing in it is executed.

        Raises:
            InputError: it is none, or the device or precision cannot be had.
        """
        network = stylegan_files.read(Path(path))
        return cls(network, hardware.place(device, precision, tested=PRECISIONS))

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.generator.spec.size

    @property
    def layers(self) -> int:
        """How many w a picture takes."""
        return self.generator.spec.layers

    @property
    def bands(self) -> tuple[int, int]:
        """The first of the middle layers, and of the fine ones."""
        return self.generator.spec.bands

    @torch.no_grad()
    def latents(self, seeds: Sequence[int], *, truncation: float = TRUNCATION) -> Tensor:
        """Latents `(N, layers, latent)` of seeds, 0 to 2^32 - 1; NVIDIA's tools draw the same pictures by them.

        Raises:
            InputError: a seed or the truncation is out of range.
        """
        check_truncation(truncation)
        z = np.stack([np.random.RandomState(check_seed(seed)).randn(self.generator.spec.latent) for seed in seeds])
        w = self.generator.mapping(torch.from_numpy(z).float().to(self.placement.device), truncation)
        return self.generator.spread(w).cpu().clone()

    @torch.inference_mode()
    def paint(self, latents: Tensor, *, on_progress: OnProgress = ignore) -> Iterator[Floats]:
        """Pictures `(size, size, 3)` in [0, 1] of `latents (N, layers, latent)`, one by one."""
        batch = max(1, min(_MOST_BATCH, _BATCH_PIXELS // self.size**2))
        done = 0
        for part in latents.chunk(-(-len(latents) // batch)):
            made = self.generator.synthesis(part.to(self.placement.device))
            for picture in ((made.float() + 1) / 2).clamp(0, 1):
                on_progress(Progress("painting", done, len(latents), "picture"))
                yield images.from_tensor(picture[None].cpu())
                done += 1
        on_progress(Progress("painting", done, len(latents), "picture"))

    def save_latents(self, path: Path, latents: Tensor) -> None:
        """Write latents `(1, layers, latent)` as safetensors. Raises as `files.write_whole`."""
        about = {"kind": LATENTS, "size": self.size}
        checkpoint.write(path, {"ws": latents[0]}, about, halved=False)

    def read_latents(self, path: Path) -> Tensor:
        """Latents `(1, layers, latent)` of a file.

        Raises:
            InputError: it is none, is broken, or is of a network of another shape.
        """
        tensors, about = checkpoint.read(path, hint=_LATENTS_HINT)
        ws = tensors.get("ws")
        if about.get("kind") != LATENTS or not isinstance(ws, Tensor) or ws.dim() != 2:
            raise InputError(f"{path} holds no latents", _LATENTS_HINT)
        wanted = (self.layers, self.generator.spec.latent)
        if tuple(ws.shape) != wanted:
            raise InputError(
                f"{path} holds {ws.shape[0]} latents of {ws.shape[1]}; the network takes {wanted[0]} of {wanted[1]}",
                _LATENTS_HINT,
            )
        return ws.float()[None]

    def named(self, names: Sequence[str], *, truncation: float = TRUNCATION) -> Tensor:
        """Latents `(N, layers, latent)` of seeds and of files of latents.

        Raises:
            InputError: a name is neither.
        """
        return torch.cat([self._named(name, truncation) for name in names])

    def _named(self, name: str, truncation: float) -> Tensor:
        if name.isdecimal() and name.isascii():
            return self.latents([check_seed(int(name))], truncation=truncation)
        if not (Path(name).is_file() and Path(name).suffix == ".safetensors"):
            raise InputError(f"{name!r} is neither a seed nor a file of latents", "give 7, or a file of gan project")
        return self.read_latents(Path(name))


def check_seed(seed: int) -> int:
    """Raise InputError for a seed out of range."""
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"the seed is {seed}", f"it takes 0 to {MOST_SEED}")
    return seed


def check_truncation(truncation: float) -> None:
    """Raise InputError for a truncation out of range, or nan."""
    if not 0 <= truncation <= MOST_TRUNCATION:
        raise InputError(
            f"--truncation is {truncation:g}",
            f"it takes 0 (the average picture) to {MOST_TRUNCATION:g}; {TRUNCATION} is usual, 1 changes nothing",
        )


def layers_named(text: str, layers: int, bands: tuple[int, int] = (4, 8)) -> slice:
    """Layers by words: `coarse` (4 and 8 px: shapes), `middle`, `fine` (64 px and up: colours); or `2-5`, from 0.

    bands: the first of the middle layers, and of the fine ones.

    Raises:
        InputError: it is none of these, or beyond the network's layers.
    """
    edges = [min(edge, layers) for edge in (0, *bands, layers)]
    named = {band: (first, after - 1) for band, first, after in zip(_BANDS, edges, edges[1:], strict=False)}
    if text in named:
        first, last = named[text]
    else:
        words = text.split("-")
        if len(words) > 2 or not all(word.isdecimal() and word.isascii() and len(word) < 4 for word in words):
            raise InputError(f"--layers is {text!r}", "it takes coarse, middle, fine, or numbers such as 0-3")
        first, last = int(words[0]), int(words[-1])
    if not first <= last < layers:
        there = ", ".join(f"{band} ({first}-{last})" for band, (first, last) in named.items() if first <= last)
        raise InputError(
            f"--layers {text} are not in the network, which has 0 to {layers - 1}", f"name others: {there}, or numbers"
        )
    return slice(first, last + 1)


def mixed(rows: Tensor, columns: Tensor, layers: slice) -> Tensor:
    """Latents `(R * C, layers, latent)`: those of each row with the layers of each column, row by row.

    rows, columns: `(R, layers, latent)` and `(C, layers, latent)`.
    """
    grid = rows[:, None].repeat(1, len(columns), 1, 1)
    grid[:, :, layers] = columns[None, :, layers]
    return grid.flatten(0, 1)
