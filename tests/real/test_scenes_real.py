"""Spot, the sample model, painted with the real networks; where it was fetched, or lies in a folder beside us."""

from pathlib import Path

import numpy as np
import pytest
import torch

import impasto
from impasto import images
from impasto.assets import Store, load_weights
from impasto.contract import Placement
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import AssetError
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.scenes import measures
from impasto.scenes.files import open_scene
from impasto.scenes.paint import SceneSettings, paint_scene

pytestmark = pytest.mark.real

MESHES = Path(__file__).parents[3] / "shared" / "meshes"
SIDE = 128


@pytest.fixture(scope="module")
def spot():
    store = Store()
    if not store.is_present("spot") and not MESHES.is_dir():
        pytest.skip("spot: not fetched, and no folder of published models lies beside the checkout")
    try:
        store.fetch(["spot"], folder=None if store.is_present("spot") else MESHES)
    except AssetError as error:
        pytest.skip(str(error))
    return store.path("spot") / "spot.obj"


def test_spot_is_painted_alike_from_all_sides(spot, store, painting, tmp_path):
    """Near the painting from sides that were not descended; a third as far apart as views painted by themselves."""
    engine, scene = Engine(), open_scene(spot)
    assert len(scene.mesh.surfaces[0].faces) == 5856
    request = Request(knobs={"steps": 6, "coarsest": 128})
    result = paint_scene(engine, scene, painting, request, SceneSettings(SIDE, 8))
    encoder = Encoder(VGG19, load_weights(store, "vgg19-normalised"), Placement())
    style = images.to_tensor(images.read(painting).resized(SIDE, SIDE).pixels)
    unseen = scene.ring(3)
    before, after = (measures.style_distance(one, unseen, SIDE, style, encoder) for one in (scene, result.scene))
    assert after < 0.3 * before
    cameras = scene.ring(24)[3:6]
    alone = [
        images.to_tensor(impasto.stylize(images.from_tensor(view), painting, method="adain").picture.pixels)
        for view in measures.views_of(scene, cameras, SIDE)
    ]
    together = measures.views_of(result.scene, cameras, SIDE)
    apart = measures.disagreement(scene, cameras, alone, SIDE)
    assert measures.disagreement(scene, cameras, together, SIDE) < apart / 3
    assert measures.seam_error(result.scene) < 0.15  # of texels that are finer than any view
    result.scene.write(tmp_path / "out.obj")
    again = open_scene(tmp_path / "out.obj")
    np.testing.assert_array_equal(again.mesh.points, scene.mesh.points)
    torch.testing.assert_close(again.textures[0], result.scene.textures[0], atol=0.5 / 255 + 1e-6, rtol=0)
