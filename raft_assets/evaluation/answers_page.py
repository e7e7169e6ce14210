"""The page of answers beside the report: every question under every arm with both models' answers.

All rows are in the HTML, escaped as in the report. Its script filters, sorts and searches what is there, and makes no
markup of any text; without it the page is a plain list. What belongs here: which rows, in which order, and what can be
filtered.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from raft_assets.core.tables import Arm, ModelAnswer, QuestionSource, RobustnessArm
from raft_assets.evaluation.examples import AnswerPair, Excerpt, pair_answers, split_answer
from raft_assets.evaluation.pages import inline, render_page
from raft_assets.evaluation.summary import SOURCES

ANSWERS_TABLE = "eval_answers"  # the folder of the pages in the lake
MAX_ROWS = 5_000  # of a page: that many open within 2 s and are about 10 MB; DuckDB has the rest
ALL_ARMS: tuple[str, ...] = (*get_args(Arm), *get_args(RobustnessArm))

Outcome = Literal["right", "partly", "wrong"]
Change = Literal["gained", "lost", "reworded", "same"]
OUTCOMES: Mapping[Outcome, str] = {"right": "right", "partly": "partly right", "wrong": "wrong"}
CHANGES: Mapping[str, str] = {
    "changed": "changed in any way",
    "gained": "the student gained",
    "lost": "the student lost",
    "reworded": "other words, the same score",
    "same": "the same answer",
}


@dataclass(frozen=True)
class GivenAnswer:
    """A model's answer: `final`, empty where the tag is missing, and its token F1, a share of one."""

    final: str
    reasoning: Excerpt
    value: float
    outcome: Outcome
    status: str


@dataclass(frozen=True)
class AnswerRow:
    """A question under an arm with both answers. `document` is empty where it isn't known."""

    question: str
    source: QuestionSource
    arm: str
    kind: str
    document: str
    golden_answers: tuple[str, ...]
    baseline: GivenAnswer
    student: GivenAnswer
    change: Change

    @property
    def gain(self) -> int:
        """How much the student gained, in points of a hundred."""
        return round((self.student.value - self.baseline.value) * 100)


@dataclass(frozen=True)
class Filter:
    """What rows can be chosen by: the name of a field of theirs, and its values with their words."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]


def render_answers(
    domain: str,
    answers: Sequence[ModelAnswer],
    document_of: Mapping[tuple[QuestionSource, str], str],
    *,
    first: QuestionSource,
) -> str:
    """Render the page of a domain.

    `document_of`: paths by source and id of a question. `first`: whose questions stand first, those that decide.
    """
    pairs = sorted(pair_answers(answers), key=lambda pair: _rank(pair, first))
    rows = [_row(pair, document_of) for pair in pairs[:MAX_ROWS]]
    documents = sorted({row.document for row in rows})
    return render_page(
        "answers.html",
        script=inline("answers.js"),
        domain=domain,
        rows=rows,
        left_out=len(pairs) - len(rows),
        models={answer.evaluated: answer.model for answer in answers},
        number_of={path: number for number, path in enumerate(documents)},
        filters=_filters(rows, documents),
    )


def _rank(pair: AnswerPair, first: QuestionSource) -> tuple[object, ...]:
    """Return what the rows are sorted by: the questions that decide first, there the largest changes."""
    asked = pair.student
    return (asked.source != first, ALL_ARMS.index(asked.arm), -abs(pair.change), asked.question_id)


def _row(pair: AnswerPair, document_of: Mapping[tuple[QuestionSource, str], str]) -> AnswerRow:
    asked = pair.student
    return AnswerRow(
        question=asked.question,
        source=asked.source,
        arm=asked.arm,
        kind=asked.kind,
        document=document_of.get((asked.source, asked.question_id), ""),
        golden_answers=tuple(asked.golden_answers),
        baseline=_given(pair.baseline, pair.before),
        student=_given(pair.student, pair.after),
        change=_change(pair),
    )


def _given(answer: ModelAnswer, value: float) -> GivenAnswer:
    outcome: Outcome = "right" if value == 1 else "wrong" if value == 0 else "partly"
    return GivenAnswer(answer.final_answer, split_answer(answer.answer).reasoning, value, outcome, answer.status)


def _change(pair: AnswerPair) -> Change:
    if pair.change:
        return "gained" if pair.change > 0 else "lost"
    return "same" if pair.baseline.final_answer == pair.student.final_answer else "reworded"


def _filters(rows: Sequence[AnswerRow], documents: Sequence[str]) -> list[Filter]:
    """Return what the rows can be chosen by; options without a row are left out."""

    def counted(values: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
        counts = Counter(values)
        return [(name, f"{name.replace('_', ' ')} ({counts[name]:,})") for name in names if counts[name]]

    kinds = sorted({row.kind for row in rows})
    of_document = Counter(row.document for row in rows)
    return [
        Filter("source", "Questions", counted((row.source for row in rows), SOURCES)),
        Filter("arm", "Arm", counted((row.arm for row in rows), ALL_ARMS)),
        Filter("kind", "Type", counted((row.kind for row in rows), kinds)),
        Filter(
            "document",
            "Document",
            [
                (str(number), f"{path or '(not known)'} ({of_document[path]:,})")
                for number, path in enumerate(documents)
            ],
        ),
        Filter("baseline", "Baseline", list(OUTCOMES.items())),
        Filter("student", "Student", list(OUTCOMES.items())),
        Filter("change", "Change", list(CHANGES.items())),
    ]
