"""`Caller`: makes many requests to one model, several at once, each of them once, and returns the answers in order.

What belongs here: what a call of each kind is (its body, its entry in the store, its answer) and what is counted. When
calls start and end belongs in `streams`, how one call is retried in `attempts`, how it is named in `keys`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from raft_assets.core.errors import EndpointError, RaftError
from raft_assets.core.vectors import Embedding, NoVector
from raft_assets.llm import service_errors
from raft_assets.llm.answers import (
    FLOAT32,
    ParsedResponse,
    read_answer,
    read_new_answer,
    read_vectors,
    split_usage,
)
from raft_assets.llm.attempts import (
    DEFAULT_RETRY_POLICY,
    CallFailedError,
    InputsRefusedError,
    RefusedError,
    Response,
    RetryingClient,
    RetryPolicy,
    UnreachableError,
)
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.batches import BatchClient
from raft_assets.llm.budget import Budget, Reservation, without_budget
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.completion_form import CHAT, COMPLETION, NoChatError, to_completion
from raft_assets.llm.evidence import Evidence
from raft_assets.llm.input_limits import read_texts_limit, read_tokens_limit
from raft_assets.llm.keys import EMBEDDING, call_key, embedding_key, lost_key, truncated_key
from raft_assets.llm.limits import Limiter
from raft_assets.llm.prices import FREE, Price
from raft_assets.llm.requests import NO_REQUESTER, NO_USAGE, Answer, Origin, Progress, Request, Usage, UsageStats
from raft_assets.llm.store import CallStore, StoredCall, call_sources
from raft_assets.llm.streams import Batch, LostItem, Slot, Stream
from raft_assets.llm.unsupported_parameters import MAX_TOKENS_PARAMETERS
from raft_assets.llm.usage import TokenCount, estimate_tokens, max_usage
from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)
T = TypeVar("T")

WINDOW_PER_CALL = 4  # requests taken ahead per call in flight: enough that a slow first one rarely stops the others
MAX_TEXTS_PER_CALL = 64  # of an embeddings call; services take 2048, but a group is lost and repeated as a whole
RETRY_TOKEN_FACTOR = 4  # times the tokens, for an answer that was cut off
MAX_TEXTS_AHEAD = 16_384  # of the consumer, whatever the concurrency: some 20 MB of texts and vectors
MAX_CHARACTERS_PER_CALL = 200_000  # of an embeddings call; OpenAI takes 300,000 tokens
LOOKUP_BATCH_SIZE = 500
# calls given up without one answer between them: the service is down, it's not a single request
MAX_CONSECUTIVE_FAILURES = 16

_EmbeddedText = Response[np.ndarray] | RefusedError  # the vector of a text, or why there is none


class Caller:
    """Calls one model, and makes every request once.

    `model` is the name that is sent, the endpoint's by default; `model_version` is what else its answers depend on: the
    embedded provider's version, a fine-tuned model's training hash, empty if the service reports nothing. `limiter`
    decides how many calls are in flight, and its creator closes it; `capabilities` decide how a request is worded for
    the model; `price` and `origin` are for the ledger, and `budget` stops calls in time; `count_tokens` counts what the
    service doesn't tell. With `batches` requests are made in batches. `on_progress` is called in the thread that
    consumes the answers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str | None = None,
        model_version: str,
        client: openai.AsyncOpenAI,
        store: CallStore,
        limiter: Limiter,
        capabilities: Capabilities,
        price: Price = FREE,
        origin: Origin = NO_REQUESTER,
        budget: Budget | None = None,
        count_tokens: TokenCount = estimate_tokens,
        batches: BatchClient | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        patience: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        self._endpoint = endpoint
        self._model = model or endpoint.model
        self._model_version = model_version
        self._store = store
        self._ceiling = endpoint.limits.max_concurrency
        self._price = price
        self._origin = origin
        self._budget = budget
        if budget:
            budget.check_price(price, self._model)
        self._on_progress = on_progress
        self._capabilities = capabilities
        self._batches = batches
        self._dimensions: int | None = None
        self._attempts = RetryingClient(
            endpoint,
            model=self._model,
            client=client,
            limiter=limiter,
            capabilities=capabilities,
            patience=patience,
            hold=self._hold,
            count_tokens=count_tokens,
        )
        self._consecutive_failures = 0
        self._evidence = Evidence()
        self._has_stopped = False
        self._cancelled = list[StoredCall]()
        self._count_lock = threading.Lock()
        self._usage_stats = UsageStats()

    def ask(self, requests: Iterable[Request]) -> Generator[Answer]:
        """Return the answers in the order of the requests, which are taken as they are needed.

        Equal requests are made once. A call that is given up or refused is an answer with status `failed`. Raises
        EndpointError if the endpoint rejects calls in a way that a retry can't fix, takes none of the requests without
        saying why, or is reached by none of them, and RaftError if answers can't be stored. Closing the generator
        cancels what is in flight.

        If the role uses batches, requests that aren't stored are submitted and BatchPendingError is raised; called
        again when the answers have arrived, it returns them.
        """
        if self._batches:
            requests = list(requests)
            self._submit_batches(self._batches, requests)
        stream = Stream(
            self._store,
            key_of=self._request_key,
            send=self._ask_one,
            batches=lambda keyed: [[entry] for entry in keyed],
            window=WINDOW_PER_CALL * self._ceiling,
            group=self._ceiling,
            on_joined=lambda keyed: self._add_sources((key, request.documents) for key, request in keyed),
        )
        return self._yield_results(stream, requests, self._answer)

    def _add_sources(self, keyed: Iterable[tuple[str, Collection[str]]]) -> None:
        """Remember for what calls are asked that aren't made now, or not here."""
        domain = self._origin.domain
        self._store.add_sources(source for key, documents in keyed for source in call_sources(key, domain, documents))

    def _submit_batches(self, batches: BatchClient, requests: Sequence[Request]) -> None:
        keyed = {self._request_key(request): request for request in requests}
        stored = self._look_up(iter(keyed), self._store.fetch)
        missing = {key: request for (key, request), call in zip(keyed.items(), stored, strict=True) if call is None}
        self._add_sources((self._request_key(request), request.documents) for request in requests)
        if missing:
            run_coroutine(batches.collect_or_submit(missing, self._reserve_for_batch))

    def _reserve_for_batch(self, requests: Iterable[Request]) -> None:
        """Spend the most that a batch may cost from the budget.

        Its actual cost is unknown before it is answered.
        """
        if self._budget:
            most = [self._price.of(max_usage(request.body), batched=True) or 0.0 for request in requests]
            self._budget.spend(sum(most))

    def embed(
        self, texts: Iterable[str], *, documents_of: Callable[[str], Collection[str]] = lambda _: ()
    ) -> Generator[Embedding]:
        """Return a float32 vector per text, in order, as the model gives it; equal texts are embedded once.

        A text that the service refuses is a NoVector with its sentence, and the others go on. Texts are sent in groups
        and stored one by one. `documents_of` returns the paths of the documents that a text is of. Raises as `ask`
        does, and EndpointError if a group is lost for another reason. Vectors of another length than before are
        refused, and not stored.
        """
        stream = Stream(
            self._store,
            key_of=self._text_key,
            send=partial(self._embed_batch, documents_of),
            batches=lambda keyed: group_texts(keyed, most=self._capabilities.texts_a_call or MAX_TEXTS_PER_CALL),
            on_stored=self._note_dimensions,
            on_joined=lambda keyed: self._add_sources((key, documents_of(text)) for key, text in keyed),
            window=min(WINDOW_PER_CALL * self._ceiling * MAX_TEXTS_PER_CALL, MAX_TEXTS_AHEAD),
            group=MAX_TEXTS_PER_CALL,
        )
        return self._yield_results(stream, texts, self._vector)

    def stored(self, requests: Iterable[Request]) -> Iterator[Answer | None]:
        """Yield the stored answer to each request, in order; None if it would be a call.

        Nothing is sent.
        """
        for call in self._look_up(map(self._request_key, requests)):
            yield self._read(call, from_store=True) if call else None

    def has_embeddings(self, texts: Iterable[str]) -> list[bool]:
        """Return whether the vector of each text is stored. Nothing is sent."""
        return [call is not None for call in self._look_up(map(self._text_key, texts))]

    def embedding_calls(self, texts: Iterable[str]) -> int:
        """Return how many calls these texts would be embedded by, as far as the service's limit is known."""
        most = self._capabilities.texts_a_call or MAX_TEXTS_PER_CALL
        return sum(1 for _ in group_texts([("", text) for text in texts], most=most))

    def _look_up(
        self, keys: Iterator[str], get: Callable[[Iterable[str]], dict[str, StoredCall]] | None = None
    ) -> Iterator[StoredCall | None]:
        while batch := list(islice(keys, LOOKUP_BATCH_SIZE)):
            calls = (get or self._store.get)(batch)
            yield from map(calls.get, batch)

    @property
    def usage_stats(self) -> UsageStats:
        """The counts so far, for the metadata of an asset."""
        return self._usage_stats

    # ------------------------------------------------------------ in the consumer's thread

    def _yield_results(self, stream: Stream[Any], items: Iterable[Any], result: Callable[[Slot], T]) -> Generator[T]:
        is_there, unreachable = False, None
        try:
            with contextlib.closing(stream.slots(items)) as slots:
                for answered, slot in enumerate(slots, start=1):
                    value = result(slot)
                    lost = slot.future.exception()
                    is_lost = isinstance(lost, UnreachableError)
                    unreachable = lost if is_lost else unreachable
                    is_there = is_there or not (is_lost or slot.from_store)
                    if self._on_progress:
                        self._on_progress(Progress(answered, stream.waiting, self._usage_stats))
                    yield value
        finally:
            self._store_cancelled()
        if self._evidence.doubt and not self._evidence.is_proven:  # nothing shows that it is about single requests
            raise EndpointError(self._evidence.doubt)
        if unreachable and not is_there:  # whatever it answered before
            raise EndpointError(service_errors.unavailable_message(self._endpoint, self._model, str(unreachable)))

    def _store_cancelled(self) -> None:
        """Store what the calls cost that were cancelled on their way; it must not hide why they were."""
        cancelled, self._cancelled = self._cancelled, []
        try:
            if cancelled:
                self._store.put(cancelled)
        except RaftError as error:
            log.warning("%d cancelled calls to %s are not in the ledger: %s", len(cancelled), self._model, error)

    def _request_key(self, request: Request) -> str:
        return call_key(self._endpoint, request, model=self._model, model_version=self._model_version)

    def _text_key(self, text: str) -> str:
        return embedding_key(self._endpoint, text, model=self._model, model_version=self._model_version)

    def _answer(self, slot: Slot) -> Answer:
        try:
            call = slot.future.result()
        except CallFailedError as lost:
            return Answer(
                slot.key,
                "",
                "failed",
                f"{self._endpoint.role} gave no answer: {lost}.",
                NO_USAGE,
                0.0,
                from_store=False,
            )
        self._evidence.is_proven = True
        self._count(from_store=slot.from_store)
        return self._read(call, from_store=slot.from_store)

    @staticmethod
    def _read(call: StoredCall, *, from_store: bool) -> Answer:
        reading = read_answer(json.loads(call.payload))
        if reading.status == "failed" and call.status == "ok":  # stored by a version that didn't tell half an answer
            reading = ParsedResponse(reading.text, "ok")
        return Answer(call.key, reading.text, reading.status, reading.detail, call.usage, call.latency_s, from_store)

    def _vector(self, slot: Slot) -> Embedding:
        try:
            call = slot.future.result()
        except RefusedError as refused:
            return NoVector(f"{self._endpoint.role} gave no vector: {refused}.")
        except CallFailedError as lost:
            raise EndpointError(service_errors.unavailable_message(self._endpoint, self._model, str(lost))) from None
        self._evidence.is_proven = True
        self._count(from_store=slot.from_store)
        vector = np.frombuffer(call.payload, dtype=FLOAT32)
        if self._dimensions not in (None, vector.size):
            raise EndpointError(
                f"The stored vectors of {self._model} have {self._dimensions} and {vector.size} numbers: two models "
                f"answered at {self._endpoint.service}. {self._other_vectors_remedy}"
            )
        return vector

    # ------------------------------------------------------------ on the background loop

    async def _ask_one(self, batch: Batch[Request]) -> list[StoredCall]:
        [(key, request)] = batch
        response = self._truncated_batch_answer(key) or await self._call_in_form(request)
        if response.content.status == "truncated":
            response = await self._ask_with_more_tokens(request, response)
        payload = json.dumps(response.payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
        call = self._to_stored_call(key, request.kind, response, payload, status=response.content.status)
        return [replace(call, documents=request.documents)]

    async def _call_in_form(self, request: Request) -> Response[ParsedResponse]:
        """Make the call in the form that the model takes: a base model, which can't chat, goes on with a text."""
        if request.kind == COMPLETION or not self._is_without_chat:
            try:
                return await self._call(request.kind, request.body, read_new_answer)
            except NoChatError as refusal:
                if not self._is_without_chat:  # another call may have learned it while this one was under way
                    log.warning("%s takes no chat requests (%s); sending completion requests", self._model, refusal)
                    self._capabilities.learn(CHAT, COMPLETION)
        return await self._call(COMPLETION, to_completion(request).body, read_new_answer)

    @property
    def _is_without_chat(self) -> bool:
        return self._capabilities.substitutes.get(CHAT) == COMPLETION

    def _truncated_batch_answer(self, key: str) -> Response[ParsedResponse] | None:
        """Return the answer that a batch cut off, which is already paid for and stored."""
        name = truncated_key(key)
        if self._batches is None or (call := self._store.get([name]).get(name)) is None:
            return None
        payload = json.loads(call.payload)
        return Response(payload, read_answer(payload), NO_USAGE, call.latency_s, call.tries)

    async def _ask_with_more_tokens(
        self, request: Request, cut_off: Response[ParsedResponse]
    ) -> Response[ParsedResponse]:
        """Return the answer to the same request with more tokens, once; both are paid.

        If that fails, return the answer that was cut off.
        """
        maximum = {
            name: request.body[name] * RETRY_TOKEN_FACTOR for name in MAX_TOKENS_PARAMETERS if name in request.body
        }
        try:
            whole = await self._call_in_form(request.with_parameters(**maximum))
        except (CallFailedError, EndpointError):  # for example, more tokens than the model allows
            return cut_off
        return replace(whole, usage=cut_off.usage + whole.usage, latency_s=cut_off.latency_s + whole.latency_s)

    async def _embed_batch(
        self, documents_of: Callable[[str], Collection[str]], batch: Batch[str]
    ) -> list[StoredCall | LostItem]:
        embedded = await self._embed_texts([text for _, text in batch])
        return [
            LostItem(key, outcome)
            if isinstance(outcome, RefusedError)
            else replace(
                self._to_stored_call(key, EMBEDDING, outcome, outcome.content.tobytes(), status="ok"),
                documents=tuple(documents_of(text)),
            )
            for (key, text), outcome in zip(batch, embedded, strict=True)
        ]

    async def _embed_texts(self, texts: Sequence[str]) -> list[_EmbeddedText]:
        """Return the vector of each text with its share of the tokens, or why the service refuses it.

        Where the service refuses so many, they are divided until it takes them, and what it takes is remembered.
        """
        body = {"input": texts, "encoding_format": "base64"}
        try:
            response = await self._call(EMBEDDING, body, lambda payload: self._read_vectors(payload, len(texts)))
        except InputsRefusedError as refused:
            return await self._embed_in_parts(texts, refused)
        except RefusedError as refused:  # of one text, which `_call` has looked at
            return [refused]
        shares = split_usage(response.usage, texts)
        return [
            Response(response.payload, one, usage, response.latency_s, response.tries)
            for usage, one in zip(shares, response.content, strict=True)
        ]

    async def _embed_in_parts(self, texts: Sequence[str], refused: InputsRefusedError) -> list[_EmbeddedText]:
        """Embed texts of which the service refused so many, and remember how many it takes once it has taken them.

        Where it was a single text that it refused, nothing is known of their number.
        """
        known = self._capabilities.texts_a_call
        is_about_content = isinstance(refused.meaning, service_errors.ContentFiltered)
        told = None if is_about_content else read_texts_limit(refused.said, sent=len(texts))
        told = known if known and known < len(texts) else told
        size = told or 1 << (len(texts) - 1).bit_length() - 1  # the next smaller power of two
        embedded = list[_EmbeddedText]()
        for start in range(0, len(texts), size):
            embedded += await self._embed_texts(texts[start : start + size])
            if told and not any(isinstance(one, RefusedError) for one in embedded):
                self._learn_texts_a_call(told)
        if not any(isinstance(one, RefusedError) for one in embedded):
            self._learn_texts_a_call(size)
        return embedded

    def _learn_texts_a_call(self, size: int) -> None:
        if size < (self._capabilities.texts_a_call or MAX_TEXTS_PER_CALL):
            self._capabilities.find_out("texts_a_call", size)

    def _read_vectors(self, payload: Mapping[str, Any], count: int) -> list[np.ndarray]:
        """Read vectors as long as those before; raises EndpointError for others: they are another model's."""
        vectors = read_vectors(payload, count=count)
        length, before = vectors[0].size, self._dimensions or self._capabilities.dimensions
        if before and before != length:
            raise EndpointError(
                f"{self._endpoint.role} (model {self._model} at {self._endpoint.service}) sends vectors of {length} "
                f"numbers, and sent {before} before: another model answers there, and none of them is stored. "
                f"{self._other_vectors_remedy}"
            )
        self._dimensions = length
        if self._endpoint.provider != "embedded":  # its version is part of the key
            self._capabilities.find_out("dimensions", length)
        return vectors

    @property
    def _other_vectors_remedy(self) -> str:
        return (
            f"Set the model of before; or, to change to this one, run `raft doctor --relearn` and `raft calls prune "
            f"--model {self._model}`."
        )

    def _note_dimensions(self, calls: Iterable[StoredCall]) -> None:
        for call in calls:
            self._dimensions = self._dimensions or len(call.payload) // FLOAT32.itemsize

    def _refuse_text(self, number: int, refused: InputsRefusedError, text: str) -> RefusedError:
        """Return why the service doesn't embed a text. Raises EndpointError where it takes no other either."""
        if isinstance(refused.meaning, service_errors.StopEndpoint):
            raise EndpointError(refused.meaning.sentence)
        if refused.is_too_long:
            most = read_tokens_limit(refused.said)
            if most:
                self._capabilities.find_out("tokens_a_text", most)
            limit = f"takes at most {most:,} tokens a text" if most else "doesn't take texts of this length"
            remedy = "lower chunks.chunk_size, or set a model that takes longer texts"
            reason = f"it {limit} ({refused.shown}), and this one has {len(text):,} characters: {remedy}"
        else:
            reason = f"it refuses the text ({refused.shown})"
        sentence = ""
        if isinstance(refused.meaning, service_errors.Unexplained) and not refused.is_too_long:
            sentence = refused.meaning.sentence
        self._count(failures=1)
        self._judge_refusal(number, sentence, reason)
        return RefusedError(reason, tries=1, sentence=sentence)

    async def _call(self, kind: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> Response[T]:
        number, lost = self._evidence.start(), list[Usage]()
        try:
            response = await self._attempts.call(kind, body, read, on_lost=lost.append)
        except RefusedError as refused:
            self._count(failures=1, retries=refused.tries - 1)
            await self._store_lost(kind, lost, str(refused))
            self._judge_refusal(number, refused.sentence, str(refused))
            raise
        except NoChatError as refusal:
            await self._store_lost(kind, lost, str(refusal))
            raise
        except InputsRefusedError as inputs:
            await self._store_lost(kind, lost, str(inputs))
            if len(texts := body["input"]) > 1:
                self._evidence.record_repeat(number)
                raise
            raise self._refuse_text(number, inputs, texts[0]) from None
        except EndpointError as error:
            self._has_stopped = True
            await self._store_lost(kind, lost, str(error))
            raise
        except asyncio.CancelledError:
            # of a service that takes nothing: it would have refused this call as well
            if self._evidence.is_proven or not self._has_stopped:
                self._cancelled += self._lost_calls(kind, lost, "it was cancelled on its way")
            raise
        except CallFailedError as error:
            self._consecutive_failures += 1
            self._count(failures=1, retries=error.tries - 1)
            await self._store_lost(kind, lost, str(error))
            if self._consecutive_failures < MAX_CONSECUTIVE_FAILURES:
                raise
            reason = f"{self._consecutive_failures} calls in a row were given up, the last one because {error}"
        else:
            self._consecutive_failures = 0
            self._evidence.record_answer()
            response = replace(response, usage=self._paid(lost) + response.usage)
            self._count(calls=1, retries=response.tries - 1, usage=response.usage)
            return response
        raise EndpointError(service_errors.unavailable_message(self._endpoint, self._model, reason))

    def _judge_refusal(self, number: int, sentence: str, reason: str) -> None:
        """Raise EndpointError where so much was refused that the endpoint takes nothing; `sentence` says so of it."""
        if self._evidence.record_refusal(number, sentence):
            self._has_stopped = True
            stop = sentence or service_errors.nothing_taken_message(self._endpoint, self._model, reason)
            raise EndpointError(stop) from None

    def _hold(self, body: Mapping[str, Any]) -> contextlib.AbstractAsyncContextManager[Reservation]:
        return self._budget.held(self._price, body) if self._budget else without_budget(body)

    def _paid(self, lost: Iterable[Usage]) -> Usage:
        """Return the tokens of responses that could not be used; none where they cost nothing."""
        usage = sum(lost, NO_USAGE)
        return NO_USAGE if self._price.of(usage) == 0 else usage

    async def _store_lost(self, kind: str, lost: Iterable[Usage], reason: str) -> None:
        """Store what was paid for a call that was given up, so that it is in the ledger and in later budgets."""
        if calls := self._lost_calls(kind, lost, reason):
            await asyncio.to_thread(self._store.put, calls)

    def _lost_calls(self, kind: str, lost: Iterable[Usage], reason: str) -> list[StoredCall]:
        """Return what is stored of a call that was given up, and count it; nothing where it cost nothing."""
        usage = self._paid(lost)
        if usage == NO_USAGE:
            return []
        self._count(usage=usage)
        response = Response({"error": {"message": reason}}, None, usage, latency_s=0.0, tries=1)
        payload = json.dumps(response.payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return [self._to_stored_call(lost_key(), kind, response, payload, status="failed")]

    def _to_stored_call(
        self, key: str, kind: str, response: Response[Any], payload: bytes, *, status: str
    ) -> StoredCall:
        service, created = self._endpoint.service, time.time()
        usage, latency_s = response.usage, response.latency_s
        return StoredCall(
            *(key, service, self._model, kind, status, usage, latency_s, created, payload),
            tries=response.tries,
            role=self._endpoint.role.value,
            origin=self._origin,
        )

    def _count(
        self, *, calls: int = 0, from_store: int = 0, retries: int = 0, failures: int = 0, usage: Usage = NO_USAGE
    ) -> None:
        """Add to the counts, from either thread."""
        dollars = self._price.of(usage) if calls or usage != NO_USAGE else 0.0
        with self._count_lock:
            self._usage_stats += UsageStats(
                calls, from_store, retries, failures, usage, dollars or 0.0, int(dollars is None)
            )


def group_texts(keyed: Batch[str], *, most: int = MAX_TEXTS_PER_CALL) -> Iterator[Batch[str]]:
    """Yield calls of at most `most` texts and MAX_CHARACTERS_PER_CALL characters.

    A longer text is sent alone.
    """
    batch: list[tuple[str, str]] = []
    characters = 0
    for key, text in keyed:
        if batch and (len(batch) == min(most, MAX_TEXTS_PER_CALL) or characters + len(text) > MAX_CHARACTERS_PER_CALL):
            yield batch
            batch, characters = [], 0
        batch.append((key, text))
        characters += len(text)
    if batch:
        yield batch
