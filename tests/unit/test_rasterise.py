"""The rasteriser against a slow reference, and views as lookups against closed forms and finite differences."""

import numpy as np
import pytest
import torch

from impasto.optim.surfaces import Rotation, Sheet, TextureCanvas, ViewScore, colors_of, gathered
from impasto.scenes.cameras import Camera, around
from impasto.scenes.lookups import Footprints, lookup, texture_taps, vertex_taps, wrapped
from impasto.scenes.rasterise import rasterise

UP = np.array([0.0, 1.0, 0.0])


def slow_view(camera, points, faces, side):
    """Nearest triangle along the ray through each pixel's centre, with its weights, one by one."""
    found, weights = np.full(side * side, -1), np.zeros((side * side, 3))
    for place, ray in enumerate(camera.rays(side)):
        nearest = np.inf
        for index, (first, second, third) in enumerate(points[faces]):
            matrix = np.stack((second - first, third - first, -ray), 1)
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            u, v, distance = np.linalg.solve(matrix, camera.eye - first)
            if u >= 0 and v >= 0 and u + v <= 1 and 1e-4 < distance < nearest:
                nearest, found[place], weights[place] = distance, index, (1 - u - v, u, v)
    return found, weights


@pytest.mark.parametrize("inside", [False, True])
def test_draws_what_rays_meet(inside):
    """Triangles of all sizes; from inside, some reach behind the eye."""
    generator = np.random.default_rng(3)
    points = generator.normal(size=(30, 3))
    faces = generator.integers(0, 30, (24, 3))
    faces = faces[[len(set(face)) == 3 for face in faces]]
    eye = np.array([0.1, 0.05, 0.0]) if inside else np.array([0.0, 0.0, 6.0])
    camera = Camera.at(eye, np.array([0.0, 0.3, -1.0]), UP, 1.2)
    side = 24
    raster = rasterise(camera.project(points, side), faces, (side, side))
    expected, weights = slow_view(camera, points, faces, side)
    actual = np.full(side * side, -1)
    actual[raster.pixels] = raster.faces
    assert (expected >= 0).sum() > 60
    assert (actual == expected).mean() > 0.99  # ties at edges
    both = actual[raster.pixels] == expected[raster.pixels]
    np.testing.assert_allclose(raster.weights[both], weights[raster.pixels][both], atol=1e-6)


def test_neighbouring_triangles_leave_no_gap_and_do_not_show_twice():
    grid = np.linspace(0, 1, 9)
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    points = np.concatenate((points * 40 + 0.5, np.ones((81, 1))), 1)  # edges run through the centres of pixels
    cell = np.array([[0, 1, 9], [1, 10, 9]])
    faces = np.concatenate([cell + row * 9 + column for row in range(8) for column in range(8)])
    raster = rasterise(points, faces, (42, 42))
    assert len(raster.pixels) == len(set(raster.pixels)) == 41 * 41


def test_slopes_are_those_of_finite_differences():
    points = np.array([[0.0, 0, 0], [4, 0, -3], [0, 4, -1], [4, 4, -5]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    uv = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])[faces]
    camera = Camera.at(np.array([2.0, 2.0, 5.0]), np.array([2.0, 2.0, -2.0]), UP, 0.6)
    raster = rasterise(camera.project(points, 64), faces, (64, 64))
    places = np.full((64 * 64, 2), np.nan)
    places[raster.pixels] = raster.interpolate(uv)
    grid, slopes = places.reshape(64, 64, 2), np.zeros((64 * 64, 2, 2))
    slopes[raster.pixels] = raster.slopes(uv)
    central = (grid[30, 33] - grid[30, 31]) / 2, (grid[31, 32] - grid[29, 32]) / 2
    np.testing.assert_allclose(slopes.reshape(64, 64, 2, 2)[30, 32], central, rtol=1e-2)


def test_a_picture_looked_at_straight_is_the_picture():
    texture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sheet = Sheet((16, 16))
    along = (np.arange(16) + 0.5) / 16
    places = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    slopes = np.broadcast_to(np.eye(2) / 16, (256, 2, 2))
    taps = texture_taps(Footprints(np.arange(256), places, slopes, np.ones(256)), sheet, 0, ("repeat", "repeat"))
    view = lookup([taps], (16, 16))
    torch.testing.assert_close(view.render(colors_of([texture], [sheet])), texture)


@pytest.mark.parametrize("shrunk", [2, 4])
def test_seen_small_a_texture_is_its_mean(shrunk):
    """Mip levels are right: a pixel of 4x4 texels is their mean, and no grid shimmers."""
    texture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    sheet, side = Sheet((16, 16)), 16 // shrunk
    along = (np.arange(side) + 0.5) / side
    places = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    slopes = np.broadcast_to(np.eye(2) / side, (side * side, 2, 2))
    seen = Footprints(np.arange(side * side), places, slopes, np.ones(side * side))
    view = lookup([texture_taps(seen, sheet, 0, ("repeat", "repeat"))], (side, side))
    expected = torch.nn.functional.avg_pool2d(texture, shrunk)
    torch.testing.assert_close(view.render(colors_of([texture], [sheet])), expected)


def test_what_is_seen_at_a_slant_is_averaged_along_it_alone():
    """Stripes across the slant stay; stripes along it are averaged."""
    sheet = Sheet((32, 32))
    stripes = (torch.arange(32) % 8 < 4).float()
    seen = Footprints(np.arange(1), np.array([[0.5, 0.3125]]), np.array([[[8 / 32, 0], [0, 1 / 32]]]), np.ones(1))
    taps = texture_taps(seen, sheet, 0, ("repeat", "repeat"), most=8)
    view = lookup([taps], (1, 1))
    across = stripes.view(1, 1, 32, 1).expand(1, 3, 32, 32)
    kept = view.render(colors_of([across], [sheet])).flatten()[0]
    lost = view.render(colors_of([across.transpose(2, 3)], [sheet])).flatten()[0]
    assert kept == pytest.approx(1, abs=1e-6)
    assert lost == pytest.approx(0.5, abs=0.1)


def test_samplers_wrap_clamp_and_mirror():
    places = np.array([-3.0, -1, 0, 4, 5, 9])
    size = np.array([5])
    assert list(wrapped(places, size, "repeat")) == [2, 4, 0, 4, 0, 4]
    assert list(wrapped(places, size, "clamp")) == [0, 0, 0, 4, 4, 4]
    assert list(wrapped(places, size, "mirror")) == [2, 0, 0, 4, 4, 0]


def tilted_view(sheet, side=12):
    points = np.array([[-1.0, -1, 0], [1, -1, -0.5], [-1, 1, 0.4], [1, 1, 0]])
    faces, uv = np.array([[0, 1, 2], [1, 3, 2]]), np.array([[0.0, 1], [1, 1], [0, 0], [1, 0]])
    camera = Camera.at(np.array([0.3, 0.2, 5.0]), np.zeros(3), UP)
    raster = rasterise(camera.project(points, side), faces, (side, side))
    if not sheet.mips:
        return lookup([vertex_taps(raster, faces, 0, np.ones(len(raster.pixels), bool))], (side, side))
    corners = uv[faces]
    seen = Footprints(raster.pixels, raster.interpolate(corners), raster.slopes(corners), np.ones(len(raster.pixels)))
    return lookup([texture_taps(seen, sheet, 0, ("clamp", "clamp"))], (side, side))


@pytest.mark.parametrize("sheet", [Sheet((8, 8)), Sheet((1, 4), mips=False)], ids=["texture", "vertices"])
def test_gradients_are_those_of_finite_differences(sheet):
    view = tilted_view(sheet)
    texture = torch.rand(1, 3, *sheet.sides, dtype=torch.float64, requires_grad=True)

    def render(texture):
        return view.render(colors_of([texture], [sheet]), torch.tensor([0.2, 0.3, 0.4]))

    assert torch.autograd.gradcheck(render, (texture,))


def test_spreading_is_the_adjoint_of_rendering():
    sheet = Sheet((8, 8))
    view = tilted_view(sheet)
    colors, values = torch.rand(2, sheet.rows), torch.rand(2, 144)
    there = (view.render(colors).flatten(2)[0] * values).sum()
    torch.testing.assert_close(there, (colors * view.spread(values, sheet.rows)).sum())


def test_pictures_of_views_come_back_as_the_texture():
    sheet = Sheet((8, 8))
    view = tilted_view(sheet, 96)
    texture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    smooth = torch.nn.functional.interpolate(texture[:, :, :2, :2], size=(8, 8), mode="bilinear")
    picture = view.render(colors_of([smooth], [sheet]))
    (back,), (seen,) = gathered([view], [picture], [sheet], power=2)
    assert seen.min() > 0
    assert (back - smooth).abs().max() < 0.12  # bilinear taps smooth a little


def test_the_canvas_shows_one_group_of_views_after_the_other():
    sheet = Sheet((8, 8))
    views = [tilted_view(sheet), tilted_view(sheet)]
    rotation = Rotation([(0,), (1,)])
    canvas = TextureCanvas([torch.rand(1, 3, 8, 8)], [sheet], views, rotation)
    asked = []

    def score(index):
        def loss(image):
            asked.append(index)
            return {"loss": image.mean()}, torch.full_like(image, 1 / image.numel())

        return loss

    both = ViewScore([score(0), score(1)], rotation)
    for _ in range(3):
        both(canvas.render())
    assert asked == [0, 1, 0]


def test_cameras_stand_all_around_and_see_the_whole_object():
    points = np.random.default_rng(0).normal(size=(200, 3)) * [1, 2, 0.5]
    cameras = around(points, 16, up=UP)
    for camera in cameras:
        flat = camera.project(points, 100)
        flat = flat[:, :2] / flat[:, 2:]
        assert flat.min() >= 0
        assert flat.max() <= 100
    heads = np.stack([camera.axes[2] for camera in cameras])
    assert np.linalg.norm(heads.mean(0)) < 0.1
