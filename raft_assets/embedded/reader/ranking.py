"""Linear rankers: a score per candidate from measured and from categorical features, and how weights are learned.

Features are declared by name in tables next to the code that measures them; this module knows only their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raft_assets.embedded.encoder import Floats

Codes = npt.NDArray[np.int16]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Category:
    """A categorical feature: its name and values, and whether each kind of question has weights of its own for them."""

    name: str
    values: tuple[str, ...]
    by_kind: bool = False


@dataclass(frozen=True)
class CategoryTable:
    """Where the weights of all values are in one vector: plain weights, then those by kind of question."""

    categories: tuple[Category, ...]
    kinds: tuple[str, ...]

    def names(self) -> list[str]:
        """Return the name of every weight, in order."""
        plain = [f"{category.name}={value}" for category in self.categories for value in category.values]
        crossed = [category for category in self.categories if category.by_kind]
        by_kind = [
            f"{kind}:{category.name}={value}"
            for category in crossed
            for kind in self.kinds
            for value in category.values
        ]
        return plain + by_kind

    def indices(self, codes: Codes, kinds: npt.NDArray[np.int64]) -> Indices:
        """Return positions of values' weights.

        Shapes: codes (n, categories), kinds (n,), result (n, weights of each).
        """
        sizes = np.array([len(category.values) for category in self.categories], np.int64)
        crossed = np.array([number for number, category in enumerate(self.categories) if category.by_kind], np.int64)
        plain = codes + (np.cumsum(sizes) - sizes)
        blocks = len(self.kinds) * sizes[crossed]
        by_kind = codes[:, crossed] + (sizes.sum() + np.cumsum(blocks) - blocks) + kinds[:, None] * sizes[crossed]
        return np.concatenate([plain, by_kind], axis=1)


@dataclass(frozen=True)
class Candidates:
    """What is known about candidates; `kinds` is the kind of their question."""

    measured: Floats  # (candidates, measured features)
    codes: Codes  # (candidates, categories)
    meaning: Floats  # (candidates, dimensions of meaning), weighed by kind of question
    kinds: npt.NDArray[np.int64]  # (candidates,)

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, numbers: Indices) -> "Candidates":
        """Return the candidates of these numbers."""
        return Candidates(self.measured[numbers], self.codes[numbers], self.meaning[numbers], self.kinds[numbers])

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Join candidates, in order."""
        return cls(
            np.concatenate([part.measured for part in parts]),
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.meaning for part in parts]),
            np.concatenate([part.kinds for part in parts]),
        )


@dataclass(frozen=True)
class Ranker:
    """Weights. A score is measured · w, plus the weights of its values, plus meaning · the weights of its kind."""

    table: CategoryTable
    measured: Floats  # (measured features,)
    categorical: Floats  # (names of the table,)
    meaning: Floats  # (kinds, dimensions of meaning)

    def scores(self, candidates: Candidates) -> Floats:
        """Return the score of every candidate (candidates,)."""
        indices = self.table.indices(candidates.codes, candidates.kinds)
        return self._scores(candidates, indices)

    def _scores(self, candidates: Candidates, indices: Indices) -> Floats:
        scores = candidates.measured @ self.measured
        scores += self.categorical[indices].sum(axis=1)
        scores += np.einsum("cd,cd->c", candidates.meaning, self.meaning[candidates.kinds])
        return scores

    def gradient(self, samples: Sequence["RankingSample"]) -> tuple["Ranker", "Fit"]:
        """Return the gradient of the mean loss with respect to every weight, and the fit."""
        candidates = Candidates.joined([sample.candidates for sample in samples])
        right = np.concatenate([sample.right for sample in samples])
        starts = np.cumsum([0, *(len(sample.candidates) for sample in samples)])[:-1]
        indices = self.table.indices(candidates.codes, candidates.kinds)
        scores = self._scores(candidates, indices)
        probabilities = _softmax(scores, starts)
        right_mass = np.maximum(np.add.reduceat(probabilities * right, starts), 1e-12)
        counts = np.diff([*starts, len(candidates)])
        slopes = (probabilities - probabilities * right / np.repeat(right_mass, counts)) / len(samples)
        by_weight = np.bincount(indices.ravel(), np.repeat(slopes, indices.shape[1]), minlength=len(self.categorical))
        of_kind = (candidates.kinds == np.arange(len(self.meaning))[:, None]).astype(np.float32)
        by_meaning = of_kind @ (slopes[:, None] * candidates.meaning)
        best = np.maximum.reduceat(scores, starts)
        best_right = np.maximum.reduceat(np.where(right, scores, -np.inf), starts)
        fit = Fit(float(-np.log(right_mass).mean()), float((best_right >= best).mean()), len(samples))
        return Ranker(self.table, candidates.measured.T @ slopes, by_weight.astype(np.float32), by_meaning), fit

    def fit_of(self, samples: Sequence["RankingSample"], *, at_once: int = 64) -> "Fit":
        """Return mean loss and accuracy over samples, without learning."""
        fits = [self.gradient(samples[start : start + at_once])[1] for start in range(0, len(samples), at_once)]
        count = sum(fit.count for fit in fits)
        loss = sum(fit.loss * fit.count for fit in fits) / count
        return Fit(loss, sum(fit.accuracy * fit.count for fit in fits) / count, count)


@dataclass(frozen=True)
class RankingSample:
    """The candidates of one question and which of them are right (one at least)."""

    candidates: Candidates
    right: Flags


@dataclass(frozen=True)
class Fit:
    """Mean of -log P(a right candidate), and the share of questions whose best candidate is right."""

    loss: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Schedule:
    """How weights are learned. `pull`: strength with which every weight is drawn back to its start (L2)."""

    epochs: int
    batch_size: int
    learning_rate: float
    pull: float
    seed: int


def learn(start: Ranker, samples: Sequence[RankingSample], schedule: Schedule) -> Iterator[tuple[Ranker, Fit]]:
    """Yield the ranker after each step, and its fit to the step's samples before it.

    Adam (arXiv 1412.6980); the rate falls linearly to a tenth.
    """
    rng = np.random.default_rng(schedule.seed)
    batches = -(-len(samples) // schedule.batch_size)
    steps = schedule.epochs * batches
    weights = origin = np.concatenate([start.measured, start.categorical, start.meaning.ravel()])
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    ranker, step = start, 0
    for _ in range(schedule.epochs):
        for chosen in np.array_split(rng.permutation(len(samples)), batches):
            step += 1
            gradient, fit = ranker.gradient([samples[number] for number in chosen])
            slope = np.concatenate(
                [gradient.measured, gradient.categorical, gradient.meaning.ravel()]
            ) + schedule.pull * (weights - origin)
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope * slope
            rate = schedule.learning_rate * (1 - 0.9 * step / steps)
            mean, spread = first / (1 - 0.9**step), np.sqrt(second / (1 - 0.999**step))
            weights = weights - rate * mean / (spread + 1e-8)
            ranker = _with_weights(start, weights)
            yield ranker, fit


def _with_weights(shape: Ranker, weights: Floats) -> Ranker:
    measured, categorical, meaning = np.split(weights, np.cumsum([len(shape.measured), len(shape.categorical)]))
    meaning = meaning.reshape(shape.meaning.shape)
    return Ranker(shape.table, *(part.astype(np.float32) for part in (measured, categorical, meaning)))


def _softmax(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    """Return the probabilities within each segment of scores."""
    counts = np.diff([*starts, len(scores)])
    exponentials = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), counts))
    probabilities: Floats = exponentials / np.repeat(np.add.reduceat(exponentials, starts), counts)
    return probabilities
