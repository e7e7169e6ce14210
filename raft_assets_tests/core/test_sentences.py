"""Sentences of English text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.sentences import sentence_spans, split_sentences

CASES = {
    "two sentences": ("Bats fly. They eat moths.", ["Bats fly.", "They eat moths."]),
    "abbreviations": (
        "Dr. Lowe met Mr. Ilves, e.g. At noon. Then he left.",
        ["Dr. Lowe met Mr. Ilves, e.g. At noon.", "Then he left."],
    ),
    "initials": (
        "Donald R. Griffin coined it. G. W. Pierce helped.",
        ["Donald R. Griffin coined it.", "G. W. Pierce helped."],
    ),
    "a letter that ends a sentence": ("They need vitamin C. Others don't.", ["They need vitamin C.", "Others don't."]),
    "decimals": ("It weighs 2.6 g. The other weighs 3.5 kg.", ["It weighs 2.6 g.", "The other weighs 3.5 kg."]),
    "numbers behind an abbreviation": (
        "See No. 5 of the list. He said no. Then he left.",
        ["See No. 5 of the list.", "He said no.", "Then he left."],
    ),
    "a quotation of two sentences": (
        "He wrote, “I came. I saw.” Then he left.",
        ["He wrote, “I came. I saw.”", "Then he left."],
    ),
    "straight quotation marks": (
        'He wrote, "I came. I saw." Then he left.',
        ['He wrote, "I came. I saw."', "Then he left."],
    ),
    "a parenthesis of two sentences": (
        "It flew (it did. It did!) away. Good.",
        ["It flew (it did. It did!) away.", "Good."],
    ),
    "a parenthesis that never closes": ("It flew (away. It did.", ["It flew (away.", "It did."]),
    "question and exclamation marks": ("Who calls? A bat! Listen.", ["Who calls?", "A bat!", "Listen."]),
    "reference marks": ("It is a wave.[3] It breaks.[12] Good.", ["It is a wave.[3]", "It breaks.[12]", "Good."]),
    "a sentence across lines": ("Bats fly\nat night. They\neat moths.", ["Bats fly\nat night.", "They\neat moths."]),
    "marked headings": ("# Bats\n## How they fly\nThey fly.", ["# Bats", "## How they fly", "They fly."]),
    "underlined headings": ("Staff Handbook\n=====\n\nThey work.", ["Staff Handbook", "They work."]),
    "headings of a PDF": (
        "It is old.\nEarly history\nThe first harbour was built of oak by the town\nin 1290. It burned.",
        ["It is old.", "Early history", "The first harbour was built of oak by the town\nin 1290.", "It burned."],
    ),
    "list items": (
        "Bring:\n- a rope\n- two boots\n1. Sign. Then go.",
        ["Bring:", "a rope", "two boots", "Sign.", "Then go."],
    ),
    "blank lines": ("A title\n\nA paragraph", ["A title", "A paragraph"]),
    "fields of an API description": (
        "api_name: Hash\napi_call: f(x)\nmeta_data.description: It works. It is fast.\nexample_code: import\nprint(a)",
        [
            "api_name: Hash",
            "api_call: f(x)",
            "meta_data.description: It works.",
            "It is fast.",
            "example_code: import",
            "print(a)",
        ],
    ),
    "table rows": ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |", "| 1 | 2 |"]),
    "nothing": (" \n ... \n", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_text_is_split_into_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


ALPHABET = "ab AB.!?\n()\"“”-#123:_|'[]…\r\t=é"


@given(st.text(alphabet=st.sampled_from(ALPHABET), max_size=200) | st.text(max_size=200))
def test_sentences_are_ordered_exact_substrings_and_keep_every_word(text: str) -> None:
    spans = sentence_spans(text)
    assert all(start < end and text[start:end] == text[start:end].strip() for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    outside = "".join(
        text[a:b] for a, b in zip([0, *(e for _, e in spans)], [*(s for s, _ in spans), len(text)], strict=True)
    )
    assert not any(char.isalpha() and len(word) > 3 for word in outside.split() for char in word)
