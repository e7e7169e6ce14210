"""The verdict: whether the student is better or worse than the baseline, or the data cannot tell.

One metric decides (token F1 of the final answer in the main arm), two guards can take a "better" back, and everything
else is only shown. Where people wrote questions, theirs decide: generated questions resemble the sentence they come
from, and a student that is better on them may be no better on people's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from raft_assets.core.identity import normalize
from raft_assets.core.tables import ModelAnswer, QuestionSource, Score
from raft_assets.evaluation.statistics import (
    Interval,
    bootstrap_balanced,
    clusters_needed,
    paired_bootstrap,
    sign_test,
    smallest_detectable,
)
from raft_assets.evaluation.summary import ABSTAINING_ARMS, QUESTION_COLUMNS, pair_scores, score_frame
from raft_assets.evaluation.wording import count_noun, format_percent, format_points

if TYPE_CHECKING:
    import pandas as pd

PRIMARY_METRIC, PRIMARY_NAME, PRIMARY_ARM = "token_f1", "token F1", "main"
VERDICT_VERSION = "5"  # of rule and statistics: changes whenever the same scores give another verdict
MIN_CLUSTERS = 20  # below, a bootstrap interval is too narrow to trust
MIN_ANSWERED = 0.1  # of the questions that a document shown answers: a student that answers fewer has given up

Decision = Literal["better", "worse", "cannot tell"]
Against = Literal["baseline", "previous student"]  # what the student is compared with
WHOSE: Mapping[QuestionSource, str] = MappingProxyType(
    {"golden": "on people's questions", "generated": "on questions that its own teacher wrote"}
)
NO_DOCUMENTS: Mapping[tuple[QuestionSource, str], str] = MappingProxyType({})
_WOULD_CONFIRM = "would be enough to confirm a difference of this size"
_INCONCLUSIVE = {
    "baseline": "It is not clear whether the fine-tuned student is better",
    "previous student": "It is not clear whether the student is better than the previous one",
}
_CONCLUSIVE = {
    "baseline": "The fine-tuned student is {}",
    "previous student": "The student is {} than the previous one",
}


@dataclass(frozen=True)
class Guard:
    """A metric that must be shown not to get worse by `margin` or more (non-inferiority).

    `margin` is a share of one; of verdicts up to version 4 it is 0, and "violated" meant significantly worse.
    `interval` is None where it could not be measured.
    """

    name: str
    interval: Interval | None
    violated: bool
    margin: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The decision, its questions, and its reasons.

    Means, intervals and detectable difference are shares of one; None where there is nothing to compare.
    """

    against: Against
    decision: Decision
    sentence: str
    slice: QuestionSource
    metric: str
    baseline: float | None
    student: float | None
    interval: Interval | None
    p_value: float | None
    smallest_detectable: float | None
    guards: tuple[Guard, ...]
    n: int
    clusters: int
    reasons: tuple[str, ...]
    documents: int = 0  # behind the questions; 0 where that isn't known
    by_document: Interval | None = None  # of the same difference, with whole documents resampled


def decide_verdict(
    scores: Iterable[Score] | pd.DataFrame,
    answers: Sequence[ModelAnswer],
    *,
    draws: int,
    guard_margin: float,
    document_of: Mapping[tuple[QuestionSource, str], str] = NO_DOCUMENTS,
    seed: int = 0,
    against: Against = "baseline",
) -> Verdict:
    """Return the verdict on the scores of both models' answers.

    `guard_margin`: the share of one by which format and abstention may be worse. `document_of`: the path of the
    document that a question is about, by its source and id. Raises DataError if the models were asked different
    questions.
    """
    pairs = pair_scores(scores).merge(_answerable(answers), on=QUESTION_COLUMNS, validate="many_to_one")
    main = pairs[(pairs["metric"] == PRIMARY_METRIC) & (pairs["arm"] == PRIMARY_ARM) & pairs["answerable"]]
    golden, generated = _count_once(main[main["source"] == "golden"], answers), main[main["source"] == "generated"]
    source: QuestionSource = "generated" if golden.empty else "golden"
    rows = generated if golden.empty else golden
    interval = _interval(rows, draws, seed)
    guards = (
        _guard("format", _interval(_format_rows(pairs), draws, seed), guard_margin),
        _guard_abstention(_abstention_rows(pairs), draws, seed, guard_margin),
    )
    clusters = rows["cluster"].nunique()
    doubts = [*_find_doubts(interval, clusters), *_describe_violations(guards)]
    decision = _decision(interval, clusters, guards)
    baseline, student = (None if rows.empty else float(rows[model].mean()) for model in ("baseline", "student"))
    reasons = [*doubts, *_collect_notes(source, guards, answers)]
    differences = rows["student"] - rows["baseline"]
    documents = rows["question_id"].map(lambda name: document_of.get((source, name)) or None)
    if decision == "cannot tell" and interval is not None:
        reasons += _suggest_clusters(clusters_needed(differences, rows["cluster"].tolist()), clusters, source)
    return Verdict(
        against=against,
        decision=decision,
        sentence=_build_sentence(decision, source, rows, interval, doubts, against=against)
        + _describe_generated(source, clusters, generated, draws, seed),
        slice=source,
        metric=PRIMARY_METRIC,
        baseline=baseline,
        student=student,
        interval=interval,
        p_value=None if rows.empty else sign_test(rows["baseline"], rows["student"]),
        smallest_detectable=smallest_detectable(differences, rows["cluster"].tolist()) if interval else None,
        guards=guards,
        n=len(rows),
        clusters=clusters,
        reasons=tuple(reasons),
        documents=documents.nunique(),
        by_document=_interval(rows.assign(cluster=documents).dropna(subset="cluster"), draws, seed),
    )


def compare_students(
    before: pd.DataFrame,
    scores: Iterable[Score] | pd.DataFrame,
    answers: Sequence[ModelAnswer],
    *,
    draws: int,
    guard_margin: float,
) -> Verdict:
    """Apply the same rule to two students, with the earlier one in the baseline's place.

    It compares the questions that both answered and the metrics that both were measured by. `before`: the scores of the
    earlier student, with the columns of `Score`.
    """
    import pandas as pd

    now = score_frame(scores)
    now = now[now["evaluated"] == "student"]
    then = before[before["evaluated"] == "student"].assign(evaluated="baseline")
    measured = [*QUESTION_COLUMNS, "metric"]  # a newer metric was never measured on the previous student
    shared = now[measured].drop_duplicates().merge(then[measured].drop_duplicates())
    # a question's cluster is what it is now
    then = then.drop(columns="cluster").merge(now[[*QUESTION_COLUMNS, "cluster"]].drop_duplicates())
    both = pd.concat([now, then], ignore_index=True).merge(shared)
    mine = [answer for answer in answers if answer.evaluated == "student"]
    return decide_verdict(both, mine, draws=draws, guard_margin=guard_margin, against="previous student")


def describe_briefly(verdict: Verdict) -> str:
    """Return the decision with its reasons as one sentence without figures of the two models."""
    if not verdict.n:
        return verdict.sentence
    doubts = [*_find_doubts(verdict.interval, verdict.clusters), *_describe_violations(verdict.guards)]
    if verdict.decision == "cannot tell":
        return f"{_INCONCLUSIVE[verdict.against]} {WHOSE[verdict.slice]}: {' and '.join(doubts)}."
    told = f"{_CONCLUSIVE[verdict.against].format(verdict.decision)} {WHOSE[verdict.slice]}"
    return f"{told}{''.join(f'; {doubt}' for doubt in doubts)}."


def find_suggestion(verdict: Verdict) -> str:
    """Return the half sentence that says what would settle it, empty where there is none."""
    return next((reason for reason in verdict.reasons if _WOULD_CONFIRM in reason), "")


def describe_failures(answers: Iterable[ModelAnswer]) -> list[str]:
    """Describe answers without a usable text, counted by model and status."""
    found = Counter((answer.evaluated, answer.status) for answer in answers if answer.status != "ok")
    return [
        f"{count_noun(count, 'answer')} of the {model} scored 0: {status}"
        for (model, status), count in sorted(found.items())
    ]


def _decision(interval: Interval | None, clusters: int, guards: Iterable[Guard]) -> Decision:
    if interval is None or clusters < MIN_CLUSTERS:
        return "cannot tell"
    if interval.high < 0:
        return "worse"
    return "better" if interval.low > 0 and not any(guard.violated for guard in guards) else "cannot tell"


def _answerable(answers: Iterable[ModelAnswer]) -> pd.DataFrame:
    """Return whether each question was answerable under its arm, the same for both models."""
    import pandas as pd

    rows = {(answer.source, answer.arm, answer.question_id): answer.answerable for answer in answers}
    return pd.DataFrame(
        [(*key, answerable) for key, answerable in rows.items()], columns=[*QUESTION_COLUMNS, "answerable"]
    )


def _format_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[(pairs["metric"] == "well_formed") & (pairs["arm"] == PRIMARY_ARM)]


def _abstention_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[(pairs["metric"] == "abstained_right") & pairs["arm"].isin(ABSTAINING_ARMS)]


def _count_once(golden: pd.DataFrame, answers: Iterable[ModelAnswer]) -> pd.DataFrame:
    """Return the rows without a question that another id asks about the same passage."""
    words = {
        answer.question_id: normalize(answer.question).casefold() for answer in answers if answer.source == "golden"
    }
    asked = golden.assign(asked=golden["question_id"].map(words)).sort_values("question_id", kind="stable")
    return golden.loc[asked.drop_duplicates(["asked", "cluster"]).index.sort_values()]


def _interval(rows: pd.DataFrame, draws: int, seed: int) -> Interval | None:
    if rows["cluster"].nunique() < 2:
        return None
    return paired_bootstrap(
        rows["baseline"], rows["student"], clusters=rows["cluster"].tolist(), draws=draws, seed=seed
    )


def _guard(name: str, interval: Interval | None, margin: float, *, given_up: bool = False) -> Guard:
    violated = interval is not None and (given_up or (interval.low < 0 and interval.low <= -margin))
    return Guard(name, interval, violated, margin)


def _guard_abstention(rows: pd.DataFrame, draws: int, seed: int, margin: float) -> Guard:
    """Guard abstaining where no document shown answers and answering where one does, both with the same weight.

    A baseline that always abstains, or never does, is right in half of it; so is a student that does the same.
    """
    answerable = rows["answerable"].astype(bool)
    interval = None
    if len(set(rows["cluster"])) > 1:
        interval = bootstrap_balanced(
            rows["student"] - rows["baseline"], answerable, clusters=rows["cluster"].tolist(), draws=draws, seed=seed
        )
    return _guard("abstention", interval, margin, given_up=bool(rows["student"][answerable].mean() < MIN_ANSWERED))


def _find_doubts(interval: Interval | None, clusters: int) -> list[str]:
    if interval is None or clusters < MIN_CLUSTERS:
        return [f"the questions come from {count_noun(clusters, 'passage')}, {MIN_CLUSTERS} are needed"]
    return (
        ["the interval includes zero, so the difference may be due to chance"]
        if interval.low <= 0 <= interval.high
        else []
    )


def _suggest_clusters(needed: int | None, clusters: int, source: QuestionSource) -> list[str]:
    """Return how many more passages with questions would settle it."""
    needed = max(needed or 0, MIN_CLUSTERS)
    if needed <= clusters:
        return []
    more = count_noun(needed - clusters, "more passage")
    if source == "golden":
        return [f"write questions about {more}: {needed:,} {_WOULD_CONFIRM}"]
    return [f"questions about {more} {_WOULD_CONFIRM}: write some, or add documents for the teacher to ask about"]


def _describe_violations(guards: Iterable[Guard]) -> list[str]:
    return [_describe_violation(guard) for guard in guards if guard.violated]


def _describe_violation(guard: Guard) -> str:
    if guard.interval is None or guard.interval.high < 0:
        change = f" ({_format_change(guard.interval)})" if guard.interval else ""
        return f"{guard.name} got worse{change}"
    if guard.interval.low > -guard.margin:
        return "the student abstains from nearly every question, also where a document holds the answer"
    return (
        f"{guard.name} may have got worse by more than {format_percent(guard.margin)} points "
        f"({_format_change(guard.interval)})"
    )


def _collect_notes(source: QuestionSource, guards: Iterable[Guard], answers: Iterable[ModelAnswer]) -> list[str]:
    """Return further notes for the reader, in half sentences."""
    notes = []
    if source == "generated":
        notes.append(
            "there are no golden questions with evidence, so generated questions decide; they resemble the sentence "
            "they come from and favour every student"
        )
    notes += [f"{guard.name} could not be measured" for guard in guards if guard.interval is None]
    notes += describe_failures(answers)
    return notes


def _build_sentence(
    decision: Decision,
    source: QuestionSource,
    rows: pd.DataFrame,
    interval: Interval | None,
    doubts: Sequence[str],
    *,
    against: Against,
) -> str:
    if rows.empty:
        return f"{_INCONCLUSIVE[against]}: there are no questions to compare on."
    went = {"better": "rose", "worse": "fell"}.get(decision, "went")
    figures = _describe_figures(source, rows, interval, went)
    if decision == "cannot tell":
        return f"{_INCONCLUSIVE[against]} {WHOSE[source]}: {figures}, but {' and '.join(doubts)}."
    told = f"{_CONCLUSIVE[against].format(decision)} {WHOSE[source]}"
    return f"{told}: {figures}{''.join(f'; {doubt}' for doubt in doubts)}."


def _describe_generated(source: QuestionSource, clusters: int, generated: pd.DataFrame, draws: int, seed: int) -> str:
    """Return a sentence about generated questions where people's are too few to decide; else nothing."""
    if source == "generated" or clusters >= MIN_CLUSTERS or generated.empty:
        return ""
    figures = _describe_figures("generated", generated, _interval(generated, draws, seed), "went")
    return f" {WHOSE['generated'].capitalize()}, which resemble the sentence they come from, {figures}."


def _describe_figures(source: QuestionSource, rows: pd.DataFrame, interval: Interval | None, went: str) -> str:
    baseline, student = (format_percent(rows[model].mean()) for model in ("baseline", "student"))
    change = f" ({_format_change(interval)})" if interval else ""
    return f"{PRIMARY_NAME} on {len(rows)} {source} questions {went} from {baseline} to {student}{change}"


def _format_change(interval: Interval) -> str:
    return (
        f"{format_points(interval.mean)}, 95 % interval {format_points(interval.low)} to {format_points(interval.high)}"
    )
