"""Budgets per run and per month, shared by all processes of the project.

Money is reserved when a call is about to be sent and settled when its answer has arrived, so that calls under way count
and several processes together don't exceed a budget either. What was spent is summed up in the store when a budget is
opened; the shared state only informs processes of one another, and may be deleted whenever none is running.

While much is left, a process sets a little more aside than its next call needs, so that few calls touch the shared
state. Where calls under way hold what is left, a call waits until enough is settled: in its process behind the one
before it, and among processes in the order in which their first one began to wait. So no process starves, and a budget
is spent to the last call that it can pay for.
"""

import asyncio
import contextlib
import json
import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from raft_assets.core.errors import EndpointError
from raft_assets.core.ports import Coordination
from raft_assets.llm.ledger import spending_by_domain
from raft_assets.llm.prices import FREE, Price, PriceList
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import CallStore
from raft_assets.llm.usage import max_usage
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Budgets

STATE = "calls/budget"
MAX_RUNS_KEPT = 100  # runs whose spending is kept; a run that continues is one of the last
POLL_S = 0.02  # while other processes hold or want what is left
SOLO_POLL_S = 1.0  # where there are none: a call of this process that ends wakes the next one
SETTLE_S = 0.1  # after a call ended, at most, other processes know what it cost and what is left for them
BURY_S = 1.0  # between two looks for processes that were killed
SPARE_SHARE = 16  # of what is left, by all processes: so much is set aside in advance
MIN_DOLLARS = 1e-9  # less is rounding error of adding and subtracting
RUN_VARIABLE, MONTH_VARIABLE = "RAFT_BUDGET_RUN", "RAFT_BUDGET_MONTH"

Which = Literal["run", "month"]


class BudgetReachedError(EndpointError):
    """The next call could exceed the budget; nothing was sent."""


@dataclass
class Reservation:
    """Money for one call: the most it may cost, then what it did cost."""

    dollars: float
    price: Price = FREE
    spent: float = 0.0

    def record(self, usage: Usage) -> None:
        """Record the tokens of the call, of whatever came back."""
        self.spent = self.price.of(usage) or 0.0


def without_budget(_: Mapping[str, Any]) -> contextlib.AbstractAsyncContextManager[Reservation]:
    """Return the reservation of a call where no budget limits it."""
    return contextlib.nullcontext(Reservation(0.0))


@dataclass
class _State:
    month: str = ""
    months: float = 0.0  # spent in that month
    runs: dict[str, float] = field(default_factory=dict)
    held: dict[str, dict[str, float]] = field(default_factory=dict)  # holder to run to dollars
    waits: dict[str, tuple[str, Which]] = field(default_factory=dict)  # holder to run and budget, the first one first


@dataclass(frozen=True)
class _Budget:
    """One of the two budgets, as a call finds it."""

    which: Which
    limit: float
    spent: float
    under_way: float

    def is_left(self, dollars: float) -> bool:
        """Return whether this much can be reserved now."""
        return self.spent + self.under_way + dollars <= self.limit + MIN_DOLLARS

    def is_spent(self, dollars: float) -> bool:
        """Return whether this much will never be left, as spent money doesn't come back."""
        return self.spent + dollars > self.limit + MIN_DOLLARS

    def reached(self, dollars: float) -> BudgetReachedError:
        """Return the error for a call that may cost this much."""
        variable = RUN_VARIABLE if self.which == "run" else MONTH_VARIABLE
        return BudgetReachedError(
            f"The budget of this {self.which} is reached: {self.spent:.4f} of {self.limit:.4f} US$ are spent, and the "
            f"next call may cost {dollars:.4f}. Raise {variable} and run again: answers already paid for are kept."
        )


class Budget:
    """The budget of one run; `spent` of run and month are read from the store once, when this is created.

    Raises EndpointError if a budget is set and the price of the model isn't known: it could not be kept. `close`
    releases what this one holds.
    """

    def __init__(
        self, coordination: Coordination, limits: Budgets, *, run: str, store: CallStore, prices: PriceList
    ) -> None:
        self._coordination = coordination
        self._limits = limits
        self._run = run
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = coordination.claim(_claim_of(self._name)) if limits.is_set else None
        self._queue, self._freed = asyncio.Lock(), asyncio.Event()
        # US dollars: set aside in the shared state; held of it by calls under way; spent of it, and not told there yet
        self._set_aside = self._held = self._unsettled = 0.0
        self._settling = False  # it is told in a moment
        self._buried_at = -math.inf
        self._excess = 1.0  # times the most that a call should cost; more where the service ignores a maximum
        if limits.is_set:
            self._load_spending(store, prices)

    def close(self) -> None:
        """Release what this one holds."""
        if self._alive is not None:
            with contextlib.closing(self._alive), self._locked_state() as state:
                self._settle_in(state)
                state.held.pop(self._name, None)
                state.waits.pop(self._name, None)
                self._alive = None

    def check_price(self, price: Price, model: str) -> None:
        """Check that the price of the model's tokens is known if a budget is set; raises EndpointError."""
        if self._limits.is_set and price.of(Usage(1, 0, 1)) is None and price.of(Usage(1)) is None:
            raise EndpointError(
                f"A budget is set but the price of {model} is unknown: add it to {PRICES_FILE} of the project, "
                f"or unset {RUN_VARIABLE} and {MONTH_VARIABLE}."
            )

    @contextlib.asynccontextmanager
    async def held(self, price: Price, body: Mapping[str, Any]) -> AsyncIterator[Reservation]:
        """Reserve the most that a call may cost while it is made; wait while calls under way hold what it needs.

        Raises BudgetReachedError, before anything is sent, if too little is left, and EndpointError for a call whose
        price isn't known.
        """
        most = self._most(price, body)
        held = Reservation(most * self._excess, price)
        if held.dollars:
            async with self._queue:
                await self._wait_for(held.dollars)
        try:
            yield held
        finally:
            if held.dollars:
                self._excess = max(self._excess, held.spent / most)
                self._settle(held)

    def spend(self, dollars: float) -> None:
        """Spend money whose amount is only known afterwards. Raises BudgetReachedError if too little is left.

        Don't call it from the background loop's thread while calls are under way there: it waits for them.
        """
        if not self._limits.is_set:
            return
        try:
            while (pause_s := self._try_spend(dollars)) is not None:
                time.sleep(min(pause_s, POLL_S))
        except BaseException:
            self._stop_waiting()
            raise

    def _most(self, price: Price, body: Mapping[str, Any]) -> float:
        """Return the most that a call may cost in US dollars; 0 where no budget is set."""
        if not self._limits.is_set:
            return 0.0
        dollars = price.of(max_usage(body))
        if dollars is None:
            raise EndpointError(
                f"A budget is set but the price of a model's answers is unknown: add it to {PRICES_FILE} of the "
                f"project, or unset {RUN_VARIABLE} and {MONTH_VARIABLE}."
            )
        return dollars

    async def _wait_for(self, dollars: float) -> None:
        """Reserve the money as soon as it is left; the calls of this budget wait one behind the other."""
        try:
            while (pause_s := self._try_reserve(dollars)) is not None:
                self._freed = asyncio.Event()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), pause_s)
        except BaseException:
            self._stop_waiting()
            raise

    def _try_reserve(self, dollars: float) -> float | None:
        """Reserve the money and return None, else the seconds after which to look again; it may become free.

        Raises BudgetReachedError if it won't.
        """
        if self._held + self._unsettled + dollars <= self._set_aside:
            self._held += dollars
            return None
        with self._locked_state() as state:
            self._settle_in(state)
            short = self._stand_in_line(state, dollars)
            if short is None:
                self._held += dollars
                self._set_aside_in(state, self._held + self._spare(state, dollars))
                self._settle_soon()  # what is set aside and not needed is for others
                return None
            pause_s = self._pause(state)
        if short.is_spent(dollars) and self._held <= MIN_DOLLARS:  # else what is under way here is answered first
            raise short.reached(dollars)
        return pause_s

    def _try_spend(self, dollars: float) -> float | None:
        """Spend the money and return None, else do as `_try_reserve` does."""
        with self._locked_state() as state:
            short = self._stand_in_line(state, dollars)
            if short is None:
                self._add_spending(state, dollars)
                return None
            pause_s = self._pause(state)
        if short.is_spent(dollars):
            raise short.reached(dollars)
        return pause_s

    def _stand_in_line(self, state: _State, dollars: float) -> _Budget | None:
        """Return the budget that a call has to wait for or can't be paid from; None where it is its turn."""
        short = self._short(state, dollars)
        if short is not None:
            self._bury_the_dead(state)
            short = self._short(state, dollars)
        if short is None or short.is_spent(dollars):
            state.waits.pop(self._name, None)
        else:
            state.waits.setdefault(self._name, (self._run, short.which))
        return short

    def _pause(self, state: _State) -> float:
        others = (state.held.keys() | state.waits.keys()) - {self._name}
        return POLL_S if others else SOLO_POLL_S

    def _spare(self, state: _State, dollars: float) -> float:
        """Return what is set aside for the calls after one that needs so much; nothing where anybody waits."""
        if state.waits:
            return 0.0
        left = min(budget.limit - budget.spent - budget.under_way for budget in self._budgets(state)) - dollars
        return max(0.0, left) / SPARE_SHARE / len(state.held)

    def _short(self, state: _State, dollars: float) -> _Budget | None:
        """Return the budget that this call has to wait for or can't be paid from; None where it may be reserved."""
        budgets = self._budgets(state)
        for budget in budgets:
            if budget.is_spent(dollars):
                return budget
        first = self._first_in_line(state)
        for budget in budgets:
            if budget.which == first or not budget.is_left(dollars):
                return budget
        return None

    def _budgets(self, state: _State) -> list[_Budget]:
        of_run = sum(runs.get(self._run, 0.0) for runs in state.held.values())
        of_all = sum(sum(runs.values()) for runs in state.held.values())
        budgets = []
        if self._limits.run is not None:
            budgets.append(_Budget("run", self._limits.run, state.runs.get(self._run, 0.0), of_run))
        if self._limits.month is not None:
            budgets.append(_Budget("month", self._limits.month, state.months, of_all))
        return budgets

    def _first_in_line(self, state: _State) -> Which | None:
        """Return the budget for which another process began to wait before this one; None where there is none."""
        for name, (run, which) in state.waits.items():
            if name == self._name:
                return None
            if which == "month" or run == self._run:
                return which
        return None

    def _stop_waiting(self) -> None:
        with self._locked_state() as state:
            state.waits.pop(self._name, None)

    def _bury_the_dead(self, state: _State) -> None:
        """Remove holders whose process has ended without `close`: no process holds their claim. Looks once a second."""
        if time.monotonic() - self._buried_at < BURY_S:
            return
        self._buried_at = time.monotonic()
        for name in state.held.keys() | state.waits.keys():
            if name != self._name and not self._coordination.is_claimed(_claim_of(name)):
                state.held.pop(name, None)
                state.waits.pop(name, None)

    def _settle(self, held: Reservation) -> None:
        """Settle a call that has ended, and tell other processes soon."""
        self._held = max(0.0, self._held - held.dollars)
        self._unsettled += held.spent
        self._freed.set()
        if self._alive is None:
            self._settle_now()
        else:
            self._settle_soon()

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_later(SETTLE_S, self._settle_now)

    def _settle_now(self) -> None:
        self._settling = False
        if self._alive is not None or self._unsettled:
            with self._locked_state() as state:
                self._settle_in(state)

    def _settle_in(self, state: _State) -> None:
        """Tell the state what was spent, and keep no more aside than what is under way."""
        unsettled, self._unsettled = self._unsettled, 0.0
        self._add_spending(state, unsettled)
        if self._alive is not None:
            self._set_aside_in(state, self._held)

    def _set_aside_in(self, state: _State, dollars: float) -> None:
        self._set_aside = dollars
        state.held[self._name] = {self._run: dollars}

    def _add_spending(self, state: _State, dollars: float) -> None:
        state.months += dollars
        state.runs[self._run] = state.runs.get(self._run, 0.0) + dollars

    def _load_spending(self, store: CallStore, prices: PriceList) -> None:
        month = _this_month()
        stored = sum(total.dollars for total in spending_by_domain(store, prices, month=month).values())
        with self._locked_state() as state:
            state.months = max(state.months, stored)  # what other processes settled may not be stored yet
            state.runs = dict([*state.runs.items()][-MAX_RUNS_KEPT:])
            self._bury_the_dead(state)

    @contextlib.contextmanager
    def _locked_state(self) -> Iterator[_State]:
        with self._coordination.shared(STATE) as shared:
            try:
                state = _State(**json.loads(shared.text))
            except (ValueError, TypeError):
                state = _State()
            if state.month != _this_month():
                state.month, state.months = _this_month(), 0.0
            yield state
            shared.text = json.dumps(vars(state))


def _this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _claim_of(holder: str) -> str:
    return f"{STATE}.{holder}"
