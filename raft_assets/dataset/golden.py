"""Golden questions: what a person wrote in `questions.jsonl`, and the chunks that contain its evidence.

A question is used for evaluation only. Its evidence, verbatim strings of a document, identifies its oracle chunks.
"""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, model_validator

from raft_assets.core.atomic import write_bytes
from raft_assets.core.errors import DataError
from raft_assets.core.jsonl import NonEmptyText, read_jsonl
from raft_assets.core.language_detection import detect_language
from raft_assets.core.languages import script_words
from raft_assets.core.similarity import content_words, letters
from raft_assets.core.tables import Chunk, GoldenQuestion
from raft_assets.core.text_search import SearchableText
from raft_assets.documents.reading import ReadDocument

MAX_PLACES = 3  # chunks that hold one string of evidence and are all held out; "1931" may be in hundreds
MAX_PLACES_NAMED = 10
MAX_QUOTED_CHARACTERS = 80
MIN_SAME_WORDS = 0.7  # Jaccard similarity of the content words of two questions that ask nearly the same
GOLDEN_VERSION = "2"  # changes whenever the same questions and chunks resolve differently


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


def append_golden_questions(file: Path, questions: Iterable[GoldenQuestionInput]) -> None:
    """Write questions below those that are there, whose lines stay as they are. A reader sees all of them or none."""
    before = file.read_bytes() if file.exists() else b""
    shown = (question.model_dump(mode="json", exclude_defaults=True) for question in questions)
    lines = [json.dumps(question, ensure_ascii=False) + "\n" for question in shown]
    joint = b"\n" if before and not before.endswith(b"\n") else b""
    write_bytes(file, before + joint + "".join(lines).encode())


def resolve_golden_questions(
    questions: Collection[GoldenQuestionInput],
    documents: Iterable[ReadDocument],
    chunks: Iterable[Chunk],
    *,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> list[GoldenQuestion]:
    """Return the questions with the chunks that contain their evidence; every occurrence of it counts.

    Occurrences outside the document that a question names are no oracles, and are held out of training like these.
    Evidence in more than `MAX_PLACES` chunks says too little to hold them all out: then the named document's count, and
    without one the question's evidence is refused. `renamed`: the present path by the former one, for questions that
    name a document as it was called before.
    """
    if not questions:
        return []
    chunks_of: dict[str, list[Chunk]] = defaultdict(list)
    language_of: dict[str, str] = {}
    for chunk in chunks:
        chunks_of[chunk.path].append(chunk)
        language_of[chunk.chunk_id] = chunk.language
    searchable = {document.path: SearchableText(document.document_text) for document in documents}
    present = {old: path for old, path in renamed.items() if old not in searchable}
    resolved = [_resolve(question, searchable, chunks_of, present) for question in questions]
    spoken = [language for language, _ in Counter(language_of.values()).most_common() if language]
    return [
        question.model_copy(update={"language": _language_of(question, language_of, spoken)}) for question in resolved
    ]


def _language_of(question: GoldenQuestion, language_of: Mapping[str, str], spoken: Sequence[str]) -> str:
    """Return the language of a question: of its oracle, else which of the domain's it is in; empty if none is told.

    `spoken`: the domain's languages, the most frequent first.
    """
    if question.oracle_chunk_ids:
        return language_of[question.oracle_chunk_ids[0]]
    found = detect_language(question.question, spoken) if len(spoken) > 1 else ""
    return found or next(iter(spoken), "")


def _resolve(
    question: GoldenQuestionInput,
    searchable: dict[str, SearchableText],
    chunks_of: dict[str, list[Chunk]],
    renamed: Mapping[str, str],
) -> GoldenQuestion:
    path = unicodedata.normalize("NFC", question.document or "")
    path = renamed.get(path, path)
    status = "resolved" if question.evidence else "no_evidence"
    detail = ""
    oracles: dict[str, None] = {}  # sets that keep their order
    others: dict[str, None] = {}
    for evidence in question.evidence:
        places = _places_of(evidence, searchable, chunks_of)
        is_common = len(places) > MAX_PLACES
        named = [chunk for chunk in places if chunk.path == path or not path]
        if not named:
            status, detail = "evidence_not_found", f"{_quote(evidence)} is not in {path or 'any document'}."
        elif is_common and not path:
            status, detail = "evidence_in_many_places", _describe_places(evidence, places)
        else:
            oracles |= {chunk.chunk_id: None for chunk in named}
            others |= {} if is_common else {chunk.chunk_id: None for chunk in places}
    return GoldenQuestion(
        question_id=question.id,
        question=question.question,
        answers=list(question.answers),
        answerable=question.answerable,
        path=path,
        oracle_chunk_ids=list(oracles),
        status=status if question.answerable else "unanswerable",
        other_chunk_ids=[chunk_id for chunk_id in others if chunk_id not in oracles],
        detail=detail,
    )


def _places_of(evidence: str, searchable: dict[str, SearchableText], chunks_of: dict[str, list[Chunk]]) -> list[Chunk]:
    """Return the chunks that hold a string, by document."""
    found = {
        chunk.chunk_id: chunk
        for path, text in searchable.items()
        for span in text.find(evidence)
        for chunk in _chunks_overlapping(chunks_of[path], span)
    }
    return list(found.values())


def _describe_places(evidence: str, places: Sequence[Chunk]) -> str:
    """Return a sentence about evidence that is in too many places, with the documents and what to do."""
    counts = Counter(chunk.path for chunk in places).most_common()
    listed = ", ".join(f"{path} ({count})" for path, count in counts[:MAX_PLACES_NAMED])
    more = f" and {len(counts) - MAX_PLACES_NAMED} more" if len(counts) > MAX_PLACES_NAMED else ""
    return (
        f"{_quote(evidence)} is in {len(places)} chunks: {listed}{more}. Name the question's document, or quote more "
        "of the sentence."
    )


def _quote(evidence: str) -> str:
    text = " ".join(evidence.split())
    return repr(text if len(text) <= MAX_QUOTED_CHARACTERS else text[:MAX_QUOTED_CHARACTERS] + "...")


def _chunks_overlapping(chunks: Sequence[Chunk], span: tuple[int, int]) -> Iterator[Chunk]:
    start, end = span
    return (chunk for chunk in chunks if chunk.start < end and chunk.end > start)


def golden_chunk_ids(golden: Iterable[GoldenQuestion]) -> frozenset[str]:
    """Return the chunks that contain the evidence of golden questions, wherever in the domain."""
    return frozenset(
        chunk_id for question in golden for chunk_id in (*question.oracle_chunk_ids, *question.other_chunk_ids)
    )


class GoldenWords:
    """The words of golden questions, to find generated ones that ask the same, or nearly the same."""

    def __init__(self, golden: Iterable[GoldenQuestion]) -> None:
        self._exact: set[str] = set()
        self._near: dict[str, list[frozenset[str]]] = defaultdict(list)  # a chunk to the questions about it
        for question in golden:
            self._exact.add(letters(question.question))
            for chunk_id in golden_chunk_ids([question]):
                self._near[chunk_id].append(_content(question.question))

    def have(self, question: str, chunk_id: str) -> bool:
        """Return whether one of them asks the same, or about the same chunk nearly the same in any order of words."""
        if letters(question) in self._exact:
            return True
        content, near = _content(question), self._near.get(chunk_id, ())
        return any(len(content & other) >= MIN_SAME_WORDS * len(content | other) for other in near)


def _content(question: str) -> frozenset[str]:
    words = script_words(unicodedata.normalize("NFKC", question).casefold())
    return frozenset(content_words(" ".join(words))) or frozenset(words)
