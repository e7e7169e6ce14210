"""Counting and truncating text in tokens of o200k, the vocabulary of current OpenAI models; the figures of `usage`."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from raft_assets.core.vocabularies import load_tokenizer

VOCABULARY = "o200k_base"
MESSAGE_TOKENS = 3  # what the chat format adds to each message and to the reply, as OpenAI's cookbook counts it


def count_tokens(text: str) -> int:
    """Return the length of a text in tokens."""
    tokens: int = load_tokenizer(VOCABULARY).count(text)
    return tokens


def count_chat_tokens(texts: Sequence[str]) -> int:
    """Return the length of a conversation in tokens, with what the chat format adds."""
    return sum(count_tokens(text) + MESSAGE_TOKENS for text in texts) + MESSAGE_TOKENS


def truncate(text: str, *, stop: Sequence[str], max_tokens: int | None) -> tuple[str, Literal["stop", "length"]]:
    """Return the text before the first stop sequence and within `max_tokens`, and why it ends."""
    ends = [end for sequence in stop if (end := text.find(sequence)) >= 0]
    text = text[: min(ends)] if ends else text
    tokens = load_tokenizer(VOCABULARY).encode(text) if max_tokens is not None else []
    if max_tokens is None or len(tokens) <= max_tokens:
        return text, "stop"
    return _decode(tokens[:max_tokens]), "length"


def usage_object(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the `usage` object of a completion."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _decode(tokens: list[int]) -> str:
    """Return the text of the tokens; a character that the cut split is left out."""
    for length in range(len(tokens), 0, -1):
        with suppress(ValueError):
            return str(load_tokenizer(VOCABULARY).decode(tokens[:length]))
    return ""
