"""From two models' answers to everything that is kept of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_assets.core.tables import JudgedAnswer, ModelAnswer, QuestionProvenance, Score
from raft_assets.evaluation.judged import judged_scores
from raft_assets.evaluation.metrics import score_answer
from raft_assets.evaluation.reference import reference_answers
from raft_assets.evaluation.slices import slice_scores
from raft_assets.evaluation.summary import summarize_all
from raft_assets.evaluation.verdict import Verdict, compare_students, decide_verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation; `against_previous` is None where there was no student before.

    `answers` are those of both models, and those of rules without a model (`reference`).
    """

    answers: Sequence[ModelAnswer]
    origins: Sequence[QuestionProvenance]
    scores: Sequence[Score]
    summary: pd.DataFrame
    slices: pd.DataFrame
    verdict: Verdict
    against_previous: Verdict | None


@dataclass(frozen=True)
class StudentEvaluation:
    """What a student alone answered to the questions of another's evaluation: to be compared with it, no verdict."""

    answers: Sequence[ModelAnswer]
    origins: Sequence[QuestionProvenance]
    scores: Sequence[Score]


def evaluate_student(answers: Sequence[ModelAnswer], origins: Sequence[QuestionProvenance]) -> StudentEvaluation:
    """Score the answers of a student that nothing was asked beside."""
    return StudentEvaluation(answers, origins, [score for answer in answers for score in score_answer(answer)])


def evaluate(
    answers: Sequence[ModelAnswer],
    origins: Sequence[QuestionProvenance],
    *,
    draws: int,
    guard_margin: float,
    judged: Sequence[JudgedAnswer] = (),
    scores_of_previous_student: pd.DataFrame | None = None,
) -> Evaluation:
    """Compute scores, means with intervals, slices and verdicts of baseline and student.

    `guard_margin`: see `decide_verdict`. `judged` contains the judge's ratings, empty without a judge.
    `scores_of_previous_student` has the columns of `Score`. Raises DataError if the models were asked different
    questions.
    """
    reference = reference_answers(answers)
    scored = [score for answer in (*answers, *reference) for score in score_answer(answer)] + judged_scores(judged)
    verdict = decide_verdict(
        scored,
        answers,
        draws=draws,
        guard_margin=guard_margin,
        document_of={(origin.source, origin.question_id): origin.path for origin in origins},
    )
    before = scores_of_previous_student
    path_of: Mapping[str, str] = {
        origin.question_id: origin.path for origin in origins if origin.source == verdict.slice
    }
    return Evaluation(
        answers=[*answers, *reference],
        origins=origins,
        scores=scored,
        summary=summarize_all(scored, answers, draws=draws),
        slices=slice_scores(scored, answers, source=verdict.slice, path_of=path_of),
        verdict=verdict,
        against_previous=None
        if before is None or before.empty
        else compare_students(before, scored, answers, draws=draws, guard_margin=guard_margin),
    )
