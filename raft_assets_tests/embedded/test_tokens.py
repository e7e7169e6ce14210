"""Counting and cutting in tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.embedded.tokens import count_tokens, truncate


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("hello world", 2), ("<|endoftext|>", 7), ("a" * 2_000_000, 250_000)]
)
def test_tokens_are_those_of_o200k(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(text=st.text(max_size=200), limit=st.integers(1, 50))
def test_a_cut_text_is_a_beginning_within_the_limit(text: str, limit: int) -> None:
    kept, reason = truncate(text, stop=[], max_tokens=limit)
    assert text.startswith(kept)
    assert count_tokens(kept) <= limit
    assert (reason == "stop") == (kept == text)


def test_a_character_of_several_tokens_is_never_halved() -> None:
    surfer = "\N{SURFER}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}"
    assert [truncate(surfer, stop=[], max_tokens=limit)[0] for limit in (1, 2, 3)] == ["", surfer[0], surfer[0]]


def test_the_first_of_several_stops_counts() -> None:
    assert truncate("one two three", stop=["three", "two"], max_tokens=None) == ("one ", "stop")
    assert truncate("one", stop=["two"], max_tokens=1) == ("one", "stop")
