"""`impasto demo`: one photograph at three qualities, and the sheet that compares them, with a close-up of the last."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.outputs import keeping_best
from impasto.cli.printing import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHOTO = "chelsea.png"
PAINTING = "museum:436535"
SIZE = 512
_CLOSER = 3
_EYES = (0.42, 0.52)  # the middle of the close-up, as shares of height and width


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("impasto-demo"),
) -> None:
    """Paint a photograph in the style of a Van Gogh as draft, good and best, and show all side by side."""
    from impasto import images
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request, Result

    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    engine = Engine()
    with Reporter() as reporter:
        photo = engine.store.path("photos", on_progress=reporter) / PHOTO
        source = engine.find_styles(PAINTING, on_progress=reporter)[0]
        cells = [(images.read(photo).pixels, f"photograph: {photo.stem}"), (source.picture.pixels, source.label)]
        for quality in ("draft", "good", "best"):
            request = Request(quality=quality, size=SIZE)
            path = out / f"{quality}.png"
            with keeping_best(partial(Result.save, path=path)):
                result = engine.stylize(photo, PAINTING, request, on_progress=reporter, on_note=reporter.note)
            result.save(path)
            elapsed = time.perf_counter() - started
            say(f"{path}: painted in {result.seconds:.1f} s, {elapsed:.0f} s after the start")
            cells.append((result.picture.pixels, f"{quality}: {result.seconds:.1f} s"))
        cells.append((_close_up(result.picture.pixels), f"{quality}, {_CLOSER} times as large"))
        sheet = out / "sheet.png"
        images.write(images.read(images.contact_sheet(cells, columns=3, cell=SIZE, lines=1)), sheet)
    say(sheet)


def _close_up(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A part of a picture enlarged to the size of the whole, so that strokes can be seen."""
    from impasto import images

    height, width = pixels.shape[:2]
    rows, columns = height // _CLOSER, width // _CLOSER
    top, left = (
        min(max(0, round(middle * whole) - part // 2), whole - part)
        for middle, whole, part in zip(_EYES, (height, width), (rows, columns), strict=True)
    )
    return images.resize(pixels[top : top + rows, left : left + columns].copy(), height, width)
