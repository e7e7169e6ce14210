"""The vectors of a domain's chunks as they are in the lake."""

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raft_assets.core.tables import ChunkEmbedding, RefusedChunk
from raft_assets.documents.clusters import CLUSTERS_VERSION, VectorClusters, assign_clusters
from raft_assets.documents.retrieval import MAX_EXACT_CHUNKS, VectorIndex, Vectors, normalize_vectors
from raft_assets.storage.lake import Lake

CLUSTERS = "vector_clusters"  # record of the lake
ROWS_AT_ONCE = 10_000  # that are copied


def read_index(lake: Lake, domain: str, *, max_exact: int = MAX_EXACT_CHUNKS) -> VectorIndex:
    """Return the domain's chunks with their vectors, which are in a file that is deleted with the index.

    More than `max_exact` are searched by clusters, which are computed once for the vectors and kept in the lake.
    """
    refused = {row.chunk_id: row.reason for row in read_refused_chunks(lake, domain)}
    chunk_ids = list[str]()
    vectors = _on_disk(_unit_vectors(lake, domain, chunk_ids))
    if len(chunk_ids) <= max_exact:
        return VectorIndex(chunk_ids, vectors, refused, is_normalized=True)
    assignment = _read_clusters(lake, domain, vectors)
    order = np.argsort(assignment, kind="stable")
    in_order = _on_disk(vectors[order[start : start + ROWS_AT_ONCE]] for start in range(0, len(order), ROWS_AT_ONCE))
    clusters = VectorClusters(in_order, assignment[order])
    ids_in_order = [chunk_ids[place] for place in order.tolist()]
    return VectorIndex(ids_in_order, in_order, refused, clusters=clusters, is_normalized=True)


def read_refused_chunks(lake: Lake, domain: str) -> list[RefusedChunk]:
    """Return the domain's chunks that have no vector; none where there is no such table."""
    return list(lake.rows(RefusedChunk, domain)) if lake.exists(RefusedChunk.table, domain) else []


def _unit_vectors(lake: Lake, domain: str, chunk_ids: list[str]) -> Iterator[Vectors]:
    """Yield the vectors, scaled to length 1, some rows at a time; their chunks are added to `chunk_ids`."""
    for batch in lake.batches(ChunkEmbedding, domain):
        chunk_ids += map(str, batch.column("chunk_id").to_pylist())
        column: Any = batch.column("vector")
        numbers: Vectors = column.flatten().to_numpy(zero_copy_only=False)
        yield normalize_vectors(numbers.reshape(batch.num_rows, -1))


def _on_disk(parts: Iterable[Vectors]) -> Vectors:
    """Return the parts, one below the other, as an array in a file without a name."""
    rows = length = 0
    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, np.float32).data)
            rows, length = rows + len(part), part.shape[1]
        if not rows:
            return np.empty((0, length), np.float32)
        file.flush()
        return np.asarray(np.memmap(file, np.float32, "r", shape=(rows, length)))


def _read_clusters(lake: Lake, domain: str, vectors: Vectors) -> NDArray[np.int32]:
    """Return the cluster of each vector, as computed before for the same vectors, or now."""
    key = {"vectors": lake.digest(ChunkEmbedding.table, domain), "version": CLUSTERS_VERSION}
    if lake.exists(CLUSTERS, domain, ".json"):
        record = lake.read_record(CLUSTERS, domain)
        if {name: record.get(name) for name in key} == key:
            return np.array(record["clusters"], np.int32)
    assignment = assign_clusters(vectors)
    lake.write_record(CLUSTERS, domain, key | {"clusters": assignment.tolist()})
    return assignment
