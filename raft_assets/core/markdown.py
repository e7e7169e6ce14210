"""Untrusted text in Markdown: shown verbatim, never as markup."""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_CODE_CHARACTERS = 240


def code_span(text: object) -> str:
    """Return the text as a code span that it can't leave, nor the cell of a table.

    Look-alike characters replace ` and |.
    """
    line = " ".join(str(text).replace("`", "´").replace("|", "¦").split())
    line = line if len(line) <= MAX_CODE_CHARACTERS else line[: MAX_CODE_CHARACTERS - 1] + "…"
    return f"`{line}`" if line else "–"


def table_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table whose head is the keys of the first row.

    Numbers are right-aligned; all text is a code span.
    """
    contents = list(rows)
    if not contents:
        return ["None."]
    head = list(contents[0])
    numeric = [isinstance(contents[0][name], int | float) for name in head]
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join('---:' if is_number else '---' for is_number in numeric)}|",
        *(f"| {' | '.join(_format_cell(row[name]) for name in head)} |" for row in contents),
    ]


def _format_cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else code_span(value)
