"""Read what a service sent: text and status of an answer, tokens, vectors.

The same functions read an answer that just arrived and one from the store, which keeps the service's JSON as it was; so
a fix here also applies to answers that are already paid for. Nothing here makes calls or stores anything.
"""

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raft_assets.llm.loops import is_looping
from raft_assets.llm.requests import Status, Usage

CONTENT_FILTER = "content_filter"  # as the code of an error and as the reason why an answer ends
FLOAT32 = np.dtype("<f4")


class MalformedResponseError(Exception):
    """The service sent something that is not a response of the OpenAI protocol."""


@dataclass(frozen=True)
class ParsedResponse:
    """The text and status of an answer; `detail` is a sentence wherever `status` is not ok."""

    text: str
    status: Status
    detail: str = ""


def read_answer(payload: Mapping[str, Any]) -> ParsedResponse:
    """Read a chat or completion response, or the error of a content filter. Raises MalformedResponseError."""
    error = _as_mapping(payload.get("error"))
    if error.get("code") == CONTENT_FILTER:
        return ParsedResponse(
            "", "filtered", f"The service's content filter refused the request: {abbreviate(error.get('message'))}"
        )
    choices = payload.get("choices")
    if not isinstance(choices, list):
        raise MalformedResponseError("a response without choices")
    if not choices or not isinstance(choices[0], Mapping):
        return ParsedResponse("", "empty", "The service answered without a choice.")
    return _read_choice(choices[0])


def read_usage(payload: Mapping[str, Any]) -> Usage:
    """Return the tokens of a response; a number that the service doesn't report counts as 0."""
    usage = _as_mapping(payload.get("usage"))
    prompt, completion = (_as_mapping(usage.get(f"{part}_tokens_details")) for part in ("prompt", "completion"))
    return Usage(
        input_tokens=_as_count(usage.get("prompt_tokens")),
        cached_tokens=_as_count(prompt.get("cached_tokens")),
        output_tokens=_as_count(usage.get("completion_tokens")),
        reasoning_tokens=_as_count(completion.get("reasoning_tokens")),
    )


def read_vectors(payload: Mapping[str, Any], *, count: int) -> list[np.ndarray]:
    """Return the float32 vectors of an embeddings response, in the order of the texts.

    Raises MalformedResponseError if they are not `count` finite ones.
    """
    try:
        entries = sorted(payload["data"], key=lambda entry: entry["index"])
        vectors = [_decode_vector(entry["embedding"]) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedResponseError("a response without readable vectors") from error
    if [entry["index"] for entry in entries] != list(range(count)):
        raise MalformedResponseError(f"{len(entries)} vectors for {count} texts")
    if len({vector.shape for vector in vectors}) > 1 or not all(
        vector.size and np.isfinite(vector).all() for vector in vectors
    ):
        raise MalformedResponseError("vectors that are empty, not finite or of several lengths")
    return vectors


def split_usage(usage: Usage, texts: Sequence[str]) -> list[Usage]:
    """Return the tokens of one call for many texts, per text by its length; the sum is exactly the call's."""
    ends = np.cumsum([len(text) + 1 for text in texts])
    bounds = [0, *(int(end) * usage.input_tokens // int(ends[-1]) for end in ends)]
    return [Usage(input_tokens=after - before) for before, after in itertools.pairwise(bounds)]


def abbreviate(message: object, *, limit: int = 300) -> str:
    """Return a service's message, shortened for use in a sentence."""
    text = " ".join(str(message or "no reason given").split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _read_choice(choice: Mapping[str, Any]) -> ParsedResponse:
    message = _as_mapping(choice.get("message"))
    text = _replace_lone_surrogates(str(message.get("content") or choice.get("text") or ""))
    finish = choice.get("finish_reason")
    if finish == CONTENT_FILTER:
        return ParsedResponse(text, "filtered", "The service's content filter cut the answer off.")
    if message.get("refusal"):
        return ParsedResponse(text, "filtered", f"The model declined: {abbreviate(message['refusal'])}")
    if finish == "length" and is_looping(text):
        return ParsedResponse(text, "looping", "The model repeated itself until the maximum of tokens.")
    if finish == "length":
        return ParsedResponse(text, "truncated", "The answer reached the maximum of tokens; raise max_answer_tokens.")
    if not text.strip():
        return ParsedResponse(text, "empty", "The model answered with nothing.")
    return ParsedResponse(text, "ok")


def _decode_vector(embedding: Any) -> np.ndarray:
    """Decode a vector; base64 is requested, but some local services send numbers all the same."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype=FLOAT32)
    return np.asarray(embedding, dtype=FLOAT32)


def _replace_lone_surrogates(text: str) -> str:
    """Replace half characters, which no file format downstream accepts.

    JSON may hold them, of an answer that was cut off inside an emoji.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_count(value: Any) -> int:
    return value if isinstance(value, int) else 0
