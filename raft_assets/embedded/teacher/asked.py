"""A question with its answer, and the order in which questions are returned."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class GeneratedQuestion:
    """A question with its answer. `sentence` is an exact substring of the chunk, `answer` one of the sentence.

    `kind`: what, who, when, where, why, how, which, cloze, api or other. `rule`: the name of the rule that asked.
    """

    question: str
    answer: str
    sentence: str
    kind: str
    rule: str


@dataclass(frozen=True)
class Ranked:
    """A question with its worth and the number of its sentence in the chunk."""

    asked: GeneratedQuestion
    score: float
    sentence: int


def spread(ranked: Iterable[Ranked]) -> list[Ranked]:
    """Sort best first, but a sentence's second question after every sentence's first."""
    by_score = sorted(ranked, key=lambda question: (-question.score, question.sentence, question.asked.question))
    taken: dict[int, int] = {}
    rounds: list[tuple[int, Ranked]] = []
    for question in by_score:
        rounds.append((taken.get(question.sentence, 0), question))
        taken[question.sentence] = taken.get(question.sentence, 0) + 1
    return [question for _, question in sorted(rounds, key=lambda pair: pair[0])]
