"""Delimited files and workbooks: every row says what its values are."""

import datetime as dt
from collections.abc import Callable
from io import BytesIO

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.workbook import Workbook

from raft_assets.core.tables import QuarantinedFile
from raft_assets.documents.chunking import chunk_document
from raft_assets.settings.domain import ChunkSettings
from raft_assets_tests.documents.conftest import Read, Refuse
from raft_assets_tests.documents.readers.archive_files import archive, parts_of, with_text

BATS = "- Animal: Noctule; Weight (g): 30\n- Animal: Serotine; Weight (g): 25"

TABLES = {
    "commas": ("a.csv", "Animal,Weight (g)\nNoctule,30\nSerotine,25\n", BATS),
    "semicolons and decimal commas": (
        "a.csv",
        "Animal;Weight;Span\nNoctule;30,5;40\nSerotine;25,1;36\n",
        "- Animal: Noctule; Weight: 30,5; Span: 40\n- Animal: Serotine; Weight: 25,1; Span: 36",
    ),
    "tabs in a csv": ("a.csv", "Animal\tWeight (g)\nNoctule\t30\nSerotine\t25\n", BATS),
    "tabs beside more commas": (
        "a.tsv",
        "Animal\tEats\tSleeps\nNoctule\tmoths, beetles, flies\tin trees, in walls\n",
        "- Animal: Noctule; Eats: moths, beetles, flies; Sleeps: in trees, in walls",
    ),
    "Excel's own declaration": ("a.csv", "sep=|\nAnimal|Weight (g)\nNoctule|30\nSerotine|25\n", BATS),
    "a byte order mark and line ends of Windows": (
        "a.csv",
        "\ufeffAnimal,Weight (g)\r\nNoctule,30\r\nSerotine,25\r\n",
        BATS,
    ),
    "quotation marks, commas and lines in a value": (
        "a.csv",
        'Animal,Note,Weight\nNoctule,"says ""hello"",\nand flies",30\n',
        '- Animal: Noctule; Note: says "hello", and flies; Weight: 30',
    ),
    "an index without a name": ("a.csv", ",Animal,Weight\n0,Noctule,30\n", "- 0; Animal: Noctule; Weight: 30"),
    "numbers without names": ("a.csv", "1,30,40\n2,25,36\n", "- 1 | 30 | 40\n- 2 | 25 | 36"),
    "questions and answers": (
        "a.csv",
        "question,answer\nWho signs off a lift?,The duty engineer signs it off.\n",
        "- question: Who signs off a lift?; answer: The duty engineer signs it off.",
    ),
    "a list of terms": (
        "a.csv",
        "Noctule,a large bat\nSerotine,a house bat\n",
        "- Noctule: a large bat\n- Serotine: a house bat",
    ),
    "one column": ("a.csv", "Noctule\nSerotine\n", "- Noctule\n- Serotine"),
    "a title and a second table": (
        "a.csv",
        "Bats of the region,,\nAnimal,Weight,Span\nNoctule,30,40\n,,\nSerotine,25,36\n",
        "Bats of the region\n\n- Animal: Noctule; Weight: 30; Span: 40\n\n- Animal: Serotine; Weight: 25; Span: 36",
    ),
    "empty and surplus values": (
        "a.csv",
        "Animal,Weight,Span\nNoctule,,40,late\n",
        "- Animal: Noctule; Span: 40; late",
    ),
    "years as names": ("a.csv", "Site,2023,2024\nBridge,12,15\n", "- Site: Bridge; 2023: 12; 2024: 15"),
}


@pytest.mark.parametrize(("name", "text", "expected"), TABLES.values(), ids=TABLES.keys())
def test_a_row_of_a_delimited_file_says_what_its_values_are(
    read_file: Read, name: str, text: str, expected: str
) -> None:
    document = read_file(name, text.encode())
    assert document.document_text == expected
    assert (document.kind, document.title) == (name[-3:], "a")


def test_a_chunk_of_any_rows_of_a_long_table_has_the_names_of_its_columns(read_file: Read) -> None:
    rows = "".join(f"Bat {number},{number % 50},cave {number % 7}\n" for number in range(800))
    document = read_file("a.csv", f"Animal,Weight,Place\n{rows}".encode())
    chunks = chunk_document(document, ChunkSettings())
    assert len(chunks) > 50
    assert all(line.startswith("- Animal: Bat ") for chunk in chunks for line in chunk.text.split("\n"))


def test_a_quotation_mark_that_is_never_closed_is_told_with_its_line(refuse_file: Refuse) -> None:
    refused = refuse_file("a.csv", b'Animal,Note\nNoctule,"flies\n' + b"Serotine,25\n" * 20_000)
    assert refused.reason == "too_large"
    assert "a quotation mark may be missing" in refused.detail


# ---- workbooks ----


def workbook(fill: Callable[[Workbook], object]) -> bytes:
    made = openpyxl.Workbook()
    fill(made)
    stream = BytesIO()
    made.save(stream)
    return stream.getvalue()


def bats(made: Workbook) -> None:
    sheet = made.active
    assert sheet is not None
    sheet.title = "Bats"
    for row in (("Animal", "Weight"), ("Noctule", 30), ("Serotine", 25.5)):
        sheet.append(row)


def test_sheets_are_sections_under_their_names(read_file: Read) -> None:
    def fill(made: Workbook) -> None:
        bats(made)
        made.properties.title = "Of the region"
        for row in (("Site", "Animals"), ("Bridge", 12)):
            made.create_sheet("Sites").append(row) if "Sites" not in made.sheetnames else made["Sites"].append(row)

    document = read_file("a.xlsx", workbook(fill))
    assert (document.kind, document.title, document.left_out) == ("xlsx", "Of the region", {})
    assert [(page.page, page.heading) for page in document.pages] == [(1, "Bats"), (2, "Sites")]
    assert document.document_text == (
        "## Bats\n\n- Animal: Noctule; Weight: 30\n- Animal: Serotine; Weight: 25.5\n\n"
        "## Sites\n\n- Site: Bridge; Animals: 12"
    )


VALUES = {
    "per cent": (0.125, "0.0%", "12.5%"),
    "a unit": (30, '0.0" kg"', "30 kg"),
    "a currency before": (1234.5, '"$"#,##0.00', "$1234.5"),
    "a currency after": (99, "#,##0.00\\ [$€-407]", "99 €"),
    "accounting": (99, '_("£"* #,##0.00_);_("£"* (#,##0.00)', "£99"),
    "a code with leading zeros": (815, "00000", "00815"),
    "a date": (dt.date(2026, 11, 28), "dd.mm.yyyy", "2026-11-28"),
    "a date with its day in words": (dt.date(2026, 11, 28), "[$-407]dddd, d. mmmm yyyy", "2026-11-28"),
    "a moment": (dt.datetime.fromisoformat("2026-11-28T17:30"), "yyyy-mm-dd hh:mm", "2026-11-28 17:30"),
    "a time": (dt.time(9, 5), "h:mm", "09:05"),
    "a length of time": (dt.timedelta(hours=26, minutes=15), "[h]:mm", "26:15"),
    "an early date": (dt.date(1900, 1, 15), "yyyy-mm-dd", "1900-01-15"),
    "a sum of fractions": (0.1 + 0.2, "General", "0.3"),
    "a large number": (12_345_678_901, "0", "12345678901"),
    "truth": (True, "General", "TRUE"),
    "text with an escape": ("one_x000a_two", "General", "one two"),
}


@pytest.mark.parametrize(("value", "code", "shown"), VALUES.values(), ids=VALUES.keys())
def test_a_value_is_shown_with_its_unit(read_file: Read, value: object, code: str, shown: str) -> None:
    def fill(made: Workbook) -> None:
        bats(made)
        sheet = made.active
        assert sheet is not None
        sheet["C1"] = "Value"
        sheet["C2"] = value
        sheet["C2"].number_format = code

    assert read_file("a.xlsx", workbook(fill)).document_text.split("\n")[2] == (
        f"- Animal: Noctule; Weight: 30; Value: {shown}"
    )


def test_a_formula_has_its_stored_value_and_one_without_is_counted(read_file: Read) -> None:
    def fill(made: Workbook) -> None:
        bats(made)
        sheet = made.active
        assert sheet is not None
        sheet.append(("Both", "=SUM(B2:B3)"))
        sheet.append(("None", '=HYPERLINK("http://127.0.0.1:9/x")'))

    stored = with_text(
        workbook(fill), "xl/worksheets/sheet1.xml", "<f>SUM(B2:B3)</f><v></v>", "<f>SUM(B2:B3)</f><v>55.5</v>"
    )
    document = read_file("a.xlsx", stored)
    assert document.document_text.endswith("- Animal: Both; Weight: 55.5\n- Animal: None")
    assert document.left_out == {"formula": 1}


def test_merged_cells_name_each_row_and_column_that_they_span(read_file: Read) -> None:
    def fill(made: Workbook) -> None:
        sheet = made.active
        assert sheet is not None
        sheet.title = "Counts"
        for row in (
            ("Counts of bats",),
            ("Region", "Site", "2023", None, "2024", None),
            (None, None, "May", "June", "May", "June"),
            ("North", "Bridge", 1, 2, 3, 4),
            (None, "Mill", 5, 6, 7, 8),
        ):
            sheet.append(row)
        for cells in ("A1:F1", "A2:A3", "B2:B3", "C2:D2", "E2:F2", "A4:A5"):
            sheet.merge_cells(cells)

    assert read_file("a.xlsx", workbook(fill)).document_text == (
        "## Counts\n\nCounts of bats\n\n"
        "- Region: North; Site: Bridge; 2023 May: 1; 2023 June: 2; 2024 May: 3; 2024 June: 4\n"
        "- Region: North; Site: Mill; 2023 May: 5; 2023 June: 6; 2024 May: 7; 2024 June: 8"
    )


def test_hidden_sheets_comments_and_charts_are_left_out_and_counted(read_file: Read) -> None:
    def fill(made: Workbook) -> None:
        bats(made)
        sheet = made.active
        assert sheet is not None
        sheet["A2"].comment = Comment("Is this so?", "me")
        hidden = made.create_sheet("Lists")
        hidden["A1"] = "one two three"
        hidden.sheet_state = "hidden"

    document = read_file("a.xlsx", workbook(fill))
    assert document.document_text == "## Bats\n\n- Animal: Noctule; Weight: 30\n- Animal: Serotine; Weight: 25.5"
    assert document.left_out == {"hidden": 3, "comment": 3}


def test_a_workbook_of_one_unnamed_sheet_has_no_heading_and_far_cells_take_no_room(read_file: Read) -> None:
    def fill(made: Workbook) -> None:
        sheet = made.active
        assert sheet is not None
        sheet["A1"] = "Bats fly."
        sheet["XFD1048576"] = "The end."

    huge = with_text(workbook(fill), "xl/worksheets/sheet1.xml", "</sheetData>", "</sheetData><!-- A1:XFD1048576 -->")
    assert read_file("a.xlsx", huge).document_text == "- Bats fly.\n\n- The end."


def test_strings_that_cells_share_are_read_without_their_readings(read_file: Read) -> None:
    cells = "<row>" + "".join(f'<c t="s"><v>{number}</v></c>' for number in (0, 1, 7, "x")) + "</row>"
    strings = (
        "<sst><si><r><t>No</t></r><r><rPr/><t xml:space='preserve'>ctule </t></r></si>"
        "<si><t>蝙蝠</t><rPh sb='0' eb='2'><t>コウモリ</t></rPh></si></sst>"
    )
    data = with_text(
        workbook(lambda _: None),
        "xl/worksheets/sheet1.xml",
        "<sheetData></sheetData>",
        f"<sheetData>{cells}</sheetData>",
    )
    data = archive(parts_of(data) | {"xl/sharedStrings.xml": strings})
    assert read_file("a.xlsx", data).document_text == "- Noctule: 蝙蝠"


def test_a_workbook_is_known_by_its_content(read_file: Read) -> None:
    assert read_file("a.zip", workbook(bats)).kind == "xlsx"


def test_a_workbook_of_too_many_cells_or_characters_is_quarantined(refuse_file: Refuse) -> None:
    def sheet(rows: str) -> bytes:
        data = workbook(bats)
        return with_text(data, "xl/worksheets/sheet1.xml", "<sheetData>", f"<sheetData>{rows}")

    strings = {"xl/sharedStrings.xml": f"<sst><si><t>{'Animal ' * 1_500}</t></si></sst>"}
    many = sheet("<row>" + "".join(f"<c><v>{number}</v></c>" for number in range(500_100)) + "</row>")
    long = sheet("<row>" + '<c t="s"><v>0</v></c>' * 3_000 + "</row>")
    long = archive(parts_of(long) | strings)
    for data, what in ((many, "cells"), (long, "characters")):
        refused: QuarantinedFile = refuse_file("a.xlsx", data)
        assert refused.reason == "too_large"
        assert what in refused.detail
