"""An event loop whose clock jumps to the next timer, and an endpoint to try a limiter on, which queues or rejects."""

import asyncio
import math
import random
import selectors
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWait(selectors.SelectSelector):
    """Reports at once that nothing came, and lets the loop's time pass instead."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.time += max(timeout or 0.0, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Hours pass in seconds; only timers move its clock."""

    def __init__(self) -> None:
        self._clock = _NoWait()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.time


def run_virtually(work: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Runs to the end on the loop, and closes it."""
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@dataclass
class Endpoint:
    """Takes so many calls at once and so many calls and tokens a minute, and counts what it rejects.

    Rates are those of a sliding window. `slots`: it answers so many calls at once and keeps the others in a queue;
    `slowdown`: each call under way makes all others slower by this share, as in a server that computes in batches;
    `spread` is the standard deviation of the logarithm of latencies; `random_share` of calls is rejected for no reason.
    """

    loop: VirtualLoop
    latency_s: float = 0.5
    at_once: int = 10**9
    per_minute: int | None = None
    tokens_per_minute: int | None = None
    counts_maximum: bool = False  # of the answer, instead of what is used
    window_s: float = 60.0
    tells_rate: bool = True
    busy_for_s: float | None = None  # what it asks to wait where too many calls are under way
    slots: int | None = None
    slowdown: float = 0.0
    spread: float = 0.0
    random_share: float = 0.0
    seed: int = 0
    rejected: int = 0
    answered: int = 0
    in_flight: int = 0
    most_at_once: int = 0
    worked_s: float = 0.0  # of all slots
    _taken: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._queue = None if self.slots is None else asyncio.Semaphore(self.slots)

    async def call(self, *, prompt: int = 0, used: int = 0, most: int = 0) -> tuple[bool, float | None, dict[str, str]]:
        """(answered, seconds to wait after a rejection, headers)."""
        rejection = self._rejection(prompt + (most if self.counts_maximum else used))
        if rejection:
            await asyncio.sleep(0.005)
            self.rejected += 1
            return False, *rejection
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            await self._work()
        finally:
            self.in_flight -= 1
        self.answered += 1
        return True, None, self._headers()

    def _rejection(self, tokens: int) -> tuple[float | None, dict[str, str]] | None:
        """(seconds to wait, headers) of a call that is not taken."""
        now = self.loop.time()
        if self._chance.random() < self.random_share:
            return None, {}
        while self._taken and self._taken[0][0] <= now - self.window_s:
            self._taken.popleft()
        wait_s = math.ceil(self._taken[0][0] + self.window_s - now) if self._taken else 0
        share = self.window_s / 60
        if self.per_minute is not None and len(self._taken) >= self.per_minute * share:
            return wait_s, self._headers()
        if self.tokens_per_minute is not None and self._tokens() + tokens > self.tokens_per_minute * share:
            return wait_s, self._headers()
        if self.in_flight >= self.at_once:
            return self.busy_for_s, {}
        if self.per_minute is not None or self.tokens_per_minute is not None:
            self._taken.append((now, tokens))
        return None

    async def _work(self) -> None:
        latency_s = self.latency_s * self._chance.lognormvariate(-(self.spread**2) / 2, self.spread)
        if self._queue is None:
            await asyncio.sleep(latency_s * (1 + self.slowdown * self.in_flight))
            return
        async with self._queue:
            await asyncio.sleep(latency_s)
        self.worked_s += latency_s

    def _tokens(self) -> int:
        return sum(tokens for _, tokens in self._taken)

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if not self.tells_rate:
            return headers
        if self.per_minute is not None:
            headers["x-ratelimit-limit-requests"] = str(self.per_minute)
        if self.tokens_per_minute is not None:
            left = int(self.tokens_per_minute * self.window_s / 60) - self._tokens()
            headers |= {
                "x-ratelimit-limit-tokens": str(self.tokens_per_minute),
                "x-ratelimit-remaining-tokens": str(left),
            }
        return headers
