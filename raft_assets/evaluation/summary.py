"""Scores of two models, paired and summed up: the one table that report, results store and catalog show."""

import math
from collections.abc import Iterable
from typing import get_args

import pandas as pd

from raft_assets.errors import DataError
from raft_assets.evaluation.metrics import METRICS, QUOTE_METRICS
from raft_assets.evaluation.statistics import paired_bootstrap
from raft_assets.evaluation.wording import counted
from raft_assets.raft.tables import Arm, Score

SOURCES = ("golden", "generated")  # in the order in which people should read them
ARMS: tuple[str, ...] = get_args(Arm)
QUESTION = ["source", "arm", "question_id"]
COLUMNS = ["source", "arm", "metric", "n", "clusters", "baseline", "student", "difference", "low", "high"]


def score_frame(scores: Iterable[Score] | pd.DataFrame) -> pd.DataFrame:
    """The scores as a frame with the columns of `Score`."""
    if isinstance(scores, pd.DataFrame):
        return scores
    return pd.DataFrame([score.model_dump() for score in scores], columns=list(Score.model_fields))


def pair(scores: Iterable[Score] | pd.DataFrame) -> pd.DataFrame:
    """One row per question and metric that both models were scored on: source, arm, question_id, metric, cluster,
    baseline, student.

    Raises DataError where the two models were asked different questions: their means could not be compared.
    """
    frame = score_frame(scores)
    keys = [*QUESTION, "metric", "cluster"]
    wide = (
        frame.pivot(index=keys, columns="evaluated", values="value")
        .reindex(columns=["baseline", "student"])
        .reset_index()
    )
    wide.columns.name = None
    alone = wide[wide[["baseline", "student"]].isna().any(axis=1) & ~wide["metric"].isin(QUOTE_METRICS)]
    if not alone.empty:
        questions = alone[QUESTION].drop_duplicates()
        arm, question = questions.iloc[0]["arm"], questions.iloc[0]["question_id"]
        raise DataError(
            f"{counted(len(questions), 'question')} answered by only one of the models, such as {question} ({arm}). "
            "Materialize baseline_answers and student_answers again."
        )
    return wide.dropna(subset=["baseline", "student"]).reset_index(drop=True)


def summarize(scores: Iterable[Score] | pd.DataFrame, *, draws: int, seed: int = 0) -> pd.DataFrame:
    """One row per source, arm and metric, means over the pairs and the 95 % interval of their difference; columns:
    `COLUMNS`.

    `low` and `high` are NaN below two clusters. Metrics of quotes count the questions on which both models quoted.
    """
    rows = []
    for (source, arm, metric), group in pair(scores).groupby(["source", "arm", "metric"], sort=False):
        clusters = group["cluster"].nunique()
        low = high = math.nan
        if clusters > 1:
            interval = paired_bootstrap(
                group["baseline"], group["student"], clusters=group["cluster"].tolist(), draws=draws, seed=seed
            )
            low, high = interval.low, interval.high
        baseline, student = float(group["baseline"].mean()), float(group["student"].mean())
        rows.append((source, arm, metric, len(group), clusters, baseline, student, student - baseline, low, high))
    return in_order(pd.DataFrame(rows, columns=COLUMNS))


def in_order(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order in which people read them: golden first, then by arm, then the metrics that matter most."""
    rank = {name: position for names in (SOURCES, ARMS, METRICS) for position, name in enumerate(names)}
    return summary.sort_values(
        ["source", "arm", "metric"], key=lambda column: column.map(rank), kind="stable"
    ).reset_index(drop=True)
