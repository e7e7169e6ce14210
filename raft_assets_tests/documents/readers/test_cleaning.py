"""Text as every reader leaves it."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.documents.readers.cleaning import clean, drop_blank_lines, to_one_line


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Flederma\u0308use", "Fledermäuse"),
        ("e\ufb03cient \ufb02ight of a \ufb01sh", "efficient flight of a fish"),
        ("x² is ½ of it", "x² is ½ of it"),  # no ligatures: another spelling would say something else
        ("soft\u00adhyphen, zero\u200bwidth, \ufeffmark", "softhyphen, zerowidth, mark"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner that Persian needs
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("14\u00a0500\u202fcrowns\u3000here", "14 500 crowns here"),
        ("bell\x07 and escape\x1b[0m", "bell and escape[0m"),
        ("a\tb", "a\tb"),
        ("one\r\ntwo\rthree\u2028four\x0bfive\x85six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("page\x0cpage\u2029paragraph", "page\n\npage\n\nparagraph"),
        ("one  \t\ntwo ", "one\ntwo"),
        ("  indented", "  indented"),
        ("\n\none\n\n\n\ntwo\n\n", "one\n\ntwo"),
        ("one\n \n\t\n\ntwo", "one\n\ntwo"),
        ("half \ud83d", "half ?"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_a_text_has_one_spelling(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


ODD = st.text(st.sampled_from("ab \t\n\r\x0b\x0c\x85\u2028\u2029\u00a0\u00ad\u200b\u200c\u0308\ufb03\ufeff\x07\ud83d"))


@given(st.one_of(ODD, st.text()))
def test_a_cleaned_text_is_clean(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not re.search(r"\r|\x0c|[ \t]$|[ \t]\n|\n{3}|\A\n|\n\Z", cleaned)
    cleaned.encode()  # what no file could hold is gone


@given(st.one_of(ODD, st.text()))
def test_one_line_has_single_spaces_and_no_line_end(text: str) -> None:
    line = to_one_line(text)
    assert line == " ".join(line.split())
    assert to_one_line(line) == line


def test_lines_stay_where_blank_ones_go() -> None:
    assert drop_blank_lines("import io\n\n \nprint(1)\n\n") == "import io\nprint(1)"
