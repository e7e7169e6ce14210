"""Tell an answer that runs in a circle from one that merely needs more tokens.

A model that repeats itself reaches every maximum, so asking again with a larger one is paid for nothing.
"""

import re
from collections.abc import Iterator, Sequence

from raft_assets.core.languages import script_words

RUN_TOKENS = 4  # consecutive words and marks; longer runs are missed where a word in the circle changes
TAIL_TOKENS = 60  # of the end of a text that are looked at: a circle of up to some 50 words
MIN_TOKENS = 24  # a shorter text says too little
MIN_REPEATED_SHARE = 0.8  # of the runs in the tail that the text holds before; tables and lists have fewer
TAIL_CHARACTERS = 240
MAX_PERIOD = 60  # characters of a circle that has no words to count: "aaaa", "- - - -", white space

_PART = re.compile(r"\d+|[^\w\s]|[^\W\d_]+")


def is_looping(text: str) -> bool:
    """Return whether the end of a text that was cut off repeats what is before it, over and over.

    Numbers don't count: a list that numbers one item again and again is a circle, too.
    """
    tail = text[-TAIL_CHARACTERS:]
    if len(tail) == TAIL_CHARACTERS and (not tail.strip() or _is_periodic(tail)):
        return True
    tokens = ["0" if token.isdigit() else token.casefold() for token in _tokens(text)]
    if len(tokens) < MIN_TOKENS:
        return False
    start = max(len(tokens) - TAIL_TOKENS, len(tokens) // 2)
    runs = list(_runs(tokens))
    earlier, last = set(runs[: start - RUN_TOKENS + 1]), runs[start - RUN_TOKENS + 1 :]
    return sum(run in earlier for run in last) >= MIN_REPEATED_SHARE * len(last)


def _tokens(text: str) -> Iterator[str]:
    """Yield words, numbers and marks; a letter of a script without spaces is a word of its own."""
    for part in _PART.findall(text):
        yield from script_words(part) or [part]


def _is_periodic(text: str) -> bool:
    return any(text[period:] == text[:-period] for period in range(1, MAX_PERIOD + 1))


def _runs(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(RUN_TOKENS)), strict=False)
