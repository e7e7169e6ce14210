"""Concurrency and rate limits of a model, discovered at run time and shared by the processes of this machine.

Concurrency is discovered as TCP discovers a line's: slow start (one more for every answer) until the first rejection,
then less by a tenth or by all that was rejected, then more again with every round of answers; a window that was
rejected is tried again only rarely. A rejection among fewer calls than were answered before is one of a rate. Rates are
paced as the service's headers report them, or as they are set. The state is shared, so that processes which call the
same model at the same time share its limit, evenly while each of them wants more; what a killed process held is
released.

Not here: what a rejection is (`service_errors`) and how long one call waits after it (`attempts`).
"""

import asyncio
import contextlib
import json
import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from raft_assets.core.identity import short_digest
from raft_assets.core.ports import Coordination
from raft_assets.settings.endpoints import Endpoint, Limits

FOLDER = "calls/limits"  # of the states
FIRST_WINDOW = 4  # calls at once before anything is known
DECREASE, MAX_DECREASE = 0.9, 0.5  # of the window, in one round: always half would leave a quarter unused
PROVEN_DECAY = 0.8  # of the calls at once that were answered, after each round with a rejection below them
PROBE_AFTER = 50  # answers before a window that was rejected is tried again: at most 2 % of calls are rejected by it
MAX_CONSECUTIVE_REJECTIONS = 3  # without an answer between them: a rate is exhausted, and every call waits
MAX_PAUSE_S = 120.0  # for every call; where a longer wait is asked for, a day's quota, calls fail and are reported
BURST_S = 10.0  # Azure counts rates over 1 to 10 seconds, not over the minute
PACING_FACTOR = 0.99  # of the limit: two clocks differ
MIN_WAIT_S = 1e-3  # below it clocks and sleeps can't distinguish one moment from the next
POLL_S = 0.05  # while other processes hold what is waited for
SOLO_POLL_S = 1.0  # where there are none: a call of this process that ends wakes the others
STATE_TTL_S = 600.0  # what was discovered of an endpoint so long ago may no longer hold


@dataclass
class _Rate:
    """A bucket of at most `BURST_S` seconds of a limit per minute."""

    per_minute: float | None = None
    level: float = 0.0
    at: float = 0.0

    def limit(self, per_minute: float, now: float) -> None:
        """Set the limit; a new one starts with a full bucket."""
        if per_minute != self.per_minute:
            self.per_minute, self.level, self.at = per_minute, per_minute / 60 * BURST_S, now

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` may be spent; more than a bucket holds waits for a full one."""
        if self.per_minute is None:
            return 0.0
        per_second = self.per_minute / 60 * PACING_FACTOR
        capacity = max(self.per_minute / 60 * BURST_S, 1.0)
        self.level, self.at = min(capacity, self.level + (now - self.at) * per_second), now
        wait = (min(amount, capacity) - self.level) / per_second
        return wait if wait > MIN_WAIT_S else 0.0

    def spend(self, amount: float) -> None:
        """Take `amount` out of the bucket."""
        self.level -= amount


@dataclass
class _Member:
    """A limiter of some process: its calls under way, and whether one more waits."""

    in_flight: int = 0
    waits: bool = False


@dataclass
class _State:
    window: float = float(FIRST_WINDOW)
    peak: float = math.inf  # the smallest window that was rejected; infinite in slow start
    step: float = 1.0  # by which a window that was rejected once is exceeded, doubled each time that succeeds
    proven: float = 0.0  # calls at once of which one was answered
    full_at: float = -math.inf  # when a call last had to wait for a full window
    answers: int = 0  # since the last rejection
    decreased_at: float = 0.0
    before: tuple[float, float] = (FIRST_WINDOW, math.inf)  # window and peak before the last round with rejections
    paused_until: float = 0.0
    rejections: int = 0  # since the last answer; of those without rate headers one a round
    touched_at: float = 0.0
    requests: _Rate = field(default_factory=_Rate)
    tokens: _Rate = field(default_factory=_Rate)
    members: dict[str, _Member] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, now: float) -> "_State":
        """Return the stored state if it is complete, of this boot of the machine and not too old, else a new one."""
        try:
            stored = json.loads(text)
            state = cls(
                **stored
                | {
                    "requests": _Rate(**stored["requests"]),
                    "tokens": _Rate(**stored["tokens"]),
                    "members": {name: _Member(**member) for name, member in stored["members"].items()},
                }
            )
        except (ValueError, TypeError, KeyError):
            return cls(touched_at=now)
        return state if 0 <= now - state.touched_at < STATE_TTL_S else cls(touched_at=now, members=state.members)

    @property
    def in_flight(self) -> int:
        """Calls under way in all processes."""
        return sum(member.in_flight for member in self.members.values())


@dataclass
class Admission:
    """One try of a call: admitted at `started` as one of `at_once`, then completed with its outcome."""

    started: float
    at_once: int
    headers: Mapping[str, str] | None = None
    retry_after_s: float | None = None  # what the service asks to wait; 0 if it doesn't say
    answered: bool = False

    def record_answer(self, headers: Mapping[str, str]) -> None:
        """Record that the service accepted the call, whatever it answered."""
        self.answered, self.headers = True, headers

    def record_rate_limit(self, after_s: float | None, headers: Mapping[str, str]) -> None:
        """Record that the service had no capacity for the call (429, or an overloaded 503)."""
        self.retry_after_s, self.headers = after_s or 0.0, headers


class Limiter:
    """Admits the calls of one model at one endpoint, in the order in which they arrive.

    `state` names what all limiters of the model share. `close` releases what this one holds.
    """

    def __init__(
        self, coordination: Coordination, state: str, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._coordination, self._state = coordination, state
        self._limits = limits
        self._clock = clock  # the system's monotonic clock is one for all processes
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = coordination.claim(self._claim_of(self._name))
        self._queue, self._retried = asyncio.Lock(), asyncio.Lock()
        self._changed = asyncio.Event()
        self._dead_checked_at = 0.0

    @classmethod
    def of(cls, coordination: Coordination, endpoint: Endpoint, model: str) -> "Limiter":
        """Return a limiter of a model."""
        return cls(coordination, f"{FOLDER}/{short_digest('limits', endpoint.service, model)}", endpoint.limits)

    @contextlib.asynccontextmanager
    async def admit(self, tokens: int, *, again: bool = False) -> AsyncIterator[Admission]:
        """Wait until a call of about that many tokens may be made, and count it as under way.

        One that is tried `again` doesn't queue behind calls that weren't tried yet: its answer is waited for.
        """
        async with self._retried if again else self._queue:
            while isinstance(turn := self._try_admit(tokens), float):
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), turn)
        try:
            yield turn
        finally:
            self._release(turn)
            self._changed.set()

    @property
    def window(self) -> int:
        """Calls at once that the endpoint is believed to accept."""
        with self._locked_state() as state:
            return self._window_size(state)

    def close(self) -> None:
        """Release what this limiter holds."""
        if self._alive is not None:
            with self._locked_state() as state:
                state.members.pop(self._name, None)
            self._alive.close()
            self._alive = None

    def _try_admit(self, tokens: int) -> Admission | float:
        """Return the admission of a call, counted as under way, else the seconds after which to try again."""
        with self._locked_state() as state:
            now = self._clock()
            me = state.members.setdefault(self._name, _Member())
            me.waits = not self._has_room(state, me)
            if me.waits:
                state.full_at = now
            wait = max(
                state.paused_until - now,
                state.requests.wait(1, now),
                state.tokens.wait(tokens, now),
                (POLL_S if len(state.members) > 1 else SOLO_POLL_S) if me.waits else 0.0,
            )
            if wait:
                return wait
            me.in_flight += 1
            state.requests.spend(1)
            state.tokens.spend(tokens)
            return Admission(now, state.in_flight)

    def _has_room(self, state: _State, me: _Member) -> bool:
        """Return whether the window has room.

        No process takes more than a fair share while others wait.
        """
        room = self._window_size(state)
        others = [member for member in state.members.values() if member is not me]
        if others and state.in_flight >= room:
            self._remove_dead_members(state)
        if state.in_flight >= room:
            return False
        contenders = 1 + sum(member.waits or member.in_flight > 0 for member in others)
        return me.in_flight < max(1, room / contenders) or not any(member.waits for member in others)

    def _window_size(self, state: _State) -> int:
        return max(1, min(int(state.window), self._limits.max_concurrency))

    def _release(self, turn: Admission) -> None:
        with self._locked_state() as state:
            now = self._clock()
            state.members.setdefault(self._name, _Member(in_flight=1)).in_flight -= 1
            self._learn(state, turn.headers or {}, now)
            if turn.answered:
                state.rejections, state.answers = 0, state.answers + 1
                state.proven = max(state.proven, turn.at_once)
                if state.full_at >= turn.started:  # a window that no call waits for says nothing about a larger one
                    self._grow(state)
            elif turn.retry_after_s is not None:
                self._shrink(state, turn, now)

    def _grow(self, state: _State) -> None:
        """Grow the window: by one per answer in slow start, later by half the way to the peak per round of answers."""
        if state.peak == math.inf:
            state.window += 1
        else:
            state.window += max(1.0, (state.peak - state.window) / 2) / state.window
        if state.window >= state.peak:
            if state.answers < PROBE_AFTER:
                state.window = state.peak - 0.01
            else:
                state.window, state.peak, state.answers = state.peak, state.peak + state.step, 0
                state.step *= 2
        state.window = min(state.window, float(self._limits.max_concurrency))

    def _shrink(self, state: _State, turn: Admission, now: float) -> None:
        """Shrink the window after a rejection.

        Calls that started before the round of the last decrease say nothing about the window after it.
        """
        is_new_round = turn.started > state.decreased_at
        if is_new_round:
            state.before, state.decreased_at = (float(self._window_size(state)), state.peak), now
        # a burst that is too large is rejected as a whole: without the rate's headers that says nothing of a rate
        state.rejections += is_new_round or _has_rate_headers(turn.headers or {})
        state.answers, state.step = 0, 1.0
        if turn.at_once > state.proven:
            window = state.before[0]
            # where rejections come at once, what is still under way is what the endpoint takes
            taken = max(1.0, min(float(state.in_flight), DECREASE * window), MAX_DECREASE * window)
            state.window = min(state.window, taken)
            state.peak = max(2.0, min(window, float(state.in_flight + 1)))
        elif (
            is_new_round
        ):  # so many at once were answered: a rate was exceeded, or the endpoint accepts less than before
            state.proven *= PROVEN_DECAY
        after_s = turn.retry_after_s or 0.0
        if state.rejections >= MAX_CONSECUTIVE_REJECTIONS and 0 < after_s <= MAX_PAUSE_S:
            state.paused_until = max(state.paused_until, now + after_s)
            state.window, state.peak = state.before  # a rate is exhausted, which says nothing of calls at once

    def _learn(self, state: _State, headers: Mapping[str, str], now: float) -> None:
        """Set the rates as configured, else as the service reports them.

        What it reports as left isn't used: the answers under way were counted at other times, and applied one after
        another they would empty a bucket that has been filled since.
        """
        known = {"requests": self._limits.requests_per_minute, "tokens": self._limits.tokens_per_minute}
        for name, rate in (("requests", state.requests), ("tokens", state.tokens)):
            per_minute = known[name] or _parse_number(headers.get(f"x-ratelimit-limit-{name}"))
            if per_minute:
                rate.limit(per_minute, now)

    @contextlib.contextmanager
    def _locked_state(self) -> Iterator[_State]:
        """Hold the shared state and write it back at the end."""
        with self._coordination.shared(self._state) as shared:
            now = self._clock()
            state = _State.parse(shared.text, now)
            self._learn(state, {}, now)
            yield state
            state.touched_at = now
            shared.text = json.dumps(asdict(state))

    def _remove_dead_members(self, state: _State) -> None:
        """Remove members whose process has ended without `close`: no process holds their claim."""
        if self._clock() - self._dead_checked_at < 1.0:
            return
        self._dead_checked_at = self._clock()
        for name in [name for name in state.members if name != self._name]:
            if not self._coordination.is_claimed(self._claim_of(name)):
                del state.members[name]

    def _claim_of(self, member: str) -> str:
        return f"{self._state}.{member}"


def _has_rate_headers(headers: Mapping[str, str]) -> bool:
    return any(name.startswith("x-ratelimit-") for name in headers)


def _parse_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None
