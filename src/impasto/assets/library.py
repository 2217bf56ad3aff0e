"""The style library: paintings that can be named by number, by title or by words."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto import images
from impasto.assets import Store
from impasto.contract import OnProgress, ignore
from impasto.errors import InputError
from impasto.files import is_file, is_folder
from impasto.images import EXTENSIONS, Picture

SOURCES = ("museum",)
"""Assets that hold paintings, each with an index.json."""

_LISTED = 8
_LONGEST_NAME = 6  # words; more are no title with a slip of the pen in it
_SLIP = 0.85  # of likeness, from which words are a title with a slip in it
_BORDER = 0.03  # of each side, at both ends; broader mounts and frames stay


@dataclass(frozen=True)
class Painting:
    """One painting of the library.

    Attributes:
        id: its source and number, such as "museum:436535"; a valid style.
        title: as its museum gives it.
        artist: empty when unknown.
        date: in words, such as "ca. 1885".
        licence: under what it may be used.
        source: the asset that it lies in.
        tags: what is to be seen.
        file: file name inside the asset.
        medium: such as "Oil on canvas".
        culture: where it comes from, when no artist says so; mostly empty.
    """

    id: str
    title: str
    artist: str
    date: str
    licence: str
    source: str
    tags: tuple[str, ...]
    file: str
    medium: str = ""
    culture: str = ""

    @property
    def number(self) -> str:
        """The id without its source."""
        return self.id.partition(":")[2]

    def __str__(self) -> str:
        artist = f" ({self.artist})" if self.artist else ""
        return f"{self.id} {self.title}{artist}"


class Library:
    """Finds paintings in the store, and fetches the collection when it is first asked.

    Words are compared without case or accents, and may be beginnings of words: "cypress" finds "Cypresses".
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._entries: tuple[_Entry, ...] = ()

    def paintings(self, on_progress: OnProgress = ignore) -> tuple[Painting, ...]:
        """All paintings, in the order of their sources and files.

        Raises:
            AssetError, ResourceError: the collection cannot be had.
        """
        return tuple(entry.painting for entry in self._read(on_progress))

    def search(self, query: str, *, limit: int | None = None, on_progress: OnProgress = ignore) -> list[Painting]:
        """Paintings that match every word of `query`, best first; all of them for an empty query.

        A match in the title counts more than one in the artist's name, and that more than one in the tags, date,
        medium or culture. A number or an id finds that painting.
        """
        entries = self._read(on_progress)
        if numbered := _by_id(entries, query):
            return [numbered.painting]
        words = _words(query)
        ranked = sorted((rank, index) for index, entry in enumerate(entries) if (rank := entry.rank(words)))
        return [entries[index].painting for _, index in ranked][:limit]

    def find(self, query: str, *, on_progress: OnProgress = ignore) -> Painting:
        """The one painting that matches `query`.

        The first of these that leaves exactly one decides: its number or id, its exact title, all words in the title,
        all words in title and artist, all words anywhere.

        Raises:
            InputError: none matches, or several match equally well; the hint lists them.
        """
        entries = self._read(on_progress)
        if numbered := _by_id(entries, query):
            return numbered.painting
        words = _words(query)
        candidates = _best_tier(entries, words) if words else []
        if query and not candidates and is_folder(query):
            raise InputError(f"{query} is a folder, not a painting of the library", "name a picture in it")
        if not words:
            raise InputError("no painting was named", "impasto styles lists them all")
        if not candidates:
            raise InputError(f"no painting in the library matches {query!r}", _suggestion(entries, query, words))
        if len(candidates) > 1:
            raise InputError(
                f"{query!r} matches {len(candidates)} paintings",
                f"name one: {_listing([entry.painting for entry in candidates])}",
            )
        return candidates[0].painting

    def named(self, query: str, *, on_progress: OnProgress = ignore) -> Painting | None:
        """The one painting that `query` names; None where no title or artist has its words, nor nearly.

        Raises:
            InputError: as `find`, where several have them, or words are nearly those of a title or an artist.
        """
        entries = self._read(on_progress)
        words = _words(query)
        if not words or ":" in query or query.strip().isdigit() or is_folder(query):
            return self.find(query)
        meant = _best_tier(entries, words)
        if len(meant) == 1 or _in_names(meant, words) or _is_slip(entries, words):
            return self.find(query)
        return None

    def path(self, painting: Painting, *, on_progress: OnProgress = ignore) -> Path:
        """The image file of a painting, hashed before it is handed out.

        Raises:
            AssetError: it cannot be had, or was altered.
        """
        return self.store.file(painting.source, painting.file, on_progress)

    def read(
        self,
        painting: Painting,
        *,
        read: Callable[[Any], Picture] = images.read,
        on_progress: OnProgress = ignore,
    ) -> Picture:
        """A painting without the rim of its photograph, as every method is to see it.

        Museums photograph a painting unframed on black: round it lie a black ground and the edge of its canvas or
        panel, which would count as its style and be learnt by networks.

        Args:
            painting: which.
            read: reads the file, as `images.read` does.
            on_progress: called while something is fetched.

        Raises:
            AssetError: it cannot be had, or was altered.
        """
        path = self.path(painting, on_progress=on_progress)
        return read(path).without_border(_BORDER)

    def _read(self, on_progress: OnProgress) -> tuple[_Entry, ...]:
        if not self._entries:
            found = [painting for source in SOURCES for painting in self._read_source(source, on_progress)]
            self._entries = tuple(map(_Entry.of, found))
        return self._entries

    def _read_source(self, source: str, on_progress: OnProgress) -> Iterable[Painting]:
        rows = json.loads(self.store.file(source, "index.json", on_progress).read_bytes())
        return [Painting(**{**row, "tags": tuple(row["tags"]), "source": source}) for row in rows]


@dataclass(frozen=True)
class _Entry:
    """A painting with its words, field by field: title, artist, everything else."""

    painting: Painting
    fields: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, painting: Painting) -> _Entry:
        rest = " ".join([*painting.tags, painting.date, painting.medium, painting.culture])
        return cls(painting, (_words(painting.title), _words(painting.artist), _words(rest)))

    def rank(self, words: Iterable[str]) -> tuple[int, int, int, int] | None:
        """Sort key, best match first; None when some word matches nowhere.

        The outermost field needed, then the sum of the fields, then words that match only as beginnings, then the
        length of the title: of two titles that hold all words, the one with less else in it is meant.
        """
        places = [self._place(word) for word in words]
        if any(place is None for place in places):
            return None
        found = [place for place in places if place is not None]
        fields = [field for field, _ in found]
        return max(fields, default=0), sum(fields), sum(partly for _, partly in found), len(self.fields[0])

    def _place(self, word: str) -> tuple[int, bool] | None:
        """The first field that has the word, and whether only as the beginning of a longer one."""
        for number, field in enumerate(self.fields):
            if word in field:
                return number, False
            if any(known.startswith(word) for known in field):
                return number, True
        return None


def means_file(style: str) -> bool:
    """Whether words that name a style mean a file: one that exists, or a name that looks like one.

    So a typing error in a path is reported as a missing file, not as an unknown painting.
    """
    looks = "/" in style or "\\" in style or Path(style).suffix.lower() in EXTENSIONS
    return looks or is_file(style) or images.is_pipe(style)


def _by_id(entries: Iterable[_Entry], query: str) -> _Entry | None:
    wanted = query.strip().lower()
    return next((entry for entry in entries if wanted in (entry.painting.id, entry.painting.number)), None)


def _best_tier(entries: Iterable[_Entry], words: tuple[str, ...]) -> list[_Entry]:
    """The entries that match best: by exact title, else within the fewest fields, whole words before beginnings."""
    entries = list(entries)
    exact = [entry for entry in entries if entry.fields[0] == words]
    if exact:
        return exact
    ranks = sorted(((rank, entry) for entry in entries if (rank := entry.rank(words))), key=lambda pair: pair[0])
    outermost = min((rank[0] for rank, _ in ranks), default=0)
    if any(set(words) <= set(entry.fields[1]) for entry in entries):
        outermost = 1  # an artist was named: a portrait of Cézanne's wife must not pass for "cezanne"
    tier = [(rank, entry) for rank, entry in ranks if rank[0] <= outermost]
    whole = [entry for rank, entry in tier if rank[2] == 0]
    return whole if len(whole) == 1 else [entry for _, entry in tier]


def _suggestion(entries: Iterable[_Entry], query: str, words: Iterable[str]) -> str:
    """A hint with what may have been meant: words mended to known ones, else titles that look alike."""
    entries = list(entries)
    near = [entry.painting for entry in _best_tier(entries, _mended(entries, words))]
    if not near:
        titles = {" ".join(entry.fields[0]): entry.painting for entry in entries}
        near = [titles[title] for title in difflib.get_close_matches(" ".join(words), titles, n=3)]
    if near:
        return f"did you mean {_listing(near)}?"
    return f"give a file that exists, or see what there is: impasto styles{'' if ':' in query else ' WORD'}"


def _mended(entries: Iterable[_Entry], words: Iterable[str]) -> tuple[str, ...]:
    """Words, those that are nearly known ones replaced by these."""
    known = sorted({word for entry in entries for field in entry.fields for word in field})
    return tuple((difflib.get_close_matches(word, known, n=1, cutoff=0.75) or [word])[0] for word in words)


def _in_names(entries: Iterable[_Entry], words: tuple[str, ...]) -> bool:
    """Whether titles and artists alone hold all words, in one of the entries."""
    return any((rank := entry.rank(words)) is not None and rank[0] <= 1 for entry in entries)


def _is_slip(entries: Iterable[_Entry], words: tuple[str, ...]) -> bool:
    """Whether words are nearly those of a title or an artist."""
    if len(words) > _LONGEST_NAME:
        return False
    titles = [" ".join(entry.fields[0]) for entry in entries]
    alike = difflib.get_close_matches(" ".join(words), titles, n=1, cutoff=_SLIP)
    return bool(alike) or _in_names(entries, _mended(entries, words))


def _listing(paintings: list[Painting]) -> str:
    more = len(paintings) - _LISTED
    return "; ".join(map(str, paintings[:_LISTED])) + (f"; and {more} more" if more > 0 else "")


def _words(text: str) -> tuple[str, ...]:
    """Words without case, accents or apostrophes: "Cézanne's" is "cezannes"."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return tuple(re.findall(r"\w+", re.sub(r"['’]", "", plain.casefold())))
