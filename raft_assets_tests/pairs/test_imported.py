"""Imported pairs and the chunks that are their oracles."""

import json
from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk
from raft_assets.pairs.imported import ImportedPair, imported_drafts, read_imported_pairs
from raft_assets_tests.builders import a_chunk, an_answer

ONE = "Bats eat moths. They hunt at night."
TWO = "Gulls eat fish. They hunt by day, near the shore."


def chunks_of(*texts: str, document: str = "d") -> list[Chunk]:
    """Neighbouring chunks of a document."""
    found, start = [], 0
    for number, text in enumerate(texts):
        found.append(a_chunk(f"{document}{number}", text, document=document, start=start))
        start += len(text) + 2
    return found


def oracle_of(oracle: str, quote: str = "Bats eat moths.") -> str:
    pair = ImportedPair(question="What do bats eat?", answer=an_answer(quote, "moths"), oracle=oracle)
    (draft,) = imported_drafts([pair], [*chunks_of(ONE, TWO), *chunks_of("Seals sleep. " * 3, document="e")])
    assert (draft.question, draft.answer, draft.call_status) == (pair.question, pair.answer, "ok")
    return draft.chunk.chunk_id


@pytest.mark.parametrize(
    ("oracle", "quote", "chunk"),
    [
        (ONE, "", "d0"),  # the same text
        ("  bats eat\nmoths. ".replace("b", "B"), "", "d0"),  # a part of one, spaced differently
        (f"{ONE}\n\n{TWO}", "Bats eat moths.", "d0"),  # cut in two here: where the quote is
        (f"{ONE}\n\n{TWO}", "Gulls eat fish.", "d1"),
        (f"{ONE}\n\n{TWO}", "", "d1"),  # no quote: where most of it is
        ("They hunt at night. Gulls eat fish. They hunt by day, near the shore.", "", "d1"),
        ("Seals sleep.", "", "e0"),
        ("Whales sing.", "", ""),  # nowhere
        ("ats eat moths", "", ""),  # never within a word
    ],
)
def test_an_imported_pair_belongs_to_the_chunk_that_holds_its_oracle(oracle: str, quote: str, chunk: str) -> None:
    assert oracle_of(oracle, quote) == chunk


def test_thoughts_that_another_tool_left_in_an_answer_are_not_imported() -> None:
    answer = an_answer("Bats eat moths.", "moths")
    pair = ImportedPair(question="What do bats eat?", answer=f"<think>Fish?</think>\n{answer}</s>", oracle=ONE)
    (draft,) = imported_drafts([pair], chunks_of(ONE))
    assert draft.answer == answer


def test_a_broken_line_is_told_with_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    assert read_imported_pairs(file) == []
    good = {"question": "Who?", "answer": "", "oracle": "x"}
    file.write_text(json.dumps(good) + "\n\n" + json.dumps(good | {"oracle": " "}) + "\n", "utf-8")
    with pytest.raises(DataError, match=r"pairs\.jsonl, line 3, field oracle: "):
        read_imported_pairs(file)
