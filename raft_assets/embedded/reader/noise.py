"""Noise for training questions: people use other words than the document, generated questions the same words.

Words are left out or replaced by their neighbours in the encoder's own table of word embeddings, an offline source of
synonyms (bought -> purchased, largest -> biggest); answers are asked for by their noun. Of everything that was tried
for questions by people, this helped most.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raft_assets.embedded.encoder import Encoder, Floats, normalize_vectors
from raft_assets.embedded.reader.questions import GAP
from raft_assets.embedded.reader.words import STOP_WORDS, lemma
from raft_assets.embedded.teacher.morphology import base_form

NEIGHBOURS = 5
_NEAREST = 30  # inspected, because most are other forms of the word itself
_NEAR = 0.42  # cosine after centring; below it neighbours are words of the same topic
_AT_ONCE = 256  # words compared with the whole table at once: 20 MB
_SAME_STEM = 4  # letters in common that make two words forms of one

# questions that ask the same in fewer words
_SHORTER = (("In what year ", "When "), ("By whom ", "Who "), ("Whom ", "Who "), ("For what purpose ", "Why "))
_WHICH_CALL = re.compile(r"Which (?:API )?call (?P<verb>\w+) (?P<rest>.+)", re.DOTALL)
_HOW_TO = ("How do I", "How can I", "What do I call to", "Which method should I use to")
_WHAT_ACTS = re.compile(r"What (?P<rest>[a-z].+)", re.DOTALL)
_OPENERS_OF_TWO = frozenset(("how", "in", "by", "for", "which", "at", "from", "to"))


@dataclass(frozen=True)
class Noise:
    """How likely a meaningful word is left out, and how likely it is replaced."""

    drop: float
    replace: float


class Synonyms:
    """Neighbours of the given words, nearest first; a word without neighbours is not included."""

    def __init__(self, encoder: Encoder, words: Iterable[str]) -> None:
        names, vectors = _plain_words(encoder)
        rows = {name: row for row, name in enumerate(names)}
        wanted = sorted({word for word in words if word in rows})
        self._found: dict[str, list[str]] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            likeness = vectors[[rows[word] for word in some]] @ vectors.T
            for word, row in zip(some, likeness, strict=True):
                self._found[word] = _neighbours(word, row, names)

    def of(self, word: str) -> list[str]:
        """Return the neighbours of a word, nearest first."""
        return self._found.get(word, [])


def noisy(question: str, answer: str | None, noise: Noise, synonyms: Synonyms, rng: random.Random) -> str:
    """Return the question in other words; unchanged if nothing meaningful would be left, or if it has a gap to fill."""
    if GAP in question:
        return question
    words = _rephrased(question.rstrip("?"), answer, synonyms, rng).split()
    opening = 2 if words and words[0].lower() in _OPENERS_OF_TWO else 1
    kept = words[:opening] + [new for word in words[opening:] if (new := _changed(word, noise, synonyms, rng))]
    meaningful = [word for word in kept if word.lower() not in STOP_WORDS]
    return " ".join(kept) + "?" if len(meaningful) > 1 else question


def answer_heads(answers: Iterable[str]) -> set[str]:
    """Return the nouns whose neighbours `noisy` may name answers by."""
    return {head for answer in answers if (head := _head(answer))}


def _rephrased(question: str, answer: str | None, synonyms: Synonyms, rng: random.Random) -> str:
    """Half of the time, return another form if one is known: shorter, "how do I", or the answer named by its noun."""
    if rng.random() < 0.5:
        return question
    for long, short in _SHORTER:
        if question.startswith(long):
            return short + question.removeprefix(long)
    call = _WHICH_CALL.match(question)
    if call and (verb := base_form(call["verb"])):
        return f"{rng.choice(_HOW_TO)} {verb} {call['rest']}"
    head = _head(answer or "")
    acts = _WHAT_ACTS.match(question)
    if acts and head and not re.match(r"(?:is|are|was|were|do|does|did|has|have|had)\b", acts["rest"]):
        return f"Which {rng.choice([head, *synonyms.of(head)])} {acts['rest']}"
    return question


def _head(answer: str) -> str | None:
    """Return the noun that says what an answer is.

    That is the last word before a preposition or comma, if it is no name or number.
    """
    phrase = re.split(r",| (?:of|in|on|at|for|from|with|to|that|which|by|and|or) ", answer.strip(), maxsplit=1)[
        0
    ].split()
    return phrase[-1] if phrase and re.fullmatch(r"[a-z]{3,}", phrase[-1]) else None


def _changed(word: str, noise: Noise, synonyms: Synonyms, rng: random.Random) -> str:
    """Return the word, one of its neighbours, or nothing."""
    core = word.strip('",.()')
    if not core or core.lower() in STOP_WORDS:
        return word
    chance = rng.random()
    if chance < noise.drop:
        return ""
    neighbours = synonyms.of(core)
    if chance < noise.drop + noise.replace and neighbours:
        return word.replace(core, rng.choice(neighbours))
    return word


def _plain_words(encoder: Encoder) -> tuple[list[str], Floats]:
    """Return whole lower-case words of the vocabulary and their centred unit vectors."""
    pieces = encoder.wordpiece.pieces
    numbers = [n for n, piece in enumerate(pieces) if re.fullmatch(r"[a-z]{3,}", piece) and piece not in STOP_WORDS]
    table = encoder.word_table
    return [pieces[number] for number in numbers], normalize_vectors(table[numbers] - table.mean(axis=0))


def _neighbours(word: str, likeness: Floats, names: list[str]) -> list[str]:
    nearest = np.argpartition(-likeness, _NEAREST)[:_NEAREST]
    ordered = nearest[np.argsort(-likeness[nearest], kind="stable")]
    stem = lemma(word)[:_SAME_STEM]
    near = [names[row] for row in ordered if likeness[row] >= _NEAR and lemma(names[row])[:_SAME_STEM] != stem]
    return near[:NEIGHBOURS]
