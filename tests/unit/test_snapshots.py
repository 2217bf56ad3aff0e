"""Snapshots: broken off anywhere, a job goes on to the same picture; another job's are refused."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from impasto import Snapshots, images
from impasto.engine import snapshots
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError, ResourceError
from tiny import noise


def picture(seed=0, height=48, width=64):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


CONTENT, STYLE, OTHER = picture(), picture(1), picture(2)
HALF = np.zeros((48, 64), np.float32)
HALF[:, :32] = 1
QUICK = {"steps": 6, "coarsest": 32}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out-steps"


def stop_at(step):
    def stop(progress):
        if progress.snapshot is not None and progress.step == step:
            raise Cancelled("enough")

    return stop


def broken_off(engine, folder, *, step=8, styles=STYLE, every=3, **request):
    wanted = Request(knobs={**QUICK, **request.pop("knobs", {})}, **request)
    with pytest.raises(Cancelled):
        engine.stylize(CONTENT, styles, with_snapshots(wanted, folder, every), on_progress=stop_at(step))
    return wanted


def with_snapshots(request, folder, every=3, *, resume=False):
    return Request(**{**request.__dict__, "snapshots": Snapshots(folder, every, resume=resume)})


@pytest.mark.parametrize("step", [0, 8, 14])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_job_goes_on_to_the_same_picture(engine, folder, step, optimizer):
    request = broken_off(engine, folder, step=step, knobs={"optimizer": optimizer})
    whole = engine.stylize(CONTENT, STYLE, request)
    notes = []
    rest = engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, resume=True), on_note=notes.append)
    assert np.array_equal(rest.picture.pixels, whole.picture.pixels)
    totals = [[entry["total"] for entry in result.losses] for result in (rest, whole)]
    assert totals[0] == totals[1]
    assert rest.record["steps"] == whole.record["steps"]
    assert not (folder / "state.safetensors").exists()


@pytest.mark.parametrize("step", [1, 5])
def test_a_photorealistic_job_goes_on_too(engine, folder, step):
    knobs = {"canvas": "photorealistic", "init": "content"}
    request = broken_off(engine, folder, step=step, every=1, knobs=knobs)
    whole = engine.stylize(CONTENT, STYLE, request)
    rest = engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, resume=True))
    assert np.array_equal(rest.picture.pixels, whole.picture.pixels)


def test_regions_and_colour_go_on_too(engine, folder):
    controls = Controls(regions=((HALF, OTHER),), keep_color="luminance", preserve=HALF[:, ::-1].copy())
    request = broken_off(engine, folder, controls=controls)
    whole = engine.stylize(CONTENT, STYLE, request)
    rest = engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, resume=True))
    assert np.array_equal(rest.picture.pixels, whole.picture.pixels)


def test_a_listener_sees_the_picture_as_it_would_be_saved(engine):
    controls, seen = Controls(keep_color="luminance", preserve=HALF), []
    request = Request(knobs=QUICK, controls=controls)
    result = engine.stylize(CONTENT, STYLE, request, on_progress=lambda progress: seen.append(progress.snapshot))
    assert np.array_equal(images.from_tensor(seen[-1].image()), result.picture.pixels)
    assert np.array_equal(result.picture.pixels[:, :32], CONTENT[:, :32])


def test_the_pictures_lead_from_the_start_to_the_result(engine, folder):
    request = Request(knobs=QUICK)
    result = engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, 5))
    frames = snapshots.Snapshots(folder).frames()
    assert [frame.name for frame in frames] == ["step-00000.png", "step-00005.png", "step-00010.png", "step-00015.png"]
    shown = [images.read(frame).pixels for frame in frames]
    assert all(pixels.shape == CONTENT.shape for pixels in shown)
    far = [np.abs(pixels - result.picture.pixels).mean() for pixels in shown]
    assert far[0] > far[1]
    assert far[-1] < 1 / 255


def test_what_is_left_of_another_job_is_cleared_unless_it_goes_on(engine, folder):
    request = broken_off(engine, folder)
    assert len(list(folder.glob("step-*.png"))) == 4
    engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, 100))
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000.png", "step-00015.png"]


def test_nothing_to_go_on_from_is_a_beginning(engine, folder):
    request = Request(knobs=QUICK)
    result = engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, resume=True))
    assert result.record["steps"] == 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"knobs": {"steps": 7}}, "steps 6, not 7"),
        ({"styles": OTHER}, "another style picture"),
        ({"size": 32}, "size 64x48, not 32x24"),
        ({"controls": Controls(preserve=HALF)}, "mask"),
        ({"content": OTHER}, "another photograph"),
    ],
)
def test_a_snapshot_of_another_job(engine, folder, change, words):
    broken_off(engine, folder)
    content, styles = change.pop("content", CONTENT), change.pop("styles", STYLE)
    request = Request(**{"knobs": {}, **change})
    request = Request(**{**request.__dict__, "knobs": {**QUICK, **request.knobs}})
    with pytest.raises(InputError, match="is of another job") as caught:
        engine.stylize(content, styles, with_snapshots(request, folder, resume=True))
    assert words in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert "leave out --resume" in caught.value.hint
    assert (folder / "state.safetensors").exists()


def damage(path, how):
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "noise":
        path.write_bytes(b"no tensors at all")
    else:
        save_file(load_file(path), path, {"impasto": json.dumps({"format": 99})})


@pytest.mark.parametrize("how", ["cut", "noise", "version"])
def test_a_damaged_snapshot(engine, folder, how):
    request = broken_off(engine, folder)
    damage(folder / "state.safetensors", how)
    with pytest.raises(InputError, match=r"the snapshot .* (cannot be read|is not of this version)") as caught:
        engine.stylize(CONTENT, STYLE, with_snapshots(request, folder, resume=True))
    assert "leave out --resume" in caught.value.hint


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_senseless_intervals(engine, folder, every):
    with pytest.raises(InputError, match="save_every"):
        engine.stylize(CONTENT, STYLE, with_snapshots(Request(), folder, every))


def test_a_folder_that_cannot_be_one(engine, folder):
    folder.touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        engine.stylize(CONTENT, STYLE, with_snapshots(Request(), folder))


def test_a_full_disk(engine, folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "save_file", full)
    with pytest.raises(ResourceError, match="cannot be written"):
        engine.stylize(CONTENT, STYLE, with_snapshots(Request(knobs=QUICK), folder))
    assert [path.name for path in folder.iterdir() if "part" in path.name] == []


def test_a_time_lapse_of_each_kind(engine, folder, tmp_path):
    from PIL import Image

    from impasto.videos import probe_video

    engine.stylize(CONTENT, STYLE, with_snapshots(Request(knobs=QUICK), folder, 5))
    frames = Snapshots(folder).frames()
    for name in ("way.gif", "way.webp", "way.mp4"):
        snapshots.check_moving(tmp_path / name)
        snapshots.write_time_lapse(frames, tmp_path / name)
    with Image.open(tmp_path / "way.webp") as moving:
        assert moving.size == (64, 48)
        assert moving.n_frames >= len(frames)
    header = probe_video(tmp_path / "way.mp4")
    assert (header.width, header.height) == (64, 48)
    with pytest.raises(InputError, match="no animation or video"):
        snapshots.check_moving(tmp_path / "way.txt")
    with pytest.raises(InputError, match="no snapshot"):
        snapshots.write_time_lapse([], tmp_path / "way.gif")
