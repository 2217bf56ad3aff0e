"""A Ray cluster: reached by its address, asked what it has room for, and whether its nodes can paint."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from impasto.engine.request import Request
from impasto.errors import InputError, counted, plain, require
from impasto.files import is_file, is_folder
from impasto.methods import registry
from impasto.settings import with_files

LOCAL = "local"
"""The address of a cluster that is started here, for one job alone."""

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 15.0
_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # what `ray health-check` calls
_START = "start one with ray start --head --port 6379, of the same versions of Python and Ray as here"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is started here reports to nobody
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # or threads of Ray Serve that outlive us would start a cluster of their own
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # retries would be told on standard output, among the results
    "RAY_DATA_LOG_LEVEL": "ERROR",  # it tells of its plan and its progress
}
"""Read by Ray when it is imported."""


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
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"no Ray cluster answers at {plain(address)}: {reason}", _START) from error
    if not address.startswith("ray://") and os.environ.get("RAY_USE_TLS", "0") == "0" and not _is_ray(address):
        raise InputError(f"what answers at {plain(address)} is no Ray cluster", _START)


def _is_ray(address: str) -> bool:
    """Whether a cluster's head answers there: Ray itself would try for minutes to find out."""
    grpc = require("grpc", "ray")
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_ALIVE)(b"", timeout=_ANSWER_SECONDS)
        except grpc.RpcError as error:  # another refusal, such as of who has no key, is Ray's
            other = grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
            return error.code() not in other
    return True


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
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        with _muted():
            ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = plain(str(error)).split(". ")[0][:160]
        where = "on this machine" if address in ("auto", LOCAL) else f"at {plain(address)}"
        raise InputError(f"no Ray cluster can be used {where}: {reason}", _START) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _muted() -> Iterator[None]:
    """Keep off standard error what Ray's native part says of itself as it starts, before it knows its own log level."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no standard error
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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


def check_nodes(folder: Path | None = None, files: Sequence[str] = ()) -> None:
    """Refuse nodes that lack Impasto, have another version, or do not see the files.

    Args:
        folder: that all write into, which is there; None where nodes write nothing.
        files: paths that all have to see.

    Raises:
        InputError: says which node, and what it lacks.
    """
    mine = version("impasto")
    probe = None if folder is None else folder.absolute() / f".probe-{secrets.token_hex(4)}"
    if probe is not None:
        probe.touch()
    try:
        for host, theirs, seen, lost in _asked(probe, files):
            if theirs != mine:
                what = f"has impasto {theirs}, and this is {mine}" if theirs else "has no impasto"
                raise InputError(f"the node {host} {what}", f'pip install "impasto[ray]=={mine}" on each node')
            if not seen:
                hint = "give a folder that all nodes share, or an address such as s3://bucket/folder"
                raise InputError(f"the node {host} does not see the folder {plain(folder)}", hint)
            if lost:
                hint = "put it where all nodes see it, under the same path"
                raise InputError(f"the node {host} does not see {plain(lost)}", hint)
    finally:
        if probe is not None:
            with suppress(OSError):
                probe.unlink()


def by_path(word: Any, files: list[str], *, folders: bool = False) -> Any:
    """What a worker elsewhere has to be given for a word: a file's path from the root, whose place adds to `files`.

    Args:
        word: FILE, FILE:STYLE or NAME:FILE; what names no file is given back as it is.
        files: paths that all nodes have to see.
        folders: whether a folder counts, too.
    """
    if not isinstance(word, str | Path):
        return word
    text = str(word)
    head, colon, tail = text.rpartition(":")
    kind, _, rest = text.partition(":")
    for before, name, after in (("", text, ""), ("", head, colon + tail), (f"{kind}:", rest, "")):
        if name and (is_file(name) or (folders and is_folder(name))):
            files.append(str(Path(name).absolute()))
            return before + files[-1] + after
    return word


def request_by_paths(request: Request, files: list[str]) -> Request:
    """A request whose masks, image to start from and networks are named as `by_path` does."""
    controls, start, knobs = request.controls, request.init, dict(request.knobs)
    for row in registry.BUILT_IN:
        knobs = with_files(row.load_knobs(), knobs, lambda name: str(by_path(name, files, folders=True)))
    return replace(
        request,
        init=by_path(start, files) if isinstance(start, str | Path) and Path(start).suffix else start,
        knobs=knobs,
        controls=replace(
            controls,
            regions=tuple((by_path(mask, files), by_path(style, files)) for mask, style in controls.regions),
            preserve=by_path(controls.preserve, files),
            strength_map=by_path(controls.strength_map, files),
        ),
    )


def _asked(probe: Path | None, files: Sequence[str]) -> list[tuple[str, str, bool, str]]:
    """Of each node: its name, its version of Impasto, whether it sees the folder, and what file it does not."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look(probe: str | None, files: Sequence[str]) -> tuple[str, bool, str]:
        # a closure, which Ray sends by value: a node without Impasto can run it
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        try:
            found = version("impasto")
        except PackageNotFoundError:
            found = ""
        lost = [name for name in files if not Path(name).exists()]
        return found, probe is None or Path(probe).exists(), lost[0] if lost else ""

    nodes = _nodes()
    remote = ray.remote(num_cpus=0, max_retries=1)(look)
    calls = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            None if probe is None else str(probe), list(files)
        )
        for node in nodes
    ]
    answers = ray.get(calls)
    return [(node["NodeManagerHostname"], *answer) for node, answer in zip(nodes, answers, strict=True)]


def _nodes() -> list[dict[str, Any]]:
    """The nodes that answer."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
