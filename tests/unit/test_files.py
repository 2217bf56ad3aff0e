"""The one atomic writer, and that everything which is written goes through it."""

import ast
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import impasto
from impasto import files
from impasto.errors import Cancelled, InputError, ResourceError

ROOT = Path(impasto.__file__).parent


def held(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced_with_its_permissions(tmp_path):
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        files.write_whole(path, "grün")
    finally:
        os.umask(before)
    assert path.read_bytes() == "grün".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # as any new file
    path.chmod(0o600)
    files.write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert held(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Cancelled, SystemExit])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    files.write_whole(path, "old")
    with pytest.raises(error), files.whole(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".tmp"
        raise error("stopped")
    assert path.read_text() == "old"
    assert held(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_is_a_resource_error_at_every_step(tmp_path, monkeypatch, number, step):
    def full(*_arguments, **_named):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.txt"
    files.write_whole(path, "old")
    monkeypatch.setattr(
        *{"write": (Path, "write_bytes"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full
    )
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        files.write_whole(path, "new")
    assert "disk space" in caught.value.hint
    assert path.read_text() == "old"
    assert held(tmp_path) == ["a.txt"]


def test_a_device_that_is_full_or_a_link_to_one(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(ResourceError):
        files.write_whole(Path("/dev/full"), b"x" * 100_000)
    (tmp_path / "link").symlink_to("/dev/null")
    files.write_whole(tmp_path / "link", "nothing")
    assert Path("/dev/null").is_char_device()
    assert held(tmp_path) == ["link"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "a.txt")
    files.write_whole(tmp_path / "link.txt", "through")
    assert (tmp_path / "there" / "a.txt").read_text() == "through"
    assert (tmp_path / "link.txt").is_symlink()


@pytest.mark.parametrize("place", ["missing/a.txt", "folder"])
def test_a_place_that_takes_no_file(tmp_path, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        files.write_whole(tmp_path / place, "x")
    assert held(tmp_path) == ["folder"]


def test_contents_and_name_are_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace

    def synced(number):
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def renamed(path, target):
        done.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_whole(tmp_path / "a.txt", "x")
    assert done == ["file", "name", "folder"]
    made = tmp_path / "made"
    made.mkdir()
    for name in "ab":
        (made / name).write_text(name)
    del done[:]
    files.publish(made, tmp_path / "final")
    assert done == ["file", "file", "name", "folder"]


KILLED = """
import os, signal, sys
from pathlib import Path
from impasto import files
def kill(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "write":
    with files.whole(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(b"new" * 1000)
        kill()
elif sys.argv[2] == "sync":
    os.fsync = kill
    files.write_whole(Path(sys.argv[1]), b"new")
else:
    os.replace = Path.replace = Path.rename = os.rename = kill
    files.write_whole(Path(sys.argv[1]), b"new")
"""


@pytest.mark.process
@pytest.mark.parametrize("when", ["write", "sync", "rename"])
def test_killed_in_the_middle_the_old_file_is_whole(tmp_path, when):
    path = tmp_path / "a.txt"
    path.write_text("old")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, path, when], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(held(tmp_path)) == 2  # what no process can take away when it is killed
    files.open_folder(tmp_path)
    assert held(tmp_path) == ["a.txt"]


def write_network(path):
    from impasto.models import checkpoint

    checkpoint.write(path, {"a": torch.zeros(100_000)}, {})


def write_snapshot(path):
    from impasto.engine.snapshots import Snapshots

    Snapshots(path.parent)._store({"a": torch.zeros(100_000)}, {})


def write_film_state(path):
    from impasto.video.resume import FilmFolder
    from impasto.videos import Segment

    folder = FilmFolder(path, "fingerprint", resume=False)
    folder._make()
    folder.add(Segment(folder.next_path(), 0, 1), {"a": np.zeros(100_000)}, done=False)


@pytest.mark.process
@pytest.mark.parametrize("write", [write_network, write_snapshot, write_film_state])
def test_whoever_writes_says_so_when_the_disk_is_really_full(small_disk, write):
    with pytest.raises(ResourceError, match="cannot be written"):
        write(small_disk / "out")
    assert [path for path in small_disk.rglob("*") if path.is_file() and path.name != "plan.json"] == []


# where files are opened to be written: in a temporary path that the writer lends, a fetch's work folder, or a device
OPENED = {
    "files.py",
    "assets/_store.py",
    "assets/_download.py",
    "batch/journal.py",  # appends, and has each line on the disk
    "batch/manifest.py",  # tells row by row what came of each picture
    "batch/places.py",  # beside, then renamed
    "export/web/__init__.py",  # in a folder beside, which is renamed whole
    "runtimes/openvino.py",  # tries whether a folder takes files
    "scenes/files.py",  # an archive, into a temporary folder
    "serve/films.py",  # a video that a client has sent, while it is looked at
    "serve/store.py",  # an archive, into what `whole` gives
    "train/_run.py",
    "video/resume.py",
    "videos/_device.py",
    "videos/_write.py",
}
WRITERS = {"write_bytes", "write_text", "mkstemp", "NamedTemporaryFile", "fsync"}


def test_nobody_writes_but_by_the_atomic_writer():
    broken = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if name in OPENED or not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            modes = {one.value for one in node.args if isinstance(one, ast.Constant)}
            if node.func.attr in WRITERS or (node.func.attr == "open" and modes & {"w", "wb", "x", "xb"}):
                broken.append(f"{name}:{node.lineno} {node.func.attr}")
    assert broken == []
