"""What a stored call asked: its request, made again from the lake and verified against the call's key.

The store keeps answers under a hash of their requests, not the requests, which are passages of documents over and over.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from raft_assets.core.errors import RaftError
from raft_assets.core.tables import ANSWERS, Chunk, GoldenQuestion, ModelAnswer, QAPair, RaftRow, Row
from raft_assets.evaluation.arms import EvaluationItem, item_request
from raft_assets.evaluation.judged import judging_requests
from raft_assets.llm.keys import BATCH_SUFFIX, EMBEDDING, call_key, embedding_key, truncated_key
from raft_assets.llm.relearning import times_relearned
from raft_assets.llm.requests import Request
from raft_assets.llm.store import StoredCall
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.expected_pairs import not_asked
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.pair_form import recorded_form
from raft_assets.operations.process import records_of
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.trained import trained_students
from raft_assets.pairs.generation import draft_round, first_round_plan
from raft_assets.pairs.judge import judge_request
from raft_assets.pairs.questions import question_request, teacher_answer_request
from raft_assets.pairs.structured import probe_request, structured_answer_request, structured_question_request
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.student.deployment import smoke_request


def rebuild_request(project: Project, call: StoredCall) -> dict[str, Any] | None:
    """Return the body of the request that a call answered, as it is in the key.

    None where it can't be made again: the documents, the settings or the model have changed since, or the call brought
    nothing. Nothing is asked.
    """
    lake = Lake.of(project)
    others = [name for name in domain_names(project.data) if name != call.origin.domain]
    for domain in [*([call.origin.domain] if call.origin.domain else []), *others]:
        with suppress(RaftError):  # a domain that has gone, or whose settings can't be read
            if found := _find(project, lake, domain, call):
                return found
    return None


def _find(project: Project, lake: Lake, domain: str, call: StoredCall) -> dict[str, Any] | None:
    names, settings = _Names(project, lake, domain, call), resolve_student_form(project, lake, domain, keep=False)
    if call.kind == EMBEDDING:
        texts = _texts(project, lake, domain, settings)
        return next(({"input": text} for text in texts if names.of_text(text)), None)
    kind = call.kind.removesuffix(BATCH_SUFFIX)
    requests = _requests(project, lake, domain, settings, Role(call.role))
    return next((dict(one.body) for one in requests if one.kind == kind and names.of_request(one)), None)


class _Names:
    """Decides whether a request has the key of a call, under every identity that the model may have had."""

    def __init__(self, project: Project, lake: Lake, domain: str, call: StoredCall) -> None:
        self._call = call
        configured = {one.provider for one in project.endpoints.values() if one.service == call.service}
        providers = configured or {"openai", "azure", "azureml"}
        self._endpoints = [
            Endpoint(Role(call.role), provider, call.model, "" if provider == "embedded" else call.service)
            for provider in sorted(providers)
        ]
        self._versions = {""}
        if call.service == "embedded":
            self._versions = {embedded_provider(project).model_version(call.model)}
        elif lake.exists("deployment", domain, ".json"):
            self._versions.add(lake.read_record("deployment", domain)["training_hash"])
        self._versions |= {student.training_hash for student in trained_students(records_of(project))}

    def of_request(self, request: Request) -> bool:
        keys = {
            call_key(endpoint, request, model=self._call.model, model_version=version)
            for endpoint in self._endpoints
            for version in self._versions
        }
        return self._call.key in keys | set(map(truncated_key, keys))

    def of_text(self, text: str) -> bool:
        return any(
            embedding_key(endpoint, text, model=self._call.model, model_version=version) == self._call.key
            for endpoint in self._endpoints
            for version in self._versions
        )


def _rows(lake: Lake, model: type[Row], domain: str) -> Iterator[Any]:
    """Yield the rows of a table that may not be there."""
    if lake.exists(model.table, domain):
        yield from lake.rows(model, domain)


@dataclass(frozen=True)
class _Asked:
    """What was asked about a chunk, and what the teacher answered."""

    chunk: Chunk
    question: str
    answer: str


@dataclass(frozen=True)
class _Corpus:
    """Chunks of a domain with the questions about them."""

    chunks: Sequence[Chunk]
    asked: Sequence[_Asked]


def _corpora(project: Project, lake: Lake, domain: str, settings: DomainSettings) -> Iterator[_Corpus]:
    """Yield what is in the lake, then what a preview asked about the documents as they are now."""
    chunks = {chunk.chunk_id: chunk for chunk in _rows(lake, Chunk, domain)}
    pairs = (pair for pair in _rows(lake, QAPair, domain) if pair.question and pair.chunk_id in chunks)
    yield _Corpus([*chunks.values()], [_Asked(chunks[pair.chunk_id], pair.question, pair.answer) for pair in pairs])
    if settings.chunks.boundaries == "semantic":  # which are found by a model
        return
    models = ModelClients(project)
    cut = read_corpus(models, domain).chunks
    form = recorded_form(models, lake, domain, cut)
    with models.caller(Role.TEACHER) as teacher:
        drafts = list(
            draft_round(
                first_round_plan(cut, settings.questions),
                settings.questions,
                ask=lambda requests: (answer or not_asked() for answer in teacher.stored(requests)),
                instructions=settings.prompt.instructions,
                structured=form.structured,
            )
        )
    yield _Corpus(cut, [_Asked(draft.chunk, draft.question, draft.answer) for draft in drafts if draft.question])


def _texts(project: Project, lake: Lake, domain: str, settings: DomainSettings) -> Iterator[str]:
    """Yield every text of the domain that is embedded."""
    for model in (GoldenQuestion, RaftRow):
        yield from (row.question for row in _rows(lake, model, domain))
    for corpus in _corpora(project, lake, domain, settings):
        yield from (chunk.passage for chunk in corpus.chunks)
        yield from (asked.question for asked in corpus.asked)


def _requests(project: Project, lake: Lake, domain: str, settings: DomainSettings, role: Role) -> Iterator[Request]:
    """Yield every request that the lineage and a preview make of a role in the domain."""
    answers: list[ModelAnswer] = list(chain.from_iterable(_rows(lake, model, domain) for model in ANSWERS.values()))
    match role:
        case Role.TEACHER:
            yield from map(probe_request, range(times_relearned(records_of(project)) + 1))
            for corpus in _corpora(project, lake, domain, settings):
                yield from _teacher_requests(settings, corpus)
        case Role.JUDGE:
            yield from judging_requests(answers, settings.judging)
            for corpus in _corpora(project, lake, domain, settings):
                yield from (judge_request(one.question, one.answer, one.chunk.passage) for one in corpus.asked)
        case Role.BASELINE | Role.STUDENT:
            names = [field.name for field in fields(EvaluationItem)]
            for answer in answers:
                item = EvaluationItem(**{name: getattr(answer, name) for name in names})
                yield item_request(
                    item,
                    settings.student.format,
                    settings.evaluation,
                    settings.prompt.instructions,
                    has_examples=settings.student.examples == "always",
                )
            yield smoke_request(settings.student, settings.evaluation.max_answer_tokens, settings.prompt.instructions)


def _teacher_requests(settings: DomainSettings, corpus: _Corpus) -> Iterator[Request]:
    for one in corpus.asked:
        for answer_of in (teacher_answer_request, structured_answer_request):
            yield answer_of(one.question, one.chunk, settings.questions, settings.prompt.instructions)
    for chunk in corpus.chunks:
        for count in range(settings.questions.questions_per_chunk, 0, -1):
            for question_of in (question_request, structured_question_request):
                yield question_of(chunk, count, settings.questions)
