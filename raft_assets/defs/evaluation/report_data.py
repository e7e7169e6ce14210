"""Gathers what the report of a domain shows, from lake, results, call store and settings."""

from collections import Counter
from collections.abc import Iterable

from raft_assets.calls.requests import Tally, Usage
from raft_assets.calls.store import CallStore
from raft_assets.evaluation.arms import recall_at_k
from raft_assets.evaluation.metrics import scores
from raft_assets.evaluation.report import ReportData, Split
from raft_assets.evaluation.summary import summarize
from raft_assets.evaluation.verdict import PRIMARY_METRIC, decide
from raft_assets.raft.gates import REASONS
from raft_assets.raft.tables import Chunk, ModelAnswer, QAPair, QuarantinedFile, RaftRow, SourceDocument
from raft_assets.resources.lake import Lake
from raft_assets.resources.models import Models
from raft_assets.resources.results import ResultsStore
from raft_assets.settings import Role, dotted


def report_data(domain: str, lake: Lake, models: Models, results: ResultsStore) -> ReportData:
    """Everything on the page of a domain."""
    resolved = models.settings(domain)
    draws = resolved.values.verdict.bootstrap_draws
    by_model = {name: list(lake.rows(f"{name}_answers", domain, ModelAnswer)) for name in ("baseline", "student")}
    answers = [*by_model["baseline"], *by_model["student"]]
    scored = [score for answer in answers for score in scores(answer)]
    pairs = list(lake.rows("qa_pairs", domain, QAPair))
    chunks = list(lake.rows("chunks", domain, Chunk))
    splits, tuned = lake.read_record("splits", domain), lake.read_record("finetuned_model", domain)
    return ReportData(
        domain=domain,
        verdict=decide(scored, answers, draws=draws),
        summary=summarize(scored, draws=draws),
        answers=answers,
        documents=_documents(domain, lake, chunks),
        quarantine=list(lake.rows("quarantine", domain, QuarantinedFile)),
        chunk_tokens=[chunk.tokens for chunk in chunks],
        gates=Counter(pair.reason or "accepted" for pair in pairs),
        gate_meanings=REASONS,
        splits=_splits(lake.rows("qa_dataset", domain, RaftRow)),
        split_notes={"unit": splits["unit"]}
        | {f"dropped, {why}": str(count) for why, count in splits["dropped"].items()},
        models=_labels(models, tuned["model"]),
        hashes={"training": tuned["training_hash"], "questions": lake.digest("qa_dataset", domain)},
        settings={name: (str(value), resolved.sources[name]) for name, value in dotted(resolved.values)},
        loss=[tuple(step) for step in tuned["loss"]],
        calls=_calls(models, pairs, by_model),
        history=results.history(domain, PRIMARY_METRIC),
        recall_at_k=recall_at_k(by_model["baseline"]),
    )


def _documents(domain: str, lake: Lake, chunks: list[Chunk]) -> dict[str, int]:
    pages = list(lake.rows("source_documents", domain, SourceDocument))
    return {
        "documents": len({page.doc_id for page in pages}),
        "pages and sections": len(pages),
        "characters": sum(len(page.text) for page in pages),
        "chunks": len(chunks),
        "tokens": sum(chunk.tokens for chunk in chunks),
    }


def _splits(rows: Iterable[RaftRow]) -> dict[str, Split]:
    counted: dict[str, list[RaftRow]] = {"train": [], "valid": [], "eval": []}
    for row in rows:
        counted[row.split].append(row)
    return {
        name: Split(len(of_split), sum(row.has_oracle for row in of_split), len({row.unit for row in of_split}))
        for name, of_split in counted.items()
    }


def _labels(models: Models, student: str) -> dict[str, str]:
    """A label per role; the student's is the fine-tuned model."""
    labels = {role.value: f"{endpoint.service}: {endpoint.model}" for role, endpoint in models.endpoints.items()}
    return labels | {Role.STUDENT.value: f"{models.endpoints[Role.STUDENT].service}: {student}"}


def _calls(models: Models, pairs: list[QAPair], answers: dict[str, list[ModelAnswer]]) -> dict[str, Tally]:
    """Calls behind each table and their tokens, whenever they were made: equal data, equal figures."""
    keys = {"qa_pairs": {key for pair in pairs for key in (pair.question_call, pair.answer_call) if key}}
    keys |= {f"{name}_answers": {row.call for row in rows} for name, rows in answers.items()}
    with CallStore(models.workplace.calls) as store:
        return {asset: _tally(store, of_asset) for asset, of_asset in keys.items()}


def _tally(store: CallStore, keys: set[str]) -> Tally:
    found = store.get(keys)
    return Tally(
        calls=len(found), failures=len(keys) - len(found), usage=sum((call.usage for call in found.values()), Usage())
    )
