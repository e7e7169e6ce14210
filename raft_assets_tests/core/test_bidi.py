"""Directions end where their text ends, in every order of the characters that turn them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.bidi import close_direction, close_directions

LRE, RLE, PDF, LRO, RLO = "\u202a\u202b\u202c\u202d\u202e"
LRI, RLI, FSI, PDI = "\u2066\u2067\u2068\u2069"
EMBEDDINGS, ISOLATES = (LRE, RLE, LRO, RLO), (LRI, RLI, FSI)

CASES = {
    "nothing to close": ("left \u05d0\u05d1 right", "left \u05d0\u05d1 right"),
    "an override": (f"a{RLO}b", f"a{RLO}b{PDF}"),
    "an isolate": (f"a{RLI}b", f"a{RLI}b{PDI}"),
    "one in the other": (f"{RLI}{RLO}b", f"{RLI}{RLO}b{PDF}{PDI}"),
    "what is closed stays": (f"{FSI}a{PDI}{RLE}b{PDF}", f"{FSI}a{PDI}{RLE}b{PDF}"),
    "an end of nothing": (f"a{PDI}b{PDF}c", "abc"),
    "the end of what stands around it, then an override": (f"{PDI}{RLO}b", f"{RLO}b{PDF}"),
    "an isolate's end ends what is open in it": (f"{RLI}{RLO}a{PDI}{PDF}b", f"{RLI}{RLO}a{PDI}b"),
    "an embedding's end inside an isolate is none": (f"{RLO}{RLI}a{PDF}b", f"{RLO}{RLI}ab{PDI}{PDF}"),
    "a line's end": (f"{RLO}a\n{PDF}b", f"{RLO}a{PDF}\nb"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_a_direction_ends_with_its_line_at_the_latest(text: str, expected: str) -> None:
    assert close_direction(text) == expected


def test_what_is_open_in_one_part_of_a_text_may_end_in_a_later_one() -> None:
    assert close_directions([f"a{RLO}", "b", f"{PDF}c{RLI}"]) == [f"a{RLO}", "b", f"{PDF}c{RLI}{PDI}"]
    assert close_directions([f"a{RLO}", "b"]) == [f"a{RLO}", f"b{PDF}"]
    assert close_directions([]) == []


def open_at_the_end(text: str) -> list[str]:
    """What is open at the end of a text, by the rules BD8 to BD11 and X1 to X8 of UAX 9; an end of nothing raises."""
    opened: list[str] = []
    for character in text:
        if character in (*EMBEDDINGS, *ISOLATES):
            opened.append(character)
        elif character == PDF:
            assert opened.pop() in EMBEDDINGS
        elif character == PDI:
            while opened.pop() in EMBEDDINGS:
                pass
    return opened


@given(st.text(st.sampled_from([*EMBEDDINGS, *ISOLATES, PDF, PDI, "a", "\n"])))
def test_no_text_leaves_a_direction_open_or_ends_one_that_it_did_not_begin(text: str) -> None:
    closed = close_direction(text)
    for line in closed.split("\n"):
        assert open_at_the_end(line) == []
    assert [one for one in closed if one in "a\n"] == [one for one in text if one in "a\n"]
    assert close_direction(closed) == closed
