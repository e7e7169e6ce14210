"""Requests and tokens a minute: how they are paced, and how many tokens a call is expected to count.

What belongs here: arithmetic on the state that `limits` shares between processes. Where limits come from, and what
waits, is up to `limits`.
"""

import math
from dataclasses import dataclass

BURST_S = 1.0  # of a limit a minute: services count over 1 to 60 seconds, and a larger burst exceeds all of these
MEMORY_S = 60.0  # over which spending counts before the limit is known, as services do
PACING_FACTOR = 0.99  # of the limit: two clocks differ
MIN_WAIT_S = 1e-3  # below it clocks and sleeps can't distinguish one moment from the next
EMPTY_S = 0.25  # after a rejection; the wait that services ask for is rounded up to seconds
SHARE_WEIGHT = 0.05  # of one more answer in the usual share of the maximum
# rejections until a service is taken to count the maximum, how they fade per answer, and after how many answers that is
# tried again: they may have had another cause, such as another user of the same limit
MAX_DOUBTS, DOUBTS_DECAY, MAXIMUM_AGAIN = 8.0, 0.97, 1000


@dataclass
class Rate:
    """A bucket of a limit per minute.

    `level` is what may be spent, and a debt below zero. While there is no limit it is what was spent of late.
    """

    per_minute: float | None = None
    level: float = 0.0
    at: float | None = None  # when the level was brought up to date
    since: float = 0.0  # when something was first spent

    @property
    def _capacity(self) -> float:
        return max((self.per_minute or 0.0) / 60 * BURST_S, 1.0)

    def limit(self, per_minute: float, now: float) -> None:
        """Set the limit. What was spent in the minute before counts: the service has counted it."""
        if per_minute == self.per_minute:
            return
        self._update(now)
        is_first, self.per_minute = self.per_minute is None, per_minute
        if is_first:
            self.level += self._capacity + min(now - self.since, MEMORY_S) * per_minute / 60 if self.level else math.inf
        self.level = min(self.level, self._capacity)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` may be spent; more than a bucket holds waits for a full one."""
        self._update(now)
        if self.per_minute is None:
            return 0.0
        wait = (min(amount, self._capacity) - self.level) / (self.per_minute / 60 * PACING_FACTOR)
        return wait if wait > MIN_WAIT_S else 0.0

    def spend(self, amount: float, now: float) -> None:
        """Take `amount` out of the bucket, or put back a negative one."""
        self._update(now)
        if not self.level:
            self.since = now
        self.level -= amount
        if self.per_minute is not None:
            self.level = min(self.level, self._capacity)

    def empty(self) -> None:
        """Spend nothing for a moment, because the service says that nothing is left."""
        if self.per_minute is not None:
            self.level = min(self.level, -self.per_minute / 60 * EMPTY_S)

    def hold(self, seconds: float) -> None:
        """Save nothing up for so long, in which nothing is spent."""
        if self.per_minute is not None:
            self.level = min(self.level, -self.per_minute / 60 * PACING_FACTOR * seconds)

    def _update(self, now: float) -> None:
        elapsed = 0.0 if self.at is None else max(0.0, now - self.at)
        self.at = now
        if self.per_minute is not None:
            self.level = min(self._capacity, self.level + elapsed * self.per_minute / 60 * PACING_FACTOR)
        elif self.level:
            self.level *= math.exp(-elapsed / MEMORY_S)


@dataclass
class TokenCount:
    """How many tokens of a call the service counts against its rate.

    Some count what was used, others the maximum of the answer. What is used is assumed, until calls are rejected again
    and again although enough was left by that count.
    """

    share: float = 1.0  # of the maximum of the answer that is usually used
    answers: int = 0
    counts_maximum: bool = False
    since: int = 0  # answers since that was found out
    doubts: float = 0.0  # rejections of late

    def expected(self, prompt: int, max_output: int) -> float:
        """Return the tokens to reserve for a call."""
        return prompt + max_output * (1.0 if self.counts_maximum else self.share)

    def actual(self, used: int, most: int) -> float:
        """Return what a call counts that used so many tokens of so many at most."""
        return max(used, most) if self.counts_maximum else used

    def record(self, output: int, max_output: int) -> None:
        """Record an answer."""
        self.doubts *= DOUBTS_DECAY
        self.since += 1
        if self.since >= MAXIMUM_AGAIN:
            self.counts_maximum = False
        if max_output:
            self.answers += 1
            weight = max(SHARE_WEIGHT, 1 / self.answers)
            self.share += weight * (min(output / max_output, 1.0) - self.share)

    def record_rejection(self) -> None:
        """Record that a call was rejected although enough tokens should have been left."""
        self.doubts += 1
        if self.doubts >= MAX_DOUBTS:
            self.counts_maximum, self.since, self.doubts = True, 0, 0.0
