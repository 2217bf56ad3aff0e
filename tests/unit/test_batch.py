"""Batches: what is planned, what counts as done, what a manifest may say, and that one failure stops nobody else."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto import device, images
from impasto.batch import cluster, manifest, places
from impasto.batch.cluster import photographs_to_check
from impasto.batch.journal import Journal
from impasto.batch.painter import MOST_ON_DEVICE, BatchPainter
from impasto.batch.plan import Photograph, Plan, Work, check_outputs, find_photographs, photographs_of
from impasto.batch.runner import Threads, paint_all
from impasto.bench import batch as bench
from impasto.cli.parse import parse_style
from impasto.contract import Progress
from impasto.engine.cluster import by_path, request_by_paths
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import AssetError, Cancelled, InputError, ResourceError

STYLES = (("style.png", 1.0),)
THREADS = Threads()


def plan_of(looks=(STYLES,), ending=".png"):
    return Plan(looks, label_of=lambda name: Path(name).stem, ending=ending)


def photographs(*names):
    return [Photograph(name, str(Path(name).parent) if "/" in name else "") for name in names]


# --- plan ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "in/b.jpg",
        "in/a.PNG",
        "in/.hidden.jpg",
        "in/notes.txt",
        "in/sub/c.jpg",
        "in/.git/d.jpg",
        "in/out/e.jpg",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def test_a_folder_gives_its_pictures_in_order_and_not_its_results(tree):
    found = list(find_photographs(["in"], out="in/out"))
    assert found == [Photograph("in/a.PNG"), Photograph("in/b.jpg"), Photograph("in/sub/c.jpg", "sub")]


def test_a_pattern_keeps_the_tree_below_its_first_wildcard(tree):
    assert list(find_photographs(["in/**/*.jpg"], out="in/out")) == [
        Photograph("in/b.jpg"),
        Photograph("in/sub/c.jpg", "sub"),
    ]
    assert list(find_photographs(["in/s*/c.jpg"], out="out")) == [Photograph("in/sub/c.jpg", "sub")]


def test_several_folders_have_branches_of_their_names_and_a_picture_comes_once(tree):
    found = list(find_photographs(["in/sub", "in", "in/b.jpg"], out="in/out"))
    assert [(each.name, each.branch) for each in found] == [
        ("in/sub/c.jpg", "sub"),
        ("in/a.PNG", "in"),
        ("in/b.jpg", "in"),
    ]


def test_folders_that_are_called_alike_have_branches_that_differ(tree):
    for name in ("a/in/b.jpg", "a/c/in/b.jpg", "c/in/b.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    found = list(find_photographs(["a/in", "a/c/in", "c/in", "in/sub", "in/sub/"], out="out"))
    assert [each.branch for each in found] == ["a/in", "a/c/in", f"{tree.name}/c/in", "sub"]
    assert len(plan_of().add(found)) == 4
    (watched,) = photographs_of(["a/c/in/b.jpg"], ["a/in", "a/c/in"])
    assert watched.branch == "c/in"


def test_a_branch_leads_out_of_no_folder(tree, monkeypatch):
    monkeypatch.chdir("in/sub")
    found = list(find_photographs([".", "../../in/"], out="../out"))
    assert [(each.name, each.branch) for each in found] == [
        ("c.jpg", "sub"),
        ("../../in/a.PNG", "in"),
        ("../../in/b.jpg", "in"),
        ("../../in/sub/c.jpg", "in/sub"),
    ]


@pytest.mark.parametrize("item", ["nothing", "in/*.gif", "in/.git/../nothing.jpg"])
def test_what_gives_no_picture_is_told(tree, item):
    with pytest.raises(InputError):
        list(find_photographs([item], out="out"))


def test_a_pipe_is_no_photograph(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"pipe.jpg is no file"):
        list(find_photographs([str(tmp_path / "pipe.jpg")], out=str(tmp_path / "out")))


def test_results_are_named_by_photograph_and_style_in_the_tree():
    looks = [STYLES, (("irises", 2.0), ("wheat field", 1.0))]
    works = plan_of(looks).add(photographs("sub/a.jpg"))
    assert [work.output for work in works] == ["sub/a-style.png", "sub/a-irises-and-wheat-field.png"]


def test_photographs_that_differ_in_their_ending_alone_keep_it():
    works = plan_of().add(photographs("a.jpg", "A.png", "b.jpg"))
    assert [work.output for work in works] == ["a-jpg-style.png", "A-png-style.png", "b-style.png"]


def test_two_photographs_for_one_name_are_refused():
    with pytest.raises(InputError, match=r"x/a.jpg and y/a.jpg would both become a-jpg-style.png"):
        plan_of().add([Photograph("x/a.jpg"), Photograph("y/a.jpg")])


def test_what_was_planned_before_keeps_its_name():
    plan = plan_of()
    first = plan.add(photographs("a.jpg"))
    assert plan.add(photographs("a.jpg", "a.png"))[0] == first[0]
    assert plan.add(photographs("a.jpg")) == first


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40), unique=True))
def test_names_are_legal_and_differ_or_are_refused(stems):
    try:
        works = plan_of().add([Photograph(f"{number}/{stem}.jpg") for number, stem in enumerate(stems)])
    except InputError:
        return
    outputs = [work.output.lower() for work in works]
    assert len(set(outputs)) == len(stems)
    assert all("/" not in name and len(name.encode()) <= 255 for name in outputs)


def test_a_result_that_is_an_input_is_refused_also_by_a_link(tmp_path, picture_file):
    picture = picture_file("a.png")
    os.link(picture, tmp_path / "b.png")
    with pytest.raises(InputError, match="is an input"):
        check_outputs([Work(str(picture), STYLES, "b.png")], str(tmp_path))


# --- manifests -------------------------------------------------------------------------------------------------------


def rows(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return manifest.read(tmp_path / name, parse_style)


def test_csv_and_json_lines_say_the_same(tmp_path):
    cells = '["irises:2", "wheat:1"]'.replace('"', '""')
    one = rows(
        tmp_path, "a.csv", f'content,style,knobs,result\na.jpg,"{cells}",strength=0.5 size=80,x/a.png\nb.jpg,,,\n'
    )
    values = {"content": "a.jpg", "style": ["irises:2", "wheat:1"], "knobs": {"strength": "0.5", "size": "80"}}
    lines = [{**values, "result": "x/a.png"}, {"content": "b.jpg"}]
    two = rows(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert [(r.content, r.styles, r.settings, r.result) for r in one] == [
        (r.content, r.styles, r.settings, r.result) for r in two
    ]
    assert one[0].styles == (("irises", 2.0), ("wheat", 1.0))
    assert one[1].styles == ()


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_what_is_written_can_be_read(tmp_path, name):
    work = Work('a, "b".jpg', (("irises", 2.0), ("x:y", 1.0)), "sub/a.png", {"strength": 0.5})
    with manifest.Writer(tmp_path / name) as table:
        table.add(work, seconds=1.25)
        table.add(Work("c.jpg", STYLES, "c.png"), seconds=None, error="it is\nbroken")
    first, second = manifest.read(tmp_path / name, parse_style)
    assert (first.content, first.styles, first.settings, first.result) == (
        work.content,
        work.styles,
        work.settings,
        work.output,
    )
    assert (second.content, second.styles) == ("c.jpg", STYLES)
    assert len((tmp_path / name).read_text().splitlines()) == (3 if name == "out.csv" else 2)


@pytest.mark.parametrize(
    ("name", "odd"), [("out.csv", "a\nb\t.jpg"), ("out.jsonl", "a\nb\t.jpg"), ("out.jsonl", "no text \udcff\udcfe.jpg")]
)
def test_names_of_any_kind_are_written_as_they_are(tmp_path, name, odd):
    with manifest.Writer(tmp_path / name) as table:
        table.add(Work(odd, STYLES, "x.png"), seconds=1.0)
    assert [row.content for row in manifest.read(tmp_path / name, parse_style)] == [odd]


def test_csv_shows_where_a_name_is_no_text(tmp_path):
    with manifest.Writer(tmp_path / "out.csv") as table:
        table.add(Work("\udcff.jpg", STYLES, "x.png"), seconds=1.0)
    assert [row.content for row in manifest.read(tmp_path / "out.csv", parse_style)] == ["?.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "content,stlye\na.jpg,x\n", "unknown column 'stlye'"),
        ("a.csv", "style\nx\n", "no column content"),
        ("a.csv", "content;style\na.jpg;x\n", "unknown column 'content;style'"),
        ("a.csv", "content,content\na.jpg,b.jpg\n", "two columns content"),
        ("a.csv", "content\n", "no rows"),
        ("a.csv", "content\na.jpg,b\n", "too many columns"),
        ("a.csv", 'content\n"a\n', "cannot be read"),
        ("a.csv", "content,style\na.jpg,[x\n", "has the style"),
        ("a.csv", "content,knobs\na.jpg,strength\n", "has the knobs"),
        ("a.csv", "content,result\na.jpg,../a.png\n", "has the result"),
        ("a.csv", "content,result\na.jpg,/etc/a.png\n", "has the result"),
        ("a.csv", "content,result\na.jpg,s3://b/a.png\n", "has the result"),
        ("a.csv", "content,result\na.jpg,a.doc\n", "line 2 of .* has the result 'a.doc'"),
        ("a.csv", "content,result\na.jpg,a.gif\n", "writes no such format"),
        ("a.csv", "content,result\na.jpg,a\n", "writes no such format"),
        ("a.csv", "content\n\n,\n", "too many columns"),
        ("a.jsonl", '{"content": 3}', "names no content"),
        ("a.jsonl", '["a.jpg"]', "not a JSON object"),
        ("a.jsonl", '{"content": "a.jpg"', "not a JSON object"),
        ("a.jsonl", '{"content": "a.jpg", "style": 3}', "has the style"),
        ("a.jsonl", '{"content": "a.jpg", "who": 3}', "unknown column"),
        ("a.txt", "a.jpg", "from is"),
    ],
)
def test_a_manifest_that_cannot_be_says_why(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as raised:
        rows(tmp_path, name, text)
    assert raised.value.hint


def test_a_manifest_that_is_no_text_says_so(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        manifest.read(tmp_path / "a.csv", parse_style)


# --- what workers elsewhere are told ---------------------------------------------------------------------------------


def test_workers_are_given_files_by_paths_from_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("net.safetensors", "mask.png", "style.png", "start.png", "vgg.safetensors", "content"):
        Path(name).touch()
    Path("wide").mkdir()
    files = []
    words = {
        "net.safetensors:irises": f"{tmp_path}/net.safetensors:irises",
        "mask.png": f"{tmp_path}/mask.png",
        "museum:436535": "museum:436535",
        "van gogh irises": "van gogh irises",
    }
    assert [by_path(word, files) for word in words] == list(words.values())
    assert files == [f"{tmp_path}/net.safetensors", f"{tmp_path}/mask.png"]
    controls = Controls(regions=(("mask.png", "style.png"),), preserve="subject", strength_map="mask.png")
    knobs = {"encoder": "vgg19:vgg.safetensors", "border": "content", "decoders": "./wide"}
    request = Request(init="start.png", knobs=knobs, controls=controls)
    told = request_by_paths(request, files)
    assert told.init == f"{tmp_path}/start.png"
    absolute = {"encoder": f"vgg19:{tmp_path}/vgg.safetensors", "border": "content", "decoders": f"{tmp_path}/wide"}
    assert told.knobs == absolute
    assert told.controls.regions == ((f"{tmp_path}/mask.png", f"{tmp_path}/style.png"),)
    assert (told.controls.preserve, told.controls.strength_map) == ("subject", f"{tmp_path}/mask.png")
    assert request_by_paths(Request(init="content"), files).init == "content"  # a word, whatever files there are


def test_nodes_are_asked_for_a_photograph_of_each_folder_that_is_there(tree):
    works = [
        Work(name, STYLES, name) for name in ("in/gone.jpg", "in/b.jpg", "in/a.PNG", "in/sub/c.jpg", "s3://b/x.jpg")
    ]
    assert photographs_to_check(works) == [f"{tree}/in/b.jpg", f"{tree}/in/sub/c.jpg"]


def test_a_picture_that_kills_its_workers_fails_in_the_end_alone(batch, engine, tmp_path, monkeypatch):
    """Ray gives the rows of a dead worker to another, again and again."""

    class Died(BaseException):
        """A worker's end, as the next one sees it: nothing was tidied up."""

    class Deadly(BatchPainter):
        def paint(self, prepared, on_progress):
            if any(one.work.content.endswith("b.png") for one in prepared):
                raise Died
            return super().paint(prepared, on_progress)

    works = plan_of([((str(tmp_path / "style.png"), 1.0),)]).add(find_photographs([str(tmp_path / "in")], out="out"))
    batch_of = {"work": [cluster._as_text(work) for work in works]}
    deaths, told = 0, None
    while told is None and deaths < 9:
        worker = cluster.Worker.__new__(cluster.Worker)
        worker._out = str(tmp_path / "out")
        journal = Journal(worker._out, f"worker-{deaths}")
        journal.load()
        worker._painter = Deadly(engine, Request(method="adain"), out=worker._out, journal=journal)
        try:
            told = [json.loads(text) for text in worker(batch_of)["outcome"]]
        except Died:
            deaths += 1
        journal.close()
    assert deaths == 3
    statuses = {Path(one["output"]).name: one["status"] for one in told}
    assert statuses == {"a-style.png": "kept", "b-style.png": "failed", "c-style.png": "painted"}
    assert "the workers that painted it died" in next(one["message"] for one in told if "message" in one)
    assert not [path for path in (tmp_path / "out/.batch").rglob("*") if path.is_file() and path.suffix != ".jsonl"]


def test_a_style_that_went_along_is_read_by_several_threads(picture_file):
    shared = images.BufferedPipe(picture_file("style.png").read_bytes(), "style.png")
    shared.read()  # another thread is in the middle of it
    assert images.probe(shared).width == images.read(shared).width == 64


# --- what counts as done ---------------------------------------------------------------------------------------------


@pytest.fixture
def batch(tmp_path, engine, picture_file):
    """Paints the pictures of `in` into `out`; returns what came of each, by name."""
    (tmp_path / "in").mkdir()
    picture_file("style.png", seed=9)
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        picture_file(f"in/{name}", width=64 if number < 2 else 48, seed=number)

    def go(request=None, *, on_progress=lambda _: None, painter=BatchPainter, threads=THREADS):
        out = str(tmp_path / "out")
        journal = Journal(out)
        journal.load()
        studio = painter(engine, request or Request(method="adain"), out=out, journal=journal)
        works = plan_of([((str(tmp_path / "style.png"), 1.0),)]).add(find_photographs([str(tmp_path / "in")], out=out))
        try:
            found = list(paint_all(works, studio, total=len(works), threads=threads, on_progress=on_progress))
        finally:
            journal.close()
        return {Path(one.work.content).name: one for one in found}

    return go


def statuses(outcomes):
    return {name: one.status for name, one in sorted(outcomes.items())}


PAINTED = dict.fromkeys(("a.png", "b.png", "c.png"), "painted")
KEPT = dict.fromkeys(PAINTED, "kept")


def test_what_is_done_is_not_painted_again(batch):
    assert statuses(batch()) == PAINTED
    assert statuses(batch()) == KEPT


def test_a_batch_paints_what_the_engine_paints_one_by_one(batch, engine, tmp_path):
    batch()
    for name in PAINTED:
        alone = engine.stylize(tmp_path / "in" / name, tmp_path / "style.png", Request(method="adain"))
        painted = images.read(tmp_path / "out" / name.replace(".", "-style."))
        torch.testing.assert_close(torch.tensor(painted.pixels), torch.tensor(alone.picture.pixels), atol=0.003, rtol=0)
        record = images.read_record(tmp_path / "out" / name.replace(".", "-style."))
        assert {key: record[key] for key in ("content", "styles", "knobs")} == {
            key: alone.record[key] for key in ("content", "styles", "knobs")
        }


def test_other_settings_contents_or_styles_are_painted(batch, picture_file, tmp_path):
    batch()
    assert statuses(batch(Request(method="adain", knobs={"strength": 0.5}))) == PAINTED
    batch()
    picture_file("in/b.png", seed=7)
    assert statuses(batch()) == {**KEPT, "b.png": "painted"}
    picture_file("style.png", seed=8)
    assert statuses(batch()) == PAINTED


def test_a_photograph_that_was_only_touched_is_not_painted(batch, tmp_path):
    batch()
    os.utime(tmp_path / "in/a.png", (1, 1))
    assert statuses(batch()) == KEPT


def test_a_result_that_is_gone_or_altered_is_painted(batch, tmp_path):
    batch()
    (tmp_path / "out/a-style.png").unlink()
    path = tmp_path / "out/b-style.png"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(tmp_path / "out/c-style.png", (1, 1))  # as a copy has it
    assert statuses(batch()) == {"a.png": "painted", "b.png": "painted", "c.png": "kept"}


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    told = {
        str(tmp_path / "pipe.jpg"): "no file",
        "/dev/zero": "no file",
        str(tmp_path): "a folder",
        "http://a/b": "an address",
        "a\0.jpg": "cannot be the name",
    }
    for name, message in told.items():
        with pytest.raises(InputError, match=message) as raised:
            places.read(name)
        assert raised.value.hint


def test_one_that_fails_stops_no_other(batch, tmp_path):
    (tmp_path / "in/b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    outcomes = batch()
    assert statuses(outcomes) == {**PAINTED, "b.png": "failed"}
    assert outcomes["b.png"].error.hint
    assert statuses(batch()) == {**KEPT, "b.png": "failed"}


def test_results_among_the_photographs_are_passed_over(batch, tmp_path):
    batch()
    (tmp_path / "out/a-style.png").rename(tmp_path / "in/a-style.png")
    assert statuses(batch())["a-style.png"] == "passed over"


def test_a_file_of_others_is_not_replaced(batch, tmp_path, picture_file):
    (tmp_path / "out").mkdir()
    picture_file("out/a-style.png", seed=5)
    before = (tmp_path / "out/a-style.png").read_bytes()
    outcomes = batch()
    assert statuses(outcomes) == {**PAINTED, "a.png": "failed"}
    assert "there already" in outcomes["a.png"].error.message
    assert (tmp_path / "out/a-style.png").read_bytes() == before


def test_pictures_of_one_size_are_painted_in_one_pass(batch, monkeypatch):
    groups = []
    paint = BatchPainter.paint

    def counted(self, prepared, on_progress):
        groups.append(len(prepared))
        return paint(self, prepared, on_progress)

    class Slow(BatchPainter):  # the first waits until the others are read
        def together(self, prepared):
            import time

            time.sleep(0.3)
            return 4

        paint = counted

    assert statuses(batch(painter=Slow)) == PAINTED
    assert sorted(groups) == [1, 2]


def test_a_device_gets_full_passes_and_is_fed_by_as_many_cores_as_there_are(batch, picture_file, monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 12)
    assert Threads.beside("cpu") == Threads()
    assert Threads.beside("cuda:0") == Threads(readers=6, writers=6, ahead=2 * MOST_ON_DEVICE)
    for number in range(17):
        picture_file(f"in/more{number}.png", width=64, seed=number)
    read, groups, all_read = [], [], threading.Event()

    class OnDevice(BatchPainter):
        device = "cuda:0"

        def read(self, work):
            read.append(super().read(work))
            if len(read) == 20:
                all_read.set()
            return read[-1]

        def together(self, prepared):
            assert all_read.wait(120)
            return MOST_ON_DEVICE

        def paint(self, prepared, on_progress):
            groups.append(len(prepared))
            return super().paint(prepared, on_progress)

    assert set(statuses(batch(painter=OnDevice, threads=None)).values()) == {"painted"}
    assert max(groups) == MOST_ON_DEVICE


def test_a_bug_in_a_pass_is_told_of_its_picture_alone(batch, monkeypatch):
    class Buggy(BatchPainter):
        def _paint(self, prepared, on_progress):
            results = super()._paint(prepared, on_progress)
            broken = [one.work.content.endswith("a.png") for one in prepared]
            bug = RuntimeError("no such thing")
            return [bug if own else result for own, result in zip(broken, results, strict=True)]

    outcomes = batch(painter=Buggy)
    assert statuses(outcomes) == {**PAINTED, "a.png": "failed"}
    assert "a bug in impasto: RuntimeError: no such thing" in outcomes["a.png"].error.message


def test_missing_weights_stop_all(batch):
    class Offline(BatchPainter):
        def _paint(self, prepared, on_progress):
            return [AssetError("no weights", "fetch them")]

    with pytest.raises(AssetError):
        batch(painter=Offline)


def test_a_full_disk_stops_all(batch, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places, "publish", full)
    with pytest.raises(ResourceError, match="No space left"):
        batch()


def test_stopped_by_hand_it_goes_on_from_there(batch):
    def stop(progress: Progress):
        if progress.step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        batch(on_progress=stop, threads=Threads(ahead=1))
    after = statuses(batch())
    assert set(after.values()) == {"kept", "painted"}


def test_memory_is_bounded_by_what_is_read_ahead(batch, picture_file):
    for number in range(20):
        picture_file(f"in/more{number}.png", seed=number)
    waiting, most = [0], [0]

    class Counting(BatchPainter):
        def read(self, work):
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
            return super().read(work)

        def write(self, painted):
            waiting[0] -= 1
            return super().write(painted)

    outcomes = batch(painter=Counting, threads=Threads(readers=2, writers=1, ahead=3))
    assert set(statuses(outcomes).values()) == {"painted"}
    assert most[0] <= 3 + 4 + 3 + 2


@pytest.mark.process
def test_killed_at_any_moment_the_same_again_paints_what_is_left(tmp_path, picture_file):
    (tmp_path / "in").mkdir()
    picture_file("style.png", seed=9)
    for number in range(12):
        picture_file(f"in/{number:02d}.png", width=32, height=24, seed=number)
    script = Path(__file__).parents[1] / "batch_script.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["killed"].values()) == {-9}
    outputs = {f"{number:02d}-style.png" for number in range(12)}
    assert set(told["first"]) == outputs
    assert set(told["first"].values()) == {"painted", "kept"}
    assert told["second"] == dict.fromkeys(outputs, "kept")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == outputs
    for name in outputs:
        assert images.read(tmp_path / "out" / name).width == 32


def test_a_busy_minute_changes_no_share_of_the_benchmark():
    def turns(pictures, seconds):
        return [bench._Turn(pictures, own, own) for own in seconds]

    alone, whole = turns(12, [6.0, 6.0, 6.0, 30.0, 6.0, 6.0]), turns(40, [25.0, 25.0, 90.0, 25.0, 25.0])
    assert bench._share(whole, alone, "seconds") == pytest.approx(0.8)
