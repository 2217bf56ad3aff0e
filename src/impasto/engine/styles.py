"""Finds and reads styles: those of trained networks, files, and paintings of the library. Loads no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from impasto import images
from impasto.assets.library import Library, Painting, means_file
from impasto.contract import OnProgress, ignore
from impasto.engine import music, style_files, words
from impasto.engine.request import OnNote, StyleSource, silence
from impasto.engine.style_files import MOST_MEMBERS, Member, StyleFile, encoded_picture, palette_of
from impasto.errors import InputError, as_number, counted, quoted
from impasto.files import is_folder
from impasto.images import EXTENSIONS
from impasto.models import catalog

StyleLike: TypeAlias = Any
"""A path, a style's name or words, a PIL image, an array or a tensor; or a pair of one of these and a weight."""

_ENLARGED = 2.0  # a style image is enlarged at most so much: beyond it there is nothing but blur to learn from
_BLANK = np.full((16, 16, 3), 0.5, np.float32)  # stands for a trained style without a thumbnail


def find_styles(
    library: Library,
    styles: StyleLike | Sequence[StyleLike],
    *,
    max_pixels: int = images.MAX_PIXELS,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
    compact: bool = False,
    longest: int | None = None,
    room: float | None = None,
) -> tuple[StyleSource, ...]:
    """Read style images: styles of trained networks and files first, then the library by number, words or meaning.

    A sentence stands for one to three paintings, which `on_note` tells; a folder and a style file for their pictures.
    These share its weight.

    compact, longest, room: as for `images.read`; all styles together take no more than `room`.

    Raises:
        InputError: no style, a weight that is not above 0, nothing found, or several candidates.
        ResourceError: they do not fit into `room`.
    """
    pairs = weighted(styles)
    if not pairs:
        raise InputError("no style was given", "give one with --style; impasto styles lists the library")
    read = partial(images.read, max_pixels=max_pixels, compact=compact, longest=longest)
    found: list[StyleSource] = []
    for group, (style, weight) in enumerate(pairs):
        left = None if room is None else room - held_bytes(found)
        finder = _Finder(library, partial(read, room=left), on_progress, on_note)
        found += [replace(one, group=group) for one in finder.find(style, _checked(weight))]
    return tuple(found)


def resized(picture: images.Picture, canvas: tuple[int, int], *, scale: float, method: str, least: int) -> Any:
    """A style image's pixels `(h, w, 3)` at the size at which its strokes are wanted.

    Args:
        picture: the style image.
        canvas: height and width of the picture to be painted.
        scale: of the style relative to it.
        method, least: the name of the method, and the least side in pixels that it takes.

    Raises:
        InputError: the image is too small for the method.
    """
    own = picture.width, picture.height
    if min(own) < least:
        raise InputError(
            f"style image is {own[0]}x{own[1]} px; method {method} needs at least {least}x{least}", "use a larger image"
        )
    longest = min(max(canvas) * scale, max(own) * _ENLARGED)
    longest = max(longest, least * max(own) / min(own))  # the short side must still fill the deepest layer
    width, height = images.fit(*own, math.ceil(longest))
    return images.resize(picture.pixels, max(height, least), max(width, least))


def check_name(library: Library, style: str, *, on_progress: OnProgress = ignore) -> str:
    """What words that are no file and no trained style name: the id of a painting, or the words, if these mean some.

    Raises:
        InputError, AssetError: as `find_styles`.
    """
    painting = library.named(style, on_progress=on_progress)
    if painting is not None:
        return painting.id
    words.choose(library, style, on_progress=on_progress)
    return style


def held_bytes(sources: Iterable[StyleSource]) -> int:
    """Memory that style images take."""
    return sum(source.picture.pixels.nbytes for source in sources)


def weighted(styles: StyleLike | Sequence[StyleLike]) -> list[tuple[Any, Any]]:
    """One style or several, each with its weight, which is not checked."""
    listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
    return [item if isinstance(item, tuple) else (item, 1.0) for item in listed]


def _is_several(styles: Any) -> bool:
    """A tuple is several styles unless it is one style and its weight."""
    return isinstance(styles, tuple) and not (len(styles) == 2 and isinstance(styles[1], Real))


@dataclass(frozen=True)
class _Finder:
    """Finds and reads style images.

    Attributes:
        read: reads a picture file.
    """

    library: Library
    read: Callable[[Any], images.Picture]
    on_progress: OnProgress
    on_note: OnNote

    def find(self, style: Any, weight: float) -> list[StyleSource]:
        """The images that a style stands for; their weights sum to `weight`."""
        if isinstance(style, Sentence):
            english = words.in_english(style.text)
            return [StyleSource(style.text, style.text, images.read(_BLANK), weight, words=english)]
        if catalog.is_trained(style):
            found = catalog.find(style)
            return [StyleSource(found.name, found.id, _specimen(found.thumbnail), weight, found)]
        return self._pictures(style, weight)

    def _pictures(self, style: Any, weight: float) -> list[StyleSource]:
        """Those that a style stands for which is neither a sentence by itself nor trained."""
        if style_files.split(style) is not None:
            return self._kept(style_files.read(style), weight, str(style))
        if isinstance(style, str | Path) and is_folder(style):
            return self._folder(Path(style), weight)
        if music.is_sound(style):
            return self._music(Path(style), weight)
        if isinstance(style, str) and not means_file(style):
            painting = self.library.named(style, on_progress=self.on_progress)
            return self._by_meaning(style, weight) if painting is None else [self._painting(painting, weight)]
        return [self._file(style, weight)]

    def _painting(self, painting: Painting, weight: float) -> StyleSource:
        picture = self.library.read(painting, read=self.read, on_progress=self.on_progress)
        return StyleSource(painting.title, painting.id, picture, weight)

    def _music(self, path: Path, weight: float) -> list[StyleSource]:
        """The paintings that a recording stands for."""
        store = self.library.store
        tagger = store.path(music.TAGGER, self.on_progress) if store.is_present(music.TAGGER) else None
        heard = music.listen(path, tagger=tagger)
        self.on_note(f"{path.name}: {', '.join(heard.reasons)}")
        sources, record = self._by_meaning(heard.sentence, weight), heard.record()
        return [replace(source, asked=path.name, music=record) for source in sources]

    def _by_meaning(self, sentence: str, weight: float) -> list[StyleSource]:
        chosen = words.choose(self.library, sentence, on_progress=self.on_progress)
        told = "; ".join(f"{match.painting} ({match.share:.0%})" for match in chosen)
        self.on_note(f"{quoted(sentence)} is painted in the style of {told}")
        return [
            replace(self._painting(match.painting, weight * match.share), asked=sentence, similarity=match.similarity)
            for match in chosen
        ]

    def _kept(self, kept: StyleFile, weight: float, name: str) -> list[StyleSource]:
        """What a style file holds: paintings of the library, and pictures of its own."""
        total, sources = sum(member.weight for member in kept.members), []
        for member in kept.members:
            share = weight * member.weight / total
            if member.id:
                source = self._painting(self.library.find(member.id, on_progress=self.on_progress), share)
            else:
                picture = self.read(images.BufferedPipe(kept.pictures[member.picture], f"{name}:{member.name}"))
                own = name if name.endswith(f":{member.name}") else f"{name}:{member.name}"
                source = StyleSource(member.label, Path(own).name, picture, share)
            sources.append(replace(source, asked=kept.name, similarity=member.similarity))
        return sources

    def _folder(self, folder: Path, weight: float) -> list[StyleSource]:
        """The pictures of a folder as one style."""
        paths = pictures_of(folder)
        name = folder.resolve().name
        self.on_note(f"{name}: {counted(len(paths), 'picture')} as one style")
        return [replace(self._file(path, weight / len(paths)), asked=name) for path in paths]

    def _file(self, style: Any, weight: float) -> StyleSource:
        picture = self.read(style)
        named = style.name if isinstance(style, images.BufferedPipe | images.Picture) else style
        name = Path(named).name if isinstance(named, str | Path) else "picture"
        return StyleSource(Path(name).stem, name, picture, weight)


def kept_style(
    library: Library,
    name: str,
    styles: StyleLike | Sequence[StyleLike],
    *,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
) -> StyleFile:
    """Styles, mixed, as one that can be saved.

    Raises:
        InputError: as `find_styles`; or a style belongs to a trained network, which is a file already.
    """
    sources = find_styles(library, styles, on_progress=on_progress, on_note=on_note)
    for source in sources:
        if source.trained is not None:
            raise InputError(f"{source.id} is a style of a trained network", "its file is a style by itself")
    return style_of(library, name, sources)


def style_of(library: Library, name: str, sources: Sequence[StyleSource]) -> StyleFile:
    """Style images that were found, at most `MOST_MEMBERS`, as a style that can be saved."""
    if len(sources) > MOST_MEMBERS:
        raise InputError(f"{len(sources)} pictures for one style", f"{MOST_MEMBERS} are the most")
    total = sum(source.weight for source in sources)
    members: list[Member] = []
    pictures: dict[str, bytes] = {}
    for source in sources:
        weight = round(source.weight / total, 6)
        if source.id.startswith("museum:"):
            licence = library.find(source.id).licence
            members.append(Member(source.label, weight, source.id, licence, similarity=source.similarity))
        else:
            ending, data = encoded_picture(source.picture)
            picture = f"p{len(pictures) + 1}.{ending}"
            pictures[picture] = data
            members.append(Member(source.label, weight, picture=picture))
    asked = " and ".join(dict.fromkeys(source.asked for source in sources if source.asked))
    sentence = asked if any(source.similarity is not None for source in sources) else ""
    return StyleFile(
        name=name,
        members=tuple(members),
        pictures=pictures,
        asked=asked,
        palette=palette_of([(source.picture.pixels, source.weight / total) for source in sources]),
        embedding=words.embedding(library, sentence) if sentence else (),
    )


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder that is a style, hidden files left out.

    Raises:
        InputError: there is none, or there are too many for one style.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.name[0] != ".")
    if not paths:
        raise InputError(f"{folder} is a folder without pictures", "name a picture in it, or a folder with paintings")
    if len(paths) > MOST_MEMBERS:
        told = f"{folder} holds {len(paths)} pictures; a style takes at most {MOST_MEMBERS}"
        raise InputError(told, f"choose some, or find the styles in it: impasto discover {folder}")
    return paths


@dataclass(frozen=True)
class Sentence:
    """A sentence that is a style by itself, for a method that takes words; the library is not searched.

    Attributes:
        text: in English or Chinese.
    """

    text: str


def as_sentences(styles: StyleLike | Sequence[StyleLike]) -> list[tuple[Any, Any]]:
    """The same styles with their weights, words as sentences; files and numbers of paintings stay what they are."""
    return [
        (Sentence(style) if isinstance(style, str) and _is_sentence(style) else style, weight)
        for style, weight in weighted(styles)
    ]


def _is_sentence(style: str) -> bool:
    known = catalog.is_trained(style) or style_files.split(style) is not None or music.is_sound(style)
    return not (known or is_folder(style) or means_file(style) or re.fullmatch(r"museum:\d+", style))


def check_style(library: Library, style: Any, *, max_pixels: int) -> None:
    """Find what is wrong with a style before anything heavy is loaded.

    Raises:
        InputError: nothing is found, or a file is not what its name says.
    """
    if isinstance(style, Sentence):
        words.in_english(style.text)
    elif not isinstance(style, str):
        images.probe(style, max_pixels=max_pixels)
    elif catalog.is_trained(style):
        catalog.find(style)
    elif style_files.split(style) is not None:
        style_files.read(style)
    elif is_folder(style):
        for path in pictures_of(Path(style)):
            images.probe(path, max_pixels=max_pixels)
    elif music.is_sound(style):
        music.listen(style)
    elif means_file(style):
        images.probe(style, max_pixels=max_pixels)
    elif library.store.is_present("museum"):
        library.named(style)


@lru_cache(maxsize=64)
def _specimen(thumbnail: bytes) -> images.Picture:
    """A small picture in a trained style. Kept: decoding it takes as long as a fifth of painting a small one."""
    return images.read(thumbnail or _BLANK)


def _checked(weight: Any) -> float:
    number = as_number(weight)
    if number is None or number <= 0:
        raise InputError(f"the weight of a style is {quoted(weight)}", "it takes a number above 0")
    return number
