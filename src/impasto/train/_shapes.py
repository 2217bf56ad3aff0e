"""Coloured patterns with their names, drawn over photographs: what the small CLIP that ships is trained on."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COLORS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.0, 0.85, 0.85),
    "orange": (0.08, 0.9, 0.95),
    "yellow": (0.15, 0.85, 0.95),
    "green": (0.35, 0.75, 0.65),
    "turquoise": (0.49, 0.7, 0.75),
    "blue": (0.62, 0.8, 0.8),
    "purple": (0.78, 0.7, 0.65),
    "pink": (0.92, 0.45, 0.95),
    "brown": (0.07, 0.65, 0.45),
    "black": (0.0, 0.0, 0.06),
    "white": (0.0, 0.0, 0.96),
    "gray": (0.0, 0.0, 0.5),
}
"""Hue, saturation and value, each from 0 to 1."""

_PHOTO = "photo"
PHOTOGRAPH = f"a {_PHOTO}"
"""What an untouched photograph is called."""

_TEMPLATES = ("{}", "{}", "a photo of {}", "a picture of {}", "a painting of {}", "{} everywhere")
_HUE, _SHADE = 0.018, 0.12  # by how much a colour may differ from its name's
_PLAIN, _UNTOUCHED, _ONE_WORD = 0.1, 0.08, 0.4  # shares: colour alone, the photograph alone, captions of one word
_PERIODS = (7.0, 26.0)  # pixels
_COVER = (0.6, 1.0)  # of the photograph, where the pattern lies
_GROUNDS = ("photograph", "photograph", "white", "black", "tint")

_Pattern = Callable[[Tensor, Tensor], Tensor]


def _wave(x: Tensor) -> Tensor:
    """A triangle between -1 and 1 of period 1."""
    return 4 * (x - torch.floor(x + 0.5)).abs() - 1


def _cell(x: Tensor) -> Tensor:
    return x - torch.floor(x) - 0.5


# Of places in periods; positive where the pattern lies, and about 1 there.
PATTERNS: Mapping[str, _Pattern] = {
    "stripes": lambda x, _: _wave(x),
    "dots": lambda x, y: 1 - 3.2 * (_cell(x).square() + _cell(y).square()).sqrt(),
    "checks": lambda x, y: _wave(x / 2) * _wave(y / 2),
    "rings": lambda x, y: _wave((x.square() + y.square()).sqrt()),
}
"""Functions of places across and along, in periods."""

WORDS = (*COLORS, *PATTERNS, "photo", "picture", "painting", "everywhere", "of", "a")
"""All words that a caption may have."""


@dataclass(frozen=True)
class Drawn:
    """Pictures with captions.

    Attributes:
        pictures: `(B, 3, H, W)` in [0, 1].
        captions: of each; it may leave out the colour or the pattern.
        shown: the words that are true of each picture.
        meant: those of them that its caption has.
    """

    pictures: Tensor
    captions: tuple[str, ...]
    shown: tuple[frozenset[str], ...]
    meant: tuple[frozenset[str], ...]

    def matches(self) -> Tensor:
        """`(B, B)`: whether the caption of a column is true of the picture of a row."""
        return torch.tensor([[meant <= shown for meant in self.meant] for shown in self.shown])


def draw(photographs: Tensor, seed: list[int]) -> Drawn:
    """Patterns over photographs `(B, 3, H, W)`; the seed settles which."""
    random = np.random.default_rng(seed)
    drawn = [_drawn(photograph, random) for photograph in photographs]
    meant = [_told(words, random) for _, words in drawn]
    return Drawn(
        torch.stack([picture for picture, _ in drawn]),
        tuple(_caption(words, random) for words in meant),
        tuple(frozenset(words) for _, words in drawn),
        tuple(map(frozenset, meant)),
    )


def _told(words: list[str], random: np.random.Generator) -> list[str]:
    """The words that a caption has: all, or one."""
    return [random.choice(words)] if random.random() < _ONE_WORD else words


def _caption(words: list[str], random: np.random.Generator) -> str:
    return PHOTOGRAPH if words == [_PHOTO] else str(random.choice(_TEMPLATES)).format(" ".join(words))


def pattern(name: str, side: int, random: np.random.Generator) -> Tensor:
    """Where a pattern lies, `(side, side)` from 0 to 1 with soft edges, at a random size, place and turn."""
    period, turn = random.uniform(*_PERIODS), random.uniform(0, 2 * math.pi)
    along = torch.arange(side, dtype=torch.float32) - random.uniform(0, side)
    rows, columns = along[:, None] / period, (along + random.uniform(-side, side) / 4)[None] / period
    x, y = math.cos(turn) * columns + math.sin(turn) * rows, math.cos(turn) * rows - math.sin(turn) * columns
    return (0.5 + PATTERNS[name](x, y) * period / 4).clamp(0, 1)


def _drawn(photograph: Tensor, random: np.random.Generator) -> tuple[Tensor, list[str]]:
    """A picture, and the words that are true of it."""
    if random.random() < _UNTOUCHED:
        return photograph, [_PHOTO]
    color, name = str(random.choice([*COLORS])), str(random.choice([*PATTERNS]))
    rgb = _shade(color, random)
    if random.random() < _PLAIN:
        cover, name = torch.ones(photograph.shape[1:]), ""
    else:
        cover = pattern(name, photograph.shape[1], random)
    below = _ground(photograph, color, random)
    picture = torch.lerp(below, _textured(rgb, photograph, random), cover * random.uniform(*_COVER))
    noise = torch.from_numpy(random.normal(0, random.uniform(0, 0.04), photograph.shape).astype(np.float32))
    return (picture + noise).clamp(0, 1), [color, name] if name else [color]


def _shade(color: str, random: np.random.Generator) -> Tensor:
    """A colour `(3, 1, 1)` that goes by a name."""
    hue, saturation, value = COLORS[color]
    if saturation:
        hue += random.uniform(-_HUE, _HUE)
        saturation = min(1.0, saturation + random.uniform(-_SHADE, _SHADE))
    value = min(1.0, max(0.0, value + random.uniform(-_SHADE, _SHADE) / (1 if saturation else 3)))
    return torch.tensor(colorsys.hsv_to_rgb(hue % 1, saturation, value)).view(3, 1, 1)


def _ground(photograph: Tensor, color: str, random: np.random.Generator) -> Tensor:
    """What lies under the pattern: the photograph, light, dark, or one more colour."""
    kind = random.choice(_GROUNDS)
    if kind == "photograph":
        return photograph
    other = random.choice([name for name in COLORS if name != color])
    named = {"white": "white", "black": "black", "tint": other}[kind]
    ground = _shade(other if named == color else named, random)
    return torch.lerp(ground.expand_as(photograph), photograph, random.uniform(0, 0.5))


def _textured(rgb: Tensor, photograph: Tensor, random: np.random.Generator) -> Tensor:
    """The colour with some of the photograph's light and shade."""
    luma = photograph.mean(0, keepdim=True)
    return (rgb * (1 + random.uniform(0, 0.7) * (luma - luma.mean()))).clamp(0, 1)
