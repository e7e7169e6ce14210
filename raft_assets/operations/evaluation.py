"""Asking baseline and student the questions of an evaluation, and the record of the evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from raft_assets.core.identity import digest
from raft_assets.core.stored_fields import digest_content
from raft_assets.core.tables import (
    ANSWERS,
    PAGED_KINDS,
    Chunk,
    EvaluatedModel,
    GoldenQuestion,
    ModelAnswer,
    QAPair,
    QuestionProvenance,
    RaftRow,
    SourceDocument,
)
from raft_assets.evaluation.arms import EvaluationItem, build_items, item_request, to_model_answer
from raft_assets.evaluation.provenance import trace_questions
from raft_assets.llm.requests import Origin, Progress, UsageStats
from raft_assets.operations.data_links import evaluation_links
from raft_assets.operations.model_clients import ModelClients, resolved_model
from raft_assets.operations.vectors import read_index
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake, WriteResult
from raft_assets.storage.results import RunRecord
from raft_assets.student.deployment import StudentDeployment


@dataclass(frozen=True)
class Answered:
    """The outcome of asking one model; `model` is its name at the service."""

    model: str
    items: list[EvaluationItem]
    written: WriteResult
    usage: UsageStats


def evaluation_items(models: ModelClients, lake: Lake, domain: str, origin: Origin) -> list[EvaluationItem]:
    """Return what both models are asked; the retrieved arm embeds the questions."""
    settings = models.project.settings(domain).values
    rows, golden = list(lake.rows(RaftRow, domain)), list(lake.rows(GoldenQuestion, domain))
    index = read_index(lake, domain)
    generated = [row.question for row in rows if row.split == "eval"]
    questions = list(dict.fromkeys([*generated, *(question.question for question in golden)]))
    with models.caller(Role.EMBEDDING, origin=origin) as encoder:
        vectors = dict(zip(questions, encoder.embed(questions), strict=True))
    return build_items(
        rows,
        golden,
        list(lake.rows(Chunk, domain)),
        nearest=lambda question, k: index.nearest(vectors[question], k),
        evaluation=settings.evaluation,
        dataset=settings.dataset,
    )


def ask_model(
    models: ModelClients,
    lake: Lake,
    domain: str,
    evaluated: EvaluatedModel,
    *,
    origin: Origin,
    progress_of: Callable[[int], Callable[[Progress], None]],
) -> Answered:
    """Ask one model everything and write its answers; `progress_of` returns a callback for a number of calls."""
    settings, role = models.project.settings(domain).values, Role(evaluated.upper())
    deployed = StudentDeployment.of(lake.read_record("deployment", domain)) if role is Role.STUDENT else None
    items = evaluation_items(models, lake, domain, origin)
    with models.caller(role, origin=origin, deployed=deployed, on_progress=progress_of(len(items))) as caller:
        prompts = (
            item_request(item, settings.student.format, settings.evaluation, settings.prompt.instructions)
            for item in items
        )
        name = deployed.name if deployed else models.endpoints[role].model
        answers = (
            to_model_answer(item, answer, evaluated=evaluated, model=name, instructions=settings.prompt.instructions)
            for item, answer in zip(items, caller.ask(prompts), strict=True)
        )
        written = lake.write(ANSWERS[evaluated], domain, answers)
        return Answered(name, items, written, caller.usage_stats)


def both_answers(lake: Lake, domain: str) -> Iterator[ModelAnswer]:
    """Iterate over the answers of baseline and student."""
    for model in ANSWERS.values():
        yield from lake.rows(model, domain)


def question_origins(
    project: Project, lake: Lake, domain: str, answers: Sequence[ModelAnswer]
) -> Iterator[QuestionProvenance]:
    """Iterate over the provenance of the questions that were answered."""
    asked = dict.fromkeys((answer.source, answer.question_id) for answer in answers)
    pairs = {pair.question_id: pair for pair in lake.rows(QAPair, domain)}
    keys = {pairs[name].answer_call for source, name in asked if source == "generated" and name in pairs}
    with open_call_store(project) as store:
        model_of = {key: call.model for key, call in store.get(keys).items()}
    return trace_questions(
        asked,
        pairs,
        {question.question_id: question for question in lake.rows(GoldenQuestion, domain)},
        {chunk.chunk_id: chunk for chunk in lake.rows(Chunk, domain)},
        paged={page.doc_id for page in lake.rows(SourceDocument, domain) if page.kind in PAGED_KINDS},
        model_of=model_of,
    )


def run_record(
    models: ModelClients, lake: Lake, domain: str, answers: Sequence[ModelAnswer], *, dagster_run: str
) -> RunRecord:
    """Return what an evaluation is of: models, questions, settings."""
    project, deployed = models.project, lake.read_record("deployment", domain)
    values = project.settings(domain).values
    questions = sorted(
        (a.source, a.arm, a.question_id, a.question, *a.document_chunk_ids, *a.golden_answers)
        for a in answers
        if a.evaluated == "baseline"
    )
    return RunRecord(
        domain=domain,
        baseline_model=resolved_model(models.endpoints[Role.BASELINE], project),
        student_model=f"{deployed['service']}: {deployed['model']}",
        training_hash=deployed["training_hash"],
        dataset_hash=digest(*(part for question in questions for part in question)),
        settings=digest_content(values, values.model_dump(mode="json")),
        dagster_run=dagster_run,
        recorded_at=datetime.now(UTC),
        links=evaluation_links(project, lake, domain, lake.read_record("finetuned_model", domain)).record,
    )
