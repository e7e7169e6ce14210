"""The sheet in which people write golden questions: a passage a row, and what they wrote beside it.

What belongs here: columns, the draw of passages, and what makes a row a question. Files and cells are `core/sheets`.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw, short_digest
from raft_assets.core.sentences import split_sentences
from raft_assets.core.sheets import CSV, XLSX, read_csv, read_xlsx, write_csv, write_xlsx
from raft_assets.core.similarity import content_words, letters, words
from raft_assets.core.tables import Chunk
from raft_assets.core.text_search import LooseText, SearchableText
from raft_assets.dataset.golden import GoldenQuestionInput
from raft_assets.documents.reading import ReadDocument

COLUMNS = ("document", "place", "passage", "question", "answer", "evidence")
SUGGESTED = ("suggested_question", "suggested_answer", "suggested_evidence")
REQUIRED = ("question", "answer", "evidence")
SEPARATOR = "|"  # between several right answers, and between several strings of evidence
SEED = 0  # of the draw of passages
MIN_PASSAGE_WORDS = 25  # a heading, a line of a table of contents: nobody asks about them
MIN_ALIKE = 0.4  # share of the words of evidence that the nearest sentence must have to be shown
LOOSE_TEXTS = 16  # documents whose folded letters are in memory
_NO = frozenset({"no", "n", "false", "0"})


@dataclass(frozen=True)
class Suggestion:
    """What the teacher would ask about a passage; empty where nothing usable came."""

    question: str
    answer: str
    evidence: str


@dataclass(frozen=True)
class SheetRow:
    """A row that came back; `number` as the spreadsheet counts it, the head being row 1."""

    number: int
    document: str
    question: str
    answer: str
    evidence: str
    suggested_question: str
    answerable: bool

    @property
    def is_empty(self) -> bool:
        """Whether nobody wrote anything into it."""
        return not (self.question or self.answer or self.evidence)


class RowRefusedError(Exception):
    """A row can't be a golden question; the message says why and what to do."""


def draw_passages(chunks: Iterable[Chunk], covered: Collection[str], count: int) -> list[Chunk]:
    """Return `count` uncovered passages to ask about, drawn over all documents, or fewer if there are no more.

    A document has its second passage only when every other has its first. Passages stay in the draw when others are
    covered. Short ones are left out.
    """
    of_document = defaultdict[str, list[Chunk]](list)
    for chunk in chunks:
        if chunk.chunk_id not in covered and len(words(chunk.text)) >= MIN_PASSAGE_WORDS:
            of_document[chunk.doc_id].append(chunk)
    ranked = [
        (place, draw(SEED, document, "sheet"), chunk)
        for document, found in of_document.items()
        for place, chunk in enumerate(sorted(found, key=lambda chunk: draw(SEED, chunk.chunk_id, "sheet")))
    ]
    ranked.sort(key=lambda entry: (entry[0], entry[1], entry[2].chunk_id))
    return [chunk for _, _, chunk in ranked[:count]]


def check_target(file: Path) -> None:
    """Raise DataError for a sheet that is there already, or of a kind that isn't written."""
    if file.suffix not in (CSV, XLSX):
        raise DataError(f"{file} must end in .csv or .xlsx.")
    if file.exists():
        raise DataError(f"{file} is there already and may hold somebody's questions: name another file with --to.")


def write_question_sheet(
    file: Path, passages: Sequence[Chunk], places: Mapping[str, str], suggestions: Mapping[str, Suggestion] | None
) -> None:
    """Write a row per passage with empty cells for question, answer and evidence.

    `places`: chunk id to its pages or sections in words. `suggestions`: by chunk id, in columns of their own.
    """
    rows = []
    for chunk in passages:
        row = {"document": chunk.path, "place": places[chunk.chunk_id], "passage": chunk.passage}
        row |= dict.fromkeys(REQUIRED, "")
        if suggestions is not None:
            made = suggestions.get(chunk.chunk_id, Suggestion("", "", ""))
            row |= dict(zip(SUGGESTED, (made.question, made.answer, made.evidence), strict=True))
        rows.append(row)
    columns = COLUMNS if suggestions is None else (*COLUMNS, *SUGGESTED)
    (write_xlsx if file.suffix == XLSX else write_csv)(file, columns, rows)


def read_question_sheet(file: Path) -> list[SheetRow]:
    """Return the rows of a sheet. Raises DataError where it can't be read or has none of the columns."""
    if file.suffix not in (CSV, XLSX):
        raise DataError(f"{file} must end in .csv or .xlsx.")
    rows = (read_xlsx if file.suffix == XLSX else read_csv)(file, REQUIRED)
    return [_to_row(number, row) for number, row in enumerate(rows, start=2)]


def _to_row(number: int, row: Mapping[str, str]) -> SheetRow:
    told = {name: value.strip() for name, value in row.items() if name}
    return SheetRow(
        number,
        document=told.get("document", ""),
        question=" ".join(told.get("question", "").split()),
        answer=told.get("answer", ""),
        evidence=told.get("evidence", ""),
        suggested_question=told.get("suggested_question", ""),
        answerable=told.get("answerable", "").casefold() not in _NO,
    )


class QuestionChecker:
    """Makes golden questions of rows, with the evidence as it stands in the document.

    `places`: chunk id to its pages or sections in words. `renamed`: the present path of a document by a former one.
    """

    def __init__(
        self,
        documents: Sequence[ReadDocument],
        chunks: Sequence[Chunk],
        places: Mapping[str, str],
        renamed: Mapping[str, str],
    ) -> None:
        self._texts = {document.path: document.document_text for document in documents}
        self._chunks, self._places = chunks, places
        self._renamed = renamed
        self._exact = dict[str, SearchableText]()
        # made here: the cache of a decorated method would keep every text alive
        self._loose = lru_cache(LOOSE_TEXTS)(lambda path: LooseText(self._texts[path]))

    def to_question(self, row: SheetRow) -> tuple[GoldenQuestionInput, str]:
        """Return the question of a row, and a note where its evidence was written otherwise than in the document.

        Raises RowRefusedError.
        """
        if not row.question:
            raise RowRefusedError("there is an answer or evidence, and no question")
        if row.suggested_question and letters(row.question) == letters(row.suggested_question):
            raise RowRefusedError(
                "the question is the teacher's suggestion as it was: a golden question is a person's, so ask it in "
                "your own words"
            )
        path = unicodedata.normalize("NFC", row.document)
        row = replace(row, document=path if path in self._texts else self._renamed.get(path, path))
        if row.document and row.document not in self._texts:
            raise RowRefusedError(f"there is no document {row.document}: leave the column as the sheet had it")
        name = f"q-{short_digest('golden', row.document, letters(row.question))[:12]}"
        if not row.answerable:
            if row.answer or row.evidence:
                raise RowRefusedError("answerable is no, and yet there is an answer or evidence: empty them")
            return GoldenQuestionInput(id=name, question=row.question, answerable=False), ""
        answers = _parts(row.answer)
        if not answers:
            raise RowRefusedError(
                "there is no answer: write it as short as you expect it, or no into a column answerable where the "
                "documents don't hold it"
            )
        if not row.evidence:
            raise RowRefusedError("there is no evidence: copy the sentence of the passage that holds the answer")
        path, evidence, note = self._find_evidence(row)
        made = GoldenQuestionInput(id=name, question=row.question, answers=answers, document=path, evidence=evidence)
        return made, note

    def _find_evidence(self, row: SheetRow) -> tuple[str, tuple[str, ...], str]:
        """Return the document and its own words for the evidence; the cell as a whole first, then its parts."""
        parts = _parts(row.evidence)
        for wanted in ((row.evidence,), parts) if len(parts) > 1 else (parts,):
            found = [self._find(one, row.document) for one in wanted]
            if all(found) and len({path for path, _, _ in filter(None, found)}) == 1:
                kept = [place for place in found if place]
                changed = [f"“{text}”" for _, text, is_changed in kept if is_changed]
                note = f"evidence taken as it stands in {kept[0][0]}: {', '.join(changed)}" if changed else ""
                return kept[0][0], tuple(text for _, text, _ in kept), note
        missing = next((one for one in parts if not self._find(one, row.document)), row.evidence)
        raise RowRefusedError(self._describe_missing(missing, row.document))

    def _find(self, evidence: str, document: str) -> tuple[str, str, bool] | None:
        """Return the document that holds a string, its words there, and whether they are written otherwise."""
        paths = [document] if document else list(self._texts)
        if path := self._find_exact(evidence, paths):
            return path, " ".join(evidence.split()), False
        for path in paths:
            if span := self._loose(path).find(evidence):
                return path, " ".join(self._texts[path][slice(*span)].split()), True
        return None

    def _find_exact(self, evidence: str, paths: Iterable[str]) -> str:
        """Return the first of the documents that holds a string as `golden_questions` finds it; empty if none does."""
        for path in paths:
            if path not in self._exact:
                self._exact[path] = SearchableText(self._texts[path])
            if next(self._exact[path].find(evidence), None):
                return path
        return ""

    def _describe_missing(self, evidence: str, document: str) -> str:
        where = document or "any document"
        if document and (elsewhere := self._find_exact(evidence, self._texts)):
            return f"the evidence is not in {document}, but in {elsewhere}: change the column document"
        nearest = _nearest_sentence(evidence, [one for one in self._chunks if not document or one.path == document])
        if nearest is None:
            return f"the evidence is not in {where}, and no sentence is like it: copy it from the passage"
        chunk, sentence = nearest
        place = ", ".join(filter(None, (chunk.path, self._places.get(chunk.chunk_id, ""))))
        return f"the evidence is not in {where}. Nearest: “{sentence}” ({place}); copy it from there"


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(SEPARATOR) if part.strip())


def _nearest_sentence(evidence: str, chunks: Iterable[Chunk]) -> tuple[Chunk, str] | None:
    """Return the sentence that has most of the words of the evidence, with its chunk; None where none has many."""
    wanted = frozenset(content_words(evidence)) or frozenset(words(evidence))
    if not wanted:
        return None

    def share(text: str) -> float:
        return len(wanted.intersection(words(text))) / len(wanted)

    best = max(chunks, key=lambda chunk: share(chunk.text), default=None)
    if best is None or share(best.text) < MIN_ALIKE:
        return None
    sentence = max(split_sentences(best.text, best.language), key=share, default=best.text)
    return best, " ".join(sentence.split())
