"""`impasto style`, folders as styles and `impasto discover`, as a person runs them."""

import json

import numpy as np
import pytest

from impasto import images
from impasto.engine import music
from impasto.videos import VideoReader, VideoWriter
from unit.test_music import clicks, write_sound


@pytest.fixture
def files(tmp_path, picture_file, monkeypatch):
    """A photograph, and a folder `mine` of nine paintings."""
    (tmp_path / "mine").mkdir()
    picture_file("photo.png", seed=40)
    for seed in range(9):
        picture_file(f"mine/{seed}.png", seed=seed)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.style").write_bytes(b"no style")
    monkeypatch.chdir(tmp_path)


def test_a_folder_saved_and_shown_and_painted(run, files, tmp_path):
    told = json.loads(run("style", "save", "mine:2", "photo.png:1", "-o", "both.style", "--json"))
    assert told["file"] == "both.style"
    assert len(told["members"]) == 10
    assert sum(row["weight"] for row in told["members"]) == pytest.approx(1, abs=1e-4)
    assert told["members"][-1]["weight"] == pytest.approx(1 / 3, abs=1e-4)
    shown = run("style", "show", "both.style", "--sheet", "sheet.png")
    assert "both: mine" in shown
    assert "both.style:p10" in shown
    assert images.read(tmp_path / "sheet.png").width > 500
    assert json.loads(run("style", "show", "both.style", "--json")) == told


@pytest.mark.real
def test_a_folder_names_the_result_and_is_told(outcome, files, tmp_path):
    done = outcome("stylize", "photo.png", "--style", "mine", "-q", "draft", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["output"] == "photo-mine.png"
    assert [row["asked"] for row in told["styles"]] == ["mine"] * 9
    assert "mine: 9 pictures as one style" in done.err
    direct = images.read(tmp_path / "photo-mine.png").pixels
    assert outcome("redo", "photo-mine.png", "--style", "mine", "-o", "again.png").code == 0
    again = images.read(tmp_path / "again.png").pixels
    assert np.abs(images.as_float(direct) - images.as_float(again)).max() <= 2 / 255


ROWS = [
    ("style save mine", "no file was named", "NAME.style"),
    ("style save mine -o mine.png", "-o is mine.png", "NAME.style"),
    ("style save empty -o a.style", "empty is a folder without pictures", "name a picture"),
    ("style save pack:irises -o a.style", "a style of a trained network", "by itself"),
    ("style save bad.style -o a.style", "cannot be unpacked", "impasto style save"),
    ("style show bad.style", "cannot be unpacked", "impasto style save"),
    ("style show photo.png", "photo.png is no style file", ".style"),
    ("style show none.style", "cannot be read", ""),
    ("stylize photo.png -s bad.style", "cannot be unpacked", "impasto style save"),
    ("stylize photo.png -s empty", "a folder without pictures", "name a picture"),
    ("discover mine", "no folder was named", "-o FOLDER"),
    ("discover mine -o photo.png", "photo.png is a file", "another|-o"),
    ("discover empty -o out", "holds 0 pictures; 8 are the least", "give more"),
    ("discover none -o out", "there is no folder none", "museum"),
]


@pytest.mark.parametrize(("line", "message", "hint"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_wrong_is_told_in_two_lines(refused, files, line, message, hint):
    told = [text for text in refused(*line.split()).splitlines() if not text.startswith("note:")]
    assert message in told[0]
    assert any(part in told[1] for part in hint.split("|"))


def test_an_empty_sentence_is_refused(outcome, files):
    assert outcome("stylize", "photo.png", "--style", "").code == 2


@pytest.mark.real
def test_a_collection_becomes_styles(run, files, tmp_path):
    told = json.loads(run("discover", "mine", "-o", "out", "--count", "2", "--seed", "3", "--json"))
    assert len(told["styles"]) == 2
    assert (tmp_path / "out/map.html").exists()
    assert (tmp_path / "out/map.png").exists()
    assert "pictures" in run("style", "show", told["styles"][0])


@pytest.mark.real
def test_music_paints_and_is_explained(outcome, files, tmp_path):
    write_sound(tmp_path / "song.wav", clicks(160, 6.0), "pcm_s16le")
    line = ["stylize", "photo.png", "--style", "song.wav", "-m", "adain", "--json"]
    done = outcome(*line)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    heard = told["styles"][0]["music"]
    assert heard["tempo"] == pytest.approx(160, rel=0.02)
    assert heard["reasons"]["tempo 160"] == "wild swirling strokes"
    assert told["styles"][0]["asked"] == "song.wav"
    assert told["output"] == "photo-song-wav.png"
    assert "song.wav: " in done.err
    again = json.loads(outcome(*line).out)
    assert again["styles"] == told["styles"]
    assert np.array_equal(images.read(tmp_path / told["output"]).pixels, images.read(tmp_path / again["output"]).pixels)


@pytest.mark.real
def test_a_film_is_painted_more_where_its_music_is_loud(run, files, tmp_path):
    write_sound(tmp_path / "song.wav", np.concatenate([0.02 * clicks(240, 1.0), clicks(240, 1.0)]), "pcm_s16le")
    frame = images.as_float(images.read(tmp_path / "photo.png").pixels)
    with VideoWriter(tmp_path / "clip.mp4", rate=5) as writer:
        for _ in range(10):
            writer.write(frame)
    line = ["video", "clip.mp4", "--style", "pack:irises", "--temporal", "off", "--follow", "song.wav", "-o", "out.mkv"]
    run(*line, "--codec", "ffv1")
    changes = [np.abs(painted.pixels - frame).mean() for painted in VideoReader(tmp_path / "out.mkv")]
    led = music.follow(tmp_path / "song.wav", styles=1, seconds=2.0)
    assert np.mean(changes[6:]) > 1.2 * np.mean(changes[:4])
    assert led.strengths[0][1] < 0.6
