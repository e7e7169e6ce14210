"""The first screen of the report: what a decision needs, and what to do next.

What belongs here: which facts, in which words. Everything behind them is further down on the page.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from raft_assets.core.tables import QuestionSource
from raft_assets.evaluation.verdict import (
    MIN_CLUSTERS,
    PRIMARY_ARM,
    PRIMARY_NAME,
    Verdict,
    describe_briefly,
    find_suggestion,
)
from raft_assets.evaluation.wording import (
    count_noun,
    format_dollars,
    format_duration,
    format_interval,
    format_percent,
    format_points,
)

if TYPE_CHECKING:
    import pandas as pd

ASKED_BY: Mapping[QuestionSource, str] = {
    "golden": "that people wrote",
    "generated": "that the student's own teacher wrote",
}
Target = Literal["", "use", "answers", "lost"]  # what a step leads to: parts of the report, or the page of answers


@dataclass(frozen=True)
class Bill:
    """What the run cost that made the evaluation, and how long it took from its first call to its scores.

    `dollars` is None where a price is unknown, `seconds` where the run made no call. `behind` are the dollars of all
    calls behind the evaluation, whenever they were made; None likewise. The estimates are those made before the run,
    None where there was none.
    """

    calls: int
    dollars: float | None
    seconds: float | None
    behind: float | None
    estimated_dollars: tuple[float, float] | None
    estimated_seconds: float | None


@dataclass(frozen=True)
class NextStep:
    """What the reader can do, and where to."""

    text: str
    target: Target


@dataclass(frozen=True)
class Headline:
    """The first screen: `statement` is the decision in words, `facts` are short texts by what they say."""

    statement: str
    difference: str
    interval: str
    change: str
    facts: Mapping[str, str]
    steps: tuple[NextStep, ...]


def build_headline(
    verdict: Verdict,
    summary: pd.DataFrame,
    *,
    models: str,
    bill: Bill | None,
    recorded_at: datetime | None,
    against_previous: Mapping[str, Any] | None,
) -> Headline:
    """Build the first screen; `models` says which two are compared, `summary` has the columns of `SUMMARY_COLUMNS`."""
    interval = verdict.interval
    return Headline(
        statement=describe_briefly(verdict),
        difference=format_points(interval.mean) if interval else "–",
        interval=f"points, 95 % interval {format_interval(interval.low, interval.high)}" if interval else "no interval",
        change=f"{PRIMARY_NAME} {format_percent(verdict.baseline)} → {format_percent(verdict.student)}",
        facts=dict(
            _facts(
                verdict,
                summary,
                models=models,
                bill=bill,
                recorded_at=recorded_at,
                against_previous=against_previous,
            )
        ),
        steps=tuple(_steps(verdict)),
    )


def _facts(
    verdict: Verdict,
    summary: pd.DataFrame,
    *,
    models: str,
    bill: Bill | None,
    recorded_at: datetime | None,
    against_previous: Mapping[str, Any] | None,
) -> Iterator[tuple[str, str]]:
    documents = f" of {count_noun(verdict.documents, 'document')}" if verdict.documents else ""
    asked = f"{count_noun(verdict.n, 'question')} {ASKED_BY[verdict.slice]}"
    yield "Questions", f"{asked}, about {count_noun(verdict.clusters, 'passage')}{documents}"
    yield "Models", models
    deciding = _row(summary, verdict.slice, verdict.metric)
    if deciding is not None and not math.isnan(deciding["reference"]):
        yield "No model", f"{format_percent(deciding['reference'])} by rules without a model"
    for source, asked_by in ASKED_BY.items():
        other = None if source == verdict.slice else _row(summary, source, verdict.metric)
        if other is not None:
            yield "Not decisive", f"{_describe_difference(other)} on {count_noun(other['n'], 'question')} {asked_by}"
    if against_previous:
        yield "Before", str(against_previous["sentence"]).partition(":")[0]
    if bill:
        yield "Cost", _describe_cost(bill)
        yield "Time", _describe_time(bill)
    if recorded_at:
        yield "Evaluated", f"{recorded_at:%Y-%m-%d %H:%M} UTC"


def _row(summary: pd.DataFrame, source: str, metric: str) -> dict[Hashable, Any] | None:
    rows = summary[(summary["source"] == source) & (summary["arm"] == PRIMARY_ARM) & (summary["metric"] == metric)]
    return None if rows.empty else rows.to_dict("records")[0]


def _describe_difference(row: Mapping[Hashable, Any]) -> str:
    interval = "" if math.isnan(row["low"]) else f" ({format_interval(row['low'], row['high'])})"
    return f"{format_points(row['difference'])}{interval}"


def _describe_cost(bill: Bill) -> str:
    if not bill.calls:
        told = "no call was made in this run"
    elif bill.dollars is None:
        told = "unknown: a price is missing"
    else:
        told = f"US$ {format_dollars(bill.dollars)}" if bill.dollars else "nothing"
    if bill.estimated_dollars:
        ends = dict.fromkeys(map(format_dollars, bill.estimated_dollars))
        told += f", estimated {'–'.join(ends)}"
    if bill.behind is not None and bill.dollars is not None and bill.behind > bill.dollars:
        told += f"; with earlier runs {format_dollars(bill.behind)}"
    return told


def _describe_time(bill: Bill) -> str:
    told = "–" if bill.seconds is None else f"{format_duration(bill.seconds)} from the first call to the scores"
    return told if bill.estimated_seconds is None else f"{told}, estimated {format_duration(bill.estimated_seconds)}"


def _steps(verdict: Verdict) -> Iterator[NextStep]:
    """Yield what to do next, in the reader's terms."""
    suggestion = find_suggestion(verdict)
    if suggestion:
        yield NextStep(f"{suggestion[:1].upper()}{suggestion[1:]}.", "")
    elif not verdict.n:
        yield NextStep(f"Write questions about at least {MIN_CLUSTERS} passages into questions.jsonl.", "")
    if verdict.decision == "better" and verdict.slice == "golden":
        yield NextStep("Use the student.", "use")
    elif verdict.decision == "better":
        write = f"write questions about at least {MIN_CLUSTERS} passages into questions.jsonl"
        yield NextStep(f"Before you rely on it, {write}: people ask otherwise than its teacher.", "")
        yield NextStep("Try the student.", "use")
    elif verdict.decision == "worse":
        yield NextStep("Keep the baseline, and read where the student lost.", "lost")
    elif verdict.n:
        yield NextStep("Read where the student lost.", "lost")
