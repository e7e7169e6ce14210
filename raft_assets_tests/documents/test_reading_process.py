"""No file takes the reader's time or memory for good: a bad one is one quarantined file."""

import json
import os
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from reportlab.pdfgen.canvas import Canvas

from raft_assets.core.progress import shown_by
from raft_assets.documents import reading_process
from raft_assets.documents.parsing import Parsed
from raft_assets.documents.readers import pdf as pdf_reader
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.documents.reading_process import LIGHT_BYTES, ReadingProcess
from raft_assets.settings.domains import DocumentFile, list_documents
from raft_assets_tests.documents.conftest import Read, Refuse
from raft_assets_tests.documents.readers.archive_files import archive, parts_of
from raft_assets_tests.documents.readers.test_ebooks import BOOK, XHTML
from raft_assets_tests.documents.readers.test_slides import harbour, written
from raft_assets_tests.documents.readers.test_tables import bats, workbook

MEGABYTE = 1_000_000
ELEMENTS = b"<!doctype html><body>" + b"<p>bats <b>fly</b>" * 250_000  # takes half a minute


def pdf(text: str) -> bytes:
    stream = BytesIO()
    canvas = Canvas(stream)
    canvas.drawString(72, 500, text)
    canvas.save()
    return stream.getvalue()


def in_folder(folder: Path, files: Mapping[str, bytes]) -> list[DocumentFile]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return list_documents(folder)


_OF_BEFORE: list[psutil.Process] = []  # of other tests, which left a folder half read


@pytest.fixture(autouse=True)
def _only_own_readers() -> None:
    _OF_BEFORE[:] = psutil.Process().children(recursive=True)


def readers() -> list[psutil.Process]:
    """The processes that this one reads with."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "raft_assets.documents.reading_process" in child.cmdline() and child not in _OF_BEFORE:
                found.append(child)
        except psutil.Error:
            continue
    return found


def test_a_file_that_takes_too_long_is_quarantined_and_the_next_one_is_read(tmp_path: Path) -> None:
    slow, good = in_folder(tmp_path, {"a.html": ELEMENTS, "b.pdf": pdf("Bats fly.")})
    with ReadingProcess(max_cpu_s=2) as process:
        refused, read = process.read(slow), process.read(good)
    assert isinstance(refused, UnreadableError)
    assert refused.reason == "too_costly"
    assert "2 seconds" in refused.detail
    assert isinstance(read, ParsedContent)


def test_a_file_that_takes_too_much_memory_is_quarantined_and_the_next_one_is_read(tmp_path: Path) -> None:
    large, good = in_folder(tmp_path, {"a.txt": "🦇 bat ".encode() * 3_000_000, "b.pdf": pdf("Bats fly.")})
    with ReadingProcess() as process:
        process.read(good)
        at_rest = readers()[0].memory_info().rss / MEGABYTE
    with ReadingProcess(max_memory_mb=at_rest + 100) as process:
        refused, read = process.read(large), process.read(good)
    assert isinstance(refused, UnreadableError)
    assert refused.reason == "too_costly"
    assert "MB of memory" in refused.detail
    assert isinstance(read, ParsedContent)


def test_a_reader_that_breaks_down_costs_one_file(tmp_path: Path) -> None:
    slow, good = in_folder(tmp_path, {"a.html": ELEMENTS, "b.pdf": pdf("Bats fly.")})
    results: list[Parsed] = []
    with ReadingProcess() as process:
        process.read(good)
        (reader,) = readers()
        reading = threading.Thread(target=lambda: results.append(process.read(slow)))
        reading.start()
        reader.kill()
        reading.join()
        assert isinstance(process.read(good), ParsedContent)
    (refused,) = results
    assert isinstance(refused, UnreadableError)
    assert refused.reason == "unreadable"
    assert readers() == []


def test_small_texts_need_no_process(tmp_path: Path) -> None:
    files = in_folder(tmp_path, {f"{number}.md": b"# Bats\n\nThey fly." for number in range(20)})
    seen = []
    for found in read_documents(files):
        assert isinstance(found, ReadDocument)
        seen.append(readers())
    assert seen == [[]] * 20


def test_nothing_in_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    (good,) = (file for file in in_folder(tmp_path, {"b.pdf": pdf("Bats fly.")}) if file.path == "b.pdf")
    with ReadingProcess() as process:
        assert isinstance(process.read(good), ParsedContent)


STARTS_AND_DIES = """
import os, sys
from pathlib import Path
import psutil
from raft_assets.documents.reading_process import ReadingProcess
from raft_assets.settings.domains import list_documents
process = ReadingProcess()
process.read(list_documents(Path(sys.argv[1]))[0])
print(psutil.Process().children()[0].pid, flush=True)
os._exit(1)
"""


def test_the_reader_ends_when_the_program_that_started_it_dies(tmp_path: Path) -> None:
    in_folder(tmp_path, {"b.pdf": pdf("Bats fly.")})
    program = [sys.executable, "-c", STARTS_AND_DIES, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=dict(os.environ))
    pid = int(done.stdout)
    try:
        psutil.Process(pid).wait(60)
    except psutil.NoSuchProcess:
        return


# ---- bombs ----


def padded(data: bytes, part: str, text: bytes) -> bytes:
    return archive(parts_of(data) | {part: text})


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (code, b"&%c;" % (code - 1) * 10) for code in range(ord("b"), ord("k")))
    + b"]><x>&j;</x>"
)
EXTERNAL = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
SPACES = b"<x>" + b" " * 8 * MEGABYTE + b"</x>"
DEEP = b"<x>" * 1_600_000
OFFICE: dict[str, tuple[Callable[[], bytes], str]] = {
    "pptx": (lambda: written(harbour), "ppt/slides/slide1.xml"),
    "xlsx": (lambda: workbook(bats), "xl/worksheets/sheet1.xml"),
    "epub": (lambda: archive(BOOK), "OEBPS/package.opf"),
}
PARTS = {
    "a part packed more tightly than text": (SPACES, {"too_large"}),
    "entities that expand without end": (LAUGHS, {"corrupt"}),
    "an entity that names a file": (EXTERNAL, {"corrupt"}),
    "elements without end": (DEEP, {"corrupt", "too_large"}),
}


@pytest.mark.parametrize("kind", OFFICE)
@pytest.mark.parametrize("bomb", PARTS)
def test_a_part_made_to_harm_is_one_quarantined_file(refuse_file: Refuse, kind: str, bomb: str) -> None:
    made, part = OFFICE[kind]
    text, reasons = PARTS[bomb]
    assert refuse_file(f"a.{kind}", padded(made(), part, text)).reason in reasons
    assert refuse_file(f"b.{kind}", padded(made(), "docProps/core.xml", text)).reason in reasons


@pytest.mark.parametrize(
    ("kind", "relations"), [("pptx", "ppt/_rels/presentation.xml.rels"), ("xlsx", "xl/_rels/workbook.xml.rels")]
)
@pytest.mark.parametrize("text", [LAUGHS, SPACES], ids=["entities", "spaces"])
def test_a_part_whose_name_hides_from_the_checks_is_not_opened(
    refuse_file: Refuse, kind: str, relations: str, text: bytes
) -> None:
    made, part = OFFICE[kind]
    name = part.rpartition("/")[2]
    hidden = name.replace(".xml", ".bin")
    parts = parts_of(made())
    parts |= {relations: parts[relations].replace(name.encode(), hidden.encode()), part.replace(name, hidden): text}
    assert refuse_file(f"a.{kind}", archive(parts)).reason == "corrupt"


def test_pages_that_share_what_they_draw_are_one_quarantined_file(
    refuse_file: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "300,000 pages" in refuse_file("a.pdf", sharing_pages(300_000)).detail
    monkeypatch.setattr(pdf_reader, "MIN_BOMB_CHARACTERS", 10_000)
    with pytest.raises(UnreadableError, match="which no text needs") as refusal:
        pdf_reader.read_pdf(sharing_pages(2_000))
    assert refusal.value.reason == "too_large"


def test_pages_that_take_a_while_each_take_no_more_than_the_file_may(tmp_path: Path) -> None:
    (small,) = in_folder(tmp_path, {"a.pdf": sharing_pages(1_500)})
    with ReadingProcess(max_cpu_s=1) as process:
        refused = process.read(small)
    assert isinstance(refused, UnreadableError)
    assert refused.reason == "too_costly"


def test_a_large_file_whose_pages_get_on_too_slowly_takes_no_more_than_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    padding = b"%" + b" " * 5 * MEGABYTE + b"\n"  # by which all of it might take minutes
    (slow,) = in_folder(tmp_path, {"a.pdf": sharing_pages(1_500) + padding})
    monkeypatch.setattr(reading_process, "MAX_CPU_S_PER_STEP", 0.0001)
    with ReadingProcess(max_cpu_s=1) as process:
        refused = process.read(slow)
    assert isinstance(refused, UnreadableError)
    assert (refused.reason, "1 seconds" in refused.detail) == ("too_costly", True)


LONG = "Bats fly over the lake at night. They sleep by day.\n\n" * 40_000


def long_workbook() -> bytes:
    data = workbook(bats)
    row = "<row><c t='inlineStr'><is><t>Noctule</t></is></c><c><v>30</v></c></row>"
    sheet = parts_of(data)["xl/worksheets/sheet1.xml"].decode()
    return padded(
        data, "xl/worksheets/sheet1.xml", sheet.replace("</sheetData>", row * 40_000 + "</sheetData>").encode()
    )


COSTLY: Mapping[str, Callable[[], bytes]] = {
    "html": lambda: ELEMENTS,
    "md": LONG.encode,
    "txt": LONG.encode,
    "csv": lambda: b"Animal,Weight\n" + b"Noctule,30\n" * 200_000,
    "rtf": lambda: b"{\\rtf1 " + LONG.replace("\n\n", "\\par ").encode() + b"}",
    "ipynb": lambda: json.dumps(
        {"cells": [{"cell_type": "markdown", "source": LONG, "metadata": {}}], "nbformat": 4, "nbformat_minor": 5}
    ).encode(),
    "xlsx": long_workbook,
    "epub": lambda: archive(
        BOOK | {"OEBPS/text/two.xhtml": XHTML.format(LONG.replace("\n\n", "</p><p>").join(("<p>", "</p>")))}
    ),
    "pdf": lambda: sharing_pages(1_500),
}


def test_a_costly_file_of_whatever_kind_is_one_quarantined_file(tmp_path: Path) -> None:
    files = in_folder(tmp_path, {f"a.{kind}": made() for kind, made in COSTLY.items()} | {"z.pdf": pdf("Bats fly.")})
    with ReadingProcess(max_cpu_s=0.05) as process:
        refused = {file.path: process.read(file) for file in files[:-1]}
    with ReadingProcess() as process:
        assert isinstance(process.read(files[-1]), ParsedContent)
    assert {path: getattr(found, "reason", "read") for path, found in refused.items()} == dict.fromkeys(
        refused, "too_costly"
    )


def sharing_pages(count: int) -> bytes:
    """A PDF all of whose pages are one."""
    drawn = b"BT /F1 10 Tf 20 700 Td 12 TL " + b"(Bats fly over the lake at night and sleep by day) Tj T* " * 55 + b"ET"
    packed = zlib.compress(drawn)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, b"4 0 R " * count),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 792]/Contents 5 0 R/Resources<</Font<</F1 3 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed),
    ]
    body = b"".join(b"%d 0 obj %s endobj\n" % numbered for numbered in enumerate(objects, start=1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>"  # PDFium finds the objects without a table


@pytest.mark.parametrize("kind", OFFICE)
def test_an_archive_of_many_parts_or_one_that_lies_about_them_is_quarantined(refuse_file: Refuse, kind: str) -> None:
    made, part = OFFICE[kind]
    parts = parts_of(made())
    many = archive(parts | {f"x{number}.xml": b"" for number in range(20_000)})
    assert refuse_file(f"a.{kind}", many).reason == "too_large"
    lying = made()
    with zipfile.ZipFile(BytesIO(lying)) as opened:
        entry = opened.getinfo(part)
    directory = lying.index(b"PK\x01\x02")
    at = lying.index(part.encode(), directory) - 46 + 24  # the size unpacked, in the entry of the directory
    assert int.from_bytes(lying[at : at + 4], "little") == entry.file_size
    assert refuse_file(f"b.{kind}", lying[:at] + (4_000_000_000).to_bytes(4, "little") + lying[at + 4 :]).reason in (
        "too_large",
        "corrupt",
    )
    assert refuse_file(f"c.{kind}", lying[:at] + (3).to_bytes(4, "little") + lying[at + 4 :]).reason == "corrupt"


def test_an_archive_in_an_archive_is_never_opened(refuse_file: Refuse) -> None:
    inner = archive({"word/document.xml": b" " * 20 * MEGABYTE})
    for _ in range(5):
        inner = archive({"x.zip": inner})
    assert refuse_file("a.zip", inner).reason == "binary"
    chapters = {"OEBPS/text/one first.xhtml": inner, "OEBPS/text/two.xhtml": XHTML.format(""), "OEBPS/nav.xhtml": b""}
    refuse_file("a.epub", archive(BOOK | chapters))


def test_a_sheet_that_claims_to_be_huge_takes_no_room(read_file: Read) -> None:
    data = workbook(bats)
    sheet = parts_of(data)["xl/worksheets/sheet1.xml"].decode()
    dimension = sheet[sheet.index("<dimension") : sheet.index("/>", sheet.index("<dimension")) + 2]
    sheet = sheet.replace(
        dimension, '<dimension ref="A1:XFD1048576"/><cols><col min="1" max="16384" width="9"/></cols>'
    )
    sheet = sheet.replace("</sheetData>", '</sheetData><mergeCells><mergeCell ref="A2:XFD1048576"/></mergeCells>')
    document = read_file("a.xlsx", padded(data, "xl/worksheets/sheet1.xml", sheet.encode()))
    assert "- Animal: Noctule; Weight: 30" in document.document_text


def test_a_cell_of_many_megabytes_is_one_quarantined_file(refuse_file: Refuse) -> None:
    refused = refuse_file("a.csv", b"Animal,Note\nNoctule," + b"x" * 20 * MEGABYTE + b"\n")
    assert refused.reason == "too_large"


def test_texts_that_repeat_what_readers_look_for_stop_nothing(tmp_path: Path) -> None:
    """Markers that are never closed, elements within elements, in texts as large as no process reads."""
    pieces = ("<!--\n", "```\n~~~\n", "[" * 40, "<div>", "<p><form>", '"', "a,", "{\n", "---\n", "# x\n", "\\u")
    files = in_folder(
        tmp_path,
        {
            f"{number}.{suffix}": piece.encode() * ((LIGHT_BYTES - 100) // len(piece))
            for number, piece in enumerate(pieces)
            for suffix in ("md", "html", "csv")
        },
    )
    assert len(list(read_documents(files))) == len(files)


def test_a_long_document_is_read_as_long_as_it_gets_on(tmp_path: Path) -> None:
    stream = BytesIO()
    canvas = Canvas(stream)
    for number in range(80):
        for line in range(50):
            canvas.drawString(72, 760 - 14 * line, f"Bat {number} flies at night over lake {line} and sleeps by day.")
        canvas.showPage()
    canvas.save()
    (long,) = in_folder(tmp_path, {"a.pdf": stream.getvalue()})
    seen = list[tuple[str, int, int | None]]()
    with ReadingProcess(max_cpu_s=1) as process, shown_by(lambda *step: seen.append(step)):  # for a page, not for all
        read = process.read(long)
    assert isinstance(read, ParsedContent)
    assert len(read.sections) == 80
    assert [count for what, count, total in seen if (what, total) == ("a.pdf: pages read", 80)] == [*range(1, 81)]
