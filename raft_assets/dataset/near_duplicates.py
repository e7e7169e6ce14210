"""Group near-duplicate chunks, and chunks of one document that overlap or show one signature.

What follows from it (a shared split, no distractor) is decided where it matters.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import chain

import numpy as np

from raft_assets.core.similarity import connected_components, near_duplicate_pairs
from raft_assets.core.tables import Chunk

ChunkSpan = tuple[str, int, int]  # document, first character, one past the last


def near_duplicate_groups(
    names: Collection[str], chunks: Mapping[str, Chunk], threshold: float, *, seed: int = 0
) -> dict[str, str]:
    """Return the groups of the named chunks, connected by similarity or shared text.

    The result maps a chunk id to the smallest id of its group; a chunk without near-duplicates is left out. The seed
    determines the hash functions that similar chunks are found with.
    """
    alike = near_duplicate_pairs(names, lambda name: chunks[name].text, threshold, seed)
    groups = connected_components(chain(alike, overlapping_pairs(names, chunks)))
    return {name: first for group in groups for first in [min(group)] for name in group}


def overlapping_pairs(names: Collection[str], chunks: Mapping[str, Chunk]) -> Iterator[tuple[str, str]]:
    """Yield pairs of chunks of one document that show the same text.

    Each is paired with the one before it that reaches furthest, where their spans overlap, and with the one before it,
    where both are pieces of one description: they show its signature.
    """
    ids = sorted(names)
    documents: dict[str, int] = {}
    places = np.empty((len(ids), 3), np.int64)
    for row, name in enumerate(ids):
        chunk = chunks[name]
        places[row] = documents.setdefault(chunk.doc_id, len(documents)), chunk.start, chunk.end
    furthest, reached = -1, (-1, 0)
    before = -1
    for position in np.lexsort(places.T[::-1]):
        document, start, end = places[position].tolist()
        if before >= 0 and _show_one_signature(chunks[ids[before]], chunks[ids[position]]):
            yield ids[before], ids[position]
        before = position
        if (document, start) < reached:
            yield ids[furthest], ids[position]
        if (document, end) > reached:
            furthest, reached = position, (document, end)


def _show_one_signature(one: Chunk, other: Chunk) -> bool:
    """Return whether two neighbours are pieces of one description; the one that holds the signature repeats none."""
    return bool(one.signature or other.signature) and (one.doc_id, one.page_from) == (other.doc_id, other.page_from)


def spans_overlap(one: ChunkSpan, other: ChunkSpan) -> bool:
    """Return whether two spans share text of one document."""
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def chunk_span(chunk: Chunk) -> ChunkSpan:
    """Return where a chunk is."""
    return chunk.doc_id, chunk.start, chunk.end
