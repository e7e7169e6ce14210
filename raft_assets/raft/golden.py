"""Golden questions: what a person wrote in `questions.jsonl`, and the chunks that hold its evidence.

A question is used for evaluation only. Its evidence, verbatim strings of a document, leads to its oracle chunks.
"""

import bisect
import itertools
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from raft_assets.errors import DataError
from raft_assets.raft.reading import ReadDocument
from raft_assets.raft.tables import Chunk, GoldenQuestion

GOLDEN_VERSION = "1"  # changes whenever the same questions and chunks resolve differently

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class WrittenQuestion(BaseModel):
    """A line of `questions.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    question: Text
    answers: tuple[Text, ...] = ()
    answerable: bool = True
    document: str | None = None  # path relative to the domain
    evidence: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _answers_fit(self) -> "WrittenQuestion":
        if self.answerable and not self.answers:
            raise ValueError("an answerable question needs at least one entry in answers")
        if not self.answerable and (self.answers or self.evidence):
            raise ValueError("an unanswerable question has no answers and no evidence")
        return self


def parse_questions(file: Path) -> list[WrittenQuestion]:
    """The questions of a domain in order; none where there is no file. Raises DataError with file, line and field."""
    if not file.is_file():
        return []
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    questions: list[WrittenQuestion] = []
    line_of_id: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        question = _parse_line(line, f"{file}, line {number}")
        if question.id in line_of_id:
            first = line_of_id[question.id]
            raise DataError(
                f"{file}, line {number}: the id {question.id!r} stands in line {first} already: give it another."
            )
        line_of_id[question.id] = number
        questions.append(question)
    return questions


def resolve_golden(
    questions: Iterable[WrittenQuestion], documents: Iterable[ReadDocument], chunks: Iterable[Chunk]
) -> list[GoldenQuestion]:
    """The questions with the chunks that hold their evidence; every occurrence of it counts."""
    chunks_of: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        chunks_of[chunk.path].append(chunk)
    searchable = {document.path: _Searchable(document.document_text) for document in documents}
    return [_resolve(question, searchable, chunks_of) for question in questions]


def _parse_line(line: str, where: str) -> WrittenQuestion:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is no JSON ({error}): mend that line.") from error
    try:
        return WrittenQuestion.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{where}{f', field {field}' if field else ''}: {problem['msg']}; mend that line.") from error


def _resolve(
    question: WrittenQuestion, searchable: dict[str, "_Searchable"], chunks_of: dict[str, list[Chunk]]
) -> GoldenQuestion:
    path = unicodedata.normalize("NFC", question.document or "")
    places = {path: searchable[path]} if path in searchable else {} if path else searchable
    missing = False
    oracles: dict[str, None] = {}  # a set that keeps its order
    for evidence in question.evidence:
        found = [(where, span) for where, text in places.items() for span in text.find(evidence)]
        missing = missing or not found
        oracles |= {chunk.chunk_id: None for where, span in found for chunk in _overlapping(chunks_of[where], span)}
    if not question.answerable:
        status = "unanswerable"
    elif not question.evidence:
        status = "no_evidence"
    else:
        status = "evidence_not_found" if missing or not oracles else "resolved"
    return GoldenQuestion(
        question_id=question.id,
        question=question.question,
        answers=list(question.answers),
        answerable=question.answerable,
        path=path,
        oracle_chunk_ids=list(oracles),
        status=status,
    )


def _overlapping(chunks: Sequence[Chunk], span: tuple[int, int]) -> Iterator[Chunk]:
    start, end = span
    return (chunk for chunk in chunks if chunk.start < end and chunk.end > start)


# white space, hyphens and the marks of Markdown: what reading a file may add, drop or break a line at
_IGNORED = r"\s\-\u00ad\u2010\u2011#*_`|>\u2022"
_KEPT = re.compile(f"[^{_IGNORED}]+")
_QUOTES = str.maketrans("‘’‚“”„«»–—", '\'\'\'"""""--')


class _Searchable:
    """A text in which strings are found whatever its white space, hyphens, quotation marks and Markdown."""

    def __init__(self, text: str) -> None:
        self._text = text
        runs = list(_KEPT.finditer(text.translate(_QUOTES).replace("-", " ")))
        lengths = [len(run[0]) for run in runs]
        self._originals = [run.start() for run in runs]
        self._squeezed_starts = list(itertools.accumulate(lengths, initial=0))[:-1]
        self._squeezed = "".join(run[0] for run in runs)

    def find(self, wanted: str) -> Iterator[tuple[int, int]]:
        """Every occurrence that begins and ends at the edge of a word, as a span of the text."""
        needle = "".join(_KEPT.findall(unicodedata.normalize("NFC", wanted).translate(_QUOTES).replace("-", " ")))
        at = self._squeezed.find(needle) if needle else -1
        while at >= 0:
            start, end = self._original(at), self._original(at + len(needle) - 1) + 1
            if not self._inside_word(start) and not self._inside_word(end):
                yield start, end
            at = self._squeezed.find(needle, at + 1)

    def _original(self, squeezed: int) -> int:
        run = bisect.bisect_right(self._squeezed_starts, squeezed) - 1
        return self._originals[run] + squeezed - self._squeezed_starts[run]

    def _inside_word(self, at: int) -> bool:
        return 0 < at < len(self._text) and self._text[at - 1].isalnum() and self._text[at].isalnum()
