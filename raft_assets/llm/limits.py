"""Concurrency and rate limits of a model, discovered at run time and shared by the processes of this machine.

Concurrency is discovered as TCP discovers a line's: a fast start until the service rejects calls, or answers no more of
them a second (`throughput`); then less by a tenth or by all that was rejected, then more again with every round of
answers; a window that was rejected is tried again only rarely. A rejection says something of the window only where
calls beyond it aren't accepted at the same time: services that share their capacity reject at random. A rejection among
fewer calls than were answered before is one of a rate. Rates are paced as the service's headers report them, or as they
are set (`rates`). A call that isn't answered in time halves the window. The state is shared, so that processes which
call the same model at the same time share its limit, evenly while each of them wants more; what a killed process held
is released.

Not here: what a rejection is (`service_errors`) and how long one call waits after it (`attempts`).
"""

import asyncio
import contextlib
import json
import math
import os
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raft_assets.core.identity import short_digest
from raft_assets.core.ports import Coordination
from raft_assets.llm.rates import Rate, TokenCount
from raft_assets.llm.throughput import Level, Outlook, Throughput
from raft_assets.settings.endpoints import Endpoint, Limits

FOLDER = "calls/limits"  # of the states
FIRST_WINDOW, FIRST_RAMP = 4, 32.0  # calls at once before anything is known, and before the first answer
# of a server that somebody runs: it may answer one call at a time, and nothing is known of it
LOCAL_FIRST_WINDOW, LOCAL_FIRST_RAMP = 2, 8.0
MIN_WINDOW = 2.0  # where latency limits it: a server that answers one call finds the next one waiting
RAMP_S, RAMP_TICK_S = 0.25, 0.05  # in which the window doubles while nothing is rejected; how often it grows
EXPLORE, EXPLORE_AGAIN = 4.0, 2.0  # times the calls at once that were worth making, before and after a limit was found
DOUBT_S = 0.25  # after a rejection, in which the window doesn't grow: the same number of calls is tried again
# rejections of about as many calls at once before they are too many: not by chance, where a tenth of all is rejected;
# one is enough where so many were rejected before, unless of late that share of rejections came by chance
MAX_DOUBTS, MAX_BY_CHANCE, BY_CHANCE_WEIGHT = 4, 0.01, 0.02
MAX_DECREASE = 0.5  # of the window, in one round
PROVEN_DECAY = 0.8  # of the calls at once that were answered, after each round with a rejection below them
# answers before a window that was rejected is tried again, doubled each time that fails, and at least so many rounds
PROBE_AFTER, MAX_PROBE_AFTER, PROBE_AFTER_ROUNDS = 50, 400, 2
MAX_CONSECUTIVE_REJECTIONS = 3  # without an answer between them: a rate is exhausted, and every call waits
LONG_WAIT_S = 5.0  # who asks to wait so long is at a rate: calls at once end sooner
MAX_PAUSE_S = 120.0  # for every call; where a longer wait is asked for, a day's quota, calls fail and are reported
STEP_S = 1e-3  # after a call ended: others that end at the same moment leave room at the service as well
POLL_S = 0.05  # while other processes hold what is waited for
SOLO_POLL_S = 1.0  # where there are none: a call of this process that ends wakes the others
STATE_TTL_S = 600.0  # what was discovered of an endpoint so long ago may no longer hold
# seconds until a call counts as lost: before some answers have come (a server may load its model first), then so many
# times the slowest of them, within these bounds
FIRST_TIMEOUT_S, LOCAL_FIRST_TIMEOUT_S = 600.0, 1800.0
TIMEOUT_FACTOR, MIN_TIMEOUT_S, MAX_TIMEOUT_S = 10.0, 300.0, 3600.0
FIRST_ANSWERS = 10  # before their latency sets the timeout
SLOWEST_DECAY = 0.995  # per answer
HOSTED_HEADER = "x-raft-hosted"  # of a simulated service: on this machine, and to be treated as a hosted one


@dataclass
class _Member:
    """A limiter of some process: its calls under way, and whether one more waits."""

    in_flight: int = 0
    waits: bool = False


@dataclass
class _State:
    window: float
    ramp: float  # the window before the first answer grows up to this
    is_hosted: bool = True
    grown_at: float = 0.0  # when the window last grew without an answer
    peak: float = math.inf  # the smallest window that was rejected; infinite at first
    step: float = 1.0  # by which a window that was rejected once is exceeded, doubled each time that succeeds
    explore: float = EXPLORE
    proven: float = 0.0  # calls at once of which one was answered
    doubts: int = 0  # rejections of late that may be of the window
    accepted: float = math.inf  # calls at once that were not rejected when these were
    trials: int = 0  # calls beyond them: rejected, accepted, or neither yet
    tried_at: float = 0.0  # the first one that isn't rejected yet
    doubted_at: float = -math.inf
    by_chance: float = 0.0  # share of calls that were rejected although as many at once were accepted
    full_at: float = -math.inf  # when a call last had to wait for a full window
    answers: int = 0  # since the window was last rejected
    probe_after: int = PROBE_AFTER  # of these
    decreased_at: float = -math.inf
    before: tuple[float, float] = (FIRST_WINDOW, math.inf)  # window and peak before the last round with rejections
    paused_until: float = 0.0
    rejections: int = 0  # since the last answer; of those without rate headers one a round
    rejected: int = 0  # since the last answer, all of them
    admitted: int = 0  # since the last answer
    touched_at: float = 0.0
    timed: int = 0  # answers whose latency is known
    slowest_s: float = 0.0  # latency of late
    throughput: Throughput = field(default_factory=Throughput)
    requests: Rate = field(default_factory=Rate)
    tokens: Rate = field(default_factory=Rate)
    token_count: TokenCount = field(default_factory=TokenCount)
    members: dict[str, _Member] = field(default_factory=dict)

    @classmethod
    def new(cls, now: float, *, is_hosted: bool) -> "_State":
        """Return the state of a model of which nothing is known."""
        first = FIRST_WINDOW if is_hosted else LOCAL_FIRST_WINDOW
        ramp = FIRST_RAMP if is_hosted else LOCAL_FIRST_RAMP
        return cls(float(first), ramp, is_hosted, grown_at=now, touched_at=now)

    @classmethod
    def parse(cls, text: str, now: float, *, is_hosted: bool) -> "_State":
        """Return the stored state if it is complete, of this boot of the machine and not too old, else a new one."""
        try:
            stored = json.loads(text)
            state = cls(
                **stored
                | {
                    "throughput": Throughput([Level(**level) for level in stored["throughput"]["levels"]]),
                    "requests": Rate(**stored["requests"]),
                    "tokens": Rate(**stored["tokens"]),
                    "token_count": TokenCount(**stored["token_count"]),
                    "members": {name: _Member(**member) for name, member in stored["members"].items()},
                }
            )
        except (ValueError, TypeError, KeyError):
            return cls.new(now, is_hosted=is_hosted)
        if 0 <= now - state.touched_at < STATE_TTL_S:
            return state
        new = cls.new(now, is_hosted=is_hosted)
        new.members = state.members
        return new

    @property
    def in_flight(self) -> int:
        """Calls under way in all processes."""
        return sum(member.in_flight for member in self.members.values())

    def max_window(self, outlook: Outlook | None) -> float:
        """Return up to how many calls at once may be tried, by what answers took."""
        if outlook is None:
            return self.ramp
        return max(self.ramp, self.explore * outlook.at_once) if outlook.is_open else max(MIN_WINDOW, outlook.at_once)

    def count_trial(self, now: float) -> None:
        """Count a call that is under way as a trial, if it is one of more than were accepted when others were not."""
        if self.doubts and self.in_flight > self.accepted:
            self.tried_at = now if self.trials <= self.doubts else self.tried_at
            self.trials += 1

    def dissolve_doubts(self) -> None:
        """Take rejections as chance, because as many calls at once were accepted since."""
        self.by_chance += BY_CHANCE_WEIGHT * self.doubts
        if self.accepted + 1 >= self.peak and self.by_chance >= MAX_BY_CHANCE:
            self.peak = math.inf
        self.end_doubts()

    def end_doubts(self) -> None:
        """Forget the rejections that may be of the window."""
        self.doubts, self.trials, self.accepted = 0, 0, math.inf

    def treat_as_hosted(self) -> None:
        """Start as with a hosted service."""
        if not self.is_hosted:
            self.is_hosted, self.ramp = True, FIRST_RAMP
            self.window = max(self.window, float(FIRST_WINDOW))


@dataclass
class Admission:
    """One try of a call: admitted at `started` as one of `at_once`, then completed with its outcome."""

    started: float
    at_once: int
    timeout_s: float
    ended: float = math.inf
    reserved: float = 0.0  # tokens
    prompt: int = 0
    max_output: int = 0
    is_paced: bool = False  # by a rate of tokens
    headers: Mapping[str, str] | None = None
    retry_after_s: float | None = None  # what the service asks to wait; 0 if it doesn't say
    answered: bool = False
    refused: bool = False
    timed_out: bool = False
    used: tuple[int, int] | None = None  # tokens of prompt and answer

    @property
    def max_tokens(self) -> int:
        """The most tokens that the call may count."""
        return self.prompt + self.max_output

    def record_answer(self, headers: Mapping[str, str]) -> None:
        """Record that the service answered the call."""
        self.answered, self.headers = True, headers

    def record_refusal(self, headers: Mapping[str, str]) -> None:
        """Record that the service took the call and refused what it asks: an answer that says nothing of its speed."""
        self.answered, self.refused, self.headers = True, True, headers

    def record_usage(self, prompt: int, output: int) -> None:
        """Record the tokens of the answer."""
        self.used = (prompt, output)

    def record_rate_limit(self, after_s: float | None, headers: Mapping[str, str]) -> None:
        """Record that the service had no capacity for the call (429, or an overloaded 503)."""
        self.retry_after_s, self.headers = after_s or 0.0, headers

    def record_timeout(self) -> None:
        """Record that the call was given up after `timeout_s` or more."""
        self.timed_out = True


@dataclass(eq=False)
class _Waiting:
    """A call that isn't admitted yet."""

    prompt: int
    max_output: int
    called: asyncio.Event = field(default_factory=asyncio.Event)  # the first one, to try whether it may be made


class Limiter:
    """Admits the calls of one model at one endpoint, in the order in which they arrive.

    A call that ends and the one that begins in its place take the shared state once, together.

    `state` names what all limiters of the model share. `is_hosted`: not on this machine or a private network, where
    servers are smaller and queue. `close` releases what this one holds.
    """

    def __init__(
        self,
        coordination: Coordination,
        state: str,
        limits: Limits,
        *,
        is_hosted: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._coordination, self._state = coordination, state
        self._limits = limits
        self._is_hosted = is_hosted
        self._clock = clock or coordination.now
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = coordination.claim(self._claim_of(self._name))
        self._queue, self._retried = deque[_Waiting](), deque[_Waiting]()
        self._ended = deque[Admission]()  # and not told to the shared state yet
        self._is_shared = False  # with other limiters, which are told at once what has ended
        self._is_paced = False  # the first call waits for a rate, which no call that ends makes shorter
        self._next_step: asyncio.TimerHandle | None = None
        self._dead_checked_at = 0.0
        self._read: tuple[str, _State] | None = None  # what was written last: mostly no other process changed it since

    @classmethod
    def of(cls, coordination: Coordination, endpoint: Endpoint, model: str) -> "Limiter":
        """Return a limiter of a model."""
        name = f"{FOLDER}/{short_digest('limits', endpoint.service, model)}"
        return cls(coordination, name, endpoint.limits, is_hosted=not endpoint.is_private)

    @contextlib.asynccontextmanager
    async def admit(self, prompt: int, max_output: int = 0, *, again: bool = False) -> AsyncIterator[Admission]:
        """Wait until a call of so many tokens may be made, and count it as under way.

        One that is tried `again` doesn't queue behind calls that weren't tried yet: its answer is waited for.
        """
        queue, call = self._retried if again else self._queue, _Waiting(prompt, max_output)
        queue.append(call)
        try:
            if queue[0] is call:
                self._step_after(0.0)
            turn = None
            while turn is None:
                await call.called.wait()
                turn = self._release_and_admit(call)
        except BaseException:
            if call in queue:
                queue.remove(call)
            self._step_after(0.0)  # the next one is the first
            raise
        try:
            yield turn
        finally:
            self._end(turn)

    @property
    def window(self) -> int:
        """Calls at once that the endpoint is believed to accept."""
        with self._locked_state() as state:
            self._release_ended(state)
            return self._window_size(state)

    def close(self) -> None:
        """Release what this limiter holds."""
        if self._alive is not None:
            alive, self._alive = self._alive, None
            with contextlib.closing(alive), self._locked_state() as state:
                self._release_ended(state)
                state.members.pop(self._name, None)

    def _end(self, turn: Admission) -> None:
        turn.ended = self._clock()
        self._ended.append(turn)
        if self._is_shared:
            with self._locked_state() as state:
                self._release_ended(state)
        if not self._is_paced:
            self._step_after(STEP_S)

    def _step_after(self, seconds: float) -> None:
        """Take the next step then, if none is to be taken sooner."""
        loop = asyncio.get_running_loop()
        if self._next_step is not None:
            if self._next_step.when() <= loop.time() + seconds:
                return
            self._next_step.cancel()
        self._next_step = loop.call_later(seconds, self._step)

    def _step(self) -> None:
        """Call the first one that waits; release what has ended by itself where none does."""
        self._next_step = None
        if first := self._first:
            first.called.set()
        elif self._ended:
            with self._locked_state() as state:
                self._release_ended(state)

    @property
    def _first(self) -> _Waiting | None:
        return next(iter(self._retried or self._queue), None)

    def _release_and_admit(self, call: _Waiting) -> Admission | None:
        """Release what has ended, and admit the first call if it may be made; the one that is first then is called."""
        call.called.clear()
        turn, wait_s = None, 0.0
        with self._locked_state() as state:
            self._release_ended(state)
            if call is self._first and not self._wait_s(state, call):
                turn = self._admit(state, call)
                (self._retried or self._queue).popleft()
            if first := self._first:
                wait_s = self._wait_s(state, first)
            self._is_paced = first is not None and not self._may_be_shortened(state, first)
        if first:
            self._step_after(wait_s)
        return turn

    def _wait_s(self, state: _State, call: _Waiting) -> float:
        """Return the seconds after which to try to admit a call; 0 where it may be made now."""
        now = self._clock()
        me = state.members.setdefault(self._name, _Member())
        me.waits = not self._has_room(state, me)
        grows = False
        if me.waits:
            state.full_at = now
            grows = self._ramp(state, now)
            me.waits = not self._has_room(state, me)
        reserved = state.token_count.expected(call.prompt, call.max_output)
        return max(
            state.paused_until - now,
            state.requests.wait(1, now),
            state.tokens.wait(reserved, now),
            self._poll_s(state, grows=grows) if me.waits else 0.0,
        )

    def _may_be_shortened(self, state: _State, call: _Waiting) -> bool:
        """Return whether a call that ends may let this one go sooner: by its room, or by tokens that it didn't use."""
        reserved = state.token_count.expected(call.prompt, call.max_output)
        return state.members[self._name].waits or state.tokens.wait(reserved, self._clock()) > 0

    def _admit(self, state: _State, call: _Waiting) -> Admission:
        """Count a call as under way."""
        now = self._clock()
        reserved = state.token_count.expected(call.prompt, call.max_output)
        state.members[self._name].in_flight += 1
        state.count_trial(now)
        state.admitted += 1
        state.requests.spend(1, now)
        state.tokens.spend(reserved, now)
        return Admission(
            now,
            state.in_flight,
            self._timeout_s(state),
            reserved=reserved,
            prompt=call.prompt,
            max_output=call.max_output,
            is_paced=state.tokens.per_minute is not None,
        )

    def _poll_s(self, state: _State, *, grows: bool) -> float:
        """Return the seconds after which a full window is looked at again."""
        if grows:
            return RAMP_TICK_S
        return POLL_S if len(state.members) > 1 else SOLO_POLL_S

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

    def _timeout_s(self, state: _State) -> float:
        """Return the seconds after which a call is given up."""
        if self._limits.timeout_s is not None:
            return self._limits.timeout_s
        first_s = FIRST_TIMEOUT_S if state.is_hosted else LOCAL_FIRST_TIMEOUT_S
        at_least_s = MIN_TIMEOUT_S if state.timed >= FIRST_ANSWERS else first_s
        return min(max(at_least_s, TIMEOUT_FACTOR * state.slowest_s), MAX_TIMEOUT_S)

    def _release_ended(self, state: _State) -> None:
        while self._ended:
            self._release(state, self._ended.popleft())

    def _release(self, state: _State, turn: Admission) -> None:
        state.members.setdefault(self._name, _Member(in_flight=1)).in_flight -= 1
        self._learn(state, turn.headers or {}, turn.ended)
        if turn.answered:
            self._record_answer(state, turn, turn.ended)
        elif turn.retry_after_s is not None:
            self._record_rejection(state, turn, turn.ended)
        elif turn.timed_out:
            self._record_timeout(state, turn, turn.ended)

    def _record_answer(self, state: _State, turn: Admission, now: float) -> None:
        state.rejections = state.rejected = state.admitted = 0
        state.answers += 1
        state.by_chance *= 1 - BY_CHANCE_WEIGHT
        state.proven = max(state.proven, turn.at_once)
        if turn.used is not None:
            prompt, output = turn.used
            state.token_count.record(output, turn.max_output)
            actual = state.token_count.actual(prompt + output, prompt + turn.max_output)
            state.tokens.spend(actual - turn.reserved, now)
        if not turn.refused:
            seconds = now - turn.started
            state.timed, state.slowest_s = state.timed + 1, max(state.slowest_s * SLOWEST_DECAY, seconds)
            state.throughput.record(turn.at_once, seconds, now)
        outlook = state.throughput.outlook(now)
        if outlook and outlook.is_certain and state.window > outlook.at_once:
            state.window, state.explore = max(MIN_WINDOW, outlook.at_once), EXPLORE_AGAIN
        elif state.full_at >= turn.started:  # a window that no call waits for says nothing about a larger one
            self._grow(state, state.max_window(outlook), is_fast=now - turn.started < RAMP_S)

    def _ramp(self, state: _State, now: float) -> bool:
        """Let the window grow while the service rejects nothing, without waiting for answers.

        Return whether it may grow further.
        """
        if state.trials > state.doubts and now - state.tried_at >= DOUBT_S:
            state.dissolve_doubts()
        most = state.window
        if state.peak == math.inf:
            most = min(state.max_window(state.throughput.outlook(now)), float(self._limits.max_concurrency))
        if state.window >= most:
            state.grown_at = now
            return False
        elapsed = min(now - state.grown_at, 2 * RAMP_TICK_S)
        if state.doubts:
            if state.trials == state.doubts and now - state.doubted_at >= DOUBT_S:
                state.window, state.grown_at = state.accepted + 1, now
        elif elapsed >= RAMP_TICK_S / 2:
            state.window = min(max(state.window + 1, state.window * 2 ** (elapsed / RAMP_S)), most)
            state.grown_at = now
        return state.window < most

    def _grow(self, state: _State, most: float, *, is_fast: bool) -> None:
        """Grow the window after an answer.

        By one at first, if answers come faster than the window grows by itself; later by half the way to the peak per
        round of answers.
        """
        if state.window >= most:
            return
        if state.peak == math.inf:
            state.window += is_fast
        else:
            state.window += max(1.0, (state.peak - state.window) / 2) / state.window
        if state.window >= state.peak:
            if state.answers < max(state.probe_after, PROBE_AFTER_ROUNDS * state.window):
                state.window = state.peak - 0.01
            else:
                state.window, state.peak, state.answers = state.peak, state.peak + state.step, 0
                state.step *= 2
        state.window = min(state.window, most, float(self._limits.max_concurrency))

    def _record_rejection(self, state: _State, turn: Admission, now: float) -> None:
        """Shrink the window after a rejection, or wait until a rate isn't exhausted any more.

        Calls that started before the round of the last decrease say nothing about the window after it.
        """
        headers = turn.headers or {}
        is_new_round = turn.started > state.decreased_at
        if is_new_round:
            state.decreased_at = now
        if not state.rejections:
            state.before = (float(self._window_size(state)), state.peak)
        after_s = turn.retry_after_s or 0.0
        # a burst that is too large is rejected as a whole: without the rate's headers that says nothing of a rate
        state.rejections += is_new_round or _has_rate_headers(headers) or after_s >= LONG_WAIT_S
        state.rejected += 1
        state.tokens.spend(-turn.reserved, now)
        if _is_exhausted(headers, "requests", 1):
            state.requests.empty()
        elif _is_exhausted(headers, "tokens", turn.max_tokens):
            state.tokens.empty()
            if turn.is_paced:
                state.token_count.record_rejection()
        elif after_s < LONG_WAIT_S:
            self._doubt_window(state, turn, now)
        is_exhausted = state.rejections >= MAX_CONSECUTIVE_REJECTIONS and 2 * state.rejected >= state.admitted
        if is_exhausted and 0 < after_s <= MAX_PAUSE_S:
            state.paused_until = max(state.paused_until, now + after_s)
            state.requests.hold(after_s)  # a service that counts over a second would reject the rest of a burst
            state.window, state.peak = state.before  # a rate is exhausted, which says nothing of calls at once

    def _doubt_window(self, state: _State, turn: Admission, now: float) -> None:
        """Consider a rejection that says nothing of its reason.

        Where more calls are under way than this was one of, it was by chance. Otherwise it is doubtful whether the
        endpoint takes as many: the window grows no further until as many were tried again, and what is rejected several
        times is its peak. If as many were answered before, a rate was exceeded, or the endpoint takes less than it did.
        """
        is_proven = turn.at_once <= state.proven
        window = float(self._window_size(state))
        if not is_proven:
            state.window = max(1.0, min(state.window, float(state.in_flight)))
        if turn.at_once <= state.in_flight:
            return
        if 2 * state.doubts < state.trials:
            state.dissolve_doubts()
        if not state.doubts or state.in_flight < state.accepted:
            state.doubts, state.trials, state.accepted = 1, 1, float(state.in_flight)
        else:
            state.doubts += 1
        if not is_proven:
            state.doubted_at = now
        is_known = state.peak < math.inf and state.by_chance < MAX_BY_CHANCE
        if state.doubts < (1 if is_known else MAX_DOUBTS):
            return
        state.end_doubts()
        if is_proven:
            state.proven *= PROVEN_DECAY
            return
        # where rejections come at once, what is still under way is what the endpoint takes
        state.window = max(1.0, float(state.in_flight), MAX_DECREASE * window)
        state.peak = max(2.0, min(window, float(state.in_flight + 1)))
        state.probe_after = min(2 * state.probe_after, MAX_PROBE_AFTER) if state.step == 1.0 else PROBE_AFTER
        state.answers, state.step = 0, 1.0

    def _record_timeout(self, state: _State, turn: Admission, now: float) -> None:
        """Halve the window, once a round: the service works on what was given up, or is congested."""
        state.throughput.record(turn.at_once, now - turn.started, now)
        state.slowest_s = max(state.slowest_s, 2 * turn.timeout_s / TIMEOUT_FACTOR)
        if turn.started > state.decreased_at:
            state.decreased_at = now
            state.peak = max(2.0, min(state.window, float(turn.at_once)))
            state.window = max(1.0, MAX_DECREASE * state.peak)
            state.answers, state.step = 0, 1.0

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
        if HOSTED_HEADER in headers:
            state.treat_as_hosted()

    @contextlib.contextmanager
    def _locked_state(self) -> Iterator[_State]:
        """Hold the shared state and write it back at the end."""
        with self._coordination.shared(self._state) as shared:
            now = self._clock()
            read, self._read = self._read, None  # none while the block may raise in the middle of a change
            is_mine = read is not None and read[0] == shared.text and now - read[1].touched_at < STATE_TTL_S
            if read and is_mine:
                state = read[1]
            else:
                state = _State.parse(shared.text, now, is_hosted=self._is_hosted)
                self._learn(state, {}, now)
            yield state
            state.touched_at, self._is_shared = now, len(state.members) > 1
            shared.text = json.dumps(state, default=vars)
            self._read = shared.text, state

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


def _is_exhausted(headers: Mapping[str, str], name: str, amount: int) -> bool:
    """Return whether the service reports that less is left of a rate than a call needs."""
    left = _parse_number(headers.get(f"x-ratelimit-remaining-{name}"))
    return left is not None and left < amount


def _parse_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None
