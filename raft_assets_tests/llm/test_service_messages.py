"""What services say in their errors: bodies as people reported them, and what they are about.

`service_messages.jsonl` has a body a line, with whose words it is; nobody's documents list them all.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from raft_assets.llm.service_messages import MAX_CHARACTERS, Subject, read_message

REPORTED = [
    json.loads(line) for line in Path(__file__).with_name("service_messages.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", REPORTED, ids=lambda row: f"{row['subject']}: {row['source']}")
def test_what_an_error_is_about_is_read_from_its_words(row: dict[str, Any]) -> None:
    over_the_wire = json.dumps(row["body"]) if row["body"] is not None else ""
    assert read_message(row["body"]).subject == row["subject"]
    assert read_message(over_the_wire).subject == row["subject"]


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        "'response_format.type' must be 'json_schema' or 'text'",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        "value of max_tokens exceeds the maximum of 4096",
        "max_new_tokens must be <= 1024",
        "completion tokens exceed the limit",
        "temperature must be strictly positive, got 0.0",
        "messages[0].role: Input should be 'user' or 'assistant'",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "System role not supported",
        "encoding_format must be float",
        'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
        "structured outputs require guided decoding backend",
    ],
)
def test_a_refused_parameter_is_no_fault_of_the_prompt(message: str) -> None:
    assert read_message({"error": {"message": message}}).subject in (None, Subject.PARAMETER)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"error": {"message": "No.", "code": "x"}}, "No."),
        ({"error": "No."}, "No."),
        ({"message": "No.", "code": 413}, "No."),
        ({"detail": "No."}, "No."),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "Too odd", "input": "a text"}]}, "messages.0: Too odd"),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "seed"], "msg": "No."}]}}, "seed: No."),
        ([{"error": {"message": "No."}}], "No."),
        (["No.", "Never."], "No.; Never."),
        ({"errors": [{"message": "No."}]}, "No."),
        ({"error": {"message": "Odd", "metadata": {"raw": '{"error": {"message": "No."}}'}}}, "Odd; No."),
        ({"error": {"message": '{"error": {"message": "No."}}'}}, "No."),
        ({"error": {"code": "E1", "innererror": {"message": "unread"}}, "message": "No."}, "No."),
        ({"Message": "No."}, "No."),
        ({"error": True, "message": "No."}, "No."),
        ({"error": {"message": "No.", "reason": "badRequest"}}, "No."),
        ({"error": "Forbidden", "reason": "The text is odd."}, "Forbidden; The text is odd."),
        ("No.\nReally", "No. Really"),
        ("{broken", "{broken"),
        ("<html><style>p {}</style><p>No.</p>\n<!-- x --></html>", "No."),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_services_sentence_survives_any_shape_of_the_body(body: object, sentence: str) -> None:
    assert read_message(body).sentence == sentence


def test_what_a_body_repeats_of_the_request_says_nothing() -> None:
    body = {"detail": [{"msg": "Odd", "input": "the prompt is too long"}], "request": {"prompt": "violates our policy"}}
    assert read_message(body).subject is None


def test_a_page_of_any_length_is_read_to_a_bound() -> None:
    page = "the prompt exceeds a token limit, the input is not " * 100_000
    assert len(read_message(page).text) == MAX_CHARACTERS
