"""Spans of a sentence that may be an answer, and what can be said about each without knowing the question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from raft_assets.embedded.reader.ranking import Category, Codes, Flags
from raft_assets.embedded.reader.words import MONTHS, NUMBER_WORDS, UNITS, word_list, word_set
from raft_assets.embedded.teacher.tagging import Token

FIELDS = (
    "none", "api_call", "api_name", "api_version", "functionality", "api_arguments", "example_code", "env_requirements",
    "meta_data", "user_name", "other",
)  # fmt: skip
LONGEST_SPAN = 26  # tokens
LONGEST_INNER_SPAN = 13  # tokens; longer spans must reach to the end of a clause
TEXT_START, TEXT_END = "<start>", "<end>"

Positions = npt.NDArray[np.int64]

_CANNOT_START = word_set(
    "of and or but nor because that which who whom than 's ’s is are was were be been has have had"
)
_CANNOT_END = _CANNOT_START | word_set("the a an in on at to by for with from as his her its their into if not")
_OPENING_MARKS = frozenset("$£€\"“'")
_CLOSING_MARKS = frozenset(')"”%')
_OPENING_BRACKETS, _CLOSING_BRACKETS = frozenset("(["), frozenset(")]")
_BEFORE_AMOUNTS = word_set("than over about around approximately nearly almost roughly some between")
_NOUNS, _NOUN_PARTS = frozenset(("noun", "name")), frozenset(("noun", "name", "adjective", "number"))
_BARRIERS = frozenset(";!?")
_CLAUSE_ENDS = frozenset(",.;:)—–")

_NEIGHBOURS_BEFORE = word_list(
    'in at on by from for as to with of the a an and , ( " “ : called named known because due is was are'
    " were than about over around approximately up until since between during into near including like"
    " titled nearly almost only first his her their its"
)
_NEIGHBOURS_AFTER = word_list(
    ", . ) ( and or of in to that who which is are was were for with by from as at on \" ” 's people"
    " species years million"
)

# Penn Treebank tag -> coarse class; punctuation is its own class
_COARSE = {
    "NN": "noun", "NNS": "noun", "NNP": "name", "NNPS": "name",
    "VB": "verb", "VBD": "verb", "VBZ": "verb", "VBP": "verb", "VBG": "gerund", "VBN": "participle", "MD": "modal",
    "JJ": "adjective", "JJR": "adjective", "JJS": "adjective", "RB": "adverb", "RBR": "adverb", "RBS": "adverb",
    "IN": "preposition", "TO": "to", "DT": "determiner", "PDT": "determiner", "CD": "number", "CC": "conjunction",
    "PRP": "pronoun", "PRP$": "possessive", "POS": "possessive",
    "WDT": "relative", "WP": "relative", "WP$": "relative", "WRB": "relative",
}  # fmt: skip
_CLASSES = (*dict.fromkeys(_COARSE.values()), "mark", "other", TEXT_START, TEXT_END)
_PAIRS = tuple(f"{left} {right}" for left in _CLASSES for right in _CLASSES)
_LENGTHS = ("1", "2", "3", "4-5", "6-8", "9-13", "14+")
_LENGTH_BOUNDS = np.array([1, 2, 3, 5, 8, 13])
_SHAPES = ("date", "money", "number", "name", "mixed name", "noun phrase", "long", "other")
_NO_YES = ("no", "yes")

CATEGORIES = (
    Category("shape", _SHAPES, by_kind=True),
    Category("length", _LENGTHS, by_kind=True),
    Category("before", (*_NEIGHBOURS_BEFORE, *_CLASSES), by_kind=True),
    Category("after", (*_NEIGHBOURS_AFTER, *_CLASSES), by_kind=True),
    Category("first word", (*_NEIGHBOURS_BEFORE, "other")),
    Category("field", FIELDS, by_kind=True),
    Category("extensible", ("no", "right", "left", "both")),
    # groups that depend on tags
    Category("first class", _CLASSES, by_kind=True),
    Category("last class", _CLASSES),
    Category("classes at start", _PAIRS),
    Category("classes at end", _PAIRS),
    Category("has verb", _NO_YES, by_kind=True),
    Category("has preposition", _NO_YES),
    # yes or no
    Category("quoted", _NO_YES, by_kind=True),
    Category("has year", _NO_YES, by_kind=True),
    Category("has month", _NO_YES, by_kind=True),
    Category("has unit", _NO_YES, by_kind=True),
    Category("has percent", _NO_YES, by_kind=True),
    Category("has digit", _NO_YES, by_kind=True),
    Category("has comma", _NO_YES, by_kind=True),
    Category("has parenthesis", _NO_YES),
    Category("has and", _NO_YES),
    Category("has of", _NO_YES),
    Category("starts sentence", _NO_YES, by_kind=True),
    Category("ends sentence", _NO_YES, by_kind=True),
    Category("whole value", _NO_YES, by_kind=True),
)


@dataclass(frozen=True)
class Spans:
    """Candidate spans of a sentence: tokens [start, end) and the values of CATEGORIES."""

    starts: Positions
    ends: Positions
    codes: Codes  # (spans, categories)

    def __len__(self) -> int:
        return len(self.starts)


def spans_of(tokens: Sequence[Token], *, field: int, value_start: int | None) -> Spans:
    """Return the candidates of a sentence.

    `field`: position in FIELDS; `value_start`: first token of such a line's value.
    """
    starts, ends = _candidates(tokens, value_start)
    return Spans(starts, ends, _codes(tokens, starts, ends, field, -1 if value_start is None else value_start))


def _candidates(tokens: Sequence[Token], value_start: int | None) -> tuple[Positions, Positions]:
    """Return all spans of at most LONGEST_SPAN tokens with plausible ends, and the whole value of a field."""
    words = [token.word for token in tokens]
    lower = [token.lower for token in tokens]
    count = len(words)
    may_start = np.array(
        [word not in _CANNOT_START and (word[0].isalnum() or word in _OPENING_MARKS) for word in lower], bool
    )
    for i in range(1, count - 1):
        may_start[i] &= not (words[i - 1] == "[" and words[i].isdigit() and words[i + 1] == "]")  # a note's number
    may_end = np.array([word not in _CANNOT_END and _closes(words[i]) for i, word in enumerate(lower)], bool)
    clause_ends = np.array([*(word in _CLAUSE_ENDS for word in words[1:]), True], bool)[:count]
    barriers = _totals([word in _BARRIERS for word in words])
    opened = _totals([word in _OPENING_BRACKETS for word in words])
    closed = _totals([word in _CLOSING_BRACKETS for word in words])

    starts = np.repeat(np.arange(count), LONGEST_SPAN)
    ends = starts + np.tile(np.arange(1, LONGEST_SPAN + 1), count)
    starts, ends = starts[ends <= count], ends[ends <= count]
    keep = may_start[starts] & may_end[ends - 1] & (barriers[ends] == barriers[starts])
    keep &= (ends - starts <= LONGEST_INNER_SPAN) | clause_ends[ends - 1]
    keep &= opened[ends] - opened[starts] == closed[ends] - closed[starts]
    starts, ends = starts[keep], ends[keep]
    if value_start is not None and not np.any((starts == value_start) & (ends == count)):
        starts, ends = np.append(starts, value_start), np.append(ends, count)
    return starts, ends


def _closes(word: str) -> bool:
    return word[-1].isalnum() or word in _CLOSING_MARKS or bool(re.match(r"\w+\.", word))


def _codes(tokens: Sequence[Token], starts: Positions, ends: Positions, field: int, value_start: int) -> Codes:
    """Return the values of CATEGORIES (spans, categories)."""
    words = [token.word for token in tokens]
    lower = [token.lower for token in tokens]
    classes = [_class(token.word, token.tag) for token in tokens]
    class_codes = np.array([_CLASSES.index(name) for name in (*classes, TEXT_START, TEXT_END)], np.int64)
    count = len(words)
    before = np.where(starts > 0, starts - 1, count)  # position of TEXT_START in class_codes
    after = np.where(ends < count, ends, count + 1)
    has = {name: _any(flags, starts, ends) for name, flags in _token_flags(words, lower, classes).items()}
    quoted = _quoted(words, starts, ends)
    first, last = class_codes[starts], class_codes[ends - 1]
    columns: dict[str, npt.NDArray[np.integer] | Flags] = {
        "shape": _shapes(has, ends - starts, classes, ends),
        "length": np.searchsorted(_LENGTH_BOUNDS, ends - starts),
        "before": _neighbours(lower, class_codes, _NEIGHBOURS_BEFORE)[before],
        "after": _neighbours(lower, class_codes, _NEIGHBOURS_AFTER)[after],
        "first word": np.array([_position(word, _NEIGHBOURS_BEFORE) for word in lower], np.int64)[starts],
        "field": np.full(len(starts), field),
        "extensible": _extensible(lower, classes, starts, ends),
        "first class": first,
        "last class": last,
        "classes at start": class_codes[before] * len(_CLASSES) + first,
        "classes at end": last * len(_CLASSES) + class_codes[after],
        "quoted": quoted,
        "starts sentence": starts == 0,
        "ends sentence": (ends == count) | ((ends == count - 1) & (words[-1] in ".!")),
        "whole value": (starts == value_start) & (ends == count),
        **{f"has {name}": flags for name, flags in has.items()},
    }
    return np.stack([columns[category.name] for category in CATEGORIES], axis=1).astype(np.int16)


def _token_flags(words: Sequence[str], lower: Sequence[str], classes: Sequence[str]) -> dict[str, list[bool]]:
    """Return the flags of single tokens; a span has a flag if one of its tokens has it."""
    letters = [word[0].isalpha() and low not in _CANNOT_END for word, low in zip(words, lower, strict=True)]
    return {
        "digit": [word[0].isdigit() for word in words],
        "number word": [word in NUMBER_WORDS for word in lower],
        "year": [_is_year(word) for word in words],
        "decade": [bool(re.fullmatch(r"\d{2,4}s", word)) or word in ("century", "bc", "bce") for word in lower],
        "month": [word in MONTHS and words[i][0].isupper() for i, word in enumerate(lower)],
        "unit": [word in UNITS for word in lower],
        "money": [word in "$£€" or word in ("euro", "euros", "dollars") for word in lower],
        "percent": [word in ("%", "percent") for word in lower],
        "capital": [letter and word[0].isupper() for letter, word in zip(letters, words, strict=True)],
        "small": [letter and not word[0].isupper() for letter, word in zip(letters, words, strict=True)],
        "verb": [name in ("verb", "modal") for name in classes],
        "preposition": [name in ("preposition", "to") for name in classes],
        "comma": [word == "," for word in words],
        "parenthesis": [word == "(" for word in words],
        "and": [word == "and" for word in lower],
        "of": [word == "of" for word in lower],
    }


def _shapes(has: dict[str, Flags], lengths: Positions, classes: Sequence[str], ends: Positions) -> Positions:
    """Return the position in _SHAPES: the first that fits."""
    ends_in_noun = np.array([name == "noun" for name in classes], bool)[ends - 1]
    conditions = [
        (has["month"] | has["year"] | has["decade"]) & (lengths <= 5),
        has["money"],
        (has["digit"] | has["number word"]) & (lengths <= 6),
        has["capital"] & ~has["small"] & (lengths <= 7),
        has["capital"] & (lengths <= 8),
        ends_in_noun & (lengths <= 6),
        lengths > 7,
    ]
    return np.select(conditions, list(range(len(conditions))), len(conditions))


def _extensible(lower: Sequence[str], classes: Sequence[str], starts: Positions, ends: Positions) -> Positions:
    """Return where the span cuts a noun phrase, a date or an amount: 1 at its right end, 2 at its left, 3 at both."""
    goes_on, went_before = np.zeros(len(classes), bool), np.zeros(len(classes), bool)
    for i, (one, other) in enumerate(pairwise(classes)):
        goes_on[i] = (one in _NOUN_PARTS and other in _NOUNS) or _date_goes_on(lower, i)
        went_before[i + 1] = (other in _NOUN_PARTS and (one in _NOUN_PARTS or one == "determiner")) or (
            other == "number" and lower[i] in _BEFORE_AMOUNTS
        )
    cut: Positions = goes_on[ends - 1] + 2 * went_before[starts].astype(np.int64)
    return cut


def _date_goes_on(lower: Sequence[str], i: int) -> bool:
    """Return whether a date continues after token `i`: "May | 21" and "May 21 |, 1967"."""
    following = lower[i + 1 : i + 3]
    if lower[i] in MONTHS:
        return following[0].isdigit()
    is_day = lower[i].isdigit() and len(lower[i]) <= 2
    return is_day and ((following[0] == "," and _is_year(following[-1])) or following[0] in MONTHS)


def _is_year(word: str) -> bool:
    return bool(re.fullmatch(r"1\d\d\d|20\d\d", word))


def _quoted(words: Sequence[str], starts: Positions, ends: Positions) -> Flags:
    opens = np.array([word in ('"', "“") for word in words], bool)
    closes = np.array([word in ('"', "”") for word in words], bool)
    around = np.r_[False, opens][starts] & np.r_[closes, False][ends]
    quoted: Flags = around | (opens[starts] & closes[ends - 1] & (ends - starts > 2))
    return quoted


def _neighbours(lower: Sequence[str], class_codes: Positions, listed: tuple[str, ...]) -> Positions:
    """For each token and both text ends, return its position among the listed words, else its class after them."""
    positions = [_position(word, listed) for word in lower] + [len(listed)] * 2
    return np.array(
        [place if place < len(listed) else len(listed) + class_codes[i] for i, place in enumerate(positions)], np.int64
    )


def _position(word: str, listed: tuple[str, ...]) -> int:
    return listed.index(word) if word in listed else len(listed)


def _class(word: str, tag: str) -> str:
    return _COARSE.get(tag) or ("other" if word[0].isalnum() else "mark")


def _totals(flags: Sequence[bool]) -> Positions:
    """Return running totals (tokens + 1,)."""
    totals: Positions = np.concatenate([[0], np.cumsum(np.array(flags, np.int64))]).astype(np.int64)
    return totals


def _any(flags: Sequence[bool], starts: Positions, ends: Positions) -> Flags:
    totals = _totals(flags)
    found: Flags = totals[ends] > totals[starts]
    return found
