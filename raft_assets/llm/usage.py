"""Tokens that a service doesn't tell, counted by us, and the most that a call may be billed for.

What a service does tell is read in `answers`. What tokens cost belongs in `prices`.
"""

import string
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raft_assets.llm.answers import read_usage
from raft_assets.llm.requests import NO_USAGE, Usage

# rather too many tokens than too few: a budget must not be exceeded
LETTERS_PER_TOKEN = 3  # of ASCII, and blanks between them; a digit or a mark may be a token of its own
BYTES_PER_TOKEN = 2  # of other characters: Chinese is a token a character, or a little more
TOKENS_PER_MESSAGE = 4  # of a chat, for its role and its end
DEFAULT_MAX_TOKENS = 4096  # tokens of an answer whose request sets no maximum
UNREADABLE = "unreadable"  # in place of the service's JSON: the text that came instead
_LABELS = {"role", "type", "id"}  # of a message and its parts, which are no text
_LETTERS, _NOT_ASCII = f"{string.ascii_letters}{string.whitespace}".encode(), bytes(range(128, 256))

TokenCount = Callable[[str], int]


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, whatever the tokenizer; rather too many than too few."""
    data = text.encode("utf-8", "surrogatepass")
    others = data.translate(None, _LETTERS)
    marks = len(others.translate(None, _NOT_ASCII))
    letters, not_ascii = len(data) - len(others), len(others) - marks
    return -(-letters // LETTERS_PER_TOKEN) + marks + -(-not_ascii // BYTES_PER_TOKEN)


def error_usage(
    body: Mapping[str, Any], payload: Mapping[str, Any], count_tokens: TokenCount = estimate_tokens
) -> Usage:
    """Return the tokens of a response that holds an error: those that it tells, and those of half an answer with it."""
    error = payload.get("error")
    if isinstance(error, Mapping) and read_usage(payload) == NO_USAGE:
        payload = {**payload, "usage": error.get("usage")}
    is_paid = read_usage(payload) != NO_USAGE or payload.get("choices") or payload.get("data")
    return count_usage(body, payload, count_tokens) if is_paid else NO_USAGE


def told_usage(body: Mapping[str, Any], error: object) -> Usage:
    """Return the tokens that the body of an error with a status tells, wherever in it; none where it tells none."""
    told = next((usage for usage in _find_usages(error) if read_usage({"usage": usage}) != NO_USAGE), None)
    return NO_USAGE if told is None else count_usage(body, {"usage": told})


def _find_usages(value: object) -> Iterator[object]:
    """Yield what is called usage in a JSON value, the outermost first."""
    values = deque([value])
    while values:
        one = values.popleft()
        if isinstance(one, Mapping):
            yield from [one["usage"]] if "usage" in one else []
            values.extend(one.values())
        elif isinstance(one, list):
            values.extend(one)


def count_usage(
    body: Mapping[str, Any], payload: Mapping[str, Any], count_tokens: TokenCount = estimate_tokens
) -> Usage:
    """Return the tokens of the response to a body: as the service tells them, else counted from what was sent and came.

    No call has 0 tokens of a prompt, and no text 0 tokens of an answer: a service that says so doesn't tell. An error
    that comes in place of an answer, and a page of something in between, cost nothing unless they tell tokens.
    """
    told, is_embedding = read_usage(payload), "input" in body
    if told == NO_USAGE and not _is_answer(payload):
        return NO_USAGE
    prompt = 0 if told.input_tokens else _count_prompt(body, count_tokens)
    answer = 0 if told.output_tokens or is_embedding else sum(map(count_tokens, _answer_texts(payload)))
    return replace(
        told,
        input_tokens=told.input_tokens + prompt,
        output_tokens=0 if is_embedding else told.output_tokens + answer,
        estimated=int(prompt + answer > 0),
    )


def max_usage(body: Mapping[str, Any]) -> Usage:
    """Return the most tokens that a call may be billed for, counted by us."""
    most = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_TOKENS
    return Usage(
        input_tokens=_count_prompt(body, estimate_tokens), output_tokens=0 if "input" in body else most, estimated=1
    )


def _is_answer(payload: Mapping[str, Any]) -> bool:
    if UNREADABLE in payload:
        return not str(payload[UNREADABLE]).lstrip().startswith("<")
    return bool(payload.get("choices") or payload.get("data")) or "error" not in payload


def _count_prompt(body: Mapping[str, Any], count_tokens: TokenCount) -> int:
    asked = body.get("input") or body.get("prompt") or body.get("messages") or ()
    overhead = TOKENS_PER_MESSAGE * len(body.get("messages") or ())
    return overhead + sum(map(count_tokens, _texts(asked))) or 1


def _answer_texts(payload: Mapping[str, Any]) -> Iterator[str]:
    """Yield everything that was generated: text, thoughts, calls of tools; or what came instead of JSON."""
    yield str(payload.get(UNREADABLE, ""))
    choices = payload.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping):
            yield from _texts([choice.get("message"), choice.get("text")])


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value at any depth, without its names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in _LABELS:
                yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
