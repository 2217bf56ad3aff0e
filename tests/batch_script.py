"""Run apart: paints a folder with tiny networks in processes that are killed at given moments; tells what is left.

Usage: batch_script.py FOLDER. The photographs are in FOLDER/in; the results go to FOLDER/out.
"""

import json
import os
import signal
import sys
from pathlib import Path

from impasto import device
from impasto.batch import journal, places
from impasto.batch.journal import Journal
from impasto.batch.painter import BatchPainter
from impasto.batch.plan import Plan, find_photographs
from impasto.batch.runner import paint_all
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from tiny import TinyStore, tiny_decoder_weights, tiny_encoder_weights

FOLDER = Path(sys.argv[1])


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, calls):
    """Has the process killed at the start of a call of a function, the first being 0."""
    original, left = getattr(owner, name), iter(range(calls))

    def call(*arguments, **more):
        if next(left, None) is None:
            die()
        return original(*arguments, **more)

    setattr(owner, name, call)


def torn(_calls):
    """Has the process killed in the middle of a line of the journal."""
    append = journal.Journal._append

    def half(self, data):
        append(self, data[: len(data) // 2])
        die()

    journal.Journal._append = half


MOMENTS = {
    "reading": lambda: before(BatchPainter, "read", 3),
    "before the journal's line": lambda: before(Journal, "add", 1),
    "in the journal's line": lambda: torn(0),
    "before the name": lambda: before(places, "publish", 1),
    "after the name": lambda: before(places, "discard", 1),
    "painting": lambda: before(BatchPainter, "paint", 1),
}


def outcomes():
    engine = Engine(store=TinyStore(FOLDER / "store", WEIGHTS), device="cpu", precision="float32")
    ledger = Journal(str(FOLDER / "out"))
    ledger.load()
    painter = BatchPainter(engine, Request(method="adain"), out=str(FOLDER / "out"), journal=ledger)
    plan = Plan([((str(FOLDER / "style.png"), 1.0),)], label_of=lambda name: Path(name).stem, ending=".png")
    works = plan.add(find_photographs([str(FOLDER / "in")], out=str(FOLDER / "out")))
    told = {outcome.work.output: outcome.status for outcome in paint_all(works, painter, total=len(works))}
    ledger.close()
    return told


WEIGHTS = {"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()}
(FOLDER / "store").mkdir(exist_ok=True)
device.convolution_rate(device.place("cpu", "float32"))  # measured once, not by each process
killed = {}
for moment, arm in MOMENTS.items():
    child = os.fork()
    if child == 0:
        arm()
        outcomes()
        os._exit(0)
    killed[moment] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
first, second = outcomes(), outcomes()
print(json.dumps({"killed": killed, "first": first, "second": second}))  # noqa: T201
