"""Terms of other languages than English."""

import pytest

from raft_assets.core.language_words import Terms, contains_words, fold, numbers, terms


def test_digits_of_every_script_and_width_are_the_same_digits() -> None:
    assert fold("١٨٨٤ १८८४ １８８４ ۱۸۸۴") == "1884 1884 1884 1884"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14.500 Kronen", {"14500"}),
        ("14,500 crowns, 14 500 couronnes, 14’500 Franken", {"14500"}),
        ("١٤٬٥٠٠ كرون", {"14500"}),
        ("1,5 m und 1.5 m", {"1.5"}),
        ("1907 200 Leute", {"1907", "200"}),
        ("于1932年建成", {"1932"}),
        ("am 05.03.1932", {"5", "3", "1932"}),
        ("le 5. 3. 1932, 0,5 m", {"5", "3", "1932", "0.5"}),
    ],
)
def test_numbers_are_equal_however_they_are_grouped(text: str, expected: set[str]) -> None:
    assert numbers(text) == expected


HELD = {
    "an inflected word": ("de", "die alten Brücken der Stadt", "eine alte Brücke"),
    "a word in a compound": ("de", "Die Steinbrücke wurde gebaut.", "Brücke"),
    "a compound of words": ("de", "Die Brücke aus Stein führt zum Hafen.", "Steinbrücke"),
    "an Arabic word with a prefix in the text": ("ar", "وصل إلى المدينة والميناء", "الميناء"),
    "an Arabic word with a prefix in the answer": ("ar", "وصل إلى مدينة كبيرة", "المدينة"),
    "Arabic with and without points": ("ar", "بُنِيَ الجِسْرُ", "بني الجسر"),
    "a Russian case": ("ru", "в северной гавани", "северная гавань"),
    "a Hindi case": ("hi", "बड़े लड़कों ने", "बड़ा लड़का"),
    "Chinese letters without spaces": ("zh", "北码头的灯塔于1884年首次点亮。", "首次点亮"),
    "a Chinese year": ("zh", "北码头的灯塔于1884年首次点亮。", "1884 年"),
    "Japanese in full width": ("ja", "高さ42メートルの灯台", "４２メートル"),
    "a Thai word": ("th", "ประภาคารจุดไฟครั้งแรกในปี 1884", "ปี ๑๘๘๔"),
    "a Korean word with another particle": ("ko", "등대는 부두에 있다", "등대"),
    "a Hebrew word with a prefix in the text": ("he", "בנמל הצפוני", "הצפוני"),
}


@pytest.mark.parametrize("case", HELD)
def test_what_a_text_says_in_other_forms_is_held(case: str) -> None:
    language, text, answer = HELD[case]
    assert Terms([text], language).share(answer) == 1


NOT_HELD = {
    "another number": ("de", "am 3. Mai 1884", "1885"),
    "another Chinese thing": ("zh", "北码头的灯塔于1884年首次点亮。", "南门剧院"),
    "letters of a text in another order": ("zh", "北码头的灯塔首次点亮。", "塔灯亮点"),
    "a short word within a longer one": ("de", "Die Hafenbehörde", "Ort"),
    "another language": ("ar", "أضيئت المنارة", "the lighthouse was lit"),
}


@pytest.mark.parametrize("case", NOT_HELD)
def test_what_a_text_does_not_say_is_not_held(case: str) -> None:
    language, text, answer = NOT_HELD[case]
    assert Terms([text], language).share(answer) < 0.5


def test_function_words_say_nothing() -> None:
    assert terms("in der und die", "de") == []
    assert Terms(["Hafen"], "de").share("in der") == 1


def test_a_phrase_is_found_word_for_word_in_scripts_with_and_without_spaces() -> None:
    assert contains_words("Wann wurde die Nordmole gebaut?", "die Nordmole", "de")
    assert not contains_words("Wann wurde die Nordmole gebaut?", "Mole", "de")
    assert contains_words("北码头的灯塔于哪一年点亮？", "灯塔", "zh")
    assert not contains_words("北码头的灯塔于哪一年点亮？", "年", "zh")
    assert not contains_words("Wann wurde die Nordmole gebaut?", "die", "de")
