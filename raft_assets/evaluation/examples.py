"""Answers worth reading side by side: which of them the report shows, and what is marked in them.

What belongs here: choosing and marking. Nothing is escaped here; the code that renders a segment does that.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from typing import Literal

import regex

from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.identity import normalize
from raft_assets.core.languages import SPACED_LETTER, spaced_words
from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, parse_answer
from raft_assets.core.tables import Chunk, ModelAnswer, QAPair, QuestionSource, RaftRow
from raft_assets.evaluation.metrics import comparison_score
from raft_assets.evaluation.verdict import PRIMARY_ARM, PRIMARY_METRIC

MAX_PER_GROUP = 4
NO_QUESTION = "(no question)"  # the title of a pair that has none
MAX_DOCUMENT_CHARACTERS = 1600  # shown of a document: about 250 words around what is marked in it
MAX_ANSWER_CHARACTERS = 1200

SpanMark = Literal["", "quote", "answer"]


@dataclass(frozen=True)
class Segment:
    """A part of a text and what it is."""

    text: str
    mark: SpanMark


@dataclass(frozen=True)
class Excerpt:
    """What is shown of a text, and how many of its characters are not."""

    segments: tuple[Segment, ...]
    left_out: int


@dataclass(frozen=True)
class DocumentView:
    """A document as the model saw it; quoted sentences and golden answers are marked."""

    excerpt: Excerpt
    is_oracle: bool


@dataclass(frozen=True)
class AnswerText:
    """An answer read by the prompt contract: reasoning with marked quotes, and the final answer, empty if untagged."""

    reasoning: Excerpt
    final_answer: Excerpt


@dataclass(frozen=True)
class AnswerView:
    """A model's answer. `value` is its primary metric, from 0 to 1."""

    text: AnswerText
    value: float
    status: str
    well_formed: bool


@dataclass(frozen=True)
class Sample:
    """A row of the dataset or a QA pair, with its documents."""

    title: str
    note: str
    documents: tuple[DocumentView, ...]
    text: AnswerText


@dataclass(frozen=True)
class Example:
    """A question with both models' answers. Without golden answers abstaining is right."""

    question: str
    arm: str
    golden_answers: tuple[str, ...]
    documents: tuple[DocumentView, ...]
    baseline: AnswerView
    student: AnswerView


@dataclass(frozen=True)
class Group:
    """Examples that are shown for the same reason."""

    title: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class AnswerPair:
    """Both answers to a question under an arm with their primary metric, a share of one."""

    baseline: ModelAnswer
    student: ModelAnswer
    before: float
    after: float

    @property
    def change(self) -> float:
        """How much the student gained, negative where it lost."""
        return self.after - self.before


def choose_examples(answers: Iterable[ModelAnswer], source: QuestionSource) -> list[Group]:
    """Choose the examples of a slice: the largest changes both ways, what both got wrong or right, and inventions.

    No question is chosen twice, whatever its arm and id.
    """
    pairs = list(pair_answers(row for row in answers if row.source == source))
    main = [pair for pair in pairs if pair.student.arm == PRIMARY_ARM]
    same = [pair for pair in main if pair.change == 0]
    chosen = {
        "Where the student gained most": _order([pair for pair in main if pair.change > 0], lambda pair: -pair.change),
        "Where the student lost most": _order([pair for pair in main if pair.change < 0], lambda pair: pair.change),
        "Where the answers changed most and the score did not": _order(
            [pair for pair in same if pair.baseline.final_answer != pair.student.final_answer],
            lambda pair: _word_overlap(pair.baseline.final_answer, pair.student.final_answer),
        ),
        "Where both were partly wrong": _order([pair for pair in same if pair.after < 1], lambda pair: pair.after),
        "Where both were right": _order([pair for pair in same if pair.after == 1], lambda pair: -pair.after),
        "Where the student answered and should have abstained": _order(
            [pair for pair in pairs if _should_have_abstained(pair.student)], lambda pair: -pair.before
        ),
    }
    shown = set[str]()
    groups = []
    for title, found in chosen.items():
        first = list(islice(_unseen(found, shown), MAX_PER_GROUP))
        groups += [Group(title, tuple(map(_build_example, first)))] * bool(first)
    return groups


def question_key(question: str) -> str:
    """Return what two spellings of one question have in common."""
    return normalize(question).casefold()


def sample_of_row(row: RaftRow) -> Sample:
    """Return a finished row as the student learns it."""
    return Sample(
        title=row.question,
        note=f"{row.split}, {row.kind}, {row.path}",
        documents=tuple(
            _document_view(
                text, parse_answer(row.answer).quotes, [row.final_answer], is_oracle=place == row.oracle_index
            )
            for place, text in enumerate(row.documents)
        ),
        text=split_answer(row.answer),
    )


def sample_of_pair(pair: QAPair, chunk: Chunk | None, *, part: str = "") -> Sample:
    """Return a QA pair with the passage it was made from, or without it where the chunk is None.

    `part` is what the numbered parts of its document are called: page or section; empty: no number is shown.
    """
    place = f", {part} {chunk.page_from}" if chunk and part and chunk.kind == "prose" else ""
    shown = [] if chunk is None else [_document_view(chunk.passage, pair.quotes, [pair.final_answer], is_oracle=True)]
    return Sample(pair.question or NO_QUESTION, f"{pair.path}{place}", tuple(shown), split_answer(pair.answer))


def split_answer(text: str) -> AnswerText:
    """Split an answer into its parts; if it isn't well-formed, into those that can be recognized. No text is lost."""
    parsed = parse_answer(text)
    pieces: list[Segment] = []
    for piece in re.split(f"({BEGIN_QUOTE}.*?{END_QUOTE})", parsed.reasoning, flags=re.DOTALL):
        is_quote = piece.startswith(BEGIN_QUOTE) and piece.endswith(END_QUOTE)
        shown = piece.removeprefix(BEGIN_QUOTE).removesuffix(END_QUOTE).strip() if is_quote else piece
        pieces += [Segment(shown, "quote" if is_quote else "")] * bool(shown)
    final = (Segment(parsed.final_answer, "answer"),) if parsed.final_answer else ()
    return AnswerText(make_excerpt(pieces, MAX_ANSWER_CHARACTERS), make_excerpt(final, MAX_ANSWER_CHARACTERS))


def make_excerpt(segments: Sequence[Segment], most: int) -> Excerpt:
    """Cut the segments to at most `most` characters, beginning a little before the first mark."""
    total = sum(len(segment.text) for segment in segments)
    if total <= most:
        return Excerpt(tuple(segments), 0)
    starts = list(accumulate((len(segment.text) for segment in segments), initial=0))
    first = next((start for start, segment in zip(starts, segments, strict=False) if segment.mark), 0)
    low = max(0, min(first - most // 4, total - most))
    kept = [
        Segment(segment.text[max(0, low - start) : max(0, low + most - start)], segment.mark)
        for start, segment in zip(starts, segments, strict=False)
    ]
    return Excerpt(tuple(segment for segment in kept if segment.text), total - most)


def mark_spans(text: str, *, quotes: Iterable[str], answers: Iterable[str]) -> tuple[Segment, ...]:
    """Split the text into segments; quotes and answers match whatever the white space, answers only as whole words."""
    marks: list[SpanMark] = [""] * len(text)
    for mark, pattern in _patterns(quotes, answers):
        for found in pattern.finditer(text):
            marks[found.start() : found.end()] = [mark] * (found.end() - found.start())
    runs = groupby(range(len(text)), key=marks.__getitem__)
    return tuple(Segment("".join(text[position] for position in positions), mark) for mark, positions in runs)


def pair_answers(answers: Iterable[ModelAnswer]) -> Iterator[AnswerPair]:
    """Yield both models' answers to every question under every arm, in their order."""
    both: dict[tuple[str, str, str], dict[str, ModelAnswer]] = {}
    for answer in answers:
        both.setdefault((answer.source, answer.arm, answer.question_id), {})[answer.evaluated] = answer
    for pair in both.values():
        yield AnswerPair(
            pair["baseline"], pair["student"], _primary_score(pair["baseline"]), _primary_score(pair["student"])
        )


def _primary_score(answer: ModelAnswer) -> float:
    return comparison_score(answer, PRIMARY_METRIC)


def _order(pairs: Iterable[AnswerPair], weight: Callable[[AnswerPair], float]) -> list[AnswerPair]:
    return sorted(pairs, key=lambda pair: (weight(pair), pair.student.arm, pair.student.question_id))


def _unseen(pairs: Iterable[AnswerPair], shown: set[str]) -> Iterator[AnswerPair]:
    """Yield the pairs whose question was not shown yet, and add it to those that were."""
    for pair in pairs:
        key = question_key(pair.student.question)
        if key not in shown:
            shown.add(key)
            yield pair


def _should_have_abstained(answer: ModelAnswer) -> bool:
    return answer.status == "ok" and not answer.answerable and not answer.abstained


def _build_example(pair: AnswerPair) -> Example:
    asked = pair.student
    quotes = [*pair.baseline.quotes, *pair.student.quotes]
    return Example(
        question=asked.question,
        arm=asked.arm,
        golden_answers=tuple(asked.golden_answers),
        documents=tuple(
            _document_view(text, quotes, asked.golden_answers, is_oracle=chunk in asked.oracle_chunk_ids)
            for text, chunk in zip(asked.documents, asked.document_chunk_ids, strict=True)
        ),
        baseline=_answer_view(pair.baseline, pair.before),
        student=_answer_view(pair.student, pair.after),
    )


def _answer_view(answer: ModelAnswer, value: float) -> AnswerView:
    return AnswerView(split_answer(answer.answer), value, answer.status, answer.well_formed)


def _document_view(text: str, quotes: Iterable[str], answers: Iterable[str], *, is_oracle: bool) -> DocumentView:
    segments = mark_spans(escape_delimiters(text), quotes=map(escape_delimiters, quotes), answers=answers)
    return DocumentView(make_excerpt(segments, MAX_DOCUMENT_CHARACTERS), is_oracle)


def _word_overlap(one: str, other: str) -> float:
    """Return the share of words that two texts have in common."""
    left, right = set(spaced_words(one.casefold())), set(spaced_words(other.casefold()))
    return len(left & right) / max(len(left | right), 1)


def _patterns(quotes: Iterable[str], answers: Iterable[str]) -> Iterator[tuple[SpanMark, regex.Pattern[str]]]:
    for quote in quotes:
        if words := quote.split():
            yield "quote", regex.compile(_whitespace_pattern(words))
    for answer in answers:
        if words := answer.split():
            whole = rf"(?<!{SPACED_LETTER}){_whitespace_pattern(words)}(?!{SPACED_LETTER}|\p{{M}})"
            yield "answer", regex.compile(whole, regex.IGNORECASE)


def _whitespace_pattern(words: Iterable[str]) -> str:
    return r"\s+".join(map(re.escape, words))
