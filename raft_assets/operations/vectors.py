"""The vectors of a domain's chunks as they are in the lake."""

import numpy as np

from raft_assets.core.tables import ChunkEmbedding
from raft_assets.dataset.distractors import Vector
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.storage.lake import Lake


def read_index(lake: Lake, domain: str) -> VectorIndex:
    """Return the domain's chunks with their vectors."""
    table = list(lake.rows(ChunkEmbedding, domain))
    return VectorIndex([row.chunk_id for row in table], np.array([row.vector for row in table], np.float32))


def read_unit_vectors(lake: Lake, domain: str) -> dict[str, Vector]:
    """Return the vectors, scaled to length 1, by chunk id."""
    index = read_index(lake, domain)
    return dict(zip(index.chunk_ids, index.vectors, strict=True))
