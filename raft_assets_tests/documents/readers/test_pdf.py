"""PDFs become paragraphs and headings, without what repeats on every page."""

from collections.abc import Callable, Sequence
from io import BytesIO

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from raft_assets.documents.readers.content import ParsedContent
from raft_assets.documents.readers.pdf import read_pdf

LEADING = 14.0
WIDTH, HEIGHT = A4


def draw(*pages: Callable[[Canvas], None], title: str = "") -> ParsedContent:
    stream = BytesIO()
    canvas = Canvas(stream, pagesize=A4)
    canvas.setTitle(title or "untitled")
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return read_pdf(stream.getvalue())


def lines(
    canvas: Canvas,
    texts: Sequence[str],
    *,
    top: float = 700,
    left: float = 72,
    size: float = 11,
    font: str = "Helvetica",
) -> None:
    canvas.setFont(font, size)
    for number, text in enumerate(texts):
        canvas.drawString(left, top - number * LEADING, text)


def text_of(content: ParsedContent) -> str:
    return "\n\n".join(section.text for section in content.sections)


def test_lines_of_a_paragraph_become_one_and_paragraphs_stay_apart() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["Bats are the only mammals that can", "truly fly, and most of them do so", "at night."])
        lines(canvas, ["Some eat fruit and some eat insects", "of the night."], top=640)

    assert text_of(draw(page)) == (
        "Bats are the only mammals that can truly fly, and most of them do so at night.\n\n"
        "Some eat fruit and some eat insects of the night."
    )


def test_larger_or_bold_lines_are_headings_and_the_first_is_the_title() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["On Bats"], top=740, size=18)
        lines(canvas, ["They fly at night and sleep by day in", "caves."])
        lines(canvas, ["What they eat"], top=640, font="Helvetica-Bold")
        lines(canvas, ["They eat insects, fruit and sometimes", "blood."], top=615)

    content = draw(page)
    assert content.title == "On Bats"
    assert text_of(content) == (
        "## On Bats\n\nThey fly at night and sleep by day in caves.\n\n"
        "## What they eat\n\nThey eat insects, fruit and sometimes blood."
    )


def test_the_title_of_the_metadata_counts_unless_it_is_a_file_name() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["Bats fly."])

    assert draw(page, title="On Bats").title == "On Bats"
    assert draw(page, title="Microsoft Word - bats.docx").title == ""


def test_running_headers_footers_and_page_numbers_are_no_text() -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        def paint(canvas: Canvas) -> None:
            lines(canvas, [f"Handbook, chapter {number}"], top=810, size=9)
            lines(canvas, [f"The bat number {number} flies over the lake", f"and eats {number} moths."])
            lines(canvas, [f"Page {number} of 4"], top=30, size=9)

        return paint

    content = draw(*map(page, range(1, 5)))
    assert [section.text for section in content.sections] == [
        f"The bat number {number} flies over the lake and eats {number} moths." for number in range(1, 5)
    ]


def test_what_stands_in_a_margin_once_is_text() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["Bats of the lake"], top=810)
        lines(canvas, ["They fly over the water at night."])
        lines(canvas, ["7"], top=30)

    assert text_of(draw(page)) == "Bats of the lake\n\nThey fly over the water at night."


@pytest.mark.parametrize(
    ("upper", "lower", "joined"),
    [
        ("The bats are hiber-", "nating now.", "The bats are hibernating now."),
        ("A well-known bat is well-", "known for it.", "A well-known bat is well-known for it."),
        ("This is the Anglo-", "Irish bat.", "This is the Anglo-Irish bat."),
        ("It has an all-", "terrain wing.", "It has an all-terrain wing."),
        ("They live 10-", "20 years.", "They live 10-20 years."),
        ("They sleep -", "they dream.", "They sleep - they dream."),
    ],
)
def test_a_hyphen_goes_only_where_it_divided_a_word(upper: str, lower: str, joined: str) -> None:
    assert text_of(draw(lambda canvas: lines(canvas, [upper, lower]))) == joined


@pytest.mark.parametrize(
    ("upper", "lower", "joined"),
    [
        ("It is a coming-of-", "age film.", "It is a coming-of-age film."),
        ("They made a four-", "film series.", "They made a four-film series."),
        ("They have a black-", "and-white fur.", "They have a black-and-white fur."),
    ],
)
def test_hyphens_stay_where_a_document_divides_no_words(upper: str, lower: str, joined: str) -> None:
    assert text_of(draw(lambda canvas: lines(canvas, [upper, lower]))) == joined


def test_a_document_that_divides_words_divides_compounds_as_well() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["They were rescued from the hiber-", "nation by a life-", "boat of the town."])

    assert text_of(draw(page)) == "They were rescued from the hibernation by a lifeboat of the town."


def test_columns_are_read_one_after_the_other_below_their_common_heading() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["The right column is drawn first but", "is read last."], left=320)
        lines(canvas, ["The left column is read first, from", "its top to its end."], left=72)
        lines(canvas, ["Bats of the world and all their many habits"], top=760, size=20)

    assert text_of(draw(page)) == (
        "## Bats of the world and all their many habits\n\n"
        "The left column is read first, from its top to its end.\n\n"
        "The right column is drawn first but is read last."
    )


def test_a_sentence_that_crosses_a_page_break_stays_whole_on_its_first_page() -> None:
    def first(canvas: Canvas) -> None:
        lines(
            canvas,
            ["The noctule is one of the largest bats of", "Europe, and it leaves its roost early in the"],
            top=120,
        )

    def second(canvas: Canvas) -> None:
        lines(canvas, ["evening to hunt. It flies high", "and fast."])

    content = draw(first, second)
    assert [(section.number, section.text) for section in content.sections] == [
        (1, "The noctule is one of the largest bats of Europe, and it leaves its roost early in the evening to hunt."),
        (2, "It flies high and fast."),
    ]


def test_bullets_become_items_of_one_list() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["They eat:"])
        lines(canvas, ["\u2022 moths that fly at night", "\u2022 beetles"], top=680)

    assert text_of(draw(page)) == "They eat:\n\n- moths that fly at night\n- beetles"


def test_superscripts_stay_on_their_line() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["Bats fly at night."])
        right = 72 + canvas.stringWidth("Bats fly at night.", "Helvetica", 11)
        lines(canvas, ["[12]"], top=704, left=right, size=7)
        lines(canvas, ["Often."], left=right + 20)
        lines(canvas, ["They sleep by day in caves and trees."], top=700 - LEADING)

    assert text_of(draw(page)) == "Bats fly at night.[12] Often. They sleep by day in caves and trees."


def test_a_page_without_text_has_no_section_and_the_others_keep_their_numbers() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, ["Bats fly."])

    assert [section.number for section in draw(page, lambda _: None, page).sections] == [1, 3]


def test_the_heading_in_force_is_carried_to_the_next_page() -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, ["What they eat"], top=720, size=18)
        lines(canvas, ["They eat moths and all that flies."])

    def second(canvas: Canvas) -> None:
        lines(canvas, ["They also eat beetles and spiders."])

    assert [section.heading for section in draw(first, second).sections] == ["What they eat", "What they eat"]


BODY = [
    "Every lift above twenty tonnes is released by the duty engineer, who",
    "writes it into the book of the berth. The crane driver waits until the",
    "lamp on the mast is green and the hold of the ship has been cleared by",
    "its own crew, which takes some minutes at night.",
]


def test_items_whose_bullets_are_drawn_stay_apart() -> None:
    items = ["The hook is empty", "The lamp of the mast is green", "Nobody stands below the load", "The book is signed"]

    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, items, top=670, left=92)
        lines(canvas, BODY[:3], top=600)

    assert "\n\n- The hook is empty\n- The lamp of the mast is green\n- Nobody" in text_of(draw(page))


def test_captions_beside_the_text_are_left_out() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, ["The berth in 1931"], top=670, left=92, size=8)
        lines(canvas, BODY[:3], top=640)

    assert "1931" not in text_of(draw(page))
    assert text_of(draw(page)).count("duty engineer") == 2


def test_a_table_is_read_row_by_row_and_one_that_fell_apart_not_at_all() -> None:
    def cells(canvas: Canvas, rows: Sequence[Sequence[str]]) -> None:
        """Column by column, as layout programs draw them."""
        for column in range(max(map(len, rows))):
            for number, row in enumerate(rows):
                lines(canvas, row[column : column + 1], top=660 - 24 * number, left=72 + 150 * column, size=8)

    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        cells(
            canvas,
            [["crane", "load", "year"], ["north crane", "40 tonnes", "1931"], ["south crane", "25 tonnes", "1948"]],
        )
        lines(canvas, BODY[:3], top=560)

    def ragged(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        cells(canvas, [["crane"], ["40", "t"], ["x"], ["a", "b", "c"], ["y"], ["1", "2", "3", "4"]])
        lines(canvas, BODY[:3], top=480)

    assert "crane | load | year\nnorth crane | 40 tonnes | 1931\nsouth crane | 25 tonnes | 1948" in text_of(draw(page))
    assert "|" not in text_of(draw(ragged))
    assert text_of(draw(ragged)).count("duty engineer") == 2


def test_reference_lists_and_printed_link_targets_are_left_out() -> None:
    def page(canvas: Canvas) -> None:
        targets = ("https://harbour.example/rules/12?x=1", "h ttps://harbour.example/crew")  # one that was letterspaced
        told = [f"its own crew ({target}), at night." for target in targets]
        lines(canvas, [*BODY[:3], *told], top=740)
        lines(canvas, ["References"], top=660, size=16)
        lines(canvas, ["1. Lowe, A.: On Cranes. Marrow Bay 1931.", "2. Ilves, B.: Lamps of the Mast. 1948."], top=640)
        lines(canvas, ["Tides"], top=580, size=16)
        lines(canvas, ["The tide of the bay rises four metres in May and three in the autumn."], top=560)

    text = text_of(draw(page))
    assert text.count("its own crew, at night.") == 2
    assert "Lowe" not in text
    assert "References" not in text
    assert "## Tides\n\nThe tide" in text
