"""The search for small networks: timed, trained, given up, resumed, and what is written of it."""

import csv
import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from impasto import images
from impasto.cli import app
from impasto.errors import Cancelled, InputError
from impasto.methods.settings import SearchKnobs
from impasto.models import network_specs, networks
from impasto.train import Search, _front, _run, _search, _space, _speed, check_folder, search
from impasto.train._front import Outcome
from tiny import training_styles, write_photographs

KNOBS = SearchKnobs(steps=2, trials=2, crop=64, canvas=96, batch=1, seed=3)
SCRIPT = Path(__file__).parents[1] / "search_script.py"
TINY = network_specs.ARCHITECTURES["tiny"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs", 10)


@pytest.fixture(autouse=True, scope="module")
def quick():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_search, "_VALIDATIONS", 2)
        patch.setattr(_run, "_VALIDATIONS", 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def look(photographs, tiny_weights, placement, tmp_path):
    def run(knobs=KNOBS, *, on_progress=lambda _: None, **options):
        common = {"runtime": "torch", "sides": (32, 32), "training_styles": training_styles(1)}
        job = Search(source=photographs, folder=tmp_path / "search", knobs=knobs, **{**common, **options})
        weights = {asset: tiny_weights[asset] for asset in job.assets}
        return search(job, weights=weights, placement=placement, on_progress=on_progress)

    return run


@pytest.fixture
def by_size(monkeypatch):
    """Speeds that do not depend on the machine: the fewer operations, the quicker."""
    own = networks.Network(TINY).operations()
    monkeypatch.setattr(_speed.Stopwatch, "speed", lambda _, spec: own / networks.Network(spec).operations())


def outcome(speed, loss, **options):
    return Outcome(replace(TINY, name="", blocks=1 + int(10 * speed)), speed, {"loss": loss}, 1, {}, **options)


def test_a_search_writes_its_front_and_a_winner_that_training_takes(look, by_size, tmp_path, teach_with):
    result = look(replace(KNOBS, trials=3), name="swallow")
    assert result.tried == 3
    assert result.outcomes[0].reference
    with result.table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.outcomes)
    assert [row["network"] for row in rows].count("tiny") == 1
    assert {"speed", "loss", "content", "style", "widths", "blocks", "on_front", "winner"} <= rows[0].keys()
    assert images.read(result.plot).width > 400
    best = _front.winner(result.outcomes)
    assert (result.winner is not None) == (best is not None)
    if result.winner is not None:
        assert network_specs.find(str(result.winner)) == replace(best.spec, name="swallow")
    network_specs.write(tmp_path / "finch.json", replace(result.outcomes[-1].spec, name="finch"))
    assert (
        networks.read(teach_with(str(tmp_path / "finch.json"))).architecture.widths == result.outcomes[-1].spec.widths
    )


@pytest.fixture
def teach_with(photographs, tiny_weights, placement, tmp_path):
    def run(network):
        from impasto.methods.settings import TrainKnobs
        from impasto.train import StyleTraining, train

        knobs = TrainKnobs(steps=1, crop=64, canvas=96, batch=1, network=network)
        target = tmp_path / "trained.safetensors"
        job = StyleTraining(source=photographs, target=target, knobs=knobs, training_styles=training_styles(1))
        weights = {asset: tiny_weights[asset] for asset in job.assets}
        return train(job, weights=weights, placement=placement).path

    return run


@pytest.mark.process
def test_a_search_that_was_killed_goes_on_with_the_trial_in_progress(photographs, tmp_path):
    knobs = json.dumps({"steps": 4, "trials": 2, "crop": 64, "canvas": 96, "batch": 1})
    words = [sys.executable, str(SCRIPT), str(photographs), str(tmp_path / "out"), knobs]
    killed = subprocess.run([*words, "trial 1", "2"], check=False, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL
    left = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}")
    (stuck,) = left.get_trials(states=(TrialState.RUNNING,))
    ran = subprocess.run(words, check=False, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["tried"] == 2
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}")
    again = next(one for one in study.trials if one.number > stuck.number)
    assert again.params == stuck.params == dict(next(iter(_space.first_guesses(TINY))))
    assert again.state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert not study.get_trials(states=(TrialState.RUNNING,))
    name = _space.key(_space.suggested(optuna.trial.FixedTrial(again.params)))
    assert (
        found["first_steps"][f"trial {again.number + 1}" + ": training"] == 3
    )  # after the checkpoint of the second step
    history = (tmp_path / "out" / "trials" / f"{name}.training" / "losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in history[1:]] == ["0", "1", "2", "3"]  # none was done twice


def test_the_reference_is_trained_once(look, by_size):
    seen = []
    look(replace(KNOBS, trials=1))
    look(replace(KNOBS, trials=2), resume=True, on_progress=lambda one: seen.append(one.stage))
    assert not any(stage.startswith("reference") for stage in seen)
    assert any(stage.startswith("trial 2") for stage in seen)


def test_slow_networks_are_not_trained(look, monkeypatch):
    monkeypatch.setattr(_speed.Stopwatch, "speed", lambda _, spec: 0.4)
    seen = []
    result = look(on_progress=lambda one: seen.append(one.stage))
    assert (result.tried, result.pruned, len(result.outcomes)) == (2, 2, 1)
    assert not any(stage.startswith("trial") for stage in seen)


def test_a_trial_is_given_up_when_a_quicker_network_was_better(look, by_size, monkeypatch):
    monkeypatch.setattr(_search, "_WORSE", 0.0)
    monkeypatch.setattr(_search, "_EARLIEST", 0.0)
    monkeypatch.setattr(_speed.Stopwatch, "speed", lambda _, spec: 0.9)
    result = look(replace(KNOBS, steps=3))
    assert result.pruned == result.tried == 2
    assert len(result.outcomes) == 1


def test_a_search_keeps_to_its_minutes_over_all_runs(look, by_size):
    spent = look(replace(KNOBS, trials=1)).seconds
    result = look(replace(KNOBS, trials=0, minutes=0.01), resume=True)
    assert result.seconds > spent
    assert result.tried == 1


def test_a_cancelled_search_can_go_on(look, by_size):
    def stop(progress):
        if progress.stage == "trial 1: training":
            raise Cancelled

    with pytest.raises(Cancelled):
        look(on_progress=stop)
    assert look(resume=True).tried == 2


def test_a_search_goes_on_only_with_its_settings(look, by_size, tmp_path):
    look(replace(KNOBS, trials=1))
    with pytest.raises(InputError, match="holds a search"):
        look()
    with pytest.raises(InputError, match="begun with steps 2, not 5"):
        look(replace(KNOBS, steps=5), resume=True)
    (tmp_path / "search" / "study.db").write_bytes(b"no database" * 500)
    with pytest.raises(InputError, match="not the study of a search"):
        look(resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        check_folder(tmp_path / "file", resume=False)


def test_the_front_holds_what_nothing_beats():
    found = [
        outcome(1.0, 0.9, reference=True),
        outcome(2.0, 1.0),
        outcome(1.5, 1.1),
        outcome(0.8, 0.7),
        outcome(0.7, 0.7),
    ]
    assert [(one.speed, one.loss) for one in _front.front(found)] == [(2.0, 1.0), (1.0, 0.9), (0.8, 0.7)]


@pytest.mark.parametrize(
    ("others", "best"),
    [
        ([(1.5, 0.91), (0.99, 0.5)], None),  # each loses on one axis
        ([(1.01, 0.895)], None),  # no more than chance
        ([(1.2, 0.9), (1.0, 0.85), (1.5, 0.89)], 1.5),
    ],
)
def test_the_winner_beats_the_reference_on_one_axis_at_no_loss_on_the_other(others, best):
    found = _front.winner([outcome(1.0, 0.9, reference=True), *(outcome(*one) for one in others)])
    assert (found and found.speed) == best


def test_the_space_has_every_choice_and_begins_near_the_reference():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    specs = [_space.suggested(study.ask()) for _ in range(60)]
    for spec in specs:
        network_specs.check(replace(spec, name="x"), Path("x.json"))
    assert {spec.stem_stride for spec in specs} == {1, 2}
    assert {spec.separable for spec in specs} == {False, True}
    assert {len(spec.widths) for spec in specs} == {2, 3}
    guesses = [_space.suggested(optuna.trial.FixedTrial(dict(one))) for one in _space.first_guesses(TINY)]
    assert any(spec.widths == TINY.widths and spec.head == 0 for spec in guesses)
    assert list(_space.first_guesses(network_specs.ARCHITECTURES["johnson"])) == []
    assert len({_space.key(spec) for spec in specs}) == len(set(specs))


@pytest.mark.parametrize("runtime", ["torch", "onnx", "auto"])
def test_speed_is_a_ratio_to_the_reference(runtime):
    stopwatch = _speed.Stopwatch.of(TINY, runtime, (64, 64))
    assert stopwatch.speed(network_specs.ARCHITECTURES["johnson"]) < 0.5
    assert "64x64" in stopwatch.title


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no style was given"),
        (["-s", "p.png"], "no photographs were given"),
        (["-s", "p.png", "--content", "PHOTOS"], "no folder was named"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--frame", "big"], "--frame is 'big'"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--frame", "9999x2"], "--frame is"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--name", "tiny"], "--name is 'tiny'"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--runtime", "tpu"], "--runtime is 'tpu'"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--network", "nano"], "there is no network 'nano'"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--minutes", "nan"], "--minutes is"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out", "--steps", "0"], "--steps is"),
        (["-s", "p.png", "--content", "PHOTOS", "-o", "out"], "p.png"),
    ],
)
def test_bad_input_is_two_lines(words, said, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert app.run(["train", "search", *(str(photographs) if word == "PHOTOS" else word for word in words)]) == 2
    error, hint = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error:")
    assert said in error
    assert hint.startswith("hint:")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": [16]},
        {"widths": "wide"},
        {"widths": [16, True, 3]},
        {"widths": [16, 0, 3]},
        {"blocks": 0},
        {"blocks": 2.5},
        {"stem": 4},
        {"stem_stride": 3},
        {"head": 5},
        {"head": 0},
        {"last": 0},
        {"stem_stride": 1},
        {"inner": [3]},
        {"ups": [3]},
        {"ups": [8, 8]},
        {"name": "tiny"},
        {"skip": 1},
        {"depth": 3},
    ],
)
def test_a_file_that_describes_no_network_is_refused(changes, tmp_path):
    path = tmp_path / "net.json"
    network_specs.write(path, replace(TINY, name="net"))
    assert network_specs.find(str(path)) == replace(TINY, name="net")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=str(path)):
        network_specs.find(str(path))


def test_files_that_are_no_descriptions_are_refused(tmp_path):
    for text in ("", "[1]", "{}", "[" * 9999):
        (tmp_path / "net.json").write_text(text)
        with pytest.raises(InputError, match=r"net\.json"):
            network_specs.find(str(tmp_path / "net.json"))
    with pytest.raises(InputError, match="cannot be read"):
        network_specs.find(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="there is no network 'tinny'"):
        network_specs.find("tinny")


def test_an_outcome_survives_the_study():
    one = outcome(1.5, 0.8)
    assert Outcome.of_plain(json.loads(json.dumps(one.as_plain()))) == one
    assert asdict(one.spec)["widths"] == (16, 32, 48)
