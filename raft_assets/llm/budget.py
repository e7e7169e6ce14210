"""Budgets per run and per month, shared by all processes of the project.

Money is reserved before a call is made and settled when its answer has arrived, so that calls under way count and
several processes together don't exceed a budget either. What was spent is derived from the store when a budget is
opened; the shared state only informs processes of one another, and may be deleted whenever none is running.
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from raft_assets.core.errors import EndpointError
from raft_assets.core.ports import Coordination
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import PRICES_FILE, Price, PriceList
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import CallStore
from raft_assets.settings.project import Budgets

STATE = "calls/budget"
CHARACTERS_PER_TOKEN = 3  # rather too many tokens than too few: a budget must not be exceeded
MAX_RUNS_KEPT = 100  # runs whose spending is kept; a run that continues is one of the last
POLL_S = 0.05  # while calls under way hold what is left
MIN_DOLLARS = 1e-9  # less is rounding error of adding and subtracting
DEFAULT_MAX_TOKENS = 4096  # tokens of an answer whose request sets no maximum
RUN_VARIABLE, MONTH_VARIABLE = "RAFT_BUDGET_RUN", "RAFT_BUDGET_MONTH"


class BudgetReachedError(EndpointError):
    """The next call could exceed the budget; nothing was sent."""


@dataclass
class Reservation:
    """Money for one call: the most it may cost, then what it did cost."""

    dollars: float
    spent: float = 0.0


@dataclass
class _State:
    month: str = ""
    months: float = 0.0  # spent in that month
    runs: dict[str, float] = field(default_factory=dict)
    held: dict[str, dict[str, float]] = field(default_factory=dict)  # holder to run to dollars


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
        if limits.is_set:
            self._load_spending(store, prices)

    def close(self) -> None:
        """Release what this one holds."""
        if self._alive is not None:
            with self._locked_state() as state:
                state.held.pop(self._name, None)
            self._alive.close()
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

        Raises BudgetReachedError, before anything is sent, if too little is left.
        """
        held = Reservation(price.of(max_usage(body)) or 0.0 if self._limits.is_set else 0.0)
        while not self._try_reserve(held.dollars):  # noqa: ASYNC110 - other processes release it, without an event
            await asyncio.sleep(POLL_S)
        try:
            yield held
        finally:
            self._settle(held)

    def spend(self, dollars: float) -> None:
        """Spend money whose amount is only known afterwards. Raises BudgetReachedError if too little is left."""
        held = Reservation(dollars, spent=dollars)
        while not self._try_reserve(dollars):
            time.sleep(POLL_S)
        self._settle(held)

    def _try_reserve(self, dollars: float) -> bool:
        """Reserve the money and return whether it is reserved; False while it may become free."""
        if not self._limits.is_set:
            return True
        with self._locked_state() as state:
            if not self._is_left(state, dollars):
                self._bury_the_dead(state)
                if not self._is_left(state, dollars):
                    return False
            mine = state.held.setdefault(self._name, {})
            mine[self._run] = mine.get(self._run, 0.0) + dollars
            return True

    def _is_left(self, state: _State, dollars: float) -> bool:
        """Return whether this much is left; False while calls under way hold it.

        Raises BudgetReachedError if it is spent.
        """
        of_run = sum(runs.get(self._run, 0.0) for runs in state.held.values())
        of_all = sum(sum(runs.values()) for runs in state.held.values())
        for limit, spent, under_way, which, variable in (
            (self._limits.run, state.runs.get(self._run, 0.0), of_run, "of this run", RUN_VARIABLE),
            (self._limits.month, state.months, of_all, "of this month", MONTH_VARIABLE),
        ):
            if limit is not None and spent + under_way + dollars > limit:
                if under_way > MIN_DOLLARS and dollars <= limit:
                    return False
                raise BudgetReachedError(
                    f"The budget {which} is reached: {spent:.4f} of {limit:.4f} US$ are spent, and the next call "
                    f"may cost {dollars:.4f}. Raise {variable} and run again: answers already paid for are kept."
                )
        return True

    def _bury_the_dead(self, state: _State) -> None:
        """Remove holders whose process has ended without `close`: no process holds their claim."""
        for name in [name for name in state.held if name != self._name]:
            if not self._coordination.is_claimed(_claim_of(name)):
                del state.held[name]

    def _settle(self, held: Reservation) -> None:
        if not self._limits.is_set:
            return
        with self._locked_state() as state:
            mine = state.held.setdefault(self._name, {})
            mine[self._run] = max(0.0, mine.get(self._run, 0.0) - held.dollars)
            state.months += held.spent
            state.runs[self._run] = state.runs.get(self._run, 0.0) + held.spent

    def _load_spending(self, store: CallStore, prices: PriceList) -> None:
        month = _this_month()
        rows = [row for row in ledger(store, prices) if row.dollars]
        with self._locked_state() as state:
            stored = sum(row.dollars or 0.0 for row in rows if row.created.strftime("%Y-%m") == month)
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


def max_usage(body: Mapping[str, Any]) -> Usage:
    """Return the most tokens that a call may be billed for."""
    texts = body.get("input") or body.get("prompt") or [message.get("content") for message in body.get("messages", ())]
    characters = sum(len(str(text)) for text in ([texts] if isinstance(texts, str) else texts))
    is_embedding = "input" in body
    max_tokens = (
        0 if is_embedding else body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_TOKENS
    )
    return Usage(input_tokens=characters // CHARACTERS_PER_TOKEN + 1, output_tokens=max_tokens)


def _this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _claim_of(holder: str) -> str:
    return f"{STATE}.{holder}"
