"""The vectors of a domain as retrieval reads them."""

from pathlib import Path

import numpy as np
import pytest

from raft_assets.core.tables import ChunkEmbedding, RefusedChunk
from raft_assets.operations.vectors import CLUSTERS, read_index
from raft_assets.storage.lake import Lake
from raft_assets_tests.documents.test_retrieval import drawn, names_of

DOMAIN = "bats"
VECTORS = drawn(600) * 2


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    written = Lake(root=str(tmp_path))
    rows = zip(names_of(VECTORS), VECTORS, strict=True)
    written.write(ChunkEmbedding, DOMAIN, [ChunkEmbedding(chunk_id=name, vector=row.tolist()) for name, row in rows])
    written.write(RefusedChunk, DOMAIN, [RefusedChunk(chunk_id="gone", path="a.md", page_from=1, reason="too long.")])
    return written


def test_few_vectors_are_compared_with_all_and_have_length_one(lake: Lake) -> None:
    index = read_index(lake, DOMAIN)
    assert index.clusters is None
    assert index.chunk_ids == names_of(VECTORS)
    assert index.refused == {"gone": "too long."}
    expected = VECTORS / np.maximum(np.linalg.norm(VECTORS, axis=1, keepdims=True), 1e-12)
    assert np.array_equal(index.vectors, expected)
    assert not lake.exists(CLUSTERS, DOMAIN, ".json")


def test_many_vectors_are_searched_by_clusters_that_are_computed_once(lake: Lake) -> None:
    first = read_index(lake, DOMAIN, max_exact=500)
    assert first.clusters is not None
    assert sorted(first.chunk_ids) == names_of(VECTORS)
    exact = read_index(lake, DOMAIN)
    assert all(np.array_equal(first[name], exact[name]) for name in exact)
    record = lake.read_record(CLUSTERS, DOMAIN)
    lake.write_record(CLUSTERS, DOMAIN, record | {"clusters": [0] * 600})
    assert read_index(lake, DOMAIN, max_exact=500).chunk_ids == names_of(VECTORS)  # those that are there
    assert first.chunk_ids != names_of(VECTORS)


def test_other_vectors_get_other_clusters(lake: Lake) -> None:
    read_index(lake, DOMAIN, max_exact=500)
    before = lake.read_record(CLUSTERS, DOMAIN)
    rows = zip(names_of(VECTORS), drawn(600, seed=5), strict=True)
    lake.write(ChunkEmbedding, DOMAIN, [ChunkEmbedding(chunk_id=name, vector=row.tolist()) for name, row in rows])
    read_index(lake, DOMAIN, max_exact=500)
    after = lake.read_record(CLUSTERS, DOMAIN)
    assert after["vectors"] == lake.digest(ChunkEmbedding.table, DOMAIN) != before["vectors"]
    assert after["clusters"] != before["clusters"]


def test_a_purged_domain_leaves_no_clusters(lake: Lake) -> None:
    read_index(lake, DOMAIN, max_exact=500)
    lake.purge(DOMAIN)
    assert not lake.exists(CLUSTERS, DOMAIN, ".json")
