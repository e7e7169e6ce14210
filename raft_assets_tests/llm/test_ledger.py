"""What was paid, derived from the store."""

from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.llm.ledger import ledger, total_by
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import Origin, Usage
from raft_assets.llm.store import CallStore
from raft_assets.settings.prices import PRICES_FILE
from raft_assets_tests.llm.conftest import MakeCaller, ask_about
from raft_assets_tests.llm.service import Reply, Service, chat, error

ORIGIN = Origin("qa_pairs", "bats", "run-1")


def priced(folder: Path, model: str = "model-1") -> PriceList:
    entry = f'- {{model: "{model}", input: 10, cached: 5, output: 100, source: ours, date: 2026-11-01}}'
    (folder / PRICES_FILE).write_text(entry, "utf-8")
    return PriceList(folder)


def test_every_call_has_its_row_with_who_asked_and_what_it_cost(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    prices = priced(tmp_path)
    asking = caller(origin=ORIGIN, price=prices.at(service.url, "model-1"))
    list(asking.ask(map(ask_about, range(3))))
    list(asking.embed(["one text", "another one"]))
    rows = list(ledger(store, prices))
    assert {(row.asset, row.domain, row.run, row.role) for row in rows} == {("qa_pairs", "bats", "run-1", "TEACHER")}
    assert [row.kind for row in rows].count("chat") == 3
    first = next(row for row in rows if row.kind == "chat")
    assert first.dollars == pytest.approx((6 * 10 + 4 * 5 + 3 * 100) / 1e6)
    assert sum(row.dollars or 0 for row in rows) == pytest.approx(asking.usage_stats.dollars)
    assert asking.usage_stats.unpriced == 0


def test_what_the_store_answers_is_paid_by_nobody_twice(
    caller: MakeCaller, store: CallStore, tmp_path: Path, service: Service
) -> None:
    price = priced(tmp_path).at(service.url, "model-1")
    list(caller(origin=ORIGIN, price=price).ask(map(ask_about, range(3))))
    again = caller(origin=Origin("student_answers", "bats", "run-2"), price=price)
    list(again.ask(map(ask_about, range(3))))
    assert again.usage_stats.dollars == 0
    assert {row.run for row in ledger(store, priced(tmp_path))} == {"run-1"}


def test_an_unknown_price_is_counted_and_never_zero(caller: MakeCaller, store: CallStore, tmp_path: Path) -> None:
    prices = priced(tmp_path, "another-model")
    asking = caller(price=prices.at("http://ours/v1", "model-1"))
    list(asking.ask(map(ask_about, range(2))))
    assert (asking.usage_stats.unpriced, asking.usage_stats.dollars) == (2, 0)
    stored = list(store.calls())
    store.forget(lambda _: True)
    store.put([replace(call, service="http://ours/v1") for call in stored])  # what answers on this machine is free
    (group,) = total_by(ledger(store, prices), "model")
    assert (group.name, group.calls, group.unpriced, group.dollars) == ("model-1", 2, 2, 0)
    assert {row.dollars for row in ledger(store, prices)} == {None}


def test_calls_whose_tokens_were_counted_here_are_marked(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    told = chat("told")
    service.rule = lambda seen: Reply(body={"choices": told.body["choices"]}) if "7" in seen.question else None
    list(caller().ask(map(ask_about, range(6, 9))))
    rows = list(ledger(store, priced(tmp_path)))
    assert sorted(row.estimated for row in rows) == [False, False, True]
    (group,) = total_by(rows, "model")
    (used,) = store.usage()
    assert (group.usage.estimated, used.usage.estimated, store.stats().usage.estimated) == (1, 1, 1)


TOLD = {"prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48}
HALF = {"index": 0, "message": {"content": "half an answer that"}, "finish_reason": "error"}


@pytest.mark.parametrize(
    "case",
    [
        ({"error": {"code": 500, "message": "upstream failed"}, "usage": TOLD}, Usage(40, 0, 8)),
        ({"error": {"code": 500, "message": "upstream failed", "usage": TOLD}}, Usage(40, 0, 8)),
        ({"message": "worker died", "usage": TOLD}, Usage(40, 0, 8)),
        ({"choices": [{**HALF, "error": {"code": 502, "message": "died"}}], "usage": TOLD}, Usage(40, 0, 8)),
        ({"choices": [{**HALF, "error": {"code": 502, "message": "died"}}]}, None),  # it doesn't tell: counted here
        ({"error": {"code": 500, "message": "nothing was done"}}, Usage()),
    ],
)
def test_an_error_in_a_200_is_paid_as_the_service_tells_it_or_as_we_count_it(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, case: tuple[object, Usage | None]
) -> None:
    (reply, lost), prices = case, priced(tmp_path)
    service.replies = [Reply(body=reply)]
    asking = caller(price=prices.at(service.url, "model-1"))
    list(asking.ask([ask_about(1)]))
    (row,) = ledger(store, prices)
    if lost is None:
        assert row.estimated
        assert (row.input_tokens > 10, row.output_tokens > 3) == (True, True)
    else:
        assert not row.estimated
        assert (row.input_tokens, row.output_tokens) == (10 + lost.input_tokens, 3 + lost.output_tokens)
    assert sum(row.dollars or 0 for row in ledger(store, prices)) == pytest.approx(asking.usage_stats.dollars)


def test_an_error_in_a_200_that_loses_the_row_is_in_the_ledger_as_lost(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    prices = priced(tmp_path)
    body = {"error": {"code": 400, "message": "the prompt is too long for the context"}, "usage": TOLD}
    service.rule = lambda _: Reply(body=body)
    (answer,) = caller(price=prices.at(service.url, "model-1")).ask([ask_about(1)])
    assert answer.status == "failed"
    (row,) = ledger(store, prices)
    assert (row.status, row.input_tokens, row.output_tokens, row.estimated) == ("failed", 40, 8, False)


def test_calls_that_are_cancelled_on_their_way_are_in_the_ledger_at_the_most_that_they_may_cost(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    prices = priced(tmp_path)
    service.hold_from(2)
    asking = caller(ceiling=4, origin=ORIGIN, price=prices.at(service.url, "model-1"))
    answers = asking.ask(map(ask_about, range(50)))
    next(answers)
    next(answers)
    service.wait_until(lambda service: service.held == 4)
    answers.close()
    rows = list(ledger(store, prices))
    lost = [row for row in rows if row.status == "failed"]
    assert len(lost) == 4
    assert {(row.estimated, row.output_tokens, row.run) for row in lost} == {(True, 50, "run-1")}
    assert all(row.input_tokens and row.dollars for row in lost)
    assert sum(row.dollars or 0 for row in rows) == pytest.approx(asking.usage_stats.dollars)
    service.release()
    assert [answer.status for answer in asking.ask(map(ask_about, range(6)))] == ["ok"] * 6


def test_calls_to_a_service_that_takes_none_cost_nothing_when_they_are_cancelled(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    service.holds = lambda seen: not seen.question.endswith(" 0")
    service.rule = lambda _: error(401)
    with pytest.raises(EndpointError, match="sign-in"):
        list(caller(ceiling=4, price=priced(tmp_path).at(service.url, "model-1")).ask(map(ask_about, range(50))))
    assert list(store.calls()) == []


def test_reasoning_tokens_and_retries_are_kept(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}
    reply = chat("fine")
    service.rule = lambda _: reply.__class__(body=reply.body | {"usage": usage}) if len(service.seen) > 2 else None
    service.replies = [reply.__class__(status=500, body={}), reply.__class__(status=500, body={})]
    list(caller().ask([ask_about(1)]))
    (row,) = ledger(store, priced(tmp_path))
    assert (row.tries, row.reasoning_tokens, row.output_tokens) == (3, 7, 9)
    assert row.dollars == pytest.approx(priced(tmp_path).at("", "model-1").of(Usage(5, 0, 9, 7)))


def test_sums_are_by_day_model_or_asset_the_dearest_first(caller: MakeCaller, store: CallStore, tmp_path: Path) -> None:
    list(caller(origin=Origin("cheap")).ask([ask_about(1)]))
    list(caller(origin=Origin("dear")).ask(map(ask_about, range(2, 9))))
    sums = total_by(ledger(store, priced(tmp_path)), "asset")
    assert [(group.name, group.calls) for group in sums] == [("dear", 7), ("cheap", 1)]
    assert len(total_by(ledger(store, priced(tmp_path)), "day")) == 1
