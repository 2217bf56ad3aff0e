"""Everything that a machine with CUDA can do for this project in a few minutes; `make gpu` runs it.

    python tools/gpu.py OUT [--content FOLDER] [--minutes 9] [--tiny]

The tests of CUDA, a row for each method (512 and 1024 px, each precision, compiled or not), then decoders, AdaIN's, the
pack, `arbitrary` and `attention` in the time that is left. OUT gets `rows.csv`, `scores/`, `logs/`, `weights/`,
`sheets/`. A second run goes on where the first stopped: what is in `done.json` is not done again, and trainings go on.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from impasto import Engine, Request, images
from impasto.cli.app import run as impasto
from impasto.files import write_whole
from impasto.models import decoders, encoders, microast

METHODS = ("adain", "attention", "microast", "wct", "arbitrary", "optimize", "feedforward")
PAINTING, TRAINED = "museum:436535", "pack:cypresses"
PRECISIONS = ("float32", "bfloat16", "float16")
COMPILED = ((encoders.Encoder, "__call__"), (decoders.Decoder, "__call__"), (microast.MicroAST, "__call__"))
ROUNDS = 3
ROWS_SHARE = 0.4  # of the time, at most: compiling is slow
PACK = ("cypresses=museum:436535", "irises=museum:436528", "circus=museum:437654", "whalers=museum:437854")


@dataclass(frozen=True)
class Training:
    """A training, and its part of the time that is left; `start` is the training whose file it begins with."""

    name: str
    share: float
    arguments: tuple[str, ...]
    start: str = ""
    size: tuple[str, ...] = ("--crop", "256", "--batch", "8")


ARBITRARY = ("--from", "pack", "--learning-rate", "0.006", "--style-weight", "2.5", "--stroke-weight", "0.3")

TRAININGS = (
    Training("decoder1", 0.01, ("decoder", "--layer", "relu1_1")),
    *(
        Training(f"decoder{block}", share, ("decoder", "--layer", f"relu{block}_1"), f"decoder{block - 1}")
        for block, share in ((2, 0.02), (3, 0.05), (4, 0.1), (5, 0.1))
    ),
    Training("adain", 0.1, ("adain", "--from", "adain")),
    Training("pack", 0.1, tuple(word for style in PACK for word in ("--style", style))),
    Training("arbitrary", 0.3, ("arbitrary", *ARBITRARY)),
    Training("attention", 0.22, ("attention",)),
)
TINY = ("decoder1", "decoder2", "attention")


@dataclass
class Run:
    """One run: where it writes, until when, and what is done."""

    out: Path
    ends: float
    device: str
    tiny: bool
    content: str
    done: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.ends - time.monotonic())

    def once(self, name: str, work: Callable[[], Any]) -> None:
        """Do it if it was not done before and there is time; what fails is told and does not stop the rest."""
        if name in self.done or not self.left:
            return
        try:
            self.done[name] = work()
        except Exception as error:  # whatever it is, the machine is there for minutes only
            self.done[name] = f"failed: {error}"
        print(f"{name}: {self.done[name]}", flush=True)
        write_whole(self.out / "done.json", json.dumps(self.done, indent=1))


def main() -> None:
    """Run all."""
    run = begin()
    run.once("machine", lambda: machine(run.device))
    run.once("tests", lambda: tests(run))
    trainings_begin = run.left * (1 - ROWS_SHARE)
    for row in rows(run):
        if run.left < trainings_begin:
            break
        run.once("row " + " ".join(map(str, row)), lambda row=row: measured(run, *row))
    write_rows(run)
    train_all(run)
    print(f"{run.left:.0f} s left; results in {run.out}", flush=True)


def begin() -> Run:
    """Arguments, folders, and what an earlier run has done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--content", default="sample", help="folder of photographs to train on")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    parser.add_argument("--tiny", action="store_true", help="on any processor, in less than a minute: for tests")
    asked = parser.parse_args()
    if not (asked.tiny or torch.cuda.is_available()):
        sys.exit("error: this machine has no CUDA\nhint:  add --tiny to try it all on the processor")
    for folder in ("logs", "weights", "sheets", "scores"):
        (asked.out / folder).mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() and not asked.tiny else "cpu"
    content = str(tiny_photographs(asked.out)) if asked.tiny else asked.content
    run = Run(asked.out, time.monotonic() + 60 * asked.minutes, device, asked.tiny, content)
    if (asked.out / "done.json").exists():
        run.done = json.loads((asked.out / "done.json").read_text())
    return run


def machine(device: str) -> str:
    """What computes."""
    return torch.cuda.get_device_name() if device == "cuda" else "a processor"


def tests(run: Run) -> str:
    """The tests that need CUDA; their last line."""
    if run.device != "cuda":
        return "left out: no CUDA"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda", "tests/unit", "tests/methods"]
    with (run.out / "logs" / "tests.log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=max(1, min(90, run.left)))
    return (run.out / "logs" / "tests.log").read_text().strip().splitlines()[-1]


def rows(run: Run) -> Iterator[tuple[str, int, str, bool]]:
    """Method, size, precision, compiled: quick ones first."""
    sizes, precisions = ((64,), ("float32",)) if run.tiny else ((512, 1024), PRECISIONS)
    methods = METHODS[:3] if run.tiny else METHODS
    for compiled in (False, True):
        for size in sizes:
            for method in methods:
                for precision in precisions:
                    if not compiled or (method == "microast" if run.tiny else method != "feedforward"):
                        yield method, size, precision, compiled


def measured(run: Run, method: str, size: int, precision: str, compiled: bool) -> dict[str, float]:
    """Seconds of a picture (the median after a first one) and memory at the peak."""
    content = np.random.default_rng(0).random((size * 3 // 4, size, 3), dtype=np.float32)
    knobs = {"steps": 4} if method == "optimize" else {}
    style = TRAINED if method == "feedforward" else PAINTING
    with compiling(compiled, "eager" if run.tiny else "inductor"):
        engine = Engine(device=run.device, precision=precision, runtime="torch")
        seconds = []
        for _ in range(2 if run.tiny else ROUNDS + 1):
            began = time.perf_counter()
            engine.stylize(content, style, Request(method=method, knobs=knobs))
            if run.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 1e6 if run.device == "cuda" else 0.0
    if run.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return {"first": round(seconds[0], 4), "seconds": round(sorted(seconds[1:])[len(seconds[1:]) // 2], 4), "mb": peak}


@contextlib.contextmanager
def compiling(wanted: bool, backend: str) -> Iterator[None]:
    """Networks that torch.compile has compiled, meanwhile."""
    before = [(owner, name, getattr(owner, name)) for owner, name in COMPILED]
    try:
        for owner, name, plain in before if wanted else ():
            setattr(owner, name, torch.compile(plain, backend=backend, dynamic=False))
        yield
    finally:
        for owner, name, plain in before:
            setattr(owner, name, plain)


def write_rows(run: Run) -> None:
    """What was measured, as a table."""
    found = [(name.split()[1:], value) for name, value in run.done.items() if name.startswith("row ")]
    with (run.out / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["machine", "method", "size", "precision", "compiled", "first", "seconds", "mb", "failed"])
        for words, value in found:
            told = (
                [value["first"], value["seconds"], value["mb"], ""] if isinstance(value, dict) else ["", "", "", value]
            )
            table.writerow([run.done["machine"], *words, *told])


def train_all(run: Run) -> None:
    """Each training gets its share of the time; those that were done leave theirs to the others."""
    wanted = [one for one in TRAININGS if one.name in TINY or not run.tiny]
    for place, training in enumerate(wanted):
        share = training.share / sum(one.share for one in wanted[place:])
        seconds = share * run.left
        run.once(training.name, lambda training=training, seconds=seconds: trained(run, training, seconds))
        keep_sheet(run, training.name)


def trained(run: Run, training: Training, seconds: float) -> str:
    """Train for so long, going on with what was begun; scores beside it."""
    target = run.out / "weights" / f"{training.name}.safetensors"
    size = ("--crop", "64", "--batch", "1", "--canvas", "96", "--steps", "1") if run.tiny else training.size
    time_given = () if run.tiny else ("--minutes", f"{max(0.02, 0.85 * seconds / 60):.2f}")
    paintings = ("--paintings", str(run.out / "tiny")) if run.tiny and training.name == "attention" else ()
    begun = run.out / "weights" / f"{training.start}.safetensors"
    start = ("--from", str(begun)) if training.start and begun.exists() else ()
    command = ["train", *training.arguments, *start, "--content", run.content, *size, *time_given, *paintings]
    code = logged(run, training.name, [*command, "--device", run.device, "--resume", "-o", str(target)])
    if code == 0 and training.name in ("pack", "arbitrary") and not run.tiny:
        scores = str(run.out / "scores" / f"{training.name}.csv")
        logged(run, f"{training.name}-scores", ["bench", "networks", str(target), "--set", "three", "--csv", scores])
    return f"exit code {code}, {target.stat().st_size:,} bytes" if target.exists() else f"exit code {code}"


def logged(run: Run, name: str, arguments: list[str]) -> int:
    """Run a command of impasto; what it says goes into a log."""
    path = run.out / "logs" / f"{name}.log"
    with path.open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        return impasto(arguments)


def keep_sheet(run: Run, name: str) -> None:
    """The last sheet of a training."""
    for sheet in sorted((run.out / "weights" / f"{name}.training").glob("sheet-*.png"))[-1:]:
        shutil.copy(sheet, run.out / "sheets" / f"{name}.png")


def tiny_photographs(out: Path) -> Path:
    """Noise in place of photographs and paintings."""
    folder = out / "tiny"
    if not folder.exists():
        folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        for number in range(40):
            coarse = random.random((6, 8, 3), dtype=np.float32)
            images.write(images.read(images.resize(coarse, 96, 128).clip(0, 1)), folder / f"{number}.png")
    return folder


if __name__ == "__main__":
    main()
