"""What is to be painted, where each result goes, and that no two go to one place: settled before the first picture."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from impasto import images
from impasto.batch import places
from impasto.errors import InputError, counted, plain
from impasto.files import fitting, is_file, is_folder, refuse_address, slug

Styles: TypeAlias = tuple[tuple[str, float], ...]
"""Styles as they are written, each with its weight."""

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Photograph:
    """A picture to be painted.

    Attributes:
        name: path or address.
        branch: its folder within the folder that was named, parted by /; empty for the folder itself.
    """

    name: str
    branch: str = ""

    def under(self, folder: str) -> Photograph:
        """The same with a folder more above its branch."""
        return Photograph(self.name, f"{folder}/{self.branch}".strip("/"))


@dataclass(frozen=True)
class Work:
    """One result to be painted.

    Attributes:
        content: the photograph's path or address.
        styles: as written, with their weights.
        settings: those of this picture alone, by name: knobs of the method, and `size`, `quality`, `method`.
        output: name of the result within the folder of results, parted by /.
    """

    content: str
    styles: Styles
    output: str
    settings: Mapping[str, Any] = field(default_factory=dict)


LabelOf: TypeAlias = Callable[[str], str]
"""What a style is called in file names."""


def find_photographs(items: Sequence[str], *, out: str, empty: bool = False) -> Iterator[Photograph]:
    """The pictures that are meant, in order, each once.

    Args:
        items: files, folders (with all theirs), patterns such as "holiday/**/*.jpg", and addresses. Of several
            folders each has a branch of its name, and of the names above it where two are called alike.
        out: the folder of results, which is passed over where it lies within.
        empty: whether an item may give no picture.

    Raises:
        InputError: something is not there, lies in the folder of results, or gives no picture.
    """
    seen: set[str] = set()
    branches = _branches(items)
    for item in items:
        found = 0
        above = branches.get(item, "")
        for photograph in _found(item, out):
            found += 1
            if photograph.name not in seen:
                seen.add(photograph.name)
                yield photograph.under(above)
        if not found and not places.is_address(item) and is_folder(item) and _is_within(Path(item), out):
            raise InputError(f"{plain(item)} is, or lies in, the folder for the results", "name another with -o")
        if not found and not empty:
            raise InputError(f"{plain(item)} holds no pictures", f"it needs {', '.join(sorted(images.EXTENSIONS))}")


def photographs_of(names: Iterable[str], folders: Sequence[str]) -> list[Photograph]:
    """Pictures in watched folders, as `find_photographs` would give them."""
    found = []
    branches = _branches(folders)
    for name in names:
        folder = next(folder for folder in folders if Path(name).is_relative_to(folder))
        photograph = Photograph(name, _branch(Path(name), Path(folder)))
        found.append(photograph.under(branches.get(folder, "")))
    return found


def _branches(items: Sequence[str]) -> dict[str, str]:
    """Of several folders, the last parts of each one's path by which it differs from the others; of a single one, none.

    The same folder named twice, and one within another, are told apart by nothing: a photograph comes once.
    """
    paths = {item: _parts(item) for item in items if _is_tree(item)}
    if len(paths) < 2:
        return {}

    def told(item: str) -> tuple[str, ...]:
        own, others = paths[item], {parts for parts in paths.values() if parts != paths[item]}
        lengths = range(1, len(own) + 1)
        length = next((n for n in lengths if own[-n:] not in {parts[-n:] for parts in others}), len(own))
        return own[-length:]

    return {item: "/".join(told(item)) for item in paths}


def _parts(item: str) -> tuple[str, ...]:
    """The names of a folder and of those above it."""
    path = PurePosixPath(item.partition("://")[2]) if places.is_address(item) else _from_root(item)
    return tuple(part for part in path.parts if part != path.anchor)


def _is_tree(item: str) -> bool:
    return not is_picture(Path(item)) if places.is_address(item) else is_folder(item)


def _found(item: str, out: str) -> Iterator[Photograph]:
    if places.is_address(item):
        yield from _in_store(item, out)
        return
    refuse_address(item)
    if is_folder(item):
        yield from (Photograph(str(path), _branch(path, Path(item))) for path in pictures_in(Path(item), out))
    elif is_file(item) or not _MAGIC.search(item):
        if not is_file(item):
            what = "does not exist" if places.stamp(item) is None else "is no file"  # a pipe, or a device
            raise InputError(f"{plain(item)} {what}", "name a file, a folder, or a pattern such as 'in/*.jpg'")
        yield Photograph(item)
    else:
        yield from _matching(item, out)


def _matching(pattern: str, out: str) -> Iterator[Photograph]:
    """Pictures that a pattern with wildcards means; the folder above the first wildcard is that of the tree."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    base = Path(*parts[:fixed])
    for path in sorted(base.glob("/".join(parts[fixed:]))):
        hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
        if path.is_file() and is_picture(path) and not hidden and not _is_within(path, out):
            yield Photograph(str(path), _branch(path, base))


def pictures_in(folder: Path, out: str) -> Iterator[Path]:
    """Pictures in a folder and its folders, in order; what is hidden and what lies in `out` are passed over."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError as error:
        raise InputError(f"{plain(folder)} may not be read: permission denied", "change its permissions") from error
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith(".") or _is_within(path, out):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from pictures_in(path, out)
        elif is_picture(path) and entry.is_file():
            yield path


def is_picture(path: Path) -> bool:
    """Whether a name is that of a picture."""
    return path.suffix.lower() in images.EXTENSIONS


def _in_store(item: str, out: str) -> Iterator[Photograph]:
    if is_picture(Path(item)):
        yield Photograph(item)
        return
    base, results = item.rstrip("/"), out.rstrip("/") + "/"
    for name, _ in places.listed(base):
        parts = PurePosixPath(name.removeprefix(base).lstrip("/"))
        if is_picture(Path(name)) and not name.startswith(results) and not any(p.startswith(".") for p in parts.parts):
            yield Photograph(name, "" if str(parts.parent) == "." else str(parts.parent))


def _branch(path: Path, folder: Path) -> str:
    within = path.parent.relative_to(folder).as_posix()
    return "" if within == "." else within


def _is_within(path: Path, out: str) -> bool:
    if places.is_address(out):
        return False
    return _from_root(path).is_relative_to(_from_root(out))


def _from_root(path: str | Path) -> Path:
    """A path from the root, without `..`."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - not resolved: a link keeps its own name


class Plan:
    """One result for each photograph and each look, named NAME-STYLE in the folder of the photograph.

    Where two photographs of a folder differ in their endings alone, the names of both keep them: NAME-jpg-STYLE.

    Args:
        looks: styles; each is painted by itself.
        label_of: what a style is called.
        ending: of the results, such as ".png".
    """

    def __init__(self, looks: Sequence[Styles], *, label_of: LabelOf, ending: str) -> None:
        self._looks, self._label_of, self._ending = looks, label_of, ending
        self._stems: Counter[tuple[str, str]] = Counter()
        self._works: dict[str, list[Work]] = {}
        self._owners: dict[str, str] = {}

    def add(self, photographs: Iterable[Photograph]) -> list[Work]:
        """What is to be painted of photographs; of one that was added before, the same as then.

        Raises:
            InputError: two results would have one name.
        """
        listed = list(photographs)
        self._stems.update(_stem(each) for each in listed if each.name not in self._works)
        for photograph in listed:
            if photograph.name not in self._works:
                works = [self._work(photograph, styles) for styles in self._looks]
                self.claim(works)
                self._works[photograph.name] = works
        return [work for photograph in listed for work in self._works[photograph.name]]

    def name(self, photograph: Photograph, styles: Styles) -> str:
        """What a result is called."""
        path = Path(photograph.name)
        twins = self._stems[_stem(photograph)] > 1
        stem = f"{path.stem}-{path.suffix.lower().removeprefix('.')}" if twins else path.stem
        label = slug(" and ".join(self._label_of(name) for name, _ in styles))
        name = fitting(stem, f"-{label}{self._ending}")
        return f"{photograph.branch}/{name}" if photograph.branch else name

    def claim(self, works: Iterable[Work]) -> None:
        """Raise InputError where two results would have one name, also where letters differ in their case alone."""
        for work in works:
            key = work.output.lower()
            if key in self._owners:
                raise InputError(
                    f"{plain(self._owners[key])} and {plain(work.content)} would both become {plain(work.output)}",
                    "rename one, or name the results in a manifest (--from)",
                )
            self._owners[key] = work.content

    def _work(self, photograph: Photograph, styles: Styles) -> Work:
        return Work(photograph.name, styles, self.name(photograph, styles))


def _stem(photograph: Photograph) -> tuple[str, str]:
    return photograph.branch, Path(photograph.name).stem.lower()


def check_outputs(works: Sequence[Work], out: str) -> None:
    """Raise InputError where a result would replace a photograph or a style."""
    if places.is_address(out):
        inputs = {work.content for work in works}
        lost = next((work for work in works if places.join(out, work.output) in inputs), None)
        if lost is not None:
            raise _replaced(lost.output)
        return
    named = {work.content for work in works} | {name for work in works for name, _ in work.styles}
    identities = {_identity(name) for name in named if not places.is_address(name)} - {None}
    for work in works:
        if _identity(places.join(out, work.output)) in identities:
            raise _replaced(work.output)


def _replaced(output: str) -> InputError:
    return InputError(f"{plain(output)} is an input: it would be replaced", "choose another folder with -o")


def _identity(name: str) -> tuple[int, int] | None:
    """What is one file under all its names, links included."""
    try:
        about = Path(name).stat()
    except (OSError, ValueError):
        return None
    return about.st_dev, about.st_ino


def looks_of(styles: Styles, *, each: bool) -> list[Styles]:
    """All styles at once, or each by itself."""
    return [((name, 1.0),) for name, _ in styles] if each else [styles]


def in_words(works: int, photographs: int) -> str:
    """How much there is to do: "12 pictures", "24 pictures of 12 photographs"."""
    told = counted(works, "picture")
    return told if works == photographs else f"{told} of {counted(photographs, 'photograph')}"
