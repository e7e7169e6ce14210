"""Ranges of calls, tokens and money, from the ways in which a run may go."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

from raft_assets.llm.requests import Answer, Usage
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Role

MIN_SAMPLE = 5  # stored answers from which a mean is taken
PADDING = 0.05  # of tokens: what a service counts, and passages that are shown, differ from what is counted here
MAX_WIDTH = 2.0  # a wider range helps nobody to decide: its middle is shown, unless a service may choose epochs
CALLS_AT_ONCE = 16  # what a service takes, until the limiter has measured it


@dataclass(frozen=True)
class Amount:
    """Calls, tokens and money of one end of a range; `dollars` is None where the price is unknown."""

    calls: int
    usage: Usage
    dollars: float | None


@dataclass(frozen=True)
class CallEstimate:
    """What an asset will ask of a role.

    `calls` are still to be made, `stored` are answered already; tokens and money are those of `calls`, as expected, and
    `low` and `high` the range in which they are. `dollars` is None where the price is unknown, `seconds` where no call
    of the model was timed yet. `assumed` names what no stored call could show.
    """

    asset: str
    role: Role
    model: str
    calls: int
    stored: int
    usage: Usage
    dollars: float | None
    seconds: float | None
    low: Amount
    high: Amount
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Length:
    """The mean length of answers in tokens: at least and at most."""

    low: float
    high: float

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Length | None":
        """Return the mean of a sample with its error (two standard errors); None for too small a sample."""
        if len(lengths) < MIN_SAMPLE:
            return None
        mean, error = fmean(lengths), 2 * stdev(lengths) / math.sqrt(len(lengths))
        return cls(max(mean - error, 0.0), mean + error)

    def at(self, place: float) -> float:
        """Return the length at a place in the range, from 0 to 1."""
        return self.low + (self.high - self.low) * place


def output_tokens(answers: Iterable[Answer]) -> list[int]:
    """Return the lengths of the answers that can be used."""
    return [answer.usage.output_tokens for answer in answers if answer.status == "ok"]


def estimate_of_ways(
    models: ModelClients,
    asset: str,
    role: Role,
    ways: Iterable[tuple[float, Usage]],
    *,
    seconds: float | None = None,
    cost: Callable[[Usage], float | None] | None = None,
    widest: float = MAX_WIDTH,
) -> CallEstimate:
    """Return an estimate from the ways in which a run may go.

    `cost`: of tokens, by default as calls. `widest`: the most to the least that is shown.
    """
    endpoint = models.endpoints[role]
    price = models.prices.of(endpoint)
    price_of = cost or partial(price.of, batched=endpoint.batch and role is not Role.EMBEDDING)
    weighed = [(_weight(price_of(usage), usage), calls, usage) for calls, usage in ways]
    weighed.sort(key=lambda way: way[0])
    middle = weighed[len(weighed) // 2]
    least, most = weighed[0][0], weighed[-1][0]
    span = most / least * (1 + PADDING) / (1 - PADDING) if least else 1.0
    if span > widest**2:  # a narrow range would hide how little is known
        widest = max(widest, min(span, MAX_WIDTH))
    if span > widest:
        centre = math.exp(fmean(math.log(weight) for weight, _, _ in weighed))
        reach = math.sqrt(widest * (1 - PADDING) / (1 + PADDING))
        least, most = centre / reach, centre * reach
        middle = min(weighed, key=lambda way: abs(math.log(way[0] / centre)))

    def amount(weight: float, share: float) -> Amount:
        """Return the nearest way, scaled to the weight."""
        nearest = min(weighed, key=lambda way: abs(way[0] - weight))
        scale = weight / nearest[0] if nearest[0] else 0.0
        usage = _scaled(nearest[2], scale * share)
        return Amount(round(nearest[1] * (scale if nearest[1] > 1 else 1)), usage, price_of(usage))

    _, calls, usage = middle
    at_once = min(CALLS_AT_ONCE, endpoint.limits.max_concurrency)
    return CallEstimate(
        asset,
        role,
        endpoint.model,
        round(calls),
        0,
        usage,
        price_of(usage),
        None if seconds is None else calls * seconds / at_once,
        low=amount(least, 1 - PADDING),
        high=amount(most, 1 + PADDING),
    )


def _weight(dollars: float | None, usage: Usage) -> float:
    """Return what ways are compared by: money, or tokens where their price is unknown or nothing."""
    return dollars or float(usage.input_tokens + usage.output_tokens)


def _scaled(usage: Usage, factor: float) -> Usage:
    return Usage(
        round(usage.input_tokens * factor), round(usage.cached_tokens * factor), round(usage.output_tokens * factor)
    )
