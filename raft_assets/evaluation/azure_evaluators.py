"""The evaluators of `azure-ai-evaluation` on the rows that our own judge rated, to compare the two.

The package is an extra, in an environment of its own, because it requires a pandas before 3.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.errors import SettingsError
from raft_assets.core.prompt_contract import escape_answer
from raft_assets.core.tables import AzureJudgedAnswer, JudgedAnswer, ModelAnswer
from raft_assets.evaluation.judged import JUDGED_ARM, SCALE, Agreement
from raft_assets.llm.answers import abbreviate

# metric to the package's evaluator and what it is shown
EVALUATORS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "groundedness": ("GroundednessEvaluator", ("query", "response", "context")),
    "relevance": ("RelevanceEvaluator", ("query", "response")),
    "coherence": ("CoherenceEvaluator", ("query", "response")),
    "fluency": ("FluencyEvaluator", ("response",)),
    "similarity": ("SimilarityEvaluator", ("query", "response", "ground_truth")),
}
MAX_CONCURRENT_ROWS = 16  # rows that are rated at the same time; the caller limits the calls
CONSTRAINTS = "infra/constraints/azure-evaluation.txt"


@dataclass(frozen=True)
class JudgeComparison:
    """Both judges on the same answers: mean scores, and how far they agree."""

    ours: float
    theirs: float
    agreement: Agreement


def rate_answers(
    judged: Iterable[JudgedAnswer], answers: Iterable[ModelAnswer], *, base_url: str, model: str
) -> Iterator[AzureJudgedAnswer]:
    """Rate the judged rows again, in their order, by the package's evaluators with a model at an address.

    Of answers that were judged twice only the first rows are rated. A row without a score has a status and the reason.
    Raises SettingsError if the package isn't installed.
    """
    shown = {(one.source, one.question_id, one.evaluated): one for one in answers if one.arm == JUDGED_ARM}
    rows = [row for row in judged if row.sample == 0]
    evaluators = _evaluators({row.metric for row in rows}, base_url, model)

    def rated(row: JudgedAnswer) -> AzureJudgedAnswer:
        answer = shown[row.source, row.question_id, row.evaluated]
        return AzureJudgedAnswer(**row.model_dump() | _rate(evaluators[row.metric], row.metric, answer))

    with ThreadPoolExecutor(MAX_CONCURRENT_ROWS) as threads:
        yield from threads.map(rated, rows)


def compare_judges(ours: Iterable[JudgedAnswer], theirs: Iterable[JudgedAnswer]) -> list[JudgeComparison]:
    """Compare the two judges by metric, over the answers that both scored."""
    first = {_answer_key(row): row.score for row in ours if row.sample == 0 and row.score is not None}
    pairs: dict[str, list[tuple[int, int]]] = {}
    for row in theirs:
        if row.score is not None and (score := first.get(_answer_key(row))) is not None:
            pairs.setdefault(row.metric, []).append((score, row.score))
    return [
        JudgeComparison(
            fmean(one for one, _ in found),
            fmean(other for _, other in found),
            Agreement.of(metric, [abs(one - other) for one, other in found]),
        )
        for metric, found in pairs.items()
    ]


def _answer_key(row: JudgedAnswer) -> tuple[str, ...]:
    return row.metric, row.source, row.question_id, row.evaluated


def _evaluators(metrics: Iterable[str], base_url: str, model: str) -> dict[str, Callable[..., Mapping[str, Any]]]:
    try:
        from azure.ai import evaluation  # type: ignore[attr-defined]
    except ImportError as error:
        raise SettingsError(
            f"azure-ai-evaluation isn't installed ({error}): pip install --no-deps --require-hashes -r {CONSTRAINTS}, "
            "in an environment of its own."
        ) from error
    # our gateway answers at the address and has the key; the package requires one
    config = {"type": "openai", "api_key": "none", "model": model, "base_url": base_url}
    return {metric: getattr(evaluation, EVALUATORS[metric][0])(config) for metric in metrics}


def _rate(evaluator: Callable[..., Mapping[str, Any]], metric: str, answer: ModelAnswer) -> dict[str, Any]:
    """Return the fields of a row that the package decides."""
    truth = answer.golden_answers[0] if answer.golden_answers else "(the documents don't hold the answer)"
    given = {
        "query": escape_delimiters(answer.question),
        "response": escape_answer(answer.answer),
        "context": escape_delimiters("\n\n".join(answer.documents)) or "(no document)",
        "ground_truth": escape_delimiters(truth),
    }
    nothing = {"score": None, "reason": "", "call": ""}
    try:
        said = evaluator(**{name: given[name] for name in EVALUATORS[metric][1]})
    except Exception as error:  # noqa: BLE001 - the package raises errors of its own and of others, without a base class
        return nothing | {"status": "failed", "detail": abbreviate(str(error))}
    score, reason = said.get(metric), said.get(f"{metric}_reason")
    if not isinstance(score, (int, float)) or math.isnan(score) or round(score) not in SCALE:
        return nothing | {"status": "unreadable", "detail": f"no score on the scale: {abbreviate(str(score))}"}
    return nothing | {"score": round(score), "reason": str(reason or ""), "status": "ok", "detail": ""}
