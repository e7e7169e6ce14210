"""A stream of items on its way to answers: when a call starts, when it counts, and how a stream ends early.

What a call is, is the caller's; here it is a coroutine that a test holds and lets go.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.llm.attempts import CallFailedError
from raft_assets.llm.background import background_loop
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.llm.streams import Slot, Stream
from raft_assets.storage.call_store import SqliteCallStore

PATIENCE_S = 60  # a failsafe: nothing here takes so long


def call_of(item: str) -> StoredCall:
    return StoredCall(f"key of {item}", "service", "model", "chat", "ok", Usage(1), 0.1, 1.8e9, item.encode())


class Wire:
    """Calls that are answered at once, but for those that hold an item of `held`: they end as `answer`, `fail` say."""

    def __init__(self) -> None:
        self.started: list[list[str]] = []
        self.cancelled: list[list[str]] = []
        self.held: set[str] = set()
        self._open: dict[str, asyncio.Future[None]] = {}

    async def send(self, batch: Sequence[tuple[str, str]]) -> list[StoredCall]:
        items = [item for _, item in batch]
        self.started.append(items)
        try:
            for item in self.held.intersection(items):
                await self._open.setdefault(item, background_loop().create_future())
        except asyncio.CancelledError:
            for _ in range(1000):  # turns of the loop: a client closes its connection first
                await asyncio.sleep(0)
            self.cancelled.append(items)
            raise
        return [call_of(item) for item in items]

    def answer(self, item: str) -> None:
        on_the_loop(lambda: self._open[item].set_result(None))

    def fail(self, item: str, error: BaseException) -> None:
        on_the_loop(lambda: self._open[item].set_exception(error))


def on_the_loop(what: object = lambda: None) -> None:
    """Does it on the background loop, behind everything that is due there."""

    async def do() -> None:
        for _ in range(10):  # turns of the loop: a task that was just started must have come to its first wait
            await asyncio.sleep(0)
        assert callable(what)
        what()

    asyncio.run_coroutine_threadsafe(do(), background_loop()).result(PATIENCE_S)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def stream(store: CallStore, wire: Wire, *, window: int = 4, group: int = 1, per_call: int = 1) -> Stream[str]:
    def batches(missing: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
        return (missing[start : start + per_call] for start in range(0, len(missing), per_call))

    return Stream(
        store, key_of=lambda item: f"key of {item}", send=wire.send, batches=batches, window=window, group=group
    )


def payload(slot: Slot) -> str:
    return slot.future.result(PATIENCE_S).payload.decode()


def is_stored(store: CallStore, item: str) -> bool:
    return bool(store.get([f"key of {item}"]))


def test_slots_come_in_the_order_of_the_items_whichever_call_ends_first(store: CallStore, wire: Wire) -> None:
    wire.held = {"a"}
    slots = stream(store, wire).slots("abc")
    first, second, third = next(slots), next(slots), next(slots)
    assert [payload(third), payload(second)] == ["c", "b"]
    assert not first.future.done()
    wire.answer("a")
    assert payload(first) == "a"
    assert list(slots) == []


def test_an_answer_counts_once_it_is_in_the_store(store: CallStore, wire: Wire) -> None:
    for slot in stream(store, wire).slots("abc"):
        call = slot.future.result(PATIENCE_S)
        assert store.get([slot.key]) == {slot.key: call}
        assert not slot.from_store


def test_what_is_in_the_store_is_not_asked_for(store: CallStore, wire: Wire) -> None:
    store.put([call_of("b")])
    slots = list(stream(store, wire).slots("abc"))
    assert [slot.from_store for slot in slots] == [False, True, False]
    assert [payload(slot) for slot in slots] == ["a", "b", "c"]
    assert sorted(wire.started) == [["a"], ["c"]]


def test_of_two_answers_to_one_call_the_one_that_was_stored_first_counts(store: CallStore, wire: Wire) -> None:
    wire.held = {"a"}
    slots = stream(store, wire).slots("a")
    slot = next(slots)
    store.put([replace(call_of("a"), payload=b"another process was faster")])
    wire.answer("a")
    assert payload(slot) == "another process was faster"


@pytest.mark.parametrize("group", [1, 4], ids=["one by one", "in one group"])
def test_equal_items_share_one_call_and_only_the_first_pays_for_it(store: CallStore, wire: Wire, group: int) -> None:
    wire.held = {"a"}
    slots = stream(store, wire, group=group).slots("aaba")
    found = [next(slots) for _ in range(4)]
    wire.answer("a")
    assert [payload(slot) for slot in found] == ["a", "a", "b", "a"]
    assert [slot.from_store for slot in found] == [False, True, False, True]
    assert sorted(wire.started) == [["a"], ["b"]]


def test_items_are_taken_at_most_a_window_ahead_and_in_whole_groups(store: CallStore, wire: Wire) -> None:
    items = iter(range(100))
    taking = stream(store, wire, window=5, group=2)
    slots = taking.slots(str(number) for number in items)
    next(slots)
    assert next(items) == 4  # two groups of two: a third one would reach beyond five
    assert taking.waiting == 3
    next(slots)
    assert taking.waiting == 4  # one handed out, and a group taken behind it
    slots.close()


def test_a_group_is_cut_into_calls_and_only_of_what_is_missing(store: CallStore, wire: Wire) -> None:
    store.put([call_of("b")])
    slots = stream(store, wire, window=5, group=5, per_call=3).slots("abcde")
    assert [payload(slot) for slot in slots] == ["a", "b", "c", "d", "e"]
    assert wire.started == [["a", "c", "d"], ["e"]]


def test_a_lost_call_loses_its_items_and_no_others(store: CallStore, wire: Wire) -> None:
    wire.held = {"b"}
    slots = stream(store, wire, window=4, group=2, per_call=2).slots("abcd")
    found = [next(slots) for _ in range(4)]
    wire.fail("b", CallFailedError("it answered 500", tries=6))
    for slot in found[:2]:
        with pytest.raises(CallFailedError, match="it answered 500, after 6 tries"):
            slot.future.result(PATIENCE_S)
    assert [payload(slot) for slot in found[2:]] == ["c", "d"]
    assert list(slots) == []


def test_a_lost_call_is_made_again_for_an_equal_item_that_comes_later(store: CallStore, wire: Wire) -> None:
    wire.held = {"a"}
    slots = stream(store, wire, window=1).slots("aa")
    first = next(slots)
    wire.fail("a", CallFailedError("the connection failed", tries=1))
    with pytest.raises(CallFailedError, match=r"^the connection failed$"):
        first.future.result(PATIENCE_S)
    wire.held = set()
    second = next(slots)
    assert payload(second) == "a"
    assert not second.from_store
    assert wire.started == [["a"], ["a"]]


def test_what_no_other_call_would_survive_ends_the_stream_and_keeps_what_came(store: CallStore, wire: Wire) -> None:
    wire.held = {"b", "c"}
    slots = stream(store, wire, window=3, group=3).slots("abcd")
    first, second, third = (next(slots) for _ in range(3))
    assert payload(first) == "a"
    wire.fail("b", RuntimeError("no credit left"))
    on_the_loop()
    for slot in (second, third, next(slots)):  # that failed, that was under way, that had not begun
        with pytest.raises(RuntimeError, match="no credit left"):
            slot.future.result(PATIENCE_S)
    assert wire.cancelled == [["c"]]
    assert ["d"] not in wire.started
    assert [is_stored(store, item) for item in "abc"] == [True, False, False]


def test_closing_cancels_what_is_under_way_and_nothing_runs_on(store: CallStore, wire: Wire) -> None:
    wire.held = {"b"}
    slots = stream(store, wire).slots("abc")
    first, second = next(slots), next(slots)
    assert payload(first) == "a"
    on_the_loop()
    slots.close()
    assert wire.cancelled == [["b"]]
    with pytest.raises(CallFailedError, match=r"^it was cancelled$"):
        second.future.result(0)
    assert [is_stored(store, item) for item in "abc"] == [True, False, True]


def test_a_consumer_that_fails_closes_the_stream(store: CallStore, wire: Wire) -> None:
    wire.held = {"b"}

    def consume() -> None:
        for slot in stream(store, wire).slots("abc"):
            on_the_loop()
            raise ValueError(payload(slot))

    with pytest.raises(ValueError, match=r"^a$"):
        consume()
    assert wire.cancelled == [["b"]]


def test_answers_that_cannot_be_stored_end_the_stream_with_the_reason(tmp_path: Path, wire: Wire) -> None:
    wire.held = {"a", "b"}
    with SqliteCallStore(tmp_path / "calls.sqlite") as closed:
        slots = stream(closed, wire, window=2).slots("ab")
        first = next(slots)
    wire.answer("a")
    error = first.future.exception(PATIENCE_S)
    assert error is not None
    assert not isinstance(error, CallFailedError)
    slots.close()


def test_items_that_cannot_be_made_end_the_stream_and_cancel_what_is_under_way(store: CallStore, wire: Wire) -> None:
    wire.held = {"a"}

    def items() -> Iterator[str]:
        yield "a"
        on_the_loop()
        raise ValueError("no more rows can be read")

    with pytest.raises(ValueError, match="no more rows"):
        next(stream(store, wire).slots(items()))
    assert wire.cancelled == [["a"]]


def test_no_items_are_no_slots(store: CallStore, wire: Wire) -> None:
    assert list(stream(store, wire).slots([])) == []
    assert wire.started == []


def test_a_slot_of_the_store_is_done_at_once(store: CallStore, wire: Wire) -> None:
    store.put([call_of("a")])
    (slot,) = stream(store, wire).slots("a")
    assert isinstance(slot.future, Future)
    assert slot.future.done()


# ---------------------------------------------------------------- calls that another process makes


def test_a_call_that_another_process_makes_is_waited_for(store: CallStore, tmp_path: Path, wire: Wire) -> None:
    with SqliteCallStore(tmp_path / "calls.sqlite") as elsewhere:
        assert elsewhere.claim(["key of a"]).mine
        slots = stream(store, wire).slots("ab")
        waiting, other = next(slots), next(slots)
        assert (payload(other), other.from_store) == ("b", False)
        assert not waiting.future.done()
        elsewhere.put([replace(call_of("a"), payload=b"theirs")])
        assert (payload(waiting), waiting.from_store) == ("theirs", True)
        slots.close()
    assert wire.started == [["b"]]


@pytest.mark.parametrize("end", ["gives it up", "ends"])
def test_a_call_that_another_process_gives_up_is_made(store: CallStore, tmp_path: Path, wire: Wire, end: str) -> None:
    elsewhere = SqliteCallStore(tmp_path / "calls.sqlite")
    elsewhere.claim(["key of a"])
    slots = stream(store, wire).slots("a")
    slot = next(slots)
    if end == "ends":
        elsewhere.close()
    else:
        elsewhere.release(["key of a"])
    assert (payload(slot), slot.from_store) == ("a", False)
    elsewhere.close()


def test_a_call_that_fails_or_is_cancelled_is_free_for_other_processes(
    store: CallStore, tmp_path: Path, wire: Wire
) -> None:
    wire.held = {"a", "b"}
    slots = stream(store, wire).slots("ab")
    failing, _ = next(slots), next(slots)
    on_the_loop()
    with SqliteCallStore(tmp_path / "calls.sqlite") as elsewhere:
        assert not elsewhere.claim(["key of a", "key of b"]).mine
        wire.fail("a", CallFailedError("lost", tries=1))
        with pytest.raises(CallFailedError):
            failing.future.result(PATIENCE_S)
        slots.close()
        assert elsewhere.claim(["key of a", "key of b"]).mine == {"key of a", "key of b"}


def test_a_stream_that_ends_waits_for_no_other_process(store: CallStore, tmp_path: Path, wire: Wire) -> None:
    with SqliteCallStore(tmp_path / "calls.sqlite") as elsewhere:
        elsewhere.claim(["key of a"])
        slots = stream(store, wire).slots("a")
        slot = next(slots)
        slots.close()
        with pytest.raises(CallFailedError, match=r"^it was cancelled$"):
            slot.future.result(0)
