"""Where the subject of a text changes, by the embeddings of its sentences: the optional boundaries of chunks."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from raft_assets.core.vectors import Embedding, NoVector
from raft_assets.documents.retrieval import Vectors

WINDOW = 2  # sentences on either side that are compared: one alone says too little about its subject

Embed = Callable[[Iterable[str]], Iterable[Embedding]]


def embedding_similarity(embed: Embed) -> Callable[[Sequence[str]], list[float]]:
    """Return a function that gives the cosine of the text before and after every gap between texts, (n - 1,).

    The texts follow one another. `embed` returns a vector per text, in order; a text without one says nothing of its
    subject, and its neighbours decide.
    """

    def likeness(texts: Sequence[str]) -> list[float]:
        vectors = [None if isinstance(one, NoVector) else np.asarray(one, np.float32) for one in embed(texts)]
        return [
            _cosine(_sum_vectors(vectors[max(0, gap - WINDOW) : gap]), _sum_vectors(vectors[gap : gap + WINDOW]))
            for gap in range(1, len(vectors))
        ]

    return likeness


def _sum_vectors(vectors: Sequence[Vectors | None]) -> Vectors | None:
    """Return the sum of the vectors that are known, which has the direction of their mean; None if none is."""
    known = [vector for vector in vectors if vector is not None]
    return np.sum(known, axis=0) if known else None


def _cosine(one: Vectors | None, other: Vectors | None) -> float:
    if one is None or other is None:
        return 0.0
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
