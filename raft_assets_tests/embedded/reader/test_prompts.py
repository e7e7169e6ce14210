"""Prompts are read back as they were rendered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.prompt_contract import (
    CLOSED_BOOK_INSTRUCTIONS,
    INSTRUCTIONS,
    escape_delimiters,
    render_prompt,
    render_user_message,
)
from raft_assets.embedded.reader.prompts import parse_prompt

TEXTS = st.text(min_size=1).map(str.strip).filter(lambda text: bool(text) and not text.lower().startswith("q"))


@given(question=TEXTS, documents=st.lists(TEXTS, max_size=4))
def test_a_user_message_is_read_back(question: str, documents: list[str]) -> None:
    prompt = parse_prompt(render_user_message(question, documents))
    assert prompt.documents == tuple(escape_delimiters(text) for text in documents)
    assert prompt.question == escape_delimiters(question).strip()


@pytest.mark.parametrize("instructions", [INSTRUCTIONS, CLOSED_BOOK_INSTRUCTIONS])
@pytest.mark.parametrize("documents", [[], ["One document."], ["Two.", "Documents."]])
def test_a_completion_prompt_is_read_back(instructions: str, documents: list[str]) -> None:
    prompt = parse_prompt(render_prompt("Who came?", documents, instructions))
    assert prompt == (tuple(documents), "Who came?", instructions.strip())


def test_a_label_before_the_question_is_no_part_of_it() -> None:
    assert parse_prompt("<DOCUMENT>Text.</DOCUMENT>\nQuestion: Who came?").question == "Who came?"
