"""The page of a comparison: two or more students of a domain side by side, in the style of the report.

What belongs here: what the page shows, in which order and words. Every text is escaped by the templates; the page has
no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from raft_assets.evaluation.comparison import (
    METRICS_COMPARED,
    Basis,
    CommonQuestions,
    Comparison,
    Difference,
    differing_most,
)
from raft_assets.evaluation.pages import render_page
from raft_assets.evaluation.plots import interval_bars
from raft_assets.evaluation.verdict import MIN_CLUSTERS, PRIMARY_METRIC, PRIMARY_NAME
from raft_assets.evaluation.wording import (
    count_noun,
    format_dollars,
    format_interval,
    format_percent,
    format_points,
)

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_TABLE = "comparison"  # the folder of the pages in the lake
UNKNOWN = "unknown"
METRIC_TITLES = {
    "token_f1": "Token F1",
    "exact_match": "Exact match",
    "abstained_right": "Abstained where right, answered where not",
    "well_formed": "Well formed",
}
ARM_TITLES = {
    "main": "with the passage among distractors",
    "retrieved": "with what retrieval found",
    "distractors_only": "with distractors only: abstaining is right",
    "closed_book": "without documents",
}


@dataclass(frozen=True)
class ServingFigures:
    """What answers to the common questions took.

    `calls` are those whose record is still stored. `dollars`: US dollars for a thousand answers, None where the price
    isn't known. Seconds from request to answer: of half of the calls at most, and of nine in ten; None without a call
    that was timed, as in a batch. `training`: US dollars, None where they aren't known.
    """

    calls: int
    dollars: float | None
    median_s: float | None
    slow_s: float | None
    training: float | None


@dataclass(frozen=True)
class ComparedStudent:
    """A student as people tell it from others; `id` is what commands take. Texts are empty where nothing is known."""

    id: str
    model: str
    service: str
    base_model: str
    preset: str
    evaluated: datetime | None
    figures: ServingFigures

    @property
    def name(self) -> str:
        """The id with the base model."""
        return f"{self.id} ({self.base_model})" if self.base_model else self.id


@dataclass(frozen=True)
class ComparisonData:
    """Everything that the page shows.

    `settings`: those that differ, each with its values in the order of the students. `left_out`: students that are not
    compared, with the reason and the command that would help, empty where none does. `next_steps`: sentences.
    """

    domain: str
    students: Sequence[ComparedStudent]
    comparison: Comparison
    draws: int
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: Sequence[tuple[str, str, str]] = ()
    next_steps: Sequence[str] = ()

    @property
    def names(self) -> dict[str, str]:
        """What the page calls each student, by its id."""
        return {student.id: student.name for student in self.students}

    @property
    def sentence(self) -> str:
        """The outcome."""
        return self.comparison.sentence(self.names)

    @property
    def decision(self) -> str:
        """The outcome in two words at most."""
        return "better" if self.comparison.has_enough and self.comparison.is_decided else "cannot tell"


def render_comparison(data: ComparisonData) -> str:
    """Render the page of a comparison: the common questions first, then the students, then the evidence."""
    comparison, deciding = data.comparison, data.comparison.deciding
    plot = None
    if deciding.count:
        first = data.students[0]
        names = ("first", "student")
        title = f"{PRIMARY_NAME[0].upper()}{PRIMARY_NAME[1:]}, and the difference from {first.id}"
        plot = interval_bars(_plotted(data), title=title, metric=PRIMARY_METRIC, names=names)
    return render_page(
        "comparison.html",
        data=data,
        common=deciding.sentence,
        basis=deciding.basis.sentence,
        students=[_student_row(data, student) for student in data.students],
        plot=Markup(plot) if plot else None,  # noqa: S704 - drawn here, with the texts in it escaped
        pairs=[_pair_row(data.names, one) for one in comparison.differences],
        by_chance=len(comparison.differences) if len(comparison.differences) > 1 else 0,
        metrics=[_metric_row(data, deciding, metric, METRIC_TITLES[metric]) for metric in METRICS_COMPARED],
        bases=[_metric_row(data, common, PRIMARY_METRIC, _basis_title(common.basis)) for common in comparison.others],
        examples=differing_most(deciding),
        least=MIN_CLUSTERS,
    )


def describe_figures(figures: ServingFigures) -> dict[str, str]:
    """Return price and time as people read them."""
    times = [figures.median_s, figures.slow_s]
    return {
        "dollars": UNKNOWN if figures.dollars is None else format_dollars(figures.dollars),
        "seconds": " / ".join(f"{time:.2f}" for time in times if time is not None) or UNKNOWN,
        "training": UNKNOWN if figures.training is None else format_dollars(figures.training),
    }


def _student_row(data: ComparisonData, student: ComparedStudent) -> dict[str, Any]:
    first = data.students[0]
    change = None if student is first else data.comparison.between(first.id, student.id)
    return {
        "student": student,
        "score": format_percent(data.comparison.mean(student.id)),
        "change": _change(change),
        "direction": _direction(change),
        **describe_figures(student.figures),
    }


def _pair_row(names: Mapping[str, str], one: Difference) -> dict[str, str]:
    return {
        "first": names[one.first],
        "second": names[one.second],
        "change": _change(one),
        "direction": _direction(one),
        "decision": one.decision,
        "p_value": "–" if one.p_value is None else "< 0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}",
        "detectable": format_percent(one.smallest_detectable),
    }


def _metric_row(data: ComparisonData, common: CommonQuestions, metric: str, title: str) -> dict[str, Any]:
    """Return every student's mean, and how it differs from the first one's."""
    first, *others = (student.id for student in data.students)
    changes = [common.difference(first, student, metric, draws=data.draws) for student in others]
    return {
        "title": title,
        "n": f"{common.count:,}",
        "passages": f"{common.passages:,}",
        "cells": [
            {
                "score": format_percent(float(common.scores(student, metric).mean()) if common.count else None),
                "change": _change(change),
                "direction": _direction(change),
            }
            for student, change in zip((first, *others), (None, *changes), strict=True)
        ],
    }


def _basis_title(basis: Basis) -> str:
    whose = "people's questions" if basis.source == "golden" else "generated questions"
    return f"{whose.capitalize()}, {ARM_TITLES[basis.arm]}"


def _change(one: Difference | None) -> str:
    if one is None:
        return ""
    if one.interval is None:
        return "not measured"
    return f"{format_points(one.interval.mean)} ({format_interval(one.interval.low, one.interval.high)})"


def _direction(one: Difference | None) -> str:
    return "" if one is None else {"better": "up", "worse": "down"}.get(one.decision, "")


def _plotted(data: ComparisonData) -> pd.DataFrame:
    """Return the students but the first one as rows of a summary, with their differences from it."""
    import pandas as pd

    comparison, first = data.comparison, data.students[0].id
    rows = []
    for student in data.students[1:]:
        interval = comparison.between(first, student.id).interval
        before, after = comparison.mean(first), comparison.mean(student.id)
        assert before is not None  # nothing is plotted without a question
        assert after is not None
        rows.append(
            {
                "source": comparison.deciding.basis.source,
                "arm": comparison.deciding.basis.arm,
                "metric": PRIMARY_METRIC,
                "label": student.id,
                "baseline": before,
                "student": after,
                "difference": after - before,
                "low": interval.low if interval else float("nan"),
                "high": interval.high if interval else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def describe_needed(data: ComparisonData) -> str:
    """Return how many more passages with questions would settle which of the best students is better, if any."""
    closest = data.comparison.closest
    needed = closest.passages_needed if closest else None
    more = max(needed or 0, MIN_CLUSTERS) - data.comparison.deciding.passages
    if closest is None or more <= 0:
        return ""
    return f"questions about {count_noun(more, 'more passage')} would be enough to confirm a difference of this size"
