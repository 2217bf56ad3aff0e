"""The same batch over a Ray cluster: Ray Data hands out names, and each worker reads, paints and writes by itself.

Pictures never pass through the driver, nor through Ray's object store: rows hold names, and what came of them. A worker
loads its weights once. It writes its own file of the journal, so what was painted by a worker that died is known to the
one that does its rows again, and each picture comes out once.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

from impasto import device, errors, images
from impasto.batch import places
from impasto.batch.journal import FOLDER, Journal
from impasto.batch.painter import BatchPainter, Outcome, Saving, look_key
from impasto.batch.plan import Work
from impasto.batch.runner import Threads, paint_all
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.request import Request
from impasto.errors import InputError, StyleError, counted, plain, require

LOCAL = "local"
"""The address of a cluster that is started here, for this batch alone."""

_CONNECT_SECONDS = 3.0
_PAUSE = 0.2  # seconds between two looks at what the user asks for
_MOST_ROWS = 32  # that a worker takes at once
_SHARES = 4  # pieces of work for each worker at least, so that the last ones end together
_FATAL = "fatal"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is started here reports to nobody
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # retries would be told on standard output, among the results
}
"""Read by Ray when it is imported."""


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


@dataclass(frozen=True)
class Shape:
    """The workers of a cluster.

    Attributes:
        workers: at most.
        cpus, gpus: of each.
    """

    workers: int
    cpus: int
    gpus: int


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


def check_address(address: str) -> None:
    """Raise InputError where no cluster answers, without waiting for Ray's own many tries.

    Args:
        address: HOST:PORT, "auto" for the cluster of this machine, or "local".
    """
    if address in ("auto", LOCAL):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--ray is {plain(address)}", "it takes HOST:PORT, auto, or local")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"no Ray cluster answers at {plain(address)}: {reason}", "start one with ray start --head --port 6379"
        ) from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A cluster, for as long as the block lasts.

    Raises:
        InputError: none answers, or it runs another version of Ray or of Python.
        MissingExtra: Ray is not installed.
    """
    check_address(address)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = require("ray", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = plain(str(error)).split(". ")[0][:160]
        raise InputError(f"no Ray cluster can be used at {plain(address)}: {reason}", _START) from error
    try:
        yield
    finally:
        ray.shutdown()


_START = "start one with ray start --head, of the same versions of Python and Ray as here"


def shape_of(*, workers: int | None, threads: int | None) -> Shape:
    """The workers that the connected cluster has room for: one for each GPU, or for each node's processors.

    Args:
        workers: at most; None for as many as there is room for.
        threads: of each worker; None for the processors of the smallest node.
    """
    nodes = [node["Resources"] for node in _nodes() if node["Resources"].get("CPU")]
    if not nodes:
        raise InputError("the Ray cluster has no node with a processor", "start nodes with --num-cpus 1 or more")
    graphics = sum(int(node.get("GPU", 0)) for node in nodes)
    cpus = threads or (1 if graphics else min(int(node["CPU"]) for node in nodes))
    room = graphics or sum(int(node["CPU"]) // cpus for node in nodes)
    if not room:
        raise InputError(f"no node of the Ray cluster has {counted(cpus, 'processor')}", "give fewer --threads")
    return Shape(min(workers or room, room), cpus, 1 if graphics else 0)


def check_nodes(out: str | None = None, contents: Iterable[str] = ()) -> None:
    """Refuse nodes that lack Impasto, have another version, or do not see the files.

    Args:
        out: the folder of results, which is there; None where nodes write nothing.
        contents: some photographs.

    Raises:
        InputError: says which node, and what it lacks.
    """
    mine, sample = version("impasto"), [name for name in contents if not places.is_address(name)][:1]
    probe = None
    if out is not None and not places.is_address(out):
        probe = Path(out).absolute() / FOLDER / f"probe-{secrets.token_hex(4)}"
    if probe is not None:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    try:
        for host, theirs, seen, lost in _asked(probe, [places.absolute(name) for name in sample]):
            if theirs != mine:
                what = f"has impasto {theirs}, and this is {mine}" if theirs else "has no impasto"
                raise InputError(f"the node {host} {what}", f'pip install "impasto[ray]=={mine}" on each node')
            if not seen:
                hint = "give a folder that all nodes share, or an address such as s3://bucket/folder"
                raise InputError(f"the node {host} does not see the folder {plain(out)}", hint)
            if lost:
                hint = "put the photographs where all nodes see them, or name an address such as s3://bucket/folder"
                raise InputError(f"the node {host} does not see {plain(lost)}", hint)
    finally:
        if probe is not None:
            with suppress(OSError):
                probe.unlink()


def _asked(probe: Path | None, contents: Sequence[str]) -> list[tuple[str, str, bool, str]]:
    """Of each node: its name, its version of Impasto, whether it sees the results, and what photograph it does not."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(probe: str | None, contents: Sequence[str]) -> tuple[str, bool, str]:
        # a closure, which Ray sends by value: a node without Impasto can run it
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        try:
            found = version("impasto")
        except PackageNotFoundError:
            found = ""
        lost = [name for name in contents if not Path(name).exists()]
        return found, probe is None or Path(probe).exists(), lost[0] if lost else ""

    nodes = _nodes()
    remote = ray.remote(num_cpus=0, max_retries=1)(look)
    calls = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            None if probe is None else str(probe), list(contents)
        )
        for node in nodes
    ]
    answers = ray.get(calls)
    return [(node["NodeManagerHostname"], *answer) for node, answer in zip(nodes, answers, strict=True)]


def _nodes() -> list[dict[str, Any]]:
    """The nodes that answer."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


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
