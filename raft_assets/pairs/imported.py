"""Question pairs that another tool made: `pairs.jsonl` of a domain, and the chunks that are their oracles.

They become drafts in addition to the teacher's and pass every gate. Making the file from a dataset belongs in
`dataset/import_raft_py`.
"""

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from raft_assets.core.identity import normalize
from raft_assets.core.jsonl import NonEmptyText, read_jsonl
from raft_assets.core.prompt_contract import is_verbatim_quote, parse_answer
from raft_assets.core.tables import Chunk
from raft_assets.core.text_search import SearchableText
from raft_assets.llm.thoughts import strip_stop_tokens, strip_thoughts
from raft_assets.pairs.questions import Draft
from raft_assets.settings.domains import PAIRS_FILE


class ImportedPair(BaseModel):
    """A line of `pairs.jsonl`: a question, its chain-of-thought answer, and the text that contains it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: NonEmptyText
    answer: str
    oracle: NonEmptyText


def read_imported_pairs(file: Path) -> list[ImportedPair]:
    """Return the pairs of a domain in order; none if there is no file.

    Raises DataError with file, line and field.
    """
    return [pair for _, pair in read_jsonl(file, ImportedPair)]


def imported_drafts(pairs: Iterable[ImportedPair], chunks: Iterable[Chunk]) -> Iterator[Draft]:
    """Yield the pairs as drafts of the chunk that contains their oracle; without one the draft's chunk has no id.

    The oracle chunk is the one with the same text, else the one with most of the pair's quotes, then most of the
    oracle. Thoughts that another tool left in an answer are no part of it.
    """
    chunk_of_text: dict[str, Chunk] = {}
    chunks_of: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        chunk_of_text.setdefault(normalize(chunk.passage), chunk)
        chunks_of[chunk.doc_id].append(chunk)
    documents = cache(
        lambda: [_ChunkedDocument(sorted(chunks, key=lambda chunk: chunk.start)) for chunks in chunks_of.values()]
    )

    @cache
    def places(oracle: str) -> list[tuple[Chunk, int]]:
        """Return chunks that contain a part of the oracle, with its length in characters."""
        return [place for document in documents() for place in document.places(oracle)]

    for pair in pairs:
        oracle = chunk_of_text.get(normalize(pair.oracle)) or _best_match(places(pair.oracle), pair)
        yield Draft(
            chunk=oracle or _placeholder_chunk(pair.oracle),
            question=normalize(pair.question),
            question_call="",
            answer=strip_stop_tokens(strip_thoughts(pair.answer)),
            answer_call="",
            call_status="ok",
            call_detail="",
        )


class _ChunkedDocument:
    """A document's chunks in order, joined: between chunks is white space, which searching ignores."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self._ends = list(itertools.accumulate(len(chunk.text) + 1 for chunk in chunks))
        self._text = SearchableText("\n".join(chunk.text for chunk in chunks))

    def places(self, oracle: str) -> Iterator[tuple[Chunk, int]]:
        """Yield chunks that contain a part of the oracle, with its length in characters."""
        for start, end in self._text.find(oracle):
            first, last = bisect.bisect_right(self._ends, start), bisect.bisect_left(self._ends, end)
            for chunk, chunk_end in zip(self._chunks[first : last + 1], self._ends[first:], strict=False):
                yield chunk, min(chunk_end, end) - max(chunk_end - len(chunk.text) - 1, start)


def _best_match(places: Sequence[tuple[Chunk, int]], pair: ImportedPair) -> Chunk | None:
    quotes = parse_answer(pair.answer).quotes

    def worth(place: tuple[Chunk, int]) -> tuple[int, int, str]:
        chunk, held = place
        return sum(is_verbatim_quote(quote, chunk.passage) for quote in quotes), held, chunk.chunk_id

    return max(places, key=worth)[0] if places else None


def _placeholder_chunk(oracle: str) -> Chunk:
    """Return a chunk in place of one that doesn't exist.

    The gates report it and check the rest by the oracle as it was written.
    """
    return Chunk(
        chunk_id="",
        doc_id="",
        path=PAIRS_FILE,
        kind="prose",
        page_from=1,
        page_to=1,
        start=0,
        end=len(oracle),
        heading="",
        text=oracle,
        tokens=0,
    )
