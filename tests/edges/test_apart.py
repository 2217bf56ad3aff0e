"""No command writes over what it reads, nor two of its results into one file: by name, through links and by inode."""

import os

import pytest
from PIL import Image

import impasto
from impasto.errors import InputError
from impasto.files import check_apart
from impasto.models import networks
from tiny import tiny_network


@pytest.fixture
def folder(tmp_path, monkeypatch):
    networks.Trained(tiny_network()).save(tmp_path / "net.safetensors")
    for name in ("c.png", "d.png", "s.png", "start.png"):
        Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(tmp_path / name)
    for name in ("m.png", "n.png"):
        Image.new("L", (64, 48), 255).save(tmp_path / name)
    os.link(tmp_path / "m.png", tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to("m.png")
    (tmp_path / "film.webp").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NET = ("-s", "net.safetensors:s3")
OVER_INPUTS = [
    *(
        ("stylize", "c.png", *NET, "--preserve", "m.png", out, name)
        for out in ("-o", "--preview")
        for name in ("m.png", "hard.png", "soft.png", "./m.png")
    ),
    *(("stylize", "c.png", *NET, "--strength-map", "m.png", out, "m.png") for out in ("-o", "--preview")),
    *(("stylize", "c.png", "--region", "m.png=s.png", "-o", name) for name in ("m.png", "s.png", "soft.png")),
    *(
        ("stylize", "c.png", "-s", "s.png", "--init", "start.png", out, "start.png")
        for out in ("-o", "--preview", "--plot")
    ),
    *(("stylize", "c.png", *NET, out, "c.png") for out in ("-o", "--preview")),
    ("stylize", "c.png", "-s", "s.png", "--plot", "s.png"),
    ("stylize", "c.png", "d.png", *NET, "--preview", "d.png"),
    *(
        ("mix", "c.png", "-s", "s.png", "-s", "start.png", out, name)
        for out in ("-o", "--video")
        for name in ("c.png", "s.png")
    ),
    ("texture", "-s", "s.png", "-o", "s.png"),
]
TWO_OF_ONE_NAME = [
    ("stylize", "c.png", "-s", "s.png", "--plot", "o.png", "-o", "o.png"),
    ("stylize", "c.png", "-s", "s.png", "--plot", "./o.png", "-o", "o.png"),
    ("stylize", "c.png", "-s", "s.png", "--save-every", "1", "--time-lapse", "o.webp", "-o", "o.webp"),
    ("stylize", "c.png", "-s", "s.png", "--preview", "o.png", "-o", "o.png"),
    ("mix", "c.png", "-s", "s.png", "-s", "start.png", "-o", "x.webp", "--video", "x.webp"),
    ("stylize", "c.png", "d.png", *NET, "-o", "one.png"),
    ("stylize", ".", *NET, "-o", "one.png"),
]


@pytest.mark.parametrize("words", OVER_INPUTS, ids=" ".join)
def test_no_input_is_replaced(folder, refused, words):
    assert "is an input: it would be replaced" in refused(*words)


@pytest.mark.parametrize("words", TWO_OF_ONE_NAME, ids=" ".join)
def test_two_results_go_to_two_files(folder, refused, words):
    assert "both name" in (err := refused(*words)) or "into one file" in err


def test_redo_does_not_replace_the_picture_that_it_reads(folder, run, refused):
    run("stylize", "c.png", *NET, "-o", "r.png")
    (folder / "link.png").symlink_to("r.png")
    for name in ("r.png", "link.png", "c.png", "net.safetensors"):
        assert "would be replaced" in refused("redo", "r.png", "-o", name)


def test_a_film_and_its_masks_are_kept(folder, refused, store):
    import shutil

    shutil.copy(store.file("clips", "bigbuckbunny.mp4"), folder / "clip.mp4")
    shutil.copy(folder / "clip.mp4", folder / "mask.mp4")
    for words in (
        (*NET, "-o", "clip.mp4"),
        ("--region", "mask.mp4=s.png", "-o", "mask.mp4"),
        (*NET, "--preserve", "m.png", "--preview", "m.png"),
        (*NET, "--preserve", "m.png", "--preview", "soft.png"),
    ):
        assert "would be replaced" in refused("video", "clip.mp4", *words)
    assert "both name" in refused("video", "clip.mp4", *NET, "-o", "o.webp", "--preview", "o.webp")


def test_python_does_not_replace_the_photograph(folder):
    before = (folder / "c.png").read_bytes()
    result = impasto.stylize("c.png", "net.safetensors:s3")
    with pytest.raises(InputError, match="would be replaced"):
        result.save("c.png")
    assert (folder / "c.png").read_bytes() == before
    assert result.save("other.png").exists()


def test_words_that_name_no_file_are_no_inputs(folder):
    check_apart(
        {"-o": "new.png", "--plot": None, "--preview": "-"}, ["irises", "pack:irises", None, 3, "x" * 5000, "-"]
    )


def test_a_training_does_not_replace_what_it_starts_from(tmp_path, picture_file, refused):
    networks.Trained(tiny_network()).save(tmp_path / "net.safetensors")
    for number in range(8):
        picture_file(f"{number}.png", seed=number)
    words = ("--from", tmp_path / "net.safetensors", "-o", tmp_path / "net.safetensors")
    style = ("train", "--style", picture_file("s.png"), "--content", tmp_path)
    assert "net.safetensors" in refused(*style, *words)
    other = refused(*style, *words[:2], "--network", "tiny", "-o", tmp_path / "new.safetensors")
    assert "--network is tiny, and --from is of" in other
