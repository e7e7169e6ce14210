"""Text that only the check on finished rows finds in training and in evaluation."""

from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.dataset.related_chunks import find_related_chunks
from raft_assets.dataset.rows import Assembly, assemble_rows
from raft_assets.operations.held_out import write_rows
from raft_assets.settings.domain import DatasetSettings
from raft_assets.storage.lake import Lake
from raft_assets_tests.builders import a_chunk, a_corpus, pairs_of

SETTINGS = DatasetSettings().model_copy(
    update={"distractor_kind": "random", "distractors": 2, "min_eval_rows": 2, "min_valid_rows": 2}
)
CORPUS = a_corpus(30)


def respaced(text: str) -> str:
    """The same letters in other words: alike by runs of characters, strange by runs of words."""
    words = text.split()
    return " ".join("".join(words[place : place + 3]) for place in range(0, len(words), 3))


def assembled(chunks: list[Chunk], register: dict[str, str]) -> Assembly:
    return assemble_rows(pairs_of(chunks), chunks, None, [], SETTINGS, register)


def with_copies(of: str) -> tuple[list[Chunk], dict[str, str]]:
    """The corpus with a respaced copy of every chunk of a split, where the copies are registered to train."""
    drawn = assembled(CORPUS, {}).plan
    found = [chunk for chunk in CORPUS if drawn.splits[chunk.chunk_id] == of]
    copies = [
        a_chunk(f"copy of {one.chunk_id}", respaced(one.text), document=f"copies {place}")
        for place, one in enumerate(found)
    ]
    return [*CORPUS, *copies], {
        **drawn.register,
        **{f"document:copies {place}": "train" for place in range(len(found))},
    }


@pytest.mark.parametrize("of", ["eval", "valid"])
def test_training_rows_that_only_the_check_finds_alike_are_lost_and_counted(of: str, tmp_path: Path) -> None:
    chunks, register = with_copies(of)
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    assert not find_related_chunks(by_id, SETTINGS.near_duplicate).relatives(["copy of 0"]) - {"copy of 0"}
    assembly = assembled(chunks, register)
    before = list(assembly.rows())
    written = write_rows(lake := Lake(str(tmp_path)), "copies", assembly, [], "unseen_passages")
    rows = list(lake.rows(RaftRow, "copies"))
    copies = {name for name in by_id if name.startswith("copy")}
    assert copies
    assert {row.chunk_id for row in before if row.split == "train"} > copies
    shown = {name for row in rows if row.split == "train" for name in (row.chunk_id, *row.document_chunk_ids)}
    assert not copies & (shown if of == "eval" else {row.chunk_id for row in rows if row.split == "train"})
    assert [row for row in rows if row.split == "eval"] == [row for row in before if row.split == "eval"]
    lost = assembly.summary["dropped"]["shares_text_with_other_split"]
    assert lost == len(before) - len(rows) > 0
    assert written.rows == len(rows)


def test_where_every_training_row_is_alike_nothing_is_written_and_documents_are_asked_for(tmp_path: Path) -> None:
    chunks = [a_chunk("a", document="a"), a_chunk("b", respaced(a_chunk("a").text), document="b")]
    assembly = assembled(chunks, {"document:a": "eval", "document:b": "train"})
    lake = Lake(str(tmp_path))
    with pytest.raises(DataError, match="Every training row shares text with evaluation"):
        write_rows(lake, "twins", assembly, [], "unseen_passages")
    assert not lake.exists("qa_dataset", "twins")
