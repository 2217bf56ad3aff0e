import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.api import Painter
from impasto.engine.controls import Controls
from impasto.errors import InputError, StyleError, without_flags
from impasto.memory import parse_memory
from tiny import noise


def test_all_names_exist():
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    assert set(impasto.__all__) <= set(dir(impasto))
    assert impasto.__version__


@pytest.mark.process
def test_importing_loads_no_torch():
    script = "import sys, impasto; impasto.InputError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_unknown_names_are_attribute_errors():
    assert not hasattr(impasto, "no_such_thing")


PHOTO = noise(48, 64)[0].permute(1, 2, 0).contiguous().numpy()
STYLE = noise(64, 64, seed=1)[0].permute(1, 2, 0).contiguous().numpy()


@pytest.fixture
def painter(engine):
    return Painter("auto", engine)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_whatever_the_caller_has_switched_off(painter, mode):
    with mode():
        inside = painter(PHOTO, STYLE, steps=2)
        painter(torch.from_numpy(PHOTO), torch.from_numpy(STYLE), quality="draft")
    outside = painter(PHOTO, STYLE, steps=2)
    assert np.array_equal(inside.picture.pixels, outside.picture.pixels)


def test_devices_and_precisions_are_names_objects_or_none():
    for device in ("cpu", torch.device("cpu"), None, "auto"):
        impasto.load(device=device)
    for precision in ("float32", torch.float32, None, "auto"):
        impasto.load(precision=precision)
    assert impasto.load(method=None).method == "auto"


@pytest.mark.parametrize(
    "given",
    [
        {"device": "cuda:7"},
        {"device": "banana"},
        {"device": 3},
        {"precision": "float13"},
        {"precision": torch.int8},
        {"runtime": "banana"},
        {"method": 3},
        {"method": "banana"},
    ],
)
def test_what_cannot_be_loaded_is_told_at_once(given):
    with pytest.raises(InputError) as caught:
        impasto.load(**given)
    assert "--" not in str(caught.value) + "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "given",
    [
        {"on_progress": 3},
        {"controls": "luminance"},
        {"max_memory": "much"},
        {"max_memory": -1},
        {"max_memory": True},
        {"size": 2.5},
        {"size": "512"},
        {"max_pixels": 100},
        {"quality": "fine"},
        {"stepz": 3},
        {"steps": "many"},
        {"method": "adain"},
        {"init": "content", "quality": "draft"},
        {"strength": float("nan")},
    ],
)
def test_wrong_arguments_are_style_errors_in_the_words_of_python(painter, given):
    with pytest.raises(StyleError) as caught:
        painter(PHOTO, STYLE, **given)
    told = [str(caught.value), *caught.value.__notes__, caught.value.message, caught.value.hint]
    assert "--" not in " ".join(told)
    assert caught.value.hint


def test_flags_become_arguments():
    assert without_flags("use --max-memory 2.5GB or --size 512") == 'use max_memory="2.5GB" or size=512'
    assert without_flags("leave out --method and --init") == "leave out method and init"


def test_memory_may_be_words(painter):
    painter(PHOTO, STYLE, quality="draft", max_memory="2GB")
    assert parse_memory("2GB") == parse_memory(2e9) == 2 * 10**9


def test_regions_may_be_a_mapping(painter):
    mask = np.ones(PHOTO.shape[:2], np.float32)
    assert Controls(regions={"a.png": "irises"}).regions == (("a.png", "irises"),)
    painter(PHOTO, controls=Controls(regions=[(mask, STYLE)]), quality="draft")
    for wrong in ("a.png", [("a.png",)], 3):
        with pytest.raises(InputError, match="regions"):
            Controls(regions=wrong)


@pytest.mark.parametrize("tensor", [torch.empty(3, 8, 8, device="meta"), torch.eye(8).to_sparse()])
def test_tensors_without_dense_values_are_refused(painter, tensor):
    with pytest.raises(InputError, match="tensor"):
        painter(tensor, STYLE, quality="draft")


def test_a_result_is_saved_to_a_file_object_compared_and_shown(painter, tmp_path):
    result = painter(PHOTO, STYLE, quality="draft")
    for kind in (None, "JPEG"):
        target = BytesIO()
        assert result.save(target, format=kind) is target
        assert Image.open(BytesIO(target.getvalue())).format == (kind or "PNG")
    assert result == result
    assert len({result, painter(PHOTO, STYLE, quality="draft")}) == 2
    assert len(repr(result)) < 100
    assert len(repr(result.picture)) < 100
    assert "64x48" in repr(result)
