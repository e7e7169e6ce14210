"""Noun phrases and other small pieces of a tagged sentence.

Every function takes token positions and returns token positions.
"""

from dataclasses import dataclass
from functools import cached_property

from raft_assets.embedded.teacher.tagging import ADJECTIVES, NOUNS, PROPER, Token, is_number

Span = tuple[int, int]


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence on one line, character for character as long as its quote, and its tokens."""

    text: str
    tokens: tuple[Token, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def tag(self, i: int) -> str:
        """Return the tag of token `i`, empty after the end."""
        return self.tokens[i].tag if 0 <= i < len(self.tokens) else ""

    def word(self, i: int) -> str:
        """Return token `i` in lower case, empty after the end."""
        return self.tokens[i].lower if 0 <= i < len(self.tokens) else ""

    def characters(self, start: int, end: int) -> Span:
        """Return the span of tokens `start` to `end` in the text."""
        return (self.tokens[start].start, self.tokens[end - 1].end) if end > start else (0, 0)

    def words(self, start: int, end: int) -> str:
        """Return the text of tokens `start` to `end`."""
        first, last = self.characters(start, end)
        return self.text[first:last]

    def any_tag(self, start: int, end: int, tags: frozenset[str] | tuple[str, ...]) -> bool:
        """Return whether one of the tokens has one of the tags."""
        return any(token.tag in tags for token in self.tokens[start:end])

    def any_word(self, start: int, end: int, words: frozenset[str] | tuple[str, ...]) -> bool:
        """Return whether one of the tokens is one of the words (lower case)."""
        return any(token.lower in words for token in self.tokens[start:end])

    @cached_property
    def lowered(self) -> tuple[str, ...]:
        """All tokens in lower case."""
        return tuple(token.lower for token in self.tokens)


def noun_phrase_end(s: TaggedSentence, start: int, stop: int, *, of_phrases: bool = True) -> int:
    """Return the end of the longest simple noun phrase at `start` (determiner, modifiers, nouns, `of` phrases).

    `start` if there is none.
    """
    i = end = start
    has_noun = False
    while i < stop:
        tag = s.tag(i)
        if tag in NOUNS:
            end, has_noun = i + 1, True
        elif tag == "CD":
            end = i + 1
        elif tag == '"' and has_noun:
            closing = _closing_quote(s, i, stop)
            if closing is None:
                break
            end = i = closing
            continue
        elif of_phrases and s.word(i) == "of" and has_noun and end == i:
            return max(end, noun_phrase_end(s, i + 1, stop))
        elif not _may_stand_before_noun(s, i, first=i == start, has_noun=has_noun, stop=stop):
            break
        i += 1
    return end if has_noun or (end > start and s.tag(end - 1) == "CD") else start


def noun_list_end(s: TaggedSentence, start: int, stop: int) -> int:
    """Return the end of a list of noun phrases ("a, b and c") or of a single one; `start` if there is none."""
    end = complete = noun_phrase_end(s, start, stop)
    while start < end < stop:
        conjunction = s.word(end) == "," and s.word(end + 1) in ("and", "or")
        if s.word(end) not in (",", "and", "or", "&"):
            break
        is_last = conjunction or s.word(end) != ","
        following = end + 2 if conjunction else end + 1
        end = noun_phrase_end(s, following, stop)
        if end <= following:
            break
        if is_last:
            complete = end
            if s.word(end) != ",":
                break
    return complete


def head(s: TaggedSentence, phrase: Span) -> int:
    """Return the noun that a noun phrase is about: the last one before `of` or a preposition."""
    end = noun_phrase_end(s, *phrase, of_phrases=False)
    return (end if end > phrase[0] else phrase[1]) - 1


def is_plural(s: TaggedSentence, phrase: Span) -> bool:
    """Return whether a verb after the noun phrase has plural form."""
    end = noun_phrase_end(s, *phrase, of_phrases=False)
    return (
        s.tag(end - 1) in ("NNS", "NNPS")
        or s.any_word(end, min(end + 2, phrase[1]), ("and",))
        or (is_number(s.tokens[phrase[0]]) and s.word(phrase[0]) != "one")
    )


def has_name(s: TaggedSentence, phrase: Span) -> bool:
    """Return whether the phrase contains a proper name."""
    return s.any_tag(*phrase, PROPER)


def _closing_quote(s: TaggedSentence, opening: int, stop: int) -> int | None:
    """Return the position after the closing quotation mark of a short quoted name; None if there is none."""
    return next((i + 1 for i in range(opening + 2, min(opening + 8, stop)) if s.tag(i) == '"'), None)


def _may_stand_before_noun(s: TaggedSentence, i: int, *, first: bool, has_noun: bool, stop: int) -> bool:
    tag = s.tag(i)
    if tag in ("DT", "PRP$", "PDT"):
        return first or (s.tag(i - 1) == "PDT" and not has_noun)
    if tag in ADJECTIVES or tag in ("$", "RBS", "RBR"):
        return (
            not has_noun
            or (i + 1 < stop and s.tag(i + 1) in NOUNS and s.tag(i - 1) == "POS")
            or (tag == "JJ" and s.tag(i + 1) in NOUNS)
        )
    if tag == "RB":
        return not has_noun and not first and s.tag(i + 1) in ADJECTIVES | {"VBN"}
    if tag == "VBN":
        return not has_noun and s.tag(i + 1) in NOUNS | {"JJ"}
    if tag == "VBG":
        return (s.tag(i + 1) in NOUNS and not has_noun) or (
            first and not has_noun and s.tag(i + 1) not in ("DT", "PRP$")
        )
    if tag == "CC":  # "small and medium boats"
        return not has_noun and not first and s.tag(i - 1) in ADJECTIVES and s.tag(i + 1) in ADJECTIVES
    if tag == ",":
        return not has_noun and not first and s.tag(i - 1) in ADJECTIVES and s.tag(i + 1) in ADJECTIVES
    return tag == "POS" and has_noun
