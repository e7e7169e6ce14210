"""An event loop whose clock jumps to the next timer, and an endpoint with limits to try a limiter on."""

import asyncio
import math
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
    """Takes so many calls at once and so many a minute (a sliding window); counts what it rejects."""

    loop: VirtualLoop
    latency_s: float = 0.5
    at_once: int = 10**9
    per_minute: int | None = None
    tells_rate: bool = True
    busy_for_s: float | None = None  # what it asks to wait where too many calls are under way
    rejected: int = 0
    answered: int = 0
    in_flight: int = 0
    _taken: deque[float] = field(default_factory=deque)

    async def call(self) -> tuple[bool, float | None, dict[str, str]]:
        """(answered, seconds to wait after a rejection, headers)."""
        now = self.loop.time()
        while self._taken and self._taken[0] <= now - 60:
            self._taken.popleft()
        if self.per_minute is not None and len(self._taken) >= self.per_minute:
            await asyncio.sleep(0.005)
            self.rejected += 1
            return False, math.ceil(self._taken[0] + 60 - now), self._headers()
        if self.in_flight >= self.at_once:
            await asyncio.sleep(0.005)
            self.rejected += 1
            return False, self.busy_for_s, {}
        self._taken.append(now)
        self.in_flight += 1
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        self.answered += 1
        return True, None, self._headers()

    def _headers(self) -> dict[str, str]:
        if self.per_minute is None or not self.tells_rate:
            return {}
        return {"x-ratelimit-limit-requests": str(self.per_minute)}
