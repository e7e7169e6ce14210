"""Parses a prompt into its documents, question and instructions: the inverse of `core.prompt_contract`."""

import re
from typing import NamedTuple

from raft_assets.core.prompt_contract import CLOSED_BOOK_INSTRUCTIONS, INSTRUCTIONS

_DOCUMENT = re.compile(r"<DOCUMENT>(.*?)</DOCUMENT>", re.DOTALL)
_KNOWN_INSTRUCTIONS = (INSTRUCTIONS.strip(), CLOSED_BOOK_INSTRUCTIONS.strip())
_QUESTION_LABEL = re.compile(r"\A(?:question|q)\s*:\s*", re.IGNORECASE)


class Prompt(NamedTuple):
    """The parts of a prompt; documents are exact, question and instructions are stripped."""

    documents: tuple[str, ...]
    question: str
    instructions: str


def parse_prompt(text: str) -> Prompt:
    """Parse a prompt: instructions come before the first document, the question after the last.

    Without documents only the contract's own instructions are separated from the question.
    """
    blocks = list(_DOCUMENT.finditer(text))
    if blocks:
        before, after = text[: blocks[0].start()], text[blocks[-1].end() :]
    else:
        before = next((known for known in _KNOWN_INSTRUCTIONS if text.startswith(known)), "")
        after = text[len(before) :]
    return Prompt(tuple(block.group(1) for block in blocks), _QUESTION_LABEL.sub("", after.strip()), before.strip())
