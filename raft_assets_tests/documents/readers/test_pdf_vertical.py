"""PDF pages whose lines run from top to bottom, from right to left."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import reportlab

from raft_assets.documents.readers.content import ParsedContent
from raft_assets.documents.readers.pdf import read_pdf

WIDTH, HEIGHT = 595, 842
PITCH = 22.0  # between two lines
FIRST = "港の起重機は毎朝八時に検査され、その結果は台帳に書かれる。"
SECOND = "綱が切れたときは、係の者がすぐに灯台へ知らせなければならない。"
CHINESE = "码头上的起重机每天早上检查一次，检查结果写在账本里。"
KOREAN = "항구의기중기는매일아침검사되고그결과는장부에적힌다."
GLYPHS = zlib.compress((Path(reportlab.__file__).parent / "fonts" / "Vera.ttf").read_bytes())
FIRST_CODE = 36  # of a glyph that is visible: PDFium drops others, and no machine needs a font of these scripts


@dataclass
class Book:
    """Draws pages in a font whose glyphs are Latin, as wide as they are high, and whose characters are any.

    Its writing mode is horizontal (a simple font) or vertical (a composite font).
    """

    is_vertical: bool = False
    codes: dict[str, int] = field(default_factory=dict)
    pages: list[list[str]] = field(default_factory=list)

    def page(self) -> "Book":
        self.pages.append([])
        return self

    def draw(self, text: str, x: float, y: float, size: float, font: str = "F1") -> None:
        if font == "F2":
            shown = f"({text})"
        else:
            codes = [self.codes.setdefault(character, FIRST_CODE + len(self.codes)) for character in text]
            shown = f"<{''.join(f'{code:04x}' if self.is_vertical else f'{code:02x}' for code in codes)}>"
        self.pages[-1].append(f"BT /{font} {size} Tf 1 0 0 1 {x} {y} Tm {shown} Tj ET")

    def columns(self, texts: Sequence[str], *, right: float = 480, top: float = 740, size: float = 12) -> None:
        for number, text in enumerate(texts):
            x = right - number * PITCH
            if self.is_vertical:
                self.draw(text, x + size / 2, top + size, size)
            else:
                for place, character in enumerate(text):
                    self.draw(character, x, top - place * size, size)

    def rows(self, texts: Sequence[str], *, left: float = 72, top: float = 700, size: float = 12) -> None:
        for number, text in enumerate(texts):
            self.draw(text, left, top - number * PITCH, size)

    def latin(self, text: str, *, left: float, top: float, size: float = 9) -> None:
        self.draw(text, left, top, size, font="F2")

    def read(self) -> ParsedContent:
        streams = [zlib.compress("\n".join(page).encode("latin-1")) for page in self.pages]
        width = len(f"{0:04x}" if self.is_vertical else f"{0:02x}")
        rows = "\n".join(
            f"<{code:0{width}x}> <{character.encode('utf-16-be').hex()}>" for character, code in self.codes.items()
        )
        unicode = zlib.compress(
            f"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def\n"
            f"1 begincodespacerange <{'0' * width}> <{'f' * width}> endcodespacerange\n"
            f"{len(self.codes)} beginbfchar\n{rows}\nendbfchar endcmap end end".encode()
        )
        first_page = 8
        kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(streams)))
        simple = (
            f"/Subtype /Type1 /BaseFont /Helvetica /FirstChar {FIRST_CODE} /LastChar 255 "
            f"/Widths [{' '.join(['1000'] * (256 - FIRST_CODE))}]"
        )
        composite = "/Subtype /Type0 /BaseFont /Vera /Encoding /Identity-V /DescendantFonts [6 0 R]"
        objects: list[bytes] = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
            f"<< /Type /Font {composite if self.is_vertical else simple} /ToUnicode 4 0 R >>".encode(),
            b"<< /Filter /FlateDecode /Length %d >> stream\n%s\nendstream" % (len(unicode), unicode),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Vera /CIDToGIDMap /Identity /DW 1000 "
            b"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "
            b"/FontDescriptor << /Type /FontDescriptor /FontName /Vera /Flags 4 /Ascent 880 /Descent -120 "
            b"/ItalicAngle 0 /CapHeight 700 /StemV 80 /FontBBox [0 -120 1000 880] /FontFile2 7 0 R >> >>",
            b"<< /Filter /FlateDecode /Length %d >> stream\n%s\nendstream" % (len(GLYPHS), GLYPHS),
        ]
        for number, stream in enumerate(streams):
            resources = "<< /Font << /F1 3 0 R /F2 5 0 R >> >>"
            page = (
                f"/MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources {resources} /Contents {first_page + 2 * number + 1} 0 R"
            )
            objects.append(f"<< /Type /Page /Parent 2 0 R {page} >>".encode())
            objects.append(b"<< /Filter /FlateDecode /Length %d >> stream\n%s\nendstream" % (len(stream), stream))
        data, places = b"%PDF-1.7\n", []
        for number, content in enumerate(objects, start=1):
            places.append(len(data))
            data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
        table = "".join(f"{place:010} 00000 n \n" for place in places)
        trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF"
        return read_pdf(data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode())


Column = Callable[..., None]


@pytest.fixture(params=[False, True], ids=["one by one", "vertical font"])
def book(request: pytest.FixtureRequest) -> Book:
    return Book(is_vertical=request.param).page()


def text_of(content: ParsedContent) -> str:
    return "\n\n".join(section.text for section in content.sections)


def divided(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


@pytest.mark.parametrize("length", [8, 15, 29])
def test_columns_are_read_from_top_to_bottom_and_from_right_to_left(book: Book, length: int) -> None:
    book.columns(divided(FIRST + SECOND, length))
    content = book.read()
    assert text_of(content) == FIRST + SECOND
    assert content.left_out == {}


@pytest.mark.parametrize("text", [CHINESE * 2, KOREAN * 2], ids=["Chinese", "Korean"])
def test_so_are_those_of_chinese_and_korean(book: Book, text: str) -> None:
    book.columns(divided(text, 16))
    assert text_of(book.read()).replace(" ", "") == text


def test_a_paragraph_begins_where_a_column_is_indented(book: Book) -> None:
    book.columns(divided(FIRST, 12))
    book.columns([SECOND[:11]], right=480 - 3 * PITCH, top=728)
    book.columns(divided(SECOND[11:], 12), right=480 - 4 * PITCH)
    assert text_of(book.read()) == f"{FIRST}\n\n{SECOND}"


def test_a_large_column_is_a_heading(book: Book) -> None:
    book.columns(["起重機の検査"], right=500, size=20)
    book.columns(divided(FIRST + SECOND, 14), right=440)
    assert text_of(book.read()) == f"## 起重機の検査\n\n{FIRST}{SECOND}"


def test_upper_and_lower_tier_follow_one_another(book: Book) -> None:
    book.columns(divided(FIRST, 10), top=740)
    book.columns(divided(SECOND, 10), top=420)
    assert text_of(book.read()) == f"{FIRST}\n\n{SECOND}"


def test_columns_are_in_order_however_the_file_orders_them(book: Book) -> None:
    columns = divided(FIRST + SECOND, 14)
    for number in (2, 0, 4, 3, 1):
        book.columns([columns[number]], right=480 - number * PITCH)
    assert text_of(book.read()) == FIRST + SECOND


def test_page_numbers_and_running_titles_of_vertical_pages_are_left_out(book: Book) -> None:
    for number in (1, 2, 3):
        if number > 1:
            book.page()
        book.latin("Rules of the port", left=200, top=810)
        book.columns(divided(FIRST + SECOND, 13 + number))
        book.latin(str(number), left=290, top=30)
    content = book.read()
    assert [section.text for section in content.sections] == [FIRST + SECOND] * 3
    assert set(content.left_out) == {"header", "page_number"}


def test_a_sentence_that_crosses_vertical_pages_is_whole(book: Book) -> None:
    text = FIRST + SECOND
    book.columns(divided(text[:40], 10))
    book.page().columns(divided(text[40:], 10))
    assert [section.text for section in book.read().sections] == [text]


def test_numbers_side_by_side_stand_in_their_column() -> None:
    book = Book().page()
    book.columns(["昭和"])
    book.latin("12", left=480, top=740 - 2 * 12, size=12)  # in the width of one character
    book.columns(["年に港が開かれ、船が入った。そして灯台が立った。"], top=740 - 3 * 12)
    assert text_of(book.read()) == "昭和12年に港が開かれ、船が入った。そして灯台が立った。"


def test_readings_beside_characters_break_no_column() -> None:
    book = Book().page()
    book.columns([FIRST[:6]])
    book.columns(["みなと"], right=493, top=742, size=5)
    book.columns([FIRST[6:15]], top=740 - 6 * 12)
    book.columns(divided(FIRST[15:] + SECOND, 15), right=480 - PITCH)
    assert text_of(book.read()) == FIRST + SECOND


def test_a_page_of_horizontal_lines_stays_one() -> None:
    book = Book().page()
    book.rows(divided(FIRST + SECOND, 20))
    assert text_of(book.read()) == FIRST + SECOND


@pytest.mark.parametrize("label", ["潮", "潮位", "潮位表"])
def test_a_short_label_beside_horizontal_text_does_not_turn_the_page(label: str) -> None:
    book = Book().page()
    book.rows(divided((FIRST + SECOND) * 3, 20))
    book.columns([label], right=40, top=700)
    assert (FIRST + SECOND) * 3 in text_of(book.read())
