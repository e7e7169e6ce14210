"""Cloze questions, for chunks in which the rules find little to ask: a key phrase of a sentence is blanked out."""

from collections.abc import Iterator
from dataclasses import dataclass

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.phrases import TaggedSentence, noun_phrase_end
from raft_assets.embedded.teacher.phrasing import content_words
from raft_assets.embedded.teacher.tagging import FINITE, PROPER

SENTENCE_WORDS = range(6, 61)
LONGEST_ANSWER = 5  # words


@dataclass(frozen=True)
class Cloze:
    """A sentence with a gap; `start` and `end` are the gap's characters in the sentence."""

    question: str
    start: int
    end: int
    score: float


def cloze(s: TaggedSentence) -> Cloze | None:
    """Return the best gap in the sentence; None if it is no sentence of facts or begins by referring to another."""
    if len(s.text.split()) not in SENTENCE_WORDS or len(s) < 4 or s.word(0) in words.OPENING_ADVERBS | words.POINTING:
        return None
    names = sum(token.tag in PROPER for token in s.tokens)
    if names > 0.55 * len(s) or not s.any_tag(0, len(s), FINITE):
        return None
    return max(_gaps(s), key=lambda gap: gap.score, default=None)


def _gaps(s: TaggedSentence) -> Iterator[Cloze]:
    i, stop = 2, len(s) - 1
    while i < stop:
        end = noun_phrase_end(s, i, stop, of_phrases=False)
        if end > i and s.tag(i) != "PRP$" and s.word(i) not in words.PRONOUNS:
            start = i + 1 if s.tag(i) in ("DT", "PDT") and end - i > 1 else i
            gap = _gap(s, start, end)
            if gap:
                yield gap
        i = max(end, i + 1)


def _gap(s: TaggedSentence, start: int, end: int) -> Cloze | None:
    first, last = s.characters(start, end)
    answer = s.text[first:last]
    if (
        s.text.lower().count(answer.lower()) != 1
        or len(answer.split()) > LONGEST_ANSWER
        or answer.lower() in words.STOP_WORDS
        or '"' in answer
    ):
        return None
    tags = {token.tag for token in s.tokens[start:end]}
    kind = 1.2 if "CD" in tags else 1.0 if tags & PROPER else 0.7 if end - start > 1 else 0.4
    statement = " ".join(f"{s.text[:first]}____{s.text[last:]}".split()).rstrip(". ")
    return Cloze(
        f"Which words complete this statement: “{statement}”?",
        first,
        last,
        kind + 0.08 * min(len(content_words(statement)), 14),
    )
