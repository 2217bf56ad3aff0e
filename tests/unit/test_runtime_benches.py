"""Benchmarks of runtimes and of frames a second, on tiny networks and pictures."""

import json
from types import SimpleNamespace

import pytest

from impasto.bench import realtime, runtimes
from impasto.cli import app
from impasto.errors import InputError
from impasto.models import checkpoint, codecs, networks
from impasto.report.cells import Subject
from impasto.runtimes import graphs
from tiny import TinyStore, noise, tiny_network, write_photographs


@pytest.fixture
def network(tmp_path):
    tensors = tiny_network()
    few = {name: tensor for name, tensor in tensors.items() if not name.startswith("style.") or name == "style.s3"}
    path = tmp_path / "net.safetensors"
    networks.Trained(few, {"styles": ["s3"]}).save(path)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(runtimes, "SIDES", {"512": (40, 56)})
    monkeypatch.setattr(runtimes, "_COMPARED", (40, 56))

    def subject(seed):
        return Subject("", noise(48, 64, seed=seed)[0].permute(1, 2, 0).contiguous().numpy())

    pairs = [(subject(1), subject(6)), (subject(2), subject(7))]
    monkeypatch.setattr(runtimes, "load_set", lambda *_given, **_more: pairs)
    monkeypatch.setattr(realtime, "HEIGHTS", {"360p": (40, 64)})
    film = [realtime.images.quantise(noise(40, 64)[0].permute(1, 2, 0).numpy(), 8)] * 6
    monkeypatch.setattr(realtime, "_film", lambda height, width, count: film[:count])


@pytest.mark.slow
def test_each_network_is_timed_and_compared_in_each_runtime(network, tmp_path):
    exported = tmp_path / "net.onnx"
    exported.write_bytes(graphs.build(*graphs.read(network)))
    folder = write_photographs(tmp_path / "photographs", 2)
    rows = runtimes.runtimes([str(network), str(exported)], runs=1, content=folder, sizes=["512"])
    ways = [(row["file"], row["runtime"], row["precision"]) for row in rows]
    assert ways[0] == ("net.safetensors", "torch", "float32")
    assert ("net.onnx", "openvino", "float32") in ways
    assert len(set(ways)) == len(ways)
    for row in rows:
        assert row["ssim"] > (0.999 if row["precision"] == "float32" else 0.9)
        assert row["ms_512"] > 0
        assert row["bytes"] == (tmp_path / row["file"]).stat().st_size
    with pytest.raises(InputError, match=r"is not a \.safetensors file"):
        runtimes.runtimes([str(exported), str(network)], runs=1)


@pytest.mark.slow
def test_methods_for_any_painting_are_timed_and_scored(tmp_path, monkeypatch, tiny_weights):
    monkeypatch.setattr(runtimes, "Store", lambda: TinyStore(tmp_path, tiny_weights))
    scored = SimpleNamespace(measure=lambda *shown: {"style_distance": len(shown[:3]), "content_error": 0.5})
    monkeypatch.setattr(runtimes, "Judge", lambda **_given: scored)
    narrow = tmp_path / "narrow.safetensors"
    checkpoint.write(narrow, codecs.Codec.of_assets(tiny_weights).tensors(), {"kind": "adain"})
    for named in (["adain", str(narrow)], ["microast"]):
        rows = runtimes.runtimes(named, runs=1, scores=True)
        assert len(rows) == len({(row["file"], row["runtime"], row["precision"]) for row in rows})
        assert {row["runtime"] for row in rows} == {"torch", "onnx", "openvino"}
        for row in rows:
            assert row["ssim"] > (0.999 if row["precision"] == "float32" else 0.9)
            assert (row["style_distance"], row["content_error"]) == (3, 0.5)
            assert row["parameters"] > 1000


@pytest.mark.process  # asks git for the commit
@pytest.mark.parametrize("inner", [False, True])
def test_frames_are_timed_steadied_and_not(network, capsys, inner):
    words = ["bench", "realtime", "--style", f"{network}:s3", "--sizes", "360p", "--frames", "3", "--runtime", "onnx"]
    words += ["--inner-size", "48"] if inner else []
    assert app.run([*words, "--json"]) == 0
    plain, steady = json.loads(capsys.readouterr().out)
    assert (plain["steady"], steady["steady"]) == (False, True)
    for row in (plain, steady):
        assert row["runtime"] == "onnx"
        assert row["frames"] == 3
        assert row["fps"] >= row["fps_of_the_slowest_percent"] > 0
        shares = [row[f"share_{part}"] for part in realtime.PARTS]
        assert sum(shares) == pytest.approx(1)
        assert (row["share_enlarging"] > 0) == inner
    assert plain["share_motion"] == 0 < steady["share_motion"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["realtime", "--sizes", "8k"], "--sizes holds '8k'"),
        (["runtimes", "pack", "--sizes", "512,8k"], "--sizes holds '8k'"),
        (["runtimes", "pack", "--content", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_measured_is_said_in_two_lines(capsys, words, said):
    assert app.run(["bench", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 2


def test_a_folder_without_pictures_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        runtimes.runtimes(["pack"], runs=1, content=tmp_path)
