"""Batches by the official client: answers like those of single calls, every wrong line told, a kill loses no answer."""

import io
import json
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from raft_assets.core.prompt_contract import render_messages
from raft_assets.embedded.app import create_app
from raft_assets_tests.embedded.provider import in_process, lighthouse, settings_of

CHAT: Final = "/v1/chat/completions"


def line(name: str, *, model: str = "embedded-reader", url: str = CHAT, number: int = 0) -> dict[str, Any]:
    messages = render_messages("Who painted the lighthouse of Alba?", [lighthouse(number)])
    return {"custom_id": name, "method": "POST", "url": url, "body": {"model": model, "messages": messages}}


def too_warm(name: str) -> dict[str, Any]:
    good = line(name)
    return {**good, "body": {**good["body"], "temperature": 5}}


def streamed(name: str) -> dict[str, Any]:
    good = line(name)
    return {**good, "body": {**good["body"], "stream": True}}


async def submit(client: openai.AsyncOpenAI, lines: list[Any]) -> Any:
    content = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines).encode(
        "utf-8", "surrogateescape"
    )
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
    return {row["custom_id"]: row for row in map(json.loads, filter(None, content.split("\n")))}


def test_a_batch_brings_the_answers_of_single_calls_and_tells_the_lines_that_fail(tmp_path: Path) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        batch = await ended(client, await submit(client, [line("a"), too_warm("b"), line("c", number=1)]))
        assert (batch.status, batch.metadata) == ("completed", {"mine": "1"})
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (3, 2, 1)
        answers, failed = await rows(client, batch.output_file_id), await rows(client, batch.error_file_id)
        single = await client.chat.completions.create(**line("a")["body"])
        body = answers["a"]["response"]["body"]
        assert body["choices"][0]["message"]["content"] == single.choices[0].message.content
        assert body["usage"]["prompt_tokens"] > 0
        assert set(answers) == {"a", "c"}
        assert failed["b"]["response"]["status_code"] == 400
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
        ([line("a"), line("b", model="embedded-teacher")], "mismatched_model"),
        ([streamed("a")], "unsupported_parameter"),
        (["\udcff"], "invalid_json_line"),
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


def test_lines_are_counted_as_they_stand_in_the_file_and_end_at_line_feeds_alone(tmp_path: Path) -> None:
    separated = json.dumps({**line("a"), "custom_id": "a\u2028b"}, ensure_ascii=False)

    async def work(client: openai.AsyncOpenAI) -> None:
        batch = await ended(client, await submit(client, [separated]))
        assert list(await rows(client, batch.output_file_id)) == ["a\u2028b"]
        wrong = await submit(client, [line("a"), "", "{broken"])
        assert wrong.errors.data[0].line == 3

    in_process(create_app(settings_of(tmp_path)), work)


def test_a_file_of_another_purpose_is_refused(tmp_path: Path) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        file = await client.files.create(file=("train.jsonl", b"{}"), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError, match="purpose"):
            await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")

    in_process(create_app(settings_of(tmp_path)), work)


def test_what_was_answered_before_a_kill_is_counted_and_kept_when_a_batch_ends_early(tmp_path: Path) -> None:
    told = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": {}}}) + "\n"

    async def interrupted(client: openai.AsyncOpenAI) -> Any:
        batch = await submit(client, [line("a"), line("b", number=1)])
        (tmp_path / "batches" / f"{batch.id}.output.jsonl").write_text(told + '{"custom_id": "b", "resp')
        return batch

    async def work(client: openai.AsyncOpenAI) -> None:
        cancelled: Any = await client.batches.cancel((await interrupted(client)).id)
        assert list(await rows(client, cancelled.output_file_id)) == ["a"]
        assert cancelled.request_counts.completed == 1

        late = await interrupted(client)
        record = tmp_path / "batches" / f"{late.id}.json"
        kept = json.loads(record.read_text())
        record.write_text(json.dumps({**kept, "created_ns": kept["created_ns"] - 25 * 3600 * 10**9}))
        late = await ended(client, late)
        assert (late.status, late.request_counts.completed, late.request_counts.failed) == ("expired", 1, 1)
        assert (await rows(client, late.error_file_id))["b"]["error"]["code"] == "batch_expired"

        orphaned = await interrupted(client)
        await client.files.delete(orphaned.input_file_id)
        orphaned = await ended(client, orphaned)
        assert (orphaned.status, orphaned.errors.data[0].code) == ("failed", "input_file_deleted")
        assert list(await rows(client, orphaned.output_file_id)) == ["a"]

    in_process(create_app(settings_of(tmp_path)), work)
