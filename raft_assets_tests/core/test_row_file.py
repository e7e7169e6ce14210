"""Rows that are too many for memory."""

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.row_file import CACHED_ROWS, DiskBackedRows
from raft_assets.core.tables import Chunk, QAPair
from raft_assets_tests.builders import a_chunk, a_pair


def test_rows_are_found_by_their_id_as_they_were_put_in() -> None:
    chunks = [a_chunk(f"c{number}", f"Größe {number}, 漢字\n🦇") for number in range(CACHED_ROWS + 50)]
    shelf = DiskBackedRows(Chunk, chunks, lambda chunk: chunk.chunk_id)
    assert list(shelf) == [chunk.chunk_id for chunk in chunks]
    assert [shelf[chunk.chunk_id] for chunk in reversed(chunks)] == chunks[::-1]
    assert list(shelf.values()) == chunks
    assert "c1" in shelf
    assert "other" not in shelf
    pair = a_pair(chunks[0]).model_copy(update={"gates": {"refusal": "pass"}})
    assert DiskBackedRows(QAPair, [pair], lambda row: row.question_id)[pair.question_id] == pair


def test_an_id_that_is_not_there_is_no_row() -> None:
    with pytest.raises(KeyError):
        DiskBackedRows(Chunk, [], lambda chunk: chunk.chunk_id)["c1"]


def test_two_rows_of_one_id_are_an_error_and_none_is_lost_silently() -> None:
    with pytest.raises(DataError, match="Two Chunk rows have the id c1: materialize"):
        DiskBackedRows(Chunk, [a_chunk("c1"), a_chunk("c1", "other")], lambda chunk: chunk.chunk_id)
