"""Read what a service sent: text and status of an answer, tokens, vectors.

The same functions read an answer that just arrived and one from the store, which keeps the service's JSON as it was; so
a fix here also applies to answers that are already paid for. Nothing here makes calls or stores anything.
"""

import base64
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raft_assets.core.prompt_contract import ANSWER_TAG, BEGIN_QUOTE, END_QUOTE
from raft_assets.llm.loops import is_looping
from raft_assets.llm.requests import Status, Usage
from raft_assets.llm.thoughts import strip_stop_tokens, strip_thoughts

CONTENT_FILTER = "content_filter"  # as the code of an error and as the reason why an answer ends
FLOAT32 = np.dtype("<f4")
# what services call the ends of an answer, in lower case; any other name means that it broke off
_WHOLE = {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete", "completed"}
_CUT_OFF = {"length", "max_tokens", "max_output_tokens", "max_new_tokens", "model_length", "max_length"}
_FILTERED = {CONTENT_FILTER, "safety", "recitation", "prohibited_content", "blocklist", "spii", "sensitive", "refusal"}
_TOOL_CALLED = {"tool_calls", "function_call", "tool_use"}
_THOUGHT_PARTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "thought"}
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
MIN_HALF_WORDS, MIN_HALF_CHARACTERS = 5, 40  # a shorter text may well end without a full stop, such as a name


class MalformedResponseError(Exception):
    """The service sent something that is not a response of the OpenAI protocol."""


@dataclass(frozen=True)
class ParsedResponse:
    """The text and status of an answer; `detail` is a sentence wherever `status` is not ok."""

    text: str
    status: Status
    detail: str = ""


def read_answer(payload: Mapping[str, Any]) -> ParsedResponse:
    """Read a chat or completion response, or the error of a content filter. Raises MalformedResponseError.

    The text is the answer alone, without thoughts and stop tokens. Status `failed`: the service broke the answer off.
    """
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


def read_new_answer(payload: Mapping[str, Any]) -> ParsedResponse:
    """Read a response that just arrived; raises MalformedResponseError also for an answer that broke off."""
    reading = read_answer(payload)
    if reading.status == "failed":
        raise MalformedResponseError(f"half an answer: {reading.detail.rstrip('.')}")
    return reading


def read_usage(payload: Mapping[str, Any]) -> Usage:
    """Return the tokens that a service tells of a response; a number that it doesn't tell is 0.

    Some tell the total alone, or count thoughts in it only, which are paid as output.
    """
    usage = _as_mapping(payload.get("usage"))
    prompt, completion = (_as_mapping(usage.get(f"{part}_tokens_details")) for part in ("prompt", "completion"))
    total = _as_count(usage.get("total_tokens"))
    output_tokens = _as_count(usage.get("completion_tokens", usage.get("output_tokens")))
    input_tokens = _as_count(usage.get("prompt_tokens", usage.get("input_tokens"))) or max(total - output_tokens, 0)
    return Usage(
        input_tokens=input_tokens,
        cached_tokens=min(_as_count(prompt.get("cached_tokens")), input_tokens),
        output_tokens=max(output_tokens, total - input_tokens),
        reasoning_tokens=_as_count(completion.get("reasoning_tokens")),
    )


def read_vectors(payload: Mapping[str, Any], *, count: int) -> list[np.ndarray]:
    """Return the float32 vectors of an embeddings response, in the order of the texts.

    Raises MalformedResponseError if they are not `count` finite ones.
    """
    try:
        entries = list(payload["data"])
        vectors = [_decode_vector(entry["embedding"]) for entry in entries]
        places = _places([None if entry.get("index") is None else int(entry["index"]) for entry in entries])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedResponseError("a response without readable vectors") from error
    if sorted(places) != list(range(count)):
        raise MalformedResponseError(f"{len(entries)} vectors for {count} texts")
    if len({vector.shape for vector in vectors}) > 1 or not all(
        vector.ndim == 1 and vector.size and np.isfinite(vector).all() for vector in vectors
    ):
        raise MalformedResponseError("vectors that are empty, not finite or of several lengths")
    return [vector for _, vector in sorted(zip(places, vectors, strict=True), key=lambda placed: placed[0])]


def _places(indices: Sequence[int | None]) -> Sequence[int]:
    """Return which text each vector is of.

    Some services leave an `index` out, Google's where it is 0; others write the same one everywhere. Then the order of
    the vectors is that of the texts.
    """
    known = [index for index in indices if index is not None]
    if len(indices) > 1 and len(set(known)) <= 1 and len(known) in (0, len(indices)):
        return range(len(indices))
    if len(known) == len(indices):
        return known
    if len(known) == len(indices) - 1 and 0 not in known:
        return [index or 0 for index in indices]
    return [place if index is None else index for place, index in enumerate(indices)]


def split_usage(usage: Usage, texts: Sequence[str]) -> list[Usage]:
    """Return the tokens of one call for many texts, per text by its length; the sum is exactly the call's."""
    ends = np.cumsum([len(text) + 1 for text in texts])
    bounds = [0, *(int(end) * usage.input_tokens // int(ends[-1]) for end in ends)]
    return [
        Usage(input_tokens=after - before, estimated=usage.estimated) for before, after in itertools.pairwise(bounds)
    ]


def abbreviate(message: object, *, limit: int = 300) -> str:
    """Return a service's message, shortened for use in a sentence."""
    text = " ".join(str(message or "no reason given").split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _read_choice(choice: Mapping[str, Any]) -> ParsedResponse:
    message = _as_mapping(choice.get("message"))
    parts = list(_parts(message.get("content") or choice.get("text") or ""))
    shown = _replace_lone_surrogates("".join(text for kind, text in parts if kind == "text"))
    text = strip_stop_tokens(strip_thoughts(shown))
    refusal = message.get("refusal") or next((text for kind, text in parts if kind == "refusal"), "")
    finish = choice.get("finish_reason")
    end = str(finish or "").casefold()
    broke_off = end not in _WHOLE | _TOOL_CALLED if end else _looks_cut_off(text or shown)
    if end in _FILTERED:
        return ParsedResponse(text, "filtered", "The service's content filter cut the answer off.")
    if refusal:
        return ParsedResponse(text, "filtered", f"The model declined: {abbreviate(refusal)}")
    if end in _CUT_OFF and is_looping(shown):
        return ParsedResponse(text, "looping", "The model repeated itself until the maximum of tokens.")
    if end in _CUT_OFF:
        return ParsedResponse(text, "truncated", "The answer reached the maximum of tokens; raise max_answer_tokens.")
    if broke_off:
        return ParsedResponse(
            text,
            "failed",
            f"The service broke the answer off (finish_reason {abbreviate(finish or 'null', limit=40)}).",
        )
    has_thoughts = (
        text != shown or any(kind == "thought" for kind, _ in parts) or any(map(message.get, _THOUGHT_FIELDS))
    )
    return _read_whole(text, has_thoughts=has_thoughts, calls_tool=end in _TOOL_CALLED)


def _read_whole(text: str, *, has_thoughts: bool, calls_tool: bool) -> ParsedResponse:
    if not text.strip():
        detail = "The model thought, and answered with nothing." if has_thoughts else "The model answered with nothing."
        return ParsedResponse(text, "empty", detail)
    if calls_tool:
        return ParsedResponse(text, "empty", "The model called a tool instead of answering.")
    return ParsedResponse(text, "ok")


def _parts(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the parts of a message's content by their kind: text, thought or refusal.

    It is a text, or a list of parts (Mistral's and Databricks' models that reason); images and the like are left out.
    """
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield "text", part
            continue
        fields = _as_mapping(part)
        kind = str(fields.get("type") or "text")
        text = fields.get("text", fields.get("content"))
        text = text.get("value") if isinstance(text, Mapping) else text
        if kind in _THOUGHT_PARTS or fields.get("thought"):
            yield "thought", str(text or "")
        elif kind == "refusal":
            yield "refusal", str(fields.get("refusal") or text or "")
        elif kind.endswith("text") and isinstance(text, str):  # text, output_text
            yield "text", text


def _looks_cut_off(text: str) -> bool:
    """Return whether a text ends in the middle, where the service doesn't say why it ends (some never do)."""
    text = text.rstrip()
    if text.count(BEGIN_QUOTE) > text.count(END_QUOTE):
        return True
    is_long = len(text.split()) >= MIN_HALF_WORDS or len(text) >= MIN_HALF_CHARACTERS
    return is_long and ANSWER_TAG not in text and (text[-1].isalnum() or text[-1] in ",;:-–—(")


def _decode_vector(embedding: Any) -> np.ndarray:
    """Decode a vector; base64 is requested, but some local services send numbers all the same."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype=FLOAT32)
    vector = np.asarray(embedding, dtype=FLOAT32)
    return vector[0] if vector.ndim == 2 and len(vector) == 1 else vector  # llama.cpp's may be a list in a list


def _replace_lone_surrogates(text: str) -> str:
    """Replace half characters, which no file format downstream accepts.

    JSON may hold them, of an answer that was cut off inside an emoji.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_count(value: Any) -> int:
    """Return a number of tokens, which some services send as a float; 0 for what is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return math.ceil(value) if is_number and 0 < value < math.inf else 0
