"""The same batch over a Ray cluster: Ray Data hands out names, and each worker reads, paints and writes by itself.

Pictures never pass through the driver, nor through Ray's object store: rows hold names, and what came of them. A worker
loads its weights once. It writes its own file of the journal, so what was painted by a worker that died is known to the
one that does its rows again, and each picture comes out once.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from impasto import device, errors, images
from impasto.batch import places
from impasto.batch.journal import FOLDER, Journal
from impasto.batch.painter import BatchPainter, Outcome, Saving, look_key
from impasto.batch.plan import Work
from impasto.batch.runner import paint_all
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.cluster import Shape, by_path, request_by_paths
from impasto.engine.request import Request
from impasto.errors import ResourceError, StyleError, plain
from impasto.files import is_file

_PAUSE = 0.2  # seconds between two looks at what the user asks for
_MOST_ROWS = 32  # that a worker takes at once
_SHARES = 4  # pieces of work for each worker at least, so that the last ones end together
_MOST_FOLDERS = 100  # whose photographs the nodes are asked for
_DEATHS = 2  # of workers over one block of rows, after which it is painted row by row
_MARKS = "at"
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
        self._out = recipe.out
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
            told = [_told(one) for one in self._painted(works)]
        except StyleError as error:  # no other picture can be painted either
            told = [{"status": _FATAL, **_of_error(error)}]
        return {"outcome": [json.dumps(one) for one in told]}

    def _painted(self, works: Sequence[Work]) -> Iterator[Outcome]:
        """What comes of a block of rows. Ray gives one whose worker died to another, without end.

        So a block has a mark while it is worked at. After `_DEATHS` of them each row has one, too, and a row whose mark
        is there already is what the worker before died of.
        """
        block = _Mark(self._out, "\n".join(work.output for work in works))
        if block.begin() < _DEATHS:
            yield from self._paint(works)
        else:
            for work in works:
                yield from self._one(work)
            for work in works:
                _Mark(self._out, work.output).end()
        block.end()

    def _one(self, work: Work) -> Iterator[Outcome]:
        if _Mark(self._out, work.output).begin():
            hint = "it may take more memory than a node has: use a smaller --size"
            yield Outcome(work, "failed", error=ResourceError("the workers that painted it died", hint))
        else:
            outcomes = list(self._paint([work]))
            _Mark(self._out, work.output).end()
            yield from outcomes

    def _paint(self, works: Sequence[Work]) -> Iterator[Outcome]:
        return paint_all(works, self._painter, total=len(works))


class _Mark:
    """A small file beside the journal that is there while a worker is at something; it holds how many have begun.

    Args:
        out: the folder of results.
        what: the worker is at.
    """

    def __init__(self, out: str, what: str) -> None:
        digest = hashlib.sha256(what.encode()).hexdigest()[:24]
        self._name = places.join(out, f"{FOLDER}/{_MARKS}/{digest}")

    def begin(self) -> int:
        """Leave the mark. Returns how many have begun and not ended."""
        there = places.stamp(self._name)
        earlier = int(places.read(self._name) or b"0") if there is not None else 0
        places.write(self._name, str(earlier + 1).encode())
        return earlier

    def end(self) -> None:
        """Take it away."""
        places.remove(self._name)


def clear_marks(out: str) -> None:
    """Take away what workers of a killed command left."""
    folder = places.join(out, f"{FOLDER}/{_MARKS}")
    if places.is_address(out):
        names = [name for name, _ in places.listed(folder)]
    else:
        names = [str(path) for path in Path(folder).glob("*")]
    for name in names:
        places.remove(name)


def recipe_of(
    painter: BatchPainter, works: Sequence[Work], *, precision: str, threads: int
) -> tuple[Recipe, list[str]]:
    """What workers have to know of a batch, and the paths that they must see beside the photographs.

    Style pictures go along; networks, masks and images to start from do not.
    """
    digests: dict[str, str] = {}
    names: set[str] = set()
    files: list[str] = []
    for work in works:
        key = look_key(_shared(work, files))
        if key not in digests:
            with suppress(StyleError):  # told of each of its pictures
                digests[key] = painter.look(work).digest
            names |= {name for name, _ in work.styles}
    request = request_by_paths(painter.request, files)
    pictures = {name: Path(name).read_bytes() for name in sorted(names) if _is_picture_file(name)}
    recipe = Recipe(request, painter.saving, places.absolute(painter.out), precision, pictures, digests, threads)
    return recipe, list(dict.fromkeys(files))


def photographs_to_check(works: Sequence[Work]) -> list[str]:
    """A photograph of each folder, of the first hundred folders, if it is there: whoever sees it sees the others."""
    found: dict[str, str] = {}
    for work in works:
        folder = work.content.rpartition("/")[0]
        if len(found) == _MOST_FOLDERS:
            break
        if folder not in found and not places.is_address(work.content) and is_file(work.content):
            found[folder] = places.absolute(work.content)
    return list(found.values())


def _shared(work: Work, files: list[str]) -> Work:
    """A work as another process reads it; files of networks are added to `files`."""
    styles = tuple((name if _is_picture_file(name) else by_path(name, files), weight) for name, weight in work.styles)
    return replace(work, content=places.absolute(work.content), styles=styles)


def _is_picture_file(name: str) -> bool:
    return Path(name).suffix.lower() in images.EXTENSIONS and is_file(name)


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
    clear_marks(recipe.out)
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
    shared = _shared(work, [])
    return json.dumps([shared.content, shared.styles, shared.output, dict(shared.settings)])


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
