"""Word documents, made by a library that people make them with."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import docx
import pytest
from docx.document import Document
from docx.oxml import parse_xml

from raft_assets.core.tables import QuarantinedFile
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.settings.domains import list_documents


def written(fill: Callable[[Document], object]) -> bytes:
    document = docx.Document()
    fill(document)
    stream = BytesIO()
    document.save(stream)
    return stream.getvalue()


def handbook(document: Document) -> None:
    document.core_properties.title = "Of the harbour"
    document.add_heading("The harbour", level=0)
    document.add_heading("Cranes", level=1)
    document.add_paragraph("Every lift above 20 tonnes is released by the duty engineer.")
    for item in ("hard hat", "gloves"):
        document.add_paragraph(item, style="List Bullet")
    document.add_heading("Tides", level=2)
    table = document.add_table(rows=0, cols=2)
    for cells in (("month", "height"), ("May", "4 m")):
        for cell, text in zip(table.add_row().cells, cells, strict=True):
            cell.text = text
    document.sections[0].header.paragraphs[0].text = "Harbour authority, confidential"
    document.sections[0].footer.paragraphs[0].text = "page 1"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str, bytes], ReadDocument]:
    def one(name: str, data: bytes) -> ReadDocument:
        (tmp_path / name).write_bytes(data)
        (found,) = read_documents(list_documents(tmp_path))
        assert isinstance(found, ReadDocument), found
        return found

    return one


def test_a_word_document_keeps_its_structure_and_drops_its_furniture(
    read: Callable[[str, bytes], ReadDocument],
) -> None:
    found = read("handbook.docx", written(handbook))
    assert (found.kind, found.title) == ("docx", "Cranes")
    assert found.document_text == (
        "# The harbour\n\n# Cranes\n\nEvery lift above 20 tonnes is released by the duty engineer.\n\n"
        "- hard hat\n- gloves\n\n## Tides\n\nmonth | height\nMay | 4 m"
    )
    assert [page.heading for page in found.pages] == ["Cranes", "Tides"]


def test_without_a_heading_the_title_is_the_documents_own(read: Callable[[str, bytes], ReadDocument]) -> None:
    def fill(document: Document) -> None:
        document.core_properties.title = "Of the harbour"
        document.add_paragraph("Harbours silt up.")

    assert read("a.docx", written(fill)).title == "Of the harbour"


@pytest.mark.parametrize("name", ["handbook.zip", "handbook.txt", "handbook", "handbook.DOCX"])
def test_a_word_document_is_known_by_its_content(read: Callable[[str, bytes], ReadDocument], name: str) -> None:
    assert read(name, written(handbook)).kind == "docx"


def test_markup_in_a_word_document_stays_text(read: Callable[[str, bytes], ReadDocument]) -> None:
    text = "Write <script>alert(1)</script> & <DOCUMENT> into it."
    assert read("a.docx", written(lambda document: document.add_paragraph(text))).document_text == text


# ---- equations, and what has no text ----

MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def run(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


EQUATIONS = {
    "runs": (f"{run('F')}{run(' = ')}{run('m·a')}", "F = m·a"),
    "a fraction": (f"<m:f><m:fPr/><m:num>{run('a+b')}</m:num><m:den>{run('2')}</m:den></m:f>", "(a+b)/2"),
    "indices": (
        f"<m:sSubSup><m:e>{run('x')}</m:e><m:sub>{run('i')}</m:sub><m:sup>{run('n+1')}</m:sup></m:sSubSup>",
        "x_i^(n+1)",
    ),
    "a root": (f"<m:rad><m:radPr/><m:deg/><m:e>{run('2gh')}</m:e></m:rad>", "√(2gh)"),
    "a sum": (
        f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{run('i=1')}</m:sub><m:sup>{run('n')}</m:sup>"
        f"<m:e>{run('F')}</m:e></m:nary>",
        "∑_(i=1)^n F",
    ),
    "brackets": (
        f"<m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=']'/></m:dPr><m:e>{run('38 kNm')}</m:e></m:d>",
        "[38 kNm]",
    ),
    "a function": (f"<m:func><m:fName>{run('sin')}</m:fName><m:e>{run('α')}</m:e></m:func>", "sin α"),
    "a limit": (
        f"<m:limLow><m:e>{run('lim')}</m:e><m:lim>{run('n→0')}</m:lim></m:limLow>",
        "lim_(n→0)",
    ),
    "a matrix": (
        f"<m:m><m:mr><m:e>{run('1')}</m:e><m:e>{run('0')}</m:e></m:mr><m:mr><m:e>{run('0')}</m:e><m:e>{run('7')}</m:e>"
        "</m:mr></m:m>",
        "[1, 0; 0, 7]",
    ),
    "an accent": (f"<m:acc><m:accPr><m:chr m:val='̂'/></m:accPr><m:e>{run('y')}</m:e></m:acc>", "y"),
}


def with_equations(*equations: str, displayed: bool = False, in_table: bool = False) -> bytes:
    """A document with equations in a sentence, on a line of their own or in a table."""
    inner = "".join(f'<m:oMath xmlns:m="{MATH}">{equation}</m:oMath>' for equation in equations)
    if displayed:
        inner = f'<m:oMathPara xmlns:m="{MATH}"><m:oMathParaPr/>{inner}</m:oMathPara>'

    def fill(document: Document) -> None:
        place = document.add_table(rows=1, cols=1).cell(0, 0) if in_table else document
        paragraph = place.add_paragraph("The load is ")
        paragraph._p.append(parse_xml(inner))
        paragraph.add_run(" at most.")

    return written(fill)


@pytest.mark.parametrize(("equation", "text"), EQUATIONS.values(), ids=EQUATIONS.keys())
@pytest.mark.parametrize("place", ["a sentence", "a line of its own", "a table"])
def test_an_equation_is_text_where_it_stands(
    read: Callable[[str, bytes], ReadDocument], equation: str, text: str, place: str
) -> None:
    data = with_equations(equation, displayed=place == "a line of its own", in_table=place == "a table")
    document = read("a.docx", data)
    assert document.document_text == f"The load is {text} at most."
    assert document.left_out == {}


def test_equations_one_after_the_other_stay_apart(read: Callable[[str, bytes], ReadDocument]) -> None:
    data = with_equations(run("a = 1"), run("b = 2"), displayed=True)
    assert read("a.docx", data).document_text == "The load is a = 1; b = 2 at most."


def test_headers_footers_and_comments_are_left_out_and_counted(read: Callable[[str, bytes], ReadDocument]) -> None:
    def fill(document: Document) -> None:
        handbook(document)
        (run_of_text, *_) = document.paragraphs[2].runs
        document.add_comment(run_of_text, text="Is this so?")

    assert read("a.docx", written(fill)).left_out == {"header": 3, "comment": 3, "footer": 2}


def xml_bomb(declaration: bytes, encoding: str) -> bytes:
    """A document whose main part declares entities in an encoding or place where a search for bytes doesn't see it."""
    text = f'<?xml version="1.0" encoding="{encoding}"?>{"<!-- x -->" * 600}<!DOCTYPE d [<!ENTITY a "bats">]><d>&a;</d>'
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("word/document.xml", declaration + text.encode(encoding))
    return stream.getvalue()


def packed(name: str, text: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<d/>" if name != "word/document.xml" else text)
        if name != "word/document.xml":
            archive.writestr(name, text)
    return stream.getvalue()


BOMBS = {
    "entities after comments": (xml_bomb(b"", "utf-8"), "corrupt"),
    "entities in UTF-16": (xml_bomb(b"", "utf-16"), "corrupt"),
    "an entity that names a file": (
        packed("word/footnotes.xml", b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><d>&a;</d>'),
        "corrupt",
    ),
    "a DTD of another server": (
        packed("word/styles.xml", b'<!DOCTYPE d SYSTEM "http://127.0.0.1:9/x.dtd"><d/>'),
        "corrupt",
    ),
    "text that packs more tightly than any": (
        packed("word/document.xml", b"<d>" + b" " * 8_000_000 + b"</d>"),
        "too_large",
    ),
    "elements without end": (packed("word/document.xml", b"<d>" + b"<p/>" * 1_200_000 + b"</d>"), "too_large"),
    "elements within elements": (packed("word/document.xml", b"<d>" * 200_000 + b"</d>" * 200_000), "corrupt"),
}


@pytest.mark.parametrize(("data", "reason"), BOMBS.values(), ids=BOMBS.keys())
def test_a_document_made_to_harm_is_one_quarantined_file(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.docx").write_bytes(data)
    (tmp_path / "b.txt").write_text("Bats fly.")
    refused, other = read_documents(list_documents(tmp_path))
    assert isinstance(refused, QuarantinedFile)
    assert refused.reason == reason
    assert isinstance(other, ReadDocument)
