"""Make letters of gold, flames and moss by rule, and put their looks on other words: docs/images/letters-like.jpg.

Usage: python examples/letter_effects.py [FOLDER]

FOLDER, out/effects by default, then holds plain.png, gold.png, flames.png and moss.png, which --like and --like-text
take, and the words that were painted like them.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from impasto import images
from impasto.engine.engine import Engine
from impasto.lettering import Example, Lettering, LetterPainter, on_paper

WORD, SIZE = "BURNING", (960, 280)
OTHERS = {"gold": ("ICE 7", "مدينة"), "flames": ("HOT", "花火"), "moss": ("Wald", "ЛЕС")}
PAPER = {"gold": (0.0, 0.0, 0.0), "flames": (0.0, 0.0, 0.0), "moss": (1.0, 1.0, 1.0)}
CELL = (360, 180)  # width and height in pixels


def noise(sides, scale, seed):
    """Smooth noise `(H, W)` of mean 0 and deviation 1, in blobs of `scale` pixels."""
    values = np.random.default_rng(seed).standard_normal(sides).astype(np.float32)
    soft = cv2.GaussianBlur(values, (0, 0), scale)
    return soft / soft.std()


def ramp(values, stops):
    """Colours `(H, W, 3)` of values from 0 to 1; stops: pairs of value and colour."""
    places, colours = zip(*stops, strict=True)
    return np.dstack([np.interp(values, places, channel) for channel in np.transpose(colours)]).astype(np.float32)


def gold(shape):
    """A rounded relief, lit from the upper left, in which bright and dark surroundings mirror."""
    radius = shape.stroke_radius
    edge = np.clip(shape.distance / (0.7 * radius), 0, 1)
    height = radius * np.sqrt(1 - (1 - edge) ** 2) + 0.22 * noise(shape.sides, 0.2 * radius, 1)
    height = cv2.GaussianBlur(height, (0, 0), 1.5)
    across, down = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
    facing = (0.5 * across + 0.85 * down + 0.9) / np.sqrt(across**2 + down**2 + 1)
    mirrored = np.clip(0.55 * facing + 0.12 * np.sin(9 * facing) + 0.12, 0, 1)
    metal = ramp(
        mirrored, [(0, (0.16, 0.07, 0.0)), (0.35, (0.55, 0.31, 0.04)), (0.7, (0.95, 0.72, 0.2)), (1, (1, 0.97, 0.75))]
    )
    return shape.coverage[..., None] * metal


def flames(shape):
    """Embers inside, and tongues of fire that rise from the upper edges, lean and fade."""
    radius, (rows, columns) = shape.stroke_radius, shape.sides
    down, across = np.mgrid[:rows, :columns].astype(np.float32)
    heat = np.clip(0.75 + 0.12 * noise(shape.sides, 0.25 * radius, 2) - 0.25 * shape.depth, 0, 1) * shape.coverage
    sway, tongues = noise(shape.sides, 0.45 * radius, 3), noise(shape.sides, 0.3 * radius, 4)
    longest = round(3.2 * radius)
    for rise in range(1, longest):
        left = 1 - rise / longest
        source = cv2.remap(shape.coverage, across + 0.25 * rise * sway, down + rise, cv2.INTER_LINEAR)
        heat = np.maximum(heat, source * left * np.clip(1.15 * left + 0.32 * tongues, 0, 1))
    heat = np.maximum(heat, 0.35 * np.exp(np.minimum(shape.distance, 0) / (0.35 * radius)))
    return ramp(
        np.clip(cv2.GaussianBlur(heat, (0, 0), 1.2) - 0.04, 0, 1),
        [(0, (0, 0, 0)), (0.25, (0.5, 0.04, 0)), (0.5, (0.95, 0.35, 0.02)), (0.75, (1, 0.78, 0.15)), (1, (1, 1, 0.85))],
    )


def moss(shape):
    """Thousands of small leaves, dark ones below and light ones above, that grow a little past the edge, on white."""
    generator, radius = np.random.default_rng(5), shape.stroke_radius
    canvas = np.ones((*shape.sides, 3), np.float32)
    rows, columns = np.nonzero(shape.distance > -0.22 * radius)
    bumps = noise(shape.sides, 0.3 * radius, 6)
    for layer, (tone, share) in enumerate(((0.22, 1.0), (0.42, 0.9), (0.62, 0.55), (0.85, 0.2))):
        for place in generator.integers(0, len(rows), round(share * 9 * len(rows) / radius**2 * 6)):
            row, column = int(rows[place]), int(columns[place])
            if shape.distance[row, column] < (0.1 * layer - 0.22 + 0.1 * bumps[row, column]) * radius:
                continue
            light = tone + 0.10 * bumps[row, column] + 0.08 * generator.standard_normal()
            colour = np.clip(np.array([0.62, 0.95, 0.22]) * light + [0.03, 0.05, 0.0], 0, 1)
            sides = (max(1, round(0.16 * radius * generator.uniform(0.6, 1.2))), max(1, round(0.07 * radius)))
            cv2.ellipse(
                canvas, (column, row), sides, float(generator.uniform(0, 180)), 0, 360, colour.tolist(), -1, cv2.LINE_AA
            )
    return np.clip(canvas, 0, 1)


def sheet(folder):
    """A row for each effect `(H, W, 3)`: the example, then the words that were painted like it."""
    rows = []
    for name, paper in PAPER.items():
        example = images.as_float(images.read(folder / f"{name}.png").pixels)
        height = round(CELL[0] * example.shape[0] / example.shape[1])
        cells = np.tile(np.float32(paper), (CELL[1], CELL[0], 1))
        top = (CELL[1] - height) // 2
        cells[top : top + height] = images.resize(example, height, CELL[0])
        others = [images.read(folder / f"like-{name}-{number}.png") for number in range(len(OTHERS[name]))]
        shown = [on_paper(images.Picture(images.as_float(one.pixels), one.alpha), paper) for one in others]
        rows.append(np.hstack([cells, *(images.resize(one, CELL[1], CELL[0]) for one in shown)]))
    return np.vstack(rows)


def main() -> None:
    """Write the examples, paint other words like them, and put all on one sheet."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/effects")
    folder.mkdir(parents=True, exist_ok=True)
    painter = LetterPainter(Engine())
    shape = painter.shape(Lettering(WORD, size=SIZE), widest=1.2)
    plain = np.repeat(1 - shape.coverage[..., None], 3, axis=2)
    images.write(images.Picture(plain), folder / "plain.png")
    for make in (gold, flames, moss):
        name = make.__name__
        images.write(images.Picture(make(shape)), folder / f"{name}.png")
        example = Example.read(folder / f"{name}.png", folder / "plain.png")
        for number, word in enumerate(OTHERS[name]):
            result, _ = painter.paint(Lettering(word, size=(480, 240)), example)
            result.save(folder / f"like-{name}-{number}.png")
    images.write(images.Picture(sheet(folder)), Path("docs/images/letters-like.jpg"), quality=85)


if __name__ == "__main__":
    main()
