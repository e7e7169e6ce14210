"""Scanned pages: their text is read by OCR where the extra is installed, and told where it isn't."""

import random
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageDraw
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate

from raft_assets.documents.parsing import parse
from raft_assets.documents.readers import pdf_scans, pictures
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.left_out import describe_ocr, reading_losses
from raft_assets.documents.readers.ocr import MAX_PICTURE_PIXELS, is_available
from raft_assets.documents.reading import read_documents
from raft_assets.settings.domains import list_documents
from raft_assets_tests.documents.conftest import Read, Refuse

needs_ocr = pytest.mark.skipif(not is_available(), reason="the extra ocr is not installed")
SENTENCE = "Every lift above 20 tonnes is released by the duty engineer."


def page(*paragraphs: tuple[str, str]) -> Image.Image:
    """A page of paragraphs as a picture."""
    stream = BytesIO()
    styles = getSampleStyleSheet()
    SimpleDocTemplate(stream, pagesize=(300, 200), leftMargin=20, rightMargin=20, topMargin=15, bottomMargin=15).build(
        [Paragraph(text, styles[style]) for style, text in paragraphs]
    )
    document = pypdfium2.PdfDocument(stream.getvalue())
    return document[0].render(scale=200 / 72).to_pil().convert("RGB")


@pytest.fixture(scope="module")
def scan() -> Image.Image:
    return page(("Heading1", "Cranes"), ("Normal", f"{SENTENCE} The sheet is kept in the cabin."))


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pdf(*pages: Image.Image | str, stamp: str = "") -> bytes:
    """A PDF whose pages are pictures or texts; `stamp` stands on the pictures as text."""
    stream = BytesIO()
    canvas = Canvas(stream, pagesize=(300, 200))
    for content in pages:
        if isinstance(content, str):
            canvas.drawString(20, 150, content)
        else:
            canvas.drawImage(ImageReader(content), 0, 0, 300, 200)
            canvas.drawString(200, 5, stamp)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


@needs_ocr
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.png", {"kind": "PNG"}),
        ("a.jpg", {"kind": "JPEG", "quality": 80}),
        ("a.webp", {"kind": "WEBP"}),
        ("a.txt", {"kind": "TIFF"}),
    ],
)
def test_the_text_of_a_picture_is_read(read_file: Read, scan: Image.Image, name: str, form: dict[str, object]) -> None:
    document = read_file(name, saved(scan, **form))
    assert (document.kind, document.title) == ("image", "Cranes")
    assert document.document_text == f"## Cranes\n\n{SENTENCE} The sheet is kept in the cabin."
    assert document.pages[0].scanned == {"ocr": 1}


@needs_ocr
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_picture_that_lies_on_its_side_or_stands_on_its_head_is_read(
    read_file: Read, scan: Image.Image, turn: int
) -> None:
    assert SENTENCE in read_file("a.png", saved(scan.rotate(turn, expand=True), "PNG")).document_text


@needs_ocr
def test_pages_of_a_picture_are_pages(read_file: Read, scan: Image.Image) -> None:
    other = page(("Normal", "Harbours silt up in winter."))
    document = read_file("a.tif", saved(scan, "TIFF", save_all=True, append_images=[other.convert("1")]))
    assert [found.page for found in document.pages] == [1, 2]
    assert document.pages[1].text == "Harbours silt up in winter."


@needs_ocr
def test_a_scanned_page_among_others_is_read_in_its_place_and_told(read_file: Read, scan: Image.Image) -> None:
    text = "The first page of the handbook has a text layer with more than ten words."
    document = read_file("a.pdf", pdf(text, scan, stamp="No 7"))
    assert [(found.page, found.scanned) for found in document.pages] == [(1, {"ocr": 1}), (2, {"ocr": 1})]
    assert document.pages[0].text == text
    assert SENTENCE in document.pages[1].text
    (loss,) = reading_losses(document.pages)
    assert loss.warning == ""
    assert describe_ocr([loss]).startswith("1 scanned pages of 1 documents were read by OCR")


@needs_ocr
def test_pages_of_scribble_take_no_more_time_than_a_few_of_them(
    monkeypatch: pytest.MonkeyPatch, scan: Image.Image
) -> None:
    monkeypatch.setattr(pictures, "MAX_GUESSED_PAGES", 1)
    monkeypatch.setattr(pdf_scans, "MAX_GUESSED_PAGES", 1)
    scribble = Image.new("RGB", (200, 120), "white")
    pen, draw = ImageDraw.Draw(scribble), random.Random(0)
    for left in range(20, 180, 18):
        points = [(left + draw.randrange(14), 40 + draw.randrange(22)) for _ in range(6)]
        pen.line(points, fill="black", width=2)
    refused = parse("a.tif", saved(scribble, "TIFF", save_all=True, append_images=[scan]))
    assert isinstance(refused, UnreadableError)
    assert "illegible" in refused.detail
    read = parse("a.pdf", pdf("The lifts are inspected every year in the month of May.", scribble, scan))
    assert isinstance(read, ParsedContent)
    assert read.scanned == {"ocr": 1, "unread": 1}


@needs_ocr
def test_a_picture_without_text_holds_none(refuse_file: Refuse) -> None:
    assert refuse_file("a.png", saved(Image.new("RGB", (4, 900), "grey"), "PNG")).reason == "no_text"


@needs_ocr
@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff\xd8\xff" + bytes(50), b"II*\0" + bytes(50)])
def test_a_damaged_picture_is_quarantined(refuse_file: Refuse, data: bytes) -> None:
    assert refuse_file("a.png", data).reason == "corrupt"


@needs_ocr
def test_a_picture_that_only_its_decoding_makes_large_is_quarantined_unread(refuse_file: Refuse) -> None:
    side = int(MAX_PICTURE_PIXELS**0.5) + 100
    data = saved(Image.new("1", (side, side)), "PNG")
    assert len(data) < 100_000
    refused = refuse_file("a.png", data)
    assert refused.reason == "too_large"
    assert f"{side:,}" in refused.detail


def claiming(side: int, *, words: str = "") -> bytes:
    """A PDF whose last page is a picture that claims so many pixels a side; the first one has these words."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {2 if words else 1}/Kids[{'3 0 R ' if words else ''}4 0 R]>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 200]/Contents 5 0 R"
        "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 6 0 R/Resources<</XObject<</P 7 0 R>>>>>>",
        f"<<>>stream\nBT /F 10 Tf 20 150 Td ({words}) Tj ET\nendstream",
        "<<>>stream\nq 300 0 0 200 0 0 cm /P Do Q\nendstream",
        f"<</Type/XObject/Subtype/Image/Width {side}/Height {side}/BitsPerComponent 8/ColorSpace/DeviceRGB"
        "/Filter/FlateDecode>>stream\nx\nendstream",
    ]
    body = "".join(f"{number} 0 obj\n{text}\nendobj\n" for number, text in enumerate(objects, start=1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>".encode()


@needs_ocr
@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_page_whose_picture_is_too_large_is_told_and_the_others_are_read(
    read_file: Read, refuse_file: Refuse, side: int
) -> None:
    words = "A page with a text layer of at least ten words in it, and more."
    document = read_file("a.pdf", claiming(side, words=words))
    assert document.document_text == words
    assert document.pages[0].scanned == {"unread": 1}
    refused = refuse_file("b.pdf", claiming(side))
    assert refused.reason == "too_large"
    assert f"page 1 has {side:,}" in refused.detail


@needs_ocr
def test_a_page_of_absurd_size_is_read_as_a_picture_of_bounded_size(read_file: Read, scan: Image.Image) -> None:
    stream = BytesIO()
    canvas = Canvas(stream, pagesize=(3_000_000, 2_000_000))
    canvas.drawImage(ImageReader(scan), 0, 0, 3_000_000, 2_000_000)
    canvas.save()
    assert "duty engineer" in read_file("a.pdf", stream.getvalue()).document_text


# ---- without the extra ----


@pytest.fixture
def without_ocr(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], ParsedContent | UnreadableError]:
    """Reads a file in this process, in which the extra can't be imported."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    return parse


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_without_the_extra_a_picture_is_quarantined_with_the_command_that_installs_it(
    without_ocr: Callable[[str, bytes], ParsedContent | UnreadableError], scan: Image.Image, kind: str
) -> None:
    for name, data in (("a.png", saved(scan, kind)), ("a.pdf", pdf(scan))):
        refused = without_ocr(name, data)
        assert isinstance(refused, UnreadableError)
        assert refused.reason == "needs_extra"
        assert "pip install 'raft-assets[ocr]'" in refused.detail


def test_without_the_extra_scanned_pages_among_others_are_told(
    without_ocr: Callable[[str, bytes], ParsedContent | UnreadableError], scan: Image.Image
) -> None:
    read = without_ocr("a.pdf", pdf("A page with a text layer of at least ten words in it, and more.", scan, scan))
    assert isinstance(read, ParsedContent)
    assert read.scanned == {"unread": 2}


@needs_ocr
def test_what_is_kept_of_a_file_is_read_anew_once_ocr_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bats").mkdir()
    (tmp_path / "bats" / "a.txt").write_text("Bats fly.")

    def kept() -> int:
        list(read_documents(list_documents(tmp_path / "bats"), memo=tmp_path / "memo"))
        return len(list((tmp_path / "memo").iterdir()))

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rapidocr", None)
        assert kept() == 1
    assert kept() == 2
