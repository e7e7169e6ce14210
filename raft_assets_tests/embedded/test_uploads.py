"""Uploads in parts: put together in the order that is named, refused where they don't add up, dropped where left."""

import hashlib
import json
from pathlib import Path

import httpx2
import openai
import pytest
from openai.types import Upload

from raft_assets_tests.openai_contract import schema_breaches

CONTENT = bytes(range(256)) * 5000  # 1.3 MB: more than a form keeps in memory


def begin(client: openai.OpenAI, size: int = len(CONTENT), purpose: str = "fine-tune") -> Upload:
    return client.uploads.create(filename="big.jsonl", purpose=purpose, bytes=size, mime_type="text/jsonl")  # type: ignore[arg-type]


def add(client: openai.OpenAI, upload: Upload, content: bytes) -> str:
    return client.uploads.parts.create(upload.id, data=content).id


def test_a_file_in_parts_is_the_file_that_was_cut_up(client: openai.OpenAI) -> None:
    done = client.uploads.upload_file_chunked(
        file=CONTENT,
        filename="big.jsonl",
        bytes=len(CONTENT),
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=500_000,
        md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
    )
    assert done.status == "completed"
    assert done.file is not None
    assert (done.file.filename, done.file.bytes, done.file.status) == ("big.jsonl", len(CONTENT), "processed")
    assert client.files.content(done.file.id).read() == CONTENT
    assert client.files.retrieve(done.file.id) == done.file


def test_parts_are_put_together_in_the_order_that_is_named_at_the_end(client: openai.OpenAI) -> None:
    upload = begin(client, 10)
    second, first = add(client, upload, b"world"), add(client, upload, b"hello")
    done = client.uploads.complete(upload.id, part_ids=[first, second])
    assert done.file is not None
    assert client.files.content(done.file.id).read() == b"helloworld"


@pytest.mark.parametrize(
    ("size", "md5", "extra", "said"),
    [
        (11, None, [], "announced with 11"),  # a part is missing
        (9, None, [], "announced with 9"),
        (10, "0" * 32, [], "another checksum"),
        (10, None, ["part_" + "0" * 24], "no part"),
        (10, None, ["../upload.json"], "no part"),
    ],
)
def test_what_does_not_add_up_is_refused_and_the_upload_goes_on(
    client: openai.OpenAI, size: int, md5: str | None, extra: list[str], said: str
) -> None:
    upload = begin(client, size)
    parts = [add(client, upload, b"hello"), add(client, upload, b"world")]
    with pytest.raises(openai.BadRequestError, match=said):
        client.uploads.complete(upload.id, part_ids=[*parts, *extra], md5=md5 or openai.omit)
    assert client.uploads.cancel(upload.id).status == "cancelled"


def test_an_upload_that_is_over_takes_no_parts(client: openai.OpenAI, state: Path) -> None:
    cancelled = client.uploads.cancel(begin(client).id)
    completed = begin(client, 5)
    client.uploads.complete(completed.id, part_ids=[add(client, completed, b"hello")])
    expired = begin(client)
    kept = add(client, expired, b"left behind")
    record = state / "uploads" / expired.id / "upload.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"created_ns": 1}))
    for upload, status in ((cancelled, "cancelled"), (completed, "completed"), (expired, "expired")):
        with pytest.raises(openai.BadRequestError, match=f"is {status}"):
            add(client, upload, b"more")
        with pytest.raises(openai.BadRequestError, match=f"is {status}"):
            client.uploads.cancel(upload.id)
    begin(client)  # which clears up
    assert not (state / "uploads" / expired.id / kept).exists()


@pytest.mark.parametrize("upload", ["upload_1", "upload_" + "0" * 24, "upload_*"])
def test_an_id_that_is_none_is_not_found(client: openai.OpenAI, upload: str) -> None:
    with pytest.raises(openai.NotFoundError):
        client.uploads.complete(upload, part_ids=["part_1"])


def test_a_file_that_is_larger_than_the_provider_takes_is_refused_before_it_is_sent(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="larger than 512 MB"):
        begin(client, 600 << 20)


def test_uploads_have_the_official_form(base_url: str) -> None:
    with httpx2.Client(base_url=base_url, timeout=60) as http:
        asked = {"filename": "a.jsonl", "purpose": "batch", "bytes": 3, "mime_type": "text/jsonl"}
        assert schema_breaches("CreateUploadRequest", asked) == []
        upload = http.post("/uploads", json=asked).json()
        assert schema_breaches("Upload", upload) == []
        part = http.post(f"/uploads/{upload['id']}/parts", files={"data": ("a", b"{}\n")}).json()
        assert schema_breaches("UploadPart", part) == []
        done = http.post(f"/uploads/{upload['id']}/complete", json={"part_ids": [part["id"]]}).json()
        assert schema_breaches("Upload", done) == []
        again = http.post(f"/uploads/{upload['id']}/complete", json={"part_ids": [part["id"]]})
        assert (again.status_code, schema_breaches("ErrorResponse", again.json())) == (400, [])
