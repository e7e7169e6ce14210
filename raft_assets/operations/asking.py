"""Asking a domain a question of one's own: the passages that retrieval finds, and what models answer from them.

A question goes the way of a golden question without evidence through the retrieved arm of the evaluation: the same
vectors, prompt, call store and parser. What belongs here: finding and asking. How it is shown is up to the caller.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from raft_assets.core.errors import DataError, EndpointError
from raft_assets.core.identity import short_digest
from raft_assets.core.tables import PAGED_KINDS, Chunk, EvaluatedModel, ModelAnswer, SourceDocument
from raft_assets.core.vectors import NoVector
from raft_assets.dataset.golden import GoldenQuestionInput, resolve_golden_questions
from raft_assets.documents.document_languages import count_languages
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.evaluation.arms import (
    PROMPT_OVERHEAD_TOKENS,
    EvaluationItem,
    build_items,
    item_request,
    to_model_answer,
)
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.completion_form import CHAT, COMPLETION, to_completion
from raft_assets.llm.requests import CallKind, Origin, Request, Usage, UsageStats
from raft_assets.operations.deploying import deployed_student, ensure_student_answers
from raft_assets.operations.languages import check_languages
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import records_of
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.vectors import read_index
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.lake import Lake
from raft_assets.student.deployment import StudentDeployment
from raft_assets.student.use import asked_endpoint

log = logging.getLogger(__name__)

ASSET = "ask"  # as the ledger names what was asked for here
MAX_QUESTION_CHARACTERS = 4000  # a longer one is a text that was pasted by mistake
QUESTION_TOKENS = 100  # of a question in what it costs at most


@dataclass(frozen=True)
class Passage:
    """A chunk that retrieval found for a question; `place` is its pages or sections in the document."""

    chunk_id: str
    path: str
    place: str
    text: str


@dataclass(frozen=True)
class Reply:
    """A model's answer, read by the prompt contract.

    `seconds` from the request to the answer; `dollars` are what it cost now: 0 from the store, None where the price is
    unknown.
    """

    answer: ModelAnswer
    seconds: float
    dollars: float | None
    from_store: bool

    @property
    def cost(self) -> str:
        """How long it took and what it cost, for people."""
        paid = "from the store, nothing paid" if self.from_store else describe_dollars(self.dollars)
        return f"{self.seconds:.1f} s, {paid}"


@dataclass(frozen=True)
class AskedQuestion:
    """A question with its passages, nearest first, and the replies; `dollars` with those of the question's vector."""

    question: str
    passages: tuple[Passage, ...]
    replies: tuple[Reply, ...]
    dollars: float | None

    @property
    def final_answer(self) -> str:
        """The final answer of the model that was asked last: the student, where both were."""
        return self.replies[-1].answer.final_answer

    @property
    def quotes(self) -> list[str]:
        """What any of the models quoted."""
        return [quote for reply in self.replies for quote in reply.answer.quotes]


@dataclass(frozen=True)
class SentRequest:
    """A request as it is sent: the endpoint with the model's name, the kind of call, and the body without that name."""

    endpoint: Endpoint
    kind: CallKind
    body: Mapping[str, Any]


@dataclass(frozen=True)
class SearchedPassages:
    """What a question is answered from: chunks by id, and their vectors.

    `paged`: the ids of the documents that have pages. `languages`: the number of documents by language, the most
    frequent first. Both are looked up where they are needed.
    """

    chunks: Mapping[str, Chunk]
    index: VectorIndex
    paged: Callable[[], frozenset[str]]
    languages: Callable[[], Mapping[str, int]]


def passages_in_lake(lake: Lake, domain: str) -> SearchedPassages:
    """Return the passages of the domain's tables. Raises DataError where it has none yet."""
    for table in ("chunks", "chunk_embeddings"):
        if not lake.exists(table, domain):
            raise DataError(
                f"{domain!r} has no passages to search yet: raft run {domain!r} --select chunk_embeddings reads "
                "its documents and embeds them."
            )
    return SearchedPassages(
        {chunk.chunk_id: chunk for chunk in lake.rows(Chunk, domain)},
        read_index(lake, domain),
        paged=lambda: frozenset(_paged_documents(lake, domain)),
        languages=lambda: count_languages(lake.rows(SourceDocument, domain)),
    )


class DomainAsker:
    """Asks questions about a domain, whose passages and vectors are read once.

    `passages`: by default those in the lake. Raises DataError where the domain has none yet.
    """

    def __init__(self, models: ModelClients, domain: str, passages: SearchedPassages | None = None) -> None:
        self.models, self.domain = models, domain
        self._lake = Lake.of(models.project)
        self._passages = passages or passages_in_lake(self._lake, domain)
        self._chunks, self._index = self._passages.chunks, self._passages.index
        self._settings = resolve_student_form(models.project, self._lake, domain, keep=False)
        self._origin = Origin(asset=ASSET, domain=domain)

    @cached_property
    def deployed(self) -> StudentDeployment | None:
        """The domain's newest student that is deployed; None before the first one is."""
        return deployed_student(self._lake, self.domain)

    @property
    def is_newer_trained(self) -> bool:
        """Whether a student was trained after the one that is deployed."""
        if self.deployed is None or not self._lake.exists("finetuned_model", self.domain, ".json"):
            return False
        newest = self._lake.read_record("finetuned_model", self.domain)
        return bool(newest["training_hash"] != self.deployed.training_hash)

    def choose_models(self, wanted: Literal["student", "baseline", "both"] | None) -> list[EvaluatedModel]:
        """Return the models that answer: by default the student, and the baseline before there is one.

        Raises DataError where the student is wanted and there is none.
        """
        if self.deployed is None and wanted == "student":
            raise DataError(
                f"{self.domain!r} has no student yet: raft run {self.domain!r} trains one, and the model baseline is "
                "the one that it will be trained from."
            )
        if self.deployed is None or wanted == "baseline":
            return ["baseline"]
        return ["baseline", "student"] if wanted == "both" else ["student"]

    def asks_embedded(self, asked: Sequence[EvaluatedModel]) -> bool:
        """Return whether the embedded provider answers for one of the models, which is no language model."""
        return any(self._endpoint(evaluated).provider == "embedded" for evaluated in asked)

    def name_of(self, evaluated: EvaluatedModel) -> str:
        """Return the model's name at its service."""
        return self.deployed.name if evaluated == "student" and self.deployed else self._endpoint(evaluated).model

    def check(self, asked: Sequence[EvaluatedModel]) -> None:
        """Check before questions what an evaluation checks: that the models know the language, and are there.

        Raises SettingsError for the language, and EndpointError for a student whose deployment is gone.
        """
        roles = [Role(evaluated.upper()) for evaluated in asked]
        if any(self.models.endpoints[role].knows_english_only for role in roles):
            check_languages(self.models.project, self.domain, self._passages.languages(), roles)
        if "student" in asked and self.deployed:
            ensure_student_answers(self.models, self._lake, self.domain, origin=self._origin, on_event=log.info)

    def describe_paid_calls(self, asked: Sequence[EvaluatedModel]) -> list[str]:
        """Describe what a question costs at most, a sentence for each role that may cost money."""
        evaluation = self._settings.evaluation
        prompt = evaluation.top_k * self._settings.chunks.chunk_size + PROMPT_OVERHEAD_TOKENS
        most = {Role(one.upper()): Usage(prompt, 0, evaluation.max_answer_tokens) for one in asked}
        return [
            f"{role.value} ({endpoint.model} at {endpoint.service}): a call for each new question, "
            f"{_describe_price(self.models.prices.of(endpoint).of(usage))}"
            for role, usage in ({Role.EMBEDDING: Usage(QUESTION_TOKENS)} | most).items()
            if not (endpoint := self.models.endpoints[role]).is_free
        ]

    def ask(self, question: str, asked: Sequence[EvaluatedModel]) -> AskedQuestion:
        """Find the passages of a question and ask the models, each of them once for the same prompt.

        Raises DataError for an empty or a very long question, and EndpointError as a call does.
        """
        item, embedding = self._retrieve(question)
        passages = tuple(self._passage(chunk_id) for chunk_id in item.document_chunk_ids)
        replies, stats = [], embedding
        for evaluated in asked:
            reply, used = self._reply(item, evaluated)
            replies.append(reply)
            stats += used
        return AskedQuestion(item.question, passages, tuple(replies), _dollars(stats))

    def sent(self, question: str, evaluated: EvaluatedModel) -> SentRequest:
        """Return what a question becomes on its way to a model; nothing but the question's vector is asked for."""
        item, _ = self._retrieve(question)
        request, endpoint = self._request(item), self._endpoint(evaluated)
        if evaluated == "student" and self.deployed:
            endpoint = asked_endpoint(endpoint, self.deployed)
        known = Capabilities.of(records_of(self.models.project), endpoint, endpoint.model)
        if request.kind == CHAT and known.substitutes.get(CHAT) == COMPLETION:
            request = to_completion(request)
        return SentRequest(endpoint, request.kind, known.apply(request.body))

    def _endpoint(self, evaluated: EvaluatedModel) -> Endpoint:
        return self.models.endpoints[Role(evaluated.upper())]

    def _retrieve(self, question: str) -> tuple[EvaluationItem, UsageStats]:
        """Return the question as the retrieved arm shows it, and what its vector cost."""
        question = question.strip()
        if not question:
            raise DataError("The question is empty: write one.")
        if len(question) > MAX_QUESTION_CHARACTERS:
            raise DataError(
                f"The question has {len(question):,} characters: at most {MAX_QUESTION_CHARACTERS:,} are asked."
            )
        with self.models.caller(Role.EMBEDDING, origin=self._origin, live=True) as encoder:
            (vector,) = encoder.embed([question])
            stats = encoder.usage_stats
        if isinstance(vector, NoVector):
            raise EndpointError(f"No passage can be found for the question: {vector.reason}")
        found = self._index.nearest(vector, self._settings.evaluation.top_k)
        if not found or not self._chunks.keys() >= set(found):
            raise DataError(
                f"The vectors of {self.domain!r} are not those of its passages: raft run {self.domain!r} --select "
                "chunk_embeddings makes them."
            )
        asked = GoldenQuestionInput(id=short_digest(question), question=question, answers=("unknown",))
        items = build_items(
            (),
            resolve_golden_questions([asked], (), self._chunks.values()),
            [self._chunks[chunk_id] for chunk_id in found],
            nearest=lambda *_: found,
            evaluation=self._settings.evaluation.model_copy(update={"arms": ("retrieved",)}),
            dataset=self._settings.dataset,
        )
        return items[0], stats

    def _request(self, item: EvaluationItem) -> Request:
        student, instructions = self._settings.student, self._settings.prompt.instructions
        has_examples = student.examples == "always"
        request = item_request(item, student.format, self._settings.evaluation, instructions, has_examples=has_examples)
        return request.about(self._chunks[chunk_id].path for chunk_id in item.document_chunk_ids)

    def _reply(self, item: EvaluationItem, evaluated: EvaluatedModel) -> tuple[Reply, UsageStats]:
        deployed = self.deployed if evaluated == "student" else None
        began = time.perf_counter()
        with self.models.caller(Role(evaluated.upper()), origin=self._origin, deployed=deployed, live=True) as caller:
            (answer,) = caller.ask([self._request(item)])
            stats = caller.usage_stats
        row = to_model_answer(
            item,
            answer,
            evaluated=evaluated,
            model=self.name_of(evaluated),
            instructions=self._settings.prompt.instructions,
        )
        return Reply(row, time.perf_counter() - began, _dollars(stats), answer.from_store), stats

    def _passage(self, chunk_id: str) -> Passage:
        chunk = self._chunks[chunk_id]
        return Passage(chunk_id, chunk.path, place_of(chunk, is_paged=chunk.doc_id in self._paged), chunk.passage)

    @cached_property
    def _paged(self) -> frozenset[str]:
        """The documents that have pages; others have sections."""
        return self._passages.paged()


def place_of(chunk: Chunk, *, is_paged: bool) -> str:
    """Return the pages or sections of a chunk in words; its number of an API description says nothing to people."""
    if chunk.kind != "prose":
        return ""
    noun = "page" if is_paged else "section"
    if chunk.page_from == chunk.page_to:
        return f"{noun} {chunk.page_from}"
    return f"{noun}s {chunk.page_from}–{chunk.page_to}"


def describe_dollars(dollars: float | None) -> str:
    """Return an amount in words; an unknown price is never nothing."""
    if dollars is None:
        return "price unknown"
    return "US$ 0" if dollars == 0 else f"US$ {dollars:.6f}" if dollars < 0.01 else f"US$ {dollars:,.2f}"


def _describe_price(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"at most {describe_dollars(dollars)}"


def _dollars(stats: UsageStats) -> float | None:
    return None if stats.unpriced else stats.dollars


def _paged_documents(lake: Lake, domain: str) -> Iterator[str]:
    for batch in lake.batches(SourceDocument, domain):
        kinds = zip(batch.column("doc_id").to_pylist(), batch.column("kind").to_pylist(), strict=True)
        yield from (str(document) for document, kind in kinds if kind in PAGED_KINDS)
