"""Retrieval over a domain's own chunks: nearest neighbours of unit vectors, exact or, of many, by clusters."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from raft_assets.core.identity import short_digest
from raft_assets.core.progress import track
from raft_assets.core.vectors import Embedding, NoVector
from raft_assets.documents.clusters import VectorClusters

Vectors = NDArray[np.float32]
NONE_REFUSED: Mapping[str, str] = MappingProxyType({})

MAX_EXACT_CHUNKS = 20_000  # more are searched by clusters: comparing each question with all grows with their square
QUESTIONS_AT_ONCE = 4096  # whose vectors are in memory: 6 MB at 384 numbers each
BLOCK_CELLS = 1 << 23  # similarities computed at once, 32 MB
ROUNDING = np.float32(1e-5)  # more than one way of summing up a product of unit vectors differs from another
_NOT_AMONG_FIRST = 0


class VectorIndex(Mapping[str, Vectors]):
    """Chunks with their vectors, (n, dimensions), normalized to length 1; similarity is the cosine.

    `refused`: why the other chunks of the domain have no vector, so that they are never retrieved. `clusters`: those of
    the vectors, by which they are searched; without them a search compares all. `is_normalized`: the vectors have
    length 1, and stay where they are, on disk as well.
    """

    def __init__(
        self,
        chunk_ids: Sequence[str],
        vectors: Vectors,
        refused: Mapping[str, str] = NONE_REFUSED,
        *,
        clusters: VectorClusters | None = None,
        is_normalized: bool = False,
    ) -> None:
        self.chunk_ids = list(chunk_ids)
        self.refused = refused
        self.vectors = vectors if is_normalized else normalize_vectors(vectors)
        self.clusters = clusters
        self._position = {chunk: position for position, chunk in enumerate(self.chunk_ids)}

    def __getitem__(self, chunk_id: str) -> Vectors:
        vector: Vectors = self.vectors[self._position[chunk_id]]
        return vector

    def __iter__(self) -> Iterator[str]:
        return iter(self.chunk_ids)

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def __contains__(self, chunk_id: object) -> bool:
        return chunk_id in self._position

    def nearest(self, vector: Vectors, k: int, *, below: float = np.inf) -> list[str]:
        """Return the `k` nearest chunks, nearest first; equal similarities in the order of chunk ids.

        `below`: those that are as similar as that are left out.
        """
        if self.clusters is None:
            places, similarity = np.arange(len(self.vectors)), self.vectors @ vector
        else:
            places, similarity = self.clusters.near(vector)
        if below < np.inf:
            is_below = similarity < below
            places, similarity = places[is_below], similarity[is_below]
        first = np.argpartition(-similarity, k - 1)[:k] if k < len(similarity) else np.arange(len(similarity))
        candidates = zip(places[first].tolist(), similarity[first].tolist(), strict=True)
        ordered = sorted((-value, self.chunk_ids[place]) for place, value in candidates)
        return [chunk_id for _, chunk_id in ordered]

    def rank(self, vector: Vectors, chunk_id: str) -> int:
        """Return the rank of a chunk for a query vector, from 1, compared with all chunks."""
        similarity = self.vectors @ vector
        return 1 + int(np.count_nonzero(similarity > similarity[self._position[chunk_id]]))

    def ranks(self, vectors: Vectors, chunk_ids: Sequence[str], top_k: int) -> list[int | None]:
        """Return the rank of each chunk for its query vector, from 1; None beyond `top_k`.

        Without clusters they are those of `rank`. With them, a chunk that isn't in a cluster near the query doesn't
        count, and one that is as near as the chunk itself doesn't come before it.
        """
        positions = np.array([self._position[chunk_id] for chunk_id in chunk_ids], np.intp)
        slack = ROUNDING * np.linalg.norm(vectors, axis=1)
        if self.clusters is not None:
            own = np.einsum("qd,qd->q", vectors, self.vectors[positions])
            found = 1 + self.clusters.count_nearer(vectors, own + slack)
            return [rank if rank <= top_k else None for rank in found.tolist()]
        ranks: list[int | None] = []
        rows = max(BLOCK_CELLS // max(len(self.vectors), 1), 1)
        for start in range(0, len(vectors), rows):
            block = slice(start, start + rows)
            ranks += self._ranks_in_all(vectors[block], positions[block], slack[block], top_k)
        return ranks

    def _ranks_in_all(
        self, vectors: Vectors, positions: NDArray[np.intp], slack: Vectors, top_k: int
    ) -> Iterator[int | None]:
        """Yield the rank of each chunk by one product for all; where rounding may decide, by `rank`."""
        similarity = vectors @ self.vectors.T
        own = similarity[np.arange(len(vectors)), positions]
        surely = np.count_nonzero(similarity > (own + slack)[:, None], axis=1)
        possibly = np.count_nonzero(similarity > (own - slack)[:, None], axis=1) - 1  # without the chunk itself
        for row, (least, most) in enumerate(zip(surely.tolist(), possibly.tolist(), strict=True)):
            if least >= top_k:
                yield None
            elif least == most:
                yield 1 + least
            else:
                rank = self.rank(vectors[row], self.chunk_ids[positions[row]])
                yield rank if rank <= top_k else None


class RetrievalRanks:
    """Ranks of chunks for questions, among the first `top_k`.

    `embed` returns a vector per text, in order, or why there is none. Memory holds a rank of each pair of question and
    chunk, the first chunks of questions whose own chunk isn't among them, and vectors of some thousand questions.
    """

    def __init__(self, index: VectorIndex, embed: Callable[[Iterable[str]], Iterable[Embedding]], top_k: int) -> None:
        self._index = index
        self._embed = embed
        self._top_k = top_k
        self._ranks: dict[str, int] = {}
        self._first: dict[str, list[str]] = {}  # question to the first chunks, where another one is asked about
        self._refused: dict[str, str] = {}  # question to the reason

    def look_up(self, asked: Iterable[tuple[str, str]]) -> None:
        """Embed the questions, each with the chunk that it is about, and find the ranks that aren't known yet.

        A chunk without an id is none of the index: its question has no rank.
        """
        waiting: deque[tuple[str, str]] = deque()  # whose vectors come next

        def questions() -> Iterator[str]:
            for question, chunk_id in asked:
                if question not in self._refused and _name(question, chunk_id) not in self._ranks:
                    waiting.append((question, chunk_id))
                    yield question

        embedded = ((*waiting.popleft(), vector) for vector in self._embed(questions()))
        tracked = track("questions looked up", embedded)
        while block := list(islice(tracked, QUESTIONS_AT_ONCE)):
            self._rank(block)

    def _rank(self, block: Sequence[tuple[str, str, Embedding]]) -> None:
        known = list[tuple[str, str, Vectors]]()
        for question, chunk_id, vector in block:
            if isinstance(vector, NoVector):
                self._refused[question] = vector.reason
            elif chunk_id and chunk_id not in self._index.refused:
                known.append((question, chunk_id, vector))
            else:
                self._ranks[_name(question, chunk_id)] = _NOT_AMONG_FIRST
        if known:
            vectors = np.array([vector for _, _, vector in known], np.float32)
            ranks = self._index.ranks(vectors, [chunk_id for _, chunk_id, _ in known], self._top_k)
            for (question, chunk_id, vector), rank in zip(known, ranks, strict=True):
                self._ranks[_name(question, chunk_id)] = rank or _NOT_AMONG_FIRST
                if not rank and question not in self._first:
                    self._first[question] = self._index.nearest(vector, self._top_k)

    def rank_of(self, question: str, chunk_id: str) -> int | None:
        """Return the rank of a chunk, from 1, for a question looked up with it; None if it isn't among the first.

        None as well if one of them has no vector.
        """
        if self.reason_without(question, chunk_id):
            return None
        return self._ranks[_name(question, chunk_id)] or None

    def retrieved_instead(self, question: str, chunk_id: str) -> list[str]:
        """Return the first chunks for a question, best first, where the chunk that it is about isn't one of them."""
        return [] if self.rank_of(question, chunk_id) else self._first.get(question, [])

    def reason_without(self, question: str, chunk_id: str) -> str:
        """Return why a chunk or its question has no vector, so that there is no rank; empty if both have."""
        return self._index.refused.get(chunk_id) or self._refused.get(question, "")


def normalize_vectors(vectors: Vectors) -> Vectors:
    """Return vectors, (n, dimensions), scaled to length 1; one of zeros stays as it is."""
    scaled: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def _name(question: str, chunk_id: str) -> str:
    return short_digest(chunk_id, question)
