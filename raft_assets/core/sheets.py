"""Sheets that people fill in and send back: tables of texts as CSV, or as Excel workbooks where openpyxl is installed.

What belongs here: files and cells. What a column means is known to those who name it.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from raft_assets.core.atomic import write_bytes, write_text
from raft_assets.core.csv_cells import ESCAPE_PREFIX, is_formula
from raft_assets.core.errors import DataError
from raft_assets.core.identity import ID_LENGTH

CSV, XLSX = ".csv", ".xlsx"
MAX_SHEET_ROWS = 100_000  # a person's largest has some hundreds
XLSX_HINT = "pip install 'raft-assets[xlsx]', or save the sheet as CSV UTF-8"
_WIDE, _NARROW = 60, 18  # characters of a column of a workbook
_LONG_CELL = 40  # characters of a cell that needs a wide one
# characters that no workbook holds (XML 1.0, section 2.2)
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID_LIKE_A_NUMBER = re.compile(rf"(?=.{{{ID_LENGTH}}}$)\d+(e\d+)?")
csv.field_size_limit(2**27)  # passages are longer than the 128 kB that csv allows by default


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table for a spreadsheet, which computes none of its cells."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows({name: escape_cell(value) for name, value in row.items()} for row in rows)
    write_text(file, "\ufeff" + table.getvalue())


def read_csv(file: Path, required: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that came back, without the marks of `write_csv`.

    Raises DataError where it can't be read or lacks a required column.
    """
    text = read_text(file)
    # spreadsheets write the separator of their locale
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        _check_columns(file, table.fieldnames or [], required)
        for row in table:
            yield {name: unescape_cell(value) for name, value in row.items() if isinstance(value, str)}
    except csv.Error as error:
        raise DataError(f"{file} can't be read as CSV ({error}): save it again as CSV.") from error


def write_xlsx(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write the same table as a workbook. Raises DataError where openpyxl is not installed."""
    openpyxl = _openpyxl(file)
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.freeze_panes = "A2"
    table = [dict(zip(columns, columns, strict=True)), *rows]
    for number, row in enumerate(table, start=1):
        for place, name in enumerate(columns, start=1):
            cell = sheet.cell(number, place)
            cell.value = _NO_XML.sub("\ufffd", row.get(name, ""))
            cell.data_type = "s"  # whatever it begins with: text, and no formula
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cell.font = Font(bold=number == 1)
    for place, name in enumerate(columns, start=1):
        is_long = any(len(row.get(name, "")) > _LONG_CELL for row in table)
        sheet.column_dimensions[get_column_letter(place)].width = _WIDE if is_long else _NARROW
    stream = io.BytesIO()
    book.save(stream)
    write_bytes(file, stream.getvalue())


def read_xlsx(file: Path, required: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of the first sheet of a workbook, its stored values as texts. Raises as `read_csv` does."""
    openpyxl = _openpyxl(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # else every row is as wide as the sheet claims to be
        rows = sheet.iter_rows(values_only=True, max_row=MAX_SHEET_ROWS)
        head = [_cell_text(value) for value in next(rows, ())]
        _check_columns(file, head, required)
        for row in rows:
            yield {name: _cell_text(value) for name, value in zip(head, row, strict=False)}
        book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{file} can't be read as a workbook ({error}): save it again as .xlsx or CSV.") from error


def read_text(file: Path) -> str:
    """Return the text of a file that came back. Raises DataError where it isn't UTF-8."""
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}: save it as CSV UTF-8.") from error


def escape_cell(cell: str) -> str:
    """Return the cell so that a spreadsheet takes it neither for a formula nor, if it is an id, for a number."""
    computed = is_formula(cell) or cell.startswith(ESCAPE_PREFIX)
    return f"{ESCAPE_PREFIX}{cell}" if computed or _ID_LIKE_A_NUMBER.fullmatch(cell) else cell


def unescape_cell(cell: str) -> str:
    """Return the cell as it was before `escape_cell`; an apostrophe that a person wrote stays."""
    bare = cell.removeprefix(ESCAPE_PREFIX)
    return bare if escape_cell(bare) == cell else cell


def _check_columns(file: Path, names: Iterable[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        raise DataError(f"{file}, row 0: there is no column {missing[0]}; keep the head that the export wrote.")


def _cell_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a year that was typed is 1931.0 in the file
    return "" if value is None else str(value)


def _openpyxl(file: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202 - it has no types
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(f"{file} is a workbook, which needs openpyxl: {XLSX_HINT}.") from error
    return openpyxl
