"""Styles of several pictures: folders, and files that keep a style."""

import io
import json
import zipfile

import numpy as np
import pytest

from impasto import images
from impasto.assets.library import Library
from impasto.engine import style_files, styles
from impasto.engine.digests import content_digest
from impasto.engine.request import Request, by_style
from impasto.engine.style_files import StyleFile
from impasto.errors import InputError
from impasto.video.frames import FramePainter

FAST = Request(method="adain", size=48)


@pytest.fixture
def library(engine):
    return Library(engine.store)


@pytest.fixture
def folder(tmp_path, picture_file):
    """Three paintings, a hidden file and a text."""
    place = tmp_path / "mine"
    place.mkdir()
    for seed in range(3):
        picture_file(f"mine/{'abc'[seed]}.png", seed=seed + 1)
    (place / ".hidden.png").write_bytes(b"")
    (place / "notes.txt").write_text("x")
    return place


def kept(library, name, given) -> StyleFile:
    return styles.kept_style(library, name, given)


def test_a_folder_is_one_style_of_all_its_pictures(library, folder):
    sources = styles.find_styles(library, [(str(folder), 2.0)])
    assert [source.id for source in sources] == ["a.png", "b.png", "c.png"]
    assert {source.asked for source in sources} == {"mine"}
    assert sum(source.weight for source in sources) == pytest.approx(2)
    assert len(by_style(sources)) == 1


def test_a_folder_paints_as_its_pictures_do_together(engine, folder, picture_file):
    photo = picture_file(seed=9)
    whole = engine.stylize(photo, str(folder), FAST)
    apart = engine.stylize(photo, [folder / "a.png", folder / "b.png", folder / "c.png"], FAST)
    assert np.array_equal(whole.picture.pixels, apart.picture.pixels)
    one = engine.stylize(photo, folder / "a.png", FAST)
    assert not np.array_equal(whole.picture.pixels, one.picture.pixels)
    assert [row["asked"] for row in whole.record["styles"]] == ["mine"] * 3


def test_a_folder_without_pictures_or_with_too_many_is_refused(library, tmp_path, monkeypatch, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder without pictures"):
        styles.find_styles(library, str(tmp_path / "empty"))
    monkeypatch.setattr(styles, "MOST_MEMBERS", 2)
    with pytest.raises(InputError, match="holds 3 pictures"):
        styles.find_styles(library, str(folder))


def test_a_saved_style_paints_as_what_it_was_saved_of(engine, library, folder, picture_file, tmp_path):
    """Pictures are kept as JPEG of high quality, so not to the bit."""
    path = tmp_path / "mine.style"
    kept(library, "mine", [(str(folder), 1.0)]).save(path)
    photo = picture_file(seed=9)
    direct, saved = (engine.stylize(photo, style, FAST).picture.pixels for style in (str(folder), str(path)))
    assert np.abs(direct - saved).mean() < 0.02
    assert [row["id"] for row in engine.stylize(photo, str(path), FAST).record["styles"]] == [
        "mine.style:p1",
        "mine.style:p2",
        "mine.style:p3",
    ]


def test_one_picture_of_a_saved_style_is_a_style_too(engine, library, folder, tmp_path):
    path = tmp_path / "mine.style"
    kept(library, "mine", str(folder)).save(path)
    (second,) = styles.find_styles(library, f"{path}:p2")
    assert (second.id, second.label, second.weight) == ("mine.style:p2", "b", 1.0)
    with pytest.raises(InputError, match="has no picture 'p9'"):
        styles.find_styles(library, f"{path}:p9")


def test_a_saved_style_is_the_same_bytes_every_time_and_small(library, folder):
    first, second = (kept(library, "mine", str(folder)).encoded() for _ in range(2))
    assert first == second
    assert len(first) < 30_000
    again = style_files.parse(first, "mine.style")
    assert again.encoded() == first
    assert len(again.palette) >= 3
    assert all(color.startswith("#") for color in again.palette)


def test_the_palette_tells_the_most_frequent_colours():
    pixels = np.zeros((20, 20, 3), np.float32)
    pixels[:, :12] = (1, 0, 0)
    pixels[:, 12:] = (0, 0, 1)
    assert style_files.palette_of([(pixels, 1.0)])[:2] == ("#ff0000", "#0100fe")  # a little of the edge in the blue


def archive(index, **pictures):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("style.json", index if isinstance(index, str) else json.dumps(index))
        for name, data in pictures.items():
            made.writestr(name.replace("_", "."), data)
    return stream.getvalue()


GOOD = {"label": "a", "weight": 1.0, "picture": "p1.png"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cannot be unpacked"),
        (b"no zip at all", "cannot be unpacked"),
        (archive("{"), "is no style"),
        (archive([]), "is no style"),
        (archive({}), "it lists no pictures"),
        (archive([]).replace(b"style.json", b"other.json"), "it lists no pictures"),
        (archive({"members": []}), "it holds 0 pictures"),
        (archive({"members": [GOOD]}), "p1.png"),
        (archive({"members": [{**GOOD, "picture": "../../etc/passwd"}]}), "a picture is called"),
        (archive({"members": [{**GOOD, "picture": "", "id": "/etc/passwd"}]}), "a painting is called"),
        (archive({"members": [{**GOOD, "id": "museum:1"}]}), "neither a painting nor a picture"),
        (archive({"members": [{**GOOD, "weight": float("nan")}]}, p1_png=b"x"), "a weight is nan"),
        (archive({"members": [{**GOOD, "weight": -1}]}, p1_png=b"x"), "a weight is -1"),
        (archive({"members": [GOOD] * 40}, p1_png=b"x"), "it holds 40 pictures"),
        (archive({"members": [GOOD], "palette": ["red"]}, p1_png=b"x"), "a colour is 'red'"),
        (archive("[" * 100_000), "is no style"),
    ],
)
def test_what_is_no_style_file_is_refused_in_two_lines(library, tmp_path, data, told):
    (tmp_path / "bad.style").write_bytes(data)
    with pytest.raises(InputError) as caught:
        styles.find_styles(library, str(tmp_path / "bad.style"))
    assert told in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(style_files, "_MOST_PICTURE", 100)
    with pytest.raises(InputError, match="more than 100 bytes"):
        style_files.parse(archive({"members": [GOOD]}, p1_png=b"0" * 1000), "bomb.style")


def test_a_picture_in_it_that_is_none_is_an_error(library, tmp_path):
    (tmp_path / "bad.style").write_bytes(archive({"members": [GOOD]}, p1_png=b"no picture"))
    with pytest.raises(InputError):
        styles.find_styles(library, str(tmp_path / "bad.style"))


def test_a_style_file_that_is_not_there_is_an_error(library, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        styles.find_styles(library, str(tmp_path / "none.style"))


def test_digests_tell_changed_folders_and_style_files_apart(library, folder, tmp_path, picture_file):
    path = tmp_path / "mine.style"
    kept(library, "mine", str(folder)).save(path)
    before = [content_digest(str(one)) for one in (folder, path, f"{path}:p1")]
    assert len(set(before)) == 3
    assert before == [content_digest(str(one)) for one in (folder, path, f"{path}:p1")]
    picture_file("mine/a.png", seed=77)
    kept(library, "mine", str(folder)).save(path)
    after = [content_digest(str(one)) for one in (folder, path, f"{path}:p1")]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_shares_of_frames_count_styles_and_not_their_pictures(engine, folder, picture_file):
    """A film fades between a folder and a painting: two shares, though there are four pictures."""
    frame = images.read(picture_file(seed=5)).pixels
    painter = FramePainter.of(engine, [str(folder), str(picture_file("other.png", seed=6))], FAST, frame)
    faded = [painter.paint(frame, shares=shares) for shares in ((1.0, 0.0), (0.0, 1.0))]
    whole = FramePainter.of(engine, str(folder), FAST, frame).paint(frame)
    assert np.abs(faded[0] - whole).max() < 1e-4
    assert np.abs(faded[0] - faded[1]).max() > 0.01
