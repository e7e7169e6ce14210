"""Pick the distractors of a row: random chunks or hard negatives, none of which contains the answer.

A pick depends on the seed, the question and the pool's texts, never on an order: a chunk that is added changes at most
its share of picks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from raft_assets.core.identity import digest
from raft_assets.core.progress import track
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.similarity import Shingles, contains_phrase, jaccard, shingles
from raft_assets.core.tables import Chunk
from raft_assets.dataset.near_duplicates import chunk_span, near_duplicate_groups, spans_overlap
from raft_assets.documents.retrieval import VectorIndex

DistractorKind = Literal["random", "hard"]
Vector = Sequence[float] | npt.NDArray[np.float32]

MAX_HARD_COSINE = 0.95  # neighbours of an oracle chunk that are as near as this say the same
MAX_HARD_CANDIDATES = 256  # nearest chunks that are considered as hard negatives
DRAWN_POINTS = (
    32  # points of the ring that a question draws; what is still missing is searched for from the last one on
)
MAX_WALK = 4096  # points; a pick that finds no more until there returns fewer
BLOCK_CELLS = 1 << 24  # cosines of one matrix product, 64 MB
CACHED_TEXTS = 1 << 12  # chunks whose shingles are kept in memory


def keep_chunks(chunks: Iterable[Chunk]) -> Mapping[str, Chunk]:
    """Return chunks by id, kept in a file."""
    return DiskBackedRows(Chunk, track("chunks read", chunks), lambda chunk: chunk.chunk_id)


class DistractorPool:
    """The chunks that distractors are picked from, prepared once for any number of picks.

    `vectors` (chunk id to unit vector) are needed for hard negatives only; a chunk without one is none, and has none.
    An index with clusters is searched by them, else all vectors are compared.
    `near_duplicate` is the Jaccard similarity from which two chunks count as the same; `group_of` where their groups
    are known already. Chunks that aren't a mapping are kept in a file: memory holds their ids and points on the ring,
    and the time of a random pick doesn't depend on their number.
    """

    def __init__(
        self,
        chunks: Iterable[Chunk] | Mapping[str, Chunk],
        *,
        vectors: Mapping[str, Vector] | None = None,
        near_duplicate: float = 0.8,
        group_of: Mapping[str, str] | None = None,
    ) -> None:
        self.chunks = chunks if isinstance(chunks, Mapping) else keep_chunks(chunks)
        # chunks without near-duplicates are left out
        self.group_of = (
            near_duplicate_groups(self.chunks, self.chunks, near_duplicate) if group_of is None else group_of
        )
        self._ids = sorted(self.chunks)
        self._near_duplicate = near_duplicate
        self._ring, self._owners = _build_ring(self._ids)
        self._clustered = vectors if isinstance(vectors, VectorIndex) and vectors.clusters else None
        self._vectors = None if vectors is None or self._clustered is not None else _stack_vectors(self._ids, vectors)
        self._is_unknown = np.array([vectors is not None and name not in vectors for name in self._ids])
        self._nearest: dict[int, npt.NDArray[np.int32]] = {}
        # made here: the cache of a decorated method would keep every pool alive
        self._shingles = lru_cache(CACHED_TEXTS)(self._shingles_of)

    def near(self, chunk_id: str) -> Iterator[str]:
        """Return at most MAX_HARD_CANDIDATES chunks, nearest by cosine first.

        Chunks so near that they say the same are left out.
        """
        position = bisect_left(self._ids, chunk_id)
        if position not in self._nearest:
            if self._clustered is not None:
                self._nearest[position] = self._nearest_by_clusters(self._clustered, chunk_id)
            else:
                self._find_nearest(position)
        return (self._ids[neighbour] for neighbour in self._nearest[position])

    def random_chunks(self, seed: int, question_id: str) -> Iterator[str]:
        """Yield chunks as seed and question draw them, some again.

        Ends when all, or MAX_WALK points of the ring, were visited.
        """
        if not self._ids:
            return
        place = 0
        for point in _draw_points(seed, question_id):
            place = int(np.searchsorted(self._ring, point)) % len(self._ring)
            yield self._ids[self._owners[place]]
        for step in range(1, min(len(self._ring), MAX_WALK)):
            yield self._ids[self._owners[(place + step) % len(self._ring)]]

    def are_near_duplicates(self, one: str, other: str) -> bool:
        """Return whether two chunks are the same text or near-duplicates, or share text of one document."""
        if one == other:
            return True
        if self.group_of.get(one, one) != self.group_of.get(other, other):
            return False
        # a group is connected by several links: its ends may be dissimilar
        is_same_text = spans_overlap(chunk_span(self.chunks[one]), chunk_span(self.chunks[other]))
        return is_same_text or jaccard(self._shingles(one), self._shingles(other)) >= self._near_duplicate

    def holds(self, chunk_id: str, answer: str) -> bool:
        """Return whether the answer is in the chunk word for word; never for an answer of stop words alone."""
        return contains_phrase(self.chunks[chunk_id].passage, answer)

    def _shingles_of(self, chunk_id: str) -> Shingles:
        return shingles(self.chunks[chunk_id].text)

    def _nearest_by_clusters(self, index: VectorIndex, chunk_id: str) -> npt.NDArray[np.int32]:
        if chunk_id not in index:
            return np.empty(0, np.int32)
        names = index.nearest(index[chunk_id], MAX_HARD_CANDIDATES, below=MAX_HARD_COSINE)
        return np.array([bisect_left(self._ids, name) for name in names if name in self.chunks], np.int32)

    def _find_nearest(self, position: int) -> None:
        """Compute the neighbours of all chunks in the position's block.

        Rows will ask for most of them anyway. Raises ValueError without vectors.
        """
        if self._vectors is None:
            raise ValueError("hard negatives need the vectors of the pool")
        rows = max(1, BLOCK_CELLS // len(self._ids))
        start = position // rows * rows
        cosines = self._vectors[start : start + rows] @ self._vectors.T
        cosines[cosines >= MAX_HARD_COSINE] = -np.inf  # the chunk itself, too
        cosines[self._is_unknown[start : start + rows]] = -np.inf
        cosines[:, self._is_unknown] = -np.inf
        depth = min(MAX_HARD_CANDIDATES, len(self._ids))
        nearest = np.argpartition(-cosines, depth - 1, axis=1)[:, :depth]
        for offset, neighbours in enumerate(nearest):
            similarities = cosines[offset, neighbours]
            order = np.lexsort((neighbours, -similarities))
            self._nearest[start + offset] = neighbours[order[np.isfinite(similarities[order])]].astype(np.int32)


def pick_distractors(
    oracle_chunk_id: str,
    *,
    pool: DistractorPool,
    count: int,
    kind: DistractorKind,
    seed: int,
    question_id: str,
    forbidden: AbstractSet[str],
    answer: str,
) -> list[str]:
    """Return at most `count` chunk ids, fewer if the pool has no more.

    A smaller count gives the first of a larger one. None of them is forbidden, contains the answer, or is a
    near-duplicate of the oracle chunk or of another one picked. Hard negatives are the nearest chunks; if those don't
    suffice, random ones follow.
    """
    picked: list[str] = []
    considered = {oracle_chunk_id}
    for candidate in _candidates(pool, kind, oracle_chunk_id, seed, question_id):
        if len(picked) == count:
            break
        if candidate in considered:
            continue
        considered.add(candidate)
        if candidate in forbidden or pool.holds(candidate, answer):
            continue
        if not any(pool.are_near_duplicates(candidate, other) for other in (oracle_chunk_id, *picked)):
            picked.append(candidate)
    return picked


def _candidates(
    pool: DistractorPool, kind: DistractorKind, oracle_chunk_id: str, seed: int, question_id: str
) -> Iterator[str]:
    if kind == "hard":
        yield from pool.near(oracle_chunk_id)
    yield from pool.random_chunks(seed, question_id)


def _stack_vectors(ids: Sequence[str], vectors: Mapping[str, Vector]) -> npt.NDArray[np.float32]:
    """Return a row per id, of zeros where it has no vector."""
    nothing = np.zeros(len(next(iter(vectors.values()), ())), np.float32)
    return np.array([vectors.get(name, nothing) for name in ids], np.float32)


def _build_ring(ids: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """Return four points of every id on a ring of 2**64, sorted, and the owner of each (consistent hashing).

    The next point after a random one belongs to a new id as often as to any other, and a draw changes only where the
    next point is one of that id.
    """
    hashes = bytearray()
    for name in ids:
        hashes += bytes.fromhex(digest("ring", name))
    places = np.frombuffer(hashes, ">u8").astype(np.uint64)
    order = np.argsort(places, kind="stable")
    return places[order], (order // 4).astype(np.int32)


def _draw_points(seed: int, question_id: str) -> Iterator[np.uint64]:
    for number in range(DRAWN_POINTS // 4):
        yield from np.frombuffer(bytes.fromhex(digest("points", seed, question_id, number)), ">u8").astype(np.uint64)
