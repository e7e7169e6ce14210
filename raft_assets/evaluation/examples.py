"""Answers worth reading side by side: which of them the report shows, and what is marked in them.

What belongs here: choosing and marking. Nothing is escaped here; whoever shows a segment does that.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from raft_assets.evaluation.metrics import scores
from raft_assets.evaluation.verdict import PRIMARY_ARM, PRIMARY_METRIC
from raft_assets.raft.contract import neutralized
from raft_assets.raft.tables import ModelAnswer, Source

SHOWN_PER_GROUP = 4

Mark = Literal["", "quote", "answer"]


@dataclass(frozen=True)
class Segment:
    """A stretch of a text and what it is."""

    text: str
    mark: Mark


@dataclass(frozen=True)
class ShownDocument:
    """A document as the model saw it; quoted sentences and golden answers are marked."""

    segments: tuple[Segment, ...]
    is_oracle: bool


@dataclass(frozen=True)
class ShownAnswer:
    """A model's answer, verbatim; quotes and final answer are marked. `value` is its primary metric, from 0 to 1."""

    segments: tuple[Segment, ...]
    value: float
    status: str


@dataclass(frozen=True)
class Example:
    """A question with both models' answers. No golden answers: abstaining is right."""

    question: str
    arm: str
    golden_answers: tuple[str, ...]
    documents: tuple[ShownDocument, ...]
    baseline: ShownAnswer
    student: ShownAnswer


@dataclass(frozen=True)
class Group:
    """Examples that are shown for the same reason."""

    title: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class _Pair:
    """Both answers to a question under an arm with their primary metric."""

    baseline: ModelAnswer
    student: ModelAnswer
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


def choose(answers: Iterable[ModelAnswer], source: Source) -> list[Group]:
    """What the report shows of a slice: what changed most, both ways, what both got wrong or right, and inventions."""
    pairs = list(_pairs(row for row in answers if row.source == source))
    main = [pair for pair in pairs if pair.student.arm == PRIMARY_ARM]
    same = [pair for pair in main if pair.change == 0]
    chosen = {
        "Where the student gained most": _first([pair for pair in main if pair.change > 0], lambda pair: -pair.change),
        "Where the student lost most": _first([pair for pair in main if pair.change < 0], lambda pair: pair.change),
        "Where both fell short": _first([pair for pair in same if pair.after < 1], lambda pair: pair.after),
        "Where both were right": _first([pair for pair in same if pair.after == 1], lambda pair: -pair.after),
        "Where the student answered and should have abstained": _first(
            [pair for pair in pairs if _is_invented(pair.student)], lambda pair: -pair.before
        ),
    }
    return [Group(title, tuple(map(_example, found))) for title, found in chosen.items() if found]


def marked(text: str, *, quotes: Iterable[str], answers: Iterable[str]) -> tuple[Segment, ...]:
    """The text in segments; quotes and answers are found whatever their white space, answers only as whole words."""
    marks: list[Mark] = [""] * len(text)
    for mark, pattern in _patterns(quotes, answers):
        for found in pattern.finditer(text):
            marks[found.start() : found.end()] = [mark] * (found.end() - found.start())
    runs = groupby(range(len(text)), key=marks.__getitem__)
    return tuple(Segment("".join(text[position] for position in positions), mark) for mark, positions in runs)


def _pairs(answers: Iterable[ModelAnswer]) -> Iterator[_Pair]:
    both: dict[tuple[str, str], dict[str, ModelAnswer]] = {}
    for answer in answers:
        both.setdefault((answer.arm, answer.question_id), {})[answer.evaluated] = answer
    for pair in both.values():
        yield _Pair(pair["baseline"], pair["student"], _primary(pair["baseline"]), _primary(pair["student"]))


def _primary(answer: ModelAnswer) -> float:
    return next(score.value for score in scores(answer) if score.metric == PRIMARY_METRIC)


def _first(pairs: Iterable[_Pair], weight: Callable[[_Pair], float]) -> list[_Pair]:
    return sorted(pairs, key=lambda pair: (weight(pair), pair.student.arm, pair.student.question_id))[:SHOWN_PER_GROUP]


def _is_invented(answer: ModelAnswer) -> bool:
    return answer.status == "ok" and not answer.answerable and not answer.abstained


def _example(pair: _Pair) -> Example:
    asked = pair.student
    quotes = [*pair.baseline.quotes, *pair.student.quotes]
    return Example(
        question=asked.question,
        arm=asked.arm,
        golden_answers=tuple(asked.golden_answers),
        documents=tuple(
            ShownDocument(
                marked(neutralized(text), quotes=quotes, answers=asked.golden_answers), chunk in asked.oracle_chunk_ids
            )
            for text, chunk in zip(asked.documents, asked.document_chunk_ids, strict=True)
        ),
        baseline=_shown(pair.baseline, pair.before),
        student=_shown(pair.student, pair.after),
    )


def _shown(answer: ModelAnswer, value: float) -> ShownAnswer:
    segments = marked(answer.answer, quotes=answer.quotes, answers=[answer.final_answer])
    return ShownAnswer(segments, value, answer.status)


def _patterns(quotes: Iterable[str], answers: Iterable[str]) -> Iterator[tuple[Mark, re.Pattern[str]]]:
    for quote in quotes:
        if words := quote.split():
            yield "quote", re.compile(_spaced(words))
    for answer in answers:
        if words := answer.split():
            yield "answer", re.compile(rf"(?<!\w){_spaced(words)}(?!\w)", re.IGNORECASE)


def _spaced(words: Iterable[str]) -> str:
    return r"\s+".join(map(re.escape, words))
