"""Training of generators without pairs, tiny: what is learnt, left, resumed, and refused."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from impasto import images
from impasto.contract import Placement, ignore
from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError
from impasto.methods.settings import TranslationKnobs
from impasto.models import checkpoint, generators
from impasto.train import UnpairedTraining, _run, train
from impasto.train.data import load_photographs
from tiny import inverted, write_photographs

KNOBS = TranslationKnobs(
    **{"steps": 4, "crop": 64, "canvas": 72, "batch": 1, "ema": 0.5, "width": 4, "blocks": 2},
    **{"discriminator_width": 4, "discriminator_layers": 1},
)
CYCLE = replace(KNOBS, objective="cycle")
OBJECTIVES = ("contrastive", "fast", "cycle")
SCRIPT = Path(__file__).parents[1] / "unpaired_script.py"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs", 12)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, because tiny networks wait for a second; and few validations, because each paints a sheet."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_VALIDATIONS", 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def learn(photographs, tmp_path):
    def run(name, knobs=KNOBS, *, heard=ignore, noted=lambda _: None, **options):
        options = {"source": photographs, "paintings": inverted(photographs), **options}
        job = UnpairedTraining(target=tmp_path / f"{name}.safetensors", knobs=knobs, **options)
        return train(job, weights={}, placement=Placement(), on_progress=heard, on_note=noted)

    return run


def stop_at(step):
    """Hears a training and stops it as Ctrl-C does."""

    def hear(progress):
        if progress.stage == "training" and progress.step == step:
            raise Cancelled("stopped")

    return hear


def same(one, two):
    first, second = load_file(one), load_file(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_stopped_run_goes_on_exactly(learn, objective):
    knobs = replace(KNOBS, objective=objective)
    whole = learn("whole", knobs).path
    with pytest.raises(Cancelled):
        learn("stopped", knobs, heard=stop_at(2))
    resumed = learn("stopped", knobs, resume=True).path
    same(resumed, whole)
    histories = [path.with_suffix(".training") / "losses.csv" for path in (resumed, whole)]
    assert histories[0].read_text() == histories[1].read_text()
    if objective == "cycle":
        same(resumed.with_name("stopped-back.safetensors"), whole.with_name("whole-back.safetensors"))
    with pytest.raises(AssertionError):
        same(learn("other", replace(knobs, seed=1)).path, whole)


@pytest.fixture(scope="module")
def programs(photographs, tmp_path_factory):
    """A folder of what trainings of `CYCLE` have left that were killed, or ran in two processes."""
    out = tmp_path_factory.mktemp("programs")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, (SCRIPT, photographs, out, json.dumps(asdict(CYCLE))))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.process
def test_a_killed_run_goes_on_to_the_bit(learn, programs, tmp_path):
    shutil.copytree(programs / "alone.training", tmp_path / "killed.training")
    with pytest.raises(InputError, match="begun with objective cycle, not fast"):
        learn("killed", replace(CYCLE, objective="fast"), resume=True)
    same(learn("killed", CYCLE, resume=True).path, learn("whole", CYCLE).path)


@pytest.mark.process
def test_two_processes_learn_the_same_networks_and_go_on_to_the_bit_when_one_was_killed(programs):
    """Both generators, both discriminators, and in the first process, which writes, their earlier pastiches."""
    names = ("joined.begun", "joined.0", "joined.1", "broken.0", "broken.1")
    begun, first, *others = (torch.load(programs / f"{name}.pt", weights_only=True) for name in names)

    def differing(one):
        return {name for name, tensor in one.items() if not torch.equal(tensor, first[name])}

    parts = {"generator", "average", "discriminator", "back", "average_back", "back_discriminator", "pool", "back_pool"}
    assert {name.partition(".")[0] for name in differing(begun)} == parts
    of_second = {"pool.pictures", "back_pool.pictures"}  # the first one's take their place at the next step
    assert [differing(one) - of_second for one in others] == [set()] * 3
    assert differing(others[1]) == set()
    same(programs / "broken.safetensors", programs / "joined.safetensors")


def test_what_is_written_is_a_style_with_sheets_losses_and_a_thumbnail(learn, engine, photographs):
    outcome = learn("net", replace(KNOBS, steps=8))
    folder = outcome.path.with_suffix(".training")
    assert (folder / "validation.csv").read_text().startswith("step,diversity,accuracy,distance,loss\n")
    assert (folder / "losses.csv").read_text().startswith("step,adversarial,structure,discriminator,identity\n")
    assert images.probe(folder / "sheet-000008.png").height > 900  # photographs, pastiches and paintings
    about, _ = checkpoint.read_header(outcome.path)
    assert about["kind"] == "unpaired"
    assert (about["recipe"]["objective"], about["recipe"]["steps_done"]) == ("contrastive", 8)
    photograph = load_photographs(photographs, least_side=64).pixels[0].astype(np.float32) / np.float32(255)
    result = engine.stylize(photograph, outcome.path, Request())
    assert result.record["method"] == "unpaired"
    assert result.picture.pixels.shape == photograph.shape


def test_both_ways_of_a_cycle_are_styles_and_go_back_and_forth_as_checkpoints(learn, engine, tmp_path):
    path = learn("net", replace(KNOBS, objective="cycle")).path
    for name, file in (("A", path), ("B", path.with_name("net-back.safetensors"))):
        tensors = generators.read(file)
        torch.save(tensors, tmp_path / f"latest_net_G_{name}.pth")
        photograph = np.random.default_rng(0).random((40, 50, 3), np.float32)
        ours, theirs = (
            engine.stylize(photograph, one, Request()).picture.pixels
            for one in (file, tmp_path / f"latest_net_G_{name}.pth")
        )
        assert np.array_equal(ours, theirs)


def test_a_network_is_named_as_a_style_or_beside_its_method(tmp_path, outcome, picture_file):
    tensors = generators.untrained(width=4, blocks=1, blurred=False, generator=torch.Generator().manual_seed(0))
    torch.save(tensors, tmp_path / "net.pth")
    photograph, ways = picture_file(), {"style": (), "network": ("--method", "unpaired")}
    for name, words in ways.items():
        named = (f"--{name}", tmp_path / "net.pth", "-o", tmp_path / f"{name}.png")
        done = outcome("stylize", photograph, *words, *named)
        assert done.code == 0, done.err
    first, second = (images.read(tmp_path / f"{name}.png").pixels for name in ways)
    assert np.array_equal(first, second)


def test_trouble_is_told_once(learn, monkeypatch):
    monkeypatch.setattr(_run, "_VALIDATIONS", 8)
    monkeypatch.setattr("impasto.train._collapse._ALIKE", 9.0)
    said = []
    learn("net", replace(KNOBS, steps=8), noted=said.append)
    assert [one for one in said if "mode collapse" in one] == [said[0]]
    assert said[0].startswith("step 2: mode collapse: pastiches differ ")


def test_bad_folders_are_told_with_their_numbers(learn, photographs, tmp_path, refused):
    few = write_photographs(tmp_path / "few", 5)
    (tmp_path / "none").mkdir()
    words = ("train", "unpaired", "-o", tmp_path / "net.safetensors", "--photos")
    assert "few holds 5 paintings; training needs 8 at least" in refused(*words, photographs, "--paintings", few)
    assert "few holds 5 photographs; training needs 8" in refused(*words, few, "--paintings", photographs)
    assert "none holds 0 paintings" in refused(*words, photographs, "--paintings", tmp_path / "none")
    assert f"are both {photographs}" in refused(*words, photographs, "--paintings", photographs)
    both = ("--paintings", few, "--paintings", photographs)
    assert f"are both {photographs}" in refused(*words, photographs, *both)
    assert "one lies in the other" in refused(*words, photographs, "--paintings", photographs.parent)
    assert f"{few} is named twice" in refused(*words, photographs, "--paintings", few, "--paintings", few)
    assert "no paintings were given" in refused(*words, photographs)
    assert "no painting in the library matches it" in refused(*words, photographs, "--paintings", "zzyzx")
    enough = write_photographs(tmp_path / "enough", 8)
    large = ("--paintings", enough, "--crop", "70", "--discriminator-layers", "5")
    assert "needs crops of 128 px" in refused(*words, photographs, *large)
    with pytest.raises(InputError, match="holds 0 usable photographs, 200 px or more a side"):
        learn("small", replace(KNOBS, crop=200))


class Trap:
    def __reduce__(self):
        return open, ("sprung", "w")


def test_checkpoints_that_are_no_tensors_or_of_other_widths_are_refused(tmp_path, refused, picture_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Conv2d(3, 3, 1), tmp_path / "module.pth")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap()))
    tensors = generators.untrained(width=4, blocks=1, blurred=False, generator=torch.Generator().manual_seed(0))
    torch.save({**tensors, "model.7.weight": torch.zeros(12, 8, 3, 3)}, tmp_path / "widths.pth")
    photograph = picture_file()
    for name, said in (
        ("module.pth", "tensors alone"),
        ("trap.pth", "tensors alone"),
        ("widths.pth", "widths.pth cannot paint: its layers do not fit together"),
    ):
        told = refused("stylize", photograph, "--style", tmp_path / name)
        assert said in told
        assert "torch.save(net.state_dict(), FILE)" in told
    assert not (tmp_path / "sprung").exists()
    named = ("--method", "unpaired", "--network", "widths.pth", "--style", "widths.pth")
    assert "--style and --network were both given" in refused("stylize", photograph, *named)
