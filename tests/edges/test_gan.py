"""`impasto gan`, on tiny networks and pictures made of noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import stylegan_files as made
from impasto import images, videos
from impasto.cli import app
from impasto.contract import Placement, ignore
from impasto.errors import Cancelled, InputError
from impasto.gan.painter import Painter
from impasto.methods.settings import GanKnobs
from impasto.models import stylegan_files
from impasto.models.stylegan import StyleGanSpec
from impasto.models.stylegan_files import StyleGan
from impasto.train import GanTraining, _run, train
from impasto.train._stylegan import GanLearner
from impasto.train.data import Photographs
from tiny import write_photographs

KNOBS = GanKnobs(steps=6, crop=32, canvas=64, batch=4, width=8, ema=0.5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("gan") / "net.safetensors"
    generator, discriminator = made.networks()
    StyleGan(made.SPEC, generator.state_dict(), discriminator.state_dict()).save(path)
    return path


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "paintings", 12)


@pytest.fixture(autouse=True, scope="module")
def few_validations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_VALIDATIONS", 2)
        yield


@pytest.fixture
def run(network, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.safetensors").write_bytes(network.read_bytes())

    def call(text, *, code=0):
        assert app.run(["gan", *text.split()]) == code, capfd.readouterr().err
        return capfd.readouterr()

    return call


def test_samples_are_files_a_sheet_and_json(run, tmp_path):
    told = json.loads(run("sample net.safetensors --seeds 1-3,9 -o out --sheet sheet.png --size 40 --json").out)
    assert told["seeds"] == [1, 2, 3, 9]
    names = [f"out/seed-{number:04d}.png" for number in (1, 2, 3, 9)]
    assert told["written"] == [*names, "sheet.png"]
    pictures = [images.read(tmp_path / name).pixels for name in names]
    assert pictures[0].shape == (40, 40, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    assert run("sample net.safetensors --seeds 2 -o one.png --size 40").out == "one.png\n"
    np.testing.assert_array_equal(images.read(tmp_path / "one.png").pixels, pictures[1])
    assert run("sample net.safetensors --seeds 2,2 -o same").out == "same/seed-0002.png\n"
    assert len(run("sample net.safetensors --count 2 -o more").out.splitlines()) == 2


def test_networks_of_others_paint_the_same(run, tmp_path):
    generator, discriminator = made.networks()
    (tmp_path / "net.pkl").write_bytes(made.nvidia(generator, discriminator))
    (tmp_path / "net.pt").write_bytes(made.rosinality(generator, discriminator))
    for name in ("net.pkl", "net.pt"):
        run(f"sample {name} --seeds 4 -o {name}.png --precision float32")
    first, second = (images.read(tmp_path / f"{name}.png").pixels for name in ("net.pkl", "net.pt"))
    np.testing.assert_allclose(first, second, atol=1.01 / 255)


def test_a_grid_of_mixtures(run, tmp_path):
    told = json.loads(
        run("mix net.safetensors --rows 1-2 --columns 3,4,5 --layers 2-3 -o mix.png --folder all --json").out
    )
    assert told["layers"] == [2, 3]
    assert len(told["written"]) == 7
    assert images.probe(tmp_path / "mix.png").width > 4 * 160
    assert images.read(tmp_path / "all" / "2-4.png").pixels.shape == (16, 16, 3)


def test_layers_of_two_projections_are_swapped(run, tmp_path, network):
    """The coarse layers of a photograph with the fine ones of a painting, and the other way round."""
    painter = Painter.load(network)
    photograph, painting = painter.latents([11]), painter.latents([12])
    painter.save_latents(tmp_path / "photograph.safetensors", photograph)
    painter.save_latents(tmp_path / "painting.safetensors", painting)
    files = "photograph.safetensors,painting.safetensors"
    run(f"mix net.safetensors --rows {files} --columns {files} --layers 2-5 -o mix.png --folder all")
    pairs = ((photograph[:, :2], painting[:, 2:]), (painting[:, :2], photograph[:, 2:]))
    swapped = torch.cat([torch.cat(pair, 1) for pair in pairs])
    names = ("photograph-painting", "painting-photograph")
    for name, wanted in zip(names, painter.paint(swapped), strict=True):
        np.testing.assert_allclose(images.read(tmp_path / "all" / f"{name}.png").pixels, wanted, atol=1.01 / 255)


def test_a_walk_is_a_film_that_closes(run, tmp_path):
    told = json.loads(run("walk net.safetensors --seeds 1,2 --seconds 1.2 --fps 10 --size 64 -o walk.mp4 --json").out)
    assert told["frames"] == 12
    frames = [frame.pixels for frame in videos.VideoReader(tmp_path / "walk.mp4")]
    assert len(frames) == 12
    assert frames[0].shape == (64, 64, 3)
    seam = np.abs(frames[-1] - frames[0]).mean()
    assert seam < 2 * np.abs(frames[5] - frames[4]).mean()


def test_a_stylegan_is_no_style(run, capfd, tmp_path, picture_file):
    picture_file("photo.png")
    (tmp_path / "net.pkl").write_bytes(made.nvidia(made.networks()[0]))
    for name in ("net.safetensors", "net.pkl"):
        assert app.run(["stylize", "photo.png", "--style", name, "-o", "out.png"]) == 2
        assert f"{name} makes pictures of random numbers and has no style" in capfd.readouterr().err


WRONG = {
    "sample https://example.com/net.pkl -o a.png": "is an address",
    "sample net.safetensors": "no place was named",
    "sample none.pkl -o a.png": "there is no network",
    "sample photo.png -o a.png": "cannot be read as a network",
    "sample net.safetensors -o a.png --count 2": "cannot go into one file",
    "sample net.safetensors -o out --truncation 3": "--truncation is 3",
    "sample net.safetensors -o out --truncation nan": "--truncation is nan",
    "sample net.safetensors -o out --seeds x": "--seeds is 'x'",
    "sample net.safetensors -o out --seeds 9-1": "--seeds is '9-1'",
    "sample net.safetensors -o out --seeds 0-99999999": "--seeds is",
    "sample net.safetensors -o out --seeds 9999999999": "the seed is 9999999999",
    "sample net.safetensors -o out --size 1": "--size is 1",
    "sample net.safetensors -o net.safetensors": "",
    "mix net.safetensors -o a.png --layers fine": "--layers fine are not in the network",
    "mix net.safetensors -o a.png --rows 1-99 --columns 1-99": "too large",
    "mix net.safetensors -o a.png --rows none.safetensors --layers 0": "neither a seed nor a file",
    "mix net.safetensors -o a.png --rows net.safetensors --layers 0": "holds no latents",
    "mix net.safetensors -o a.png --rows a/x.safetensors,b/x.safetensors --folder all": "two mixtures would be all/x-5",
    "walk net.safetensors -o walk.mp4 --seeds 1": "leads nowhere",
    "walk net.safetensors -o walk.mp4 --seeds 3,3": "to itself leads nowhere",
    "walk net.safetensors -o walk.mp4 --truncation -1": "--truncation is -1",
    "walk net.safetensors -o walk.txt": "",
    "walk net.safetensors -o nowhere/walk.mp4": "nowhere/walk.mp4 cannot be written: there is no folder",
    "walk net.safetensors -o nowhere/deep/%05d.png": "there is no folder nowhere",
    "mix net.safetensors -o a.png --columns photo.png --layers 0": "'photo.png' is neither a seed nor a file",
    "sample net.safetensors -o a.png --seeds 1..4": "--seeds is '1..4'",
    "project net.safetensors none.jpg -o a.png": "",
    "project net.safetensors photo.png -o photo.png": "photo.png",
    "project net.safetensors photo.png -o a.png --latents a.txt": "not a .safetensors file",
    "train -o a.safetensors": "no paintings were given",
    "train --paintings few -o a.safetensors": "few holds 2 paintings; training needs 8 at least",
    "train --paintings one -o a.safetensors": "one holds 1 painting; training needs 8 at least",
    "train --paintings one --paintings few -o a.safetensors": "one, few together hold 3 paintings",
    "train --paintings few --paintings ./few -o a.safetensors": "few is named twice",
    "train --paintings few --paintings few/deep -o a.safetensors": "one lies in the other",
    "train --paintings few -o a.png": "cannot be the network's file",
    "train --paintings few -o a.safetensors --crop 48": "--crop is 48",
    "adapt --paintings few -o a.safetensors": "no network to start from",
    "adapt --paintings few --from net.safetensors -o a.safetensors --crop 64": "makes pictures of 16 px",
}


@pytest.mark.parametrize("text", WRONG)
def test_bad_input_is_two_lines(run, tmp_path, picture_file, text):
    picture_file("photo.png")
    write_photographs(tmp_path / "few", 2)
    write_photographs(tmp_path / "one", 1)
    (tmp_path / "few" / "deep").mkdir()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    told = run(text, code=2).err.splitlines()
    assert len(told) == 2, told
    assert told[0].startswith("error: ")
    assert told[1].startswith("hint:  ")
    assert WRONG[text] in told[0]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def learn(paintings, tmp_path):
    def call(name, knobs=KNOBS, *, heard=ignore, **options):
        job = GanTraining(source=paintings, target=tmp_path / f"{name}.safetensors", knobs=knobs, **options)
        return train(job, weights={}, placement=Placement(), on_progress=heard)

    return call


def stop_at(step):
    def heard(progress):
        if progress.stage == "training" and progress.step >= step:
            raise Cancelled

    return heard


def test_a_training_writes_a_network_that_paints(learn, tmp_path):
    result = learn("net", paintings="noise")
    network = stylegan_files.read(result.path)
    assert (network.spec.size, network.spec.widths) == (32, (64, 32, 16, 8))
    assert network.about["paintings"] == "noise"
    assert network.discriminator is not None
    assert bool(network.generator["mapping.w_avg"].abs().sum() > 0)
    assert set(result.losses) == {"loss", "held_back", "made", "augmented"}
    folder = tmp_path / "net.training"
    assert images.probe(folder / "sheet-000006.png").width > 300
    header = (folder / "losses.csv").read_text().splitlines()[0]
    assert header == "step,generator,discriminator,augmented,realness"


def test_a_stopped_training_goes_on_to_the_same_end(learn):
    knobs = replace(KNOBS, steps=20, ada_target=-0.9)  # so that it augments, and regularises twice
    whole = learn("whole", knobs)
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(5))
    resumed = learn("stopped", knobs, resume=True)
    first, second = load_file(whole.path), load_file(resumed.path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    histories = [path.with_suffix(".training") / "losses.csv" for path in (whole.path, resumed.path)]
    assert histories[0].read_text() == histories[1].read_text()
    assert whole.losses["augmented"] > 0


def test_both_networks_learn_and_each_from_its_own_loss():
    spec = StyleGanSpec(8, (8, 8), latent=8, depth=2)
    learner = GanLearner(made.networks(spec), KNOBS, Placement())
    pictures = torch.rand(4, 3, 8, 8, generator=made.seeded())
    fakes = learner._made(4, made.seeded(1))
    learner._fooled(fakes, made.seeded()).sum().backward()
    assert all(one.grad is None for one in learner.discriminator.parameters())
    assert all(one.grad is not None for one in learner.generator.mapping.parameters())
    learner.zero_grad()
    learner._judged(pictures, fakes.detach(), made.seeded())["discriminator"].sum().backward()
    assert all(one.grad is None for one in learner.generator.parameters())
    assert all(one.grad is not None for one in learner.discriminator.parameters())


def test_r1_is_the_squared_gradient_at_real_pictures(monkeypatch):
    spec = StyleGanSpec(8, (8, 8), latent=8, depth=2)
    learner = GanLearner(made.networks(spec), KNOBS, Placement())
    monkeypatch.setattr(GanLearner, "global_step", 0)
    pictures = 2 * torch.rand(1, 3, 8, 8, generator=made.seeded()) - 1
    found = learner._judged(pictures, pictures, made.seeded())["r1"][0].detach()
    slow, step = 0.0, 1e-2  # it is linear between kinks
    with torch.no_grad():
        for place in range(pictures.numel()):
            ends = []
            for sign in (1, -1):
                moved = pictures.clone()
                moved.view(-1)[place] += sign * step
                ends.append(learner.discriminator(moved)[0])
            slow += float((ends[0] - ends[1]) / (2 * step)) ** 2
    assert float(found) == pytest.approx(slow, rel=0.05)


def test_augmentation_follows_how_surely_real_pictures_are_told():
    learner = GanLearner(made.networks(StyleGanSpec(8, (8, 8), latent=8, depth=2)), KNOBS, Placement())
    for _ in range(50):
        learner._adapt(torch.ones(4))
    grown = float(learner.probability)
    assert 0 < grown <= 50 * 4 / 100_000 + 1e-6
    for _ in range(60):
        learner._adapt(torch.tensor([1.0, -1, 1, -1]))
    assert float(learner.probability) < grown


def test_an_adapted_network_starts_where_the_other_ended(learn, paintings, tmp_path):
    base = learn("base").path
    start = stylegan_files.read(base)
    still = replace(KNOBS, steps=1, learning_rate=1e-6, freeze=2, ema=0.0)
    tensors = load_file(learn("near", still, start=start).path)
    before = load_file(base)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, before[name], atol=0.05, rtol=0.01)
    moved = load_file(learn("far", replace(still, steps=4, learning_rate=0.01), start=start).path)
    blocks = {side: f"discriminator.b{side}.conv0.weight" for side in (32, 16, 8)}
    assert torch.equal(moved[blocks[32]], before[blocks[32]])
    assert torch.equal(moved[blocks[16]], before[blocks[16]])
    assert not torch.equal(moved[blocks[8]], before[blocks[8]])
    with pytest.raises(InputError, match="begun with adapted True, not False"):
        learn("far", replace(still, steps=4, learning_rate=0.01), resume=True)


def nearest(pictures, colours):
    """Mean distance of all pixels to the nearer of some colours."""
    return np.mean([np.abs(one[..., None, :] - colours / 255).mean(-1).min(-1).mean() for one in pictures])


@pytest.mark.slow
def test_a_toy_is_learnt(tmp_path):
    """Squares of two colours: in some steps pictures have these colours, too."""
    random = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 60, 200]], np.uint8)
    noise = random.integers(-8, 9, (24, 32, 32, 3))
    pixels = tuple((colours[number % 2] + one).astype(np.uint8) for number, one in enumerate(noise))
    found = []
    for steps in (1, 200):
        knobs = replace(KNOBS, steps=steps, batch=8, canvas=32, ema=0.9, augment="off", path_weight=0, r1_weight=1.0)
        target = tmp_path / f"toy{steps}.safetensors"
        train(GanTraining(source=Photographs(pixels), target=target, knobs=knobs), weights={}, placement=Placement())
        painter = Painter.load(target, precision="float32")
        found.append(nearest(painter.paint(painter.latents(range(8), truncation=1.0)), colours))
    assert found[1] < 0.5 * found[0], found


# --- generated pictures in other commands -----------------------------------------------------------------------------


@pytest.mark.real
def test_generated_pictures_are_contents_and_styles_and_photographs_are_found(run, tmp_path, picture_file, capfd):
    picture_file("photo.png")
    run("sample net.safetensors --seeds 1,2 --size 64 -o made")
    painted = ["stylize", "made/seed-0001.png", "--style", "made/seed-0002.png", "--quality", "draft", "-o", "out.png"]
    assert app.run(painted) == 0
    capfd.readouterr()
    assert images.read(tmp_path / "out.png").pixels.shape == (64, 64, 3)
    told = json.loads(run("project net.safetensors photo.png --steps 12 -o found.png --json").out)
    assert told["written"] == ["found.png", "found.safetensors"]
    assert images.read(tmp_path / "found.png").pixels.shape == (16, 16, 3)
    run("mix net.safetensors --rows found.safetensors --columns 3 --layers 3-5 -o mix.png --folder all")
    assert (tmp_path / "all" / "found-3.png").exists()


def test_train_adapt_and_sample_from_the_command_line(run, tmp_path, paintings):
    common = f"--paintings {paintings} --canvas 64 --batch 4 --json"
    told = json.loads(run(f"train {common} --crop 32 --width 8 --steps 2 -o mine.safetensors").out)
    assert told["written"] == ["mine.safetensors"]
    assert told["steps"] == 2
    run(f"train {common} --crop 32 --width 8 --steps 2 -o mine.safetensors", code=2)  # it would begin anew
    told = json.loads(run(f"adapt --from mine.safetensors {common} --steps 1 --freeze 1 -o other.safetensors").out)
    assert told["steps"] == 1
    run("sample other.safetensors --seeds 1 -o one.png")
    assert images.read(tmp_path / "one.png").pixels.shape == (32, 32, 3)


def test_a_network_of_16_px_is_adapted_without_naming_its_size(run, tmp_path, paintings):
    told = json.loads(
        run(f"adapt --from net.safetensors --paintings {paintings} --steps 1 -o a.safetensors --json").out
    )
    assert told["steps"] == 1
    run("sample a.safetensors --seeds 1 -o one.png")
    assert images.read(tmp_path / "one.png").pixels.shape == (16, 16, 3)
