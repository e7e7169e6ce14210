"""A budget is kept: by calls under way, by several processes, and after a kill."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from raft_assets.core.errors import EndpointError, SettingsError
from raft_assets.llm.attempts import RetryPolicy
from raft_assets.llm.budget import Budget, BudgetReachedError
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import Price, PriceList
from raft_assets.llm.store import CallStore
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Budgets, Project
from raft_assets.storage.coordination import FileCoordination
from raft_assets_tests.llm.conftest import MakeCaller, ask_about
from raft_assets_tests.llm.service import Reply, Service, chat, error
from raft_assets_tests.llm.virtual import VirtualLoop, run_virtually
from raft_assets_tests.postgresql import PostgresServer

CENT = Price(0.0, 0.0, 10_000.0, None, "a cent a token of the answer")  # 3 tokens an answer, 50 at most
SPENDS = """
import asyncio, sys
from pathlib import Path
from raft_assets.llm.budget import Budget, BudgetReachedError
from raft_assets.llm.prices import Price, PriceList
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.settings.project import Budgets
from raft_assets_tests.storage.test_coordination import opened

folder, where, hold = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
price = Price(0.0, 0.0, 10_000.0, None, "a cent a token")

async def spend():
    spent = 0
    with SqliteCallStore(folder / "calls.sqlite") as store:
        shared = opened(where)
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


def give_price(folder: Path, tokens: str = "input: 0, output: 10000") -> None:
    entry = f"- {{model: model-1, {tokens}, source: a test, date: 2026-11-01}}"
    (folder / PRICES_FILE).write_text(entry, "utf-8")


def test_a_run_stops_before_its_budget_is_passed_and_goes_on_with_a_higher_one(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    give_price(tmp_path)
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
    give_price(tmp_path)
    list(caller(price=CENT).ask(map(ask_about, range(10))))  # 30 cents, without a budget
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, month=0.79))
    with pytest.raises(BudgetReachedError, match=r"budget of this month is reached: 0\.3"):
        list(asking.ask([ask_about(11)]))
    enough = caller(price=CENT, budget=a_budget(tmp_path, store, month=0.81))
    assert len(list(enough.ask([ask_about(11)]))) == 1


@pytest.mark.parametrize("hosts", [False, True], ids=["of one machine", "of two machines"])
def test_processes_together_do_not_pass_a_budget(tmp_path: Path, hosts: bool, request: pytest.FixtureRequest) -> None:
    """Two machines have stores of their own, and a database in common."""
    where = str(tmp_path)
    if hosts:
        server: PostgresServer = request.getfixturevalue("postgresql")
        where = server.new_database()
    folders = [tmp_path / name if hosts else tmp_path for name in "ab"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    started = [
        subprocess.Popen([sys.executable, "-c", SPENDS, folder, where], stdout=subprocess.PIPE, text=True)
        for folder in folders
    ]
    spent = [int(process.communicate(timeout=60)[0]) for process in started]
    assert 198 <= sum(spent) <= 200


def test_money_is_spent_to_the_last_call_that_it_pays_for(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    """A call costs 3 cents and 50 at most: after 17 calls 49 cents are left, and after 16 they were 52."""
    with pytest.raises(BudgetReachedError):
        list(caller(price=CENT, budget=a_budget(tmp_path, store, run=1.0)).ask(map(ask_about, range(100))))
    assert (len(service.seen), store.stats().calls) == (17, 17)  # none was cancelled on its way


def test_a_call_that_costs_more_than_a_budget_does_not_cancel_the_ones_before_it(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    small = [ask_about(number, max_completion_tokens=10) for number in range(4)]
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=1.0))
    with pytest.raises(BudgetReachedError, match=r"the next call may cost 5\.0000"):
        list(asking.ask([*small, ask_about(9, max_completion_tokens=500)]))
    assert (len(service.seen), store.stats().calls) == (4, 4)


def test_a_call_that_waits_for_its_turn_holds_no_money(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    service.hold_from(0)
    answers = caller(ceiling=1, price=CENT, budget=a_budget(tmp_path, store, run=1.1)).ask(map(ask_about, range(4)))
    service.holds = lambda seen: seen.question != "question 0"
    next(answers)
    service.wait_until(lambda service: service.held == 1)
    another = a_budget(tmp_path, store, run=1.1)

    async def hold() -> float:
        async with another.held(CENT, {"prompt": "", "max_tokens": 50}) as held:
            return held.dollars

    assert asyncio.run(hold()) == pytest.approx(0.5)
    service.release()
    assert len(list(answers)) == 3


def test_a_call_that_is_tried_again_holds_nothing_while_it_waits(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    """Of two calls that hold all there is, one is turned away: a third one is made in the meantime."""
    service.rule = lambda _: error(503, retry_after="7") if len(service.seen) == 1 else None
    answers = caller(ceiling=3, price=CENT, budget=a_budget(tmp_path, store, run=1.1)).ask(map(ask_about, range(3)))
    assert [answer.status for answer in answers] == ["ok"] * 3


# ---------------------------------------------------------------- what a service doesn't tell, and what is no answer


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}])
def test_a_budget_is_kept_where_the_service_tells_no_tokens(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, usage: dict[str, Any]
) -> None:
    give_price(tmp_path, "input: 50, output: 1500")
    reply = chat("The log says that the bridge was built in that very year.")
    service.rule = lambda _: Reply(body={"choices": reply.body["choices"], **usage})
    prices = PriceList(tmp_path)
    price = prices.at(service.url, "model-1")
    asking = caller(price=price, budget=a_budget(tmp_path, store, run=1.0))
    with pytest.raises(BudgetReachedError):
        list(asking.ask(map(ask_about, range(60))))
    rows = list(ledger(store, prices))
    assert 0 < len(rows) < 60
    assert all(row.estimated and row.dollars for row in rows)
    assert sum(row.dollars or 0.0 for row in rows) == pytest.approx(asking.usage_stats.dollars)
    assert 0.5 < asking.usage_stats.dollars <= 1.0
    assert asking.usage_stats.usage.estimated == len(rows)


def test_a_service_that_ignores_the_maximum_passes_a_budget_by_no_more_than_one_call(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    long = {"prompt_tokens": 1, "completion_tokens": 100}
    service.rule = lambda _: Reply(body=chat("word").body | {"usage": long})
    asking = caller(ceiling=1, price=CENT, budget=a_budget(tmp_path, store, run=3.5))
    with pytest.raises(BudgetReachedError):
        list(asking.ask(map(ask_about, range(60))))
    assert asking.usage_stats.dollars == pytest.approx(3.0)


@dataclass(frozen=True)
class Bad:
    """A response that can't be used, and the least that it cost in US dollars."""

    reply: Reply
    at_least: float


BAD = [
    Bad(Reply(body={"choices": None, "usage": {"prompt_tokens": 4, "completion_tokens": 20}}), 0.20),
    # JSON that was cut off: what came is counted
    Bad(Reply(body=b'{"choices": [{"message": {"content": "it broke o'), 0.01),
    # the connection broke: as much as it may have cost
    Bad(Reply(body={"choices": [{"message": {"content": "never seen"}}]}, cut=True), 0.50),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_or_cut_off_response_is_paid_with_the_answer_that_follows(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, bad: Bad
) -> None:
    give_price(tmp_path)
    service.replies = [bad.reply]
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=9.0))
    (answer,) = asking.ask([ask_about(1)])
    (row,) = ledger(store, PriceList(tmp_path))
    assert (answer.status, row.tries) == ("ok", 2)
    assert row.dollars == pytest.approx(asking.usage_stats.dollars)
    assert asking.usage_stats.dollars >= 0.03 + bad.at_least


@pytest.mark.parametrize("bad", BAD)
def test_bad_responses_of_a_call_that_is_given_up_are_paid(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, bad: Bad
) -> None:
    give_price(tmp_path)
    service.rule = lambda _: bad.reply
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=9.0))
    (answer,) = asking.ask([ask_about(1)])
    (row,) = ledger(store, PriceList(tmp_path))
    assert (answer.status, row.status) == ("failed", "failed")
    assert row.dollars == pytest.approx(asking.usage_stats.dollars)
    assert asking.usage_stats.dollars >= 5.99 * bad.at_least  # every one of six tries
    service.rule = lambda _: None
    (again,) = caller(price=CENT).ask([ask_about(1)])
    assert (again.status, again.from_store) == ("ok", False)  # what was stored is no answer


def test_an_answer_that_does_not_come_in_time_is_paid(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    give_price(tmp_path)
    service.hold_from(0)
    (answer,) = caller(price=CENT, timeout_s=0.2).ask([ask_about(1)])
    (row,) = ledger(store, PriceList(tmp_path))
    assert (answer.status, row.estimated) == ("failed", True)
    assert row.dollars == pytest.approx(RetryPolicy().timeouts * 0.50)


USAGE_OF_AN_ERROR = {"prompt_tokens": 4, "completion_tokens": 20, "total_tokens": 24}
PAID_ERRORS = {
    "beside the error": Reply(500, {"error": {"message": "the engine died"}, "usage": USAGE_OF_AN_ERROR}),
    "in the error": Reply(429, {"error": {"message": "slow down", "usage": USAGE_OF_AN_ERROR}}),
    "of a gateway": Reply(502, {"detail": {"upstream": {"message": "gone", "usage": USAGE_OF_AN_ERROR}}}),
    "in a list": Reply(503, [{"error": {"message": "overloaded"}, "usage": USAGE_OF_AN_ERROR}]),
}


@pytest.mark.parametrize("reply", PAID_ERRORS.values(), ids=PAID_ERRORS)
def test_tokens_that_an_error_with_a_status_tells_are_paid(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, reply: Reply
) -> None:
    give_price(tmp_path)
    service.replies = [reply]
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=9.0))
    (answer,) = asking.ask([ask_about(1)])
    assert answer.status == "ok"
    assert answer.usage.output_tokens == 23
    (row,) = ledger(store, PriceList(tmp_path))
    assert row.dollars == asking.usage_stats.dollars == pytest.approx(0.23)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [(400, "Zounds", "failed"), (400, "content_filter", "filtered"), (500, "the engine died", "failed")],
)
def test_tokens_that_an_error_tells_are_paid_where_no_answer_follows(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, *, status: int, said: str, expected: str
) -> None:
    give_price(tmp_path)
    bad = Reply(status, {"error": {"message": said, "code": said}, "usage": USAGE_OF_AN_ERROR})
    service.rule = lambda seen: bad if seen.question == "question 1" else None
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=9.0))
    _, answer = asking.ask(map(ask_about, range(2)))
    assert answer.status == expected
    tries = 6 if status == 500 else 1
    assert asking.usage_stats.dollars == pytest.approx(0.03 + tries * 0.20)
    assert sum(row.dollars or 0 for row in ledger(store, PriceList(tmp_path))) == pytest.approx(0.03 + tries * 0.20)


def test_what_did_not_reach_the_model_costs_nothing(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    service.replies = [error(500), error(429), Reply(body={"error": {"message": "no"}}), Reply(body=b"<html></html>")]
    asking = caller(price=CENT, budget=a_budget(tmp_path, store, run=9.0))
    (answer,) = asking.ask([ask_about(1)])
    assert answer.status == "ok"
    assert asking.usage_stats.dollars == pytest.approx(0.03)


# ---------------------------------------------------------------- several processes


def test_what_a_killed_process_held_is_waited_for_and_free_again(tmp_path: Path, store: CallStore) -> None:
    async def hold_all(budget: Budget) -> float:
        async with budget.held(CENT, {"prompt": "", "max_tokens": 200}) as held:
            return held.dollars

    async def hold_within_a_moment(budget: Budget) -> float:
        return await asyncio.wait_for(hold_all(budget), 0.5)

    command = [sys.executable, "-c", SPENDS, str(tmp_path), str(tmp_path), "hold"]
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


# ---------------------------------------------------------------- who waits, and for what

CALL = {"prompt": "", "max_tokens": 100}  # a dollar at most


def test_who_wants_little_gets_as_many_calls_as_who_wants_much(tmp_path: Path, store: CallStore) -> None:
    """Money for one call at a time is left: the budget of one process is asked by 40 calls at once, of another by 1."""
    loop, made = VirtualLoop(), list[str]()

    async def call(budget: Budget, name: str) -> None:
        async with budget.held(CENT, CALL) as held:
            made.append(name)
            await asyncio.sleep(1)
            held.spent = 0.01

    async def call_in_turn(budget: Budget) -> None:
        for _ in range(20):
            await call(budget, "modest")

    async def all_together() -> None:
        many, few = (a_budget(tmp_path, store, month=1.61) for _ in range(2))
        await asyncio.gather(*[call(many, "greedy") for _ in range(40)], call_in_turn(few))

    run_virtually(all_together(), loop)
    assert made[:40].count("modest") >= 18


def test_a_waiting_call_is_woken_by_the_one_that_ends(tmp_path: Path, store: CallStore) -> None:
    loop = VirtualLoop()

    async def call(budget: Budget) -> None:
        async with budget.held(CENT, CALL) as held:
            await asyncio.sleep(0.25)
            held.spent = 0.01

    async def all_together() -> float:
        budget = a_budget(tmp_path, store, run=1.1)
        started = loop.time()
        await asyncio.gather(*[call(budget) for _ in range(10)])
        return loop.time() - started

    assert run_virtually(all_together(), loop) == pytest.approx(10 * 0.25)  # of virtual time: no poll lies between


def test_a_call_that_stops_waiting_lets_others_pass(tmp_path: Path, store: CallStore) -> None:
    async def hold(budget: Budget, *, tokens: int) -> None:
        async with budget.held(CENT, {"prompt": "", "max_tokens": tokens}):
            await asyncio.sleep(0)

    async def give_up_and_go_on() -> None:
        one, two, three = (a_budget(tmp_path, store, month=1.0) for _ in range(3))
        async with one.held(CENT, {"prompt": "", "max_tokens": 50}):
            first = asyncio.ensure_future(hold(two, tokens=90))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(hold(three, tokens=10))
            await asyncio.sleep(0)
            assert not second.done()  # it would fit, but the other one came first
            first.cancel()
            await second

    run_virtually(give_up_and_go_on(), VirtualLoop())


def test_a_run_that_waits_for_its_own_budget_keeps_no_other_run_waiting(tmp_path: Path, store: CallStore) -> None:
    async def hold(budget: Budget) -> None:
        async with budget.held(CENT, CALL):
            await asyncio.sleep(0)

    async def two_runs() -> None:
        one, same, other = (a_budget(tmp_path, store, run, run=1.0) for run in ("one", "one", "other"))
        async with one.held(CENT, CALL):
            waiting = asyncio.ensure_future(hold(same))
            await asyncio.sleep(0)
            await hold(other)
            assert not waiting.done()
        await waiting

    run_virtually(two_runs(), VirtualLoop())


def test_a_model_whose_answers_have_no_known_price_is_not_asked(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    prompts_alone = Price(10.0, None, None, None, "a list of embeddings")
    asking = caller(price=prompts_alone, budget=a_budget(tmp_path, store, run=1.0))
    assert len(list(asking.embed(["a text"]))) == 1
    with pytest.raises(EndpointError, match="price of a model's answers is unknown"):
        list(asking.ask([ask_about(1)]))
    assert len(service.seen) == 1
