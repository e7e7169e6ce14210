"""Gathers what the report of a domain shows, from lake, results, call store and settings."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from raft_assets.core.errors import EndpointError
from raft_assets.core.tables import (
    ANSWERS,
    PAGED_KINDS,
    Chunk,
    EvaluatedModel,
    GoldenQuestion,
    JudgedAnswer,
    ModelAnswer,
    QAPair,
    QuarantinedFile,
    RaftRow,
    SourceDocument,
)
from raft_assets.evaluation.arms import recall_by_source
from raft_assets.evaluation.examples import Sample, sample_of_pair, sample_of_row
from raft_assets.evaluation.headline import Bill
from raft_assets.evaluation.judged import judge_family_warning, self_agreement
from raft_assets.evaluation.provenance import paths_of_questions
from raft_assets.evaluation.report import (
    READER_NOTE,
    DocumentCounts,
    EstimateComparison,
    JudgeSummary,
    ReportData,
    SplitCounts,
    render_index,
)
from raft_assets.evaluation.verdict import PRIMARY_METRIC
from raft_assets.llm.keys import call_key, embedding_key, training_key
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import Request, Usage, UsageStats
from raft_assets.llm.store import StoredCall
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.pairs.gates import REASONS
from raft_assets.settings.domain import flatten_settings
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Endpoint, Role, is_on_this_machine
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore
from raft_assets.student.deployment import StudentDeployment, smoke_request
from raft_assets.student.use import StudentUse, describe_use

REPORT = "eval_report"  # folder of the lake
MAX_REJECTED_PER_REASON = 4
MAX_ROWS_PER_KIND = 2  # of a split, with and without the oracle


def write_index(project: Project, lake: Lake, results: ResultsStore) -> None:
    """Write the index of the reports of the domains that are in the project's folder.

    Of a lake that several machines share, that of all domains that have one, whichever machine made it.
    """
    while True:
        results.refresh()
        verdicts, reports = results.verdicts(), lake.domains(REPORT, ".html")
        there = reports.intersection(domain_names(project.data)) if lake.is_local else reports
        lake.write_index(render_index({name: verdicts[name] for name in sorted(there) if name in verdicts}))
        if lake.is_local or lake.domains(REPORT, ".html") == reports:  # else another machine wrote one meanwhile
            return


def collect_report_data(domain: str, lake: Lake, models: ModelClients, results: ResultsStore) -> ReportData:
    """Collect everything on the page of a domain."""
    resolved = models.project.settings(domain)
    by_model = {name: list(lake.rows(model, domain)) for name, model in ANSWERS.items()}
    answers = [*by_model["baseline"], *by_model["student"]]
    judged = list(lake.rows(JudgedAnswer, domain))
    pairs = list(lake.rows(QAPair, domain))
    chunks, pages = list(lake.rows(Chunk, domain)), list(lake.rows(SourceDocument, domain))
    rows, golden = list(lake.rows(RaftRow, domain)), list(lake.rows(GoldenQuestion, domain))
    paged = {page.doc_id for page in pages if page.kind in PAGED_KINDS}
    splits, tuned = lake.read_record("splits", domain), lake.read_record("finetuned_model", domain)
    keys, deployed = _call_keys(pairs, by_model), lake.read_record("deployment", domain)
    all_keys = _all_keys(
        models,
        pairs=pairs,
        chunks=chunks,
        golden=golden,
        judged=judged,
        answers=keys,
        job=tuned["job"],
        smoke_call=_smoke_call(models, lake, domain),
    )
    estimate = lake.read_record("estimate", domain) if lake.exists("estimate", domain, ".json") else None
    with open_call_store(models.project) as store:
        stored = store.get(sorted({key for of in all_keys.values() for key in of}))
    run = results.latest_run(domain)
    return ReportData(
        domain=domain,
        verdict=results.verdict(domain),
        summary=results.summary(domain),
        answers=answers,
        documents=_document_totals(pages, chunks),
        quarantine=list(lake.rows(QuarantinedFile, domain)),
        chunk_tokens=[chunk.tokens for chunk in chunks],
        document_counts=_count_by_document(chunks, pairs),
        pairs_per_chunk=_pairs_per_chunk(chunks, pairs),
        rejected=_rejected_samples(chunks, pairs, paged),
        samples=_samples(rows),
        gates=Counter(pair.reason or "accepted" for pair in pairs),
        gate_meanings=REASONS,
        splits=_count_splits(rows),
        split_notes={"unit": splits["unit"]}
        | {
            f"shared text, {what.replace('_', ' ')}": str(count)
            for what, count in splits.get("shared_text", {}).items()
            if isinstance(count, int)
        }
        | {f"dropped, {why}": str(count) for why, count in splits["dropped"].items()},
        models=_model_labels(models, tuned["model"]),
        hashes={"training": tuned["training_hash"], "questions": lake.digest("qa_dataset", domain)},
        settings={name: (str(value), resolved.sources[name]) for name, value in flatten_settings(resolved.values)},
        loss=[tuple(step) for step in tuned["loss"]],
        calls={asset: _usage_behind(stored, of_asset, models.prices) for asset, of_asset in keys.items()},
        history=results.history(domain, PRIMARY_METRIC),
        slices=results.slices(domain),
        judged=_judge_summary(models, judged),
        estimated=_compare_estimate(models, estimate, all_keys, stored) if estimate else [],
        against_previous=results.comparison(domain),
        recall_at_k=recall_by_source(by_model["baseline"]),
        compared=_describe_models(models, tuned, trained_on=sum(row.split == "train" for row in rows)),
        bill=_bill(run, estimate, stored.values(), models.prices),
        recorded_at=run["recorded_at"],
        use=_student_use(models, lake, domain, deployed),
        document_of=paths_of_questions(answers, pairs, golden, chunks),
    )


def _judge_summary(models: ModelClients, rows: Sequence[JudgedAnswer]) -> JudgeSummary | None:
    if Role.JUDGE not in models.endpoints:
        return None
    without = Counter(f"{row.status} ({row.detail})" for row in rows if row.score is None)
    return JudgeSummary(len(rows), without, self_agreement(rows), judge_family_warning(models.endpoints))


def _document_totals(pages: list[SourceDocument], chunks: list[Chunk]) -> dict[str, int]:
    return {
        "documents": len({page.doc_id for page in pages}),
        "pages": sum(page.kind in PAGED_KINDS for page in pages),
        "sections": sum(page.kind not in PAGED_KINDS for page in pages),
        "characters": sum(len(page.text) for page in pages),
        "chunks": len(chunks),
        "tokens": sum(chunk.tokens for chunk in chunks),
    }


def _count_by_document(chunks: list[Chunk], pairs: list[QAPair]) -> list[DocumentCounts]:
    """Count chunks and pairs per document, by its path."""
    of_path: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        of_path.setdefault(chunk.path, []).append(chunk)
    accepted = Counter(pair.path for pair in pairs if pair.accepted)
    return [
        DocumentCounts(path, len(of_document), sum(chunk.tokens for chunk in of_document), accepted[path])
        for path, of_document in sorted(of_path.items())
    ]


def _pairs_per_chunk(chunks: list[Chunk], pairs: list[QAPair]) -> list[int]:
    accepted = Counter(pair.chunk_id for pair in pairs if pair.accepted)
    return [accepted[chunk.chunk_id] for chunk in chunks]


def _rejected_samples(chunks: list[Chunk], pairs: list[QAPair], paged: set[str]) -> dict[str, list[Sample]]:
    """Return the first rejected pairs of every reason, in the order of their ids, which are hashes: a random sample.

    `paged`: ids of the documents that have pages.
    """
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    samples: dict[str, list[Sample]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.question_id):
        if not pair.accepted and len(samples.setdefault(pair.reason, [])) < MAX_REJECTED_PER_REASON:
            sample = sample_of_pair(pair, by_id.get(pair.chunk_id), part="page" if pair.doc_id in paged else "section")
            samples[pair.reason].append(sample)
    return samples


def _samples(rows: list[RaftRow]) -> list[Sample]:
    """Return some rows of every split, and some of those without their oracle."""
    groups: dict[tuple[str, bool], list[RaftRow]] = {}
    for row in sorted(rows, key=lambda row: row.question_id):
        groups.setdefault((row.split, row.has_oracle), []).append(row)
    return [sample_of_row(row) for _, group in sorted(groups.items()) for row in group[:MAX_ROWS_PER_KIND]]


def _count_splits(rows: Iterable[RaftRow]) -> dict[str, SplitCounts]:
    counted: dict[str, list[RaftRow]] = {"train": [], "valid": [], "eval": []}
    for row in rows:
        counted[row.split].append(row)
    return {
        name: SplitCounts(
            len(of_split),
            sum(row.has_oracle for row in of_split),
            len({row.unit for row in of_split}),
            dict(Counter(row.kind for row in of_split).most_common()),
        )
        for name, of_split in counted.items()
    }


def _model_labels(models: ModelClients, student: str) -> dict[str, str]:
    """Return a label per role; the student's is the fine-tuned model."""
    labels = {role.value: f"{endpoint.service}: {endpoint.model}" for role, endpoint in models.endpoints.items()}
    return labels | {Role.STUDENT.value: f"{models.endpoints[Role.STUDENT].service}: {student}"}


def _call_keys(pairs: list[QAPair], answers: Mapping[EvaluatedModel, list[ModelAnswer]]) -> dict[str, set[str]]:
    """Return keys of the calls behind each table."""
    keys = {"qa_pairs": {key for pair in pairs for key in (pair.question_call, pair.answer_call) if key}}
    return keys | {f"{name}_answers": {row.call for row in rows} for name, rows in answers.items()}


def _compare_estimate(
    models: ModelClients,
    estimate: Mapping[str, Any],
    keys: Mapping[tuple[str, str], Mapping[str, str]],
    stored: Mapping[str, StoredCall],
) -> list[EstimateComparison]:
    """Compare the last estimate with the calls made since."""
    comparisons = list[EstimateComparison]()
    for row in estimate["rows"]:
        if (row["asset"], row["role"]) not in keys:
            continue
        texts = keys[row["asset"], row["role"]]
        calls = [stored[key] for key in texts if key in stored and stored[key].created >= estimate["made"]]
        since, asked = _sum_usage(calls, models.prices), len(calls)
        if row["role"] == Role.EMBEDDING.value:
            asked = _embedding_calls(models, [texts[call.key] for call in calls])
        low, high = row.get("low", row), row.get("high", row)  # versions before 0.3.0 estimated no range
        is_priced = low["dollars"] is not None and high["dollars"] is not None
        comparisons.append(
            EstimateComparison(
                row["asset"],
                row["role"],
                (low["calls"], high["calls"]),
                (low["dollars"], high["dollars"]) if is_priced else None,
                asked,
                None if since.unpriced else since.dollars,
            )
        )
    return comparisons


def _bill(
    run: Mapping[str, Any], estimate: Mapping[str, Any] | None, stored: Iterable[StoredCall], prices: PriceList
) -> Bill:
    """Sum up the calls of the run that made the evaluation, beside the estimate that was made for it."""
    behind = list(stored)
    calls = [call for call in behind if call.origin.run == run["dagster_run"]]
    first = min((call.created - call.latency_s for call in calls), default=None)
    rows: Sequence[Mapping[str, Any]] = []
    if estimate and first is not None and estimate["made"] <= first:
        since = {call.origin.run for call in behind if call.created >= estimate["made"]}
        rows = estimate["rows"] if since == {run["dagster_run"]} else []  # else it was made for an earlier run
    return Bill(
        calls=len(calls),
        dollars=_dollars(calls, prices),
        seconds=None if first is None else run["recorded_at"].timestamp() - first,
        behind=_dollars(behind, prices),
        estimated_dollars=_estimated_dollars(rows),
        estimated_seconds=_sum_known([row.get("seconds") for row in rows if row["calls"]]),
    )


def _dollars(calls: Sequence[StoredCall], prices: PriceList) -> float | None:
    summed = _sum_usage(calls, prices)
    return None if summed.unpriced else summed.dollars


def _estimated_dollars(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float] | None:
    ends = [(row.get("low", row)["dollars"], row.get("high", row)["dollars"]) for row in rows]
    low, high = (_sum_known([end[side] for end in ends]) for side in (0, 1))
    return None if low is None or high is None else (low, high)


def _sum_known(values: Sequence[float | None]) -> float | None:
    """Return the sum; None where there is nothing to sum up or something of it isn't known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _describe_models(models: ModelClients, tuned: Mapping[str, Any], *, trained_on: int) -> str:
    """Say in words which two models are compared."""
    baseline, student = models.endpoints[Role.BASELINE], models.endpoints[Role.STUDENT]
    training = f"fine-tuned on {trained_on:,} questions" if tuned["job"] else f"fine-tuned elsewhere ({tuned['model']})"
    is_same = (baseline.service, baseline.base_model) == (student.service, student.base_model)
    return f"{_describe_model(baseline)}, against {'the same' if is_same else _describe_model(student)} {training}"


def _describe_model(endpoint: Endpoint) -> str:
    if endpoint.provider == "embedded":
        return f"{endpoint.model} ({READER_NOTE})"
    host = "this machine" if is_on_this_machine(endpoint.base_url) else urlsplit(endpoint.service).hostname
    return f"{endpoint.base_model} at {host}"


def _student_use(models: ModelClients, lake: Lake, domain: str, deployed: Mapping[str, Any]) -> StudentUse:
    """Return how the deployed student is asked, by the question with which its deployment was tested."""
    endpoint, student = models.endpoints[Role.STUDENT], StudentDeployment.of(deployed)
    return describe_use(
        endpoint,
        student,
        _smoke_request(models, lake, domain),
        models.prices.of(endpoint, student.name),
        domain=domain,
        answer=deployed["smoke_test"]["answer"],
    )


def _smoke_request(models: ModelClients, lake: Lake, domain: str) -> Request:
    settings = resolve_student_form(models.project, lake, domain, keep=False)
    return smoke_request(settings.student, settings.evaluation.max_answer_tokens, settings.prompt.instructions)


def _embedding_calls(models: ModelClients, texts: Sequence[str]) -> int:
    """Return by how many calls the texts are embedded."""
    with models.caller(Role.EMBEDDING) as encoder:
        return encoder.embedding_calls(texts)


def _smoke_call(models: ModelClients, lake: Lake, domain: str) -> str:
    """Return the key of the first question to the deployed student."""
    request = _smoke_request(models, lake, domain)
    deployed = StudentDeployment.of(lake.read_record("deployment", domain))
    endpoint, version = models.endpoints[Role.STUDENT], deployed.training_hash
    if endpoint.provider == "azureml" and deployed.is_hosted:
        endpoint = replace(endpoint, provider="openai", base_url=deployed.service)
    if endpoint.provider == "embedded":
        with suppress(EndpointError):  # a student that was purged
            version = embedded_provider(models.project).model_version(deployed.name)
    return call_key(endpoint, request, model=deployed.name, model_version=version)


def _all_keys(
    models: ModelClients,
    *,
    pairs: Sequence[QAPair],
    chunks: Sequence[Chunk],
    golden: Sequence[GoldenQuestion],
    judged: Sequence[JudgedAnswer],
    answers: Mapping[str, set[str]],
    job: str,
    smoke_call: str,
) -> dict[tuple[str, str], Mapping[str, str]]:
    """Return keys of all calls behind an evaluation, by asset and role, those of vectors with their texts.

    `answers`: of the tables whose calls are by one role, `job`: the fine-tuning job, `smoke_call`: the first question
    to the deployed student.
    """
    encoder, student = models.endpoints[Role.EMBEDDING], models.endpoints[Role.STUDENT]
    is_embedded = encoder.provider == "embedded"
    version = embedded_provider(models.project).model_version(encoder.model) if is_embedded else ""

    def vectors(texts: Iterable[str]) -> dict[str, str]:
        return {embedding_key(encoder, text, model=encoder.model, model_version=version): text for text in texts}

    def calls(keys: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(keys, "")

    return {
        ("chunk_embeddings", Role.EMBEDDING.value): vectors(chunk.passage for chunk in chunks),
        ("qa_pairs", Role.TEACHER.value): calls(answers["qa_pairs"]),
        ("qa_pairs", Role.EMBEDDING.value): vectors(pair.question for pair in pairs if pair.question),
        ("qa_pairs", Role.JUDGE.value): calls(pair.judge_call for pair in pairs if pair.judge_call),
        ("finetuned_model", Role.STUDENT.value): calls([training_key(student.service, job)]),
        ("deployment", Role.STUDENT.value): calls([smoke_call]),
        ("baseline_answers", Role.EMBEDDING.value): vectors(question.question for question in golden),
        ("baseline_answers", Role.BASELINE.value): calls(answers["baseline_answers"]),
        ("student_answers", Role.STUDENT.value): calls(answers["student_answers"]),
        ("judged_answers", Role.JUDGE.value): calls(row.call for row in judged),
    }


def _usage_behind(stored: Mapping[str, StoredCall], keys: set[str], prices: PriceList) -> UsageStats:
    """Sum up the calls behind a table, their tokens and cost, whenever they were made: equal data, equal figures."""
    calls = [stored[key] for key in sorted(keys) if key in stored]  # in one order, for equal sums
    return _sum_usage(calls, prices, failures=len(keys) - len(calls))


def _sum_usage(stored: Sequence[StoredCall], prices: PriceList, failures: int = 0) -> UsageStats:
    costs = [prices.at(call.service, call.model).call_cost(call.kind, call.usage) for call in stored]
    return UsageStats(
        calls=len(stored),
        failures=failures,
        usage=sum((call.usage for call in stored), Usage()),
        dollars=sum(cost for cost in costs if cost is not None),
        unpriced=costs.count(None),
    )
