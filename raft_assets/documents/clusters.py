"""Clusters of vectors, by which the nearest of many are found without comparing all of them (an inverted file).

What belongs here: which vectors are one cluster, and the search in those that are nearest to a query. Everything is
computed in one order, without a draw: the same vectors have the same clusters and ranks on the same machine.
Source: Jégou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", 2011, section IV, without compression.
"""

import math

import numpy as np
from numpy.typing import NDArray

from raft_assets.core.progress import track

Vectors = NDArray[np.float32]

CLUSTERS_VERSION = 1  # changes whenever the same vectors get other clusters
CLUSTER_VECTORS = 100  # of a cluster, on average
TRAINED_VECTORS = 32  # of a cluster, from which its centre is computed
ITERATIONS = 10
# as many clusters are searched as this times the root of their number: 99.7 % of the ten nearest among 2,800 vectors of
# our own chunks and questions are found so, in 140 clusters and in 280
SEARCHED_PER_ROOT = 4.5
BLOCK_CELLS = 1 << 23  # products computed at once, 32 MB


def assign_clusters(vectors: Vectors) -> NDArray[np.int32]:
    """Return the cluster of each unit vector, (n,), by spherical k-means; a cluster may be empty."""
    count = max(len(vectors) // CLUSTER_VECTORS, 1)
    sample = vectors[:: max(len(vectors) // (count * TRAINED_VECTORS), 1)]
    centres = np.array(sample[:: max(len(sample) // count, 1)][:count])
    for _ in track("rounds of clustering", range(ITERATIONS), ITERATIONS):
        centres = _centres(sample, _nearest_centres(sample, centres), centres)
    return _nearest_centres(vectors, centres)


class VectorClusters:
    """The clusters of vectors that are in their order: those of the first cluster, of the second, and so on.

    `assignment`, (n,), is ascending. The vectors, (n, dimensions), have length 1 and may be on disk.
    """

    def __init__(self, vectors: Vectors, assignment: NDArray[np.int32]) -> None:
        self._vectors = vectors
        count = int(assignment[-1]) + 1 if len(assignment) else 0
        self._starts = np.searchsorted(assignment, np.arange(count + 1))
        self._centres = _centres(vectors, assignment, np.zeros((count, vectors.shape[1]), np.float32))

    def count_nearer(self, queries: Vectors, similarity: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return how many vectors of the clusters that are searched are more similar to each query than the given one.

        Shapes: queries (q, dimensions), similarity (q,).
        """
        counts = np.zeros(len(queries), np.int64)
        searched = self._searched(queries)
        order = np.argsort(searched, axis=None, kind="stable")
        query_of, clusters = order // searched.shape[1], searched.ravel()[order]
        ends = np.searchsorted(clusters, np.arange(len(self._starts)))
        for cluster in np.unique(clusters).tolist():
            asking = query_of[ends[cluster] : ends[cluster + 1]]
            members = self._vectors[self._starts[cluster] : self._starts[cluster + 1]]
            nearer = queries[asking] @ members.T > similarity[asking, None]
            counts[asking] += np.count_nonzero(nearer, axis=1)
        return counts

    def near(self, query: Vectors) -> tuple[NDArray[np.intp], Vectors]:
        """Return the places of the vectors in the clusters nearest to a query, and their similarities to it."""
        clusters = np.sort(self._searched(query[None])[0])
        members = [slice(self._starts[one], self._starts[one + 1]) for one in clusters]
        places = np.concatenate([np.arange(one.start, one.stop) for one in members])
        return places, np.concatenate([self._vectors[one] @ query for one in members])

    def _searched(self, queries: Vectors) -> NDArray[np.intp]:
        """Return the nearest clusters of each query, in no order."""
        count = min(math.ceil(SEARCHED_PER_ROOT * math.sqrt(len(self._centres))), len(self._centres))
        found = np.empty((len(queries), count), np.intp)
        rows = max(BLOCK_CELLS // len(self._centres), 1)
        for start in range(0, len(queries), rows):
            products = queries[start : start + rows] @ self._centres.T
            found[start : start + rows] = np.argpartition(-products, count - 1, axis=1)[:, :count]
        return found


def _nearest_centres(vectors: Vectors, centres: Vectors) -> NDArray[np.int32]:
    nearest = np.empty(len(vectors), np.int32)
    rows = max(BLOCK_CELLS // len(centres), 1)
    for start in range(0, len(vectors), rows):
        nearest[start : start + rows] = np.argmax(vectors[start : start + rows] @ centres.T, axis=1)
    return nearest


def _centres(vectors: Vectors, assignment: NDArray[np.int32], before: Vectors) -> Vectors:
    """Return the mean direction of each cluster; that of before where it is empty."""
    order = np.argsort(assignment, kind="stable")
    starts = np.searchsorted(assignment[order], np.arange(len(before) + 1))
    centres = np.array(before)
    for cluster in np.flatnonzero(np.diff(starts)).tolist():
        total = vectors[order[starts[cluster] : starts[cluster + 1]]].sum(axis=0)
        centres[cluster] = total / max(float(np.linalg.norm(total)), 1e-12)
    return centres
