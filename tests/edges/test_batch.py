"""`impasto batch` as a person runs it: folders, manifests, watched folders, and what cannot be."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from impasto.batch import manifest
from impasto.cli.console import Reporter
from impasto.cli.parse import parse_style
from impasto.errors import Cancelled, ResourceError

PAINTING, OTHER = "museum:436535", "museum:436528"
QUICK = ("-q", "draft", "--size", "48", "-s", PAINTING)


@pytest.fixture
def folder(tmp_path, picture_file):
    """Three photographs in a tree, one of them broken."""
    for name in ("in/a.png", "in/sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture_file(name, seed=len(name))
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0no picture")
    return tmp_path


def test_a_folder_is_painted_but_for_what_is_broken(outcome, folder):
    out, table = folder / "out", folder / "table.csv"
    first = outcome("batch", folder / "in", *QUICK, "-o", out, "--manifest", table)
    assert first.code == 6, first.err
    assert "1 of 3 pictures failed" in first.err
    assert "2 painted, 1 failed" in first.err
    painted = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert (
        painted
        == sorted(first.out.split())
        == ["a-wheat-field-with-cypresses.png", "sub/b-wheat-field-with-cypresses.png"]
    )
    rows = {row.content: row for row in manifest.read(table, parse_style)}
    assert len(rows) == 3
    assert "damaged" in table.read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    again = outcome("batch", folder / "in", *QUICK, "-o", out, "--json")
    told = [json.loads(line) for line in again.out.splitlines()]
    assert sorted(line["status"] for line in told[:-1]) == ["failed", "kept", "kept"]
    assert told[-1]["summary"]["kept"] == 2
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before


@pytest.mark.usefixtures("pointing")
def test_points_are_places_of_each_picture(outcome, tmp_path, picture_file):
    """By percent in all; by pixels in those that have them."""
    (tmp_path / "in").mkdir()
    picture_file("in/large.png", seed=1)
    picture_file("in/small.png", width=32, seed=2)
    both = outcome(
        "batch", tmp_path / "in", "-q", "draft", "--region", f"point 50%,50%={PAINTING}", "-o", tmp_path / "a"
    )
    assert both.code == 0, both.err
    assert len(both.out.split()) == 2
    one = outcome("batch", tmp_path / "in", "-q", "draft", "--region", f"point 40,9={PAINTING}", "-o", tmp_path / "b")
    assert one.code == 6
    assert "40,9 lies outside the picture, which has 32x48 px" in one.err
    assert one.out.split()[0].startswith("large")


def test_a_manifest_that_was_written_says_what_to_paint(outcome, run, folder):
    table, out = folder / "table.jsonl", folder / "out"
    lines = [
        {"content": str(folder / "in/a.png"), "style": OTHER, "knobs": {"strength": 0.5}, "result": "x/half.jpg"},
        {"content": str(folder / "in/sub/b.png"), "knobs": {"size": 32}},
        {"content": str(folder / "in/sub/b.png"), "style": "xqzv wkjh", "result": "c.png"},
        {"content": str(folder / "in/a.png"), "knobs": {"strength": 3}, "result": "d.png"},
        {"content": str(folder / "in/gone.png"), "result": "e.png"},
    ]
    table.write_text("\n".join(map(json.dumps, lines)))
    done = outcome("batch", "--from", table, *QUICK, "-o", out, "--manifest", folder / "done.jsonl")
    assert done.code == 6, done.err
    rows = [json.loads(line) for line in (folder / "done.jsonl").read_text().splitlines()]
    errors = {row["result"]: row["error"] for row in rows}
    assert errors.pop("x/half.jpg") == errors.pop("b-wheat-field-with-cypresses.png") == ""
    assert "xqzv wkjh" in errors["c.png"]
    assert "--strength is 3" in errors["d.png"]
    assert "gone.png does not exist" in errors["e.png"]
    (folder / "done.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows if not row["error"]))
    assert run("batch", "--from", folder / "done.jsonl", *QUICK, "-o", out) == ""  # all is done


def test_a_manifest_that_cannot_be_written_ends_the_batch_and_its_threads(outcome, folder, monkeypatch):
    raised = []

    def fail(*_, **__):
        raised.append(ResourceError("the disk is full", "free some"))
        raise raised[0]  # which is kept, and what it came through with it

    monkeypatch.setattr(manifest.Writer, "add", fail)
    done = outcome("batch", folder / "in", *QUICK, "-o", folder / "out", "--manifest", folder / "table.csv")
    assert (done.code, "the disk is full" in done.err) == (5, True)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("impasto-read", "impasto-write"))]


def test_each_style_by_itself_or_their_mixture(run, folder, picture_file):
    (folder / "in/broken.jpg").unlink()
    both = (*QUICK, "-s", picture_file("other.png", seed=3))
    told = run("batch", folder / "in/a.png", *both, "--each-style", "-o", folder / "out").split()
    assert told == ["a-wheat-field-with-cypresses.png", "a-other.png"]
    mixed = run("batch", folder / "in/a.png", *both, "-o", folder / "out").split()
    assert mixed == ["a-wheat-field-with-cypresses-and-other.png"]


def test_a_dry_run_paints_nothing_and_names_what_cannot_be_painted(outcome, run, folder):
    words = ("batch", folder / "in", *QUICK, "-o", folder / "out", "--dry-run")
    dry = outcome(*words, "--json")
    told = json.loads(dry.out)
    assert (dry.code, told["pictures"], told["kept"], told["looked_at"]) == (6, 3, 0, 3)
    assert told["seconds"] > 0
    assert told["bytes"] > 0
    assert [Path(one["content"]).name for one in told["failing"]] == ["broken.jpg"]
    assert f"error: {folder}/in/broken.jpg is damaged" in dry.err
    assert "1 of the 3 photographs looked at cannot be painted" in dry.err
    assert not (folder / "out").exists()
    (folder / "in/broken.jpg").unlink()
    assert "2 pictures to paint" in run(*words)


def test_a_watched_folder_waits_for_what_is_still_written(outcome, folder, monkeypatch):
    source, out = (folder / "in/a.png").read_bytes(), folder / "out"
    (folder / "in/broken.jpg").unlink()
    late = folder / "in/sub/late.png"
    expected = out / "sub/late-wheat-field-with-cypresses.png"
    whole, until = Reporter.__call__, time.monotonic() + 600

    def call(self, report):
        if expected.exists() or time.monotonic() > until:
            raise Cancelled("stopped")
        whole(self, report)

    def write_slowly():
        while not (out / "a-wheat-field-with-cypresses.png").exists() and time.monotonic() < until:
            time.sleep(0.05)
        with late.open("wb") as file:
            for start in range(0, len(source), len(source) // 3):
                file.write(source[start : start + len(source) // 3])
                file.flush()
                time.sleep(0.4)

    monkeypatch.setattr(Reporter, "__call__", call)
    writer = threading.Thread(target=write_slowly)
    writer.start()
    done = outcome("batch", folder / "in", *QUICK, "-o", out, "--watch", "--json")
    writer.join()
    assert done.code == 130, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert told[-1]["summary"]["failed"] == 0, done.out
    assert expected.exists()


def test_what_is_being_written_when_watching_starts_is_waited_for(outcome, folder, monkeypatch):
    (folder / "in/broken.jpg").unlink()
    half, whole = folder / "in/half.png", (folder / "in/a.png").read_bytes()
    half.write_bytes(whole[:60])
    os.utime(half, (time.time() + 60, time.time() + 60))  # still written into, however long the start takes
    until, report = time.monotonic() + 600, Reporter.__call__

    def call(self, progress):
        if (folder / "out/half-wheat-field-with-cypresses.png").exists() or time.monotonic() > until:
            raise Cancelled("stopped")
        if progress.stage == "watching" and half.stat().st_size == 60:
            half.write_bytes(whole)
        report(self, progress)

    monkeypatch.setattr(Reporter, "__call__", call)
    done = outcome("batch", folder / "in", *QUICK, "-o", folder / "out", "--watch", "--json")
    assert json.loads(done.out.splitlines()[-1])["summary"]["failed"] == 0, done.out
    assert '"status": "failed"' not in done.out
    assert (folder / "out/half-wheat-field-with-cypresses.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "OUT"), "no photographs were given"),
        (("IN",), "no folder for the results"),
        (("IN", "-o", "OUT"), "no style was given"),
        (("IN", "-s", PAINTING, "-o", "out.png"), "cannot go into one file"),
        (("IN", "-s", PAINTING, "-o", "IN"), "in is, or lies in, the folder for the results"),
        (("IN", "-s", PAINTING, "-o", "IN", "--watch"), "in is, or lies in, the folder for the results"),
        (("IN", "-s", PAINTING, "-o", "http://host/out"), "is an address"),
        (("http://host/in", "-s", PAINTING, "-o", "OUT"), "is an address"),
        (("nothing/", "-s", PAINTING, "-o", "OUT"), "does not exist"),
        (("IN", "-s", "xqzv wkjh", "-o", "OUT"), "xqzv wkjh"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--each-style"), "--each-style needs several"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--from", "x.csv"), "--from and photographs"),
        (("--from", "x.csv", "-s", PAINTING, "-o", "OUT", "--watch"), "--from and --watch"),
        (("--from", "x.csv", "-s", PAINTING, "-o", "OUT"), "x.csv does not exist"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--manifest", "x.txt"), "--manifest is x.txt"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--manifest", "no/x.csv"), "there is no folder"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--manifest", "no/x.csv", "--dry-run"), "make it, or choose another"),
        (("IN/a.png", "-s", PAINTING, "-o", "OUT", "--watch"), "cannot be watched"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--strength", "2"), "--strength is 2"),
        (("IN", "-s", PAINTING, "-o", "OUT", "--format", "doc"), "not a format"),
    ],
)
def test_what_cannot_be_is_told_in_two_lines(refused, folder, words, message, monkeypatch):
    monkeypatch.chdir(folder)
    assert message in refused("batch", *(word.replace("IN", "in").replace("OUT", "out") for word in words))


def test_two_rows_for_one_result_are_refused(refused, folder):
    (folder / "rows.csv").write_text("content,result\na.jpg,x.png\nb.jpg,X.png\n")
    told = refused("batch", "--from", folder / "rows.csv", "-s", PAINTING, "-o", folder / "out")
    assert "a.jpg and b.jpg would both become X.png" in told


def test_a_second_batch_into_one_folder_is_refused(outcome, folder):
    from filelock import FileLock

    (folder / "out").mkdir()
    with FileLock(folder / "out/.lock"):
        done = outcome("batch", folder / "in", *QUICK, "-o", folder / "out")
    assert done.code == 2
    assert "another process is writing into" in done.err
