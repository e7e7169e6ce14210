"""Requests in the prompt contract: what evaluation sends is what training files hold."""

from collections.abc import Sequence
from typing import Literal

from raft_assets.calls.requests import Request
from raft_assets.raft.contract import INSTRUCTIONS, render_messages, render_prompt


def answer_request(
    question: str,
    documents: Sequence[str],
    form: Literal["chat", "completion"],
    max_tokens: int,
    instructions: str | None = None,
) -> Request:
    """Asks a model a question about documents, as chat messages or as one text.

    `instructions`: as set for the domain; None stands for the contract's own.
    """
    instructions = INSTRUCTIONS if instructions is None else instructions
    if form == "completion":
        return Request(
            "completion", {"prompt": render_prompt(question, documents, instructions), "max_tokens": max_tokens}
        )
    return Request(
        "chat", {"messages": render_messages(question, documents, instructions), "max_completion_tokens": max_tokens}
    )
