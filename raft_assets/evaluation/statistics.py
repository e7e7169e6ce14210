"""What paired scores of two models show: interval, sign test, smallest detectable difference.

What belongs here: arithmetic on arrays. Summary and verdict choose the rows to compare.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raft_assets.core.errors import RaftError

CONFIDENCE = 0.95
POWER = 0.80
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
MAX_CELLS = 4_000_000  # of one block of resamples: 32 MB an array, whatever `draws` and the number of clusters
Numbers = NDArray[np.float64]


class NotEnoughClustersError(RaftError):
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
    """Compute the 95 % interval of the mean paired difference, resampling whole clusters.

    Questions of a chunk are not independent. Shapes: all (n,). Units: those of the scores. Raises
    NotEnoughClustersError below two clusters. Source: arXiv 2411.00640, section 2.2; the interval is the percentile
    bootstrap, widened for few clusters (see `_widening_factor`).
    """
    (interval,) = bootstrap_columns(_differences(baseline, student)[:, None], clusters=clusters, draws=draws, seed=seed)
    return interval


def bootstrap_columns(differences: Numbers, *, clusters: Sequence[str], draws: int, seed: int) -> list[Interval]:
    """Compute `paired_bootstrap` of several metrics of the same rows, (n, metrics), for about the price of one."""
    sums, sizes = _by_cluster(differences, clusters)
    count = len(sizes)
    resampled = [(times @ sums) / (times @ sizes)[:, None] for times in _resamples(count, draws, seed)]
    lows, highs = np.quantile(np.concatenate(resampled), _TAILS, axis=0)
    means, wider = differences.mean(axis=0), _widening_factor(count)
    # no mean lies outside the differences, however few clusters there are
    lows = np.maximum(means + (lows - means) * wider, differences.min(axis=0))
    highs = np.minimum(means + (highs - means) * wider, differences.max(axis=0))
    rows = len(differences)
    return [
        Interval(float(mean), float(low), float(high), rows, count)
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def bootstrap_ratio(
    counted: Numbers, among: Numbers, *, clusters: Sequence[str], draws: int, seed: int = 0
) -> Interval | None:
    """Compute the 95 % interval of the difference of two models' ratios sum(counted) / sum(among).

    Whole clusters are resampled. Shapes: (n, 2), baseline and student. None if one of the models has nothing to count
    among. Raises NotEnoughClustersError below two clusters. Draws in which a model has nothing to count among are left
    out.
    """
    if not among.sum(axis=0).all():
        return None
    parts, _ = _by_cluster(counted, clusters)
    wholes, sizes = _by_cluster(among, clusters)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.concatenate([(times @ parts) / (times @ wholes) for times in _resamples(len(sizes), draws, seed)])
    before, after = counted.sum(axis=0) / among.sum(axis=0)
    low, high = np.nanquantile(ratios[:, 1] - ratios[:, 0], _TAILS)
    mean, wider = after - before, _widening_factor(len(sizes))
    low, high = max(mean + (low - mean) * wider, -1.0), min(mean + (high - mean) * wider, 1.0)
    return Interval(float(mean), float(low), float(high), len(counted), len(sizes))


def bootstrap_balanced(
    differences: ArrayLike, is_first: ArrayLike, *, clusters: Sequence[str], draws: int, seed: int = 0
) -> Interval | None:
    """Compute the 95 % interval of a difference in which two kinds of rows weigh the same, however many there are.

    It is the mean of the mean differences of the rows of the first kind and of the others, as in balanced accuracy
    (Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010). Whole clusters are resampled;
    a cluster may hold both kinds. Shapes: (n,). None without rows of both kinds. Draws that lack one are left out.
    Raises NotEnoughClustersError below two clusters.
    """
    first = np.asarray(is_first, np.bool_)
    kinds = np.column_stack([first, ~first]).astype(np.float64)
    if not kinds.any(axis=0).all():
        return None
    values = np.asarray(differences, np.float64)[:, None] * kinds
    sums, _ = _by_cluster(values, clusters)
    counts, sizes = _by_cluster(kinds, clusters)
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = [((times @ sums) / (times @ counts)).mean(axis=1) for times in _resamples(len(sizes), draws, seed)]
    mean = float((values.sum(axis=0) / kinds.sum(axis=0)).mean())
    low, high = np.nanquantile(np.concatenate(resampled), _TAILS)
    wider = _widening_factor(len(sizes))
    low, high = max(mean + (low - mean) * wider, -1.0), min(mean + (high - mean) * wider, 1.0)
    return Interval(mean, float(low), float(high), len(values), len(sizes))


def _resamples(clusters: int, draws: int, seed: int) -> Iterator[Numbers]:
    """Yield how often each cluster is drawn, in blocks of (some draws, clusters), until there were `draws` draws."""
    if clusters < 2:
        raise NotEnoughClustersError(
            f"An interval needs rows of at least 2 clusters (oracle chunks), here are {clusters}. Add documents."
        )
    random = np.random.default_rng(seed)
    most = max(1, MAX_CELLS // clusters)
    for first in range(0, draws, most):
        size = min(most, draws - first)
        drawn = random.integers(0, clusters, size=(size, clusters)) + np.arange(size)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)


def t_quantile(freedom: int) -> float:
    """Return the bound within which Student's t stays, to either side, with 95 % probability.

    `freedom` are the degrees of freedom. Computed by bisection of the angle atan(t / sqrt(freedom)), whose distribution
    is a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halvings: more than a float has bits
        angle = (low + high) / 2
        low, high = (angle, high) if _t_probability(angle, freedom) < CONFIDENCE else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _t_probability(angle: float, freedom: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term, total = (cosine if is_odd else 1.0), 0.0
    for step in range(freedom // 2):
        total += term
        divided = 2 * step + 2 + is_odd
        term *= cosine * cosine * (divided - 1) / divided
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total


def _widening_factor(clusters: int) -> float:
    """Return the factor by which the percentile bootstrap is too narrow.

    It takes the variance of `clusters` draws for that of a normal distribution and divides by their number instead of
    one less.
    """
    normal = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return t_quantile(clusters - 1) / normal * math.sqrt(clusters / (clusters - 1))


def clustered_standard_error(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """Return the standard error of the mean of (n,) differences whose clusters are independent.

    Source: arXiv 2411.00640, equation 4.
    """
    values = np.asarray(differences, np.float64)
    sums, _ = _by_cluster((values - values.mean())[:, None], clusters)
    return float(np.sqrt(np.square(sums).sum()) / len(values))


def smallest_detectable(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """Return the true difference that this many rows show with 80 % power at a two-sided level of 5 %.

    Shapes: (n,). Units: those of the differences.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(POWER)) * clustered_standard_error(
        differences, clusters
    )


def clusters_needed(differences: ArrayLike, clusters: Sequence[str]) -> int | None:
    """Return how many clusters like these would show a difference as large as the mean of (n,) differences, if real.

    With 80 % power at a two-sided level of 5 %; None for a mean of zero, which no number of clusters would show.
    """
    mean = float(np.mean(np.asarray(differences, np.float64)))
    if mean == 0.0:
        return None
    ratio = smallest_detectable(differences, clusters) / abs(mean)
    return math.ceil(len(set(clusters)) * ratio**2)


def sign_test(baseline: ArrayLike, student: ArrayLike) -> float:
    """Return the exact two-sided p of as many wins or losses, both (n,), if either were equally likely.

    Ties don't count; 1 if all are ties.
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
    """Sum up the (n, metrics) values of every cluster, and count its rows, in the order of the clusters' names."""
    names, position = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, position, values)
    return sums, np.bincount(position).astype(np.float64)
