"""A budget is kept: by calls under way, by several processes, and after a kill."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from raft_assets.core.errors import EndpointError, SettingsError
from raft_assets.llm.budget import Budget, BudgetReachedError
from raft_assets.llm.prices import Price, PriceList
from raft_assets.llm.store import CallStore
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Budgets, Project
from raft_assets.storage.coordination import FileCoordination
from raft_assets_tests.llm.conftest import MakeCaller, ask_about
from raft_assets_tests.llm.service import Service

CENT = Price(0.0, 0.0, 10_000.0, None, "a cent a token of the answer")  # 3 tokens an answer, 50 at most
SPENDS = """
import asyncio, sys
from pathlib import Path
from raft_assets.llm.budget import Budget, BudgetReachedError
from raft_assets.llm.prices import Price, PriceList
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.settings.project import Budgets

folder, hold = Path(sys.argv[1]), len(sys.argv) > 2
price = Price(0.0, 0.0, 10_000.0, None, "a cent a token")

async def spend():
    spent = 0
    with SqliteCallStore(folder / "calls.sqlite") as store:
        shared = FileCoordination(folder)
        budget = Budget(shared, Budgets(month=2.0), run="r", store=store, prices=PriceList(folder))
        try:
            while True:
                async with budget.held(price, {"prompt": "", "max_tokens": 1}) as held:
                    if hold:
                        print("held", flush=True)
                        sys.stdin.read()
                    held.spent = 0.01
                spent += 1
        except BudgetReachedError:
            print(spent)

asyncio.run(spend())
"""


def a_budget(folder: Path, store: CallStore, name: str = "one", **limits: float) -> Budget:
    return Budget(FileCoordination(folder), Budgets(**limits), run=name, store=store, prices=PriceList(folder))


def test_a_run_stops_before_its_budget_is_passed_and_goes_on_with_a_higher_one(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    (tmp_path / PRICES_FILE).write_text(
        "- {model: model-1, input: 0, output: 10000, source: a test, date: 2026-11-01}", "utf-8"
    )
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=1.0))
    with pytest.raises(BudgetReachedError, match=r"budget of this run is reached.*Raise RAFT_BUDGET_RUN and run again"):
        list(asking.ask(map(ask_about, range(100))))
    paid = len(service.seen)
    assert 0 < asking.usage_stats.dollars <= 1.0
    again = caller(price=CENT, budget=a_budget(tmp_path, store, "another", run=10.0))
    assert len(list(again.ask(map(ask_about, range(100))))) == 100
    assert len(service.seen) == 100
    assert again.usage_stats.calls == 100 - paid


def test_what_the_store_holds_counts_for_the_month(caller: MakeCaller, store: CallStore, tmp_path: Path) -> None:
    (tmp_path / PRICES_FILE).write_text(
        "- {model: model-1, input: 0, output: 10000, source: a test, date: 2026-11-01}", "utf-8"
    )
    list(caller(price=CENT).ask(map(ask_about, range(10))))  # 30 cents, without a budget
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, month=0.79))
    with pytest.raises(BudgetReachedError, match=r"budget of this month is reached: 0\.3"):
        list(asking.ask([ask_about(11)]))
    enough = caller(price=CENT, budget=a_budget(tmp_path, store, month=0.81))
    assert len(list(enough.ask([ask_about(11)]))) == 1


def test_processes_together_do_not_pass_a_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPENDS, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    spent = [int(process.communicate(timeout=60)[0]) for process in started]
    assert 198 <= sum(spent) <= 200


def test_what_a_killed_process_held_is_waited_for_and_free_again(tmp_path: Path, store: CallStore) -> None:
    async def hold_all(budget: Budget) -> float:
        async with budget.held(CENT, {"prompt": "", "max_tokens": 200}) as held:
            return held.dollars

    async def hold_within_a_moment(budget: Budget) -> float:
        return await asyncio.wait_for(hold_all(budget), 0.5)

    command = [sys.executable, "-c", SPENDS, str(tmp_path), "hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        budget = a_budget(tmp_path, store, month=2.0)
        with pytest.raises(TimeoutError):
            asyncio.run(hold_within_a_moment(budget))
        process.kill()
    assert asyncio.run(hold_all(budget)) == pytest.approx(2.0)


def test_what_a_closed_budget_held_is_free_again(tmp_path: Path, store: CallStore) -> None:
    async def hold(budget: Budget) -> float:
        async with budget.held(CENT, {"prompt": "", "max_tokens": 200}) as held:
            return held.dollars

    async def close_while_a_call_is_under_way() -> float:
        one, other = (a_budget(tmp_path, store, month=2.0) for _ in range(2))
        async with one.held(CENT, {"prompt": "", "max_tokens": 200}):
            waiting = asyncio.ensure_future(hold(other))
            await asyncio.sleep(0)
            assert not waiting.done()
            one.close()
            return await waiting

    assert asyncio.run(close_while_a_call_is_under_way()) == pytest.approx(2.0)


def test_what_the_version_before_wrote_is_read_and_its_processes_hold_nothing(tmp_path: Path, store: CallStore) -> None:
    month = datetime.now(UTC).strftime("%Y-%m")
    state = {"month": month, "months": 1.5, "runs": {"r": 1.5}, "held": {"4242": {"r": 0.5}}}
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "budget.json").write_text(json.dumps(state))
    budget = a_budget(tmp_path, store, month=2.0)
    budget.spend(0.5)
    with pytest.raises(BudgetReachedError, match=r"reached: 2\.0000 of 2\.0000 US\$ are spent"):
        budget.spend(0.1)


def test_with_a_budget_an_unknown_price_is_refused_before_a_call(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    unknown = Price(None, None, None, None, "unknown")
    with pytest.raises(EndpointError, match=f"price of model-1 is unknown: add it to {PRICES_FILE}"):
        caller(price=unknown, budget=a_budget(tmp_path, store, month=5.0))
    list(caller(price=unknown, budget=a_budget(tmp_path, store)).ask([ask_about(1)]))
    assert len(service.seen) == 1


@pytest.mark.parametrize("value", ["much", "-1", "inf", "nan"])
def test_an_amount_that_is_none_is_one_sentence(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=f"RAFT_BUDGET_MONTH is '{value}'; it must be an amount in US dollars"):
        Project.load(tmp_path, {"RAFT_BUDGET_MONTH": value})
