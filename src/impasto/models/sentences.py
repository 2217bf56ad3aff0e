"""all-MiniLM-L6-v2, which turns a sentence into a vector: sentences that mean alike lie near each other.

Six transformer layers of 384 channels, in numpy: a sentence takes milliseconds, and nothing waits for torch.

Paper: arXiv:2002.10957 (MiniLM), arXiv:1908.10084 (sentence embeddings); the words as in arXiv:1810.04805 (BERT).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_PIECES = 256
"""Pieces of words that the network was meant for; what is longer is cut."""

SIZE = 384
"""Numbers in a vector."""

_LAYERS, _HEADS = 6, 12
_LONGEST_WORD = 100  # characters; BERT takes longer ones for unknown
_EPSILON = 1e-12  # of the layer norm
_INVISIBLE = ("Cc", "Cf", "Co", "Cs")

Floats = NDArray[np.float32]

_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f]")


class WordPieces:
    """Splits text into the pieces of words that BERT knows: lower case, without accents.

    Args:
        vocabulary: the pieces in their order; those that go on with a word begin with `##`.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}

    def __call__(self, text: str) -> list[int]:
        """Numbers of the pieces, between [CLS] and [SEP], at most `MOST_PIECES`."""
        pieces = [piece for word in _words(text) for piece in self._split(word)]
        return [self._ids[piece] for piece in ("[CLS]", *pieces[: MOST_PIECES - 2], "[SEP]")]

    def _split(self, word: str) -> list[str]:
        """The longest known beginning, then the longest known rest; one unknown piece where that fails."""
        pieces, start = [], 0
        while start < len(word) <= _LONGEST_WORD:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces or ["[UNK]"]


def _words(text: str) -> Iterator[str]:
    """Words, signs and Chinese characters, each apart."""
    clean = "".join(" " if letter.isspace() else letter for letter in text if _is_text(letter))
    spread = "".join(f" {letter} " if _is_chinese(letter) else letter for letter in clean)
    plain = unicodedata.normalize("NFD", spread.lower())
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
    for word in plain.split():
        part = ""
        for letter in word:
            if _is_sign(letter):
                yield from (part,) if part else ()
                yield letter
                part = ""
            else:
                part += letter
        yield from (part,) if part else ()


def _is_text(letter: str) -> bool:
    return letter.isspace() or not (letter == "\ufffd" or unicodedata.category(letter) in _INVISIBLE)


def _is_sign(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P") or (letter.isascii() and not letter.isalnum())


def _is_chinese(letter: str) -> bool:
    return _CHINESE.match(letter) is not None


class SentenceEncoder:
    """The network with its vocabulary.

    Args:
        tensors: its weights, named as published.
        vocabulary: the pieces of words, in their order.
    """

    def __init__(self, tensors: Mapping[str, Floats], vocabulary: Sequence[str]) -> None:
        self._tensors, self._pieces = tensors, WordPieces(vocabulary)

    @classmethod
    def read(cls, folder: Path) -> SentenceEncoder:
        """Load `model.safetensors` and `vocab.txt`."""
        from safetensors.numpy import load_file

        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        return cls(load_file(folder / "model.safetensors"), vocabulary)

    def count(self, text: str) -> int:
        """Pieces of words in a text, 1 at least: a common word is one piece."""
        return max(1, len(self._pieces(text)) - 2)

    def __call__(self, text: str) -> Floats:
        """A vector `(SIZE,)` of length 1; the product of two says how alike they are, from -1 to 1."""
        ids = self._pieces(text)
        table = "embeddings."
        state = self._tensors[f"{table}word_embeddings.weight"][ids]
        state = state + self._tensors[f"{table}position_embeddings.weight"][: len(ids)]
        state = state + self._tensors[f"{table}token_type_embeddings.weight"][0]
        state = self._norm(state, f"{table}LayerNorm")
        for layer in range(_LAYERS):
            state = self._layer(state, f"encoder.layer.{layer}.")
        mean = state.mean(0)
        vector: Floats = mean / np.linalg.norm(mean)
        return vector

    def _layer(self, state: Floats, name: str) -> Floats:
        """One transformer layer; state: (T, SIZE)."""
        query, key, value = (self._heads(state, f"{name}attention.self.{one}") for one in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(SIZE // _HEADS))  # (heads, T, T)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        joined = mixed.transpose(1, 0, 2).reshape(state.shape)
        attended = self._dense(joined, f"{name}attention.output.dense")
        state = self._norm(state + attended, f"{name}attention.output.LayerNorm")
        wide = _gelu(self._dense(state, f"{name}intermediate.dense"))
        return self._norm(state + self._dense(wide, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _heads(self, state: Floats, name: str) -> Floats:
        split: Floats = self._dense(state, name).reshape(len(state), _HEADS, -1).transpose(1, 0, 2)
        return split  # (heads, T, SIZE / heads)

    def _dense(self, state: Floats, name: str) -> Floats:
        result: Floats = state @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]
        return result

    def _norm(self, state: Floats, name: str) -> Floats:
        centred = state - state.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(_EPSILON))
        result: Floats = centred / deviation * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]
        return result


def _gelu(values: Floats) -> Floats:
    """A value times the normal distribution's probability below x. The error function is within 1.5e-7.

    Source: Abramowitz and Stegun 1964, 7.1.26.
    """
    size = np.abs(values) / np.float32(np.sqrt(2))
    step: Any = 1 / (1 + np.float32(0.3275911) * size)
    factors = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    series: Any = np.zeros_like(values)
    for factor in reversed(factors):
        series = (series + np.float32(factor)) * step
    erf = np.sign(values) * (1 - series * np.exp(-(size**2)))
    result: Floats = (values * (1 + erf) / 2).astype(np.float32)
    return result
