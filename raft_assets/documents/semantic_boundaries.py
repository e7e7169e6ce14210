"""Where the subject of a text changes, by the embeddings of its sentences: the optional boundaries of chunks."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from raft_assets.documents.retrieval import Vectors

WINDOW = 2  # sentences on either side that are compared: one alone says too little about its subject

Embed = Callable[[Iterable[str]], Iterable[Vectors]]


def embedding_similarity(embed: Embed) -> Callable[[Sequence[str]], list[float]]:
    """Return a function that gives the cosine of the text before and after every gap between texts, (n - 1,).

    The texts follow one another. `embed` returns a vector per text, in order.
    """

    def likeness(texts: Sequence[str]) -> list[float]:
        vectors = [np.asarray(vector, np.float32) for vector in embed(texts)]
        return [
            _cosine(_sum_vectors(vectors[max(0, gap - WINDOW) : gap]), _sum_vectors(vectors[gap : gap + WINDOW]))
            for gap in range(1, len(vectors))
        ]

    return likeness


def _sum_vectors(vectors: Sequence[Vectors]) -> Vectors:
    """Return the sum of the vectors, which has the direction of their mean."""
    total: Vectors = np.sum(vectors, axis=0)
    return total


def _cosine(one: Vectors, other: Vectors) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
