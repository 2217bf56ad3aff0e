"""The styles of a collection: embedding, groups, the map and what is written."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from impasto import images
from impasto.assets.library import Library
from impasto.contract import Placement
from impasto.discover import clusters, collection, drawing, embedding
from impasto.discover.collection import Work
from impasto.engine.styles import find_styles
from impasto.errors import InputError
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder


def stripes(seed, *, wide, tint):
    """A texture of stripes in one colour, of its own phase and noise."""
    rng = np.random.default_rng(seed)
    wave = (np.arange(64) // wide + rng.integers(0, 2)) % 2
    pixels = wave[None, :, None] * np.array(tint, np.float32)[None, None] + rng.normal(0, 0.03, (48, 64, 3))
    return pixels.clip(0, 1).astype(np.float32)


KINDS = ({"wide": 2, "tint": (1, 0.1, 0.1)}, {"wide": 8, "tint": (0.1, 0.9, 0.2)}, {"wide": 4, "tint": (0.2, 0.2, 1)})


@pytest.fixture(scope="module")
def works():
    return [
        Work(f"kind {kind} number {number}", f"{kind}{number}.png", stripes(10 * kind + number, **KINDS[kind]))
        for kind in range(3)
        for number in range(6)
    ]


@pytest.fixture
def library(engine):
    return Library(engine.store)


@pytest.fixture
def found(works, library):
    return collection.discover(library, works, count=3, device_name="cpu")


def test_blobs_are_found_and_so_is_their_number():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(center, 0.1, (size, 2)) for center, size in ((0, 12), (3, 9), (6, 7))])
    grouping = clusters.group(points)
    assert grouping.count == 3
    assert grouping.stability[3] == pytest.approx(1)
    assert grouping.stability[5] < 0.95
    assert [int((grouping.labels == one).sum()) for one in range(3)] == [12, 9, 7]
    distances = [grouping.distances[index] for index in grouping.members(0)]
    assert all(one <= other for one, other in pairwise(distances))
    again = clusters.group(points)
    assert np.array_equal(grouping.labels, again.labels)


def test_the_number_of_groups_is_a_peak_of_stability():
    assert clusters.stablest({2: 0.93, 3: 0.65, 4: 0.5, 5: 0.54, 6: 0.49}) == 5
    assert clusters.stablest({2: 0.5, 3: 0.6, 4: 0.5, 5: 0.7, 6: 0.4}) == 5
    assert clusters.stablest({2: 0.9, 3: 0.8, 4: 0.7}) == 2
    assert clusters.stablest({2: 0.7, 3: 0.8, 4: 0.9}) == 4


def test_agreement_is_one_for_the_same_groups_and_no_more_than_chance_for_shuffled_ones():
    labels = np.repeat(np.arange(4), 12)
    information, chance = clusters.agreement(labels, (labels + 1) % 4, permutations=99)
    assert information == pytest.approx(1)
    assert chance == 0.01
    information, chance = clusters.agreement(np.random.default_rng(3).permutation(labels), labels, permutations=99)
    assert abs(information) < 0.15
    assert chance > 0.01


def test_textures_of_one_kind_lie_together(works, tiny_weights):
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    kernel = embedding.style_kernel([work.pixels for work in works], encoder)
    assert np.abs(kernel - kernel.T).max() < 1e-9
    assert np.trace(kernel) == pytest.approx(len(embedding.LAYERS))
    points = embedding.coordinates(kernel)
    assert np.abs(points @ points.T - kernel).max() < 0.2 * np.abs(kernel).max()
    kinds = np.repeat(np.arange(3), 6)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.array_equal(kinds[distances.argmin(1)], kinds)


def test_the_logarithm_is_that_of_the_matrix():
    import torch

    rows = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (5, 40)))
    gram = rows @ rows.T / 40
    vector = embedding._logarithm(gram)
    matrix = np.zeros((5, 5))
    matrix[np.triu_indices(5)] = vector
    matrix = np.where(np.eye(5) > 0, matrix, (matrix + matrix.T) / 2**0.5)
    values, vectors = np.linalg.eigh(gram.numpy())
    exact = vectors * np.log(values + 1e-4 * values.mean()) @ vectors.T
    assert np.abs(matrix - exact).max() < 1e-5


def test_groups_become_styles_that_paint(found, library, tmp_path):
    labels = found.grouping.labels
    assert [len(set(labels[start : start + 6])) for start in (0, 6, 12)] == [1, 1, 1]
    written = collection.write(found, library, tmp_path / "styles")
    styles = [path for path in written if path.suffix == ".style"]
    assert len(styles) == 3
    sources = find_styles(library, str(styles[0]))
    assert len({source.label.rpartition(" number")[0] for source in sources}) == 1
    assert sum(source.weight for source in sources) == pytest.approx(1)
    assert sources[0].weight >= sources[-1].weight
    listed = json.loads((tmp_path / "styles/styles.json").read_text())
    assert [row["count"] for row in listed["styles"]] == [6, 6, 6]
    assert sorted(name for row in listed["styles"] for name in row["members"]) == sorted(
        work.id for work in found.works
    )
    assert re.fullmatch(r"1-\w+-kind-\d-number-\d\.style", styles[0].name)
    picture = images.read(tmp_path / "styles/map.png").pixels
    assert picture.shape[0] == picture.shape[1]
    assert picture.std() > 0.05


def test_the_page_reaches_nothing_and_escapes_names(found, library, tmp_path):
    named = [Work(f"<script>{work.label}", work.id, work.pixels) for work in found.works]
    odd = collection.Discovery(named, found.points, found.flat, found.grouping)
    collection.write(odd, library, tmp_path / "styles")
    page = (tmp_path / "styles/map.html").read_text()
    assert "<script>kind" not in page
    assert "&lt;script&gt;kind" in page
    assert not re.search(r"https?://|src=\"(?!data:)", page)
    assert page.count("<img") == 18


def test_the_map_is_settled_by_its_seed(found):
    assert np.array_equal(drawing.flattened(found.points, 0), found.flat)
    assert found.flat.min() == 0
    assert found.flat.max() == 1


@pytest.mark.parametrize(
    ("date", "told"),
    [("1889", "19"), ("ca. 1885–90", "19"), ("1800", "18"), ("ca. 750", "8"), ("mid-12th century", "12"), ("", "")],
)
def test_centuries_are_read_from_dates(date, told):
    assert collection.century(date) == told


def test_agreement_with_what_is_known_leaves_lone_artists_out(found, works):
    known = [
        Work(work.label, work.id, work.pixels, artist="alone" if index == 0 else f"artist {index // 6}")
        for index, work in enumerate(works)
    ]
    (row,) = collection.known_agreement(
        collection.Discovery(known, found.points, found.flat, found.grouping), permutations=99
    )
    assert (row["known"], row["works"], row["kinds"]) == ("artist", 17, 3)
    assert row["ami"] == pytest.approx(1)
    assert row["p"] == 0.01


def test_too_few_pictures_and_too_many_groups_are_refused(library, works, tmp_path, picture_file):
    (tmp_path / "two").mkdir()
    for seed in range(2):
        picture_file(f"two/{seed}.png", seed=seed)
    with pytest.raises(InputError, match="holds 2 pictures; 8 are the least"):
        collection.read_collection(library, str(tmp_path / "two"))
    with pytest.raises(InputError, match="there is no folder"):
        collection.read_collection(library, str(tmp_path / "none"))
    with pytest.raises(InputError, match="count is 12"):
        collection.discover(library, works, count=12)


def test_words_for_colours():
    assert [collection.color_word(color) for color in ("#101010", "#c8a040", "#4060a0")] == ["black", "gold", "blue"]
