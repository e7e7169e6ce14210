"""Does the interval behind the verdict keep its promise? Simulated pairs of models, scored as token F1 is.

    python benchmarks/verdict.py [PAIRS]     2,000 pairs a number of clusters by default

Null pairs are one model twice: each reads some passages better than the other by chance, so that the rows of a cluster
hang together. Their interval may leave zero out in at most 5 % of the pairs. Other pairs differ by a known amount; they
must be told apart as often as theory says. The guards are not simulated: they only take a "better" back.
"""

import sys
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from raft_assets.evaluation.statistics import CONFIDENCE, POWER, paired_bootstrap

PAIRS = 2000
CLUSTERS = (20, 30, 40, 80, 200)
DRAWS = 1000  # of a bootstrap
GAIN = 1.0  # of the student's log-odds, before it is shrunk to what so many clusters can show
MANY = 100_000  # clusters that stand for all there are
NORMAL = NormalDist()


def main() -> None:
    """Simulates and prints, one line per number of clusters."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    for count in CLUSTERS:
        null = np.mean([_is_told(count, 0.0, seed) for seed in range(pairs)])
        gain = _gain_to_show(count)
        shown = np.mean([_is_told(count, gain, pairs + seed) for seed in range(pairs)])
        difference, error = _population(count, gain)
        theory = NORMAL.cdf(difference / error - NORMAL.inv_cdf((1 + CONFIDENCE) / 2))
        print(
            f"{count} clusters: better or worse in {null:.1%} of {pairs:,} null pairs (at most {1 - CONFIDENCE:.0%}); "
            f"a difference of {difference:.3f} told in {shown:.1%}, theory {theory:.1%} ({shown / theory:.2f} of it)"
        )


def _is_told(count: int, gain: float, seed: int) -> bool:
    baseline, student, clusters = _pair(count, gain, seed)
    interval = paired_bootstrap(baseline, student, clusters=[str(name) for name in clusters], draws=DRAWS, seed=seed)
    return interval.low > 0 or interval.high < 0


def _pair(count: int, gain: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Sequence[int]]:
    """Scores of both models on one to six questions a passage: right, partly right or wrong."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(random.geometric(0.45, size=count), 6)
    clusters = np.repeat(np.arange(count), sizes)
    ease = random.normal(0.3, 1.2, size=len(clusters)) + random.normal(0, 0.8, size=count)[clusters]

    def scores(better: float) -> NDArray[np.float64]:
        own = random.normal(0, 0.7, size=count)[clusters]  # this model's luck with this passage
        right = random.random(len(clusters)) < 1 / (1 + np.exp(-(ease + own + better)))
        partly = random.random(len(clusters)) * (random.random(len(clusters)) < 0.5)
        return np.where(right, 1.0, partly)

    return scores(0.0), scores(gain), clusters.tolist()


def _population(count: int, gain: float) -> tuple[float, float]:
    """True difference, and the standard error of its estimate from `count` clusters (arXiv 2411.00640, equation 4)."""
    baseline, student, clusters = _pair(MANY, gain, seed=MANY)
    differences = student - baseline
    mean = float(differences.mean())
    sums = np.bincount(clusters, weights=differences - mean)
    error = np.sqrt(np.square(sums).mean() / count) / (len(differences) / MANY)
    return mean, float(error)


def _gain_to_show(count: int) -> float:
    """A gain whose difference so many clusters show with about 80 % power."""
    difference, error = _population(count, GAIN)
    return GAIN * (NORMAL.inv_cdf((1 + CONFIDENCE) / 2) + NORMAL.inv_cdf(POWER)) * error / difference


if __name__ == "__main__":
    main()
