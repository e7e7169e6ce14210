"""Golden questions: what a person wrote in `questions.jsonl`, and the chunks that contain its evidence.

A question is used for evaluation only. Its evidence, verbatim strings of a document, identifies its oracle chunks.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, model_validator

from raft_assets.core.errors import DataError
from raft_assets.core.jsonl import NonEmptyText, read_jsonl
from raft_assets.core.tables import Chunk, GoldenQuestion
from raft_assets.core.text_search import SearchableText
from raft_assets.documents.reading import ReadDocument

GOLDEN_VERSION = "1"  # changes whenever the same questions and chunks resolve differently


class GoldenQuestionInput(BaseModel):
    """A line of `questions.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: NonEmptyText
    question: NonEmptyText
    answers: tuple[NonEmptyText, ...] = ()
    answerable: bool = True
    document: str | None = None  # path relative to the domain
    evidence: tuple[NonEmptyText, ...] = ()

    @model_validator(mode="after")
    def _answers_fit(self) -> "GoldenQuestionInput":
        if self.answerable and not self.answers:
            raise ValueError("an answerable question needs at least one entry in answers")
        if not self.answerable and (self.answers or self.evidence):
            raise ValueError("an unanswerable question has no answers and no evidence")
        return self


def read_golden_questions(file: Path) -> list[GoldenQuestionInput]:
    """Return the questions of a domain in order; none if there is no file.

    Raises DataError with file, line and field.
    """
    questions: list[GoldenQuestionInput] = []
    line_of_id: dict[str, int] = {}
    for number, question in read_jsonl(file, GoldenQuestionInput):
        if question.id in line_of_id:
            first = line_of_id[question.id]
            raise DataError(
                f"{file}, line {number}: the id {question.id!r} is already used in line {first}: choose another."
            )
        line_of_id[question.id] = number
        questions.append(question)
    return questions


def resolve_golden_questions(
    questions: Iterable[GoldenQuestionInput],
    documents: Iterable[ReadDocument],
    chunks: Iterable[Chunk],
    *,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> list[GoldenQuestion]:
    """Return the questions with the chunks that contain their evidence; every occurrence of it counts.

    `renamed`: the present path by the former one, for questions that name a document as it was called before.
    """
    chunks_of: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        chunks_of[chunk.path].append(chunk)
    searchable = {document.path: SearchableText(document.document_text) for document in documents}
    present = {old: path for old, path in renamed.items() if old not in searchable}
    return [_resolve(question, searchable, chunks_of, present) for question in questions]


def _resolve(
    question: GoldenQuestionInput,
    searchable: dict[str, SearchableText],
    chunks_of: dict[str, list[Chunk]],
    renamed: Mapping[str, str],
) -> GoldenQuestion:
    path = unicodedata.normalize("NFC", question.document or "")
    path = renamed.get(path, path)
    places = {path: searchable[path]} if path in searchable else {} if path else searchable
    missing = False
    oracles: dict[str, None] = {}  # a set that keeps its order
    for evidence in question.evidence:
        matches = [(where, span) for where, text in places.items() for span in text.find(evidence)]
        missing = missing or not matches
        oracles |= {
            chunk.chunk_id: None for where, span in matches for chunk in _chunks_overlapping(chunks_of[where], span)
        }
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


def _chunks_overlapping(chunks: Sequence[Chunk], span: tuple[int, int]) -> Iterator[Chunk]:
    start, end = span
    return (chunk for chunk in chunks if chunk.start < end and chunk.end > start)
