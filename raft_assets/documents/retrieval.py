"""Retrieval over a domain's own chunks: exact nearest neighbours of unit vectors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from raft_assets.core.vectors import Embedding, NoVector

Vectors = NDArray[np.float32]
NONE_REFUSED: Mapping[str, str] = MappingProxyType({})


class VectorIndex:
    """Chunks with their vectors, (n, dimensions), normalized to length 1; similarity is the cosine.

    `refused`: why the other chunks of the domain have no vector, so that they are never retrieved.
    """

    def __init__(self, chunk_ids: Sequence[str], vectors: Vectors, refused: Mapping[str, str] = NONE_REFUSED) -> None:
        self.chunk_ids = list(chunk_ids)
        self.refused = refused
        self.vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self._position = {chunk: position for position, chunk in enumerate(self.chunk_ids)}

    def nearest(self, vector: Vectors, k: int) -> list[str]:
        """Return the `k` nearest chunks, nearest first; equal similarities in the order of chunk ids."""
        similarity = self.vectors @ vector
        candidates = np.argpartition(-similarity, k - 1)[:k] if k < len(similarity) else np.arange(len(similarity))
        ordered = sorted(
            candidates.tolist(), key=lambda position: (-float(similarity[position]), self.chunk_ids[position])
        )
        return [self.chunk_ids[position] for position in ordered]

    def rank(self, vector: Vectors, chunk_id: str) -> int:
        """Return the rank of a chunk for a query vector, from 1."""
        similarity = self.vectors @ vector
        return 1 + int(np.count_nonzero(similarity > similarity[self._position[chunk_id]]))


class RetrievalRanks:
    """Ranks of chunks for questions, among the first `top_k`; every question is embedded once.

    `embed` returns a vector per text, in order, or why there is none.
    """

    def __init__(self, index: VectorIndex, embed: Callable[[Iterable[str]], Iterable[Embedding]], top_k: int) -> None:
        self._index = index
        self._embed = embed
        self._top_k = top_k
        self._vectors: dict[str, Embedding] = {}

    def embed_questions(self, questions: Iterable[str]) -> None:
        """Embed the questions that aren't embedded yet, all at once."""
        new = [question for question in dict.fromkeys(questions) if question not in self._vectors]
        self._vectors |= zip(new, self._embed(new), strict=True)

    def rank_of(self, question: str, chunk_id: str) -> int | None:
        """Return the rank of a chunk for an embedded question, from 1; None if it isn't among the first."""
        vector = self._vectors[question]
        if isinstance(vector, NoVector) or chunk_id in self._index.refused:
            return None
        rank = self._index.rank(vector, chunk_id)
        return rank if rank <= self._top_k else None

    def reason_without(self, question: str, chunk_id: str) -> str:
        """Return why a chunk or an embedded question has no vector, so that there is no rank; empty if both have."""
        vector = self._vectors[question]
        return self._index.refused.get(chunk_id) or (vector.reason if isinstance(vector, NoVector) else "")
