"""Retrieval over a domain's own chunks: exact nearest neighbours of unit vectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Index:
    """Chunks with their vectors, (n, dimensions), at length 1; similarity is the cosine."""

    def __init__(self, chunk_ids: Sequence[str], vectors: Vectors) -> None:
        self.chunk_ids = list(chunk_ids)
        self.vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self._position = {chunk: position for position, chunk in enumerate(self.chunk_ids)}

    def nearest(self, vector: Vectors, k: int) -> list[str]:
        """The `k` nearest chunks, nearest first; equal similarities in the order of chunk ids."""
        similarity = self.vectors @ vector
        candidates = np.argpartition(-similarity, k - 1)[:k] if k < len(similarity) else np.arange(len(similarity))
        ordered = sorted(
            candidates.tolist(), key=lambda position: (-float(similarity[position]), self.chunk_ids[position])
        )
        return [self.chunk_ids[position] for position in ordered]

    def rank(self, vector: Vectors, chunk_id: str) -> int:
        """Rank of a chunk for a query vector, from 1."""
        similarity = self.vectors @ vector
        return 1 + int(np.count_nonzero(similarity > similarity[self._position[chunk_id]]))
