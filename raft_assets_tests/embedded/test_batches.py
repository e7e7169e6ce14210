"""Batches by the official client: answers like those of single calls, every wrong line told, a kill loses no answer."""

import io
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from raft_assets.embedded.app import create_app
from raft_assets.raft.contract import render_messages
from raft_assets_tests.embedded.provider import in_process, lighthouse, settings_of

CHAT = "/v1/chat/completions"


def line(name: str, *, model: str = "embedded-reader", url: str = CHAT, number: int = 0) -> dict[str, Any]:
    messages = render_messages("Who painted the lighthouse of Alba?", [lighthouse(number)])
    return {"custom_id": name, "method": "POST", "url": url, "body": {"model": model, "messages": messages}}


async def submit(client: openai.AsyncOpenAI, lines: list[Any]) -> Any:
    content = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines).encode()
    file = await client.files.create(file=("input.jsonl", io.BytesIO(content)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"mine": "1"}
    )


async def ended(client: openai.AsyncOpenAI, batch: Any) -> Any:
    while batch.status in ("validating", "in_progress", "finalizing"):
        batch = await client.batches.retrieve(batch.id)
    return batch


async def rows(client: openai.AsyncOpenAI, file_id: str) -> dict[str, Any]:
    content = (await client.files.content(file_id)).text
    return {row["custom_id"]: row for row in map(json.loads, content.splitlines())}


def test_a_batch_brings_the_answers_of_single_calls_and_tells_the_lines_that_fail(tmp_path: Path) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        batch = await ended(client, await submit(client, [line("a"), line("b", model="gpt-4o"), line("c", number=1)]))
        assert (batch.status, batch.metadata) == ("completed", {"mine": "1"})
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (3, 2, 1)
        answers, failed = await rows(client, batch.output_file_id), await rows(client, batch.error_file_id)
        single = await client.chat.completions.create(**line("a")["body"])
        body = answers["a"]["response"]["body"]
        assert body["choices"][0]["message"]["content"] == single.choices[0].message.content
        assert body["usage"]["prompt_tokens"] > 0
        assert set(answers) == {"a", "c"}
        assert failed["b"]["response"]["status_code"] == 404
        assert [one.id async for one in client.batches.list()] == [batch.id]

    in_process(create_app(settings_of(tmp_path)), work)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["{broken"], "invalid_json_line"),
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([line("a", url="/v1/embeddings")], "mismatched_endpoint"),
        ([{"custom_id": "a", "method": "POST", "url": CHAT}], "missing_required_parameter"),
        ([{"body": {}}], "missing_required_parameter"),
        ([" "], "empty_file"),
    ],
)
def test_a_batch_of_wrong_lines_fails_with_their_numbers(tmp_path: Path, lines: list[Any], code: str) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        batch = await submit(client, lines)
        assert batch.status == "failed"
        assert batch.errors.data[0].code == code

    in_process(create_app(settings_of(tmp_path)), work)


def test_a_provider_that_was_killed_in_a_line_asks_that_one_again_and_no_other(tmp_path: Path) -> None:
    async def first(client: openai.AsyncOpenAI) -> str:
        return str((await submit(client, [line("a"), line("b", number=1)])).id)

    batch_id = in_process(create_app(settings_of(tmp_path)), first)
    part = tmp_path / "batches" / f"{batch_id}.output.jsonl"
    told = {"custom_id": "a", "response": {"status_code": 200, "body": "answered before the kill"}}
    part.write_text(json.dumps(told) + "\n" + '{"custom_id": "b", "resp')

    async def again(client: openai.AsyncOpenAI) -> None:
        batch = await ended(client, await client.batches.retrieve(batch_id))
        answers = await rows(client, batch.output_file_id)
        assert answers["a"]["response"]["body"] == "answered before the kill"
        assert answers["b"]["response"]["body"]["object"] == "chat.completion"

    in_process(create_app(settings_of(tmp_path)), again)


def test_a_batch_can_be_cancelled_once(tmp_path: Path) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        batch = await submit(client, [line("a")])
        assert (await client.batches.cancel(batch.id)).status == "cancelled"
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)
        with pytest.raises(openai.NotFoundError):
            await client.batches.retrieve("batch_0")

    in_process(create_app(settings_of(tmp_path)), work)
