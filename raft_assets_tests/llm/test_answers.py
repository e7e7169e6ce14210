"""Reading what a service sent."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.llm.answers import (
    MalformedResponseError,
    Reading,
    one_line,
    read_answer,
    read_usage,
    read_vectors,
    shared_out,
)
from raft_assets.llm.requests import Usage


def choice(content: Any = None, *, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (choice("yes"), Reading("yes", "ok")),
        (choice("yes", finish=None), Reading("yes", "ok")),  # some local services leave it out
        ({"choices": [{"text": "yes", "finish_reason": "stop"}]}, Reading("yes", "ok")),  # the older API
        (choice(""), Reading("", "empty", "The model answered with nothing.")),
        (choice(None), Reading("", "empty", "The model answered with nothing.")),
        (choice(" \n"), Reading(" \n", "empty", "The model answered with nothing.")),
        ({"choices": []}, Reading("", "empty", "The service answered without a choice.")),
        ({"choices": [None]}, Reading("", "empty", "The service answered without a choice.")),
        (
            choice("ye", finish="length"),
            Reading("ye", "truncated", "The answer reached the maximum of tokens; raise max_answer_tokens."),
        ),
        (
            choice("y", finish="content_filter"),
            Reading("y", "filtered", "The service's content filter cut the answer off."),
        ),
        (choice(None, refusal="I\nwon't."), Reading("", "filtered", "The model declined: I won't.")),
        (
            {"error": {"code": "content_filter", "message": "violence"}},
            Reading("", "filtered", "The service's content filter refused the request: violence"),
        ),
        (choice("an emoji \ud83d\ude00 and half of one \ud83d"), Reading("an emoji 😀 and half of one \ufffd", "ok")),
    ],
)
def test_an_answer_has_a_text_a_status_and_a_sentence_where_something_is_wrong(
    payload: dict[str, Any], expected: Reading
) -> None:
    assert read_answer(payload) == expected


@pytest.mark.parametrize("payload", [{}, {"choices": None}, {"choices": "yes"}, {"error": {"message": "overloaded"}}])
def test_what_is_no_answer_is_malformed(payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponseError, match="without choices"):
        read_answer(payload)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(input_tokens=10, cached_tokens=4, output_tokens=3, reasoning_tokens=2),
        ),
        ({"prompt_tokens": 10}, Usage(input_tokens=10)),
        ({"prompt_tokens": None, "completion_tokens": "3", "prompt_tokens_details": None}, Usage()),
        (None, Usage()),
    ],
)
def test_tokens_that_a_service_does_not_tell_count_nothing(usage: object, expected: Usage) -> None:
    assert read_usage({"usage": usage}) == expected
    assert read_usage({}) == Usage()


def embedded(*vectors: list[float], as_text: bool = False) -> dict[str, Any]:
    def spelled(vector: list[float]) -> Any:
        return base64.b64encode(np.array(vector, "<f4").tobytes()).decode() if as_text else vector

    return {"data": [{"index": index, "embedding": spelled(vector)} for index, vector in enumerate(vectors)]}


@pytest.mark.parametrize("as_text", [True, False])
def test_vectors_come_in_the_order_of_the_texts(as_text: bool) -> None:
    payload = embedded([1, 2], [3, 4], [5, 6], as_text=as_text)
    payload["data"].reverse()  # the protocol promises none
    vectors = read_vectors(payload, count=3)
    assert [vector.tolist() for vector in vectors] == [[1, 2], [3, 4], [5, 6]]
    assert {vector.dtype for vector in vectors} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "without readable vectors"),
        ({"data": [{"embedding": [1]}]}, "without readable vectors"),
        ({"data": [{"index": 0, "embedding": "AAAA!AA=="}]}, "without readable vectors"),
        ({"data": [{"index": 0, "embedding": "AAA="}]}, "without readable vectors"),  # two bytes are no float
        ({"data": None}, "without readable vectors"),
        (embedded([1.0]), "1 vectors for 2 texts"),
        (embedded([1.0], [2.0], [3.0]), "3 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}, "2 vectors for 2 texts"),
        (embedded([1.0], [float("nan")]), "not finite"),
        (embedded([1.0], [float("inf")]), "not finite"),
        (embedded([1.0], [1.0, 2.0]), "several lengths"),
        (embedded([], []), "empty"),
    ],
)
def test_vectors_that_cannot_be_right_are_malformed(payload: dict[str, Any], says: str) -> None:
    with pytest.raises(MalformedResponseError, match=says):
        read_vectors(payload, count=2)


@given(st.lists(st.text(max_size=50), min_size=1, max_size=20), st.integers(0, 10**7))
def test_the_tokens_of_a_call_are_shared_out_without_losing_one(texts: list[str], tokens: int) -> None:
    shares = [usage.input_tokens for usage in shared_out(Usage(input_tokens=tokens), texts)]
    assert sum(shares) == tokens
    assert len(shares) == len(texts)
    for text, share in zip(texts, shares, strict=True):
        exact = tokens * (len(text) + 1) / sum(len(other) + 1 for other in texts)
        assert abs(share - exact) <= 1


def test_a_message_becomes_one_line_that_says_where_it_was_cut() -> None:
    assert one_line(" a\n b\t") == "a b"
    assert one_line(None) == one_line("") == "no reason given"
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 301) == "x" * 297 + "..."
    assert one_line("abcdef", limit=5) == "ab..."
