"""The vectors of a domain's chunks as they are in the lake."""

import numpy as np

from raft_assets.core.tables import ChunkEmbedding, RefusedChunk
from raft_assets.dataset.distractors import Vector
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.storage.lake import Lake


def read_index(lake: Lake, domain: str) -> VectorIndex:
    """Return the domain's chunks with their vectors."""
    table = list(lake.rows(ChunkEmbedding, domain))
    refused = {row.chunk_id: row.reason for row in read_refused_chunks(lake, domain)}
    return VectorIndex([row.chunk_id for row in table], np.array([row.vector for row in table], np.float32), refused)


def read_refused_chunks(lake: Lake, domain: str) -> list[RefusedChunk]:
    """Return the domain's chunks that have no vector; none where there is no such table."""
    return list(lake.rows(RefusedChunk, domain)) if lake.exists(RefusedChunk.table, domain) else []


def read_unit_vectors(lake: Lake, domain: str) -> dict[str, Vector]:
    """Return the vectors, scaled to length 1, by chunk id."""
    index = read_index(lake, domain)
    return dict(zip(index.chunk_ids, index.vectors, strict=True))
