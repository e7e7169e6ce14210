"""Students side by side: the questions that all of them answered alike, and what their paired scores show.

What belongs here: choosing common questions, and the differences on them. Where answers come from, and what they cost,
is up to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from raft_assets.core.identity import normalize
from raft_assets.core.tables import Arm, ModelAnswer, QuestionSource
from raft_assets.evaluation.metrics import COMPARISONS, comparison_score
from raft_assets.evaluation.statistics import (
    Interval,
    clusters_needed,
    paired_bootstrap,
    sign_test,
    smallest_detectable,
)
from raft_assets.evaluation.verdict import MIN_CLUSTERS, PRIMARY_ARM, PRIMARY_METRIC, PRIMARY_NAME, WHOSE, Decision
from raft_assets.evaluation.wording import count_noun, format_interval, format_percent, format_points

SOURCES: tuple[QuestionSource, ...] = ("golden", "generated")  # in the order in which people should read them
METRICS_COMPARED = (PRIMARY_METRIC, "exact_match", "abstained_right", "well_formed")
MAX_EXAMPLES = 12  # questions on which the students differ most


@dataclass(frozen=True)
class RenderedAnswer:
    """A student's answer, and a hash of what it was asked and what counts as right; equal prompts have equal ones."""

    rendering: str
    answer: ModelAnswer


@dataclass(frozen=True)
class Basis:
    """The questions on which students are compared: a source under an arm.

    `own_retrieval`: the same question, but each student was shown what its own preset retrieved.
    """

    source: QuestionSource
    arm: Arm
    own_retrieval: bool = False

    @property
    def sentence(self) -> str:
        """What the students were shown, in words."""
        if self.own_retrieval:
            return (
                "their presets cut or retrieve differently, so each answered from what its own preset retrieved; the "
                "golden answer counts, also where retrieval missed it"
            )
        shown = {
            "main": "with the passage that holds the answer among distractors",
            "retrieved": "with what retrieval found",
            "distractors_only": "with passages that don't hold the answer, where abstaining is right",
            "closed_book": "without documents",
        }
        return f"all answered the same prompts, {shown[self.arm]}"


# those that can decide, the best first. With other chunks or distractors a main prompt is another one, and a generated
# question is about a chunk that the others don't have
DECIDING = (
    Basis("golden", "main"),
    Basis("golden", "retrieved"),
    Basis("golden", "retrieved", own_retrieval=True),
    Basis("generated", "main"),
    Basis("generated", "retrieved"),
)
SAME_PROMPTS = tuple(Basis(source, arm) for source, arm in product(SOURCES, get_args(Arm)))


@dataclass(frozen=True)
class CommonQuestions:
    """The questions of a basis that all students answered, each once.

    `clusters` are their passages, as the first student's evaluation has them; `answers` are in the same order.
    """

    basis: Basis
    clusters: Sequence[str]
    answers: Mapping[str, Sequence[ModelAnswer]]

    @property
    def count(self) -> int:
        """Number of questions."""
        return len(self.clusters)

    @property
    def sentence(self) -> str:
        """How many there are, in words."""
        whose = "of people" if self.basis.source == "golden" else "of a teacher"
        return f"{count_noun(self.count, 'question')} {whose} about {count_noun(self.passages, 'passage')}"

    @cached_property
    def passages(self) -> int:
        """Number of different passages behind them."""
        return len(set(self.clusters))

    def scores(self, student: str, metric: str) -> NDArray[np.float64]:
        """Return a student's score of every question, (n,)."""
        return np.array([_score(answer, metric) for answer in self.answers[student]], np.float64)

    def difference(self, first: str, second: str, metric: str, *, draws: int) -> Difference:
        """Return how the second student differs from the first, whole passages resampled."""
        before, after, clusters = self.scores(first, metric), self.scores(second, metric), list(self.clusters)
        interval = paired_bootstrap(before, after, clusters=clusters, draws=draws) if self.passages > 1 else None
        return Difference(
            first=first,
            second=second,
            decision=_decide(interval, self.passages),
            interval=interval,
            p_value=sign_test(before, after) if self.count else None,
            smallest_detectable=smallest_detectable(after - before, clusters) if interval else None,
            passages_needed=clusters_needed(after - before, clusters) if interval else None,
        )


@dataclass(frozen=True)
class Difference:
    """How a second student differs from a first one; shares of one. `decision` is about the second."""

    first: str
    second: str
    decision: Decision
    interval: Interval | None
    p_value: float | None
    smallest_detectable: float | None
    passages_needed: int | None  # to confirm a difference of this size


@dataclass(frozen=True)
class Comparison:
    """Two or more students on their common questions.

    `students` are their ids, of which the first is the one that the others are compared with. `best` are those of which
    none is shown to be worse than the one with the highest mean; one alone is better than every other. `others`: the
    questions of every other basis. `differences`: of each pair by the primary metric on the deciding questions.
    """

    students: Sequence[str]
    deciding: CommonQuestions
    others: Sequence[CommonQuestions]
    differences: Sequence[Difference]
    best: Sequence[str]

    @property
    def is_decided(self) -> bool:
        """Whether one student is better than every other one."""
        return len(self.best) == 1

    @property
    def has_enough(self) -> bool:
        """Whether the common questions are about enough passages for an interval to be trusted."""
        return self.deciding.passages >= MIN_CLUSTERS

    def between(self, first: str, second: str) -> Difference:
        """Return the difference of a pair of students."""
        return next(one for one in self.differences if (one.first, one.second) == (first, second))

    @property
    def closest(self) -> Difference | None:
        """The difference of the two highest means, where it is not clear which of them is better."""
        ranked = sorted(self.best, key=lambda student: -(self.mean(student) or 0.0))[:2]
        return None if self.is_decided else self.between(*(one for one in self.students if one in ranked))

    def mean(self, student: str, metric: str = PRIMARY_METRIC) -> float | None:
        """Return a student's mean on the deciding questions; None without one."""
        return float(self.deciding.scores(student, metric).mean()) if self.deciding.count else None

    def sentence(self, name_of: Mapping[str, str]) -> str:
        """Return the outcome as a sentence; `name_of`: what the reader calls a student."""
        deciding = self.deciding
        if not self.has_enough:
            return (
                f"It can't be said which student is better: {deciding.sentence} in common, and {MIN_CLUSTERS} passages "
                "are needed."
            )
        where = f"{WHOSE['golden'] if deciding.basis.source == 'golden' else 'on questions that a teacher wrote'}"
        ranked = sorted(self.students, key=lambda student: -(self.mean(student) or 0.0))
        figures = ", ".join(f"{student} {format_percent(self.mean(student))}" for student in ranked)
        told = f"{PRIMARY_NAME} on {deciding.count:,} {deciding.basis.source} questions: {figures}"
        if self.is_decided:
            others = "the other one" if len(ranked) == 2 else "every other one"
            return f"{name_of[ranked[0]]} is better than {others} {where} ({told}{self._margin(ranked)})."
        *unclear, last = (name_of[student] for student in ranked if student in self.best)
        which = f"{', '.join(unclear)} and {last}"
        return f"It is not clear which of {which} is better {where} ({told}{self._margin(ranked)})."

    def _margin(self, ranked: Sequence[str]) -> str:
        """Return the difference of two students with its interval; more of them need a table."""
        (worse, better), pair = (ranked[-1], ranked[0]), self.differences[0]
        if len(ranked) > 2 or pair.interval is None:
            return ""
        sign = 1 if (pair.first, pair.second) == (worse, better) else -1
        ends = sorted((sign * pair.interval.low, sign * pair.interval.high))
        return f"; difference {format_points(sign * pair.interval.mean)}, 95 % interval {format_interval(*ends)}"


def compare_answers(answers: Mapping[str, Sequence[RenderedAnswer]], *, draws: int) -> Comparison:
    """Compare two or more students by their answers, oldest first: of two to the same prompt the later one counts.

    Golden questions decide where the students have one in common: in the first basis of `DECIDING` with enough
    passages, else in that with most. `draws`: resamples behind an interval.
    """
    students, deciding = tuple(answers), deciding_questions(answers)
    differences = [
        deciding.difference(first, second, PRIMARY_METRIC, draws=draws) for first, second in combinations(students, 2)
    ]
    others = [_find_common(basis, answers) for basis in SAME_PROMPTS if basis != deciding.basis]
    shown = [common for common in others if common.count]
    return Comparison(students, deciding, shown, differences, _best(students, deciding, differences))


def deciding_questions(answers: Mapping[str, Sequence[RenderedAnswer]]) -> CommonQuestions:
    """Return the common questions that decide: people's where there is one, as in the verdict."""
    candidates = [_find_common(basis, answers) for basis in DECIDING]
    golden = [common for common in candidates if common.basis.source == "golden" and common.count]
    usable = golden or candidates
    enough = (common for common in usable if common.passages >= MIN_CLUSTERS)
    return next(enough, max(usable, key=lambda common: common.passages))


def differing_most(common: CommonQuestions) -> list[tuple[ModelAnswer, dict[str, tuple[ModelAnswer, float]]]]:
    """Return the questions on which the scores lie farthest apart, with every student's answer and its score.

    The question itself is that of the first student.
    """
    scores = {student: common.scores(student, PRIMARY_METRIC) for student in common.answers}
    spread = np.ptp(np.stack([*scores.values()]), axis=0) if common.count else np.array([])
    order = sorted(range(common.count), key=lambda place: (-spread[place], place))
    first = next(iter(common.answers.values()))
    return [
        (first[place], {name: (rows[place], float(scores[name][place])) for name, rows in common.answers.items()})
        for place in order[:MAX_EXAMPLES]
        if spread[place] > 0
    ]


def _find_common(basis: Basis, answers: Mapping[str, Sequence[RenderedAnswer]]) -> CommonQuestions:
    golden_of = _golden_answers(answers) if basis.own_retrieval else {}
    by_student = {student: _by_question(basis, rows, golden_of) for student, rows in answers.items()}
    first = next(iter(by_student.values()))
    shared = [name for name in first if all(name in rows for rows in by_student.values())]
    shared.sort(key=lambda name: first[name].question_id)
    once = {(_words(first[name]), first[name].cluster): name for name in reversed(shared)}
    kept = [name for name in shared if once[_words(first[name]), first[name].cluster] == name]
    return CommonQuestions(
        basis,
        [first[name].cluster for name in kept],
        {student: [rows[name] for name in kept] for student, rows in by_student.items()},
    )


def _by_question(
    basis: Basis, rows: Iterable[RenderedAnswer], golden_of: Mapping[str, Sequence[str] | None]
) -> dict[str, ModelAnswer]:
    """Return a student's answers of a basis, by what makes two questions the same."""
    found: dict[str, ModelAnswer] = {}
    for row in rows:
        answer = row.answer
        if (answer.source, answer.arm) != (basis.source, basis.arm):
            continue
        if basis.own_retrieval:
            golden = golden_of.get(_words(answer))
            if golden is not None:
                found[_words(answer)] = answer.model_copy(
                    update={"golden_answers": list(golden), "answerable": bool(golden)}
                )
        elif answer.answerable or basis.arm != PRIMARY_ARM:
            found[row.rendering] = answer
    return found


def _golden_answers(answers: Mapping[str, Sequence[RenderedAnswer]]) -> dict[str, Sequence[str] | None]:
    """Return the golden answers of people's questions, by their words, whatever was retrieved for them.

    Empty for a question that the documents don't answer; None where no evaluation shows which it is.
    """
    found: dict[str, Sequence[str] | None] = {}
    for rows in answers.values():
        for answer in (row.answer for row in rows if row.answer.source == "golden"):
            if answer.golden_answers:
                found[_words(answer)] = answer.golden_answers
            elif not answer.oracle_chunk_ids and not answer.answerable:
                found.setdefault(_words(answer), [])
    return found


def _words(answer: ModelAnswer) -> str:
    return normalize(answer.question).casefold()


def _best(students: Sequence[str], deciding: CommonQuestions, differences: Iterable[Difference]) -> list[str]:
    if not deciding.count:
        return list(students)
    leader = max(students, key=lambda student: float(deciding.scores(student, PRIMARY_METRIC).mean()))
    worse = {one.second for one in differences if one.first == leader and one.decision == "worse"}
    worse |= {one.first for one in differences if one.second == leader and one.decision == "better"}
    return [student for student in students if student not in worse]


def _decide(interval: Interval | None, passages: int) -> Decision:
    if interval is None or passages < MIN_CLUSTERS or interval.low <= 0 <= interval.high:
        return "cannot tell"
    return "better" if interval.low > 0 else "worse"


def _score(answer: ModelAnswer, metric: str) -> float:
    if metric in COMPARISONS:
        return comparison_score(answer, metric)
    is_right = answer.well_formed if metric == "well_formed" else answer.abstained != answer.answerable
    return float(answer.status == "ok" and is_right)
