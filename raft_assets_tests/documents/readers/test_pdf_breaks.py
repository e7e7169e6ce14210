"""Sentences of a PDF that a line, a column, a page or something between them breaks are whole."""

import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from raft_assets_tests.documents.readers.test_pdf import BODY, draw, lines, text_of

FONT = "Vera"
RIGHT = 430.0  # edge of the text
pdfmetrics.registerFont(TTFont(FONT, "Vera.ttf"))  # comes with reportlab


def full(text: str) -> list[str]:
    """Return the text in lines that fill the width of the text."""
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if 72 + stringWidth(longer, FONT, 11) > RIGHT:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


# ---- page breaks ----

SENTENCES = {
    "German nouns": (
        "Vor jeder Fahrt prüft der Maschinist die Bremse des Krans und meldet das Ergebnis dem Leiter des Hafens, "
        "bevor er das Seil der großen Winde auf dem Kai gegenüber dem Leuchtturm Marienwarte spannt."
    ),
    "names and numbers": (
        "The oldest crane of the harbour was designed by Ada Lowe and Ben Ilves of Halden in 1907, tested by the Board "
        "of Trade with 42 tonnes, and bought by Orlo Brothers Limited of Skerrow for “next to nothing” (12 crowns)."
    ),
    "French": (
        "Le grutier du quai Est vérifie chaque matin les freins de la grue Jeanne et note le résultat dans le registre "
        "que le capitaine Morel garde au bureau de la rue Basse, en face du phare."
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES.keys())
def test_a_sentence_is_whole_wherever_a_page_breaks_it(sentence: str) -> None:
    rows = full(sentence)
    for broken in range(1, len(rows)):

        def first(canvas: Canvas, broken: int = broken) -> None:
            lines(canvas, full("The lamp of the mole is lit at dusk by the keeper. " * 4), top=740, font=FONT)
            lines(canvas, rows[:broken], top=100, font=FONT)

        def second(canvas: Canvas, broken: int = broken) -> None:
            lines(canvas, [*rows[broken:], "Nobody else was there, and nobody came."], top=740, font=FONT)

        assert sentence in text_of(draw(first, second)), rows[:broken]


def test_a_title_at_the_top_of_a_page_is_not_the_end_of_a_sentence_before_it() -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, ["Whoever opens the lock shall first see to it that", "the basin is empty"], top=100)

    def second(canvas: Canvas) -> None:
        lines(canvas, ["Duties of the keeper of the lock and of everybody who", "helps him. There are four."], top=740)

    assert "the basin is empty\n\nDuties" in text_of(draw(first, second))


@pytest.mark.parametrize("line", ["The board was founded by the", "It has its own crew, and"])
def test_a_sentence_that_begins_in_the_last_line_of_a_page_is_whole(line: str) -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, [line], top=60)

    def second(canvas: Canvas) -> None:
        lines(canvas, ["towns of the coast in the spring of the year.", "Nobody else was there."], top=740)

    assert f"{line} towns of the coast in the spring of the year." in text_of(draw(first, second))


def test_items_that_follow_one_another_over_a_page_break_stay_items() -> None:
    def first(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        lines(canvas, ["a) whoever opens the lock shall first see to it that the basin is empty,"], top=100)

    def second(canvas: Canvas) -> None:
        lines(canvas, ["b) whoever closes it shall ring the bell."], top=740)

    assert "is empty,\n\nb) whoever closes it" in text_of(draw(first, second))


# ---- columns, and what stands between ----


def test_a_sentence_that_crosses_columns_is_whole() -> None:
    left = ["The crane of the east quay was", "built in the yard of the town", "and carried to its place by two"]
    right = ["barges in a single night, and", "nobody saw it before morning.", "It lifts forty tonnes."]

    def page(canvas: Canvas) -> None:
        lines(canvas, [*left[:2], *left], top=740)
        lines(canvas, right, top=740, left=320)

    assert "by two barges in a single night, and nobody saw it before morning. It lifts" in text_of(draw(page))


def test_cells_and_captions_between_the_parts_of_a_sentence_stand_after_it() -> None:
    def page(canvas: Canvas) -> None:
        lines(canvas, [*BODY, "The harbour has two basins, three locks and a light that"], top=740)
        for row, (name, value) in enumerate([("Opened", "1907"), ("Basins", "2"), ("Locks", "3"), ("Depth", "9 m")]):
            lines(canvas, [name], top=600 - 16 * row, size=11)
            lines(canvas, [value], top=600 - 16 * row, left=250, size=11)
        lines(canvas, ["is seen from thirty miles out. It was lit in 1931 by its first", "keeper."], top=500)

    text = text_of(draw(page))
    assert "a light that is seen from thirty miles out. It was lit in 1931 by its first keeper." in text
    assert "Opened" in text
    assert "1907" in text


def test_paragraphs_below_one_another_without_a_full_stop_stay_apart() -> None:
    items = [
        "the keeper of the lock and his mate, who stands on the east pier",
        "the pilots of the outer bay, by turns",
    ]

    def page(canvas: Canvas) -> None:
        lines(canvas, BODY, top=740)
        for number, item in enumerate(items):
            lines(canvas, [item], top=640 - 30 * number)

    assert "east pier\n\nthe pilots" in text_of(draw(page))


# ---- hyphens at line ends ----

HYPHENS = {
    "German": (["Der Kran am Haupt-", "und Nebenhafen hebt vierzig Tonnen."], "Haupt- und Nebenhafen"),
    "English": (["The board keeps the pre-", "and post-war books in its cellar."], "pre- and post-war"),
    "a slash": (["The clerk signs and/", "or stamps the book of the quay."], "and/or"),
    "a dash between years": (["The lock was open from 1914\u2013", "1918 and in the winter after."], "1914\u20131918"),
    "a dash without blanks": (["The lamp\u2014", "which is green\u2014turns."], "lamp\u2014which"),
    "a dash with blanks": (["The lamp \u2013", "which is green \u2013 turns."], "lamp \u2013 which"),
}


@pytest.mark.parametrize(("rows", "joined"), HYPHENS.values(), ids=HYPHENS.keys())
def test_what_a_line_ends_in_is_joined_as_it_is_written(rows: list[str], joined: str) -> None:
    dividing = ["The har-", "bour of the bay has one harbour only, and it is deep."]

    def page(canvas: Canvas) -> None:
        lines(canvas, dividing, top=740)
        lines(canvas, rows, top=640)

    assert joined in text_of(draw(page))
