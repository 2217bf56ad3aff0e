"""Finds paintings by meaning: a sentence in English or Chinese against a sentence of ours about each painting.

Four sentences stand for a painting: its record with our description, the description, what it shows, and how it is
painted. Their vectors ship, so that only the query goes through the network. Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.assets.library import Library, Painting
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import AssetError, InputError, counted, quoted
from impasto.files import write_whole
from impasto.models.sentences import SentenceEncoder

ASSET = "sentences"
"""The network that reads sentences."""

VECTORS = "descriptions.safetensors"
"""In the package of assets: a vector of each sentence about each painting, and what it was made of."""

LEAST_ALIKE = (0.12, 0.24, 0.28)
"""Queries of one, two, and more pieces of words whose best painting is less alike mean none; see docs/words.md."""

_MOST_CHOSEN, _MOST_LISTED = 3, 8
_NEAR = 0.08  # of the best: so much less alike may a painting be that is considered
_NEARLY_AS_FIT = 0.12  # so much less fit than the fittest may one be that is mixed in
_SAME_MANNER = 0.6  # likeness of the manners of paintings that are mixed: one pair in twenty reaches it
_SHARPNESS = 12.0  # of the shares: at 0.12 less a painting has a quarter of the fittest one's share
_MOST_LETTERS = 1000
_CHINESE = r"[\u3400-\u4dbf\u4e00-\u9fff]"
_PREFIX = re.compile(rf"{_CHINESE}+|[^\u3400-\u4dbf\u4e00-\u9fff]+")


@dataclass(frozen=True)
class Match:
    """A painting that answers a sentence.

    Attributes:
        painting: which.
        similarity: how alike its sentences and the query are, at most 1.
        share: of the mixture, all of which sum to 1; 0 for what is only listed.
        description: our sentence about it.
    """

    painting: Painting
    similarity: float
    share: float
    description: str


def choose(library: Library, query: str, *, on_progress: OnProgress = ignore) -> tuple[Match, ...]:
    """The one to three paintings that mean what a sentence says, with their shares, the largest first.

    Of the nearest, that is fittest whose manner is most like the sentence, too, since a painting gives its manner and
    not its subject. Others join it if they are painted like it: a mixture of unlike ones is grey and looks like none.

    Raises:
        InputError: the sentence is too long, or no painting is like it; the hint lists the nearest three.
        AssetError: the network cannot be had.
    """
    found, least, vector = _ranked(library, query, _MOST_CHOSEN, on_progress)
    best = found[0].similarity
    if best < least:
        listed = "; ".join(str(match.painting) for match in found)
        raise InputError(f"no painting in the library is like {quoted(query)}", f"the nearest are: {listed}")
    near = [match for match in found if match.similarity >= best - _NEAR]
    manners = _manners(near)
    fits = manners @ vector + [match.similarity for match in near]
    first = int(fits.argmax())
    joins = (fits >= fits[first] - _NEARLY_AS_FIT) & (manners @ manners[first] >= _SAME_MANNER)
    joins[first] = True
    parts = np.where(joins, np.exp(_SHARPNESS * (fits - fits[first])), 0)
    shares = parts / parts.sum()
    return tuple(
        replace(near[place], share=float(shares[place])) for place in np.argsort(-shares, kind="stable") if joins[place]
    )


def by_meaning(
    library: Library, query: str, *, fetch: bool = False, on_progress: OnProgress = ignore
) -> list[Painting]:
    """Paintings that a sentence may mean, best first; none where none is like it, or the network is not to be had.

    fetch: get the network where it is not in the cache.
    """
    try:
        if not fetch and not library.store.is_present(ASSET):
            return []
        found, least, _ = _ranked(library, query, _MOST_LISTED, on_progress)
    except (InputError, AssetError):
        return []
    return [match.painting for match in found if match.similarity >= least]


def search(library: Library, query: str, *, limit: int, on_progress: OnProgress = ignore) -> list[Match]:
    """The paintings most like a sentence, best first, however little they are like it.

    Raises:
        InputError, AssetError: as `choose`.
    """
    return _ranked(library, query, limit, on_progress)[0]


def _ranked(
    library: Library, query: str, limit: int, on_progress: OnProgress
) -> tuple[list[Match], float, NDArray[np.float32]]:
    """The same, how alike a painting must be (little for a word or two, which say little), and the query's vector."""
    text = translated(_checked(query))
    rows = {painting.number: painting for painting in library.paintings(on_progress)}
    places = [(row, rows[number]) for row, number in enumerate(_numbers()) if number in rows]
    if not places:
        raise InputError(f"no painting in the library matches {query!r}", "see what there is: impasto styles")
    encoder = _encoder(_folder(library, on_progress))
    vector, least = encoder(text), LEAST_ALIKE[min(encoder.count(text), len(LEAST_ALIKE)) - 1]
    alike = _similarity(vector)
    ranked = sorted(((float(alike[row]), painting) for row, painting in places), key=lambda pair: -pair[0])
    texts = descriptions()
    return [Match(painting, value, 0.0, texts[painting.number]) for value, painting in ranked[:limit]], least, vector


def embedding(library: Library, query: str, *, on_progress: OnProgress = ignore) -> tuple[float, ...]:
    """The vector of a sentence, as `search` compares it."""
    return tuple(map(float, _encoder(_folder(library, on_progress))(translated(_checked(query)))))


def in_english(sentence: str) -> str:
    """A sentence that a method takes as its style, Chinese words put into English.

    Raises:
        InputError: it is too long, or says nothing.
    """
    text = translated(_checked(sentence))
    if not re.search(r"\w", text):
        raise InputError("the style is an empty sentence", 'say how it shall look, such as --style "red stripes"')
    return text


def _checked(query: str) -> str:
    if len(query) > _MOST_LETTERS:
        words = counted(len(query.split()), "word")
        raise InputError(f"the style is a text of {words}", "say it in one sentence, of a thousand letters at most")
    return query


def _folder(library: Library, on_progress: OnProgress) -> Path:
    try:
        return library.store.file(ASSET, "model.safetensors", on_progress).parent
    except AssetError as error:
        told = f"no title or artist is meant, and a search by meaning needs {ASSET}: {error.message}"
        raise AssetError(told, error.hint) from error


@lru_cache(maxsize=1)
def _encoder(folder: Path) -> SentenceEncoder:
    return SentenceEncoder.read(folder)


def _similarity(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each painting: the mean of record, description, and the nearer of subject and manner."""
    record, whole, subject, manner = _vectors()[0] @ vector
    mean: NDArray[np.float32] = (record + whole + np.maximum(subject, manner)) / 3
    return mean


def _manners(matches: Sequence[Match]) -> NDArray[np.float32]:
    """Vectors `(N, SIZE)` of how paintings are painted."""
    numbers = _numbers()
    return _vectors()[0][3, [numbers.index(match.painting.number) for match in matches]]


def sentences_of(painting: Painting) -> tuple[str, str, str, str]:
    """What is compared: record and description, description, subject, manner."""
    text = descriptions()[painting.number]
    subject, _, manner = text.partition(";")
    record = f"{painting.title} by {painting.artist}, {painting.date}. {', '.join(painting.tags)}. {text}"
    return record, text, subject.strip(), manner.strip() or text


def write_vectors(path: Path, library: Library, *, on_progress: OnProgress = ignore) -> None:
    """Write what ships as `VECTORS`, after a description has changed."""
    from safetensors.numpy import save

    paintings = library.paintings(on_progress)
    encoder, rows = _encoder(_folder(library, on_progress)), []
    for done, painting in enumerate(paintings):
        on_progress(Progress("reading descriptions", done, len(paintings), "painting"))
        rows.append([encoder(text) for text in sentences_of(painting)])
    stacked = np.ascontiguousarray(np.array(rows, np.float16).transpose(1, 0, 2))  # (4, paintings, SIZE)
    numbers = json.dumps([painting.number for painting in paintings])
    write_whole(path, save({"vectors": stacked}, {"numbers": numbers, "made_of": digest(paintings)}))


def digest(paintings: Iterable[Painting]) -> str:
    """Of all sentences: what `VECTORS` was made of."""
    texts = [text for painting in paintings for text in sentences_of(painting)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def made_of() -> str:
    """The digest that `VECTORS` states."""
    return _vectors()[1]["made_of"]


def _numbers() -> list[str]:
    numbers: list[str] = json.loads(_vectors()[1]["numbers"])
    return numbers


@lru_cache(maxsize=1)
def _vectors() -> tuple[NDArray[np.float32], dict[str, str]]:
    from safetensors import safe_open

    with resources.as_file(resources.files("impasto.assets") / VECTORS) as path, safe_open(path, "np") as file:
        return file.get_tensor("vectors").astype(np.float32), dict(file.metadata())


@lru_cache(maxsize=1)
def descriptions() -> dict[str, str]:
    """A sentence about each painting, by its number."""
    return _table("descriptions.toml")


def translated(text: str) -> str:
    """Chinese words about pictures in English, by a table of ours; other text as it is.

    The longest word that the table knows counts; characters that none explains are passed over.

    Raises:
        InputError: nothing is left.
    """
    if not re.search(_CHINESE, text):
        return text
    parts: list[str] = []
    for run in _PREFIX.findall(text):
        parts += _known_words(run) if re.match(_CHINESE, run) else [run]
    words = " ".join(" ".join(parts).split())
    if not re.search(r"\w", words):
        hint = "use words for things, colours, painters and moods, or write it in English; docs/words.zh.md"
        raise InputError(f"no word of {quoted(text)} is known", hint)
    return words


def _known_words(run: str) -> list[str]:
    known = _chinese()
    longest = max(map(len, known))
    words, start = [], 0
    while start < len(run):
        ends = range(min(len(run), start + longest), start, -1)
        end = next((end for end in ends if run[start:end] in known), start)
        words += [known[run[start:end]]] if end > start else []
        start = max(end, start + 1)
    return words


@lru_cache(maxsize=1)
def _chinese() -> dict[str, str]:
    return {word: english for group in _table("chinese.toml").values() for word, english in group.items()}


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("impasto.assets") / name).read_text(encoding="utf-8"))
