"""Which chunks say the same: near-duplicates, and chunks of one document that share some of its text.

What follows from it (a shared split, no distractor) is decided where it matters.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from raft_assets.raft.similarity import connected, near_duplicate_pairs
from raft_assets.raft.tables import Chunk

Place = tuple[str, int, int]  # document, first character, one past the last


def kin_groups(chunks: Iterable[Chunk], threshold: float, seed: int) -> list[set[str]]:
    """Groups of chunk ids that hang together by likeness or shared text, each of two or more, by their smallest id."""
    table = list(chunks)
    alike = near_duplicate_pairs({chunk.chunk_id: chunk.text for chunk in table}, threshold, seed)
    return sorted(connected(chain(alike, overlapping_pairs(table))), key=min)


def overlapping_pairs(chunks: Iterable[Chunk]) -> Iterator[tuple[str, str]]:
    """Pairs of chunks of one document whose spans overlap: each with the one before it that reaches furthest."""
    furthest: Chunk | None = None
    for chunk in sorted(chunks, key=lambda chunk: (chunk.doc_id, chunk.start, chunk.end)):
        same_document = furthest is not None and furthest.doc_id == chunk.doc_id
        if furthest is not None and same_document and chunk.start < furthest.end:
            yield furthest.chunk_id, chunk.chunk_id
        if furthest is None or not same_document or chunk.end > furthest.end:
            furthest = chunk


def overlap(one: Place, other: Place) -> bool:
    """Whether two places share text of one document."""
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
