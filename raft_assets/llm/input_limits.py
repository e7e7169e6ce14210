"""How many texts, and how long ones, a service embeds: read from its refusals, in whatever words."""

from __future__ import annotations

import re

from raft_assets.llm.service_errors import (
    ContentFiltered,
    FailCall,
    Retry,
    ServiceError,
    Unexplained,
    UnsupportedParameter,
)

_NUMBER = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,])|(?<![\w.])\d+(?!\w|\.\d)", re.ASCII)
_BRACKETS = re.compile(r"\[[^\]]*\]|<[^>]*>|\(code[^)]*\)")  # places of a text in the list, ranges, codes
# a text of the list, by its place
_ORDINAL = re.compile(
    r"\b(?:input|text|item|element|document|entry|row|index|position|line)(?:\s+(?:no\.?|number|at|index|position))*"
    r"\s*[#:]?\s*\d+(?![\d,.]*\d)",
    re.IGNORECASE,
)
_OF_TOKENS = re.compile(r"\s*(?:tokens?|characters?|chars?|bytes|k?i?b\b|mb\b)", re.IGNORECASE)
_COUNTED = re.compile(
    r"batch|\binputs?\b|\btexts?\b|\bitems?\b|\barray\b|\blist\b|\belements?\b|documents|requests|instances|\d+条|数组",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"too (?:long|large)|less than|at most|exceed|maximum|max[ _](?:length|tokens|input)|context (?:length|size|window)"
    r"|longer than|input length|token limit|reduce the|shorter|超过|过长",
    re.IGNORECASE,
)
_LENGTHS = re.compile(r"tokens?\b|length|context|characters|too long|batch size", re.IGNORECASE)
_RANGE = re.compile(r"\[\s*\d+\s*,\s*(\d+)\s*\]")
FEWEST_TOKENS, MOST_TOKENS = 64, 1_000_000  # of a text that a model embeds; other numbers are something else
REFUSALS = (400, 413, 422)  # statuses of a request that others may do without


def is_about_inputs(status: int, said: str, meaning: ServiceError) -> bool:
    """Return whether a call with fewer or shorter texts might pass, by the status of its refusal and what it said."""
    if isinstance(meaning, UnsupportedParameter):
        return False
    if isinstance(meaning, FailCall | ContentFiltered | Unexplained):
        return True
    # llama.cpp answers 500 to a text that doesn't fit into its batch
    is_too_long = isinstance(meaning, Retry) and status == 500 and read_tokens_limit(said) is not None
    return status in REFUSALS or is_too_long


def read_texts_limit(said: str, *, sent: int) -> int | None:
    """Return how many texts a call may have, by the refusal of one that had `sent`; None if it doesn't say."""
    if not _COUNTED.search(said):
        return None
    bare = _ORDINAL.sub(" ", _BRACKETS.sub(" ", said))
    numbers = [int(one[0].replace(",", "")) for one in _NUMBER.finditer(bare) if not _OF_TOKENS.match(bare, one.end())]
    return max((number for number in numbers if 0 < number < sent), default=None)


def read_tokens_limit(said: str) -> int | None:
    """Return how many tokens a text may have, by the refusal of a longer one; None if it doesn't say."""
    if not (_TOO_LONG.search(said) and _LENGTHS.search(said)):
        return None
    if within := _RANGE.search(said):
        return int(within[1])
    numbers = [int(one[0].replace(",", "")) for one in _NUMBER.finditer(_BRACKETS.sub(" ", said))]
    return min((number for number in numbers if FEWEST_TOKENS <= number <= MOST_TOKENS), default=None)


def is_too_long(status: int, said: str) -> bool:
    """Return whether a text was refused for its length."""
    return status == 413 or bool(_TOO_LONG.search(said) and _LENGTHS.search(said))
