"""What of a PDF looks like furniture, and is text; and what is left out is counted."""

from collections.abc import Callable

import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from raft_assets_tests.documents.readers.test_pdf import BODY, draw, lines, text_of

Page = Callable[[Canvas], None]


def on_pages(count: int, paint: Callable[[Canvas, int], None]) -> list[Page]:
    return [lambda canvas, number=number: paint(canvas, number) for number in range(1, count + 1)]  # type: ignore[misc]


def numbered(canvas: Canvas, number: int) -> None:
    lines(canvas, [f"Handbook of the harbour, part {number}"], top=815, size=9)
    lines(canvas, [f"{number}"], top=30, left=300, size=9)


# ---- lines that repeat ----


@pytest.mark.parametrize("pages", [2, 3, 5])
def test_a_sentence_that_begins_every_page_is_text(pages: int) -> None:
    def paint(canvas: Canvas, number: int) -> None:
        numbered(canvas, number)
        paragraph = [
            "The tenant of the berth pays the harbour board on the first day of every",
            f"quarter the sum of {number}00 crowns for berth {'ABCDE'[number - 1]}. It is paid to the",
            "account of the board.",
        ]
        lines(canvas, paragraph, top=780)
        lines(canvas, BODY, top=640)

    content = draw(*on_pages(pages, paint))
    for number, section in enumerate(content.sections, start=1):
        assert section.text.startswith(
            "The tenant of the berth pays the harbour board on the first day of every quarter the sum of "
            f"{number}00 crowns for berth {'ABCDE'[number - 1]}. It is paid to the account of the board.\n\n"
        )
    assert set(content.left_out) == {"header", "page_number"}


def test_a_paragraph_that_is_the_same_on_every_page_is_text() -> None:
    def paint(canvas: Canvas, number: int) -> None:
        numbered(canvas, number)
        lines(canvas, ["No ship may leave the lock before the lamp on the east", "mast has turned green."], top=780)
        lines(canvas, [f"This is page {number} of the rules, and it has its own rule."], top=640)

    assert text_of(draw(*on_pages(4, paint))).count("turned green.") == 4


def test_the_last_line_of_every_page_is_text_where_it_ends_a_sentence() -> None:
    def paint(canvas: Canvas, number: int) -> None:
        numbered(canvas, number)
        lines(
            canvas,
            [f"Berth {'ABCD'[number - 1]} has {number} cranes, and whoever lifts there signs", "the book."],
            top=80,
        )
        lines(canvas, BODY, top=640)

    assert text_of(draw(*on_pages(4, paint))).count("signs the book.") == 4


def test_headings_that_differ_by_their_number_are_text() -> None:
    def paint(canvas: Canvas, number: int) -> None:
        numbered(canvas, number)
        lines(canvas, [f"Step {number}"], top=775, size=20)
        lines(canvas, BODY, top=640)

    assert [f"## Step {number}" in text_of(draw(*on_pages(4, paint))) for number in range(1, 5)] == [True] * 4


def test_rows_of_numbers_in_the_margin_are_a_table() -> None:
    def paint(canvas: Canvas, number: int) -> None:
        numbered(canvas, number)
        for row in range(18):
            for column in range(3):
                cell = f"{number * 1000 + row * 10 + column}"
                lines(canvas, [f"berth {cell}" if column == 0 else cell], top=330 - 16 * row, left=72 + 120 * column)
        lines(canvas, BODY, top=640)

    text = text_of(draw(*on_pages(3, paint)))
    for number in (1, 2, 3):
        for row in range(18):
            cells = [f"{number * 1000 + row * 10 + column}" for column in range(3)]
            assert f"berth {' '.join(cells)}" in text
    assert "Handbook" not in text


RUNNING = {
    "a small title": ("Handbook of the harbour", 815, 9),
    "a title in the size of the text": ("Handbook of the harbour of Marrow Bay", 800, 11),
    "a title with numbers": ("Handbook, chapter {}, edition 7", 810, 11),
    "a large title": ("Harbour board", 800, 18),
    "an address": ("https://harbour.example/rules, {}/4", 40, 9),
    "a notice": ("Confidential. Do not pass on.", 40, 11),
}


@pytest.mark.parametrize(("text", "top", "size"), RUNNING.values(), ids=RUNNING.keys())
def test_running_titles_of_any_size_are_left_out_and_counted(text: str, top: float, size: float) -> None:
    def paint(canvas: Canvas, number: int) -> None:
        lines(canvas, [text.format(number)], top=top, size=size)
        lines(canvas, BODY, top=740)
        lines(canvas, BODY[number - 1 :], top=600)

    content = draw(*on_pages(4, paint))
    assert text.split(maxsplit=1)[0] not in text_of(content)
    assert set(content.left_out) == {"header" if top > 400 else "footer"}


# ---- headings Notes and References ----


def test_an_address_at_the_end_of_a_paragraph_stays() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, [*BODY[:3], "Crews register before May at https://harbour.example/register"], top=740)

    assert "before May at https://harbour.example/register" in text_of(draw(page))


NOTES = {
    "sentences": ["Before each lift the brake is tested with a load of 5 tonnes.", "The hook is greased on Mondays."],
    "numbered sentences": ["1. The brake was replaced in 2019.", "2. The hook must be greased every week."],
    "terms of an invoice": ["Payment is due within 30 days of the date above.", "The goods stay ours until then."],
    "standards to be kept": ["EN 13001-1 Cranes, general design", "ISO 4301-1 Cranes, classification of duty"],
    "a sentence with a year and a page": [
        "Since 1987 the log has been kept in book 3.",
        "See the log before you lift.",
    ],
    "links in sentences": [
        "The log is kept in the office on the quay.",
        "Forms are at https://harbour.example/forms for all crews.",
        "The office is open from six.",
    ],
}


@pytest.mark.parametrize("notes", NOTES.values(), ids=NOTES.keys())
@pytest.mark.parametrize("heading", ["Notes", "References", "7. Notes", "See also", "Further reading"])
def test_below_a_heading_of_references_a_manual_has_text(heading: str, notes: list[str]) -> None:
    if heading in ("See also", "Further reading") and not notes[0].endswith("."):
        pytest.skip("titles below such a heading are a list of links")

    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, [heading], top=660, size=16)
        for number, note in enumerate(notes):
            lines(canvas, [note], top=640 - 24 * number)
        lines(canvas, BODY, top=520)

    content = draw(page)
    for note in notes:
        assert note.split(". ", 1)[-1] in text_of(content)
    assert text_of(content).count("duty engineer") == 2
    assert content.left_out == {}


REFERENCES = {
    "author and year": [
        "Lowe, A. (1931). On Cranes. Marrow Bay: Quay Press.",
        "Ilves, B. & Ruiz, C. (1948). Lamps of the Mast. Journal of Ports, 12(3), 45-67.",
    ],
    "numbers": ["[1] A. Lowe, On Cranes, Proc. of the Bay, 1931, pp. 3-9.", "[2] B. Ilves et al. Lamps. 1948."],
    "a wiki's": [
        '1. "On Cranes" (https://cranes.example/on). Cranes of the World. Retrieved 3 May 2021.',
        '2. Lowe, Ada (12 May 2019). "Lamps". Bay Times. Archived from the original.',
    ],
    "numbered titles with years": ["1. Harbour board. Annual report. 1998.", "2. Pilots of the bay. Yearbook 1999."],
}


@pytest.mark.parametrize("entries", REFERENCES.values(), ids=REFERENCES.keys())
@pytest.mark.parametrize("heading", ["References", "Notes", "Bibliography", "Notes and references"])
def test_a_list_of_citations_is_left_out_and_counted_and_what_follows_is_not(heading: str, entries: list[str]) -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, [heading], top=660, size=16)
        for number, entry in enumerate(entries):
            lines(canvas, [entry], top=640 - 24 * number, size=9)

    def second(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)

    content = draw(first, second)
    text = text_of(content)
    assert not any(word in text for word in ("Lowe", "Ilves", "1998", heading))
    assert text.count("duty engineer") == 2
    assert set(content.left_out) == {"references"}


# ---- footnotes ----

FOOTNOTES = {
    "an asterisk": "* Free for vessels of the lifeboat service",
    "two asterisks and no blank": "**Free for lifeboats",
    "a dagger": "\u2020 Free for lifeboats of the coast",
    "a number": "1 Free for lifeboats of the coast",
    "a number and a bracket": "1) Free for lifeboats",
    "a word": "Note: free for lifeboats of the coast",
    "a sentence without a mark": "Lifeboats are free.",
    "a sentence with a mark": "* Lifeboats are free.",
}


@pytest.mark.parametrize("note", FOOTNOTES.values(), ids=FOOTNOTES.keys())
@pytest.mark.parametrize("top", [560.0, 60.0])
def test_a_short_footnote_is_text(note: str, top: float) -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, [*BODY[:3], "A berth costs 450 crowns a day, which the clerk of the"], top=670)
        lines(canvas, [note], top=top, size=8)

    def second(canvas: Canvas) -> None:
        lines(canvas, ["board collects. Nobody may leave", "without a receipt."], top=740)

    text = text_of(draw(first, second))
    assert note in text
    assert "which the clerk of the board collects." in text


def test_footnotes_one_below_the_other_are_text() -> None:
    notes = ["* Free for lifeboats", "** Half the price in winter", "\u2020 By agreement only", "\u2021 Not on Sundays"]

    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        for number, note in enumerate(notes):
            lines(canvas, [note], top=120 - 16 * number, size=8)

    assert all(note in text_of(draw(page)) for note in notes)


def test_a_caption_at_the_end_of_a_page_is_left_out_and_counted() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, ["Figure 3: The berth in 1931."], top=120, size=8)

    content = draw(page)
    assert "1931" not in text_of(content)
    assert content.left_out == {"caption": 6}


# ---- superscripts ----


@pytest.mark.parametrize("end", ["ports.", "far ports.", "in May."])
def test_a_short_last_line_with_many_citations_is_text(end: str) -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, [*BODY[:3], "by its own crew, who are hired from the towns of other and"], top=740)
        lines(canvas, [end], top=740 - 4 * 14)
        right = 72 + canvas.stringWidth(end, "Helvetica", 11)
        canvas.setFont("Helvetica", 8)
        canvas.drawString(right, 740 - 4 * 14 + 3.5, "[12][13][14]")
        lines(canvas, BODY, top=640)

    content = draw(page)
    assert f"other and {end}[12][13][14]" in text_of(content)
    assert content.left_out == {}


# ---- sentences ----


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        ("The board was founded by the engineer", "Ada Lowe in the spring."),
        ("It has two basins, three locks and", "12 cranes on the east quay."),
        ("The oldest crane of the harbour is called", "by its makers the Old One."),
    ],
)
def test_a_sentence_that_crosses_a_page_break_is_whole_whatever_it_goes_on_with(upper: str, lower: str) -> None:
    upper += " of the" if upper.endswith("engineer") else ""

    def first(canvas: Canvas) -> None:
        numbered(canvas, 1)
        lines(canvas, [*BODY, upper], top=300)

    def second(canvas: Canvas) -> None:
        numbered(canvas, 2)
        lines(canvas, [lower, "Nobody else was there."], top=740)

    assert [f"{upper} {lower}" in section.text for section in draw(first, second).sections] == [True, False]


def test_a_line_with_more_white_below_it_stays_in_its_sentence() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, BODY[:1], top=740)
        lines(canvas, BODY[1:], top=740 - 22)
        lines(canvas, BODY, top=600)

    assert text_of(draw(page)).split("\n\n")[0] == " ".join(BODY)


def test_lines_of_a_script_without_blanks_are_joined_without_any() -> None:
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))

    def page(canvas: Canvas) -> None:
        lines(canvas, ["港の船は夜に出る。灯台の光が", "見えるまで待つ。"], font="HeiseiMin-W3")

    assert text_of(draw(page)) == "港の船は夜に出る。灯台の光が見えるまで待つ。"
