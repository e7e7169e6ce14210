"""Every response against OpenAI's own schema, where it is at hand."""

import json
from typing import Any

import httpx2
import pytest
from openai.types.fine_tuning import FineTuningJob

from raft_assets.core.prompt_contract import render_messages, render_prompt
from raft_assets_tests.embedded.provider import lighthouse
from raft_assets_tests.openai_contract import SCHEMA, schema_breaches

pytestmark = pytest.mark.skipif(not SCHEMA.is_file(), reason=f"{SCHEMA} is not there")

MESSAGES = render_messages("Who painted the lighthouse of Alba?", [lighthouse(0)])
PROMPT = render_prompt("Who painted the lighthouse of Alba?", [lighthouse(0)])


def check(name: str, content: Any) -> None:
    assert schema_breaches(name, content) == []


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("ListModelsResponse", "/models"),
        ("Model", "/models/embedded-reader"),
        ("Model", "/models/{model}"),
        ("ListFilesResponse", "/files"),
        ("ListFilesResponse", "/files?purpose=batch"),
        ("OpenAIFile", "/files/{file}"),
        ("OpenAIFile", "/files/{results}"),
        ("ListPaginatedFineTuningJobsResponse", "/fine_tuning/jobs"),
        ("FineTuningJob", "/fine_tuning/jobs/{job}"),
        ("ListFineTuningJobEventsResponse", "/fine_tuning/jobs/{job}/events"),
        ("ListFineTuningJobCheckpointsResponse", "/fine_tuning/jobs/{job}/checkpoints"),
        ("ErrorResponse", "/models/gpt-4o"),
        ("ErrorResponse", "/files/file-0"),
        ("ErrorResponse", "/fine_tuning/jobs/ftjob-0"),
        ("ErrorResponse", "/nothing"),
    ],
)
def test_what_is_read_has_the_official_form(base_url: str, trained: FineTuningJob, schema: str, path: str) -> None:
    names = {
        "model": trained.fine_tuned_model,
        "file": trained.training_file,
        "results": trained.result_files[0],
        "job": trained.id,
    }
    check(schema, httpx2.get(base_url + path.format(**names), timeout=60).json())


@pytest.mark.parametrize(
    ("schema", "path", "body"),
    [
        ("CreateChatCompletionResponse", "/chat/completions", {"model": "embedded-reader", "messages": MESSAGES}),
        ("CreateChatCompletionResponse", "/chat/completions", {"model": "embedded-teacher", "messages": MESSAGES}),
        ("CreateCompletionResponse", "/completions", {"model": "embedded-reader", "prompt": PROMPT, "max_tokens": 3}),
        ("CreateEmbeddingResponse", "/embeddings", {"model": "embedded-encoder", "input": ["a", "b"]}),
        ("ErrorResponse", "/embeddings", {"model": "embedded-encoder", "input": [1, 2]}),
        ("ErrorResponse", "/chat/completions", {"model": "gpt-4o", "messages": MESSAGES}),
    ],
)
def test_what_is_answered_has_the_official_form(base_url: str, schema: str, path: str, body: dict[str, Any]) -> None:
    check(schema, httpx2.post(base_url + path, json=body, timeout=60).json())


def test_every_event_of_a_stream_has_the_official_form(base_url: str) -> None:
    body = {"model": "embedded-reader", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    response = httpx2.post(f"{base_url}/chat/completions", json=body, timeout=60)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    for event in events:
        check("CreateChatCompletionStreamResponse", json.loads(event.removeprefix("data: ")))


def test_what_is_created_cancelled_and_deleted_has_the_official_form(base_url: str) -> None:
    with httpx2.Client(base_url=base_url, timeout=60) as http:
        file = http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", b"{}\n")}).json()
        check("OpenAIFile", file)
        job = http.post("/fine_tuning/jobs", json={"model": "embedded-reader", "training_file": file["id"]}).json()
        check("FineTuningJob", job)
        check("FineTuningJob", http.post(f"/fine_tuning/jobs/{job['id']}/cancel").json())
        check("DeleteFileResponse", http.delete(f"/files/{file['id']}").json())


def test_batches_have_the_official_form(base_url: str) -> None:
    url, body = "/v1/chat/completions", {"model": "embedded-reader", "messages": MESSAGES}
    good = json.dumps({"custom_id": "a", "method": "POST", "url": url, "body": body})
    with httpx2.Client(base_url=base_url, timeout=60) as http:
        for content in (good, "{broken"):
            file = http.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", content)}).json()
            asked = {"input_file_id": file["id"], "endpoint": url, "completion_window": "24h"}
            batch = http.post("/batches", json=asked).json()
            check("Batch", batch)
            while batch["status"] == "in_progress":
                batch = http.get(f"/batches/{batch['id']}").json()
            check("Batch", batch)
        check("ListBatchesResponse", http.get("/batches").json())
        check("ListFilesResponse", http.get("/files?purpose=batch_output").json())
        check("ErrorResponse", http.get("/batches/batch_0").json())
