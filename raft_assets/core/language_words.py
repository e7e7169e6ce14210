"""What the words of a text say, in any language: terms that are compared whatever their inflection, script and digits.

English has its own comparison (`core.similarity` and the gates' dictionary); here are the other languages: stems of
Snowball where it knows the language, pairs of letters in scripts without spaces, and numbers as numbers.
"""

import bisect
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import regex

from raft_assets.core.frequent_words import FUNCTION_WORDS
from raft_assets.core.languages import is_unspaced, script_words

if TYPE_CHECKING:
    from snowballstemmer.basestemmer import BaseStemmer

MIN_PART_LETTERS = 4  # of a word that is found within a longer one: "Brücke" in "Steinbrücke"
MAX_STEM_ENDING = 3  # letters that an inflected word has more than what is shared, where no stemmer knows the language
_SNOWBALL = {
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "pl": "polish",
    "ru": "russian",
    "tr": "turkish",
    "ar": "arabic",
    "hi": "hindi",
    "id": "indonesian",
    "sv": "swedish",
    "da": "danish",
    "no": "norwegian",
    "fi": "finnish",
    "hu": "hungarian",
    "ro": "romanian",
    "ca": "catalan",
    "cs": "czech",
    "el": "greek",
    "hy": "armenian",
    "lt": "lithuanian",
    "et": "estonian",
    "fa": "persian",
    "ga": "irish",
    "eu": "basque",
    "ta": "tamil",
    "ne": "nepali",
}
# points of vowels and lengthening strokes, which most writers leave out, and marks of direction
_UNWRITTEN = regex.compile(r"(?<=[\p{Arabic}\p{Hebrew}])\p{Mn}+|ـ|\p{Cf}")
_DIGIT = regex.compile(r"\p{Nd}")
_NUMBER = regex.compile(r"(?:\d{1,3}(?:[.,٫٬'’ \u00a0\u202f]\d{3}(?!\d))+|\d+)(?:[.,٫]\d+)?")
_DATE = regex.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(?=\d{4}(?!\d))")
_LEADING_ZEROS = regex.compile(r"^0+(?=\d)")
_RUN = regex.compile(r"(?:[\p{L}\p{N}]\p{M}*)+")
_HANGUL = regex.compile(r"\p{Hangul}")
_GROUPING = regex.compile(r"[.,٫٬'’ \u00a0\u202f](?=\d{3}(?:\D|$))")
_DECIMAL_MARK = str.maketrans(",٫", "..")


def fold(text: str) -> str:
    """Return the text in one form: full width as half width, digits of every script as ASCII, case folded.

    Points and strokes that Arabic and Hebrew may leave out are left out.
    """
    one_form = _UNWRITTEN.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), one_form)


def numbers(text: str) -> set[str]:
    """Return the numbers of a text, whatever their digits and grouping: 14.500, 14,500 and ١٤٥٠٠ are one.

    A date has its day, month and year, so that 05.03.1932 holds what "5. März 1932" says.
    """
    return set(_find_numbers(fold(text)))


def terms(text: str, language: str) -> list[str]:
    """Return what a text is about: its numbers, the stems of its words, and pairs of letters in unspaced scripts.

    Function words of the language are left out. A single letter of an unspaced script stands for itself.
    """
    folded = fold(text)
    found = list(_find_numbers(folded))
    ignored = FUNCTION_WORDS.get(language, frozenset())
    for run in _RUN.findall(_NUMBER.sub(" ", folded)):
        for are_letters, words in groupby(script_words(run), key=lambda word: is_unspaced(word[0])):
            if are_letters:
                found += _pairs(list(words))
            else:
                found += [term for word in words if word not in ignored for term in _terms_of_word(word, language)]
    return found


def contains_words(text: str, phrase: str, language: str) -> bool:
    """Return whether the phrase is in the text word for word; never for function words or a single unspaced letter."""
    wanted = script_words(fold(phrase))
    if not any(word not in FUNCTION_WORDS.get(language, frozenset()) for word in wanted):
        return False
    if len(wanted) == 1 and is_unspaced(wanted[0][0]):
        return False
    return f" {' '.join(wanted)} " in f" {' '.join(script_words(fold(text)))} "


class Terms:
    """The terms of a text, in which those of other texts are looked up."""

    def __init__(self, texts: Iterable[str], language: str) -> None:
        self._language = language
        self._terms = {term for text in texts for term in terms(text, language)}
        self._sorted = sorted(self._terms)
        self._joined = " ".join(self._sorted)

    def __len__(self) -> int:
        return len(self._terms)

    def share(self, text: str) -> float:
        """Return the share of another text's terms that this one holds; 1 if it has none."""
        asked = terms(text, self._language)
        return sum(map(self.holds, asked)) / len(asked) if asked else 1.0

    def holds(self, term: str) -> bool:
        """Return whether a term is here, as part of a compound, or in parts that are."""
        if term in self._terms:
            return True
        if is_unspaced(term[0]) or _HANGUL.match(term):
            return len(script_words(term)) == 1 and term in self._joined
        if term[0].isdigit() or len(term) < MIN_PART_LETTERS:
            return False
        return term in self._joined or self._has_parts(term) or self._has_inflection(term)

    def _has_parts(self, term: str) -> bool:
        cuts = range(MIN_PART_LETTERS, len(term) - MIN_PART_LETTERS + 1)
        return any(term[:cut] in self._terms and term[cut:] in self._terms for cut in cuts)

    def _has_inflection(self, term: str) -> bool:
        """Return whether a word begins as the term does, where no stemmer knows the language."""
        root = term[:-MAX_STEM_ENDING]
        if self._language in _SNOWBALL or len(root) < MIN_PART_LETTERS:
            return False
        for other in self._sorted[bisect.bisect_left(self._sorted, root) :]:
            if not other.startswith(root):
                return False
            if len(other) <= len(term) + MAX_STEM_ENDING:
                return True
        return False


@lru_cache(maxsize=1 << 16)
def stem(word: str, language: str) -> str:
    """Return the word without its inflection; as it is where no stemmer knows the language."""
    stemmer = _stemmer(language)
    return str(stemmer.stemWord(word)) if stemmer else word


@cache
def _stemmer(language: str) -> "BaseStemmer | None":
    import snowballstemmer

    name = _SNOWBALL.get(language)
    return snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None


def _terms_of_word(word: str, language: str) -> Iterator[str]:
    """Yield the stem of a word; of Korean, whose words carry their particles, its pairs of syllables."""
    if _HANGUL.match(word):
        yield from _pairs(list(word))
    else:
        yield stem(word, language)


def _find_numbers(folded: str) -> Iterator[str]:
    for match in _NUMBER.finditer(_DATE.sub(r"\1 . \2 . ", folded)):
        yield _LEADING_ZEROS.sub("", _GROUPING.sub("", match[0]).translate(_DECIMAL_MARK))


def _pairs(letters: list[str]) -> list[str]:
    return ["".join(pair) for pair in pairwise(letters)] or letters
