"""Byte pair encoding as CLIP uses it: text to the numbers of pieces of words. Loads no torch.

Paper: arXiv:1508.07909 (Sennrich, Haddow and Birch 2016), on bytes as in GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

import gzip
import html
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from impasto.errors import InputError

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_OPENAI_MERGES = 49152 - 256 - 2  # its file holds more, which its network does not know
_PARTS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


class BytePairs:
    """Splits text into pieces of words, lower case.

    Args:
        vocabulary: the pieces in their order.
        merges: pairs of pieces that become one, the first ones first.
    """

    def __init__(self, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self.vocabulary, self.merges = tuple(vocabulary), tuple(merges)
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}

    @classmethod
    def of_merges(cls, merges: Sequence[tuple[str, str]]) -> BytePairs:
        """That whose vocabulary follows from the merges, in OpenAI's order."""
        letters = list(_byte_letters().values())
        joined = ["".join(pair) for pair in merges]
        return cls([*letters, *(letter + _WORD_END for letter in letters), *joined, START, END], merges)

    @property
    def end(self) -> int:
        """Number of the piece that ends a text."""
        return self._numbers[END]

    def __call__(self, text: str, length: int) -> list[int]:
        """Numbers of the pieces between start and end, at most `length` in all; what is longer is cut."""
        clean = unicodedata.normalize("NFC", html.unescape(text)).lower()
        pieces = [piece for word in _PARTS.findall(clean) for piece in self._split(word)]
        kept = [self._numbers[piece] for piece in pieces if piece in self._numbers]
        return [self._numbers[START], *kept[: length - 2], self.end]

    def _split(self, word: str) -> list[str]:
        """The pieces of a word: letters of its bytes, joined pair by pair."""
        letters = [_byte_letters()[byte] for byte in word.encode()]
        pieces = [*letters[:-1], letters[-1] + _WORD_END]
        while len(pieces) > 1:
            pairs = list(itertools.pairwise(pieces))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = _joined(pieces, best)
        return pieces


def merges_of(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges that make one piece of each of some words, which are ASCII: from their beginnings on."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        letters = [*word[:-1], word[-1] + _WORD_END]
        for count in range(1, len(letters)):
            merges["".join(letters[:count]), letters[count]] = None
    return list(merges)


def read_vocabulary(folder: Path) -> BytePairs | None:
    """The vocabulary that lies in a folder, in the files of transformers or of OpenAI; None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    merges, packed = folder / "merges.txt", folder / "bpe_simple_vocab_16e6.txt.gz"
    try:
        if merges.is_file():
            pairs = _pairs(merges.read_text(encoding="utf-8"))
            numbered = folder / "vocab.json"
            if not numbered.is_file():
                return BytePairs.of_merges(pairs)
            table: dict[str, int] = json.loads(numbered.read_text(encoding="utf-8"))
            return BytePairs(sorted(table, key=table.__getitem__), pairs)
        if packed.is_file():
            return BytePairs.of_merges(_pairs(gzip.decompress(packed.read_bytes()).decode())[:_OPENAI_MERGES])
    except (OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"the vocabulary in {folder} cannot be read", "fetch its files again") from error
    return None


def _pairs(text: str) -> list[tuple[str, str]]:
    lines = [line.split() for line in text.split("\n") if not line.startswith(("#version", '"bpe'))]
    return [(line[0], line[1]) for line in lines if len(line) == 2]


def _joined(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with each such pair made one, from left to right."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair and not joined[-1].endswith(_WORD_END):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


@lru_cache(maxsize=1)
def _byte_letters() -> dict[int, str]:
    """A letter that can be printed for each byte: its own where it has one."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {byte: chr(byte) for byte in printed} | {byte: chr(256 + place) for place, byte in enumerate(others)}
