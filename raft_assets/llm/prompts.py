"""Requests in the prompt contract, which evaluation sends and training files hold, and requests of prompt files.

A prompt file in `prompts/` has a head (its version, and the role that speaks its instructions), the instructions and
the task, separated by lines `---`. Who is asked what, and how an answer is read, is defined next to the parser.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Literal

from raft_assets.core.identity import digest
from raft_assets.core.languages import ENGLISH, language_of_code
from raft_assets.core.prompt_contract import (
    CLOSED_BOOK_EXAMPLES,
    WORKED_EXAMPLES,
    instructions_in,
    render_messages,
    render_prompt,
    render_user_message,
)
from raft_assets.llm.completion_form import to_completion
from raft_assets.llm.requests import Request

VERSION_DIGITS = 8  # of the hash of a prompt file's text
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PromptFile:
    """A prompt. `version` holds the written number and a hash of the text, so that no change goes unnoticed."""

    version: str
    role: Literal["system", "user"]
    instructions: str
    task: str

    def messages(self, passages: Sequence[str], **values: str) -> list[dict[str, str]]:
        """Return chat messages: first what all requests share, for caches, then the documents, then the task.

        Instructions of the role `user` are in the same message as the documents.
        """
        # in one pass: a value that contains the name of another is plain text
        shown = render_user_message(_PLACEHOLDER.sub(lambda place: values.get(place[1], place[0]), self.task), passages)
        if self.role == "user":
            return [{"role": "user", "content": f"{self.instructions}\n\n{shown}"}]
        return [{"role": "system", "content": self.instructions}, {"role": "user", "content": shown}]

    def in_language(self, language: str) -> "PromptFile":
        """Return the prompt with a line about the language of what is to be written; for English the same prompt."""
        if (language or ENGLISH) == ENGLISH:
            return self
        known = language_of_code(language)
        name = f"{known.name}, the language" if known else "the language"
        return replace(self, task=f"{self.task}\nWrite them in {name} of the document.")


@cache
def read_prompt(package: str, name: str) -> PromptFile:
    """Return the prompt file of a name such as `general/questions` in the package's folder `prompts`."""
    text = (resources.files(package) / "prompts" / f"{name}.md").read_text("utf-8")
    head, instructions, task = text.split("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    version = f"{fields['version']}-{digest(text)[:VERSION_DIGITS]}"
    return PromptFile(version, "user" if fields["role"] == "user" else "system", instructions.strip(), task.strip())


def answer_request(
    question: str,
    documents: Sequence[str],
    form: Literal["chat", "completion"],
    max_tokens: int,
    instructions: str | None = None,
    *,
    has_examples: bool = False,
    language: str = "",
) -> Request:
    """Return the request that asks a model a question about documents, as chat messages or as one text.

    `instructions`: as set for the domain; None means the contract's own in the question's language. `has_examples`: a
    text shows worked examples before the task, which are English in every language: they show the form of an answer.
    """
    instructions = instructions_in(language) if instructions is None else instructions
    if form == "completion" and not has_examples:
        return Request(
            "completion", {"prompt": render_prompt(question, documents, instructions), "max_tokens": max_tokens}
        )
    examples = WORKED_EXAMPLES if documents else CLOSED_BOOK_EXAMPLES
    request = Request(
        "chat",
        {"messages": render_messages(question, documents, instructions), "max_completion_tokens": max_tokens},
        examples=tuple((render_user_message(asked, shown), answer) for asked, shown, answer in examples),
    )
    return to_completion(request) if form == "completion" else request
