"""What the provider refuses, and that clients are told so in OpenAI's form."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from raft_assets_tests.embedded.provider import upload

CHAT, TEXT, EMBED, JOBS = "/chat/completions", "/completions", "/embeddings", "/fine_tuning/jobs"
HELLO = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True)
class Refused:
    """A body that is refused, with the parameter that is named and the code."""

    why: str
    path: str
    param: str | None
    code: str | None
    body: dict[str, Any] = field(default_factory=dict)


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "embedded-reader", "messages": HELLO} | changes


def embedding(**changes: Any) -> dict[str, Any]:
    return {"model": "embedded-encoder", "input": "hello"} | changes


def job(**changes: Any) -> dict[str, Any]:
    return {"model": "embedded-reader", "training_file": "file-unknown"} | changes


CASES = [
    Refused("no model", CHAT, "model", "missing_required_parameter", {"messages": HELLO}),
    Refused("null counts as absent", CHAT, "model", "missing_required_parameter", chat(model=None)),
    Refused("no messages", CHAT, "messages", "missing_required_parameter", {"model": "embedded-reader"}),
    Refused("empty messages", CHAT, "messages", "invalid_value", chat(messages=[])),
    Refused("nobody asks", CHAT, None, "invalid_value", chat(messages=[{"role": "system", "content": "x"}])),
    Refused(
        "a role that is none",
        CHAT,
        "messages[0].role",
        "invalid_value",
        chat(messages=[{"role": "king", "content": "x"}]),
    ),
    Refused(
        "a message without content",
        CHAT,
        "messages[0].content",
        "missing_required_parameter",
        chat(messages=[{"role": "user"}]),
    ),
    Refused(
        "a picture",
        CHAT,
        "messages[0].content",
        "invalid_value",
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
    ),
    Refused("a misspelt parameter", CHAT, "temprature", "unknown_parameter", chat(temprature=1)),
    Refused(
        "an official parameter that would change the answer",
        CHAT,
        "tools",
        "unsupported_parameter",
        chat(tools=[{"type": "function"}]),
    ),
    Refused(
        "JSON mode", CHAT, "response_format", "unsupported_parameter", chat(response_format={"type": "json_object"})
    ),
    Refused("log probabilities", CHAT, "logprobs", "unsupported_parameter", chat(logprobs=True)),
    Refused("a copy of the answer", CHAT, "n", "invalid_value", chat(n=2)),
    Refused("too hot", CHAT, "temperature", "invalid_value", chat(temperature=2.5)),
    Refused("a number as text", CHAT, "max_tokens", "invalid_value", chat(max_tokens="5")),
    Refused("no room for an answer", CHAT, "max_completion_tokens", "invalid_value", chat(max_completion_tokens=0)),
    Refused(
        "stream options without a stream", CHAT, None, "invalid_value", chat(stream_options={"include_usage": True})
    ),
    Refused("an empty stop", CHAT, "stop[0]", "invalid_value", chat(stop="")),
    Refused("an encoder that should chat", CHAT, "model", "model_not_supported", chat(model="embedded-encoder")),
    Refused("a prompt of tokens", TEXT, "prompt", "invalid_value", {"model": "embedded-reader", "prompt": [1, 2]}),
    Refused(
        "an echo", TEXT, "echo", "unsupported_parameter", {"model": "embedded-reader", "prompt": "x", "echo": True}
    ),
    Refused("nothing to embed", EMBED, "input", "invalid_value", embedding(input=[])),
    Refused("an empty text to embed", EMBED, "input[1]", "invalid_value", embedding(input=["a", ""])),
    Refused("tokens to embed", EMBED, "input", "invalid_value", embedding(input=[[1, 2], [3]])),
    Refused("other dimensions", EMBED, "dimensions", "invalid_value", embedding(dimensions=256)),
    Refused("an encoding that is none", EMBED, "encoding_format", "invalid_value", embedding(encoding_format="hex")),
    Refused("a reader that should embed", EMBED, "model", "model_not_supported", embedding(model="embedded-reader")),
    Refused("a training file that is none", JOBS, "training_file", "file_not_found", job()),
    Refused("a model that is not trained", JOBS, "model", "model_not_available", job(model="embedded-teacher")),
    Refused("a method that is not offered", JOBS, "method.type", "invalid_value", job(method={"type": "dpo"})),
    Refused(
        "too many epochs", JOBS, "hyperparameters.n_epochs", "invalid_value", job(hyperparameters={"n_epochs": 51})
    ),
    Refused("half an epoch", JOBS, "hyperparameters.n_epochs", "invalid_value", job(hyperparameters={"n_epochs": 1.5})),
    Refused(
        "a batch of many",
        JOBS,
        "hyperparameters.batch_size",
        "invalid_value",
        job(hyperparameters={"batch_size": "many"}),
    ),
    Refused(
        "hyperparameters in two places",
        JOBS,
        None,
        "invalid_value",
        job(hyperparameters={"n_epochs": 1}, method={"type": "supervised"}),
    ),
    Refused("a suffix with a space", JOBS, "suffix", "invalid_value", job(suffix="harbor handbook")),
    Refused("metadata that are no texts", JOBS, "metadata.rows", "invalid_value", job(metadata={"rows": 5})),
    Refused("too much metadata", JOBS, "metadata", "invalid_value", job(metadata={str(n): "" for n in range(17)})),
    Refused("an integration", JOBS, "integrations", "unsupported_parameter", job(integrations=[{"type": "wandb"}])),
    Refused("Azure's extra", JOBS, "trainingType", "unknown_parameter", job(trainingType="standard")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_a_body_that_is_not_understood_is_refused_with_its_parameter(base_url: str, case: Refused) -> None:
    response = httpx2.post(base_url + case.path, json=case.body, timeout=60)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", case.param, case.code)
    assert error["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "embedded-reader", "messages": [{"role": "user", "content": "\\ud800"}]}',  # half a character
    ],
    ids=["cut", "empty", "array", "text", "not UTF-8", "deep arrays", "deep objects", "half a surrogate pair"],
)
def test_a_body_that_is_no_json_object_is_refused(base_url: str, raw: bytes) -> None:
    response = httpx2.post(base_url + CHAT, content=raw, headers={"content-type": "application/json"}, timeout=60)
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]


def test_a_form_of_a_web_page_is_no_request(base_url: str) -> None:
    response = httpx2.post(
        base_url + CHAT, content=json.dumps(chat()), headers={"content-type": "text/plain"}, timeout=60
    )
    assert response.status_code == 400
    assert "expected application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/assistants", 404, "unknown_url"),
        ("POST", "/v1/fine_tuning/jobs/ftjob-x/pause", 404, "unknown_url"),
        ("PUT", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
    ],
)
def test_a_path_that_is_not_offered_is_refused(base_url: str, method: str, path: str, status: int, code: str) -> None:
    response = httpx2.request(method, base_url.removesuffix("/v1") + path, timeout=60)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    "model", ["gpt-4o", "ft:embedded-reader:raft-assets::00000000", "../../etc/passwd", "", "x" * 5000]
)
def test_an_unknown_model_is_not_found(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=model, input="hello")


def test_the_client_raises_its_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="embedded-reader", messages=[])
    assert (refused.value.param, refused.value.code, refused.value.type) == (
        "messages",
        "invalid_value",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-0")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-0")


@pytest.mark.parametrize("query", ["limit=0", "limit=ten", "limit=-1", "limit=99999999", "after=nothing"])
@pytest.mark.parametrize("path", ["/files", JOBS])
def test_a_page_that_is_none_is_refused(base_url: str, path: str, query: str) -> None:
    response = httpx2.get(f"{base_url}{path}?{query}", timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.partition("=")[0]


def test_metadata_are_filtered_by_one_form_only(base_url: str) -> None:
    assert httpx2.get(f"{base_url}{JOBS}?metadata=null&metadata[a]=b", timeout=60).status_code == 400


@pytest.mark.parametrize(
    ("form", "files", "param"),
    [
        ({"purpose": "fine-tune"}, None, "file"),
        ({"purpose": "fine-tune", "file": "a text"}, None, "file"),
        ({}, {"file": ("a.jsonl", b"{}")}, "purpose"),
        ({"purpose": "assistants"}, {"file": ("a.jsonl", b"{}")}, "purpose"),
        ({"purpose": "fine-tune", "colour": "red"}, {"file": ("a.jsonl", b"{}")}, "colour"),
        ({"purpose": "fine-tune"}, {"file": ("a.jsonl", b"")}, "file"),
    ],
)
def test_an_upload_that_is_none_is_refused(base_url: str, form: dict[str, str], files: Any, param: str) -> None:
    fields = {name: (None, value) for name, value in form.items()}
    response = httpx2.post(f"{base_url}/files", files=fields | (files or {}), timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_an_upload_that_is_no_form_is_refused(base_url: str, content_type: str) -> None:
    response = httpx2.post(
        f"{base_url}/files", content=b"nothing of the kind", headers={"content-type": content_type}, timeout=60
    )
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_file_that_is_too_large_is_refused_before_it_is_read(base_url: str) -> None:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders(b"--x\r\n")
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "file_too_large"
    connection.close()


def test_a_results_file_is_not_trained_on(client: openai.OpenAI, trained: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.fine_tuning.jobs.create(model="embedded-reader", training_file=trained.result_files[0])
    with pytest.raises(openai.BadRequestError, match="validation_file"):
        client.fine_tuning.jobs.create(
            model="embedded-reader", training_file=upload(client, b"{}"), validation_file=trained.result_files[0]
        )
