"""Finding a copied text, however it was spaced, hyphenated or quoted."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.text_search import LooseText, SearchableText

IGNORED = " \t\n-\u00ad\u2010\u2011#*_`|>\u2022"


def found(text: str, wanted: str) -> list[str]:
    return [text[start:end] for start, end in SearchableText(text).find(wanted)]


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("Bats eat blood.", "eat blood", ["eat blood"]),
        ("Bats  eat\n\tblood.", "eat blood", ["eat\n\tblood"]),  # other white space
        ("Bats eat blood.", "  eat\n blood ", ["eat blood"]),  # and in what is wanted
        ("The light-\nhouse stands.", "lighthouse", ["light-\nhouse"]),  # hyphenated at the end of a line
        ("The lighthouse stands.", "light-house", ["lighthouse"]),
        ("The light\u00adhouse stands.", "lighthouse", ["light\u00adhouse"]),  # a soft hyphen
        ("a well\u2011known bat", "well-known", ["well\u2011known"]),  # a hyphen that doesn't break
        ("灯塔于1932年建成。", "1932年", ["1932年"]),  # no spaces between words
        ("灯塔于1932年建成。", "灯塔于", ["灯塔于"]),
        ("灯塔于19325年建成。", "1932", []),
        ("in 1907–1926", "1907-1926", ["1907–1926"]),  # a dash
        ("He said “no”.", 'said "no"', ["said “no”"]),
        ("the author's bats", "the author’s bats", ["the author's bats"]),
        ("The **old** tower fell.", "old tower", ["old** tower"]),  # marks of Markdown
        ("| crane | 42 t |", "crane 42 t", ["crane | 42 t"]),
        ("> quoted\n> twice", "quoted twice", ["quoted\n> twice"]),
        ("use snake_case", "snakecase", ["snake_case"]),
        ("Le café ferme.", "cafe\u0301", ["café"]),  # composed and decomposed
        ("(see there)", "see there", ["see there"]),
        ("f(x) = y", "(x) =", ["(x) ="]),
    ],
)
def test_a_text_is_found_however_it_was_copied(text: str, wanted: str, expected: list[str]) -> None:
    assert found(text, wanted) == expected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The party left.", "art"),  # inside a word
        ("The party left.", "par"),  # the beginning of a word
        ("The party left.", "party le"),
        ("The party left.", "arty left"),
        ("in 19071", "1907"),
        ("The party left.", "The Party"),  # case tells names from words
        ("The party left.", "left party"),
        ("The party left.", ""),
        ("The party left.", " - "),  # nothing but what is ignored
        ("", "party"),
    ],
)
def test_what_is_not_there_as_whole_words_is_not_found(text: str, wanted: str) -> None:
    assert found(text, wanted) == []


def test_every_occurrence_is_found_in_order_also_one_that_begins_within_another() -> None:
    assert list(SearchableText("no no no, no").find("no no")) == [(0, 5), (3, 8)]
    assert list(SearchableText("bat, bats, Bat, bat").find("bat")) == [(0, 3), (16, 19)]


def test_an_occurrence_inside_a_word_hides_none_behind_it() -> None:
    assert list(SearchableText("artart art").find("art")) == [(7, 10)]


WORDS = st.lists(st.sampled_from(["bats", "a", "1907", "café", "(x)", "“no”", "end."]), min_size=1, max_size=6)
GAPS = st.text(IGNORED, min_size=1, max_size=3)


@settings(deadline=None)
@given(before=WORDS, wanted=WORDS, after=WORDS, data=st.data())
def test_words_are_found_where_they_stand_whatever_is_between_them(
    before: list[str], wanted: list[str], after: list[str], data: st.DataObject
) -> None:
    def spread(words: list[str]) -> str:
        return "".join(word + data.draw(GAPS) for word in words)

    head, middle = spread(before), spread(wanted)
    text = head + middle + spread(after)
    spans = list(SearchableText(text).find(" ".join(wanted)))
    assert (len(head), len(head) + len(middle.rstrip(IGNORED))) in spans
    assert spans == sorted(set(spans))
    for start, end in spans:
        assert re.sub(f"[{re.escape(IGNORED)}]", "", text[start:end]) == "".join(wanted)


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("Bats fly.12 They eat.", "bats FLY. they eat", "Bats fly.12 They eat."),
        ("Most bats12 fly at night.", "most bats", "Most bats12"),  # a note that is part of the word stays with it
        ("The ﬁrst of[3, 4–6] them", "first of them", "ﬁrst of[3, 4–6] them"),
        ("A café «in Köln»", "cafe in Koln", "café «in Köln"),
        ("It grew by 3.14 to 1931", "grew by 3.14 to 1931", "grew by 3.14 to 1931"),
        ("It grew by 3.15 to 1931", "grew by 3.14 to 1931", None),
        ("The batsman flew", "the bats", None),  # not at the edge of a word
        ("A b c d", "a b", None),  # so few letters are in many places by chance
    ],
)
def test_letters_and_digits_are_found_whatever_else_is_between_them(text: str, wanted: str, found: str | None) -> None:
    span = LooseText(text).find(wanted)
    assert (None if span is None else text[slice(*span)]) == found
    if found:
        assert next(SearchableText(text).find(found), None) is not None  # so it is found again by the stricter search
