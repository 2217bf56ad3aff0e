"""The same batch over a Ray cluster: Ray Data hands out names, and each worker reads, paints and writes by itself.

Pictures never pass through the driver, nor through Ray's object store: rows hold names, and what came of them. A worker
loads its weights once. It writes its own file of the journal, so what was painted by a worker that died is known to the
one that does its rows again, and each picture comes out once.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from impasto import device, errors, images
from impasto.batch import places
from impasto.batch.journal import Journal
from impasto.batch.painter import BatchPainter, Outcome, Saving, look_key
from impasto.batch.plan import Work
from impasto.batch.runner import Threads, paint_all
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.cluster import Shape
from impasto.engine.request import Request
from impasto.errors import StyleError, plain

_PAUSE = 0.2  # seconds between two looks at what the user asks for
_MOST_ROWS = 32  # that a worker takes at once
_SHARES = 4  # pieces of work for each worker at least, so that the last ones end together
_FATAL = "fatal"


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to know beside its rows.

    Attributes:
        request, saving: how to paint, and to write.
        out: folder of results.
        precision: as for `Engine`.
        pictures: bytes of style files by name, which a worker may not see.
        digests: of looks, by `look_key`, as the driver knows them.
        threads: that a worker computes with.
    """

    request: Request
    saving: Saving
    out: str
    precision: str = "auto"
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1


class Worker:
    """Paints rows; Ray Data keeps one for each place of the cluster."""

    def __init__(self, recipe: Recipe) -> None:
        from impasto.engine.engine import Engine

        device.use_threads(recipe.threads)
        journal = Journal(recipe.out, f"{socket.gethostname()}-{os.getpid()}")
        journal.load()
        engine = Engine(precision=recipe.precision, runtime="torch")
        stand_ins = {name: images.BufferedPipe(data, name) for name, data in recipe.pictures.items()}
        self._painter = BatchPainter(
            engine,
            recipe.request,
            out=recipe.out,
            journal=journal,
            saving=recipe.saving,
            stand_ins=stand_ins,
            digests=recipe.digests,
        )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """What came of each row, as JSON."""
        works = [_work(text) for text in batch["work"]]
        try:
            told = [_told(one) for one in paint_all(works, self._painter, total=len(works), threads=Threads(ahead=4))]
        except StyleError as error:  # no other picture can be painted either
            told = [{"status": _FATAL, **_of_error(error)}]
        return {"outcome": [json.dumps(one) for one in told]}


def recipe_of(painter: BatchPainter, works: Sequence[Work], *, precision: str, threads: int) -> Recipe:
    """What workers have to know of a batch; style files go along, so that only photographs need to be seen by all."""
    digests: dict[str, str] = {}
    names: set[str] = set()
    for work in works:
        key = look_key(work)
        if key not in digests:
            with suppress(StyleError):  # told of each of its pictures
                digests[key] = painter.look(work).digest
            names |= {name for name, _ in work.styles}
    pictures = {name: Path(name).read_bytes() for name in sorted(names) if _is_picture_file(name)}
    return Recipe(painter.request, painter.saving, places.absolute(painter.out), precision, pictures, digests, threads)


def _is_picture_file(name: str) -> bool:
    return Path(name).suffix.lower() in images.EXTENSIONS and Path(name).is_file()


def paint_on_cluster(
    works: Sequence[Work], recipe: Recipe, shape: Shape, *, on_progress: OnProgress = ignore
) -> Iterator[Outcome]:
    """What comes of each picture, in the order in which workers are done.

    Args:
        works: what to paint.
        recipe: how.
        shape: the workers.
        on_progress: called several times a second; cancels by raising `Cancelled`.

    Raises:
        StyleError: what keeps all pictures from being painted.
    """
    by_output = {work.output: work for work in works}
    waiting: queue.Queue[Any] = queue.Queue()
    stopped = threading.Event()

    def drain() -> None:
        try:
            for block in _blocks(works, recipe, shape):
                if stopped.is_set():
                    return
                waiting.put(block)
            waiting.put(None)
        except Exception as error:
            waiting.put(error)

    threading.Thread(target=drain, name="impasto-ray", daemon=True).start()
    done = 0
    try:
        while (block := _next(waiting, done, len(works), on_progress)) is not None:
            for told in block:
                outcome = _outcome(told, by_output)
                done += 1
                yield outcome
    finally:
        stopped.set()


def _next(waiting: queue.Queue[Any], done: int, total: int, on_progress: OnProgress) -> list[Mapping[str, Any]] | None:
    while True:
        on_progress(Progress("painting", done, total, unit="picture"))
        with suppress(queue.Empty):
            block = waiting.get(timeout=_PAUSE)
            if isinstance(block, Exception):
                raise _of_ray(block)
            return None if block is None else list(block)


def _blocks(works: Sequence[Work], recipe: Recipe, shape: Shape) -> Iterator[list[Mapping[str, Any]]]:
    """Outcomes as workers give them."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    rows = max(1, min(_MOST_ROWS, -(-len(works) // (_SHARES * shape.workers))))
    table = ray.data.from_items(
        [{"work": _as_text(work)} for work in works], override_num_blocks=-(-len(works) // rows)
    )
    painted = table.map_batches(
        Worker,
        fn_constructor_args=(recipe,),
        batch_size=None,  # a block is one piece of work
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=shape.workers, initial_size=shape.workers),
        num_cpus=shape.cpus,
        num_gpus=shape.gpus or None,
    )
    for batch in painted.iter_batches(batch_size=None, prefetch_batches=0):
        yield [json.loads(text) for text in batch["outcome"]]


def _as_text(work: Work) -> str:
    return json.dumps([places.absolute(work.content), work.styles, work.output, dict(work.settings)])


def _work(text: str) -> Work:
    content, styles, output, own = json.loads(text)
    return Work(content, tuple((name, weight) for name, weight in styles), output, own)


def _told(outcome: Outcome) -> dict[str, Any]:
    told = {"output": outcome.work.output, "status": outcome.status, "seconds": outcome.seconds}
    return told if outcome.error is None else {**told, **_of_error(outcome.error)}


def _of_error(error: StyleError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def _outcome(told: Mapping[str, Any], by_output: Mapping[str, Work]) -> Outcome:
    error = None
    if "kind" in told:
        kind = getattr(errors, told["kind"], StyleError)
        error = (kind if issubclass(kind, StyleError) else StyleError)(told["message"], told["hint"])
    if told["status"] == _FATAL:
        assert error is not None
        raise error
    return Outcome(by_output[told["output"]], told["status"], told["seconds"], error)


def _of_ray(error: Exception) -> StyleError:
    """What Ray says of a worker or of the cluster, in one line."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, StyleError):
        return cause
    lines = [line.strip() for line in StringIO(str(error)) if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    return StyleError(f"the Ray cluster gave up: {plain(reason)}", "see its logs; the same command paints what is left")
