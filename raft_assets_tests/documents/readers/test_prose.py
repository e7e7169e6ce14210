"""Text between two rules is text unless it is fields; comments are no text, and what stands between two of them is."""

import pytest

from raft_assets.documents.readers.prose import read_prose

TEXT_BETWEEN_RULES = {
    "a notice": "\nSafety notice: the dredger turns at 12 knots.\n",
    "a notice without blank lines": "Safety notice: the dredger turns at 12 knots.",
    "a notice of one word and a sentence": "Danger: keep away from the dredger turns and the grab.",
    "paragraphs": "\nThe dredger turns at noon.\n\nIt was built in 1987.\n",
    "a transcript": "Ana: Good morning.\nBob: The dredger turns.\nAna: Then let us wait.",
    "a transcript whose speakers speak once": "Ana: Good morning, all.\nBob: The dredger turns at noon today.",
    "a transcript in lower case": "ana: well, the dredger turns.\nbob: and so do we, I fear.",
    "a transcript below its title": "Title: Meeting\nDate: 3 May\nAna: The dredger turns at noon, I was told.",
    "a form": "Name: Ana Ruiz\nDate: 3 May\nShip: The dredger turns",
    "a list": "- the dredger turns\n- the tug waits",
    "a list below a word": "Beware:\n- the dredger turns\n- the tug waits",
    "a heading": "# The dredger turns\n\nBeware.",
    "a poem": "The dredger turns\nand turns",
}


@pytest.mark.parametrize("text", TEXT_BETWEEN_RULES.values(), ids=TEXT_BETWEEN_RULES.keys())
@pytest.mark.parametrize("kind", ["md", "txt"])
def test_text_between_two_rules_is_text(text: str, kind: str) -> None:
    content = read_prose(f"---\n{text}\n---\n\n# Operation\n\nThe lock opens.", kind)  # type: ignore[arg-type]
    whole = "\n\n".join(section.text for section in content.sections)
    assert "dredger turns" in whole
    assert "The lock opens." in whole
    assert content.left_out == {}


FIELDS = {
    "usual ones": ("title: Dredging\ndate: 2021-05-03\ntags: [a, b]", "Dredging"),
    "own ones among them": ("title: 'Dredging'\nreviewedBy: Ana Ruiz\nship-count: 2", "Dredging"),
    "own ones only": ("ships: 2\nharbour: east", ""),
    "lists, objects and folded text": (
        "title: Dredging\ntags:\n- ships\n  - more\nabout: >\n  Words that\n  are folded.\nsidebar:\n  order: 2",
        "Dredging",
    ),
    "capitals": ("Title: Dredging\nAuthor: Ana Ruiz\nTags: ships", "Dredging"),
    "a description in a sentence": ("title: Dredging\ndescription: This page says how it is done.", "Dredging"),
    "a comment and blank lines": ("# settings\ntitle: Dredging\n\nlang: en", "Dredging"),
}


@pytest.mark.parametrize(("fields", "title"), FIELDS.values(), ids=FIELDS.keys())
@pytest.mark.parametrize("end", ["---", "..."])
def test_front_matter_is_no_text_and_is_counted(fields: str, title: str, end: str) -> None:
    content = read_prose(f"---\n{fields}\n{end}\n\n# Operation\n\nThe lock opens.", "md")
    assert content.title == (title or "Operation")
    assert [section.text for section in content.sections] == ["# Operation\n\nThe lock opens."]
    assert set(content.left_out) == {"front_matter"}


def test_a_field_of_front_matter_that_says_something_else_is_text() -> None:
    fields = "title: Dredging\nwarning: Never stand below the grab while it opens.\nsummary: How it is done in the bay."
    content = read_prose(f"---\n{fields}\n---\n\nThe lock opens.", "md")
    assert [section.text for section in content.sections] == [
        "warning: Never stand below the grab while it opens.\n\nThe lock opens."
    ]
    assert content.left_out == {"front_matter": 10}


def test_comments_are_left_out_and_what_is_between_two_is_not() -> None:
    text = "<!-- begin --> The lock opens.\n\nThe dredger turns.\n\n<!-- three more words\nend -->\n\nIt closes."
    content = read_prose(text, "md")
    assert [section.text for section in content.sections] == [
        "<!-- begin --> The lock opens.\n\nThe dredger turns.\n\nIt closes."
    ]
    assert content.left_out == {"comment": 4}


def test_a_comment_in_code_is_code() -> None:
    text = "Write:\n\n```html\n<!-- the dredger -->\n<p>turns</p>\n```"
    assert [section.text for section in read_prose(text, "md").sections] == [text]


def test_a_line_of_code_between_three_marks_opens_no_block() -> None:
    text = "```raft run``` starts.\n\n## Gates\n\nOpen.\n\n<!-- left out -->\n\n## Locks\n\nClose.\n\n```\nlock()\n```"
    content = read_prose(text, "md")
    assert [section.heading for section in content.sections] == ["", "Gates", "Locks"]
    assert content.left_out == {"comment": 2}
    inside = "~~~\n```raft run```\n# no heading\n~~~\n\n## A heading\n\nText."
    assert [section.heading for section in read_prose(inside, "md").sections] == ["", "A heading"]
