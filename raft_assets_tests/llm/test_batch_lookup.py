"""A batch is looked up at the service before it is paid: two folders of one account ask for the same answers once.

The service is the embedded provider's application; a shell around it counts submissions and lists as other services do.
"""

import json
import secrets
import time
from collections.abc import Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from raft_assets.core.prompt_contract import render_messages
from raft_assets.embedded.app import create_app
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.batches import BatchClient, BatchPendingError
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.requests import Origin, Request
from raft_assets.llm.store import StoredCall
from raft_assets.llm.usage import count_usage
from raft_assets.provider.batches import Batch
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords
from raft_assets_tests.embedded.provider import settings_of

ENDPOINT = Endpoint(Role.TEACHER, "openai", "embedded-teacher", "http://shared/v1")
MESSAGES = render_messages("Who built the mill?", ["The mill at Alba was built by Ann Bell in 1893."])
ASKED = {f"key {room}": Request("chat", {"messages": MESSAGES, "max_completion_tokens": room}) for room in (200, 300)}


class Shared:
    """The account's service. `late`: how many more lists lack what was submitted last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submitted, self.late = 0, 0
        self.keeps_metadata, self.has_list = True, True
        self.change_answer: Callable[[dict[str, Any]], None] = lambda _: None
        self._app: ASGIApp = create_app(settings_of(folder))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = (scope["method"], scope["path"])
        self.submitted += asked == ("POST", "/v1/batches")
        if asked[0] == "GET" and asked[1].endswith("/content"):
            await self._send_content(scope, receive, send)
            return
        if asked != ("GET", "/v1/batches"):
            await self._app(scope, receive, send)
            return
        if not self.has_list:
            await self._app({**scope, "path": "/v1/no-such-list"}, receive, send)
            return
        said: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            said.append(message)

        await self._app(scope, receive, keep)
        start, body = said[0], json.loads(b"".join(part.get("body", b"") for part in said[1:]))
        if self.late > 0 and b"after=" not in scope["query_string"]:
            self.late -= 1
            body["data"] = body["data"][1:]
        if not self.keeps_metadata:
            body["data"] = [{**batch, "metadata": None} for batch in body["data"]]
        content = json.dumps(body).encode()
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})

    async def _send_content(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends a file, with its answers changed."""
        said: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            said.append(message)

        await self._app(scope, receive, keep)
        lines = [json.loads(line) for line in b"".join(part.get("body", b"") for part in said[1:]).splitlines()]
        for line in lines:
            if "response" in line:
                self.change_answer(line["response"]["body"])
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        await send({**said[0], "headers": [(b"content-type", b"application/jsonl")]})
        await send({"type": "http.response.body", "body": content})

    def change_newest(self, **changes: Any) -> None:
        """Changes what the service says of the newest batch."""
        file = max((self.folder / "batches").glob("batch_*.json"), key=lambda file: file.stat().st_mtime_ns)
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    def add_others(self, count: int) -> None:
        """Submits what has nothing to do with raft-assets, later than everything that is there."""
        for _ in range(count):
            other = Batch(
                id=f"batch_{secrets.token_hex(12)}",
                created_ns=time.time_ns(),
                input_file="file-1",
                endpoint="/v1/embeddings",
                metadata={"team": "zoo"},
            )
            (self.folder / "batches" / f"{other.id}.json").write_text(other.model_dump_json())


class Folder:
    """A project folder of somebody who uses the account."""

    def __init__(self, service: Shared, folder: Path) -> None:
        self._service, self._folder = service, folder
        self.reserved = 0
        self.stored: list[StoredCall] = []

    def ask(self, asked: dict[str, Request] | None = None) -> bool:
        """Asks as an asset does; whether every answer is there."""
        asked = asked or ASKED
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self._service), timeout=60)
        client = openai.AsyncOpenAI(base_url=ENDPOINT.base_url, api_key="any", http_client=http)
        records = FileRecords(self._folder)

        def reserve(requests: Collection[Request]) -> None:
            self.reserved += len(requests)

        with SqliteCallStore(self._folder / "calls.sqlite") as store:
            batches = BatchClient(
                ENDPOINT,
                ENDPOINT.model,
                records=records,
                coordination=FileCoordination(self._folder),
                client=client,
                store=store,
                capabilities=Capabilities.of(records, ENDPOINT, ENDPOINT.model),
                origin=Origin("qa_pairs", "mills", "run"),
                listing_delay_s=0.01,
            )
            try:
                run_coroutine(batches.collect_or_submit(asked, reserve))
            except BatchPendingError:
                return False
            finally:
                run_coroutine(client.close())
            self.stored = list(store.calls())
            return set(store.get(asked)) == set(asked)


@pytest.fixture
def service(tmp_path: Path) -> Shared:
    return Shared(tmp_path / "service")


@pytest.fixture
def one(service: Shared, tmp_path: Path) -> Folder:
    return Folder(service, tmp_path / "one")


@pytest.fixture
def other(service: Shared, tmp_path: Path) -> Folder:
    return Folder(service, tmp_path / "other")


def finish(folder: Folder) -> None:
    """Asks until the answers are there."""
    assert any(folder.ask() for _ in range(20))


def test_a_batch_that_is_under_way_is_taken_over_and_answers_both(service: Shared, one: Folder, other: Folder) -> None:
    assert not one.ask()
    other.ask()
    finish(other)
    finish(one)
    assert (service.submitted, one.reserved, other.reserved) == (1, len(ASKED), 0)


def test_the_answers_of_a_batch_that_is_over_are_there_at_once(service: Shared, one: Folder, other: Folder) -> None:
    one.ask()
    finish(one)
    assert other.ask()
    assert (service.submitted, other.reserved) == (1, 0)


def test_a_list_that_lags_is_read_a_second_time_before_anything_is_paid(
    service: Shared, one: Folder, other: Folder
) -> None:
    one.ask()
    service.late = 1
    other.ask()
    assert (service.submitted, other.reserved, service.late) == (1, 0, 0)


def test_a_service_that_keeps_no_metadata_is_asked_for_the_names_of_files(
    service: Shared, one: Folder, other: Folder
) -> None:
    service.keeps_metadata = False
    one.ask()
    other.ask()
    assert service.submitted == 1


def test_a_batch_on_a_later_page_is_found(service: Shared, one: Folder, other: Folder) -> None:
    one.ask()
    service.add_others(120)
    other.ask()
    assert service.submitted == 1


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_what_has_failed_is_not_taken_over(service: Shared, one: Folder, other: Folder, status: str) -> None:
    one.ask()
    service.change_newest(status=status)
    assert not other.ask()
    assert (service.submitted, other.reserved) == (2, len(ASKED))


def test_answers_that_the_service_no_longer_has_are_asked_for_again(
    service: Shared, one: Folder, other: Folder
) -> None:
    one.ask()
    finish(one)
    service.change_newest(output_file="file-" + "0" * 24)
    assert not other.ask()
    assert service.submitted == 2


def test_the_better_one_of_two_batches_is_taken(service: Shared, one: Folder, other: Folder, tmp_path: Path) -> None:
    one.ask()
    service.change_newest(status="cancelled")
    third = Folder(service, tmp_path / "third")
    third.ask()
    finish(third)
    service.add_others(1)
    assert other.ask()
    assert service.submitted == 2


def test_other_requests_are_submitted_and_those_that_are_known_are_not(
    service: Shared, one: Folder, other: Folder
) -> None:
    one.ask()
    other.ask({"key 400": Request("chat", {"messages": MESSAGES, "max_completion_tokens": 400})})
    assert service.submitted == 2


def test_the_tokens_of_prompts_are_counted_too_where_a_batch_tells_none(service: Shared, one: Folder) -> None:
    service.change_answer = lambda body: body.pop("usage", None)
    one.ask()
    finish(one)
    bodies = {key: request.body for key, request in ASKED.items()}
    for call in one.stored:
        assert call.usage == count_usage(bodies[call.key], json.loads(call.payload))
        assert call.usage.estimated == 1
        assert call.usage.input_tokens > 20
        assert call.usage.output_tokens > 0
    assert {call.key for call in one.stored} == set(ASKED)


def test_a_batch_whose_requests_the_service_has_deleted_is_collected_all_the_same(
    service: Shared, one: Folder, other: Folder
) -> None:
    service.change_answer = lambda body: body.pop("usage", None)
    one.ask()
    finish(one)
    service.change_newest(input_file="file-" + "0" * 24)
    finish(other)
    assert len(other.stored) == len(ASKED)
    assert all(call.usage.estimated and call.usage.output_tokens for call in other.stored)


def test_an_answer_of_a_batch_that_broke_off_is_paid_and_asked_for_again(service: Shared, one: Folder) -> None:
    def break_off(body: dict[str, Any]) -> None:
        body["choices"][0]["finish_reason"] = "error"

    service.change_answer = break_off
    one.ask()
    assert not any(one.ask() for _ in range(3))
    assert {(call.status, call.usage.estimated) for call in one.stored} == {("failed", 0)}
    assert len(one.stored) == len(ASKED)
    assert all(call.usage.output_tokens for call in one.stored)
    assert ASKED.keys().isdisjoint(call.key for call in one.stored)


def test_a_service_without_a_list_takes_the_batch_as_before(service: Shared, one: Folder) -> None:
    service.has_list = False
    assert not one.ask()
    assert service.submitted == 1
