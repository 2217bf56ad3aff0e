"""What takes minutes on a Ray cluster: a driver that is killed, ten thousand pictures, one worker against two.

`make test-scale` runs this; `make test` does not. Nothing here is timed but for what it prints.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster import Cluster
from impasto.device import cpu_name

PAINTING = "museum:436535"
SETTINGS = ("-q", "draft", "-s", PAINTING, "--format", "jpg", "--threads", "1")
MB = 1 << 20

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.process, pytest.mark.timeout(3600)]


def photographs(folder, count, side=24):
    """Small noisy JPEGs, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(count)
    for number in range(count):
        codes = generator.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(codes).save(folder / f"{number:05d}.jpg", quality=80)
    return folder


def start(*words):
    command = [sys.executable, "-m", "impasto", "batch", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(job):
    printed, told = job.communicate()
    assert job.returncode == 0, told
    return [json.loads(line) for line in printed.splitlines()]


def record(benchmark, **figures):
    """Print what was measured; also a row of the CSV that IMPASTO_SCALE_CSV names."""
    from impasto.bench.results import append_csv, commit

    row = {"commit": commit(), "cpu": cpu_name(), "processors": os.cpu_count(), "benchmark": benchmark, **figures}
    print(json.dumps(row))
    if path := os.environ.get("IMPASTO_SCALE_CSV"):
        append_csv(Path(path), row)


def peak_of(job):
    """The most memory that a process has held, in bytes, once it has ended."""
    most = 0
    while job.poll() is None:
        try:
            status = Path(f"/proc/{job.pid}/status").read_text()
        except OSError:
            break
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        most = max(most, 1024 * int(found[1])) if found else most
        time.sleep(0.2)
    return most


def results(out):
    return {path.name for path in out.glob("*.jpg")}


def rates_of(out):
    """Pictures a second of each worker from its first to its last, by the journal: without starting and stopping."""
    rates = []
    for path in (out / ".batch").glob("*.jsonl"):
        stamps = sorted(json.loads(line)["at"] for line in path.read_text().splitlines())
        rates.append(np.polyfit(stamps, np.arange(len(stamps)), 1)[0])  # pictures of one pass come in one moment
    return rates


def processor_seconds(pids):
    """Of processes that live, in all their threads."""
    seconds = {}
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds[pid] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


@dataclass(frozen=True)
class Run:
    """What one batch reached.

    Attributes:
        pictures_per_second: of all workers together.
        worker_seconds: of the processor, a picture.
        other_seconds: those that the command and all of the cluster's other processes take.
    """

    pictures_per_second: float
    worker_seconds: float
    other_seconds: float


@contextmanager
def confined(pids, processors):
    """Processes, with their threads and what they start, and what this process starts, on some processors alone."""
    before = os.sched_getaffinity(0)
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), processors)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_of(cluster, folder, out, workers):
    """One batch on as many processors as workers, measured from the first sixth of its pictures to the last."""
    count = len(list(folder.iterdir()))
    with confined(cluster.processes(""), sorted(os.sched_getaffinity(0))[:workers]):
        job = start(folder, *SETTINGS, "-o", out, "--ray", cluster.address, "--workers", workers)
    marks = []
    for wanted in (count // 6, count - count // 6):
        while (done := len(results(out))) < wanted and job.poll() is None:
            time.sleep(0.1)
        own = processor_seconds(cluster.processes("ray::MapWorker"))
        marks.append((done, own, processor_seconds([job.pid, *cluster.processes("")])))
    _, told = job.communicate()
    assert job.returncode == 0, told
    assert f"{count} painted" in told
    assert len(results(out)) == count
    (before, own, everything), (after, own_later, everything_later) = marks
    painting = sum(own_later.values()) - sum(own.values())
    total = sum(seconds - everything.get(pid, 0.0) for pid, seconds in everything_later.items())
    each = rates_of(out)
    assert len(each) == workers
    run = Run(sum(each), painting / (after - before), (total - painting) / (after - before))
    record("workers", pictures=count, workers=workers, **asdict(run))
    return run


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")
def test_two_processors_paint_twice_what_one_does(tmp_path):
    """A node of one processor, which paints and does the work of Ray and of the command as well, against two of them:
    with one worker on two processors, the second would do that work for nothing.
    """
    folder, runs = photographs(tmp_path / "in", 160, side=256), []
    for number, nodes in enumerate((1, 2, 1)):
        with Cluster(nodes) as cluster:
            runs.append(run_of(cluster, folder, tmp_path / f"out{number}", nodes))
    assert results(tmp_path / "out0") == results(tmp_path / "out1") == results(tmp_path / "out2")
    first, both, last = runs
    rate = (first.pictures_per_second + last.pictures_per_second) / 2
    alone = sum(run.worker_seconds + run.other_seconds for run in (first, last)) / 2
    shares = {
        "share": both.pictures_per_second / (2 * rate),
        "processor_share": alone / (both.worker_seconds + both.other_seconds),
    }
    record("two processors against one", pictures=160, workers=2, **shares)


def test_a_driver_that_is_killed_goes_on_where_it_was(cluster, tmp_path):
    folder, out = photographs(tmp_path / "in", 300), tmp_path / "out"
    words = (folder, *SETTINGS, "-o", out, "--ray", cluster.address, "--json")
    for wanted in (20, 120):
        job = start(*words)
        until = time.monotonic() + 900
        while len(results(out)) < wanted and job.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGKILL)
        job.communicate()
    before = {name: (out / name).stat().st_mtime_ns for name in results(out)}
    statuses = [line["status"] for line in finished(start(*words))[:-1]]
    assert len(statuses) == 300
    assert statuses.count("kept") >= len(before) - 1  # all that the journal had a line of
    assert len(results(out)) == 300
    assert not list(out.rglob("*.tmp"))


def test_the_driver_takes_no_more_memory_for_ten_thousand_pictures(cluster, tmp_path):
    peaks = {}
    for count in (100, int(os.environ.get("IMPASTO_SCALE_PICTURES", "10000"))):
        folder, out = photographs(tmp_path / f"in{count}", count), tmp_path / f"out{count}"
        with (tmp_path / "told").open("w") as told:
            command = [sys.executable, "-m", "impasto", "batch", folder, *SETTINGS, "-o", out, "--ray", cluster.address]
            started = time.monotonic()
            job = subprocess.Popen([*map(str, command), "--quiet"], stdout=told, stderr=told)
            peaks[count] = peak_of(job)
        assert job.returncode == 0, (tmp_path / "told").read_text()[-2000:]
        assert len(results(out)) == count
        rate = count / (time.monotonic() - started)
        record("driver", pictures=count, workers=2, pictures_per_second=rate, driver_mb=peaks[count] / MB)
    few, many = peaks.values()
    assert many - few < 100 * MB


def test_a_film_is_painted_shot_by_shot_also_where_a_worker_dies(cluster, tmp_path):
    from impasto.videos import VideoReader, VideoWriter

    with VideoWriter(tmp_path / "film.mp4", rate=25) as writer:
        for shot in range(4):
            wide = np.random.default_rng(shot).random((12, 60, 3)).astype(np.float32).repeat(8, 0).repeat(8, 1)
            for index in range(40):
                writer.write(np.ascontiguousarray(wide[:, index : index + 128]))
    words = (tmp_path / "film.mp4", "-s", PAINTING, "--temporal", "fast", "--method", "adain")
    command = [sys.executable, "-m", "impasto", "video", *words, "-o", tmp_path / "out.mp4", "--threads", "1"]
    job = subprocess.Popen(
        [*map(str, command), "--ray", cluster.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 900
    while not (killed := cluster.processes("ray::PartPainter")) and job.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    for pid in killed[:1]:
        os.kill(pid, signal.SIGKILL)
    _, told = job.communicate()
    assert job.returncode == 0, told
    assert killed
    assert "4 parts, at cuts, for 2 workers" in told
    assert len(list(VideoReader(tmp_path / "out.mp4"))) == 160
    assert not list(tmp_path.glob(".*impasto"))
