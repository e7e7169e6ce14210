"""Scores of two models, paired and summed up: the one table that report, results store and catalog show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Arm, ModelAnswer, Score
from raft_assets.evaluation.metrics import METRICS, PARTIAL_METRICS
from raft_assets.evaluation.statistics import bootstrap_columns, bootstrap_ratio
from raft_assets.evaluation.wording import count_noun

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("golden", "generated")  # in the order in which people should read them
ARMS: tuple[str, ...] = get_args(Arm)
ABSTAINING_ARMS = ("main", "retrieved", "distractors_only")  # those that show documents
ARMS_WITH_DOCUMENTS = "with documents"  # these together
QUESTION_COLUMNS = ["source", "arm", "question_id"]
SUMMARY_COLUMNS = [
    *("source", "arm", "metric", "n", "clusters", "baseline", "student", "difference", "low", "high"),
    "reference",  # the mean of rules without a model, on the same questions; NaN where they weren't asked
]


def score_frame(scores: Iterable[Score] | pd.DataFrame) -> pd.DataFrame:
    """Return the scores as a frame with the columns of `Score`."""
    import pandas as pd

    if isinstance(scores, pd.DataFrame):
        return scores
    return pd.DataFrame([score.model_dump() for score in scores], columns=list(Score.model_fields))


def pair_scores(scores: Iterable[Score] | pd.DataFrame) -> pd.DataFrame:
    """Return one row per question and metric that both models were scored on.

    Columns: source, arm, question_id, metric, cluster, baseline, student, reference (NaN where rules without a model
    have no score). Raises DataError if the two models were asked
    different questions, because their means could not be compared.
    """
    frame = score_frame(scores)
    keys = [*QUESTION_COLUMNS, "metric", "cluster"]
    wide = (
        frame.pivot(index=keys, columns="evaluated", values="value")  # noqa: PD010 - pivot raises for duplicates, which pivot_table averages
        .reindex(columns=["baseline", "student", "reference"])
        .reset_index()
    )
    wide.columns.name = None
    alone = wide[wide[["baseline", "student"]].isna().any(axis=1) & ~wide["metric"].isin(PARTIAL_METRICS)]
    if not alone.empty:
        questions = alone[QUESTION_COLUMNS].drop_duplicates()
        arm, question = questions.iloc[0]["arm"], questions.iloc[0]["question_id"]
        raise DataError(
            f"{count_noun(len(questions), 'question')} answered by only one of the models, such as {question} "
            f"({arm}). Materialize baseline_answers and student_answers again."
        )
    return wide.dropna(subset=["baseline", "student"]).reset_index(drop=True)


def summarize(scores: Iterable[Score] | pd.DataFrame, *, draws: int, seed: int = 0) -> pd.DataFrame:
    """Return one row per source, arm and metric: means over the pairs, and the 95 % interval of their difference.

    Columns: `SUMMARY_COLUMNS`; `low` and `high` are NaN below two clusters. Metrics of quotes, and those that are
    judged, count the questions on which both models have one.
    """
    import pandas as pd

    pairs = pair_scores(scores)
    rows = [
        (source, arm, *row)
        for (source, arm), group in pairs.groupby(["source", "arm"], sort=False)
        for metrics in _group_by_questions(group)
        for row in _compare_metrics(group[group["metric"].isin(metrics)], draws, seed)
    ]
    return sort_for_display(pd.DataFrame(rows, columns=SUMMARY_COLUMNS))


def _group_by_questions(pairs: pd.DataFrame) -> list[list[str]]:
    """Group metrics that were measured on the same questions, so that they can be resampled together."""
    groups: dict[frozenset[str], list[str]] = {}
    for metric, of_metric in pairs.groupby("metric"):
        groups.setdefault(frozenset(of_metric["question_id"]), []).append(str(metric))
    return list(groups.values())


def _compare_metrics(pairs: pd.DataFrame, draws: int, seed: int) -> list[tuple[object, ...]]:
    """Return the columns from `metric` on, of metrics that were measured on the same questions."""
    index = ["question_id", "cluster"]
    wide = pairs.pivot(index=index, columns="metric", values=["baseline", "student", "reference"])  # noqa: PD010 - as in `pair_scores`
    baseline, student = wide["baseline"], wide["student"]
    clusters = wide.index.get_level_values("cluster").tolist()
    count = len(set(clusters))
    limits = [(math.nan, math.nan)] * len(baseline.columns)
    if count > 1:
        intervals = bootstrap_columns((student - baseline).to_numpy(), clusters=clusters, draws=draws, seed=seed)
        limits = [(interval.low, interval.high) for interval in intervals]
    means = {metric: (float(baseline[metric].mean()), float(student[metric].mean())) for metric in baseline.columns}
    rules = {metric: float(wide["reference"][metric].mean()) for metric in baseline.columns}
    return [
        (metric, len(wide), count, before, after, after - before, low, high, rules[metric])
        for (metric, (before, after)), (low, high) in zip(means.items(), limits, strict=True)
    ]


def summarize_all(scores: Iterable[Score], answers: Iterable[ModelAnswer], *, draws: int) -> pd.DataFrame:
    """Return the scores of the arms and the figures of abstention in one table.

    See `summarize` and `summarize_abstention`. The arms of robustness are not included: they repeat some of the main
    arm's questions.
    """
    import pandas as pd

    frame = score_frame(scores)
    tables = [summarize(frame[frame["arm"].isin(ARMS)], draws=draws), summarize_abstention(answers, draws=draws)]
    return pd.concat([table for table in tables if not table.empty] or tables[:1], ignore_index=True)


def summarize_abstention(answers: Iterable[ModelAnswer], *, draws: int, seed: int = 0) -> pd.DataFrame:
    """Return the precision and recall of abstention, one row per source and metric, over the arms that show documents.

    Precision: how often an abstention was right. Recall: how many of the questions that no shown document answers were
    abstained from. Columns: `SUMMARY_COLUMNS`. A model that never abstained has no precision: NaN.
    """
    import pandas as pd

    asked = pd.DataFrame(
        [
            (a.source, a.arm, a.question_id, a.cluster, not a.answerable, a.evaluated, a.status == "ok" and a.abstained)
            for a in answers
            if a.arm in ABSTAINING_ARMS
        ],
        columns=["source", "arm", "question_id", "cluster", "is_right", "evaluated", "abstained"],
    )
    keys = ["source", "arm", "question_id", "cluster", "is_right"]
    wide = asked.pivot(index=keys, columns="evaluated", values="abstained")  # noqa: PD010 - as in `pair_scores`
    wide = wide.reindex(columns=["baseline", "student"]).dropna().astype(float).reset_index()
    rows = [row for source, of in wide.groupby("source") for row in _abstention_rows(str(source), of, draws, seed)]
    return sort_for_display(pd.DataFrame(rows, columns=SUMMARY_COLUMNS))


def _abstention_rows(source: str, asked: pd.DataFrame, draws: int, seed: int) -> Iterator[tuple[object, ...]]:
    abstained = asked[["baseline", "student"]].to_numpy(float)
    is_right = np.repeat(asked["is_right"].to_numpy(float)[:, None], 2, axis=1)
    clusters = asked["cluster"].tolist()
    count = len(set(clusters))
    for metric, among in (("abstention_precision", abstained), ("abstention_recall", is_right)):
        with np.errstate(invalid="ignore"):
            before, after = (abstained * is_right).sum(axis=0) / among.sum(axis=0)
        interval = None
        if count > 1:
            interval = bootstrap_ratio(abstained * is_right, among, clusters=clusters, draws=draws, seed=seed)
        limits = (interval.low, interval.high) if interval else (math.nan, math.nan)
        yield (source, ARMS_WITH_DOCUMENTS, metric, len(asked), count, before, after, after - before, *limits, math.nan)


def sort_for_display(summary: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows for people: golden first, then by arm, then the metrics that matter most."""
    rank = {
        name: position
        for names in (SOURCES, (*ARMS, ARMS_WITH_DOCUMENTS), METRICS)
        for position, name in enumerate(names)
    }
    return summary.sort_values(
        ["source", "arm", "metric"], key=lambda column: column.map(rank), kind="stable"
    ).reset_index(drop=True)
