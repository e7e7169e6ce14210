"""Word documents, made by a library that people make them with."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import docx
import pytest
from docx.document import Document

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
