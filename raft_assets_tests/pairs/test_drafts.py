"""Drafts that are too many for memory."""

from dataclasses import replace

from raft_assets.pairs import drafts as module
from raft_assets.pairs.drafts import DraftFile
from raft_assets.pairs.questions import Draft
from raft_assets_tests.builders import a_chunk

CHUNKS = [a_chunk(f"c{number}") for number in range(3)]


def a_draft(number: int, *, answer: str = "") -> Draft:
    return Draft(
        chunk=CHUNKS[number % 3],
        question=f"Was heißt 漢字 {number}?\n\u2028",
        question_call="call",
        answer=answer,
        answer_call="other",
        call_status="ok",
        call_detail="",
        structured=number % 2 == 0,
    )


def test_drafts_come_back_as_they_were_put_in_with_the_same_chunks() -> None:
    given = [a_draft(number, answer="wing " * 50) for number in range(200)]
    kept = DraftFile(given[:50])
    kept.extend(given[50:])
    assert len(kept) == 200
    assert list(kept) == given
    assert all(draft.chunk is CHUNKS[number % 3] for number, draft in enumerate(kept))


def test_a_draft_that_is_longer_than_what_is_read_at_once_comes_back_whole() -> None:
    given = [a_draft(0), a_draft(1, answer="w" * (module.READ_BYTES * 2 + 5)), a_draft(2)]
    assert list(DraftFile(given)) == given


def test_readers_are_at_different_places_while_others_add() -> None:
    kept = DraftFile(map(a_draft, range(4)))
    one, other = iter(kept), iter(kept)
    assert next(one) == a_draft(0)
    kept.extend([a_draft(4)])
    assert [next(other) for _ in range(3)] == [a_draft(0), a_draft(1), a_draft(2)]
    assert list(one) == [a_draft(number) for number in range(1, 5)]


def test_an_empty_file_has_no_drafts() -> None:
    assert list(DraftFile()) == []
    assert len(DraftFile([])) == 0


def test_half_a_character_of_a_cut_off_answer_is_kept() -> None:
    given = replace(a_draft(0), answer="bat \ud83e")
    assert list(DraftFile([given])) == [given]
