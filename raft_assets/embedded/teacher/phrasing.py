"""Turning clauses into the wording of questions: subjects, word order, agreement, the last polish."""

import re

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.clauses import Clause
from raft_assets.embedded.teacher.morphology import base_form, third_person
from raft_assets.embedded.teacher.phrases import Span, TaggedSentence
from raft_assets.embedded.teacher.tagging import PROPER, is_always_capitalised

_PARENTHESIS = re.compile(r"\s*\([^()]*\)")
_CONNECTIVES = re.compile(
    r"\b(?:also|then|subsequently|additionally|therefore|thus|however|instead(?! of)|too|as well(?! as)|again|likewise)"
    r"(?=[ ?]|$)"
)
_SPACE_BEFORE_MARK = re.compile(r"\s+([,.;:?!])")


def polished(question: str) -> str:
    """Return the question with one capital and one question mark.

    Parentheses and connectives to the sentence before are removed.
    """
    text = _CONNECTIVES.sub("", _PARENTHESIS.sub("", question))
    text = " ".join(_SPACE_BEFORE_MARK.sub(r"\1", text).split()).strip(" ,;:")
    return text[:1].upper() + text[1:] + "?"


def in_mid_sentence(s: TaggedSentence, start: int, end: int) -> str:
    """Return the tokens as they are written inside a sentence: without the capital of a first word that is no name."""
    text = s.words(start, end)
    token = s.tokens[start]
    keeps_capital = (
        token.tag in PROPER
        or token.word == "I"
        or is_always_capitalised(token.word)
        or (len(token.word) > 1 and token.word.isupper())
        or any(c.isupper() for c in token.word[1:])
    )
    return text if keeps_capital else text[:1].lower() + text[1:]


def subject(clause: Clause) -> str:
    """Return the clause's subject as it is written inside a sentence."""
    return in_mid_sentence(clause.sentence, *clause.subject)


def inverted(clause: Clause, *, stop: int, drop: Span | None = None) -> str | None:
    """Return the clause in a question's word order up to token `stop`, such as "did the bat hunt".

    The tokens `drop` are left out. None if the clause can't be inverted.
    """
    s = clause.sentence
    before_verb = s.words(clause.subject_stop, clause.finite)
    if clause.has_auxiliary:
        between = s.words(clause.finite + 1, clause.rest)
        return (
            f"{s.word(clause.finite)} {subject(clause)} {before_verb} {between} {_without(s, clause.rest, stop, drop)}"
        )
    verb = base_form(s.word(clause.finite))
    if verb is None:
        return None
    tag = s.tag(clause.finite)
    do = "did" if tag == "VBD" else "does" if tag == "VBZ" else "do" if s.word(clause.finite) == verb else "did"
    return f"{do} {subject(clause)} {before_verb} {verb} {_without(s, clause.rest, stop, drop)}"


def predicate(clause: Clause, *, singular: bool = True) -> str | None:
    """Return the clause without its subject, agreeing with "who" or "what": "feeds on moths at night"."""
    s = clause.sentence
    finite = s.word(clause.finite)
    form = {"are": "is", "were": "was", "have": "has", "do": "does"}.get(finite) if singular else None
    if form is None:
        form = (
            third_person(finite)
            if singular and s.tag(clause.finite) == "VBP"
            else s.words(clause.finite, clause.finite + 1)
        )
    if form is None:
        return None
    return f"{s.words(clause.subject_stop, clause.finite)} {form} {s.words(clause.finite + 1, clause.end)}"


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning, in lower case."""
    return [word for word in re.findall(r"[\w'’.-]*\w", text.lower()) if word not in words.STOP_WORDS]


def _without(s: TaggedSentence, start: int, stop: int, drop: Span | None) -> str:
    if drop is None:
        return s.words(start, stop)
    return f"{s.words(start, drop[0])} {s.words(drop[1], stop)}"
