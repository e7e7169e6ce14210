"""The checks of a training file before a job trains on it, and OpenAI's messages for what is wrong.

Rows are chats (`{"messages": [...]}` whose last message is the assistant's) or completions (`{"prompt",
"completion"}`), one JSON object a line, in UTF-8 with or without a byte order mark.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MIN_ROWS = 10  # OpenAI's and Azure's
_EXPECTED = "Expected file to have JSONL format, where every line is a JSON dictionary."


class InvalidFileError(Exception):
    """A file that can't be trained on. `code` is for programs, the message names the line."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def count_training_tokens(file: Path, count: Callable[[str], int]) -> int:
    """Count the tokens of a training file by `count`; raises InvalidFileError if it can't be trained on.

    The trained model's own tokenizer counts: the vocabulary of hosted models takes 130 MB, in a process that trains.
    """
    rows = [sum(map(count, texts)) for texts in _iterate_rows(file)]
    if len(rows) < MIN_ROWS:
        raise InvalidFileError(
            "invalid_n_examples",
            f"Training file has {len(rows)} example(s), but must have at least {MIN_ROWS} examples.",
        )
    return sum(rows)


def check_validation_file(file: Path) -> None:
    """Raise InvalidFileError if the file can't be validated on."""
    if not sum(1 for _ in _iterate_rows(file)):  # every row is checked
        raise InvalidFileError(
            "invalid_n_examples", "Validation file has 0 example(s), but must have at least 1 example."
        )


def _iterate_rows(file: Path) -> Iterator[list[str]]:
    """Yield the texts of every row; blank lines are no rows. Raises InvalidFileError for an invalid row."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            text = _decode_line(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, number)
            if text.strip():
                yield _row_texts(_parse_row(text, number), number)


def _decode_line(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidFileError(
            "invalid_jsonl",
            f"Invalid file format. Line {number} is not UTF-8 text: {error.reason} at byte {error.start}.",
        ) from error


def _parse_row(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(
            "invalid_jsonl",
            f"{_EXPECTED} Line {number} is not valid JSON: {error}.",
        ) from error
    if not isinstance(row, dict):
        raise InvalidFileError(
            "invalid_jsonl",
            f"{_EXPECTED} Line {number} is not a dictionary.",
        )
    return row


def _row_texts(row: dict[str, Any], number: int) -> list[str]:
    if "messages" in row:
        return _chat_texts(row["messages"], number)
    if {"prompt", "completion"} <= row.keys():
        return [_check_not_empty(row[part], part, number) for part in ("prompt", "completion")]
    raise InvalidFileError("invalid_row", f"Line {number} must hold 'messages', or 'prompt' and 'completion'.")


def _chat_texts(messages: Any, number: int) -> list[str]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidFileError("invalid_row", f"Line {number}: 'messages' must be an array of messages.")
    roles = [message.get("role") for message in messages]
    if "user" not in roles or roles[-1] != "assistant":
        raise InvalidFileError(
            "invalid_row", f"Line {number}: 'messages' must hold a message of the user and end in one of the assistant."
        )
    for place, message in enumerate(messages):
        if "weight" in message and (message["weight"] not in (0, 1) or message["role"] != "assistant"):
            raise InvalidFileError(
                "invalid_row",
                f"Line {number}: 'messages[{place}].weight' must be 0 or 1, in messages of the assistant.",
            )
    return [
        _check_not_empty(message.get("content"), f"messages[{place}].content", number)
        for place, message in enumerate(messages)
    ]


def _check_not_empty(text: Any, where: str, number: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidFileError("invalid_row", f"Line {number}: '{where}' must be a text that is not empty.")
    return text
