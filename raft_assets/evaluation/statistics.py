"""What paired scores of two models prove: interval, sign test, smallest difference that could be seen.

What belongs here: arithmetic on arrays. Which rows are compared is the summary's and the verdict's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raft_assets.errors import RaftError

CONFIDENCE = 0.95
POWER = 0.80
MOST_CELLS = 4_000_000  # of one block of resamples: 32 MB of indices, whatever `draws` and the number of clusters
Numbers = NDArray[np.float64]


class NotEnoughRows(RaftError):  # noqa: N818 - it is said to people by its message, and the name is what happened
    """An interval needs at least two clusters; with one there is nothing to resample."""


@dataclass(frozen=True)
class Interval:
    """A mean paired difference (student minus baseline) with its 95 % interval, in the units of the scores."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


def paired_bootstrap(
    baseline: ArrayLike, student: ArrayLike, *, clusters: Sequence[str], draws: int = 10_000, seed: int = 0
) -> Interval:
    """95 % interval of the mean paired difference, resampling whole clusters (questions of one chunk are not
    independent).

    Shapes: all (n,). Units: those of the scores. Raises NotEnoughRows below two clusters. Source: arXiv 2411.00640,
    section 2.2; the interval is the percentile bootstrap.
    """
    differences = _differences(baseline, student)
    sums, sizes = _by_cluster(differences, clusters)
    count = len(sums)
    if count < 2:
        raise NotEnoughRows(
            f"An interval needs rows of at least 2 clusters (oracle chunks), here are {count}. Add documents."
        )
    random = np.random.default_rng(seed)
    means: list[Numbers] = []
    block = max(1, MOST_CELLS // count)
    for first in range(0, draws, block):
        drawn = random.integers(0, count, size=(min(block, draws - first), count), dtype=np.int32)
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(differences.mean()), float(low), float(high), len(differences), count)


def clustered_standard_error(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """Standard error of the mean of (n,) differences whose clusters are independent (arXiv 2411.00640, equation 4)."""
    values = np.asarray(differences, np.float64)
    sums, _ = _by_cluster(values - values.mean(), clusters)
    return float(np.sqrt(np.square(sums).sum()) / len(values))


def smallest_detectable(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """The true difference that so many rows show with 80 % power at a two-sided level of 5 %, in the units of the
    differences, (n,).
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(POWER)) * clustered_standard_error(
        differences, clusters
    )


def sign_test(baseline: ArrayLike, student: ArrayLike) -> float:
    """Exact two-sided p of as many wins or losses, both (n,), if either were as likely; ties don't count. 1 where all
    are ties.
    """
    differences = _differences(baseline, student)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    n, fewer = wins + losses, min(wins, losses)
    ways = term = 1
    for index in range(fewer):
        term = term * (n - index) // (index + 1)
        ways += term
    return min(1.0, float(2 * ways / 2**n))


def _differences(baseline: ArrayLike, student: ArrayLike) -> Numbers:
    return np.asarray(student, np.float64) - np.asarray(baseline, np.float64)


def _by_cluster(values: Numbers, clusters: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Sum and number of the values of every cluster, (clusters,) each, in the order of their names."""
    _, position = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    return np.bincount(position, weights=values).astype(np.float64), np.bincount(position).astype(np.float64)
