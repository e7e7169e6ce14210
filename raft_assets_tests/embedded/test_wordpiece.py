"""WordPiece: BERT's pieces, and offsets that point into the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.embedded.weights import find_weights
from raft_assets.embedded.wordpiece import WordPiece


@pytest.fixture(scope="module")
def wordpiece() -> WordPiece:
    """The tokenizer of the encoder's vocabulary."""
    return WordPiece(find_weights().vocabulary)


CASES = (
    ("Surfing is fun.", ["surfing", "is", "fun", "."]),
    ("unaffable", ["una", "##ffa", "##ble"]),  # the example of BERT's authors
    ("Café-Bar", ["cafe", "-", "bar"]),  # accents dropped, punctuation on its own
    ("10€ at 5°C", ["10", "##€", "at", "5", "##°", "##c"]),  # symbols beyond ASCII are no punctuation
    ("ab\u200bout", ["about"]),  # invisible characters are dropped
    ("東京", ["東", "京"]),  # ideographs are words of their own
    ("a" * 101, ["[UNK]"]),  # longer than any word
    (" \n\t", []),
)


@pytest.mark.parametrize(("text", "pieces"), CASES)
def test_pieces_are_those_of_bert(wordpiece: WordPiece, text: str, pieces: list[str]) -> None:
    assert [wordpiece.pieces[number] for number in wordpiece.encode(text).ids] == pieces


def test_offsets_point_at_the_piece_in_the_text(wordpiece: WordPiece) -> None:
    text = "The unaffable Kiteboarder\nlanded."
    found = [text[start:end] for start, end in wordpiece.encode(text).spans]
    assert "".join(found) == text.replace(" ", "").replace("\n", "")


@given(st.text(max_size=200))
def test_any_text_gives_ordered_spans_within_it(wordpiece: WordPiece, text: str) -> None:
    encoding = wordpiece.encode(text)
    assert len(encoding.ids) == len(encoding.spans)
    assert all(0 <= start < end <= len(text) for start, end in encoding.spans)
    assert list(encoding.spans) == sorted(encoding.spans)


def test_a_limit_cuts_behind_whole_pieces(wordpiece: WordPiece) -> None:
    assert wordpiece.encode("one two three", limit=2).ids == wordpiece.encode("one two").ids
