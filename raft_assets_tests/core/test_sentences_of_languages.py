"""Sentences of other languages than English."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.sentences import sentence_spans, split_sentences

CASES = {
    "German dates and abbreviations": (
        "de",
        ["Der Turm wurde am 3. Oktober 1884 z. B. durch Dr. Müller geprüft.", "Er misst 3,5 Meter.", "Warum?"],
        " ",
    ),
    "Spanish marks": ("es", ["¿Cuándo se abrió el faro?", "Se abrió en 1884.", "¡Qué alto es!"], " "),
    "Russian abbreviations": ("ru", ["Маяк зажжён в 1884 г. мэром, т. е. давно.", "В нём две лампы."], " "),
    "full-width marks without spaces": ("zh", ["灯塔于1884年点亮。", "1932年重修！", "它在哪里？"], ""),
    "a Chinese parenthesis and quotation": (
        "zh",
        ["灯塔（建于1884年。后毁）很高。", "他说：“好。很好。”", "然后离开。"],
        "",
    ),
    "a Japanese quotation that goes on": ("ja", ["「行く。すぐだ。」と言った。", "灯台は高い。"], ""),
    "a danda": ("hi", ["प्रकाशस्तंभ १८८४ में जला।", "डॉ. शर्मा आए।", "क्या यह सही है?"], " "),
    "Arabic marks": ("ar", ["أضيئت المنارة عام ١٨٨٤.", "هل هذا صحيح؟", "نعم!"], " "),
    "an Urdu full stop": ("ur", ["مینار روشن ہے۔", "یہ بلند ہے۔"], " "),
    "Korean": ("ko", ["등대는 1884년에 불을 밝혔다.", "1932년에 고쳤다."], " "),
    "Armenian": ("hy", ["Փարոսը վառվեց 1884 թվականին։", "Այն բարձր է։"], " "),
}


@pytest.mark.parametrize("case", CASES)
def test_sentences_end_at_the_marks_of_their_language(case: str) -> None:
    language, sentences, space = CASES[case]
    assert split_sentences(space.join(sentences), language) == sentences


@pytest.mark.parametrize("case", [case for case, (language, _, _) in CASES.items() if language not in ("de", "es")])
def test_who_knows_no_language_goes_by_the_script(case: str) -> None:
    _, sentences, space = CASES[case]
    assert split_sentences(space.join(sentences)) == sentences


def test_blocks_are_those_of_every_text() -> None:
    text = "# 灯塔\n\n灯塔于1884年\n点亮。它很高。\n\n- 第一项。\n- 第二项"
    assert split_sentences(text, "zh") == ["# 灯塔", "灯塔于1884年\n点亮。", "它很高。", "第一项。", "第二项"]


@given(
    st.text(st.sampled_from("灯塔。？！「」“”（）a. \n१।क؟م"), max_size=60),
    st.sampled_from(["zh", "ja", "hi", "ar", "de", ""]),
)
def test_spans_are_in_order_and_lose_no_letter(text: str, language: str) -> None:
    spans = sentence_spans(text, language)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    kept = "".join(text[start:end] for start, end in spans)
    assert [letter for letter in kept if letter.isalpha()] == [letter for letter in text if letter.isalpha()]
