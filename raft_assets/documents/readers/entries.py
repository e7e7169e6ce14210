"""JSON and JSON Lines: lists of texts, and lists of API descriptions."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from raft_assets.documents.readers.cleaning import clean, drop_blank_lines, to_one_line
from raft_assets.documents.readers.content import FileKind, ParsedContent, Section, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted

_EXPECTED_SHAPES = 'a list of objects with a "text", or of API descriptions with an "api_call"'
Entry = dict[str, Any]


def read_json(text: str) -> ParsedContent:
    """Return a section per entry; a single object is a list of one. Raises UnreadableError."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(
            "broken_json",
            f"The JSON breaks at line {error.lineno}, column {error.colno} ({error.msg}); mend it there.",
        ) from error
    except (RecursionError, ValueError) as error:
        raise UnreadableError(
            "broken_json", f"The JSON is nested too deeply, or has too long a number ({error}); shorten it."
        ) from error
    return _build_content(value if isinstance(value, list) else [value], "json")


def read_json_lines(text: str) -> ParsedContent:
    """Return a section per line. Raises UnreadableError."""
    return _build_content(list(_parse_lines(text)), "jsonl")


def _parse_lines(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableError("broken_json", f"Line {number} is no JSON ({error}); mend that line.") from error


def _build_content(values: list[Any], kind: FileKind) -> ParsedContent:
    entries: list[Entry] = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict) or not (isinstance(value.get("text"), str) or "api_call" in value):
            raise UnreadableError(
                "unsupported",
                f"Entry {number} of the JSON is not what is read, {_EXPECTED_SHAPES}; bring it into that form.",
            )
        entries.append(value)
    if entries and all("api_call" in entry for entry in entries):
        kind = "api"
    sections = (_build_section(number, entry) for number, entry in enumerate(entries, start=1))
    left_out = Counter[LeftOutReason]({"field": sum(map(_count_other_words, entries))})
    return ParsedContent(kind, "", tuple(section for section in sections if section.text.strip()), counted(left_out))


def _count_other_words(entry: Entry) -> int:
    """Count the words of the fields that stand beside a text."""
    if "api_call" in entry:
        return 0
    others = (field for name, field in entry.items() if name not in ("text", _title_field(entry)))
    return sum(count_words(value) for field in others for _, value in _flatten_fields("", field))


def _title_field(entry: Entry) -> str:
    """Return which field of an entry is its title; empty where none is."""
    name = "title" if entry.get("title") else "heading"
    return name if isinstance(entry.get(name), str) else ""


def _build_section(number: int, entry: Entry) -> Section:
    if "api_call" in entry:
        lines = [
            f"{name}: {value}"
            for field, content in entry.items()
            for name, value in _flatten_fields(to_one_line(field), content)
        ]
        return Section(
            number,
            to_one_line(str(entry.get("api_name") or entry["api_call"])),
            "\n".join(lines),
        )
    title = _title_field(entry)
    return Section(number, to_one_line(entry[title]) if title else "", clean(entry["text"]).strip())


def _flatten_fields(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield name and value, those of a nested object as `name.key`; empty values are left out."""
    pending = [(name, value)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending.extend((f"{name}.{to_one_line(key)}", inner) for key, inner in reversed(value.items()))
        elif shown := drop_blank_lines(_format_value(value)).strip():
            yield name, shown


def _format_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    return "" if value is None else json.dumps(value)
