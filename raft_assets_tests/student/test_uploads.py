"""Training files on their way: what is left of one that is too large, and how a large one travels."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse

from raft_assets.core.errors import DataError
from raft_assets.llm.clients import open_client, open_uploads_client
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.student.finetuning import FineTuningSpec, cut_to_size
from raft_assets.student.uploads import BOM, FileTooLargeError, UploadPolicy, fit_rows, upload_file
from raft_assets_tests.azure.cloud import BASE, PROJECT, RESOURCE, Cloud

QUICK = UploadPolicy(max_whole_bytes=1000, part_bytes=400, initial_poll_s=0.01, max_poll_s=0.01)
ROWS = [json.dumps({"prompt": "x" * 20, "completion": f" {number}"}).encode() + b"\n" for number in range(50)]
CONTENT = b"".join(ROWS)


@given(st.lists(st.text(min_size=1, max_size=30), max_size=30), st.integers(0, 600), st.booleans())
def test_what_is_left_are_whole_rows_in_their_order_within_the_limit(texts: list[str], limit: int, bom: bool) -> None:
    rows = [json.dumps(text).encode() + b"\n" for text in texts]
    content = (BOM if bom else b"") + b"".join(rows)
    fitted, left_out = fit_rows(content, limit)
    if len(content) <= limit:
        assert (fitted, left_out) == (content, 0)
        return
    assert len(fitted) <= max(limit, len(BOM))
    assert fitted.startswith(BOM) == bom
    kept = fitted.removeprefix(BOM).splitlines(keepends=True)
    remaining = iter(rows)
    assert all(row in remaining for row in kept)  # a part of them, in order
    assert len(kept) + left_out == len(rows)


def test_rows_are_left_out_from_everywhere_and_the_same_ones_each_time() -> None:
    fitted, left_out = fit_rows(CONTENT, len(CONTENT) // 2)
    kept = [number for number, row in enumerate(ROWS) if row in fitted]
    assert (len(kept), left_out) == (pytest.approx(25, abs=1), 50 - len(kept))
    assert min(kept) < 10
    assert max(kept) > 40
    assert fit_rows(CONTENT, len(CONTENT) // 2) == (fitted, left_out)


def test_an_order_that_is_cut_says_so_and_one_that_fits_is_itself() -> None:
    order = FineTuningSpec("m", "1", CONTENT, CONTENT, {}, 0)
    assert cut_to_size(order, len(CONTENT)) == (order, "")
    cut, told = cut_to_size(order, len(CONTENT) // 2)
    assert told.startswith(
        f"The service takes training files of {len(CONTENT) // 2:,} bytes: {50 - cut.rows} of 50 rows"
    )
    assert cut.training_hash != order.training_hash
    with pytest.raises(DataError, match=r"hold [89] of 50 rows, fewer than the 10 that services train on"):
        cut_to_size(order, sum(map(len, ROWS[:9])))


def no_app() -> Any:
    pytest.fail("not the embedded provider")


def send(endpoint: Endpoint, content: bytes) -> bytes:
    """Uploads a file as a training does, and returns what lies at the service under its id."""

    async def work() -> bytes:
        async with open_client(endpoint, no_app) as client:
            file = await upload_file(
                client, "train.jsonl", content, policy=QUICK, open_uploads=lambda: open_uploads_client(endpoint, no_app)
            )
            return (await client.files.content(file)).content

    return asyncio.run(work())


@pytest.mark.parametrize("address", [RESOURCE, PROJECT, f"{PROJECT}/openai/v1"])
def test_a_large_file_reaches_azure_in_parts_by_the_dated_api_and_a_small_one_whole(azure: Cloud, address: str) -> None:
    endpoint = Endpoint(Role.STUDENT, "azure", BASE, address)
    assert send(endpoint, CONTENT) == CONTENT
    sent = [path for method, path in azure.resource.seen if method == "POST"]
    assert sent[0] == "/openai/uploads"
    assert [path.rpartition("/")[2] for path in sent[1:]] == ["parts"] * -(-len(CONTENT) // 400) + ["complete"]
    assert send(endpoint, CONTENT[:1000]) == CONTENT[:1000]
    assert azure.resource.seen[-2][1].endswith("/openai/v1/files")


def test_a_service_without_parts_is_sent_the_file_whole(azure: Cloud) -> None:
    def refuse(request: Request) -> JSONResponse | None:
        return JSONResponse({"detail": "Not Found"}, 404) if "/uploads" in request.url.path else None

    azure.resource.before = refuse
    assert send(Endpoint(Role.STUDENT, "azure", BASE, RESOURCE), CONTENT) == CONTENT


@pytest.mark.parametrize(
    ("status", "message", "limit"),
    [
        (413, "Request Entity Too Large", None),
        (413, "The file is 1.2 KB, the limit is 1 KB.", 1000),
        (400, "File size 1,200 bytes exceeds the maximum of 900 bytes for fine-tune", 900),
        (400, "training file too large (max 0.0005 MB)", 500),
        (422, "file must not be larger than 0.000001 GiB", 1000),
        (400, "Line 300 of 900 bytes is not JSON", None),  # no word of a limit
        (400, "files are limited to 512 MB", None),  # which this one isn't
    ],
)
def test_a_service_that_says_how_much_it_takes_is_understood(status: int, message: str, limit: int | None) -> None:
    async def work() -> str:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(status, json={"error": {"message": message}}))
        http = httpx2.AsyncClient(transport=transport)
        client = openai.AsyncOpenAI(base_url="http://service/v1", api_key="any", http_client=http, max_retries=0)
        return await upload_file(client, "train.jsonl", b"x" * 1200, policy=UploadPolicy())

    with pytest.raises(openai.APIStatusError if limit is None else FileTooLargeError) as refused:
        asyncio.run(work())
    if limit is not None:
        assert isinstance(refused.value, FileTooLargeError)
        assert refused.value.max_bytes == limit
