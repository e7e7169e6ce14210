"""Parses a prompt into its documents, question and instructions: the inverse of `core.prompt_contract`."""

import re
from typing import NamedTuple

from raft_assets.core.prompt_contract import CLOSED_BOOK_INSTRUCTIONS, INSTRUCTIONS, REPLY, TASK

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

    Without documents only the contract's own instructions are separated from the question. Worked examples of a
    completion prompt are left out.
    """
    text = _without_examples(text)
    blocks = list(_DOCUMENT.finditer(text))
    if blocks:
        before, after = text[: blocks[0].start()], text[blocks[-1].end() :]
    else:
        before = next((known for known in _KNOWN_INSTRUCTIONS if text.startswith(known)), "")
        after = text[len(before) :]
    return Prompt(tuple(block.group(1) for block in blocks), _QUESTION_LABEL.sub("", after.strip()), before.strip())


def _without_examples(text: str) -> str:
    """Return the instructions and the task of a completion prompt with worked examples, any other prompt as it is."""
    begins, ends = f"\n{TASK}\n", f"\n{REPLY}\n"
    if begins not in text or not text.endswith(ends):
        return text
    # a document may hold the words, and never the beginning of another document
    start = max(text.rfind(f"{begins}<DOCUMENT>") if "<DOCUMENT>" in text else text.rfind(begins), text.find(begins))
    return text[: text.find(begins)] + "\n" + text[start + len(begins) : -len(ends)]
