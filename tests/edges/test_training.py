"""Training, on tiny seeded encoders and pictures made of noise."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from impasto import images
from impasto.cli import app
from impasto.cli import train as cli_train
from impasto.contract import Job, Placement, Style, StyleImage, ignore
from impasto.errors import Cancelled, InputError, ResourceError
from impasto.methods.adain import AdaIN
from impasto.methods.arbitrary import Arbitrary
from impasto.methods.attention import Attention
from impasto.methods.feedforward import FeedForward
from impasto.methods.settings import (
    AdaINKnobs,
    AdaINTrainKnobs,
    ArbitraryKnobs,
    AttentionKnobs,
    AttentionTrainKnobs,
    DecoderKnobs,
    FeedForwardKnobs,
    TrainKnobs,
)
from impasto.models import catalog, checkpoint, codecs, decoders, networks, predictors
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.train import (
    AdaINTraining,
    AttentionTraining,
    DecoderTraining,
    StyleTraining,
    _run,
    load_arbitrary,
    train,
    variations,
)
from impasto.train._adain import AdaINLearner
from impasto.train._attention import Painter
from impasto.train._critic import Critic
from impasto.train._jobs import Beginning
from impasto.train._motion import Motion
from impasto.train._squares import Squares
from impasto.train._teacher import Teacher
from impasto.train.data import Crops, load_photographs
from tiny import TinyStore, noise, tiny_network, write_photographs
from tiny import training_styles as known_styles

KNOBS = TrainKnobs(steps=6, crop=64, canvas=96, batch=2, ema=0.5)
SCRIPT = Path(__file__).parents[1] / "train_script.py"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs", 10)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, because tiny networks wait for a second; and few validations, because each paints a sheet."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_VALIDATIONS", 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def teach(photographs, tiny_weights, placement):
    def run(path, knobs=KNOBS, *, heard=ignore, training_styles=None, **options):
        common = {"source": photographs, "target": path, "knobs": knobs}
        if isinstance(knobs, AttentionTrainKnobs | AdaINTrainKnobs):
            kind = AttentionTraining if isinstance(knobs, AttentionTrainKnobs) else AdaINTraining
            job = kind(**common, training_styles=known_styles(2), **options)
        elif isinstance(knobs, DecoderKnobs):
            job = DecoderTraining(**common, **options)
        else:
            job = StyleTraining(**common, training_styles=training_styles or known_styles(2), **options)
        weights = {asset: tiny_weights[asset] for asset in job.assets}
        return train(job, weights=weights, placement=placement, on_progress=heard)

    return run


@pytest.fixture
def learn(teach, tmp_path):
    def run(name, *arguments, **options):
        return teach(tmp_path / f"{name}.safetensors", *arguments, **options)

    return run


@pytest.fixture(scope="module")
def base(teach, tmp_path_factory):
    """The network that `KNOBS` make of two styles."""
    return teach(tmp_path_factory.mktemp("base") / "base.safetensors").path


def stop_at(step):
    """Hears a training and stops it as Ctrl-C does."""

    def hear(progress):
        if progress.stage == "training" and progress.step == step:
            raise Cancelled("stopped")

    return hear


@pytest.fixture
def as_program(photographs, tmp_path):
    """Runs the same training as a process of its own."""

    def run(name, knobs, *arguments):
        settings = json.dumps(asdict(knobs))
        command = [sys.executable, SCRIPT, photographs, tmp_path / f"{name}.safetensors", settings]
        path = os.pathsep.join([str(SCRIPT.parent), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        words = [str(word) for word in (*command, *arguments)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)

    return run


def same(one, two, **tolerance):
    first, second = networks.read(one).tensors, networks.read(two).tensors
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], **tolerance)


def test_training_learns_and_leaves_all_that_was_promised(learn, tmp_path):
    outcome = learn("net", replace(KNOBS, steps=30, learning_rate=0.01))
    folder = tmp_path / "net.training"
    rows = (folder / "validation.csv").read_text().splitlines()
    first, last = (float(rows[at].split(",")[-1]) for at in (1, -1))
    assert last < 0.8 * first
    assert len((folder / "losses.csv").read_text().splitlines()) == 31
    assert (folder / "losses.svg").read_text().startswith("<svg")
    assert images.probe(folder / "sheet-000030.png").width > 300
    assert list((folder / "tensorboard").glob("events*"))
    assert outcome.steps == 30
    assert outcome.losses["loss"] == pytest.approx(last, rel=1e-4)
    about = networks.read(outcome.path).about
    assert about["licences"] == {"style0": "CC0", "style1": "CC0"}
    assert about["recipe"]["steps_done"] == 30
    assert len(about["losses"]["content"]) == 30
    assert about["thumbnails"].keys() == {"style0", "style1"}


def test_a_run_can_be_repeated_and_a_seed_changes_it(learn, base):
    same(learn("again").path, base, atol=0, rtol=0)
    with pytest.raises(AssertionError):
        same(learn("other", replace(KNOBS, seed=1)).path, base, atol=1e-3, rtol=0)


@pytest.mark.process
def test_a_killed_run_goes_on_exactly_where_it_was(learn, as_program, base):
    killed = as_program("killed", KNOBS, 3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(InputError, match="holds a training"):
        learn("killed")
    with pytest.raises(InputError, match="begun with batch 2, not 4"):
        learn("killed", replace(KNOBS, batch=4), resume=True)
    resumed = learn("killed", resume=True)
    assert resumed.steps == 6
    same(resumed.path, base, atol=0, rtol=0)
    histories = [path.with_suffix(".training") / "losses.csv" for path in (resumed.path, base)]
    assert histories[0].read_text() == histories[1].read_text()


def test_with_a_critic_a_stopped_run_goes_on_as_exactly(learn, base):
    knobs = replace(KNOBS, adversarial_weight=0.5)
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(2))
    resumed, whole = learn("stopped", knobs, resume=True), learn("whole", knobs)
    same(resumed.path, whole.path, atol=0, rtol=0)
    assert not any("critic" in name for name in networks.read(whole.path).tensors)
    rows = (whole.path.with_suffix(".training") / "losses.csv").read_text().splitlines()
    assert rows[0] == "step,content,style,tv,grid,adversarial,critic"
    with pytest.raises(AssertionError):
        same(whole.path, base, atol=1e-4, rtol=0)


def test_the_critic_learns_and_leaves_the_network_to_itself():
    paintings, flat = noise(64, 64, batch=4) > 0.5, torch.full((4, 3, 64, 64), 0.5, requires_grad=True)
    critic, styles = Critic(2, seed=0), torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    for _ in range(40):
        losses = critic.losses(flat, paintings.float(), styles)
        optimizer.zero_grad()
        losses["critic"].sum().backward()
        assert flat.grad is None  # what it learns by does not reach the network
        optimizer.step()
    assert losses["critic"].max() < 1
    optimizer.zero_grad()
    critic.losses(flat, paintings.float(), styles)["adversarial"].sum().backward()
    assert flat.grad.abs().sum() > 0
    assert all(one.grad is None for one in critic.parameters())


def test_patches_come_from_their_painting_and_a_number_settles_them(tiny_weights, placement):
    teacher = Teacher(tiny_weights, known_styles(2), KNOBS, placement)
    styles, numbers = torch.tensor([0, 1, 0]), torch.tensor([4, 4, 5])
    first, again = (teacher.patches(styles, numbers, 64, 0) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[2])
    assert first.shape == (3, 3, 64, 64)
    assert teacher.patches(styles, numbers, 500, 0).shape[2] == teacher.shortest_side


def test_taught_to_be_steady_it_is_steadier_and_goes_on_exactly(learn, photographs, placement):
    numbers, film = list(range(900, 908)), Crops(load_photographs(photographs, least_side=64), 64, 96, 5, 8)
    motion = Motion(numbers, 5, 64)
    before = torch.cat([images.to_tensor(film[index]) for index in range(8)])

    def restlessness(path):
        stylizer = FeedForward({"network": networks.read(path).tensors}, placement)
        code = stylizer.encode_style(Style((StyleImage(before[:1], 1.0, "", "style0"),)), FeedForwardKnobs())
        jobs = [Job(code, FeedForwardKnobs())] * 8
        frames = (stylizer.stylize(pictures, jobs) for pictures in (before, motion.film(before)))
        return float(motion.error(*frames).mean())

    knobs = replace(KNOBS, steps=16, learning_rate=0.01)
    plain, steady = learn("plain", knobs), learn("steady", replace(knobs, temporal_weight=10.0))
    assert restlessness(steady.path) < 0.7 * restlessness(plain.path)
    assert "temporal" in (steady.path.with_name("steady.training") / "losses.csv").read_text().splitlines()[0]

    short = replace(KNOBS, steps=4, temporal_weight=10.0)
    with pytest.raises(Cancelled):
        learn("half", short, heard=stop_at(2))
    same(learn("half", short, resume=True).path, learn("short", short).path, atol=0, rtol=0)


def test_strokes_large_shapes_and_grids_are_learnt_from_and_it_goes_on_exactly(learn):
    weights = {"large_weight": 0.5, "stroke_weight": 0.5, "grid_weight": 1.0}
    knobs = replace(KNOBS, steps=4, **weights)
    with pytest.raises(Cancelled):
        learn("half", knobs, heard=stop_at(2))
    path = learn("half", knobs, resume=True).path
    same(path, learn("whole", knobs).path, atol=0, rtol=0)
    heads = (path.with_name("half.training") / "losses.csv").read_text().splitlines()[0].split(",")
    assert {"large", "strokes", "grid"} <= {*heads}


def test_a_run_goes_on_from_the_network_that_it_began_with_alone(learn, base, tmp_path):
    start = networks.read(base)
    learn("ahead", replace(KNOBS, steps=1), start=start)
    with pytest.raises(InputError, match=f"begun with starting_network {start.digest}, not none"):
        learn("ahead", replace(KNOBS, steps=2), resume=True)
    recipe = tmp_path / "ahead.training" / "recipe.json"
    older = {name: one for name, one in json.loads(recipe.read_text()).items() if name != "starting_network"}
    recipe.write_text(json.dumps({**older, "network": "tiny"}))  # as before it was told
    assert learn("ahead", replace(KNOBS, steps=2), start=start, resume=True).steps == 2


def test_a_training_of_another_kind_does_not_go_on_in_its_folder(learn):
    learn("styles", replace(KNOBS, steps=1))
    with pytest.raises(InputError, match="begun with kind None, not decoder"):
        learn("styles", DecoderKnobs(steps=2, crop=64, canvas=96, batch=2), resume=True)


def test_a_run_older_than_the_grids_loss_goes_on_without_it(learn, tmp_path):
    learn("old", replace(KNOBS, steps=1, grid_weight=0.0))
    recipe = tmp_path / "old.training" / "recipe.json"
    recipe.write_text(
        json.dumps({name: one for name, one in json.loads(recipe.read_text()).items() if "grid" not in name})
    )
    with pytest.raises(InputError, match=r"begun with grid_weight 0\.0, not 2\.0"):
        learn("old", replace(KNOBS, steps=2), resume=True)
    assert learn("old", replace(KNOBS, steps=2, grid_weight=0.0), resume=True).steps == 2


def test_narrow_paintings_are_learnt_at_half_their_size_too(learn):
    narrow = [replace(one, pixels=one.pixels[:8]) for one in known_styles(2)]
    knobs = replace(KNOBS, steps=1, large_weight=0.5, stroke_weight=0.5)
    assert learn("narrow", knobs, training_styles=narrow).steps == 1


def any_painting(count=3, unseen=1):
    """A job's options for a network that takes any painting."""
    known = known_styles(count)
    return {"training_styles": [*known[unseen:], *variations(known[unseen:], 0), *known[:unseen]], "unseen": unseen}


def test_a_network_for_any_painting_is_learnt(learn, tmp_path, tiny_weights):
    knobs = replace(KNOBS, steps=24, learning_rate=0.01, network="tiny")
    outcome = learn("any", knobs, **any_painting(4))
    rows = (tmp_path / "any.training" / "validation.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[-1]) < 0.9 * float(rows[1].split(",")[-1])
    tensors, about = predictors.read(outcome.path)
    assert about["kind"] == predictors.KIND
    assert about["unseen"] == ["museum:0"]
    assert about["paintings"] == ["museum:1", "museum:2", "museum:3"]
    encoder = "vgg19-normalised"
    stylizer = Arbitrary({encoder: tiny_weights[encoder], "arbitrary:FILE": tensors}, Placement())
    style = Style((StyleImage(images.to_tensor(known_styles(4)[0].pixels)),))
    painted = stylizer.stylize(noise(50, 70), [Job(stylizer.encode_style(style, ArbitraryKnobs()), ArbitraryKnobs())])
    assert painted.shape == (1, 3, 50, 70)


def test_stopped_it_goes_on_exactly_for_any_painting_too(learn):
    knobs = replace(KNOBS, steps=4)
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(2), **any_painting())
    resumed, whole = learn("stopped", knobs, resume=True, **any_painting()), learn("whole", knobs, **any_painting())
    first, second = (predictors.read(outcome.path)[0] for outcome in (resumed, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_goes_on_from_a_network_for_any_painting_with_its_predictor(learn):
    first = learn("first", replace(KNOBS, steps=8, learning_rate=0.01), **any_painting()).path
    start, predictor = load_arbitrary(str(first))
    path = learn(
        "more", replace(KNOBS, steps=1, learning_rate=1e-6), start=start, predictor=predictor, **any_painting()
    )
    (before, known), (after, about) = (predictors.read(one) for one in (first, path.path))
    assert about["paintings"] == known["paintings"]
    for name in ("head.weight", "predictor.hidden.weight", "predictor.code.bias", "predictor.centre"):
        torch.testing.assert_close(after[name], before[name], atol=2e-3, rtol=0)


def test_a_training_that_began_without_a_palette_is_told_to_go_on_otherwise(learn, tmp_path):
    knobs = replace(KNOBS, steps=1)
    learn("any", knobs, **any_painting())
    recipe = tmp_path / "any.training" / "recipe.json"
    recipe.write_text(json.dumps({key: one for key, one in json.loads(recipe.read_text()).items() if key != "palette"}))
    with pytest.raises(InputError, match="begun with palette False") as caught:
        learn("any", replace(knobs, steps=2), resume=True, **any_painting())
    assert "--from" in caught.value.hint


def test_it_starts_from_the_convolutions_of_known_styles(learn, base):
    start = networks.read(base)
    knobs = replace(KNOBS, steps=1, learning_rate=1e-6)
    tensors = predictors.read(learn("any", knobs, start=start, **any_painting()).path)[0]
    torch.testing.assert_close(tensors["head.weight"], start.tensors["head.weight"].float(), atol=2e-3, rtol=0)
    mean = (start.code("style0") + start.code("style1"))[0] / 2
    code = tensors["predictor.code.bias"]
    torch.testing.assert_close(code, F.pad(mean, (0, len(code) - len(mean))), atol=0.3, rtol=0)


@pytest.mark.parametrize(("begun", "shares"), [(False, [1.0, 1 / 64]), (True, [0.1, 1 / 64])])
def test_what_predicts_codes_takes_small_steps_and_so_do_convolutions_beside_a_new_one(
    photographs, tmp_path, tiny_weights, placement, base, begun, shares
):
    options = {"start": networks.read(base)} if begun else {}
    common = {"source": photographs, "target": tmp_path / "any.safetensors", "knobs": KNOBS}
    job = StyleTraining(**common, **options, **any_painting())
    learner = job.learner(Beginning(tiny_weights, placement, None, ignore))
    groups = learner.configure_optimizers().param_groups
    assert [group["rate_share"] for group in groups] == shares
    held = {id(one) for group in groups for one in group["params"]}
    assert held == {id(one) for part, _ in learner.averaged_modules() for one in part.parameters()}


def test_a_network_for_any_painting_that_lacks_a_palette_gets_one(learn):
    first = learn("first", replace(KNOBS, steps=8, learning_rate=0.01), **any_painting()).path
    start, predictor = load_arbitrary(str(first))
    shared = {name: tensor for name, tensor in start.tensors.items() if name != "palette"}
    held = predictor.state_dict()
    length = networks.Trained(shared).network().code_length
    older = predictors.Predictor(held["code.bias"][None, :length], held["centre"][None])
    older.load_state_dict({**held, **{name: held[name][:length] for name in ("code.weight", "code.bias")}})
    begun = {"start": replace(start, tensors=shared), "predictor": older}
    knobs = replace(KNOBS, steps=1, learning_rate=1e-6)
    after = predictors.read(learn("more", knobs, **begun, **any_painting()).path)[0]
    assert len(after["predictor.code.bias"]) == len(held["code.bias"]) == length + 12
    assert after["predictor.code.weight"][length:].abs().max() < 1e-4
    assert after["palette"].tolist() == pytest.approx([1, 1, 1])


def test_attention_is_learnt_and_goes_on_exactly_and_paints(learn, tmp_path, tiny_weights, placement):
    knobs = AttentionTrainKnobs(steps=16, crop=64, canvas=96, batch=2, ema=0.5, learning_rate=0.003)
    path = learn("whole", knobs).path
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(6))
    whole, resumed = load_file(path), load_file(learn("stopped", knobs, resume=True).path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows = (tmp_path / "whole.training" / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,content,style,identity,loss"
    assert float(rows[-1].split(",")[-1]) < 0.8 * float(rows[1].split(",")[-1])
    settings = AttentionKnobs(network=str(path))
    encoder, name = Attention.needs(settings)
    method = Attention({encoder: tiny_weights[encoder], name: Attention.read_weights(name)}, placement)
    code = method.encode_style(Style((StyleImage(noise(64, 64, seed=3)),)), settings)
    content = noise(48, 64)
    assert (method.stylize(content, [Job(code, settings)]) - content).abs().mean() > 0.01


def test_a_decoder_of_adain_is_learnt_and_goes_on_exactly_and_paints(learn, tmp_path, tiny_weights, placement):
    knobs = AdaINTrainKnobs(
        steps=30, crop=64, canvas=96, batch=2, ema=0.5, learning_rate=0.003, adversarial_weight=0.1, style_weight=0.1
    )
    path = learn("whole", knobs).path
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(10))
    whole, resumed = load_file(path), load_file(learn("stopped", knobs, resume=True).path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows = (tmp_path / "whole.training" / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,content,style,large,grid,loss"
    assert float(rows[-1].split(",")[-1]) < 0.8 * float(rows[1].split(",")[-1])
    settings = AdaINKnobs(network=str(path))
    (name,) = AdaIN.needs(settings)
    method = AdaIN({name: AdaIN.read_weights(name)}, placement)
    content, paintings = noise(48, 64), [noise(64, 64, seed=3), noise(64, 64, seed=3).pow(3)]
    codes = [method.encode_style(Style((StyleImage(one),)), settings) for one in paintings]
    light, dark = (method.stylize(content, [Job(code, settings)]) for code in codes)
    assert light.mean() > dark.mean() + 0.003
    decoder = {name.removeprefix("decoder."): one for name, one in whole.items() if name.startswith("decoder.")}
    with pytest.raises(InputError, match="begun with starting_network"):
        learn("stopped", knobs, resume=True, start=decoder)
    learn("more", replace(knobs, steps=1, learning_rate=1e-9), start=decoder)
    more = load_file(tmp_path / "more.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(more[name], tensor)


def test_the_command_trains_adains_decoder_from_a_file_or_adains_own(photographs, tmp_path, tiny_weights, monkeypatch):
    (tmp_path / "store").mkdir()
    store = TinyStore(tmp_path / "store", tiny_weights)
    monkeypatch.setattr(cli_train, "Store", lambda: store)
    paintings, first = write_photographs(tmp_path / "paintings", 8), tmp_path / "first.safetensors"
    words = ["train", "adain", "--content", photographs, "--paintings", paintings, "--crop", "64", "--canvas", "96"]
    words += ["--batch", "1", "--steps", "1", "--learning-rate", "0.000001", "--device", "cpu", "--from"]
    assert app.run([*map(str, words), "adain", "-o", str(first)]) == 0
    stored = codecs.read(first)
    for name, tensor in tiny_weights["adain-decoder"].items():
        torch.testing.assert_close(stored.decoder[name], tensor, atol=2e-3, rtol=2e-3)
    assert app.run([*map(str, words), str(first), "-o", str(tmp_path / "second.safetensors")]) == 0
    assert app.run([*map(str, words), str(first), "-o", str(first), "--resume"]) == 2
    assert app.run([*map(str, words), "nowhere.safetensors", "-o", str(tmp_path / "third.safetensors")]) == 2


def test_the_weights_of_adains_losses_count(tiny_weights, placement):
    squares = Squares([style.pixels for style in known_styles(2)], crop=64, seed=0)
    pictures, numbers = torch.cat([noise(64, 64, seed=one) for one in (1, 2)]), torch.arange(2)
    encoder, decoder = (tiny_weights[asset] for asset in ("vgg19-normalised", "adain-decoder"))
    knobs = AdaINTrainKnobs(crop=64, style_weight=3, grid_weight=5)
    learner = AdaINLearner(encoder, decoder, squares, knobs, placement)
    with torch.no_grad():
        found = learner.losses(pictures, squares(numbers, numbers), learner.painter)
    told = found["content"] + 3 * (found["style"] + found["large"]) + 5 * found["grid"]
    torch.testing.assert_close(found["loss"], told)


def test_a_checkpoint_of_another_version_is_named(learn, tmp_path):
    knobs = DecoderKnobs(layer="relu1_1", steps=4, crop=64, canvas=96, batch=1)
    with pytest.raises(Cancelled):
        learn("older", knobs, heard=stop_at(2))
    path = tmp_path / "older.training" / "last.ckpt"
    held = torch.load(path, weights_only=True)
    held["state_dict"] = {f"old.{name}": tensor for name, tensor in held["state_dict"].items()}
    torch.save(held, path)
    with pytest.raises(InputError, match="begun by a version of impasto"):
        learn("older", knobs, resume=True)


def test_attention_begins_with_what_places_of_the_painting_are_like(tiny_weights):
    """Of a painting of one colour each place takes the same: three parts to one of its own."""
    painter = Painter(tiny_weights["vgg19-normalised"], tiny_weights["adain-decoder"])
    channels = painter.transformer.merge_conv.in_channels
    content = {"relu4_1": torch.rand(1, channels, 4, 4), "relu5_1": torch.zeros(1, channels, 2, 2)}
    painting = {"relu4_1": torch.full((1, channels, 4, 4), 0.5), "relu5_1": torch.rand(1, channels, 2, 2)}
    with torch.no_grad():
        begun = painter.transformer(content, painting)
    torch.testing.assert_close(begun, (content["relu4_1"] + 3 * 0.5) / 4)


def test_attention_is_learnt_in_half_precision(photographs, tmp_path, tiny_weights):
    knobs = AttentionTrainKnobs(steps=2, crop=64, canvas=96, batch=1, ema=0.5)
    common = {"source": photographs, "target": tmp_path / "half.safetensors", "knobs": knobs}
    job = AttentionTraining(**common, training_styles=known_styles(2))
    weights = {asset: tiny_weights[asset] for asset in job.assets}
    assert train(job, weights=weights, placement=Placement(precision="bfloat16")).steps == 2


def test_a_decoder_learns_to_rebuild_and_goes_on_exactly(learn, tmp_path, tiny_weights, placement):
    knobs = DecoderKnobs(layer="relu2_1", steps=30, crop=64, canvas=96, batch=2, ema=0.5, learning_rate=0.01)
    path = learn("whole", knobs).path
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(10))
    with pytest.raises(InputError, match="begun with layer relu2_1, not relu1_1"):
        learn("stopped", replace(knobs, layer="relu1_1"), resume=True)
    whole, resumed = load_file(path), load_file(learn("stopped", knobs, resume=True).path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows = (tmp_path / "whole.training" / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,pixels,features,loss"
    assert float(rows[-1].split(",")[-1]) < 0.5 * float(rows[1].split(",")[-1])
    assert images.probe(tmp_path / "whole.training" / "sheet-000030.png").width > 300
    with pytest.raises(InputError, match="is a decoder and has no style"):
        catalog.find(path)
    about, _ = checkpoint.read_header(path)
    assert (about["kind"], about["layer"], about["recipe"]["steps_done"]) == ("decoder", "relu2_1", 30)
    features = Encoder(VGG19, tiny_weights["vgg19-normalised"], placement)(noise(64, 80), ["relu2_1"])["relu2_1"]
    weights = {name: tensor.float() for name, tensor in whole.items()}
    assert Decoder(weights, placement, "relu2_1")(features).shape == (1, 3, 64, 80)


def test_a_decoder_begins_with_what_it_has_in_common_with_another(learn, tmp_path, photographs):
    knobs = DecoderKnobs(layer="relu1_1", steps=3, crop=64, canvas=96, batch=2, learning_rate=1e-9)
    first = learn("first", knobs).path
    begun = {"start": decoders.read(first)}
    second = load_file(learn("second", replace(knobs, layer="relu2_1"), **begun).path)
    for name, tensor in load_file(first).items():
        torch.testing.assert_close(second[name], tensor)
    assert second.keys() > begun["start"].keys()
    with pytest.raises(InputError, match="begun with starting_network"):
        learn("second", replace(knobs, layer="relu2_1"), resume=True)
    recipe = tmp_path / "second.training" / "recipe.json"
    older = {name: value for name, value in json.loads(recipe.read_text()).items() if name != "layerwise"}
    recipe.write_text(json.dumps(older))  # as it was before there was the setting
    with pytest.raises(InputError, match="with layerwise") as refused:
        learn("second", replace(knobs, layer="relu2_1"), resume=True, **begun)
    assert refused.value.hint == "give the same: --layerwise 0.0"
    assert "layerwise" not in json.loads((tmp_path / "first.training" / "recipe.json").read_text())
    deep = replace(knobs, layer="relu2_1", steps=20, ema=0.5, learning_rate=0.01, layerwise=1.0)
    alone = load_file(learn("alone", deep, **begun).path)  # only what is new learns
    for name, tensor in begun["start"].items():
        torch.testing.assert_close(alone[name].float(), tensor, rtol=0, atol=1e-3)
    rows = (tmp_path / "alone.training" / "losses.csv").read_text().splitlines()
    assert rows[0] == "step,loss"
    assert float(rows[-1].split(",")[1]) < 0.7 * float(rows[1].split(",")[1])
    both = load_file(learn("both", replace(deep, layerwise=0.5), **begun).path)
    assert any((both[name] - tensor).abs().max() > 1e-3 for name, tensor in begun["start"].items())
    network = tmp_path / "network.safetensors"
    networks.Trained(tiny_network()).save(network)
    with pytest.raises(InputError, match="is not a decoder"):
        decoders.read(network)
    checkpoint.write(tmp_path / "odd.safetensors", begun["start"], {"kind": "decoder", "layer": "relu9_1"})
    with pytest.raises(InputError, match=r"odd\.safetensors is not a decoder"):
        decoders.read(tmp_path / "odd.safetensors")
    half = {name: tensor[:, ..., :1] if tensor.dim() == 4 else tensor for name, tensor in begun["start"].items()}
    with pytest.raises(InputError, match=r"has conv1_1\.weight of shape"):
        learn("third", knobs, start=half)
    other = tmp_path / "other.safetensors"
    command = ["train", "decoder", "--content", photographs, "--from", first, "-o"]
    assert app.run([*map(str, command), str(first)]) == 2
    assert app.run([*map(str, command[:5]), str(network), "-o", str(other)]) == 2
    assert not other.exists()


@pytest.mark.parametrize(
    ("device", "processes", "rank", "own"),
    [
        ("cuda", (1, 1), None, "cuda"),
        ("cuda:1", (1, 1), "0", "cuda:1"),
        ("cuda", (1, 2), None, "cuda:0"),  # the first starts the others, and has no number yet
        ("cuda", (1, 2), "1", "cuda:1"),
        ("cuda:0", (2, 1), "0", "cuda:0"),
        ("cpu", (1, 2), "1", "cpu"),
    ],
)
def test_each_process_has_its_losses_on_its_own_device(monkeypatch, device, processes, rank, own):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert _run._own_device(Placement(device), processes).device == own


@pytest.mark.process
def test_two_processes_learn_what_one_with_twice_the_batch_does_and_so_does_their_critic(learn, as_program):
    knobs = replace(KNOBS, steps=3, adversarial_weight=0.5)
    joined = as_program("joined", knobs, 0, 2)
    assert joined.returncode == 0, joined.stderr
    alone = learn("alone", replace(knobs, batch=4))
    same(alone.path.with_name("joined.safetensors"), alone.path, atol=2e-3, rtol=0)


def test_accumulated_batches_make_one_step(learn):
    apart = learn("apart", replace(KNOBS, accumulate=2, steps=3))
    joined = learn("joined", replace(KNOBS, batch=4, steps=3))
    assert apart.steps == 3
    same(apart.path, joined.path, atol=2e-3, rtol=0)


def test_it_stops_early_when_nothing_gets_better(learn, monkeypatch):
    monkeypatch.setattr(_run, "_VALIDATIONS", 20)
    outcome = learn("net", replace(KNOBS, steps=60, learning_rate=1e-6, patience=2))
    assert outcome.early
    assert outcome.steps < 30


@pytest.mark.process
def test_a_checkpoint_that_does_not_fit_the_disk_leaves_nothing(small_disk):
    with pytest.raises(ResourceError, match="cannot be written"):
        _run._AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(100_000)}, small_disk / "last.ckpt")
    assert list(small_disk.iterdir()) == []


def test_minutes_end_a_run(learn):
    assert learn("net", replace(KNOBS, steps=0, minutes=0.02)).steps >= 1


def test_a_new_style_is_learnt_by_its_numbers_alone(learn, base):
    start, knobs = networks.read(base), replace(KNOBS, steps=4, learning_rate=0.02)
    grown = networks.read(learn("grown", knobs, training_styles=known_styles(3)[2:], start=start, only_codes=True).path)
    assert grown.styles == ("style0", "style1", "style2")
    mean = (start.code("style0") + start.code("style1")) / 2
    assert (grown.code("style2") - mean).abs().mean() > 0.005
    for name, tensor in start.tensors.items():
        assert torch.equal(grown.tensors[name], tensor), name
    assert grown.about["thumbnails"].keys() == {"style0", "style1", "style2"}


def test_a_network_can_start_from_another(learn, base):
    frozen = learn("next", replace(KNOBS, steps=1, learning_rate=1e-6), start=networks.read(base))
    same(frozen.path, base, atol=2e-3, rtol=0)


def test_mixed_codes_paint_between_the_styles(base):
    stylizer = FeedForward({"network": networks.read(base).tensors}, Placement())
    knobs, content = FeedForwardKnobs(), noise(64, 64)
    shares = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    painted = []
    for row in shares:
        styles = tuple(StyleImage(content, w, "", f"style{i}") for i, w in enumerate(row) if w)
        painted.append(stylizer.stylize(content, [Job(stylizer.encode_style(Style(styles), knobs), knobs)]))
    ends = (painted[0] - painted[2]).abs().mean()
    assert (painted[0] - painted[1]).abs().mean() < ends
    assert (painted[2] - painted[1]).abs().mean() < ends
