"""The report: one HTML page per domain, and the index over all of them.

What belongs here: what the page shows, in which order and words; the first screen is `headline`'s, the page of all
answers beside it `answers_page`'s. `templates/` contain how it looks. Everything is escaped by the templates; equal
data give the same bytes, so nothing here reads the clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from raft_assets.core.prompt_contract import CONTRACT_VERSION
from raft_assets.core.tables import ModelAnswer, QuarantinedFile, QuestionSource
from raft_assets.evaluation.answers_page import ANSWERS_TABLE
from raft_assets.evaluation.examples import NO_QUESTION, Group, Sample, choose_examples, question_key
from raft_assets.evaluation.headline import Bill, build_headline
from raft_assets.evaluation.judged import Agreement
from raft_assets.evaluation.metrics import COMPARISONS, METRICS, METRICS_VERSION, NON_SHARE_METRICS, OVERALL_METRICS
from raft_assets.evaluation.pages import render_page
from raft_assets.evaluation.plots import histogram, interval_bars, line
from raft_assets.evaluation.slices import SLICE_TITLES
from raft_assets.evaluation.statistics import CONFIDENCE, Interval
from raft_assets.evaluation.summary import ARMS, SOURCES
from raft_assets.evaluation.verdict import PRIMARY_ARM, PRIMARY_METRIC, Verdict, describe_failures
from raft_assets.evaluation.wording import (
    count_noun,
    format_interval,
    format_percent,
    format_points,
    format_signed,
)
from raft_assets.llm.requests import UsageStats
from raft_assets.student.use import StudentUse

if TYPE_CHECKING:
    import pandas as pd

REPORT_VERSION = "4"

ARM_TITLES = {
    "main": "Main: the document with the answer among distractors",
    "retrieved": "Retrieved: the nearest passages of the domain",
    "distractors_only": "Distractors only: abstaining is right",
    "closed_book": "Closed book: no documents",
}
METRIC_TITLES = {
    "token_f1": "Token F1",
    "exact_match": "Exact match",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "abstained_right": "Abstained rightly",
    "abstention_precision": "Abstention precision",
    "abstention_recall": "Abstention recall",
    "well_formed": "Well formed",
    "quote_verbatim": "Quotes verbatim",
    "quote_from_oracle": "Quotes from oracle",
    "groundedness": "Groundedness, judged",
    "relevance": "Relevance, judged",
    "coherence": "Coherence, judged",
    "fluency": "Fluency, judged",
    "similarity": "Similarity, judged",
    "answer_words": "Words of the answer",
}
# metrics that repeat another one in an arm: where no document holds the answer, abstaining is all that counts, and
# without documents there is nothing to abstain from
REPEATED = {"distractors_only": set(COMPARISONS), "closed_book": {"abstained_right"}}
GUARD_TITLES = {"format": "Format", "abstention": "Abstention"}
MODELS = ("baseline", "student")
MAX_ROWS = 200  # of a list that grows with the corpus; the lake holds the rest
MAX_RUNS = 30
MAX_BARS = 8  # of a plot by slices
# what an embedded model is, so that nobody takes it for a language model
EMBEDDED_MODEL_NOTES = {"TEACHER": "rules, not a language model", "EMBEDDING": "sentence encoder on the CPU"}
READER_NOTE = "extractive reader, not a language model"


@dataclass(frozen=True)
class EstimateComparison:
    """The estimate of an asset's calls to a role before they were made, least and most, and the actual figures.

    Dollars are None where the price is unknown.
    """

    asset: str
    role: str
    calls: tuple[int, int]
    dollars: tuple[float, float] | None
    asked: int
    paid: float | None

    @property
    def is_inside(self) -> bool | None:
        """Whether the bill is in the range, of what costs nothing the calls; None where either is unknown."""
        if self.dollars is None or self.paid is None:
            return None
        if self.paid or any(self.dollars):
            return self.dollars[0] <= self.paid <= self.dollars[1]
        # a training that costs nothing is no entry of the call store
        return None if self.asset == "finetuned_model" else self.calls[0] <= self.asked <= self.calls[1]


@dataclass(frozen=True)
class JudgeSummary:
    """The judge's results: answers times metrics, those without a score by reason, and its agreement with itself.

    `doubt` is a warning about the judge, empty where there is none.
    """

    rows: int
    without_score: Mapping[str, int]
    agreement: Sequence[Agreement]
    doubt: str


@dataclass(frozen=True)
class SplitCounts:
    """Size of a split: rows, those that keep their oracle document, and the groups that never cross splits.

    `kinds`: rows by question type, the most frequent first.
    """

    rows: int
    with_oracle: int
    units: int
    kinds: Mapping[str, int]


@dataclass(frozen=True)
class DocumentCounts:
    """What was made of a document; `pairs` are the accepted ones."""

    path: str
    chunks: int
    tokens: int
    pairs: int


@dataclass(frozen=True)
class ReportData:
    """Everything that the page of a domain shows.

    `documents` are counts by what is counted. `pairs_per_chunk` counts the accepted pairs of every chunk. `gates` count
    QA pairs by reason code, the accepted ones under "accepted"; `gate_meanings` explain the codes, `rejected` are
    samples by code. `split_notes` say how the splits were made. `models` are labels by role; that of an embedded model
    begins with "embedded". `settings` are value and source by dotted name. `loss` are (step, training, validation).
    `calls` are those behind each table, whenever they were made. `history` is the results store's, of the primary
    metric. `recall_at_k` is that of the retrieved arm by source of the question. `slices` have the columns of
    `SLICE_COLUMNS`. `judged` is None without a judge. `estimated` is empty where no estimate was made.
    `against_previous` is the results store's comparison with the previous student, None where there was none.
    `compared` says in words which models are compared, `bill` what the run cost that made the evaluation, `recorded_at`
    when. `use` is how the student is asked. `document_of` has paths by source and id of a question.
    """

    domain: str
    verdict: Verdict
    summary: pd.DataFrame
    answers: Sequence[ModelAnswer]
    recall_at_k: Mapping[str, float]
    documents: Mapping[str, int]
    quarantine: Sequence[QuarantinedFile]
    chunk_tokens: Sequence[int]
    document_counts: Sequence[DocumentCounts]
    pairs_per_chunk: Sequence[int]
    rejected: Mapping[str, Sequence[Sample]]
    samples: Sequence[Sample]
    gates: Mapping[str, int]
    gate_meanings: Mapping[str, str]
    splits: Mapping[str, SplitCounts]
    split_notes: Mapping[str, str]
    models: Mapping[str, str]
    hashes: Mapping[str, str]
    settings: Mapping[str, tuple[str, str]]
    loss: Sequence[tuple[int, float | None, float | None]]
    calls: Mapping[str, UsageStats]
    history: pd.DataFrame
    slices: pd.DataFrame
    against_previous: Mapping[str, Any] | None
    judged: JudgeSummary | None
    estimated: Sequence[EstimateComparison]
    compared: str
    bill: Bill | None
    recorded_at: datetime | None
    use: StudentUse | None
    document_of: Mapping[tuple[QuestionSource, str], str]


def render_report(data: ReportData) -> str:
    """Render the page of a domain: what decides on one screen, then the plots, then everything else, folded."""
    verdict = data.verdict
    groups = choose_examples([answer for answer in data.answers if answer.arm in ARMS], verdict.slice)
    seen = _questions_in(groups)
    rejected = {reason: _unseen(samples, seen) for reason, samples in data.rejected.items()}
    answers = f"../{ANSWERS_TABLE}/{quote(data.domain)}.html"
    intervals = int(data.summary["low"].notna().sum())
    return render_page(
        "report.html",
        data=data,
        verdict=verdict,
        headline=build_headline(
            verdict,
            data.summary,
            models=data.compared,
            bill=data.bill,
            recorded_at=data.recorded_at,
            against_previous=data.against_previous,
        ),
        targets={"use": "#use", "answers": answers, "lost": f"{answers}#source={verdict.slice}&change=lost"},
        guards=[(GUARD_TITLES[guard.name], guard, _interval(guard.interval)) for guard in verdict.guards],
        figures=_verdict_figures(verdict),
        natures={role: nature for role, label in data.models.items() if (nature := _model_note(role, label))},
        slices=_score_tables(data.summary),
        comparison_plots=_comparison_plots(data.summary),
        abstentions=_abstentions(data.answers),
        abstention_rows=_abstention_rows(data.summary),
        groups=groups,
        rejected={reason: samples for reason, samples in rejected.items() if samples},
        samples=_unseen(data.samples, seen),
        slice_plots=_slice_plots(data.slices),
        coverage=_coverage(data.pairs_per_chunk),
        pairs_plot=_svg(histogram(data.pairs_per_chunk, title="Accepted pairs per chunk", x_label="pairs")),
        most_rows=MAX_ROWS,
        chunk_plot=_svg(histogram(data.chunk_tokens, title="Length of the chunks", x_label="tokens")),
        loss_plot=_svg(_loss_plot(data.loss)) if data.loss else None,
        gates=_gate_rows(data),
        history=_history(data),
        left_out=_list_omissions(data),
        metric_meanings=[(_metric_title(metric), meaning) for metric, meaning in METRICS.items()],
        versions={"report": REPORT_VERSION, "metrics": METRICS_VERSION, "contract": CONTRACT_VERSION},
        points=format_points,
        intervals=intervals,
        by_chance=round((1 - CONFIDENCE) * intervals),
        has_retrieval_gate=data.settings.get("questions.retrieval_top_k", ("0", ""))[0] != "0",
        trains_on_golden_passages=data.settings.get("dataset.protocol", ("", ""))[0] == "seen_passages",
    )


def render_index(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """Render the page over all domains from the latest verdict of each (rows of the results store).

    Each verdict has links to its report and to the page of its answers.
    """
    return render_page("index.html", verdicts=sorted(verdicts.items()), answers_table=ANSWERS_TABLE)


def _questions_in(groups: Iterable[Group]) -> set[str]:
    return {question_key(example.question) for group in groups for example in group.examples}


def _unseen(samples: Iterable[Sample], seen: set[str]) -> list[Sample]:
    """Return the samples whose question is not on the page yet, and add theirs to `seen`."""
    kept = []
    for sample in samples:
        key = question_key(sample.title)
        if key not in seen:
            kept.append(sample)
            seen |= {key} - {question_key(NO_QUESTION)}
    return kept


def _svg(plot: str) -> Markup:
    """Mark a plot as safe markup: it is drawn here, and the texts in it are escaped where it is drawn."""
    return Markup(plot)  # noqa: S704 - see above


def _model_note(role: str, label: str) -> str:
    return EMBEDDED_MODEL_NOTES.get(role, READER_NOTE) if label.startswith("embedded") else ""


def _verdict_figures(verdict: Verdict) -> dict[str, str]:
    """Return the figures behind the verdict that the first screen leaves out."""
    figures = {"95 % interval by document": _interval(verdict.by_document)} if verdict.by_document else {}
    if verdict.p_value is not None:
        figures["Sign test"] = "p < 0.001" if verdict.p_value < 0.001 else f"p = {verdict.p_value:.3f}"
    if verdict.smallest_detectable is not None:
        figures["Smallest difference detectable with 80 % power"] = format_percent(verdict.smallest_detectable)
    return figures


def _interval(interval: Interval | None) -> str:
    return format_interval(interval.low, interval.high) if interval else "not measured"


def _score_tables(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the tables of scores: a slice contains arms, an arm contains metrics."""
    slices = []
    for source in SOURCES:
        of_source = summary[summary["source"] == source]
        arms = [_arm_table(arm, of_source[of_source["arm"] == arm]) for arm in ARMS if arm in set(of_source["arm"])]
        if arms:
            slices.append({"source": source, "arms": arms})
    return slices


def _arm_table(arm: str, rows: pd.DataFrame) -> dict[str, Any]:
    shown = rows[~rows["metric"].isin(REPEATED.get(arm, set()))]
    return {
        "title": ARM_TITLES[arm],
        "n": int(rows["n"].max()),
        "rows": list(map(_score_row, shown.to_dict("records"))),
    }


def _score_row(row: Mapping[Hashable, Any]) -> dict[str, str]:
    metric, low, high = row["metric"], row["low"], row["high"]
    show, change = (_format_plain, format_signed) if metric in NON_SHARE_METRICS else (format_percent, format_points)
    direction = "" if metric == "answer_words" or not (low > 0 or high < 0) else "up" if low > 0 else "down"
    return {
        "title": _metric_title(metric),
        "meaning": METRICS.get(metric, ""),
        "baseline": show(row["baseline"]),
        "student": show(row["student"]),
        "reference": "–" if math.isnan(row["reference"]) else show(row["reference"]),
        "difference": "–" if math.isnan(row["difference"]) else change(row["difference"]),
        "interval": "–" if math.isnan(low) else f"{change(low)} to {change(high)}",
        "direction": direction,
    }


def _metric_title(metric: str) -> str:
    return METRIC_TITLES.get(metric, metric.replace("_", " ").capitalize())


def _format_plain(value: float) -> str:
    return f"{value:.1f}"


def _comparison_plots(summary: pd.DataFrame) -> list[Markup]:
    shown = [metric for metric in ("token_f1", "exact_match") if metric in set(summary["metric"])]
    return [
        _svg(interval_bars(summary, title=f"{METRIC_TITLES[metric]} of baseline and student", metric=metric))
        for metric in shown
    ]


def _slice_plots(slices: pd.DataFrame) -> list[Markup]:
    """Plot the primary metric by every dimension that has more than one slice, the largest slices of each."""
    plots = []
    for cut, title in SLICE_TITLES.items():
        rows = slices[(slices["cut"] == cut) & (slices["metric"] == PRIMARY_METRIC)]
        if len(rows) > 1:
            shown = rows.loc[sorted(rows["n"].sort_values(ascending=False, kind="stable").index[:MAX_BARS])]
            labelled = shown.assign(label=shown["part"], arm=PRIMARY_ARM)
            plots.append(
                _svg(interval_bars(labelled, title=f"{METRIC_TITLES[PRIMARY_METRIC]} {title}", metric=PRIMARY_METRIC))
            )
    return plots


def _coverage(pairs_per_chunk: Sequence[int]) -> dict[str, str]:
    """Return how evenly the questions are spread over the chunks."""
    chunks, pairs = len(pairs_per_chunk), sum(pairs_per_chunk)
    covered = sum(count > 0 for count in pairs_per_chunk)
    return {
        "Chunks with an accepted pair, per cent": format_percent(covered / chunks if chunks else None),
        "Chunks without one": f"{chunks - covered:,}",
        "Accepted pairs per chunk": f"{pairs / chunks:.2f}" if chunks else "–",
    }


def _abstention_rows(summary: pd.DataFrame) -> list[dict[str, str]]:
    """Return precision and recall of abstaining, by slice."""
    overall = summary[summary["metric"].isin(OVERALL_METRICS)]
    return [
        _score_row(row)
        | {"title": str(row["metric"]).removeprefix("abstention_").capitalize(), "source": row["source"]}
        for row in overall.to_dict("records")
    ]


def _abstentions(answers: Iterable[ModelAnswer]) -> list[dict[str, Any]]:
    """Count per slice and arm how often each model abstained, where that was right and where it was wrong."""
    counts: Counter[tuple[str, str, bool, str, bool]] = Counter(
        (answer.source, answer.arm, answer.answerable, answer.evaluated, answer.abstained) for answer in answers
    )
    rows = []
    for source, arm, answerable in product(SOURCES, ARMS, (True, False)):
        abstained = {model: counts[source, arm, answerable, model, True] for model in MODELS}
        asked = abstained["baseline"] + counts[source, arm, answerable, "baseline", False]
        if asked and arm != "closed_book":
            rows.append(
                {"source": source, "arm": arm, "answerable": answerable, "asked": asked, "abstained": abstained}
            )
    return rows


def _loss_plot(loss: Sequence[tuple[int, float | None, float | None]]) -> str:
    steps, training, validation = zip(*loss, strict=True)
    series = {"training": training, "validation": validation}
    return line(steps, series, title="Loss of the fine-tuning", x_label="step", y_label="loss")


def _gate_rows(data: ReportData) -> list[tuple[str, int, str]]:
    """Return reason codes with count and meaning, the most frequent first."""
    found = sorted(data.gates.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, count, data.gate_meanings.get(reason, "")) for reason, count in found]


def _history(data: ReportData) -> dict[str, Any] | None:
    """Return the primary metric of this and earlier runs, oldest first; None for a first run."""
    frame = data.history
    frame = (
        frame[(frame["source"] == data.verdict.slice) & (frame["arm"] == PRIMARY_ARM)]
        .sort_values("recorded_at")
        .tail(MAX_RUNS)
    )
    if len(frame) < 2:
        return None
    series = {model: (frame[model] * 100).tolist() for model in ("student", "baseline")}
    title = f"{METRIC_TITLES[PRIMARY_METRIC]} by run"
    plot = line(range(1, len(frame) + 1), series, title=title, x_label="run", y_label="per cent")
    runs = [
        row | {"interval": "–" if math.isnan(row["high"]) else format_interval(row["low"], row["high"])}
        for row in frame.to_dict("records")
    ]
    return {"plot": _svg(plot), "rows": runs}


def _list_omissions(data: ReportData) -> list[str]:
    """Return what is not on the page, or counts less, and why."""
    told = []
    if data.judged is None:
        told.append("No judge is configured, so judged metrics are absent.")
    for reason, count in data.judged.without_score.items() if data.judged else ():
        told.append(f"{count_noun(count, 'judgement')} without a score: {reason}.")
    asked = {answer.arm for answer in data.answers}
    told += [
        f"The arm {arm.replace('_', ' ')} was not evaluated (evaluation.arms)." for arm in ARMS if arm not in asked
    ]
    told += [f"Rows {what}: {count}." for what, count in data.split_notes.items() if what.startswith("dropped")]
    told += [f"{failure}." for failure in describe_failures(data.answers)]
    if without := _count_without_evidence(data.answers):
        told.append(f"{count_noun(without, 'golden question')} without evidence: evaluated in the retrieved arm only.")
    if without := _count_without_vector(data.answers):
        told.append(f"{count_noun(without, 'question')} not embedded: not evaluated in the retrieved arm.")
    if data.quarantine:
        told.append(
            f"{count_noun(len(data.quarantine), 'file')} could not be read: see the data section for the reasons."
        )
    told.append("Metrics of quotes compare only questions on which both models quoted.")
    return told


def _count_without_vector(answers: Iterable[ModelAnswer]) -> int:
    """Return how many questions the retrieved arm lacks, where there is one."""
    asked: dict[str, set[str]] = {}
    for answer in answers:
        asked.setdefault(answer.arm, set()).add(answer.question_id)
    return len(asked.get("main", set()) - asked["retrieved"]) if "retrieved" in asked else 0


def _count_without_evidence(answers: Iterable[ModelAnswer]) -> int:
    return sum(
        answer.source == "golden" and answer.answerable and not answer.oracle_chunk_ids
        for answer in answers
        if answer.evaluated == "baseline" and answer.arm == "retrieved"
    )
