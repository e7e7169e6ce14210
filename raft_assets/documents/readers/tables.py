"""The rows of sheets and of delimited files as text in which every row says what its values are.

A row of a table with column names is a list item `- Name: Noctule; Weight: 30 g`, so that a chunk of any rows can be
understood. Rows that have none are `- Noctule | 30 g`. Opening the files belongs in their readers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from raft_assets.documents.readers.cleaning import to_one_line

MAX_NAME_CHARACTERS = 80  # of a column's name; longer texts are values
MAX_NAME_ROWS = 3  # rows that column names stand in, one above the other
MIN_CONTRAST = 2  # times that the values of a column are longer than its name, where both are words
MIN_NUMBER_SHARE = 0.8  # of the values of a column of numbers

_NUMBER = re.compile(r"[^\w\s]{0,3}\s?[+-]?\d[\d.,:/\s-]*\s?[%\w°€$£¥/²³]{0,6}")
_YEAR = re.compile(r"(?:19|20)\d\d")
_SENTENCE_END = re.compile(r"[.!?。！？]$")

Row = Mapping[int, str]  # values by column; those that are empty are left out


def render_rows(rows: Iterable[Row]) -> str:
    """Return rows as text. Rows without values stand between tables; a row of one value beside others is a title.

    A table without column names of its own has those of the table above it, if it has the same columns.
    """
    texts: list[str] = []
    names: dict[int, str] = {}
    for has_values, group in groupby(rows, key=bool):
        if has_values:
            text, names = _render_table(list(group), names)
            texts.append(text)
    return "\n\n".join(texts)


def cell_text(text: str) -> str:
    """Return the value of a cell on one line."""
    if text.isascii() and text.isprintable():  # most are; cleaning takes ten times as long
        return " ".join(text.split())
    return to_one_line(text)


def _render_table(rows: Sequence[Row], known: dict[int, str]) -> tuple[str, dict[int, str]]:
    """Return the text of rows without gaps, and the names of their columns."""
    columns = sorted({column for row in rows for column in row})
    titles = 0
    while len(columns) > 1 and titles < len(rows) and len(rows[titles]) == 1:
        titles += 1
    above, body = rows[:titles], rows[titles:]
    columns = sorted({column for row in body for column in row})
    depth = _count_name_rows(body, columns)
    names = _names(body[:depth], columns) if depth else {}
    if not depth and known.keys() >= set(columns) and len(columns) > 1:
        names = known
    texts = [value for row in above for value in row.values()]
    if lines := list(_render_body(body[depth:], names, len(columns))):
        texts.append("\n".join(lines))
    return "\n\n".join(texts), names or known


def _render_body(rows: Iterable[Row], names: dict[int, str], columns: int) -> Iterator[str]:
    for row in rows:
        if names:
            yield "- " + "; ".join(
                f"{names[column]}: {value}" if names.get(column) else value for column, value in row.items()
            )
        elif columns == 2 and len(row) == 2:  # a form, or a list of terms
            yield "- " + ": ".join(row.values())
        else:
            yield "- " + " | ".join(row.values())


def _count_name_rows(rows: Sequence[Row], columns: Sequence[int]) -> int:
    """Return how many rows name the columns; 0 where none does."""
    if len(columns) < 2:
        return 0
    for depth in range(1, min(MAX_NAME_ROWS, len(rows) - 1) + 1):
        head, body = rows[:depth], rows[depth:]
        if not all(map(_is_name, head[-1].values())):
            return 0
        names = _names(head, columns)
        given = [name for name in names.values() if name]
        last = max(column for row in head for column in row)  # rows may have more values than there are names
        missing = {column for column in columns if not names[column] and column < last}
        if missing <= {columns[0]} and len(given) > 1 and len(set(given)) == len(given):
            return depth if len(columns) > 2 or _contrasts(head, body, columns) else 0
    return 0


def _names(head: Sequence[Row], columns: Sequence[int]) -> dict[int, str]:
    """Return the names of columns. A name above others stands over the columns up to the next one."""
    names: dict[int, dict[str, None]] = {column: {} for column in columns}
    for number, row in enumerate(head, start=1):
        name = ""
        for column in columns:
            name = row.get(column, name if number < len(head) else "")
            if name:
                names[column][name] = None
    return {column: " ".join(parts) for column, parts in names.items()}


def _is_name(text: str) -> bool:
    is_value = _NUMBER.fullmatch(text) and not _YEAR.fullmatch(text)
    return len(text) <= MAX_NAME_CHARACTERS and not is_value and not _SENTENCE_END.search(text)


def _contrasts(head: Sequence[Row], body: Sequence[Row], columns: Sequence[int]) -> bool:
    """Return whether the values of a column are of another kind than its name: numbers, or much longer."""
    for column in columns:
        name = head[-1].get(column, "")
        values = [row[column] for row in body if column in row]
        if not values or not name:
            continue
        numbers = sum(bool(_NUMBER.fullmatch(value)) for value in values)
        median = sorted(map(len, values))[len(values) // 2]
        if numbers >= MIN_NUMBER_SHARE * len(values) or median >= MIN_CONTRAST * len(name):
            return True
    return False
