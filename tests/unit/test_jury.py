"""The standing jury: which pairs, what is painted again, what the sheets and tables say."""

import csv
import io
import math
import weakref
from collections import Counter

import numpy as np
import pytest
from PIL import ImageFont

from impasto import images
from impasto.bench import jury
from impasto.cli.painter import Painter
from impasto.contract import ignore
from impasto.errors import Cancelled, InputError, ResourceError
from impasto.images._sheet import _wrapped
from impasto.report.cells import Painted
from impasto.report.scoring import find_scores
from tiny import noise

PAIRS = (("cat.png", "waves.png"), ("dog.png", "waves.png"), ("cat.png", "stars.png"))
SCORES = find_scores(None)


class Brush:
    """Paints a blend with the painting's mean colour; counts, and fails or stops where it is told to."""

    def __init__(self, fails="", stops_after=math.inf):
        self.painted, self.fails, self.stops_after = [], fails, stops_after

    def prepare(self, contender, content, style):
        pass

    def __call__(self, contender, content, style, on_progress):
        if len(self.painted) == self.stops_after:
            raise Cancelled("stopped")
        if contender.name == self.fails:
            raise ResourceError("too large", "use --size 64")
        self.painted.append(contender.name)
        share = 0.25 if contender.name == "draft" else 0.75
        return Painted((1 - share) * content + share * style.mean((0, 1)), share, {"share": share})


def score(content, style, pastiche):
    """All of them, from how far the picture is from the photograph."""
    away = float(abs(pastiche - content).mean())
    given = {"photo_residue": 0.9 - away, "grain_ratio": 0.5, "weave": 0.012}
    return {one.key: 1 + away for one in SCORES} | given


def tools(paint):
    return jury.Tools(paint, score, SCORES, {"device": "cpu"}, "impasto bench jury")


@pytest.fixture
def pictures(tmp_path):
    for seed, name in enumerate(("content/cat.png", "content/dog.png", "style/waves.png", "style/stars.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(images.read(np.ascontiguousarray(noise(48, 64, seed=seed)[0].permute(1, 2, 0).numpy())), path)
    return tmp_path / "pictures"


def hold(pictures, out, brush, *, methods="good", accepted=None, on_progress=ignore, **wanted):
    cases = jury.find_cases(pictures, pairs=PAIRS, **{"size": 32, "large": 48} | wanted)
    contenders = jury.jury_contenders(methods)
    return jury.run_jury(cases, out, contenders, tools(brush), accepted=accepted, on_progress=on_progress)


def test_the_jury_is_balanced():
    assert len(set(jury.PAIRS)) == 24
    assert set(Counter(photograph for photograph, _ in jury.PAIRS).values()) == {2}
    assert set(Counter(painting for _, painting in jury.PAIRS).values()) == {3}
    assert len({photograph for photograph, _ in jury.PAIRS}) == 12


def test_a_paintings_first_pair_is_painted_large_too(pictures):
    cases = jury.find_cases(pictures, size=32, large=48, pairs=PAIRS)
    assert [(case.content.stem, case.style.stem, case.size) for case in cases] == [
        ("cat", "waves", 32),
        ("dog", "waves", 32),
        ("cat", "stars", 32),
        ("cat", "waves", 48),
        ("cat", "stars", 48),
    ]
    assert len(jury.find_cases(pictures, size=32, large=0, pairs=PAIRS)) == 3
    assert len(jury.find_cases(pictures, size=32, large=32, pairs=PAIRS)) == 3
    assert [case.content.stem for case in jury.find_cases(pictures, large=0, only=["dog"], pairs=PAIRS)] == ["dog"]


def test_missing_pictures_and_pairs_are_told(pictures):
    (pictures / "content/dog.png").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of the jury's 4 pictures: content/dog\.png"):
        jury.find_cases(pictures, pairs=PAIRS)
    with pytest.raises(InputError, match="no pair of the jury is named bear") as caught:
        jury.find_cases(pictures, only=["bear"], pairs=PAIRS)
    assert "cat, waves, dog, stars" in caught.value.hint


def test_the_draft_always_takes_part_and_first():
    assert [one.name for one in jury.jury_contenders("good, adain")] == ["draft", "good", "adain"]
    assert [one.name for one in jury.jury_contenders("good,draft")] == ["draft", "good"]


def test_tables_hold_ratios_to_the_draft_of_the_same_pair(pictures, tmp_path):
    comparisons = hold(pictures, tmp_path / "out", Brush())
    assert [comparison.folder.name for comparison in comparisons] == ["32", "48"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/jury.csv").read_text())))
    assert len(rows) == 2 * (3 + 2)
    for draft, good in zip(rows[::2], rows[1::2], strict=True):
        assert (draft["method"], good["method"]) == ("draft", "good")
        assert draft["content"] == good["content"]
        ratio = float(good["stroke_distance"]) / float(draft["stroke_distance"])
        assert float(good["stroke_distance_to_draft"]) == pytest.approx(ratio, rel=1e-4)
        assert float(draft["layout_to_draft"]) == 1
        assert "photo_residue_to_draft" not in good
    small = [row for row in rows if row["size"] == "32" and row["method"] == "good"]
    ratios = [float(row["style_distance_to_draft"]) for row in small]
    text = (tmp_path / "out/jury.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| good | 3 |")]
    assert f"{np.mean(ratios):.2f} ({max(ratios):.2f})" in line
    assert line.endswith("| 0.50 (0.50) | 0.012 (0.012) |")
    assert "No column decides alone" in text
    assert (tmp_path / "out/48/index.html").is_file()


def test_the_worst_grain_is_the_farthest_from_the_paintings():
    found = [
        {"method": "good", "seconds": 1.0, "grain_ratio": grain, "photo_residue": 0.1} for grain in (0.6, 1.1, 1.2)
    ]
    headings, ((*_, grain, weave),) = jury.summary(found)
    assert headings[-2:] == ["grain", "weave"]
    assert weave == "?"
    assert grain == "0.97 (0.60)"


def test_a_stopped_run_goes_on_at_the_next_picture(pictures, tmp_path):
    with pytest.raises(Cancelled) as caught:
        hold(pictures, tmp_path / "out", Brush(stops_after=3))
    assert "run the same command again" in caught.value.hint
    assert [path.name for path in (tmp_path / "out/32/sheets").iterdir()] == ["cat-waves.png"]
    brush = Brush()
    hold(pictures, tmp_path / "out", brush)
    assert len(brush.painted) == 10 - 3
    brush = Brush()
    hold(pictures, tmp_path / "out", brush)
    assert brush.painted == []


def test_pictures_of_one_pair_are_held_at_a_time(pictures, tmp_path, monkeypatch):
    alive, most, load = set(), [], jury.Case.load

    def watched(case):
        pair = load(case)
        for subject in pair:
            alive.add(id(subject))
            weakref.finalize(subject, alive.discard, id(subject))
        most.append(len(alive))
        return pair

    monkeypatch.setattr(jury.Case, "load", watched)
    hold(pictures, tmp_path, Brush())
    assert len(most) >= 5
    assert max(most) <= 4  # the last pair goes when the next has come


def test_what_cannot_be_painted_is_told_and_the_rest_goes_on(pictures, tmp_path):
    (comparison,) = hold(pictures, tmp_path, Brush(fails="good"), large=0)
    assert len(comparison.failures) == 3
    text = (tmp_path / "jury.md").read_text()
    assert "Not painted: good on cat and waves: too large" in text
    assert "| good |" not in text


def test_accepted_pictures_come_beside_the_new_ones(pictures, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "accepted"
    kept.mkdir()
    comparisons = hold(pictures, out, Brush(), accepted=kept)
    sheet = images.read(out / "32/sheets/cat-waves.png").pixels
    right = sheet[:, sheet.shape[1] // 2 + 8 : -8]
    assert jury.accept(comparisons, kept) == 10
    assert (kept / "cat-waves-good-32.png").is_file()
    hold(pictures, out, Brush(), accepted=kept)
    after = images.read(out / "32/sheets/cat-waves.png").pixels[:, sheet.shape[1] // 2 + 8 : -8]
    third = len(right) // 3
    assert np.array_equal(right[:third], after[:third])  # the painting
    assert right[third:].min(0).mean() > after[third:].min(0).mean()  # blank before
    (kept / "cat-waves-good-32.json").write_text("{")  # damaged: as if none were accepted
    hold(pictures, out, Brush(), accepted=kept)


@pytest.mark.parametrize("size", [256, 320, 512])
def test_every_measure_can_be_read_on_a_sheet(pictures, tmp_path, monkeypatch, size):
    sheets, draw = [], images.contact_sheet

    def watched(shown, **how):
        sheets.append((shown, how))
        return draw(shown, **how)

    monkeypatch.setattr(jury.images, "contact_sheet", watched)
    where = {"methods": "opencv-stylization", "large": 0, "size": size, "only": ["dog"]}
    kept = tmp_path / "accepted"
    kept.mkdir()
    jury.accept(hold(pictures, tmp_path / "out", Brush(), **where), kept)
    hold(pictures, tmp_path / "out", Brush(), accepted=kept, **where)
    font = ImageFont.load_default(15)
    for shown, how in sheets:
        for _, caption in shown[2:]:
            told = " ".join(_wrapped(caption, font, width=how["cell"], lines=how["lines"]))
            assert told == caption
            assert "layout" in told
    assert len(sheets) == 2
    assert sheets[1][1]["lines"] <= {256: 9, 320: 7, 512: 5}[size]


def test_progress_weighs_pairs_by_their_pixels_and_ends_at_one(pictures, tmp_path):
    shares = []
    hold(pictures, tmp_path, Brush(), on_progress=lambda progress: shares.append(progress.share))
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    assert any(share == pytest.approx(3 * 32**2 / (3 * 32**2 + 2 * 48**2)) for share in shares)


def test_with_networks(pictures, tmp_path, engine):
    (comparison,) = hold(pictures, tmp_path, Painter(engine), methods="draft", large=0, size=64, only=["dog"])
    (cell,) = comparison.cells
    assert (cell.contender, cell.width, cell.height) == ("draft", 64, 48)
