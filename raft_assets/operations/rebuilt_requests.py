"""What a stored call asked: its request, made again from the lake and verified against the call's key.

The store keeps answers under a hash of their requests, not the requests, which are passages of documents over and over.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
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
from raft_assets.operations.model_clients import embedded_provider
from raft_assets.operations.process import records_of
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
    names = _Names(project, lake, domain, call)
    if call.kind == EMBEDDING:
        return next(({"input": text} for text in _texts(lake, domain) if names.of_text(text)), None)
    settings = project.settings(domain).values
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


def _texts(lake: Lake, domain: str) -> Iterator[str]:
    yield from (chunk.passage for chunk in _rows(lake, Chunk, domain))
    for model in (QAPair, GoldenQuestion, RaftRow):
        yield from (row.question for row in _rows(lake, model, domain))


def _requests(project: Project, lake: Lake, domain: str, settings: DomainSettings, role: Role) -> Iterator[Request]:
    """Yield every request that the lineage makes of a role in the domain."""
    answers: list[ModelAnswer] = list(chain.from_iterable(_rows(lake, model, domain) for model in ANSWERS.values()))
    match role:
        case Role.TEACHER:
            chunks = {chunk.chunk_id: chunk for chunk in _rows(lake, Chunk, domain)}
            yield from _teacher_requests(lake, domain, settings, chunks)
            yield probe_request(times_relearned(records_of(project)))
        case Role.JUDGE:
            chunks = {chunk.chunk_id: chunk for chunk in _rows(lake, Chunk, domain)}
            for pair in _rows(lake, QAPair, domain):
                if pair.chunk_id in chunks:
                    yield judge_request(pair.question, pair.answer, chunks[pair.chunk_id].passage)
            yield from judging_requests(answers, settings.judging)
        case Role.BASELINE | Role.STUDENT:
            names = [field.name for field in fields(EvaluationItem)]
            for answer in answers:
                item = EvaluationItem(**{name: getattr(answer, name) for name in names})
                yield item_request(item, settings.student.format, settings.evaluation, settings.prompt.instructions)
            yield smoke_request(settings.student, settings.evaluation.max_answer_tokens, settings.prompt.instructions)


def _teacher_requests(
    lake: Lake, domain: str, settings: DomainSettings, chunks: Mapping[str, Chunk]
) -> Iterator[Request]:
    for pair in _rows(lake, QAPair, domain):
        if pair.question and pair.chunk_id in chunks:
            for answer_of in (teacher_answer_request, structured_answer_request):
                yield answer_of(pair.question, chunks[pair.chunk_id], settings.questions, settings.prompt.instructions)
    for chunk in chunks.values():
        for count in range(settings.questions.questions_per_chunk, 0, -1):
            for question_of in (question_request, structured_question_request):
                yield question_of(chunk, count, settings.questions)
