"""What a training file has to be."""

import codecs
import json
from pathlib import Path

import pytest

from raft_assets.provider.training_files import InvalidFileError, check_validation_file, count_training_tokens

CHAT = {"messages": [{"role": "user", "content": "How tall?"}, {"role": "assistant", "content": "40 m"}]}
COMPLETION = {"prompt": "How tall?", "completion": "40 m"}


def written(folder: Path, *rows: object, start: bytes = b"", end: bytes = b"\n") -> Path:
    file = folder / "file.jsonl"
    file.write_bytes(start + b"".join(json.dumps(row).encode() + end for row in rows))
    return file


def counted(file: Path) -> int:
    """Tokens of a training file, a character each."""
    return count_training_tokens(file, len)


def test_tokens_of_chats_and_completions_are_counted(tmp_path: Path) -> None:
    assert counted(written(tmp_path, *[CHAT] * 10)) == 10 * len("How tall?40 m")
    assert counted(written(tmp_path, *[COMPLETION] * 11)) == 11 * len("How tall?40 m")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n \n"])
def test_a_byte_order_mark_line_ends_and_blank_lines_do_not_matter(tmp_path: Path, end: bytes) -> None:
    plain = counted(written(tmp_path, *[CHAT] * 10))
    assert counted(written(tmp_path, *[CHAT] * 10, start=codecs.BOM_UTF8, end=end)) == plain


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (b"{", "invalid_jsonl", "Line 2 is not valid JSON"),
        (b"[" * 5000, "invalid_jsonl", "Line 2 is not valid JSON"),
        (b'["a"]', "invalid_jsonl", "Line 2 is not a dictionary"),
        (b'{"prompt": "\xff"}', "invalid_jsonl", "Line 2 is not UTF-8"),
        (b"{}", "invalid_row", "Line 2 must hold 'messages'"),
        (b'{"prompt": "x"}', "invalid_row", "Line 2 must hold 'messages'"),
        (b'{"prompt": "", "completion": "x"}', "invalid_row", "Line 2: 'prompt' must be a text"),
        (b'{"messages": "x"}', "invalid_row", "Line 2: 'messages' must be an array"),
        (b'{"messages": []}', "invalid_row", "Line 2: 'messages' must hold a message of the user"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "invalid_row", "must hold a message of the user"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "invalid_row", "end in one of the assistant"),
        (
            b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 2}]}',
            "invalid_row",
            "'messages[1].weight' must be 0 or 1",
        ),
        (
            b'{"messages": [{"role": "user", "content": "x", "weight": 1}, {"role": "assistant", "content": "y"}]}',
            "invalid_row",
            "'messages[0].weight' must be 0 or 1, in messages of the assistant",
        ),
        (
            b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": null}]}',
            "invalid_row",
            "'messages[1].content' must be a text",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, code: str, message: str) -> None:
    file = written(tmp_path, CHAT)
    file.write_bytes(file.read_bytes() + line + b"\n")
    for check in (counted, check_validation_file):
        with pytest.raises(InvalidFileError) as refused:
            check(file)
        assert refused.value.code == code
        assert message in refused.value.message


def test_a_validation_file_may_be_short_but_not_empty(tmp_path: Path) -> None:
    check_validation_file(written(tmp_path, CHAT))
    with pytest.raises(InvalidFileError, match="0 example"):
        check_validation_file(written(tmp_path))
