"""Photographs to train on: found, checked, decoded once, and cut into crops that a number settles.

A folder of pictures (and of folders) or webdataset shards (tar files) are read the same way, through `images`: sizes
are checked before decoding, nothing is unpickled or run. What cannot be read is named and left out.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError, counted
from impasto.files import slug

if TYPE_CHECKING:
    from impasto.assets import Store

Bytes: TypeAlias = NDArray[np.uint8]

LEAST_PHOTOGRAPHS = 8
"""Fewer teach a network those pictures by heart."""

LARGEST = 704
"""Longest side in pixels at which photographs are kept."""

MOST = 6000
"""Photographs that are kept in memory, about 1 MB each; of more, a seeded choice."""

_SHARD_MEMBER = 64 << 20  # bytes; a larger member of a shard is no photograph
_READERS = 4
_NAMED = 5  # of the files that are left out
_NEEDED = f"training needs {LEAST_PHOTOGRAPHS} at least"


@dataclass(frozen=True)
class Photographs:
    """Decoded photographs.

    Attributes:
        pixels: each `(H, W, 3)` sRGB, its longest side at most `LARGEST`.
        skipped: names of the files that could not be used, with the reason.
    """

    pixels: tuple[Bytes, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def split(self, *, seed: int) -> tuple[Photographs, Photographs]:
        """Photographs to train on, and a tenth (4 to 30) to validate on."""
        held = min(30, max(4, len(self) // 10))
        order = np.random.default_rng([seed, 1]).permutation(len(self))
        return self._of(order[held:]), self._of(order[:held])

    def _of(self, order: Iterable[int]) -> Photographs:
        return Photographs(tuple(self.pixels[index] for index in order))


def load_photographs(
    source: Path | Sequence[Path],
    *,
    least_side: int,
    seed: int = 0,
    what: str = "photograph",
    on_progress: OnProgress = ignore,
    on_note: Callable[[str], None] = lambda _: None,
) -> Photographs:
    """Read the photographs of a folder, or of webdataset shards.

    Args:
        source: a folder with pictures, at any depth, or with `.tar` shards; or one shard; or several of these.
        least_side: what has a shorter side is left out.
        seed: chooses among more than `MOST`.
        what: one of them is, for people.
        on_note: called with what was left out.

    Raises:
        InputError: there is no such folder, or too few photographs in it.
    """
    sources = sources_of(source)
    entries = list(_chosen((entry for one in sources for entry in _entries(one)), seed))
    pixels, skipped = [], []
    with ThreadPoolExecutor(_READERS) as readers:
        for done, (name, result) in enumerate(_read_all(readers, entries, least_side)):
            on_progress(Progress(f"reading {what}s", done, len(entries), "picture"))
            if isinstance(result, str):
                skipped.append(f"{name}: {result}")
            else:
                pixels.append(result)
    on_progress(Progress(f"reading {what}s", len(entries), len(entries), "picture"))
    if skipped:
        more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        on_note(f"left out {len(skipped)} of {len(entries)} files: {'; '.join(skipped[:_NAMED])}{more}")
    if len(pixels) < LEAST_PHOTOGRAPHS:
        raise _too_few(sources, len(pixels), f"usable {what}", f", {least_side} px or more a side")
    return Photographs(tuple(pixels), tuple(skipped))


def style_name(title: str) -> str:
    """A title as a style's name, which no weight can be mistaken for."""
    name = slug(title)
    return name if name[0].isalpha() else f"style-{name}"


def from_pixels(pictures: Iterable[NDArray[np.float32]], *, least_side: int, where: str) -> Photographs:
    """Paintings that are decoded already, each `(H, W, 3)` in [0, 1], as `load_photographs` gives them.

    where: what gave them, and the verb, for people: "the words find".

    Raises:
        InputError: too few of them are large enough.
    """
    pixels = tuple(_kept(one, least_side) for one in pictures if min(one.shape[:2]) >= least_side)
    if len(pixels) < LEAST_PHOTOGRAPHS:
        raise InputError(
            f"{where} {counted(len(pixels), 'painting')}, {least_side} px or more a side; {_NEEDED}",
            "name more painters, or museum for the whole library",
        )
    return Photographs(pixels)


def thumbnail_photograph(store: Store) -> Any:
    """The photograph of the thumbnails, `(H, W, 3)`, when it is here."""
    return images.read(store.path("photos") / "chelsea.png").pixels if store.is_present("photos") else None


def check_photographs(source: Path | Sequence[Path], what: str = "photograph") -> None:
    """Count the files, which takes no time; whether they can be read shows later.

    Raises:
        InputError: there is no such folder, or too few files in it.
    """
    sources = sources_of(source)
    check_separate(sources)
    count = sum(1 for one in sources for _ in islice(_entries(one), LEAST_PHOTOGRAPHS))
    if count < LEAST_PHOTOGRAPHS:
        raise _too_few(sources, count, what)


def sources_of(source: Path | Sequence[Path]) -> list[Path]:
    """The folders and shards that are named."""
    return [source] if isinstance(source, Path) else [*source]


def check_separate(sources: Sequence[Path]) -> None:
    """Raises InputError where a folder is named twice, or lies in another: its pictures would count twice."""
    places = [one.resolve() for one in sources]
    for number, place in enumerate(places):
        for other, before in zip(sources, places[:number], strict=False):
            if place == before:
                raise InputError(f"{sources[number]} is named twice", "name each folder once")
            if before in place.parents or place in before.parents:
                raise InputError(f"of {other} and {sources[number]} one lies in the other", "name the outer one alone")


def _too_few(sources: Sequence[Path], count: int, what: str, size: str = "") -> InputError:
    where = f"{sources[0]} holds" if len(sources) == 1 else f"{', '.join(map(str, sources))} together hold"
    return InputError(f"{where} {counted(count, what)}{size}; {_NEEDED}", "a few hundred are good")


@dataclass(frozen=True)
class _Entry:
    """A picture in a file, or a stretch of a shard."""

    name: str
    path: Path
    offset: int = -1
    size: int = 0

    def source(self) -> Any:
        if self.offset < 0:
            return self.path
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def _entries(source: Path) -> Iterator[_Entry]:
    if source.is_file() and source.suffix == ".tar":
        yield from _members(source)
        return
    if not source.is_dir():
        raise InputError(f"there is no folder {source}", "name one with photographs, or a .tar shard")
    for path in sorted(source.rglob("*")):
        if path.suffix == ".tar":
            yield from _members(path)
        elif path.suffix.lower() in images.EXTENSIONS and path.is_file():
            yield _Entry(str(path.relative_to(source)), path)


def _members(shard: Path) -> Iterator[_Entry]:
    """The pictures in a shard, by where they lie: only headers are read here."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isreg() and Path(member.name).suffix.lower() in images.EXTENSIONS:
                    yield _Entry(f"{shard.name}/{member.name}", shard, member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{shard} cannot be read as a shard: {error}", "it takes an uncompressed tar file") from error


def _chosen(entries: Iterable[_Entry], seed: int) -> Iterator[_Entry]:
    listed = list(entries)
    if len(listed) <= MOST:
        return iter(listed)
    order = np.random.default_rng([seed, 2]).permutation(len(listed))[:MOST]
    return (listed[index] for index in sorted(order))


def _read_all(
    readers: ThreadPoolExecutor, entries: Sequence[_Entry], least_side: int
) -> Iterator[tuple[str, Bytes | str]]:
    """Pixels, or why there are none, in order; a few are read ahead."""
    waiting = iter(entries)
    running = [(entry, readers.submit(_read, entry, least_side)) for entry in islice(waiting, 2 * _READERS)]
    while running:
        entry, future = running.pop(0)
        running += [(entry, readers.submit(_read, entry, least_side)) for entry in islice(waiting, 1)]
        yield entry.name, future.result()


def _read(entry: _Entry, least_side: int) -> Bytes | str:
    if entry.size > _SHARD_MEMBER:
        return f"{entry.size} bytes are no photograph"
    try:
        picture = images.read(entry.source())
    except (InputError, OSError) as error:
        return str(error)
    width, height = picture.width, picture.height
    if min(width, height) < least_side:
        return f"{width}x{height} px; the least side is {least_side}"
    return _kept(picture.pixels, least_side)


def _kept(pixels: NDArray[np.float32], least_side: int) -> Bytes:
    """As it is kept in memory."""
    height, width = pixels.shape[:2]
    if max(width, height) > LARGEST:
        width, height = images.fit(width, height, LARGEST)
        scale = max(1.0, least_side / min(width, height))  # a panorama keeps its least side
        pixels = images.resize(pixels, round(height * scale), round(width * scale))
    return images.quantise(pixels, 8)


@dataclass(frozen=True)
class Crops:
    """Squares cut from photographs; the number of a crop settles which, from where, how large, and whether mirrored.

    Attributes:
        photographs: where from.
        side: of a crop in pixels.
        canvas: longest side at which pictures will be painted: photographs are shrunk to 0.75 to 1.4 of it, so
            far as they are large enough.
        seed: of the choice.
        count: how many there are.
    """

    photographs: Photographs
    side: int
    canvas: int
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        """`(side, side, 3)` float32 in [0, 1]."""
        random = np.random.default_rng([self.seed, 3, number])
        whole = self.photographs.pixels[number % len(self.photographs)]
        height, width = whole.shape[:2]
        scale = min(1.0, self.canvas * random.uniform(0.75, 1.4) / max(height, width))
        scale = max(scale, self.side / min(height, width))
        stretch = min(round(self.side / scale), height, width)
        top, left = (int(random.integers(0, length - stretch + 1)) for length in (height, width))
        square = whole[top : top + stretch, left : left + stretch].astype(np.float32) / np.float32(255)
        if random.random() < 0.5:
            square = square[:, ::-1]
        return images.resize(np.ascontiguousarray(square), self.side, self.side)


@dataclass(frozen=True)
class Item:
    """One place in a batch: which crop, in which style."""

    crop: int
    style: int


def items(start: int, count: int, *, crops: int, styles: int, seed: int) -> list[Item]:
    """The items `start` to `start + count` of an endless list that `seed` settles.

    All crops come once before any comes again, and so do all styles, each in an order of its own. A run that goes on
    after a stop only needs to know how many it has used.
    """
    return [
        Item(_shuffled(at, crops, [seed, 4]), _shuffled(at, styles, [seed, 5])) for at in range(start, start + count)
    ]


def _shuffled(at: int, count: int, seed: list[int]) -> int:
    round_number, place = divmod(at, count)
    return int(np.random.default_rng([*seed, round_number]).permutation(count)[place])
