"""The Batch API of OpenAI and Azure OpenAI: many calls in a file, at half the price, answered within a day.

Requests that are not in the store are written into files and submitted; the caller ends without an answer
(`BatchPendingError`) and asks again when the answers have arrived. A batch is recorded by the hash of its requests
before it is submitted, so it is found again after a crash or by another process, and never submitted twice. A line that
failed or expired is requested live the next time.

API: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import EndpointError, WaitingError
from raft_assets.core.identity import digest
from raft_assets.core.ports import Coordination, Records, VersionedRecord, newest_of_all
from raft_assets.llm.answers import MalformedResponseError, abbreviate, read_answer
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.keys import BATCH_SUFFIX, truncated_key
from raft_assets.llm.requests import Origin, Request
from raft_assets.llm.service_errors import StopEndpoint, classify_error, redact_message
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.llm.usage import count_usage
from raft_assets.settings.endpoints import Endpoint, Role

if TYPE_CHECKING:
    import openai
    from openai.types import Batch as RemoteBatch

T = TypeVar("T")

MAX_LINES, MAX_BYTES = 50_000, 100 << 20  # of a file: OpenAI takes 200 MB, Azure 200 MB, some regions 100
URLS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
BATCH_HASH_KEY = "raft_batch"  # in the batch's metadata
LISTING_DELAY_S = 20.0
LOOK_S = 0.1  # while another process settles batches of the same model
FOLDER = "calls/batches"  # of the records and claims
FINAL_STATUSES = ("completed", "failed", "expired", "cancelled")


class BatchPendingError(WaitingError):
    """The answers are still to come; nothing is wrong, and no process waits."""


class BatchRecord(BaseModel):
    """What is recorded of a batch: the keys that it requests, and its outcome.

    `batch` is empty from before the submission until the service has answered it. `lost` are keys without an answer.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    service: str
    model: str
    kind: Literal["chat", "completion"]
    keys: tuple[str, ...]
    asset: str
    domain: str
    run: str
    submitted: float
    batch: str = ""
    status: str = "submitted"
    lost: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether answers are still to come."""
        return self.status not in FINAL_STATUSES


class BatchClient:
    """The batches of one model; records, coordination and store are those of every process of a project."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        records: Records,
        coordination: Coordination,
        client: openai.AsyncOpenAI,
        store: CallStore,
        capabilities: Capabilities,
        origin: Origin,
    ) -> None:
        self._endpoint, self._model = endpoint, model
        self._records, self._coordination = records, coordination
        self._client, self._store = client.with_options(max_retries=3), store
        self._capabilities, self._origin = capabilities, origin

    async def collect(self) -> None:
        """Store the answers that have arrived. Raises EndpointError."""
        async with self._exclusive_access():
            await self._collect_all()

    async def collect_or_submit(
        self, asked: Mapping[str, Request], before_submission: Callable[[Collection[Request]], None]
    ) -> None:
        """Store the answers that have arrived, and submit what is not requested yet.

        `asked`: the requests that aren't stored, by key. `before_submission` may raise, before anything is sent. Raises
        BatchPendingError while answers are to come, and EndpointError. Returns when the rest is to be requested live:
        lines that a batch lost, and answers that it cut off, which are requested with more tokens.
        """
        async with self._exclusive_access():
            await self._collect_all()
            records = self.records()
            lost = {key for record in records for key in record.lost}
            waiting = {key for record in records if record.is_open for key in record.keys}
            stored = set(self._store.get(asked))
            new = {key: request for key, request in asked.items() if key not in stored and key not in waiting | lost}
            if new:
                await asyncio.to_thread(before_submission, new.values())  # it may wait for calls under way on this loop
            for kind in URLS:
                of_kind = {key: request for key, request in new.items() if request.kind == kind}
                for part in self._split_into_files(of_kind):
                    records.append(await self._submit(kind, part))
            pending = [record for record in records if record.is_open and not asked.keys().isdisjoint(record.keys)]
        if pending:
            count, names = sum(len(record.keys) for record in pending), ", ".join(record.batch for record in pending)
            raise BatchPendingError(
                f"{count:,} requests to {self._model} are in batches ({names}), which the service answers within 24 "
                "hours at a lower price. Run `raft run` again to continue with what has arrived, or leave it to the "
                "sensor collect_batches."
            )

    @asynccontextmanager
    async def _exclusive_access(self) -> AsyncIterator[None]:
        """Hold the model's batches: processes that ask the same model take turns.

        What one has submitted, the next one finds.
        """
        name = f"{FOLDER}/{digest(self._endpoint.service, self._model)[:16]}"
        while (claim := self._coordination.claim(name)) is None:  # noqa: ASYNC110 - another process releases it
            await asyncio.sleep(LOOK_S)
        try:
            yield
        finally:
            claim.close()

    async def _collect_all(self) -> None:
        for record in self.records():
            if record.is_open:
                await self._collect(record)

    def records(self) -> list[BatchRecord]:
        """Return every batch of the model, oldest first."""
        return [
            record
            for record in read_batch_records(self._records)
            if (record.service, record.model) == (self._endpoint.service, self._model)
        ]

    async def _submit(self, kind: str, part: Mapping[str, str]) -> BatchRecord:
        name = digest("batch", self._endpoint.service, self._model, *sorted(part))
        record = BatchRecord(
            name=name,
            role=self._endpoint.role,
            service=self._endpoint.service,
            model=self._model,
            kind=kind,  # type: ignore[arg-type]  # a key of URLS
            keys=tuple(part),
            **vars(self._origin),
            submitted=time.time(),
        )
        content = "".join(part.values()).encode("utf-8", "surrogatepass")
        file = await self._call_service(self._client.files.create(file=(f"{name}.jsonl", content), purpose="batch"))
        self._save(record)
        # never retried by the client: what the service did before its answer got lost is looked up first
        batch = await self._call_service(
            self._client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=URLS[kind],  # type: ignore[arg-type]
                completion_window="24h",
                metadata={BATCH_HASH_KEY: name},
            ),
            on_rejection=self._document(record).delete,
        )
        submitted = record.model_copy(update={"batch": batch.id})
        self._save(submitted)
        return submitted

    async def _collect(self, record: BatchRecord) -> None:
        """Store the answers of a batch, once it is over.

        A submission that was interrupted is found again, or its record is deleted.
        """
        batch = await self._find(record)
        if batch is None:
            self._document(record).delete()
            return
        if batch.status not in FINAL_STATUSES:
            self._save(record.model_copy(update={"batch": batch.id, "status": batch.status}))
            return
        if batch.status == "failed" and not batch.output_file_id:
            self._document(record).delete()
            problems = batch.errors.data if batch.errors and batch.errors.data else []
            reasons = "; ".join(f"line {problem.line}: {problem.message}" for problem in problems[:3])
            raise EndpointError(f"The service rejected batch {batch.id} of {self._model}: {abbreviate(reasons)}.")
        answered = set[str]()
        if batch.output_file_id:
            content = await self._call_service(self._client.files.content(batch.output_file_id))
            calls = list(self._read(content.text, record))
            self._store.put(calls)
            answered = {call.key for call in calls}
        lost = tuple(key for key in record.keys if key not in answered)
        self._save(record.model_copy(update={"batch": batch.id, "status": batch.status, "lost": lost}))

    async def _find(self, record: BatchRecord) -> RemoteBatch | None:
        import openai

        if record.batch:
            try:
                return await self._client.batches.retrieve(record.batch)
            except openai.NotFoundError:
                return None
            except openai.APIError as error:
                raise self._to_endpoint_error(error) from None
        if (batch := await self._find_listed(record)) is None:
            await asyncio.sleep(max(0.0, LISTING_DELAY_S - (time.time() - record.submitted)))
            batch = await self._find_listed(record)
        return batch

    async def _find_listed(self, record: BatchRecord) -> RemoteBatch | None:
        import openai

        try:
            async for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get(BATCH_HASH_KEY) == record.name:
                    return batch
        except openai.APIError as error:
            raise self._to_endpoint_error(error) from None
        return None

    def _read(self, content: str, record: BatchRecord) -> Iterator[StoredCall]:
        """Yield the calls of an output file; a line that is not an answer is left out.

        Requests whose key is missing in it are made live.
        """
        wanted = set(record.keys)
        for line in filter(str.strip, content.split("\n")):
            result = json.loads(line)
            body = (result.get("response") or {}).get("body")
            key = result.get("custom_id")
            if key not in wanted or not isinstance(body, Mapping):
                continue
            try:
                reading = read_answer(body)
            except MalformedResponseError:
                continue
            payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            yield StoredCall(
                truncated_key(key) if reading.status == "truncated" else key,
                *(record.service, record.model, record.kind + BATCH_SUFFIX, reading.status),
                *(count_usage({}, body), 0.0, time.time(), payload),
                role=self._endpoint.role.value,
                origin=Origin(record.asset, record.domain, record.run),
            )

    def _split_into_files(self, asked: Mapping[str, Request]) -> Iterator[dict[str, str]]:
        """Yield lines by key, in files within the service's limits."""
        part, size = dict[str, str](), 0
        for key, request in asked.items():
            body = {"model": self._model, **self._capabilities.apply(request.body)}
            line = json.dumps({"custom_id": key, "method": "POST", "url": URLS[request.kind], "body": body}) + "\n"
            if part and (len(part) == MAX_LINES or size + len(line) > MAX_BYTES):
                yield part
                part, size = {}, 0
            part[key] = line
            size += len(line)
        if part:
            yield part

    async def _call_service(self, call: Awaitable[T], on_rejection: Callable[[], None] = lambda: None) -> T:
        import openai

        try:
            return await call
        except openai.APIError as error:
            if getattr(error, "status_code", 500) < 500:
                on_rejection()
            raise self._to_endpoint_error(error) from None

    def _to_endpoint_error(self, error: openai.APIError) -> EndpointError:
        service_error = classify_error(error, self._endpoint, self._model)
        if isinstance(service_error, StopEndpoint):
            return EndpointError(service_error.sentence)
        return EndpointError(
            f"The Batch API of {self._endpoint.service} fails for {self._endpoint.role} "
            f"({redact_message(error, self._endpoint)}). Run again: submitted batches are found again."
        )

    def _document(self, record: BatchRecord) -> VersionedRecord:
        return VersionedRecord(self._records, f"{FOLDER}/{record.name}")

    def _save(self, record: BatchRecord) -> None:
        self._document(record).change(lambda _: record.model_dump_json().encode())


def read_batch_records(records: Records) -> list[BatchRecord]:
    """Return every batch of a project, oldest first."""
    batches = map(BatchRecord.model_validate_json, newest_of_all(records, FOLDER))
    return sorted(batches, key=lambda record: (record.submitted, record.name))
