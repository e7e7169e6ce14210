"""BERT's uncased WordPiece tokenizer, with the character offsets of every piece in the original text."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_WORD_CHARACTERS = 100  # characters; BERT calls longer words unknown

_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F))
_Pieces = tuple[tuple[int, int, int], ...]  # (id, start, end) within the word


@dataclass(frozen=True)
class Encoding:
    """Piece ids of a text without special tokens, and the span of each piece in it."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class _Classes(dict[int, str]):
    """Code point -> letter of its class: w(ord), p(unctuation, a word of its own), s(pace), x (dropped)."""

    def __missing__(self, code: int) -> str:
        self[code] = letter = _class_of(chr(code))
        return letter


class WordPiece:
    """The tokenizer of one vocabulary; words are cached, because texts repeat them."""

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self.pieces: tuple[str, ...] = tuple(pieces)
        self.ids: dict[str, int] = {piece: number for number, piece in enumerate(pieces)}
        special = ("[CLS]", "[SEP]", "[UNK]", "[PAD]")
        self.start, self.end, self.unknown, self.pad = (self.ids[piece] for piece in special)
        self._classes = _Classes()
        self._cache: dict[str, _Pieces] = {}

    def encode(self, text: str, *, limit: int | None = None) -> Encoding:
        """Return the pieces of a text, at most `limit` of them."""
        pieces = [piece for start, end in self._words(text) for piece in self._located(text[start:end], start)][:limit]
        return Encoding(tuple(number for number, _, _ in pieces), tuple((start, end) for _, start, end in pieces))

    def count(self, text: str) -> int:
        """Count the text's pieces."""
        return len(self.encode(text).ids)

    def _words(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield spans of words and punctuation marks.

        The class string is as long as the text, so it has the same offsets.
        """
        for match in re.finditer(r"x*w[wx]*|p", text.translate(self._classes)):
            yield match.span()

    def _located(self, word: str, offset: int) -> Iterator[tuple[int, int, int]]:
        pieces = self._cache.get(word)
        if pieces is None:
            if len(self._cache) > 100_000:  # words of a long-lived server; a rebuilt cache costs less than a second
                self._cache.clear()
            pieces = self._cache[word] = tuple(self._split(word))
        for number, start, end in pieces:
            yield number, offset + start, offset + end

    def _split(self, word: str) -> _Pieces:
        """Split by greedy longest match; one unknown piece if any part of the word is not in the vocabulary."""
        plain = _normalize_word(word)
        pieces: list[tuple[int, int, int]] = []
        start = 0
        while start < len(plain) <= MAX_WORD_CHARACTERS:
            ends = range(len(plain), start, -1)
            end = next((end for end in ends if self._piece(plain, start, end) in self.ids), None)
            if end is None:
                break
            pieces.append((self.ids[self._piece(plain, start, end)], start, end))
            start = end
        if plain and start < len(plain):
            return ((self.unknown, 0, len(word)),)
        if len(plain) == len(word):
            return tuple(pieces)
        return tuple((number, 0, len(word)) for number, _, _ in pieces)  # an accent was dropped: as exact as it gets

    @staticmethod
    def _piece(word: str, start: int, end: int) -> str:
        return ("##" if start else "") + word[start:end]


def _normalize_word(word: str) -> str:
    """Return the word in lower case without accents and control characters, as the vocabulary spells words."""
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in decomposed if not _is_dropped(letter) and unicodedata.category(letter) != "Mn")


def _class_of(letter: str) -> str:
    category = unicodedata.category(letter)
    if letter.isspace() or category == "Zs":
        return "s"
    if _is_dropped(letter):
        return "x"
    ascii_symbol = letter.isascii() and not letter.isalnum()
    return "p" if ascii_symbol or category.startswith("P") or _is_ideograph(letter) else "w"


def _is_dropped(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cf"} or letter == "\ufffd"


def _is_ideograph(letter: str) -> bool:
    """Return whether the letter is a Chinese character, which is a word of its own (BERT's ranges)."""
    code = ord(letter)
    return any(first <= code <= last for first, last in _IDEOGRAPHS)
