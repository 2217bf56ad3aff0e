"""`--format`: of what has no name of its own, in folders, beside the photograph and on standard output."""

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from impasto import images

PAINTING = "museum:436535"


def format_of(file):
    with Image.open(file) as image:
        image.load()
        return image.format


@pytest.mark.parametrize(
    ("name", "ending", "kind"),
    [("jpg", ".jpg", "JPEG"), ("JPEG", ".jpeg", "JPEG"), (".webp", ".webp", "WEBP"), ("tiff", ".tiff", "TIFF")],
)
def test_results_in_a_folder_and_beside_the_photograph(run, picture_file, tmp_path, name, ending, kind):
    photos = [picture_file("a.png"), picture_file("b.png", seed=1)]
    words = ["-s", PAINTING, "-q", "draft", "--format", name]
    inside = run("stylize", *photos, *words, "-o", tmp_path / "out").split()
    beside = run("stylize", photos[0], *words).split()
    for path in (*inside, *beside):
        assert path.endswith(ending)
        assert format_of(path) == kind
        assert images.read_record(path)["method"] == "adain"
    again = run("redo", beside[0], "--format", "webp").strip()
    assert again.endswith(".webp")


@pytest.mark.process
def test_a_pipe_has_the_format_that_was_asked_for(picture_file, tmp_path):
    style = picture_file("style.png", seed=3)
    line = [sys.executable, "-m", "impasto", "stylize", "-", "-s", str(style), "-q", "draft", "--format", "jpg"]
    sizes = []
    for quality in ("20", "95"):
        done = subprocess.run(
            [*line, "--jpeg-quality", quality], input=picture_file().read_bytes(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert format_of(BytesIO(done.stdout)) == "JPEG"
        sizes.append(len(done.stdout))
    assert sizes[0] < sizes[1]


@pytest.mark.process
def test_redo_writes_to_standard_output(run, picture_file, tmp_path):
    style = picture_file("style.png", seed=3)
    run("stylize", picture_file(), "-s", style, "-q", "draft", "-o", tmp_path / "a.png")
    line = [sys.executable, "-m", "impasto", "redo", str(tmp_path / "a.png"), "-o", "-"]
    done = subprocess.run(line, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert format_of(BytesIO(done.stdout)) == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "photo.png", "style.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "gif"], "'gif' is not a format"),
        (["--format", "\x1b[1m"], "is not a format"),
        (["--format", "jpg", "-o", "x.png"], "-o names a file"),
        (["--format", "png", "--jpeg-quality", "80"], "means nothing to PNG"),
        (["-o", "-", "--jpeg-quality", "80"], "means nothing to PNG"),
        (["-o", "-", "--format", "avif", "--jpeg-quality", "0"], "a quality of 0"),
    ],
)
def test_what_does_not_fit_together(refused, picture_file, words, told):
    assert told in refused("stylize", picture_file(), "-s", PAINTING, "-q", "draft", *words)
