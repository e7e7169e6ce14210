"""Files that people and imports leave in a domain, line by line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from raft_assets.core.errors import DataError
from raft_assets.core.jsonl import NonEmptyText, read_jsonl, validate_as


class Author(BaseModel):
    name: NonEmptyText


class Line(BaseModel):
    question: NonEmptyText
    author: Author | None = None


def lines(folder: Path, content: bytes) -> list[tuple[int, Line]]:
    file = folder / "questions.jsonl"
    file.write_bytes(content)
    return list(read_jsonl(file, Line))


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    read = lines(tmp_path, b'{"question": "one"}\n\n  \n{"question": " two \\n"}\n')
    assert read == [(1, Line(question="one")), (4, Line(question="two"))]


@pytest.mark.parametrize(
    ("content", "question"),
    [
        (b'\xef\xbb\xbf{"question": "a"}\n', "a"),  # the mark that Windows puts first
        (b'{"question": "a"}\r\n', "a"),
        ('{"question": "a\u2028b"}\n'.encode(), "a\u2028b"),  # a line end of Unicode that is none of JSON Lines
        (b'{"question": "a"}', "a"),  # the last line isn't ended
    ],
)
def test_a_line_ends_where_json_lines_says(tmp_path: Path, content: bytes, question: str) -> None:
    assert lines(tmp_path, content) == [(1, Line(question=question))]


def test_where_there_is_no_file_there_are_no_lines(tmp_path: Path) -> None:
    assert list(read_jsonl(tmp_path / "none.jsonl", Line)) == []


@pytest.mark.parametrize("place", [Path.mkdir, lambda file: file.symlink_to("nowhere")])
def test_what_stands_in_place_of_a_file_is_not_taken_for_nothing(place: Callable[[Path], None], tmp_path: Path) -> None:
    place(tmp_path / "lines.jsonl")
    with pytest.raises(DataError, match=r"lines\.jsonl can't be read"):
        list(read_jsonl(tmp_path / "lines.jsonl", Line))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"question": "a"}\n{"question"', r"questions\.jsonl, line 2 is not valid JSON"),
        (b"[" * 100_000, r"questions\.jsonl, line 1 is not valid JSON"),
        (b'{"question": "a"}\n\n{"question": ""}', r"questions\.jsonl, line 3, field question: String should have at"),
        (b'{"question": "  "}', r"line 1, field question: String should have at least 1 character"),
        (b"{}", r"line 1, field question: Field required"),
        (b'{"question": "a", "author": {}}', r"line 1, field author\.name: Field required"),
        (b"3", r"line 1: Input should be"),
        (b'{"question": "\xff"}', r"questions\.jsonl is not UTF-8 at byte 14: save it as UTF-8"),
    ],
)
def test_a_wrong_line_is_one_sentence_with_file_line_and_field(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        lines(tmp_path, content)
    assert "\n" not in str(error.value)


def test_lines_before_a_wrong_one_are_given_first(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "a"}\n{\n', "utf-8")
    reading = read_jsonl(file, Line)
    assert next(reading) == (1, Line(question="a"))
    with pytest.raises(DataError):
        next(reading)


def test_what_a_part_is_called_is_said_where_it_is_no_field() -> None:
    with pytest.raises(DataError, match=r"^pairs\.csv, row 2, column question: Field required"):
        validate_as({}, Line, "pairs.csv, row 2", part="column")
