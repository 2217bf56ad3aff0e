"""Fonts: files of the user, fonts of the system by name, and free ones that are fetched as assets."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from impasto.assets import Store
from impasto.contract import OnProgress, ignore
from impasto.errors import InputError, plain, quoted, require
from impasto.files import is_file

_MOST_BYTES = 64 << 20
_FONTCONFIG_SECONDS = 20
ENDINGS = (".ttf", ".otf", ".ttc", ".otc")


@dataclass(frozen=True)
class FreeFont:
    """A font that is fetched when it is asked for, or when another lacks a letter.

    Attributes:
        asset: id of the asset.
        file: its name in the asset's folder.
        weight: of a variable font, from 100 to 900.
    """

    asset: str
    file: str
    weight: float


FREE_FONTS: dict[str, FreeFont] = {
    "rubik": FreeFont("font-rubik", "Rubik[wght].ttf", 800),
    "noto": FreeFont("fonts-noto", "NotoSans[wght].ttf", 800),
    "noto-cjk": FreeFont("font-noto-cjk", "NotoSansCJKtc-Black.otf", 900),
    "noto-emoji": FreeFont("fonts-noto", "NotoEmoji[wght].ttf", 700),
}
"""Fonts by the names that `--font` takes."""

_SCRIPTS = (
    *("Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu", "Kannada", "Malayalam", "Gujarati", "Gurmukhi"),
    *("Oriya", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar", "Georgian", "Armenian", "Ethiopic"),
)
_FALLBACKS = (
    *FREE_FONTS.values(),
    FreeFont("fonts-noto", "NotoSansSymbols[wght].ttf", 800),
    *(FreeFont("fonts-noto", f"NotoSans{script}[wght].ttf", 800) for script in _SCRIPTS),
)
_CJK = "font-noto-cjk"  # large: fetched only for letters that it may have
_CJK_NAMES = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "KANGXI")


@dataclass(frozen=True, eq=False)
class Font:
    """A font with what it takes to shape text.

    Attributes:
        name: for people.
        data: its file.
        weight: of a variable font.
    """

    name: str
    data: bytes
    weight: float = 800.0

    @cached_property
    def shaper(self) -> Any:
        """HarfBuzz's own font, in units of 1/1000 em.

        Raises:
            InputError: the data is no font, or it has no outlines.
        """
        harfbuzz = require("uharfbuzz", "letters")
        face = harfbuzz.Face(harfbuzz.Blob(self.data))
        tables = set(face.table_tags)
        if not face.glyph_count or not face.unicodes:
            raise InputError(
                f"{plain(self.name)} is not a font that can be read", f"give a file in {' '.join(ENDINGS)}"
            )
        if not tables & {"glyf", "CFF ", "CFF2"}:
            raise InputError(f"the font {plain(self.name)} has no outlines, only pictures", "use another with --font")
        font = harfbuzz.Font(face)
        font.scale = (1000, 1000)
        if face.has_var_data:
            font.set_variations({"wght": self.weight})
        return font

    @cached_property
    def characters(self) -> frozenset[int]:
        """Code points that it has glyphs for."""
        return frozenset(self.shaper.face.unicodes)


class FontBook:
    """The font that was asked for, and others for letters that it lacks.

    Args:
        wanted: a file, the name of a free font or one of the system; None for the default.
        store: where free fonts are.
        on_progress: called while one is fetched.
    """

    def __init__(
        self, wanted: str | None = None, *, store: Store | None = None, on_progress: OnProgress = ignore
    ) -> None:
        self._store, self._on_progress = store or Store(), on_progress
        self.first = self._find(wanted)
        self.replaced: dict[str, str] = {}
        """Characters that the first font lacks, with the name of the font that has them."""

    def font_for(self, text: str) -> Font:
        """The first font that has all of a cluster's letters.

        Raises:
            InputError: none has them.
            AssetError: a free font cannot be fetched.
        """
        wanted = {ord(each) for each in text if not _is_ignorable(each)}
        if wanted <= self.first.characters:
            return self.first
        for font in self._fallbacks(text):
            if wanted <= font.characters:
                self.replaced[text] = font.name
                return font
        lacking = "".join(chr(code) for code in sorted(wanted - self.first.characters))
        names = ", ".join(_name_of(each) for each in lacking[:3])
        raise InputError(f"no font has {plain(lacking[:10])} ({names})", "give one that has it with --font FILE")

    def _fallbacks(self, text: str) -> Iterator[Font]:
        for row in _FALLBACKS:
            if row.asset != _CJK or any(_is_cjk(each) for each in text):
                yield self._free(row)

    def _find(self, wanted: str | None) -> Font:
        if wanted is None:
            return self._free(FREE_FONTS["rubik"])
        if Path(wanted).suffix.lower() in ENDINGS or is_file(wanted):
            return _of_file(Path(wanted))
        if wanted.lower() in FREE_FONTS:
            return self._free(FREE_FONTS[wanted.lower()])
        return _of_system(wanted)

    def _free(self, row: FreeFont) -> Font:
        path = self._store.file(row.asset, row.file, self._on_progress)
        return _loaded(path, row.weight)


@lru_cache(maxsize=32)
def _loaded(path: Path, weight: float) -> Font:
    return Font(path.stem, path.read_bytes(), weight)


def _of_file(path: Path) -> Font:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"the font {plain(path.name)} has more than {_MOST_BYTES >> 20} MiB", "use another")
        font = Font(path.name, path.read_bytes())
    except OSError as error:
        raise InputError(
            f"the font {plain(path)} cannot be read: {error.strerror}",
            f"give a font file that is there, or one of {', '.join(FREE_FONTS)}",
        ) from error
    _ = font.shaper  # tells what is wrong with it
    return font


def _of_system(name: str) -> Font:
    """A font of the system by its family, such as "DejaVu Serif", with a style after a colon: "DejaVu Serif:bold"."""
    program = shutil.which("fc-match")
    hint = f"give a file, or one of {', '.join(FREE_FONTS)}"
    if program is None:
        raise InputError(f"there is no font {quoted(name)}", f"{hint}; names of the system's fonts need fontconfig")
    family, _, style = name.partition(":")
    pattern = f"{_escaped(family)}:weight={'bold' if not style else _escaped(style)}"
    printed = _output_of([program, "--format=%{family}\n%{file}", pattern])
    families, _, file = printed.partition("\n")
    if family.lower().strip() not in [each.strip().lower() for each in families.split(",")]:
        raise InputError(f"there is no font {quoted(name)} on this system", f"{hint}; fc-list : family lists them")
    return _of_file(Path(file))


def _escaped(text: str) -> str:
    """For a pattern of fontconfig, in which some characters have a meaning."""
    return "".join(f"\\{each}" if each in "\\-:,=" else each for each in text)


def _output_of(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_FONTCONFIG_SECONDS, check=False)  # noqa: S603 - a list, no shell
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ""
    return done.stdout.decode(errors="replace")


def _is_ignorable(character: str) -> bool:
    """Whether a character asks for no glyph of its own: joiners, marks of direction, variation selectors, spaces."""
    return unicodedata.category(character) in ("Cf", "Zs", "Cc") or "VARIATION SELECTOR" in _name_of(character)


def _is_cjk(character: str) -> bool:
    return any(word in _name_of(character) for word in _CJK_NAMES)


def _name_of(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}")
