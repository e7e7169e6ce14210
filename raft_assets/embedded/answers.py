"""What the embedded models say: a prompt in, a text that follows the prompt contract out.

The teacher writes questions about a document, and answers a question by generating its own again: the equal one carries
sentence and answer. The reader points at a sentence and at words in it. Neither writes prose: the text around quotes is
fixed.
"""

import re
from collections.abc import Callable, Sequence

from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.identity import normalize
from raft_assets.core.prompt_contract import ABSTENTION_ANSWER, BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.embedded.reader.prompts import parse_prompt
from raft_assets.embedded.reader.read import Reader
from raft_assets.embedded.teacher.ask import GeneratedQuestion

NOTHING_TO_ASK = "No question can be asked about this document."
CLOSED_BOOK_ANSWER = render_answer(
    "No document is given. This model reads answers out of documents and knows nothing by heart.", "I do not know."
)

_TASK = re.compile(r"Write (?:up to )?(\d{1,3}) questions?\b")

AskQuestions = Callable[[str], Sequence[GeneratedQuestion]]


def answer_as_teacher(prompt: str, ask: AskQuestions) -> str | None:
    """Return the teacher's reply; None if it has no answer of its own and the reader has to read.

    `ask` returns every question that the teacher asks about a document.
    """
    documents, task, _ = parse_prompt(prompt)
    writing = _TASK.match(task)
    if writing:
        return _number_questions(
            [asked.question for document in documents for asked in ask(document)][: int(writing.group(1))]
        )
    if not documents:
        return ABSTENTION_ANSWER
    known = {
        _comparison_key(asked.question): asked for document in reversed(documents) for asked in reversed(ask(document))
    }
    found = known.get(_comparison_key(task))
    return _render_quoted_answer(found.sentence, found.answer) if found else None


def answer_as_reader(prompt: str, reader: Reader) -> str:
    """Return the reader's reply."""
    documents, question, _ = parse_prompt(prompt)
    if not documents:
        return CLOSED_BOOK_ANSWER
    reading = reader.read(question, documents)
    if reading.sentence is None or reading.answer is None:
        return ABSTENTION_ANSWER
    return _render_quoted_answer(reading.sentence, reading.answer)


def _number_questions(questions: Sequence[str]) -> str:
    return (
        "\n".join(f"{number}. {normalize(question)}" for number, question in enumerate(questions, start=1))
        or NOTHING_TO_ASK
    )


def _render_quoted_answer(sentence: str, answer: str) -> str:
    """Render an answer by the prompt contract.

    The prompt may come from a client that left the contract's delimiters in its documents: they are made harmless here.
    """
    quote = f"{BEGIN_QUOTE} {escape_delimiters(sentence)} {END_QUOTE}"
    return render_answer(
        f"One sentence of the documents holds what the question asks for: {quote} The answer is read from it.",
        escape_delimiters(normalize(answer)),
    )


def _comparison_key(question: str) -> str:
    return normalize(escape_delimiters(question)).casefold()
