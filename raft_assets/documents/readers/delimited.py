"""Delimited text: tables of comma-separated (`.csv`) and tab-separated (`.tsv`) values."""

import csv
import re
from collections import Counter
from io import StringIO
from itertools import islice

from raft_assets.documents.readers.content import FileKind, ParsedContent, Section, UnreadableError
from raft_assets.documents.readers.tables import cell_text, render_rows

DELIMITERS = ",;\t|"  # the first of equals wins
SAMPLED_ROWS = 100
MAX_CELLS = 1_000_000

_DECLARED = re.compile(r"sep=(.)\r?\n")  # Excel's own first line


def read_delimited(text: str, kind: FileKind) -> ParsedContent:
    """Return one section with an item per row. Raises UnreadableError (too_large, corrupt)."""
    declared = _DECLARED.match(text)
    if declared:
        text = text[declared.end() :]
    delimiter = declared[1] if declared else _find_delimiter(text, kind)
    rows: list[dict[int, str]] = []
    cells = 0
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            cells += len(row)
            if cells > MAX_CELLS:
                raise UnreadableError(
                    "too_large", f"The table has more than {MAX_CELLS:,} cells; split it, or leave out what isn't text."
                )
            rows.append({column: value for column, cell in enumerate(row) if (value := cell_text(cell))})
    except csv.Error as error:
        raise UnreadableError(
            "too_large" if "field limit" in str(error) else "corrupt",
            f"The table breaks near line {reader.line_num} ({error}); a quotation mark may be missing: mend it there.",
        ) from error
    return ParsedContent(kind, "", (Section(1, "", render_rows(rows)),))


def _find_delimiter(text: str, kind: FileKind) -> str:
    """Return what most rows are split by, into the same number of values."""
    best, most = ("\t", 0) if kind == "tsv" else (",", 0)
    lines = list(islice(StringIO(text, newline=""), SAMPLED_ROWS))
    for delimiter in DELIMITERS:
        try:
            widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        except csv.Error:
            continue
        width, rows = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(1, 0))
        if width > 1 and rows > most and not (kind == "tsv" and delimiter != "\t"):
            best, most = delimiter, rows
    return best
