"""Tokens that a service doesn't tell are counted, whatever way it doesn't tell them."""

from typing import Any

import pytest

from raft_assets.llm.requests import NO_USAGE, Usage
from raft_assets.llm.usage import UNREADABLE, count_usage, estimate_tokens, max_usage

ASKED = {"messages": [{"role": "user", "content": "one two three"}], "max_completion_tokens": 50}
PROMPT = 3 + 4  # three words, and what a message adds
EMBEDDED = {"input": ["one two", "three"], "encoding_format": "base64"}
ANSWER = [{"message": {"role": "assistant", "content": "four five"}, "finish_reason": "stop"}]


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 3}, Usage(10, 0, 3)),
        ({"prompt_tokens": 10.0, "completion_tokens": 2.5}, Usage(10, 0, 3)),  # floats are numbers, of whole tokens
        ({"input_tokens": 10, "output_tokens": 3}, Usage(10, 0, 3)),  # OpenAI's other names
        ({"prompt_tokens": 10, "total_tokens": 13}, Usage(10, 0, 3)),
        ({"completion_tokens": 3, "total_tokens": 13}, Usage(10, 0, 3)),
        ({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 20}, Usage(10, 0, 10)),  # thoughts apart
        (
            {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}},
            Usage(10, 10, 3),
        ),
        ({"prompt_tokens": 10, "completion_tokens": None}, Usage(10, 0, 2, estimated=1)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(PROMPT, 0, 2, estimated=1)),
        ({"prompt_tokens": "ten", "completion_tokens": True}, Usage(PROMPT, 0, 2, estimated=1)),
        ({"prompt_tokens": -1, "completion_tokens": float("nan")}, Usage(PROMPT, 0, 2, estimated=1)),
        ({"prompt_tokens": float("inf"), "completion_tokens": [3]}, Usage(PROMPT, 0, 2, estimated=1)),
        ({}, Usage(PROMPT, 0, 2, estimated=1)),
        (None, Usage(PROMPT, 0, 2, estimated=1)),
        ("a lot", Usage(PROMPT, 0, 2, estimated=1)),
    ],
)
def test_what_is_told_counts_and_what_is_not_told_is_counted(usage: object, expected: Usage) -> None:
    assert count_usage(ASKED, {"choices": ANSWER, "usage": usage}, words) == expected


def test_a_response_without_usage_is_counted() -> None:
    assert count_usage(ASKED, {"choices": ANSWER}, words) == Usage(PROMPT, 0, 2, estimated=1)


@pytest.mark.parametrize(
    ("choice", "tokens"),
    [
        ({"text": "four five six"}, 3),  # the older API
        ({"message": {"content": [{"type": "text", "text": "four"}, {"type": "text", "text": "five"}]}}, 2),
        ({"message": {"content": "four", "reasoning_content": "so it must be four"}}, 6),  # thoughts are paid as well
        ({"message": {"content": None, "refusal": "I won't"}}, 2),
        ({"message": {"content": None, "tool_calls": [{"id": "a", "function": {"arguments": "one two"}}]}}, 2),
        ({"message": {"content": "four"}, "content_filter_results": {"hate": {"severity": "safe"}}}, 1),
        ({"message": None}, 0),
    ],
)
def test_everything_that_was_generated_is_counted(choice: dict[str, Any], tokens: int) -> None:
    assert count_usage(ASKED, {"choices": [choice]}, words) == Usage(PROMPT, 0, tokens, estimated=1)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5)),
        ({"total_tokens": 5}, Usage(5)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, Usage(5)),  # there is no answer to pay
        (None, Usage(3, estimated=1)),
    ],
)
def test_embeddings_have_a_prompt_alone(usage: object, expected: Usage) -> None:
    assert count_usage(EMBEDDED, {"data": [], "usage": usage}, words) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"error": {"message": "overloaded"}}, NO_USAGE),
        ({"error": {"message": "overloaded"}, "usage": {"prompt_tokens": 9}}, Usage(9)),
        ({UNREADABLE: "<html>a proxy's page</html>"}, NO_USAGE),
        ({UNREADABLE: '{"choices": [{"message"'}, Usage(PROMPT, 0, 2, estimated=1)),  # JSON that was cut off
        ({"choices": None}, Usage(PROMPT, estimated=1)),
        ({"choices": ["odd"]}, Usage(PROMPT, estimated=1)),
    ],
)
def test_a_bad_response_costs_what_the_service_worked(payload: dict[str, Any], expected: Usage) -> None:
    assert count_usage(ASKED, payload, words) == expected


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The mill at Alba was built by Ann Bell in 1893.", 14),  # tokens of o200k_base
        ("Die Mühle in Alba wurde 1893 von Ann Bell gebaut.", 14),
        ("阿尔巴的磨坊由安·贝尔于1893年建造。", 18),
        ("Мельница в Альбе была построена в 1893 году.", 15),
        ("アルバの水車小屋は1893年に建てられました。", 18),
        ("आल्बा की चक्की 1893 में बनी थी।", 15),
        ("11.5 | 12.25 | 3.4 | 1998 | 7", 20),
        ("", 0),
    ],
)
def test_an_estimate_is_rather_too_high_than_too_low_in_any_script(text: str, tokens: int) -> None:
    assert tokens <= estimate_tokens(text) <= 3 * tokens


def test_the_most_that_a_call_may_cost_is_its_prompt_and_its_longest_answer() -> None:
    assert max_usage(ASKED).output_tokens == 50
    assert max_usage({"prompt": "one", "max_tokens": 7}).output_tokens == 7
    assert max_usage({"prompt": "one"}).output_tokens > 1000  # a request without a maximum
    assert max_usage(EMBEDDED).output_tokens == 0
    assert max_usage(EMBEDDED).input_tokens >= 3
