"""Which chunks say the same."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.similarity import connected_components
from raft_assets.core.tables import Chunk
from raft_assets.dataset.near_duplicates import (
    ChunkSpan,
    chunk_span,
    near_duplicate_groups,
    overlapping_pairs,
    spans_overlap,
)
from raft_assets_tests.builders import a_chunk, prose


def at(name: str, start: int, end: int, *, document: str = "d", text: str = "") -> Chunk:
    """A chunk that stands there, whatever it says."""
    return a_chunk(name, text, document=document).model_copy(update={"start": start, "end": end})


def by_id(*chunks: Chunk) -> dict[str, Chunk]:
    return {chunk.chunk_id: chunk for chunk in chunks}


def pairs_of(*chunks: Chunk) -> list[tuple[str, str]]:
    named = by_id(*chunks)
    return sorted((min(pair), max(pair)) for pair in overlapping_pairs(named, named))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("d", 0, 10), ("d", 9, 20), True),  # one character
        (("d", 0, 10), ("d", 10, 20), False),  # they only touch
        (("d", 0, 10), ("d", 11, 20), False),
        (("d", 0, 10), ("d", 0, 10), True),
        (("d", 0, 10), ("d", 3, 4), True),  # one within the other
        (("d", 0, 10), ("e", 0, 10), False),  # another document
    ],
)
def test_places_overlap_where_they_share_a_character_of_one_document(
    one: ChunkSpan, other: ChunkSpan, shared: bool
) -> None:
    assert spans_overlap(one, other) is spans_overlap(other, one) is shared
    (a_doc, *a_span), (b_doc, *b_span) = one, other
    chunks = [at("a", *a_span, document=a_doc), at("b", *b_span, document=b_doc)]
    assert pairs_of(*chunks) == ([("a", "b")] if shared else [])
    assert [chunk_span(chunk) for chunk in chunks] == [one, other]


def test_a_chunk_is_paired_with_the_one_before_it_that_reaches_furthest() -> None:
    assert pairs_of(at("long", 0, 100), at("inner", 10, 20), at("late", 90, 120)) == [
        ("inner", "long"),
        ("late", "long"),
    ]


def test_chunks_that_only_touch_a_long_one_s_end_are_alone() -> None:
    assert pairs_of(at("long", 0, 100), at("inner", 10, 20), at("next", 100, 120)) == [("inner", "long")]


def test_pieces_of_one_description_belong_together_for_each_shows_its_signature() -> None:
    def piece(name: str, start: int, entry: int, signature: str) -> Chunk:
        placed = {"page_from": entry, "page_to": entry, "signature": signature}
        return at(name, start, start + 10).model_copy(update=placed)

    pieces = [piece("a", 0, 1, "f(x)"), piece("b", 10, 1, ""), piece("c", 20, 1, "f(x)"), piece("d", 30, 2, "")]
    assert pairs_of(*pieces) == [("a", "b"), ("b", "c")]


PLACES = st.lists(
    st.tuples(st.sampled_from("de"), st.integers(0, 12), st.integers(1, 6)).map(
        lambda place: (place[0], place[1], place[1] + place[2])
    ),
    max_size=9,
)


@given(PLACES)
def test_what_hangs_together_is_what_comparing_every_two_places_finds(places: list[ChunkSpan]) -> None:
    chunks = by_id(*(at(f"c{number}", *span, document=name) for number, (name, *span) in enumerate(places)))
    found = list(overlapping_pairs(chunks, chunks))
    assert all(spans_overlap(chunk_span(chunks[one]), chunk_span(chunks[other])) for one, other in found)
    compared = [
        (one, other)
        for one, other in combinations(chunks, 2)
        if spans_overlap(chunk_span(chunks[one]), chunk_span(chunks[other]))
    ]
    assert sorted(map(sorted, connected_components(found))) == sorted(map(sorted, connected_components(compared)))


def test_a_group_is_named_by_its_smallest_id_and_joins_likeness_with_shared_text() -> None:
    text = prose("shared", length=100)
    chunks = by_id(
        at("m", 0, 600, text=text),
        at("z", 0, 600, document="copy", text=f"{text} and more"),  # alike, in another document
        at("b", 590, 700),  # shares text with the first
        at("k", 700, 800),  # touches the one before
        at("alone", 0, 600, document="other"),
    )
    assert near_duplicate_groups(chunks, chunks, 0.8) == {"m": "b", "z": "b", "b": "b"}


def test_only_the_named_chunks_are_compared() -> None:
    chunks = by_id(at("a", 0, 10), at("b", 5, 15), at("c", 12, 20))
    assert near_duplicate_groups(["a", "c"], chunks, 0.8) == {}
    assert near_duplicate_groups(["b", "c"], chunks, 0.8) == {"b": "b", "c": "b"}


def test_how_alike_chunks_must_be_is_the_threshold() -> None:
    text = prose("text", length=100)
    chunks = by_id(a_chunk("a", text), a_chunk("b", f"{text} {prose('end', length=30)}"))  # about 98 of 128 runs
    assert near_duplicate_groups(chunks, chunks, 0.9) == {}
    assert near_duplicate_groups(chunks, chunks, 0.7) == {"a": "a", "b": "a"}
