"""Reading what a service sent."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.llm.answers import (
    MalformedResponseError,
    ParsedResponse,
    abbreviate,
    read_answer,
    read_new_answer,
    read_usage,
    read_vectors,
    split_usage,
)
from raft_assets.llm.requests import Usage


def choice(content: Any = None, *, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (choice("yes"), ParsedResponse("yes", "ok")),
        (choice("yes", finish=None), ParsedResponse("yes", "ok")),  # some local services leave it out
        ({"choices": [{"text": "yes", "finish_reason": "stop"}]}, ParsedResponse("yes", "ok")),  # the older API
        (choice(""), ParsedResponse("", "empty", "The model answered with nothing.")),
        (choice(None), ParsedResponse("", "empty", "The model answered with nothing.")),
        (choice(" \n"), ParsedResponse(" \n", "empty", "The model answered with nothing.")),
        ({"choices": []}, ParsedResponse("", "empty", "The service answered without a choice.")),
        ({"choices": [None]}, ParsedResponse("", "empty", "The service answered without a choice.")),
        (
            choice("ye", finish="length"),
            ParsedResponse("ye", "truncated", "The answer reached the maximum of tokens; raise max_answer_tokens."),
        ),
        (
            choice("y", finish="content_filter"),
            ParsedResponse("y", "filtered", "The service's content filter cut the answer off."),
        ),
        (choice(None, refusal="I\nwon't."), ParsedResponse("", "filtered", "The model declined: I won't.")),
        (
            {"error": {"code": "content_filter", "message": "violence"}},
            ParsedResponse("", "filtered", "The service's content filter refused the request: violence"),
        ),
        (
            choice("an emoji \ud83d\ude00 and half of one \ud83d"),
            ParsedResponse("an emoji 😀 and half of one \ufffd", "ok"),
        ),
    ],
)
def test_an_answer_has_a_text_a_status_and_a_sentence_where_something_is_wrong(
    payload: dict[str, Any], expected: ParsedResponse
) -> None:
    assert read_answer(payload) == expected


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, 12?"}]}
SHOWN = {"type": "text", "text": "It is "}


@pytest.mark.parametrize(
    "content",
    [
        [THOUGHT, {"type": "text", "text": "It is 14."}],
        [THOUGHT, SHOWN, {"type": "text", "text": "14."}],
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "12?"}]}, SHOWN, "14."],
        [{"type": "text", "text": "12?", "thought": True}, {"type": "output_text", "text": "It is 14."}],
        [{"type": "text", "text": {"value": "It is 14."}}, {"type": "image_url", "image_url": {"url": "data:"}}],
        {"type": "text", "text": "It is 14."},
        "<think>12?</think>\nIt is 14.<|im_end|>",
    ],
)
def test_the_answer_is_what_the_parts_for_the_user_say(content: Any) -> None:
    assert read_answer(choice(content)) == ParsedResponse("It is 14.", "ok")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_in_a_field_of_their_own_are_no_answer(field: str) -> None:
    assert read_answer(choice("It is 14.", **{field: "12?"})) == ParsedResponse("It is 14.", "ok")
    nothing = ParsedResponse("", "empty", "The model thought, and answered with nothing.")
    assert read_answer(choice(None, **{field: "12?"})) == nothing
    assert read_answer(choice([THOUGHT])) == nothing
    assert read_answer(choice("<think>12?</think>")) == nothing


def test_a_part_may_be_a_refusal() -> None:
    declined = read_answer(choice([{"type": "refusal", "refusal": "I won't."}]))
    assert declined == ParsedResponse("", "filtered", "The model declined: I won't.")


HALF = "The chart says ##begin_quote##The pier has"
WHOLE = "The chart says ##begin_quote##The pier has 14 piles.##end_quote##\n<ANSWER>: 14"


@pytest.mark.parametrize(
    ("finish", "status"),
    [
        *((end, "ok") for end in ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence")),
        *((end, "truncated") for end in ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")),
        *((end, "filtered") for end in ("content_filter", "SAFETY", "RECITATION", "sensitive")),
        *((end, "failed") for end in ("error", "network_error", "abort", "insufficient_system_resource", "other")),
        ("tool_calls", "empty"),
    ],
)
def test_the_reason_why_an_answer_ends_decides_whether_it_is_one(finish: str, status: str) -> None:
    assert read_answer(choice(WHOLE, finish=finish)).status == status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (WHOLE, "ok"),
        ('{"supported": true, "reason": "it does"}', "ok"),
        ("1. How many piles has the pier?\n2. Who built it?", "ok"),
        ("Yes", "ok"),
        (HALF, "failed"),
        ("The chart says that the pier has", "failed"),
        ("<think>\nThe user asks for the number of", "failed"),
        (
            "図によると、その桟橋には十四本の杭があり、いずれも一八五三年に打ち込まれた木の杭で、その長さは九メート",
            "failed",
        ),
    ],
)
def test_without_a_reason_the_text_tells_whether_it_is_whole(text: str, status: str) -> None:
    assert read_answer(choice(text, finish=None)).status == status


def test_half_an_answer_that_just_arrived_is_none() -> None:
    with pytest.raises(MalformedResponseError, match=r"half an answer: .* \(finish_reason error\)"):
        read_new_answer(choice(HALF, finish="error"))
    assert read_new_answer(choice(WHOLE)).status == "ok"


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
        ({"data": [{"embedding": [1]}]}, "1 vectors for 2 texts"),
        ({"data": [{"index": "first", "embedding": [1]}]}, "without readable vectors"),
        ({"data": ["a", "b"]}, "without readable vectors"),
        ({"data": [{"index": 0, "embedding": "AAAA!AA=="}]}, "without readable vectors"),
        ({"data": [{"index": 0, "embedding": "AAA="}]}, "without readable vectors"),  # two bytes are no float
        ({"data": None}, "without readable vectors"),
        (embedded([1.0]), "1 vectors for 2 texts"),
        (embedded([1.0], [2.0], [3.0]), "3 vectors for 2 texts"),
        ({"data": [{"index": 1, "embedding": [1]}, {"index": 2, "embedding": [2]}]}, "2 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [[1], [1]]}, {"index": 1, "embedding": [[2], [2]]}]}, "several lengths"),
        (embedded([1.0], [float("nan")]), "not finite"),
        (embedded([1.0], [float("inf")]), "not finite"),
        (embedded([1.0], [1.0, 2.0]), "several lengths"),
        (embedded([], []), "empty"),
    ],
)
def test_vectors_that_cannot_be_right_are_malformed(payload: dict[str, Any], says: str) -> None:
    with pytest.raises(MalformedResponseError, match=says):
        read_vectors(payload, count=2)


@pytest.mark.parametrize(
    ("indices", "order"),
    [
        ([None, None, None], [0, 1, 2]),  # left out everywhere
        ([0, 0, 0], [0, 1, 2]),  # the same everywhere
        ([None, 1, 2], [0, 1, 2]),  # left out where it is 0
        ([2, None, 1], [1, 2, 0]),
        ([None, 1, None], [0, 1, 2]),
        (["0", "2", "1"], [0, 2, 1]),
    ],
)
def test_an_index_that_is_left_out_is_the_place_of_the_vector(indices: list[Any], order: list[int]) -> None:
    entries = [{"index": index, "embedding": [place, 0.5]} for place, index in enumerate(indices)]
    payload = {"data": [{name: value for name, value in entry.items() if value is not None} for entry in entries]}
    assert [vector[0] for vector in read_vectors(payload, count=3)] == order


def test_a_vector_in_a_list_of_its_own_is_read() -> None:
    payload = {"data": [{"index": 0, "embedding": [[1.0, 2.0]]}]}
    assert [vector.tolist() for vector in read_vectors(payload, count=1)] == [[1.0, 2.0]]


@given(st.lists(st.text(max_size=50), min_size=1, max_size=20), st.integers(0, 10**7))
def test_the_tokens_of_a_call_are_shared_out_without_losing_one(texts: list[str], tokens: int) -> None:
    shares = [usage.input_tokens for usage in split_usage(Usage(input_tokens=tokens), texts)]
    assert sum(shares) == tokens
    assert len(shares) == len(texts)
    for text, share in zip(texts, shares, strict=True):
        exact = tokens * (len(text) + 1) / sum(len(other) + 1 for other in texts)
        assert abs(share - exact) <= 1


def test_a_message_becomes_one_line_that_says_where_it_was_cut() -> None:
    assert abbreviate(" a\n b\t") == "a b"
    assert abbreviate(None) == abbreviate("") == "no reason given"
    assert abbreviate("x" * 300) == "x" * 300
    assert abbreviate("x" * 301) == "x" * 297 + "..."
    assert abbreviate("abcdef", limit=5) == "ab..."
