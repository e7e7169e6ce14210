"""The Batch API of OpenAI and Azure OpenAI: many calls in a file, at half the price, answered within a day.

Requests that are not in the store are written into files and submitted; the caller ends without an answer
(`BatchPendingError`) and asks again when the answers have arrived. A batch is recorded by the hash of its requests
before it is submitted, so it is found again after a crash or by another process, and never submitted twice. The service
is asked for it as well: a batch that another folder or machine submitted is taken over. A line that failed or expired
is requested live the next time.

API: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import EndpointError, WaitingError
from raft_assets.core.identity import digest
from raft_assets.core.ports import Coordination, Records, VersionedRecord, newest_of_all
from raft_assets.llm.answers import CONTENT_FILTER, MalformedResponseError, abbreviate, read_new_answer, read_usage
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.keys import BATCH_SUFFIX, truncated_key, unusable_key
from raft_assets.llm.requests import NO_USAGE, Origin, Request
from raft_assets.llm.service_errors import StopEndpoint, Unexplained, classify_error, find_filtered, redact_message
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.llm.usage import count_usage, error_usage
from raft_assets.settings.endpoints import Endpoint, Role

if TYPE_CHECKING:
    import openai
    from openai.types import Batch as RemoteBatch

T = TypeVar("T")

MAX_LINES, MAX_BYTES = 50_000, 100 << 20  # of a file: OpenAI takes 200 MB, Azure 200 MB, some regions 100
URLS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
BATCH_HASH_KEY = "raft_batch"  # in the batch's metadata
LISTING_DELAY_S = 20.0  # how late a service may list a batch that it accepted
MAX_LISTED = 2_000  # batches that are looked at, newest first
LOOK_BACK_S = 30 * 24 * 3600  # OpenAI keeps the answers so long
CLOCK_TOLERANCE_S = 60.0  # between this machine's clock and the service's
LOOK_S = 0.1  # while another process settles batches of the same model
FOLDER = "calls/batches"  # of the records and claims
FINAL_STATUSES = ("completed", "failed", "expired", "cancelled")
REUSABLE_STATUSES = ("completed", "finalizing", "in_progress", "validating")  # the best first


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


@dataclass(frozen=True)
class Listed:
    """A batch at the service; `name` is that of its record, or anything where raft-assets didn't make it."""

    name: str
    batch: RemoteBatch


class BatchClient:
    """The batches of one model; records, coordination and store are those of every process of a project.

    `listing_delay_s`: how late the service may list a batch that somebody else has just submitted; the embedded
    provider lists it at once.
    """

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
        listing_delay_s: float = LISTING_DELAY_S,
    ) -> None:
        self._endpoint, self._model = endpoint, model
        self._listing_delay_s = 0.0 if endpoint.provider == "embedded" else listing_delay_s
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
            unknown = await self._take_over(list(self._split(new)))
            if unknown:
                submitted = [asked[key] for record in unknown for key in record.keys]
                await asyncio.to_thread(before_submission, submitted)  # it may wait for calls under way on this loop
            for record in unknown:
                await self._submit(record, asked)
            records = self.records()
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

    def _split(self, new: Mapping[str, Request]) -> Iterator[BatchRecord]:
        """Yield the records of the batches that the requests make, within the service's limits of a file."""
        for kind in URLS:
            keys, size = list[str](), 0
            for key, request in new.items():
                if request.kind != kind:
                    continue
                length = len(self._line(key, request))
                if keys and (len(keys) == MAX_LINES or size + length > MAX_BYTES):
                    yield self._record(kind, keys)
                    keys, size = [], 0
                keys.append(key)
                size += length
            if keys:
                yield self._record(kind, keys)

    def _record(self, kind: str, keys: Sequence[str]) -> BatchRecord:
        return BatchRecord(
            name=digest("batch", self._endpoint.service, self._model, *sorted(keys)),
            role=self._endpoint.role,
            service=self._endpoint.service,
            model=self._model,
            kind=kind,  # type: ignore[arg-type]  # a key of URLS
            keys=tuple(keys),
            **vars(self._origin),
            submitted=time.time(),
        )

    def _line(self, key: str, request: Request) -> bytes:
        body = {"model": self._model, **self._capabilities.apply(request.body, is_sent_later=True)}
        line = json.dumps({"custom_id": key, "method": "POST", "url": URLS[request.kind], "body": body}) + "\n"
        return line.encode("utf-8", "surrogatepass")

    async def _take_over(self, records: Sequence[BatchRecord]) -> list[BatchRecord]:
        """Keep the records of batches that the service already has, collect their answers, and return the others.

        The service is asked a second time after the time within which it lists a batch.
        """
        unknown = list(records)
        for pause_s in (0.0, self._listing_delay_s) if self._listing_delay_s else (0.0,):
            if not unknown:
                break
            await asyncio.sleep(pause_s)
            listed = await self._list()
            found = {record.name: await self._find_reusable(record, listed) for record in unknown}
            for record in unknown:
                if batch := found[record.name]:
                    await self._collect(record.model_copy(update={"batch": batch.id}))
            unknown = [record for record in unknown if found[record.name] is None]
        return unknown

    async def _find_reusable(self, record: BatchRecord, listed: Sequence[Listed]) -> RemoteBatch | None:
        """Return the batch of these requests that was answered or will be; None if there is none."""
        batches = [one.batch for one in listed if one.name == record.name and one.batch.status in REUSABLE_STATUSES]
        for batch in sorted(batches, key=lambda batch: REUSABLE_STATUSES.index(batch.status)):
            if batch.status != "completed" or await self._has_answers(batch):
                return batch
        return None

    async def _has_answers(self, batch: RemoteBatch) -> bool:
        """Return whether the answers of a completed batch are still there: services delete them after some weeks."""
        import openai

        if not batch.output_file_id:
            return False
        try:
            await self._client.files.retrieve(batch.output_file_id)
        except openai.NotFoundError:
            return False
        except openai.APIError as error:
            raise self._to_endpoint_error(error) from None
        return True

    async def _submit(self, record: BatchRecord, asked: Mapping[str, Request]) -> None:
        content = b"".join(self._line(key, asked[key]) for key in record.keys)
        uploaded = self._client.files.create(file=(f"{record.name}.jsonl", content), purpose="batch")
        file = await self._call_service(uploaded)
        record = record.model_copy(update={"submitted": time.time()})
        self._save(record)
        # never retried by the client: what the service did before its answer got lost is looked up first
        batch = await self._call_service(
            self._client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint=URLS[record.kind],  # type: ignore[arg-type]
                completion_window="24h",
                metadata={BATCH_HASH_KEY: record.name},
            ),
            on_rejection=self._document(record).delete,
        )
        self._save(record.model_copy(update={"batch": batch.id}))

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
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = await self._call_service(self._client.files.content(file))
            sent = await self._sent_bodies(batch) if _lacks_usage(content.text) else {}
            calls = list(self._read(content.text, record, sent))
            self._store.put(calls)
            answered |= {call.key for call in calls}
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
        if (batch := await self._find_interrupted(record)) is None:
            await asyncio.sleep(max(0.0, self._listing_delay_s - (time.time() - record.submitted)))
            batch = await self._find_interrupted(record)
        return batch

    async def _find_interrupted(self, record: BatchRecord) -> RemoteBatch | None:
        """Return the batch of a submission that was interrupted, however it ended, or another of the same requests."""
        listed = await self._list()
        made_then = [
            one.batch
            for one in listed
            if one.name == record.name and one.batch.created_at >= record.submitted - CLOCK_TOLERANCE_S
        ]
        return await self._find_reusable(record, listed) or next(iter(made_then), None)

    async def _list(self) -> list[Listed]:
        """Return the service's newest batches under the hash that their metadata, else their file, is named by.

        A service without such a list has none.
        """
        import openai

        oldest = time.time() - LOOK_BACK_S
        found: list[RemoteBatch] = []
        try:
            async for batch in self._client.batches.list(limit=100):
                if len(found) == MAX_LISTED or batch.created_at < oldest:
                    break
                found.append(batch)
            # some services keep no metadata
            nameless = {batch.input_file_id for batch in found if not batch.metadata}
            names = await self._file_names(nameless) if nameless else {}
        except openai.NotFoundError:
            return []
        except openai.APIError as error:
            raise self._to_endpoint_error(error) from None
        return [
            Listed((batch.metadata or {}).get(BATCH_HASH_KEY) or names.get(batch.input_file_id, ""), batch)
            for batch in found
        ]

    async def _file_names(self, ids: Collection[str]) -> dict[str, str]:
        """Return the names, without their ending, of those of the newest files of requests whose ids are given."""
        names, looked_at = dict[str, str](), 0
        async for file in self._client.files.list(purpose="batch"):
            looked_at += 1
            if file.id in ids:
                names[file.id] = file.filename.removesuffix(".jsonl")
            if looked_at == MAX_LISTED or len(names) == len(ids):
                break
        return names

    async def _sent_bodies(self, batch: RemoteBatch) -> dict[str, Mapping[str, Any]]:
        """Return what the batch's lines ask, by key; nothing where the service has deleted the file."""
        import openai

        try:
            content = await self._client.files.content(batch.input_file_id)
        except openai.NotFoundError:
            return {}
        except openai.APIError as error:
            raise self._to_endpoint_error(error) from None
        lines = map(json.loads, filter(str.strip, content.text.split("\n")))
        return {line["custom_id"]: line["body"] for line in lines}

    def _read(self, content: str, record: BatchRecord, sent: Mapping[str, Mapping[str, Any]]) -> Iterator[StoredCall]:
        """Yield the calls of a file; a line that is not an answer is left out, and one that was filtered is one.

        Requests whose key is missing in every file are made live, where a service error is understood; what an answer
        cost that can't be used is stored under a key that no request has. `sent`: what the lines ask, by key, where the
        service doesn't tell its tokens.
        """
        wanted = set(record.keys)
        for line in filter(str.strip, content.split("\n")):
            result = json.loads(line)
            response = result.get("response") or {}
            key, body = result.get("custom_id"), response.get("body")
            if response.get("status_code", 200) >= 400 and (filtered := find_filtered(body, self._endpoint)):
                told = body.get("usage") if isinstance(body, Mapping) else None
                body = {"error": {"code": CONTENT_FILTER, "message": filtered.message}, "usage": told}
            if key not in wanted or not isinstance(body, Mapping):
                continue
            usage, status = count_usage(sent.get(key, {}), body), "failed"
            try:
                status = read_new_answer(body).status
            except MalformedResponseError:
                usage = error_usage(sent.get(key, {}), body)
                if usage == NO_USAGE:
                    continue
            names = {"truncated": truncated_key(key), "failed": unusable_key(record.batch, key)}
            payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            yield StoredCall(
                names.get(status, key),
                *(record.service, record.model, record.kind + BATCH_SUFFIX, status),
                *(usage, 0.0, time.time(), payload),
                role=self._endpoint.role.value,
                origin=Origin(record.asset, record.domain, record.run),
            )

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
        if isinstance(service_error, StopEndpoint | Unexplained):
            return EndpointError(service_error.sentence)
        return EndpointError(
            f"The Batch API of {self._endpoint.service} fails for {self._endpoint.role} "
            f"({redact_message(error, self._endpoint)}). Run again: submitted batches are found again."
        )

    def _document(self, record: BatchRecord) -> VersionedRecord:
        return VersionedRecord(self._records, f"{FOLDER}/{record.name}")

    def _save(self, record: BatchRecord) -> None:
        self._document(record).change(lambda _: record.model_dump_json().encode())


def _lacks_usage(content: str) -> bool:
    """Return whether a line of a file has an answer, and doesn't tell the tokens of its prompt."""
    for line in filter(str.strip, content.split("\n")):
        body = (json.loads(line).get("response") or {}).get("body")
        if isinstance(body, Mapping) and body.get("choices") and not read_usage(body).input_tokens:
            return True
    return False


def read_batch_records(records: Records) -> list[BatchRecord]:
    """Return every batch of a project, oldest first."""
    batches = map(BatchRecord.model_validate_json, newest_of_all(records, FOLDER))
    return sorted(batches, key=lambda record: (record.submitted, record.name))
