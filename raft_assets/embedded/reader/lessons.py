"""What a training file teaches: its rows, read and checked, and for each the right sentence and spans.

A row that can't be used is counted under its reason; nothing is dropped silently.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.prompt_contract import parse_answer
from raft_assets.embedded.reader.passages import Analyst, Sentence
from raft_assets.embedded.reader.prompts import parse_prompt
from raft_assets.embedded.reader.ranking import Flags

LEAST_SPAN_F1 = 0.5  # an answer that is no exact span is taught by the span nearest to it, if it is this near
LEAST_QUOTE_F1 = 0.5  # a sentence this near to the quote is the quoted one

NOT_JSON, NO_CONVERSATION, NO_DOCUMENTS, NO_QUESTION, NO_ANSWER, QUOTE_NOT_FOUND, ANSWER_NOT_FOUND = (
    "not_json", "no_conversation", "no_documents", "no_question", "no_answer", "quote_not_found", "answer_not_found"
)  # fmt: skip
WEIGHT_ZERO = "weight_zero"  # the file asks that the answer is not trained on


@dataclass(frozen=True)
class TrainingRow:
    """A usable row. `answer` is None where abstaining is right."""

    question: str
    documents: tuple[str, ...]
    quotes: tuple[str, ...]
    answer: str | None


@dataclass(frozen=True)
class TrainingExample:
    """A row with its documents analysed.

    The answer, its place (document, sentence) and the flags of the sentence's right spans are None where abstaining is
    right.
    """

    question: str
    documents: list[list[Sentence]]
    answer: str | None
    place: tuple[int, int] | None
    right: Flags | None


@dataclass(frozen=True)
class TrainingExamples:
    """What a file teaches, and how many of its rows teach nothing, by reason."""

    lessons: list[TrainingExample]
    skipped: Counter[str]
    pieces: int  # length of all used rows in the encoder's pieces

    @property
    def answered(self) -> list[TrainingExample]:
        """Those with an answer."""
        return [lesson for lesson in self.lessons if lesson.place is not None]

    @property
    def abstaining(self) -> list[TrainingExample]:
        """Those where abstaining is right."""
        return [lesson for lesson in self.lessons if lesson.place is None]


NO_TRAINING_EXAMPLES = TrainingExamples([], Counter(), 0)


def read_training_examples(
    file: Path, analyst: Analyst, *, on_batch: Callable[[], None] = lambda: None
) -> TrainingExamples:
    """Read a chat or completion JSONL file. Raises DataError if it can't be read; single bad rows are counted."""
    skipped: Counter[str] = Counter()
    rows = list(_read_rows(file, skipped))
    texts = list(dict.fromkeys(text for row in rows for text in row.documents))
    analysed = dict(zip(texts, analyst.documents(texts, on_batch=on_batch), strict=True))
    lessons: list[TrainingExample] = []
    pieces = 0
    for row in rows:
        lesson = _lesson(row, [analysed[text] for text in row.documents])
        if isinstance(lesson, str):
            skipped[lesson] += 1
            continue
        lessons.append(lesson)
        pieces += sum(len(sentence.encoded.spans) for document in lesson.documents for sentence in document)
    return TrainingExamples(lessons, skipped, pieces)


def token_f1(one: str, other: str) -> float:
    """Return the F1 of the words of two texts, without case, punctuation and articles."""
    left, right = Counter(_comparable(one)), Counter(_comparable(other))
    common = sum((left & right).values())
    return 2 * common / (left.total() + right.total()) if common else 0.0


def _comparable(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in ("a", "an", "the")]


def _read_rows(file: Path, skipped: Counter[str]) -> Iterator[TrainingRow]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # JSON text may hold the other line separators
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The training file {file} cannot be read ({error}): write it as JSONL in UTF-8.") from error
    for line in filter(str.strip, lines):
        row = _row(line)
        if isinstance(row, str):
            skipped[row] += 1
        else:
            yield row


def _row(line: str) -> TrainingRow | str:
    """Return the row, or the reason why there is none."""
    try:
        data = json.loads(line)
    except ValueError:
        return NOT_JSON
    conversation = _conversation(data)
    if conversation is None or _has_weight_zero(data):
        return NO_CONVERSATION if conversation is None else WEIGHT_ZERO
    prompt, answer = parse_prompt(conversation[0]), parse_answer(conversation[1])
    if not any(text.strip() for text in prompt.documents):
        return NO_DOCUMENTS
    if not prompt.question:
        return NO_QUESTION
    if not answer.final_answer:
        return NO_ANSWER
    return TrainingRow(
        prompt.question, prompt.documents, answer.quotes, None if answer.abstained else answer.final_answer
    )


def _conversation(data: Any) -> tuple[str, str] | None:
    """Return (prompt, answer) of a completion row, or of the last user and assistant messages of a chat row."""
    if not isinstance(data, dict):
        return None
    texts: dict[str, Any] = {"user": data.get("prompt"), "assistant": data.get("completion")}
    messages = data.get("messages")
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        texts |= {str(message.get("role")): message.get("content") for message in messages}
    prompt, answer = texts["user"], texts["assistant"]
    return (prompt, answer) if isinstance(prompt, str) and isinstance(answer, str) else None


def _has_weight_zero(data: Any) -> bool:
    messages = data.get("messages")
    return isinstance(messages, list) and bool(messages) and messages[-1].get("weight") == 0


def _lesson(row: TrainingRow, documents: list[list[Sentence]]) -> TrainingExample | str:
    """Return the training example, or the reason why the row teaches nothing."""
    if row.answer is None:
        return TrainingExample(row.question, documents, None, None, None)
    place = _quoted_place(row.quotes or (row.answer,), row.answer, documents)
    if place is None:
        return QUOTE_NOT_FOUND
    right = _right_spans(documents[place[0]][place[1]], row.answer)
    return ANSWER_NOT_FOUND if right is None else TrainingExample(row.question, documents, row.answer, place, right)


def _quoted_place(
    quotes: Sequence[str], answer: str, documents: Sequence[Sequence[Sentence]]
) -> tuple[int, int] | None:
    """Return the sentence that is quoted and contains the answer, or the nearest to that."""
    best, best_likeness = None, LEAST_QUOTE_F1
    wanted = normalize(answer).casefold()
    for d, document in enumerate(documents):
        for s, sentence in enumerate(document):
            text = normalize(sentence.text).casefold()
            holds = wanted in text
            quoted = max(_quoted_share(normalize(quote).casefold(), text) for quote in quotes)
            if quoted + holds > best_likeness and quoted > 0:
                best, best_likeness = (d, s), quoted + holds
    return best


def _quoted_share(quote: str, text: str) -> float:
    return 1.0 if quote in text or text in quote else token_f1(quote, text)


def _right_spans(sentence: Sentence, answer: str) -> Flags | None:
    """Return which spans are the answer (spans,): exact ones, else the nearest, else None."""
    texts = [sentence.span_text(number) for number in range(len(sentence.spans))]
    wanted = normalize(answer).casefold()
    exact = np.array([normalize(text).casefold() == wanted for text in texts], bool)
    if exact.any():
        return exact
    likeness = np.array([token_f1(text, answer) for text in texts])
    if not texts or likeness.max() < LEAST_SPAN_F1:
        return None
    nearest = np.zeros(len(texts), bool)
    nearest[int(likeness.argmax())] = True
    return nearest
