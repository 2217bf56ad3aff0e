"""Videos painted with the real weights: short and small pieces of the three real clips."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from impasto import images, metrics
from impasto.cli import app
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.metrics._pixels import sharpness
from impasto.models import networks
from impasto.video.film import paint_video
from impasto.video.frames import FramePainter
from impasto.video.settings import Film
from impasto.videos import VideoReader, VideoWriter, probe_video

pytestmark = pytest.mark.real
STYLE = "436535"
ADAIN = Request(method="adain")


def frames(path, count=None):
    return [frame.pixels for frame in itertools.islice(VideoReader(path), count)]


def packets(path):
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(
    ("name", "start", "size"),
    [("bikes.mp4", 1.6, 192), ("carphone_pristine.mp4", 0, 160), ("bigbuckbunny.mp4", 2, 160)],
)
def test_boiling_is_halved_and_sharpness_and_style_stay(store, engine, painting, tmp_path, name, start, size):
    source = store.file("clips", name)
    outs = {}
    for temporal in ("off", "fast"):
        outs[temporal] = tmp_path / f"{temporal}.mkv"
        film = Film(start=start, end=start + 0.5, size=size, temporal=temporal, codec="ffv1")
        paint_video(engine, source, STYLE, outs[temporal], ADAIN, film)
    read = [frame.pixels for frame in VideoReader(source, start=start, end=start + 0.5, size=size, even=False)]
    painted = {temporal: frames(path) for temporal, path in outs.items()}
    names = ["warping_error_1", "warping_error_10"]
    before, after = (metrics.measure_video(read, painted[each], names) for each in ("off", "fast"))
    assert after["warping_error_1"] < 0.5 * before["warping_error_1"]
    assert after["warping_error_10"] < 0.5 * before["warping_error_10"]
    assert after["warping_error_1"] < 0.03
    sharp = [np.mean([sharpness(frame) for frame in painted[each]]) for each in ("off", "fast")]
    assert sharp[1] == pytest.approx(sharp[0], rel=0.1)


@pytest.fixture
def network(tmp_path):
    """A network of the shipped shape with first weights: it boils like any, and needs no training here."""
    seeded = networks.Network(networks.ARCHITECTURES["tiny"], torch.Generator().manual_seed(0))
    path = tmp_path / "seeded.safetensors"
    networks.Trained(networks.pack(seeded, seeded.neutral_code(), ["seeded"])).save(path)
    return path


@pytest.mark.process
def test_the_benchmark_of_a_network_says_how_steady_it_became(network, tmp_path):
    table = tmp_path / "video.csv"
    words = ["bench", "video", "--clip", "bikes.mp4", "--style", str(network), "--size", "160", "--end", "0.48"]
    assert app.run([*words, "--csv", str(table)]) == 0
    with table.open() as file:
        off, fast = csv.DictReader(file)
    assert (off["temporal"], fast["temporal"], fast["frames"], fast["size"]) == ("off", "fast", "12", "160x68")
    assert fast["method"] == "feedforward"
    for error in ("warping_error_1", "warping_error_10", "lpips_1", "lpips_10"):
        assert float(fast[error]) == pytest.approx(float(fast[f"{error}_ratio"]) * float(off[error]))
    assert float(fast["warping_error_1_ratio"]) < 0.5
    assert float(fast["lpips_1_ratio"]) < 0.75
    assert float(fast["warping_error_1"]) < 0.03
    shares = [float(fast[f"{step}_share"]) for step in ("decode", "motion", "paint", "join", "encode")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_optimisation_is_held_to_the_frame_before(store, engine, tmp_path):
    source, painted = store.file("clips", "bikes.mp4"), {}
    request = Request(method="optimize", knobs={"steps": 12})
    for temporal in ("off", "fast", "best"):
        film = Film(start=1.6, end=1.8, size=96, temporal=temporal, codec="ffv1")
        paint_video(engine, source, STYLE, tmp_path / f"{temporal}.mkv", request, film)
        painted[temporal] = frames(tmp_path / f"{temporal}.mkv")
    read = [frame.pixels for frame in VideoReader(source, start=1.6, end=1.8, size=96)]
    before, *after = (
        metrics.measure_video(read, each, ["warping_error_1"])["warping_error_1"] for each in painted.values()
    )
    assert max(after) < 0.5 * before
    sharp = [np.mean([sharpness(frame) for frame in each]) for each in painted.values()]
    # frames that go on from a painting are further along than one alone, which begins without fine detail
    assert all(0.85 < own / sharp[0] < 1.25 for own in sharp[1:])
    assert not np.array_equal(painted["fast"][-1], painted["best"][-1])


def test_a_mask_clip_and_a_tracked_subject_are_painted_and_the_rest_stays(store, engine, tmp_path):
    source = store.file("clips", "carphone_pristine.mp4")
    with VideoWriter(tmp_path / "mask.mkv", rate=30) as writer:
        for index in range(6):
            mask = np.zeros((72, 88, 3), np.float32)
            mask[:, 8 * index : 8 * index + 40] = 1
            writer.write(mask)
    film = Film(end=0.2, size=88, temporal="off", codec="ffv1")
    read = [frame.pixels for frame in VideoReader(source, end=0.2, size=88)]
    for mask in (str(tmp_path / "mask.mkv"), "subject"):
        request = replace(ADAIN, controls=Controls(regions=((mask, STYLE),)))
        result = paint_video(engine, source, [], tmp_path / "out.mkv", request, film)
        assert result.record["regions"][0]["mask"] == Path(mask).name
        changed = [np.abs(one - other).max(2) for one, other in zip(frames(tmp_path / "out.mkv"), read, strict=True)]
        if mask == "subject":
            assert all(0.1 < (each > 0.02).mean() < 0.9 for each in changed)
            continue
        for index, each in enumerate(changed):
            inside = slice(8 * index + 4, 8 * index + 36)
            assert each[:, inside].mean() > 0.05
            assert each[:, : max(0, 8 * index - 8)].max(initial=0) < 1 / 255
            assert each[:, 8 * index + 48 :].max(initial=0) < 1 / 255


def test_sound_is_copied_packet_for_packet_and_times_are_exact(store, engine, tmp_path):
    source, out = store.file("clips", "bigbuckbunny.mp4"), tmp_path / "out.mp4"
    result = paint_video(engine, source, STYLE, out, ADAIN, Film(size=32, temporal="off"))
    assert packets(out) == packets(source)
    assert (result.frames, probe_video(out).count, probe_video(out).rate) == (132, 132, 25)
    assert not list(tmp_path.glob(".*"))


def _text(path):
    return path.read_text() if path.exists() else ""


@pytest.mark.process
def test_a_killed_job_goes_on_to_the_same_frames(store, tmp_path):
    source = store.file("clips", "bikes.mp4")
    command = [sys.executable, "-m", "impasto", "video", str(source), "--style", STYLE, "--size", "64", "--end", "4.2"]
    command += ["--method", "adain", "--runtime", "torch", "--precision", "float32", "-o", str(tmp_path / "out.mp4")]
    work = tmp_path / ".out.mp4.impasto"
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    while process.poll() is None and "segment-00000" not in _text(work / "plan.json"):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.mp4").exists()
    assert (work / "plan.json").exists()
    done = subprocess.run(
        [*command, "--resume", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert '"frames": 105' in done.stdout
    assert '"painted": 105' not in done.stdout
    assert not work.exists()
    torch.set_num_threads(1)
    engine = Engine(store=store, device="cpu", precision="float32", runtime="torch")
    paint_video(engine, source, STYLE, tmp_path / "whole.mp4", ADAIN, Film(size=64, end=4.2))
    for one, other in zip(frames(tmp_path / "out.mp4"), frames(tmp_path / "whole.mp4"), strict=True):
        assert np.array_equal(one, other)


def test_styles_and_strength_change_over_time(store, engine, tmp_path):
    source = store.file("clips", "carphone_pristine.mp4")
    film = Film(
        size=64,
        end=0.5,
        codec="ffv1",
        temporal="off",
        timeline=((0.0, (1.0, 0.0)), (0.2, (1.0, 0.0)), (0.4, (0.0, 1.0))),
        strengths=((0.0, 0.0), (0.1, 1.0)),
    )
    paint_video(engine, source, [STYLE, "irises"], tmp_path / "a.mkv", ADAIN, film)
    painted, read = frames(tmp_path / "a.mkv"), frames(source, 1)
    only = {}
    for style in (STYLE, "irises"):
        alone = Film(size=64, end=0.5, codec="ffv1", temporal="off")
        paint_video(engine, source, style, tmp_path / "b.mkv", ADAIN, alone)
        only[style] = frames(tmp_path / "b.mkv")
    assert painted[0].mean() == pytest.approx(read[0].mean(), abs=0.01)
    assert painted[5] == pytest.approx(only[STYLE][5], abs=2 / 255)
    assert painted[14] == pytest.approx(only["irises"][14], abs=2 / 255)
    between = np.abs(painted[9] - only[STYLE][9]).mean(), np.abs(painted[9] - only["irises"][9]).mean()
    assert min(between) > 0.005
    reader = VideoReader(tmp_path / "a.mkv")
    # Matroska counts milliseconds
    assert [round(float(frame.stamp * reader.header.time_base), 3) for frame in reader][:3] == [0, 0.033, 0.067]


def test_after_a_hard_cut_nothing_of_the_first_scene_remains(store, engine, photos, tmp_path):
    """Forty still frames of one photograph, then ten of another: a flow between them can always be invented."""
    scenes = [images.read(photos / name).resized(128, 192).pixels for name in ("chelsea.png", "rocket.jpg")]
    with VideoWriter(tmp_path / "cut.mkv", rate=25) as writer:
        for index in range(50):
            writer.write(scenes[index >= 40])
    film = Film(codec="ffv1")
    result = paint_video(engine, tmp_path / "cut.mkv", STYLE, tmp_path / "out.mkv", Request(method="adain"), film)
    assert result.cuts == (40,)
    read = [frame.pixels for frame in VideoReader(tmp_path / "cut.mkv")]
    alone = FramePainter.of(engine, STYLE, Request(method="adain"), read[0]).paint(read[40])
    painted = frames(tmp_path / "out.mkv")
    assert 255 * np.abs(painted[40] - alone).mean() < 2
    assert 255 * np.abs(painted[49] - alone).mean() < 2


def test_what_is_pointed_at_is_painted_through_the_film(store, engine, tmp_path):
    """A face that nods and turns: paint where a box of the face is, and hardly any elsewhere."""
    source, out = store.file("clips", "carphone_pristine.mp4"), tmp_path / "face.mkv"
    regions = Controls(regions=(("point 80,70", STYLE),))
    film = Film(end=1.3, temporal="off", codec="ffv1")
    paint_video(engine, source, [], out, Request(method="adain", controls=regions), film)
    with pytest.raises(InputError, match="outside"):
        paint_video(engine, source, [], out, Request(method="adain", controls=Controls(preserve="point 176,70")), film)
    for number in (0, 20, 38):
        before, after = (frames(path, number + 1)[number] for path in (source, out))
        changed = np.abs(after - before).max(2) > 0.05
        assert changed[55:75, 75:95].mean() > 0.8
        assert changed[:, :40].mean() < 0.02
        assert 0.04 < changed.mean() < 0.25
