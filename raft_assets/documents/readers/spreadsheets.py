"""Excel workbooks (`.xlsx`, `.xlsm`): sheets in order, stored values, never formulas.

Cells are counted while they are read, and only those that are stored take room: the size that a sheet claims, or a cell
in its last column, makes nothing large.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET
from xml.parsers import expat

from raft_assets.documents.readers.archives import (
    check_elements,
    local_name,
    open_archive,
    open_part,
    read_left_out_parts,
    read_part,
    read_relations,
    read_title,
)
from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import ParsedContent, Section, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.tables import cell_text, render_rows

WORKBOOK_PART = "xl/workbook.xml"
MAX_CELLS = 500_000  # of all sheets: a person's largest ones have some ten thousands
MAX_XML_ELEMENTS = 3 * MAX_CELLS  # a cell is two or three elements
MAX_CHARACTERS = 20_000_000  # of a sheet: many cells may refer to one long text
MAX_MERGED_CELLS = 100_000  # that repeat a value

_STRINGS_PART, _STYLES_PART = "xl/sharedStrings.xml", "xl/styles.xml"
_LEFT_OUT_PARTS: dict[str, LeftOutReason] = {
    "xl/comments": "comment",
    "xl/threadedComments": "comment",
    "xl/charts/chart": "graphic",
    "xl/drawings/drawing": "graphic",
    "xl/diagrams/data": "graphic",
}
_UNNAMED = re.compile(r"Sheet|[^\W\d_]+\s?\d{1,2}")  # Sheet1, Tabelle1, Feuil1
_REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
# number formats that stand in no file (ECMA-376 part 1, 18.8.30): percent, dates, times
_BUILT_IN = {9: "0%", 10: "0.00%", 22: "yyyy-mm-dd hh:mm"} | dict.fromkeys((14, 15, 16, 17), "yyyy-mm-dd")
_BUILT_IN |= dict.fromkeys((18, 19, 20, 21, 45, 47), "hh:mm:ss") | {46: "[h]:mm:ss"}
_BUILT_IN |= dict.fromkeys((*range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd")
# of a number format: quoted text, an escaped character, space as wide as a character, a fill, brackets
_LITERAL = re.compile(r'"([^"]*)"|\\(.)|_.|\*.|\[\$([^\]-]*)[^\]]*\]|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)
_DIGITS = re.compile(r"[0#?](?:[0#?.,/ ]*[0#?.,])?(?:E[+-][0#?]+)?|General", re.IGNORECASE)
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")

Position = tuple[int, int]  # row and column, from 1


def read_xlsx(data: bytes) -> ParsedContent:
    """Return a section per sheet that has values and isn't hidden.

    Raises UnreadableError (corrupt, encrypted, too_large).
    """
    with open_archive(data, "workbook") as archive:
        check_elements(archive, "workbook", MAX_XML_ELEMENTS)
        workbook = _Workbook.of(archive)
        sections: list[Section] = []
        left_out = _count_left_out(archive)
        for number, (name, part, is_hidden) in enumerate(_sheets(archive), start=1):
            sheet = workbook.read_sheet(archive, part)
            text = render_rows(sheet.rows())
            left_out["formula"] += sheet.formulas_without_value
            if is_hidden:
                left_out["hidden"] += count_words(text)
            elif text:
                sections.append(Section(number, name, text))
        title = read_title(archive)
    is_named = len(sections) > 1 or not all(_UNNAMED.fullmatch(section.heading) for section in sections)
    return ParsedContent("xlsx", title, tuple(map(_headed if is_named else _plain, sections)), counted(left_out))


def _headed(section: Section) -> Section:
    return Section(section.number, section.heading, f"## {section.heading}\n\n{section.text}")


def _plain(section: Section) -> Section:
    return Section(section.number, "", section.text)


def _sheets(archive: zipfile.ZipFile) -> Iterator[tuple[str, str, bool]]:
    """Yield name and part of every sheet of cells, and whether it is hidden."""
    relations = read_relations(archive, WORKBOOK_PART)
    for element in read_part(archive, WORKBOOK_PART).iter():
        if local_name(element) != "sheet":
            continue
        reference = next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == "id"), "")
        kind, part = relations.get(reference, ("", ""))
        if kind == "worksheet":
            yield to_one_line(element.get("name", "")), part, element.get("state", "visible") != "visible"


def _count_left_out(archive: zipfile.ZipFile) -> Counter[LeftOutReason]:
    """Count the words of comments, charts and text boxes."""
    words: Counter[LeftOutReason] = Counter()
    for reason, root in read_left_out_parts(archive, _LEFT_OUT_PARTS):
        words[reason] += sum(count_words(element.text or "") for element in root.iter() if local_name(element) in "tv")
    return words


# ---- cells ----


@dataclass
class _Sheet:
    """The values of a sheet by their place."""

    values: dict[int, dict[int, str]] = field(default_factory=dict)  # by row and column, from 1
    formulas_without_value: int = 0
    merged: list[tuple[Position, Position]] = field(default_factory=list)

    def rows(self) -> Iterator[dict[int, str]]:
        """Yield the rows with values, and an empty one for each gap. Raises UnreadableError (too_large)."""
        self._fill_merged()
        previous, characters = 0, 0
        for number, row in sorted(self.values.items()):
            characters += sum(map(len, row.values()))
            if characters > MAX_CHARACTERS:
                raise UnreadableError(
                    "too_large", f"A sheet of the workbook has more than {MAX_CHARACTERS:,} characters; split it."
                )
            if previous and number > previous + 1:
                yield {}
            yield dict(sorted(row.items()))
            previous = number

    def _fill_merged(self) -> None:
        """Repeat the value of merged cells in each of them, unless it stands alone in its row, as a title does."""
        room = MAX_MERGED_CELLS
        for (top, left), (bottom, right) in self.merged:
            value = self.values.get(top, {}).get(left, "")
            is_title = all(left <= column <= right for column in self.values.get(top, {}))
            room -= (bottom - top + 1) * (right - left + 1)
            if not value or room < 0 or (is_title and right > left):
                continue
            for row in range(top, bottom + 1):
                if row in self.values:
                    self.values[row].update(dict.fromkeys(range(left, right + 1), value))


@dataclass
class _Workbook:
    """What the sheets of a workbook share."""

    strings: list[str]
    formats: list[str]  # of numbers, by the index of a style
    epoch: datetime
    cells: int = 0  # read so far

    @classmethod
    def of(cls, archive: zipfile.ZipFile) -> "_Workbook":
        """Read strings and styles."""
        names = archive.namelist()
        strings = _read_strings(read_part(archive, _STRINGS_PART)) if _STRINGS_PART in names else []
        formats = _read_formats(read_part(archive, _STYLES_PART)) if _STYLES_PART in names else []
        properties = [one for one in read_part(archive, WORKBOOK_PART) if local_name(one) == "workbookPr"]
        is_1904 = any(one.get("date1904", "0") in ("1", "true") for one in properties)
        return cls(strings, formats, datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30))  # noqa: DTZ001

    def read_sheet(self, archive: zipfile.ZipFile, part: str) -> _Sheet:
        """Return the values of a sheet. Raises UnreadableError (too_large, corrupt), KeyError."""
        reader = _SheetReader(self)
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler = reader.begin
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = reader.add
        try:
            with open_part(archive, part) as stream:
                parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise UnreadableError(
                "corrupt", f"The workbook is damaged ({error} in {part}); open it and save it again."
            ) from error
        return reader.sheet

    def shown(self, text: str, kind: str, style: int) -> str:
        """Return a stored value as people see it. `kind` is the cell's type."""
        if kind == "s":
            return self.strings[int(text)] if text.isdecimal() and int(text) < len(self.strings) else ""
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        if kind in ("n", ""):
            return _shown_number(text, self.formats[style] if 0 <= style < len(self.formats) else "", self.epoch)
        return cell_text(_unescaped(text))


@dataclass
class _SheetReader:
    """Takes the elements of a sheet as the parser finds them."""

    workbook: _Workbook
    sheet: _Sheet = field(default_factory=_Sheet)
    row: int = 0
    column: int = 0
    kind: str = ""
    style: int = 0
    has_formula: bool = False
    is_phonetic: bool = False
    taken: list[str] | None = None  # characters of the value that the parser is in
    value: list[str] = field(default_factory=list)

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        name = tag.rpartition("}")[2]
        if name == "row":
            number = attributes.get("r", "")
            self.row, self.column = int(number) if number.isdecimal() else self.row + 1, 0
        elif name == "c":
            self._begin_cell(attributes)
        elif name == "f":
            self.has_formula = True
        elif name == "rPh":
            self.is_phonetic = True
        elif name == "v" or (name == "t" and not self.is_phonetic):
            self.taken = self.value
        elif name == "mergeCell":
            corners = [_position(corner) for corner in attributes.get("ref", "").split(":")]
            if len(corners) == 2 and corners[0] and corners[1]:
                self.sheet.merged.append((corners[0], corners[1]))

    def _begin_cell(self, attributes: dict[str, str]) -> None:
        self.workbook.cells += 1
        if self.workbook.cells > MAX_CELLS:
            raise UnreadableError(
                "too_large",
                f"The workbook has more than {MAX_CELLS:,} cells; split it, or leave out what isn't text.",
            )
        place = _position(attributes.get("r", ""))
        self.row, self.column = place or (max(self.row, 1), self.column + 1)
        style = attributes.get("s", "")
        self.kind, self.style = attributes.get("t", ""), int(style) if style.isdecimal() else 0
        self.has_formula, self.value = False, []

    def end(self, tag: str) -> None:
        """End an element."""
        name = tag.rpartition("}")[2]
        if name in ("v", "t"):
            self.taken = None
        elif name == "rPh":
            self.is_phonetic = False
        elif name == "c":
            text = "".join(self.value)
            self.sheet.formulas_without_value += self.has_formula and not text
            if shown := self.workbook.shown(text, self.kind, self.style) if text else "":
                self.sheet.values.setdefault(self.row, {})[self.column] = shown

    def add(self, text: str) -> None:
        """Take characters."""
        if self.taken is not None:
            self.taken.append(text)


def _position(reference: str) -> Position | None:
    """Return row and column of a cell, such as (1, 28) for AB1; None where the reference is none."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        return None
    column = 0
    for letter in match[1]:
        column = 26 * column + ord(letter) - 64
    return int(match[2]), column


# ---- values ----


def _read_strings(root: ET.Element) -> list[str]:
    """Return the strings that cells refer to, without the readings of Japanese and Chinese ones."""
    strings = []
    for item in root:
        for phonetic in [child for child in item if local_name(child) == "rPh"]:
            item.remove(phonetic)
        text = "".join(element.text or "" for element in item.iter() if local_name(element) == "t")
        strings.append(cell_text(_unescaped(text)))
    return strings


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def _read_formats(root: ET.Element) -> list[str]:
    """Return the number format of every style of cells."""
    codes = dict(_BUILT_IN)
    formats: list[str] = []
    for element in root.iter():
        number = element.get("numFmtId", "")
        if local_name(element) == "numFmt" and number.isdecimal():
            codes[int(number)] = element.get("formatCode", "")
        elif local_name(element) == "cellXfs":
            formats = [codes.get(int(style.get("numFmtId", "0") or 0), "") for style in element]
    return formats


def _shown_number(text: str, code: str, epoch: datetime) -> str:
    """Return a number with what its format puts around it: a unit, a currency, per cent; dates in ISO form."""
    try:
        number = float(text)
    except ValueError:
        return cell_text(text)
    section = code.partition(";")[0]
    bare = _LITERAL.sub("", section)
    if re.search(r"[ymdhs]", bare, re.IGNORECASE) and not _DIGITS.match(bare):
        with suppress(ValueError, OverflowError):
            return _shown_date(number, bare.casefold(), epoch)
    shown = format(number, ".15g")
    if "%" in bare:
        shown = f"{format(100 * number, '.15g')}%"
    elif re.fullmatch(r"0{2,}", bare) and shown.isdecimal():  # a code with leading zeros
        shown = shown.zfill(len(bare))
    digits = _DIGITS.search(section)
    if not digits:
        return shown
    before, after = (
        _literal_text(part).replace("%", "") for part in (section[: digits.start()], section[digits.end() :])
    )
    return cell_text(f"{before}{shown}{after}")


def _literal_text(part: str) -> str:
    return _LITERAL.sub(lambda match: match[1] or match[2] or match[3] or "", part)


def _shown_date(number: float, code: str, epoch: datetime) -> str:
    if "[" in code:  # a length of time
        minutes = round(number * 24 * 60)
        return f"{minutes // 60}:{minutes % 60:02}"
    has_date, has_time = bool(re.search(r"[yd]|mmm|^m+$", code)), bool(re.search("[hs]", code))
    if epoch.year < 1900 and 0 < number < 60:  # Excel's calendar has a 29 February 1900
        number += 1
    moment = epoch + timedelta(seconds=round(number * 86_400))
    if has_date and not has_time:
        return moment.date().isoformat()
    time = moment.time().isoformat("seconds" if moment.second else "minutes")
    return f"{moment.date().isoformat()} {time}" if has_date and number >= 1 else time
