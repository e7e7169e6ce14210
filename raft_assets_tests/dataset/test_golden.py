"""Golden questions and the chunks that hold their evidence."""

import json
from pathlib import Path
from typing import Any

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.tables import GoldenQuestion
from raft_assets.dataset.golden import (
    GoldenQuestionInput,
    golden_chunk_ids,
    read_golden_questions,
    resolve_golden_questions,
)
from raft_assets.documents.chunking import chunk_document
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.settings.domain import ChunkSettings
from raft_assets.settings.domains import QUESTIONS_FILE, list_documents
from raft_assets_tests.harness import SHIPPED

GOOD: dict[str, Any] = {
    "id": "q1",
    "question": "What do bats eat?",
    "answers": ["moths"],
    "evidence": ["Bats eat moths."],
}

BAD_LINES = {
    "no JSON": ('{"id": ', "line 2 is not valid JSON"),
    "no object": ("[1]", "line 2: .*dictionary"),
    "a missing field": ('{"id": "x", "answers": ["a"]}', "line 2, field question: Field required"),
    "a misspelt field": (
        '{"id": "x", "question": "q", "answers": ["a"], "evidences": []}',
        "line 2, field evidences: ",
    ),
    "text for a list": ('{"id": "x", "question": "q", "answers": "a"}', "line 2, field answers: "),
    "an empty answer": ('{"id": "x", "question": "q", "answers": [" "]}', r"line 2, field answers\.0: "),
    "an answerable question without answer": (
        '{"id": "x", "question": "q"}',
        "line 2: .*at least one entry in answers",
    ),
    "an unanswerable question with one": (
        '{"id": "x", "question": "q", "answers": ["a"], "answerable": false}',
        "line 2: .*unanswerable",
    ),
    "an id that is taken": (json.dumps(GOOD), "line 2: the id 'q1' is already used in line 1"),
}


@pytest.mark.parametrize(("line", "message"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_wrong_line_is_an_error_that_names_file_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / QUESTIONS_FILE
    file.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_golden_questions(file)
    assert str(file) in str(caught.value)


def test_questions_are_read_in_order_past_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / QUESTIONS_FILE
    file.write_text("\ufeff" + json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "id": "q0"}) + "\n")
    assert [question.id for question in read_golden_questions(file)] == ["q1", "q0"]


def test_a_domain_without_questions_has_none(tmp_path: Path) -> None:
    assert read_golden_questions(tmp_path / QUESTIONS_FILE) == []


def test_questions_that_are_no_utf8_are_an_error(tmp_path: Path) -> None:
    (tmp_path / QUESTIONS_FILE).write_bytes(b'{"id": "\xff"}')
    with pytest.raises(DataError, match="not UTF-8 at byte 8"):
        read_golden_questions(tmp_path / QUESTIONS_FILE)


DOCUMENT = """# Bats

Bats eat moths.
They sleep in well-
known “caves” by day.

- Noctules fly high.
- Pipistrelles fly low, 30 at a time.

## Food

Most bats eat insects, and 130 species eat fruit. **Bats eat moths.**
"""

EVIDENCE = {
    "verbatim": ("Noctules fly high.", True),
    "other white space": ("Bats   eat\nmoths.", True),
    "across lines and paragraphs": ("They sleep in well-known", True),
    "across items of a list": ("Noctules fly high. Pipistrelles fly low", True),
    "other quotation marks": ('known "caves" by day', True),
    "without the marks of Markdown": ("eat fruit. Bats eat moths.", True),
    "with a mark of Markdown": ("## Food", True),
    "half a word": ("octules fly high", False),
    "half a number": ("30 species", False),
    "other letters": ("noctules fly high", False),
    "what is not there": ("Bats eat cheese.", False),
    "nothing but marks": ("- - -", False),
}


@pytest.mark.parametrize(("evidence", "found"), EVIDENCE.values(), ids=EVIDENCE.keys())
def test_evidence_is_found_however_its_lines_break(tmp_path: Path, evidence: str, found: bool) -> None:
    (question,) = resolved(tmp_path, {"evidence": [evidence]})
    assert question.status == ("resolved" if found else "evidence_not_found")
    assert bool(question.oracle_chunk_ids) == found


def test_every_chunk_that_holds_evidence_is_an_oracle(tmp_path: Path) -> None:
    once, twice, two = resolved(
        tmp_path,
        {"evidence": ["Noctules fly high."]},
        {"evidence": ["Bats eat moths."]},
        {"evidence": ["Noctules fly high.", "130 species eat fruit"]},
    )
    assert [len(question.oracle_chunk_ids) for question in (once, twice, two)] == [1, 2, 2]


def test_one_piece_of_evidence_that_is_missing_is_told(tmp_path: Path) -> None:
    (question,) = resolved(tmp_path, {"evidence": ["Noctules fly high.", "Bats eat cheese."]})
    assert question.status == "evidence_not_found"


def test_questions_without_evidence_or_answer_have_no_oracle(tmp_path: Path) -> None:
    first, second = resolved(tmp_path, {"evidence": []}, {"evidence": [], "answers": [], "answerable": False})
    assert (first.status, first.oracle_chunk_ids) == ("no_evidence", [])
    assert (second.status, second.oracle_chunk_ids) == ("unanswerable", [])


def test_a_named_document_is_the_only_one_searched(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Others\n\nBirds eat seeds.")
    here, there, nowhere, anywhere = resolved(
        tmp_path,
        {"document": "other.md", "evidence": ["Birds eat seeds."]},
        {"document": "bats.md", "evidence": ["Birds eat seeds."]},
        {"document": "gone.md", "evidence": ["Birds eat seeds."]},
        {"evidence": ["Birds eat seeds."]},
    )
    statuses = [question.status for question in (here, there, nowhere, anywhere)]
    assert statuses == ["resolved", "evidence_not_found", "evidence_not_found", "resolved"]


def test_evidence_elsewhere_is_held_out_and_no_oracle(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Others\n\nNoctules fly high.")
    named, anywhere = resolved(
        tmp_path,
        {"document": "bats.md", "evidence": ["Noctules fly high."]},
        {"evidence": ["Noctules fly high."]},
    )
    assert (len(named.oracle_chunk_ids), len(named.other_chunk_ids)) == (1, 1)
    assert set(anywhere.oracle_chunk_ids) == {*named.oracle_chunk_ids, *named.other_chunk_ids}
    assert anywhere.other_chunk_ids == []
    assert golden_chunk_ids([named]) == golden_chunk_ids([anywhere])


def test_evidence_in_many_places_counts_in_the_named_document_and_is_refused_without_one(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"other {number}.md").write_text(f"# Part {number}\n\nNoctules fly high.")
    named, anywhere = resolved(
        tmp_path,
        {"document": "bats.md", "evidence": ["Noctules fly high."]},
        {"evidence": ["Noctules fly high."]},
    )
    assert (named.status, len(named.oracle_chunk_ids), named.other_chunk_ids) == ("resolved", 1, [])
    assert (anywhere.status, anywhere.oracle_chunk_ids) == ("evidence_in_many_places", [])
    assert anywhere.detail == (
        "'Noctules fly high.' is in 5 chunks: bats.md (1), other 0.md (1), other 1.md (1), other 2.md (1), "
        "other 3.md (1). Name the question's document, or quote more of the sentence."
    )


def test_every_shipped_question_is_resolved(shipped_documents: dict[str, list[ReadDocument]]) -> None:
    for domain, documents in shipped_documents.items():
        questions = read_golden_questions(SHIPPED / domain / QUESTIONS_FILE)
        chunks = [chunk for document in documents for chunk in chunk_document(document, ChunkSettings())]
        golden = resolve_golden_questions(questions, documents, chunks)
        assert {question.status for question in golden} <= {"resolved", "unanswerable"}
        assert all(question.oracle_chunk_ids for question in golden if question.answerable)


def resolved(folder: Path, *changes: dict[str, Any]) -> list[GoldenQuestion]:
    """The questions over DOCUMENT, of which every section is a chunk."""
    (folder / "bats.md").write_text(DOCUMENT)
    documents = [result for result in read_documents(list_documents(folder)) if isinstance(result, ReadDocument)]
    chunks = [chunk for document in documents for chunk in chunk_document(document, ChunkSettings(min_chunk_tokens=1))]
    questions = [
        GoldenQuestionInput.model_validate({**GOOD, **change, "id": f"q{number}"})
        for number, change in enumerate(changes)
    ]
    return resolve_golden_questions(questions, documents, chunks)
