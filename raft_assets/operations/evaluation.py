"""Asking baseline and student the questions of an evaluation, and the record of the evaluation."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

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
from raft_assets.core.vectors import NoVector
from raft_assets.dataset.related_chunks import Relate, find_related_chunks
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.evaluation.arms import EvaluationItem, build_items, item_request, to_model_answer
from raft_assets.evaluation.provenance import trace_questions
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import NO_REQUESTER, Origin, Progress, Request, UsageStats
from raft_assets.operations.data_links import evaluation_links
from raft_assets.operations.model_clients import ModelClients, resolved_model
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.vectors import read_index
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import PAIRS_FILE, QUESTIONS_FILE
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake, WriteResult
from raft_assets.storage.results import RunRecord
from raft_assets.student.deployment import StudentDeployment


@dataclass(frozen=True)
class Answered:
    """The outcome of asking one model; `model` is its name at the service.

    `refused`: questions without a vector, and why; the retrieved arm lacks them.
    """

    model: str
    items: list[EvaluationItem]
    written: WriteResult
    usage: UsageStats
    refused: Mapping[str, str]


class AskedDocuments:
    """Which documents and files of a domain the text of an evaluation is of, so that a purge finds what was asked."""

    def __init__(self, chunks: Iterable[Chunk], pairs: Iterable[QAPair]) -> None:
        self._paths = {chunk.chunk_id: chunk.path for chunk in chunks}
        self._imported = {pair.question_id for pair in pairs if pair.is_imported}

    @classmethod
    def in_lake(cls, lake: Lake, domain: str) -> Self:
        """Return those of the domain's tables."""
        return cls(lake.rows(Chunk, domain), lake.rows(QAPair, domain))

    def of(self, asked: EvaluationItem | ModelAnswer) -> list[str]:
        """Return the paths of what is asked, shown and expected."""
        chunks = {*asked.document_chunk_ids, *asked.oracle_chunk_ids, asked.cluster}
        file = QUESTIONS_FILE if asked.source == "golden" else self._file_of(asked.question_id)
        return [file, *(self._paths.get(chunk, "") for chunk in chunks)]

    def by_question(self, rows: Iterable[RaftRow], golden: Iterable[GoldenQuestion]) -> dict[str, set[str]]:
        """Return the paths behind each question of an evaluation."""
        found = defaultdict[str, set[str]](set)
        for row in rows:
            found[row.question] |= {row.path, self._file_of(row.question_id)}
        for question in golden:
            oracles = {self._paths.get(chunk, "") for chunk in question.oracle_chunk_ids}
            found[question.question] |= {QUESTIONS_FILE, question.path, *oracles}
        return {question: documents - {""} for question, documents in found.items()}

    def _file_of(self, question_id: str) -> str:
        return PAIRS_FILE if question_id in self._imported else ""


def _evaluation_items(
    models: ModelClients, lake: Lake, domain: str, documents: AskedDocuments, origin: Origin
) -> tuple[list[EvaluationItem], dict[str, str]]:
    """Return what both models are asked; the retrieved arm embeds the questions.

    With it come the questions that the service doesn't embed, and why: they are asked in the other arms only.
    """
    return evaluation_items(
        models,
        models.project.settings(domain).values,
        list(lake.rows(RaftRow, domain)),
        list(lake.rows(GoldenQuestion, domain)),
        list(lake.rows(Chunk, domain)),
        read_index(lake, domain),
        documents=documents,
        origin=origin,
        relate=remembered_relations(models.project, domain),
    )


def evaluation_items(  # noqa: PLR0917 - the tables in the order of the lineage
    models: ModelClients,
    settings: DomainSettings,
    rows: Sequence[RaftRow],
    golden: Sequence[GoldenQuestion],
    chunks: Sequence[Chunk],
    index: VectorIndex,
    *,
    documents: AskedDocuments,
    origin: Origin,
    relate: Relate = find_related_chunks,
) -> tuple[list[EvaluationItem], dict[str, str]]:
    """Return what models are asked about the rows and questions; see `_evaluation_items`."""
    questions = _questions(rows, golden)
    with models.caller(Role.EMBEDDING, origin=origin) as encoder:
        embedded = encoder.embed(questions, documents_of=documents.by_question(rows, golden).__getitem__)
        vectors = dict(zip(questions, embedded, strict=True))

    def nearest(question: str, k: int) -> list[str]:
        vector = vectors[question]
        return [] if isinstance(vector, NoVector) else index.nearest(vector, k)

    related = relate({chunk.chunk_id: chunk for chunk in chunks}, settings.dataset.near_duplicate)
    items = build_items(
        rows,
        golden,
        chunks,
        nearest=nearest,
        evaluation=settings.evaluation,
        dataset=settings.dataset,
        group_of=related.group_of,
    )
    return items, {question: one.reason for question, one in vectors.items() if isinstance(one, NoVector)}


def _questions(rows: Iterable[RaftRow], golden: Iterable[GoldenQuestion]) -> list[str]:
    """Return the questions of an evaluation."""
    generated = (row.question for row in rows if row.split == "eval")
    return list(dict.fromkeys([*generated, *(question.question for question in golden)]))


def known_requests(models: ModelClients, lake: Lake, domain: str) -> list[Request] | None:
    """Return what baseline and student will be asked about the dataset in the lake. Nothing is asked.

    None where the vector of a question isn't stored, which finds the passages that it is asked with.
    """
    questions = _questions(lake.rows(RaftRow, domain), lake.rows(GoldenQuestion, domain))
    with models.caller(Role.EMBEDDING) as encoder:
        if not all(encoder.has_embeddings(questions)):
            return None
    documents = AskedDocuments.in_lake(lake, domain)
    items, _ = _evaluation_items(models, lake, domain, documents, NO_REQUESTER)
    return list(item_requests(items, resolve_student_form(models.project, lake, domain, keep=False), documents))


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
    settings, role = resolve_student_form(models.project, lake, domain), Role(evaluated.upper())
    deployed = StudentDeployment.of(lake.read_record("deployment", domain)) if role is Role.STUDENT else None
    documents = AskedDocuments.in_lake(lake, domain)
    items, refused = _evaluation_items(models, lake, domain, documents, origin)
    with models.caller(role, origin=origin, deployed=deployed, on_progress=progress_of(len(items))) as caller:
        name = deployed.name if deployed else models.endpoints[role].model
        answers = answer_items(caller, items, settings, documents, evaluated=evaluated, model=name)
        written = lake.write(ANSWERS[evaluated], domain, answers)
        return Answered(name, items, written, caller.usage_stats, refused)


def answer_items(
    caller: Caller,
    items: Sequence[EvaluationItem],
    settings: DomainSettings,
    documents: AskedDocuments,
    *,
    evaluated: EvaluatedModel,
    model: str,
) -> Iterator[ModelAnswer]:
    """Ask every item and yield the answers in their order; `model`: the name of the model that is asked."""
    instructions = settings.prompt.instructions
    asked = caller.ask(item_requests(items, settings, documents))
    for item, answer in zip(items, asked, strict=True):
        yield to_model_answer(item, answer, evaluated=evaluated, model=model, instructions=instructions)


def item_requests(
    items: Iterable[EvaluationItem], settings: DomainSettings, documents: AskedDocuments
) -> Iterator[Request]:
    """Yield the prompt of every item; `settings` with the student's form resolved."""
    student, instructions = settings.student, settings.prompt.instructions
    for item in items:
        asked = item_request(
            item, student.format, settings.evaluation, instructions, has_examples=student.examples == "always"
        )
        yield asked.about(documents.of(item))


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
    resolved, tuned = project.settings(domain), lake.read_record("finetuned_model", domain)
    student = models.endpoints[Role.STUDENT]
    return RunRecord(
        domain=domain,
        baseline_model=resolved_model(models.endpoints[Role.BASELINE], project),
        student_model=f"{deployed['service']}: {deployed['model']}",
        training_hash=deployed["training_hash"],
        dataset_hash=hash_questions(answer for answer in answers if answer.evaluated == "baseline"),
        settings=digest_content(resolved.values, resolved.values.model_dump(mode="json")),
        dagster_run=dagster_run,
        recorded_at=datetime.now(UTC),
        links=evaluation_links(project, lake, domain, tuned).record,
        base_model=student.base_model if tuned["base_model"] == student.model else tuned["base_model"],
        preset=resolved.preset,
    )


def hash_questions(answers: Iterable[ModelAnswer]) -> str:
    """Return the hash of what a model was asked, by its answers."""
    questions = sorted(
        (a.source, a.arm, a.question_id, a.question, *a.document_chunk_ids, *a.golden_answers) for a in answers
    )
    return digest(*(part for question in questions for part in question))
