"""Tables for reviewers: what they hold, and what comes back."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.identity import ID_LENGTH
from raft_assets.core.tables import QAPair
from raft_assets.pairs.reviews import (
    REVIEW_COLUMNS,
    Review,
    export_reviews,
    read_review_file,
    read_reviews,
    sample_pairs,
    write_reviews,
)
from raft_assets_tests.builders import a_chunk, a_pair

PAIRS = [a_pair(a_chunk(name), number) for name in "abc" for number in range(4)]
PAIRS[3] = PAIRS[3].model_copy(update={"accepted": False, "reason": "refusal"})
PASSAGES = {name: f"Passage {name}." for name in "abc"}
HARD = [
    '=HYPERLINK("http://evil")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1+1",
    "  =1+1",
    "\n=1+1",
    'a, "b"\nc; d',
    "¿Qué? ü 血",
    "'quoted'",
    "",
]


def written(pairs: list[QAPair], file: Path, reviews: dict[str, Review] | None = None) -> str:
    export_reviews(pairs, PASSAGES, reviews or {}, file)
    return file.read_text("utf-8")


def hard_pairs() -> list[QAPair]:
    return [PAIRS[0].model_copy(update={"question_id": f"id{i}", "question": text}) for i, text in enumerate(HARD)]


def filled(file: Path, verdicts: dict[str, str], note: str = "") -> None:
    """As a person fills the table in."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["verdict"] = table["question_id"].map(verdicts).fillna("")
    table["note"] = note
    table.to_csv(file, index=False)


def test_a_row_per_pair_with_its_passage_opens_in_a_spreadsheet(tmp_path: Path) -> None:
    text = written(PAIRS, tmp_path / "review.csv")
    assert text.startswith("\ufeffquestion_id,")
    table = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False)
    assert tuple(table.columns) == REVIEW_COLUMNS
    assert table["question"].tolist() == [pair.question for pair in PAIRS]
    assert set(table["passage"]) == set(PASSAGES.values())
    assert table["reason"].tolist().count("refusal") == 1


def test_no_cell_of_the_table_is_a_formula(tmp_path: Path) -> None:
    text = written(hard_pairs(), tmp_path / "review.csv")
    for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")):
        assert not any(cell.strip().startswith(("=", "+", "-", "@")) for cell in row)


@pytest.mark.parametrize("number", ["1" * ID_LENGTH, "12e4" + "5" * (ID_LENGTH - 4)])
def test_an_id_that_looks_like_a_number_survives_a_spreadsheet(tmp_path: Path, number: str) -> None:
    file = tmp_path / "review.csv"
    pair = PAIRS[0].model_copy(update={"question_id": number})
    assert f"\n'{number}," in written([pair], file).replace("\r", "")
    filled(file, {f"'{number}": "accept"})
    assert [review.question_id for review in read_review_file(file)] == [number]


def test_json_lines_hold_every_text_as_it_is(tmp_path: Path) -> None:
    lines = written(hard_pairs(), tmp_path / "review.jsonl").splitlines()
    assert [json.loads(line)["question"] for line in lines] == HARD


def test_a_sample_is_the_same_every_time_and_rejected_pairs_come_on_request() -> None:
    assert len(sample_pairs(PAIRS, sample=None, rejected=False)) == len(PAIRS) - 1
    assert len(sample_pairs(PAIRS, sample=None, rejected=True)) == len(PAIRS)
    some = sample_pairs(PAIRS, sample=5, rejected=True)
    assert len(some) == 5
    assert some == sample_pairs(PAIRS[::-1], sample=5, rejected=True)
    assert set(map(id, sample_pairs(PAIRS, sample=3, rejected=True))) <= set(map(id, some))


@pytest.mark.parametrize("note", ["", "=1+1", "says 1926; 'so'\nsee above"])
def test_verdicts_come_back_from_a_table_that_a_person_filled_in(tmp_path: Path, note: str) -> None:
    file = tmp_path / "review.csv"
    written(PAIRS, file)
    filled(file, {PAIRS[0].question_id: " Accept", PAIRS[1].question_id: "REJECT"}, note)
    assert {review.question_id: (review.verdict, review.note) for review in read_review_file(file)} == {
        PAIRS[0].question_id: ("accept", note),
        PAIRS[1].question_id: ("reject", note),
    }


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_that_a_spreadsheet_of_another_country_saved_is_read(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "review.csv"
    written(PAIRS, file)
    pd.read_csv(file, dtype=str, keep_default_na=False).assign(verdict="reject").to_csv(
        file, sep=separator, index=False
    )
    assert len(read_review_file(file)) == len(PAIRS)


def test_verdicts_are_exported_again_with_their_pairs(tmp_path: Path) -> None:
    review = Review(question_id=PAIRS[0].question_id, verdict="reject", note="-1 is wrong")
    file = tmp_path / "review.csv"
    written(PAIRS, file, {review.question_id: review})
    assert read_review_file(file) == [review]


BAD = {
    "review.csv": [
        ("question_id,verdict\nx,maybe\n", "row 1, column verdict: Value error, 'maybe' is neither"),
        ("question_id,verdict\nx,accept\n,accept\n", "row 2, column question_id"),
        ("question,verdict\nx,accept\n", "row 0: there is no column question_id"),
        ("", "row 0: there is no column question_id"),
        (
            "question_id,verdict\nx,accept\nx,reject\n",
            "row 2, column verdict: x has a different verdict in an earlier row",
        ),
        ('question_id,verdict\n"x,accept\n', "can't be read as CSV"),
    ],
    "review.jsonl": [
        ('{"question_id": "x", "verdict": "no"}\n', "row 1, column verdict"),
        ('{"question_id": "x"}\n{"verdict": "accept"}\n', "row 2, column question_id"),
        ("{\n", "row 1 is not valid JSON"),
        ("[1]\n", "row 1"),
    ],
    "review.xlsx": [("", "must end in .csv or .jsonl")],
}


@pytest.mark.parametrize(("name", "text", "said"), [(name, *case) for name, cases in BAD.items() for case in cases])
def test_a_wrong_file_is_one_sentence_with_row_and_column(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    with pytest.raises(DataError, match=re.escape(said)) as raised:
        read_review_file(file)
    assert str(file) in str(raised.value)


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    file = tmp_path / "review.csv"
    file.write_bytes("question_id,verdict,note\nx,accept,für\n".encode("latin-1"))
    with pytest.raises(DataError, match="save it as CSV UTF-8"):
        read_review_file(file)


def test_stored_verdicts_are_read_back_and_the_last_of_two_counts(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    assert read_reviews(file) == {}
    reviews = {name: Review(question_id=name, verdict="accept", note="ü") for name in "ba"}
    write_reviews(file, reviews.values())
    assert read_reviews(file) == reviews
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"question_id": "a", "verdict": "reject"}\n')
    assert read_reviews(file)["a"].verdict == "reject"
