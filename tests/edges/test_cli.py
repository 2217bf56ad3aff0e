"""The command line as a person or a script uses it, with the real weights at small sizes."""

import io
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from impasto.cli.parse import parse_style

PAINTING = "museum:436535"
COMMANDS = [
    "stylize",
    "redo",
    "mix",
    "texture",
    "styles",
    "methods",
    "demo",
    "doctor",
    "assets",
    "bench",
    "measure",
    "compare",
]


def impasto(*arguments, **options):
    command = [sys.executable, "-m", "impasto", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


@pytest.mark.process
def test_help_needs_no_torch():
    script = "import sys; from impasto.cli import app; app.run(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    assert "Usage: impasto" in run(command, "--help")


def test_stylize_help_has_examples_and_every_knob(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = run("stylize", "--help")
    for flag in ("--strength", "--style-layers", "--learning-rate", "--init", "--quality", "Examples"):
        assert flag in text


@pytest.mark.process
def test_version():
    done = impasto("--version", text=True)
    assert re.fullmatch(r"impasto \d+\.\d+\.\d+\n", done.stdout)


def test_the_photograph_gets_a_painting_beside_it_and_nothing_is_replaced(run, picture_file):
    photo = picture_file("Photo 1.png")
    first = run("stylize", photo, "--style", "wheat field cypresses", "-q", "draft").strip()
    second = run("stylize", photo, "--style", "436535", "-q", "draft").strip()
    assert first == str(photo.with_name("Photo 1-wheat-field-with-cypresses.png"))
    assert second == str(photo.with_name("Photo 1-wheat-field-with-cypresses-2.png"))
    assert opened(first).size == opened(photo).size


def test_json_has_one_object_a_picture(run, picture_file, tmp_path):
    photos = [picture_file("a.png"), picture_file("b.png", seed=1)]
    out = run("stylize", *photos, "--style", PAINTING, "-q", "draft", "-o", tmp_path / "out", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["content"] for row in rows] == [str(photo) for photo in photos]
    keys = [
        "content",
        "style",
        "method",
        "quality",
        "output",
        "width",
        "height",
        "seconds",
        "steps",
        "device",
        "precision",
    ]
    assert all(set(keys) <= set(row) for row in rows)
    assert rows[0]["method"] == "adain"
    assert rows[0]["style"] == [PAINTING]
    assert (rows[0]["width"], rows[0]["height"]) == opened(rows[0]["output"]).size == (64, 48)


@pytest.mark.process
def test_from_standard_input_to_standard_output(picture_file):
    photo = picture_file()
    done = impasto("stylize", "-", "--style", PAINTING, "-q", "draft", input=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    assert Image.open(io.BytesIO(done.stdout)).size == (64, 48)


def test_size_and_strength_zero(run, picture_file, tmp_path):
    photo = picture_file("photo.png", 90, 60)
    run("stylize", photo, "--style", PAINTING, "--size", "48", "-q", "draft", "-o", tmp_path / "small.png")
    assert opened(tmp_path / "small.png").size == (48, 32)
    run("stylize", photo, "--style", PAINTING, "--strength", "0", "-o", tmp_path / "same.png")
    assert np.array_equal(np.asarray(opened(tmp_path / "same.png")), np.asarray(opened(photo)))


def test_two_styles_by_weight(run, picture_file, tmp_path):
    out = run(
        *("stylize", picture_file(), "-s", "museum:436528:3", "-s", f"{PAINTING}:1", "-q", "draft"),
        *("-o", tmp_path / "both.png", "--json"),
    )
    assert json.loads(out)["style"] == ["museum:436528", PAINTING]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("irises:2", ("irises", 2.0)),
        ("museum:436535", ("museum:436535", 1.0)),
        ("museum:436535:0.5", ("museum:436535", 0.5)),
        ("436535:3", ("436535", 3.0)),
        ("my painting.jpg", ("my painting.jpg", 1.0)),
        ("Title: a view of 1889", ("Title: a view of 1889", 1.0)),
    ],
)
def test_a_style_and_its_weight(text, parsed):
    assert parse_style(text) == parsed


@pytest.mark.parametrize("init", ["content+noise", "noise", "style"])
def test_every_start(run, picture_file, tmp_path, init):
    target = tmp_path / f"{init}.png"
    run("stylize", picture_file(), "--style", PAINTING, "--init", init, "--steps", "2", "-o", target)
    assert opened(target).size == (64, 48)


def test_starting_from_a_file_and_doing_it_again(run, picture_file, tmp_path):
    photo, start = picture_file(), picture_file("start.png", seed=5)
    target = tmp_path / "made.png"
    run("stylize", photo, "--style", "irises", "--init", start, "--steps", "3", "-o", target)
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.abs(np.asarray(opened(again), float) - np.asarray(opened(target), float)).max() <= 1
    first, second = (json.loads(json.dumps(record_of(path))) for path in (target, again))
    assert first["knobs"] == second["knobs"]


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def record_of(path):
    from impasto import images

    return images.read_record(path)


def test_redo_refuses_a_picture_that_is_not_ours(run, tmp_path):
    theirs = tmp_path / "theirs.png"
    Image.new("RGB", (40, 30)).save(theirs)
    run("redo", theirs, code=2)


@pytest.mark.process
def test_an_animation_gives_its_first_frame_and_says_so(tmp_path):
    frames = [Image.new("RGB", (40, 32), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    done = impasto("stylize", "moving.gif", "--style", PAINTING, "-q", "draft", cwd=tmp_path, text=True)
    assert done.returncode == 0, done.stderr
    assert "first" in done.stderr


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_clean_with_the_best_picture_so_far(picture_file, tmp_path, number, code):
    photo, target = picture_file("photo.png", 96, 64), tmp_path / "out.png"
    command = [sys.executable, "-m", "impasto", "stylize", photo, "--style", PAINTING, "--steps", "5000", "-o", target]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:  # the first report of the refinement
        if line.startswith("refining"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert opened(target).size == (96, 64)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] != []
    assert record_of(target)["method"] == "optimize"


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_kill_leaves_no_picture(picture_file, tmp_path):
    photo, target = picture_file(), tmp_path / "out.png"
    command = [sys.executable, "-m", "impasto", "stylize", photo, "--style", PAINTING, "--steps", "5000", "-o", target]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:  # not before it works: killed while it imports, it could leave nothing anyway
        if line.startswith("refining"):
            break
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=600)
    assert [path.name for path in tmp_path.iterdir()] == [photo.name]


def test_styles_are_found_by_words_and_number(run):
    rows = json.loads(run("styles", "van gogh", "--json"))
    assert PAINTING in [row["id"] for row in rows]
    assert set(rows[0]) == {"id", "title", "artist", "date", "licence", "source"}
    sources = [row["source"] for row in json.loads(run("styles", "--json"))]
    assert (sources.count("museum"), sources.count("pack")) == (174, 12)
    found = {row["source"]: row for row in json.loads(run("styles", "436535", "--json"))}
    assert found["museum"]["title"] == "Wheat Field with Cypresses"


def test_styles_on_a_sheet(run, tmp_path):
    run("styles", "van", "gogh", "--sheet", tmp_path / "sheet.png")
    assert opened(tmp_path / "sheet.png").width > 400


def test_methods_and_their_settings(run):
    rows = {row["name"]: row for row in json.loads(run("methods", "--json"))}
    assert rows["optimize"]["knobs"]["properties"]["strength"]["maximum"] == 1
    described = run("methods", "adain")
    assert "--strength" in described
    assert "takes into account: regions, strength" in described
    small, large = json.loads(run("methods", "microast", "--json"))[0]["predicted"]
    assert (small["size"], large["size"]) == (512, 1024)
    assert 3.5 < large["seconds"] / small["seconds"] < 4.5
    assert large["bytes"] == 4 * small["bytes"] > 10_000_000
    listed = run("methods")
    assert "arXiv" in listed
    for told in ("512 px", "1024 px", "takes into account", "MB", "regions"):
        assert told in listed
    assert all(len(row["predicted"]) == 2 and row["predicted"][1]["seconds"] > 0 for row in rows.values())


def test_assets_are_listed_and_verified(run):
    rows = {row["id"]: row for row in json.loads(run("assets", "list", "--json"))}
    assert rows["adain-decoder"]["present"]
    assert "adain-decoder: sound" in run("assets", "verify", "adain-decoder")


def test_doctor_tells_why(run):
    report = json.loads(run("doctor", "--json"))
    assert report["precision"]["adain"] in ("float32", "bfloat16")
    assert report["reason"]
    assert report["assets"]["museum"] is True
    assert "cache" in run("doctor")


@pytest.mark.process
def test_completion_script_is_offered():
    done = impasto(
        "--show-completion", "bash", text=True, env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "IMPASTO_COMPLETE" in done.stdout.upper()


@pytest.mark.process
def test_a_closed_pipe_is_no_bug():
    done = subprocess.run(
        f"{sys.executable} -m impasto styles --json | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
