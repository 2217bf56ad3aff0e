"""`impasto redo` on pictures of strangers: what their record says is checked, and opens nothing by itself."""

import json
import re
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from impasto import images
from impasto.engine.record import Record
from impasto.errors import InputError

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"
RECORD = {
    "impasto": "0.1.0",
    "torch": "2.0",
    "content": {"name": "photo.png", "pixels": "0"},
    "styles": [{"id": "style.png", "label": "style", "weight": 1.0}],
    "regions": [],
    "controls": {},
    "method": "adain",
    "quality": "draft",
    "stages": ["adain"],
    "knobs": {"strength": 1.0, "style_scale": 1.0},
    "init": None,
    "device": "cpu",
    "precision": "float32",
    "width": 64,
    "height": 48,
    "steps": 1,
    "seconds": 0.1,
}
REGION = {"mask": "subject", "styles": RECORD["styles"]}
OPTIMIZE = {"method": "optimize", "quality": "good", "stages": ["optimize"]}
WATCHED = """
import sys
from impasto.cli import app

opened = []
sys.addaudithook(lambda event, details: opened.append(str(details[0])) if event == "open" else None)
for path in sys.argv[1:]:
    opened.clear()
    code = app.run(["redo", path])
    seen = "elsewhere" if any("elsewhere" in one for one in opened) else "beside" if path in opened else "nothing"
    print("code", code, seen, file=sys.stderr)
"""
"""Tells of each picture how redo ends, and whether it opened a file elsewhere.

In a process of its own: a hook cannot be taken away, and while one listens, CPython 3.11 fails where two threads that
are traced begin at once.
"""


@pytest.fixture
def made(tmp_path, picture_file):
    """Writes a picture with a record, given as changes or as text, beside its photograph and its style."""
    picture_file()
    picture_file("style.png", seed=3)

    def write(record):
        text = record if isinstance(record, str | bytes) else json.dumps({**RECORD, **record})
        info, path = PngImagePlugin.PngInfo(), tmp_path / "made.png"
        if isinstance(text, bytes):
            info.add(b"tEXt", b"impasto\0" + text)
        else:
            info.add_itxt("impasto", text)
        Image.new("RGB", (64, 48)).save(path, pnginfo=info)
        return path

    return write


@pytest.fixture
def secret(tmp_path_factory, picture_file):
    """A picture that lies elsewhere, which no record may open."""
    path = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    path.write_bytes(picture_file("secret-of-the-test.png", seed=9).read_bytes())
    return path


def styled(**changes):
    return {"styles": [{**RECORD["styles"][0], **changes}]}


MUTATIONS = {
    "empty": "{}",
    "nothing": "",
    "null": "null",
    "a list": "[1, 2]",
    "a number": "7",
    "no JSON": "{'styles': None}",
    "bytes that are no text": b"\xff\xfe\x80{}",
    "half a record": json.dumps(RECORD)[:200],
    "1 MiB": json.dumps({**RECORD, "method": "x" * (1 << 20)}),
    "400 kB in one name": {"method": "x" * 400_000},
    "10,000 deep": "[" * 10_000 + "]" * 10_000,
    "300 deep in a setting": {"knobs": {"strength": json.loads("[" * 300 + "]" * 300)}},
    "styles null": {"styles": None},
    "styles empty": {"styles": []},
    "styles text": {"styles": "style.png"},
    "a style that is text": {"styles": ["style.png"]},
    "a style without a name": {"styles": [{"weight": 1}]},
    "100,000 styles": {"styles": [{"id": "a", "weight": 1}] * 10_000},
    "a style that is a list": styled(id=["style.png"]),
    "a style of 5,000 characters": styled(id="s" * 5000),
    "a style of 300 characters": styled(id="s" * 300),
    "a style that is a folder": styled(id="."),
    "a style above": styled(id=".."),
    "a style with a zero byte": styled(id="a\0b.png"),
    "a style with half a letter": styled(id="\ud800.png"),
    "a style with escapes": styled(id=ESCAPE),
    "a library id with escapes": styled(id=f"museum:{ESCAPE}"),
    "a library id that is none": styled(id="museum:0"),
    "a trained style that is none": styled(id="gone.safetensors:s"),
    "a style of the pack that is none": styled(id="pack:nobody"),
    "weight null": styled(weight=None),
    "weight text": styled(weight="1"),
    "weight true": styled(weight=True),
    "weight NaN": styled(weight=float("nan")),
    "weight infinite": styled(weight=float("inf")),
    "weight negative": styled(weight=-1),
    "weight of 400 digits": styled(weight=10**400),
    "width text": {"width": "x"},
    "width null": {"width": None},
    "width a fraction": {"width": 64.5},
    "width NaN": {"width": float("nan")},
    "width negative": {"width": -64},
    "width 0": {"width": 0},
    "width of 400 digits": {"width": 10**400},
    "width of 5,000 digits": '{"width": ' + "9" * 5000 + "}",
    "height a list": {"height": [48]},
    "height huge": {"height": 10**9},
    "content null": {"content": None},
    "content text": {"content": "photo.png"},
    "content without a name": {"content": {"pixels": "0"}},
    "content a number": {"content": {"name": 5, "pixels": "0"}},
    "content in memory": {"content": {"name": "", "pixels": "0"}},
    "content with escapes": {"content": {"name": ESCAPE, "pixels": "0"}},
    "pixels a mapping": {"content": {"name": "photo.png", "pixels": {}}},
    "knobs a list": {"knobs": [1]},
    "knobs null": {"knobs": None},
    "knobs unknown": {"knobs": {"speed": 1}},
    "a knob of 5,000 characters": {"knobs": {"s" * 5000: 1}},
    "a knob with escapes": {"knobs": {ESCAPE: 1}},
    "a knob NaN": {"knobs": {"strength": float("nan")}},
    "a knob a mapping": {"knobs": {"strength": {}}},
    "a knob of 400 digits": {"knobs": {"strength": 10**400}},
    "layers a number": {**OPTIMIZE, "knobs": {"style_layers": 5}},
    "layers a mapping": {**OPTIMIZE, "knobs": {"style_layers": {"a": 1}}},
    "layers that are none": {**OPTIMIZE, "knobs": {"style_layers": ["relu9_9"]}},
    "an encoder that is none": {**OPTIMIZE, "knobs": {"encoder": "eye"}},
    "an encoder of a file that is not there": {**OPTIMIZE, "knobs": {"encoder": "vgg19:gone.safetensors"}},
    "a start that is text": {**OPTIMIZE, "knobs": {"init": "file"}, "init": 5},
    "a start from no file": {**OPTIMIZE, "knobs": {"init": "file"}},
    "a start that the settings do not know of": {**OPTIMIZE, "knobs": {}, "init": "photo.png"},
    "method null": {"method": None},
    "method a list": {"method": ["adain"]},
    "method unknown": {"method": "magic"},
    "method with escapes": {"method": ESCAPE},
    "quality a number": {"quality": 3},
    "quality unknown": {"quality": "perfect"},
    "precision unknown": {"precision": "float8"},
    "precision null": {"precision": None},
    "controls a list": {"controls": [1]},
    "controls null": {"controls": None},
    "controls unknown": {"controls": {"flavour": 1}},
    "controls hold regions": {"controls": {"regions": []}},
    "keep_color a list": {"controls": {"keep_color": ["luminance"]}},
    "color_only text": {"controls": {"color_only": "yes"}},
    "feather NaN": {"controls": {"feather": float("nan")}},
    "feather of nothing": {"controls": {"feather": 3.0}},
    "feather of 400 digits": {"controls": {"feather": 10**400}, "regions": [REGION]},
    "faces text": {"controls": {"protect_faces": "much"}},
    "preserve a number": {"controls": {"preserve": 1}},
    "a map that is not there": {"controls": {"strength_map": "gone.png"}},
    "regions null": {"regions": None},
    "regions text": {"regions": "subject"},
    "a region without styles": {"regions": [{"mask": "subject", "styles": []}]},
    "a region without a mask": {"regions": [{"styles": RECORD["styles"]}]},
    "10,000 styles in regions": {"regions": [{**REGION, "styles": RECORD["styles"] * 100}] * 100},
    "a region of no mask": {"regions": [{**REGION, "mask": ""}]},
    "texture true": {"texture": True},
    "texture a list": {"texture": []},
    "texture seamless by text": {"texture": {"size": 64, "seamless": "yes"}},
    "drop_gps text": {"drop_gps": "yes"},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_record_that_is_wrong_is_refused_in_two_lines(refused, made, name):
    err = refused("redo", made(MUTATIONS[name]))
    assert "a bug in impasto" not in err
    assert all(line.isprintable() and len(line) < 1000 for line in err.splitlines()), err


@pytest.mark.parametrize("size", [{"width": 100_000}, {"width": 100_000, "height": 100_000}])
def test_a_picture_that_fits_nowhere_is_refused(outcome, made, size):
    done = outcome("redo", made(size))
    assert done.code in (2, 5)
    assert "a bug in impasto" not in done.err


@pytest.mark.parametrize("key", [key for key in RECORD if key not in ("impasto", "torch", "stages", "device")])
@pytest.mark.parametrize("value", [None, True, -1, 1e308, "\x1b[1m", [], [[]], {}, {"": None}], ids=repr)
def test_any_value_at_any_key_is_taken_or_refused(key, value):
    try:
        Record.parse(json.loads(json.dumps({**RECORD, key: value})))
    except InputError as error:
        assert error.message.isprintable()


@pytest.mark.parametrize("key", ["content", "styles", "method", "quality", "knobs", "precision", "width", "height"])
def test_a_key_that_is_missing_is_told(key):
    with pytest.raises(InputError):
        Record.parse({name: value for name, value in RECORD.items() if name != key})


@pytest.mark.process
def test_no_folder_of_a_record_is_opened(made, secret, tmp_path):
    beside = secret.parent.name
    folders = {"absolute": secret, "above": f"../{beside}/{secret.name}", "windows": f"C:\\x\\{secret.name}"}
    wanted = []
    for folder, name in ((folder, str(name)) for folder, name in folders.items()):
        weights = name.replace(".png", ".safetensors")
        records = {
            "content": {"content": {"name": name, "pixels": "0"}},
            "style": styled(id=name),
            "mask": {"regions": [{**REGION, "mask": name}]},
            "map": {"controls": {"strength_map": name}},
            "start": {**OPTIMIZE, "knobs": {"init": "file"}, "init": name},
            "encoder": {**OPTIMIZE, "knobs": {"encoder": f"vgg19:{weights}"}},
            "network": {"method": "arbitrary", "knobs": {"network": weights}},
        }
        for where, record in records.items():
            told = weights if where in ("encoder", "network") else name
            path = made(record).rename(tmp_path / f"{where}-{folder}.png")
            wanted.append((path, told.replace("\\", "/").rpartition("/")[2]))
    command = [sys.executable, "-c", WATCHED, *(path for path, _ in wanted)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    answers = re.findall(r"(.*?)^code (\d+) (\w+)$", done.stderr, flags=re.DOTALL | re.MULTILINE)
    assert len(answers) == len(wanted) == 21, done.stderr
    for (path, told), (text, code, opened) in zip(wanted, answers, strict=True):
        assert (code, opened) == ("2", "beside"), path.name + text
        assert told in text.replace("\n", " "), path.name


def test_what_lies_beside_is_found_by_its_name_alone(run, made, secret, tmp_path):
    record = {"content": {"name": "/home/somebody/photo.png", "pixels": "0"}, **styled(id="C:\\art\\style.png")}
    run("redo", made({**record, "later": {"version": 9}}), "-o", tmp_path / "again.png")
    assert images.read_record(tmp_path / "again.png")["content"]["name"] == "photo.png"


def test_a_record_holds_no_folder(run, picture_file, mask_file, tmp_path):
    start, style, mask = picture_file("start.png", seed=5), picture_file("style.png", seed=3), mask_file()
    target = tmp_path / "made.png"
    words = ["--init", start, "--steps", "1", "--preserve", mask, "--region", f"{mask}={style}"]
    run("stylize", picture_file(), "-s", style, *words, "-o", target)
    assert str(tmp_path) not in json.dumps(images.read_record(target))
    run("redo", target, "-o", tmp_path / "again.png")


def test_other_styles_and_another_size(run, refused, made, picture_file, tmp_path):
    other, again = picture_file("other.png", seed=8), tmp_path / "again.png"
    path = made({})
    run("redo", path, "--style", f"{other}:2", "--style", tmp_path / "style.png", "--size", "32", "-o", again)
    record = images.read_record(again)
    assert [(style["id"], style["weight"]) for style in record["styles"]] == [("other.png", 2.0), ("style.png", 1.0)]
    assert (record["width"], record["height"], record["method"]) == (32, 24, "adain")
    assert "--size is 0" in refused("redo", path, "--size", "0")
    assert "no precision 'float8'" in refused("redo", path, "--precision", "float8")
    assert "was painted by adain" in refused("redo", path, "--style", "pack:irises")


def test_what_has_moved_is_found_beside_what_the_user_gives(run, made, picture_file, tmp_path):
    path, moved = made({"controls": {"preserve": "mask.png"}}), tmp_path / "moved"
    moved.mkdir()
    picture_file("mask.png").rename(moved / "mask.png")
    (tmp_path / "photo.png").rename(moved / "photo.png")
    (tmp_path / "style.png").rename(moved / "style.png")
    run("redo", path, "--content", moved / "photo.png", "-o", tmp_path / "again.png")


def test_the_place_stays_out_when_it_was_dropped(run, picture_file, tmp_path):
    photo, style, target, again = (
        picture_file(),
        picture_file("style.png", seed=3),
        tmp_path / "a.png",
        tmp_path / "b.png",
    )
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 27: b"by satellite"}
    with Image.open(photo) as image:
        image.save(photo, exif=exif)
    run("stylize", photo, "-s", style, "-q", "draft", "--drop-gps", "-o", target)
    assert images.read_record(target)["drop_gps"] is True
    for words, told in (([], False), (["--keep-gps"], True), (["--drop-gps"], False)):
        run("redo", target, *words, "-o", again)
        assert (b"by satellite" in again.read_bytes()) is told
        assert images.read_record(again)["drop_gps"] is not told


def test_neither_sheets_nor_previews_nor_kept_steps_tell_the_place(run, picture_file, tmp_path):
    photo, style = picture_file(), picture_file("style.png", seed=3)
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 27: b"by satellite"}
    with Image.open(photo) as image:
        image.save(photo, exif=exif)
    run("mix", photo, "-s", style, "-s", style, "--size", "48", "-o", tmp_path / "sheet.png")
    watched = ["--steps", "2", "--save-every", "1", "--preview", tmp_path / "view.png"]
    run("stylize", photo, "-s", style, *watched, "--drop-gps", "-o", tmp_path / "out.png")
    made = [path for path in tmp_path.rglob("*.png") if path not in (photo, style)]
    assert len(made) >= 5
    assert [path.name for path in made if b"by satellite" in path.read_bytes()] == []


def test_a_film_tells_its_place_unless_it_is_dropped(run, picture_file, tmp_path):
    av = pytest.importorskip("av")
    source, style = tmp_path / "clip.mp4", picture_file("style.png", seed=3)
    with av.open(str(source), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata.update({"title": "a walk", "location": "+48.8584+002.2945/"})
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 + number, np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    for words, told in (([], True), (["--drop-gps"], False)):
        out = tmp_path / f"{told}.mp4"
        run("video", source, "-s", style, "--temporal", "off", *words, "-o", out)
        assert (b"48.8584" in out.read_bytes()) is told
        with av.open(str(out)) as film:
            assert film.metadata["title"] == "a walk"
            assert json.loads(film.metadata["comment"])["drop_gps"] is not told


def test_a_long_record_in_any_format_is_no_record(tmp_path):
    buffer = BytesIO()
    images.write(images.read(np.zeros((8, 8, 3), np.float32)), buffer, format="WEBP", record={"a": "x" * 400_000})
    assert images.read_record(buffer.getvalue()) == {"a": "x" * 400_000}
    with pytest.raises(InputError, match="at most"):
        images.write(images.read(np.zeros((8, 8, 3), np.float32)), buffer, format="WEBP", record={"a": "x" * 600_000})
