"""Whether the documents contain the answer at all: a logistic regression on how near they come to the question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raft_assets.embedded.encoder import Floats
from raft_assets.embedded.reader.ranking import Candidates, Flags
from raft_assets.embedded.reader.sentence_features import MEASURED

Doubles = npt.NDArray[np.float64]

# the best value that any sentence has of these. Words in common are left out: every generated question shares them with
# its sentence, so they would decide alone, and people's questions, which share few, would count as unanswerable
_EVIDENCE = ("cosine", "document_cosine", "window_cosine", "meaning", "meaning_by_rarity")
_COLUMNS = [list(MEASURED).index(name) for name in _EVIDENCE]
# Generated questions are so much nearer to their sentence than people's that the middle between present and absent
# would reject most of people's. Absent answers look alike for both, so the bar is where this share of them is rejected
REFUSED_ABSENT = 0.8
_PULL = 1e-2  # L2 on standardised weights: few rows decide, and their evidence is correlated
_NEWTON_STEPS = 30


@dataclass(frozen=True)
class Presence:
    """Weights of the evidence, then the intercept; below a probability of one half the answer counts as absent."""

    weights: Floats  # (evidence + 1,)

    def probability(self, evidence: Floats) -> float:
        """Return the probability that the documents contain the answer."""
        return float(1 / (1 + np.exp(-np.clip(evidence @ self.weights[:-1] + self.weights[-1], -30, 30))))


def evidence_of(candidates: Candidates) -> Floats:
    """Return what speaks for presence (evidence,)."""
    best: Floats = candidates.measured[:, _COLUMNS].max(axis=0)
    return best


def learn_presence(evidence: Sequence[Floats], present: Sequence[bool]) -> Presence | None:
    """Fit the weights, with equal total weight for present and absent rows; None if one of the two is missing."""
    rows, labels = np.array(evidence, np.float64), np.array(present, bool)
    if labels.all() or not labels.any():
        return None
    mean, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    weights = _logistic(np.c_[(rows - mean) / spread, np.ones(len(rows))], labels)
    slopes = weights[:-1] / spread
    intercept = weights[-1] - slopes @ mean
    strict_enough = -np.quantile((rows @ slopes)[~labels], REFUSED_ABSENT)
    return Presence(np.append(slopes, max(intercept, strict_enough)).astype(np.float32))


def _logistic(rows: Doubles, labels: Flags) -> Doubles:
    """Maximize the balanced, regularized log likelihood by Newton's method; the intercept (last) is free."""
    importance = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    pull = np.append(np.full(rows.shape[1] - 1, _PULL), 0.0)
    weights = np.zeros(rows.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (importance * (probability - labels)) + pull * weights
        curvature = (rows * (importance * probability * (1 - probability))[:, None]).T @ rows + np.diag(pull + 1e-9)
        weights = weights - np.linalg.solve(curvature, slope)
    return weights
