"""A stream of items on its way to answers.

    items -> window (keys, look-up, claims, equal ones joined) -> calls on the background loop -> one writer -> slots

What a call is belongs in `caller`; here is only when it starts, when it counts as done (once it is committed), and how
it ends early.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import math
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from raft_assets.llm.attempts import CallFailedError
from raft_assets.llm.background import background_loop, is_background_thread
from raft_assets.llm.store import CallStore, ClaimedCalls, StoredCall

log = logging.getLogger(__name__)

# between two looks for answers that other processes pay for: soon after an answer, later and later without one
WATCH_S = (0.05, 1.0)
WATCH_GROWTH = 1.5
COMMIT_WAIT_S = 0.05  # for more answers to share a commit; what is not committed is still in flight

Item = TypeVar("Item")
Batch = Sequence[tuple[str, Item]]  # keys and items of one call


@dataclass(frozen=True)
class LostItem:
    """An item of a call that was answered for others, and not for it."""

    key: str
    error: CallFailedError


Send = Callable[[Batch[Item]], Awaitable[Sequence[StoredCall | LostItem]]]


@dataclass
class Slot:
    """An item's place in the order.

    `future` gives the committed call, or raises CallFailedError or what stopped the stream. `from_store` is known when
    it is done: what another process pays for may have to be paid here after all.
    """

    key: str
    future: Future[StoredCall]
    from_store: bool


class Stream(Generic[Item]):
    """Items taken in groups, at most `window` ahead of the consumer.

    `batches` divides what is not in the store into calls, `send` makes one; `on_stored` is shown what was in the store
    before calls are made, and `on_joined` the items for which no call is made.
    """

    def __init__(
        self,
        store: CallStore,
        *,
        key_of: Callable[[Item], str],
        send: Send[Item],
        batches: Callable[[Batch[Item]], Iterable[Batch[Item]]],
        window: int,
        group: int,
        on_stored: Callable[[Iterable[StoredCall]], None] = lambda _: None,
        on_joined: Callable[[Batch[Item]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._key_of = key_of
        self._window = window
        self._group = group
        self._on_stored, self._on_joined = on_stored, on_joined
        self._ahead: deque[Slot] = deque()
        self._flight = _CallsInFlight(store, send, batches)

    @property
    def waiting(self) -> int:
        """Items that are taken but not returned yet."""
        return len(self._ahead)

    def slots(self, items: Iterable[Item]) -> Generator[Slot]:
        """Yield the items' slots in order.

        Closing the generator cancels what is in flight and commits what has arrived.
        """
        source = iter(items)
        try:
            while True:
                while len(self._ahead) + self._group <= self._window and (
                    group := list(itertools.islice(source, self._group))
                ):
                    self._ahead.extend(self._take(group))
                if not self._ahead:
                    return
                yield self._ahead.popleft()
        finally:
            self._flight.close()

    def _take(self, group: Sequence[Item]) -> list[Slot]:
        keyed = [(self._key_of(item), item) for item in group]
        # checked before the store: what is committed in between is then in the store
        joined = {key: future for key, _ in keyed if (future := self._flight.expected(key))}
        stored = self._store.get({key for key, _ in keyed} - joined.keys())
        claimed = self._store.claim({key for key, _ in keyed} - joined.keys() - stored.keys())
        stored |= claimed.stored
        self._on_stored(stored.values())
        slots, missing, awaited, others = [], [], [], []
        for key, item in keyed:
            is_new = key not in stored and key not in joined
            if is_new:
                joined[key] = self._flight.expect(key)
            is_mine = is_new and key in claimed.mine
            future = _completed_future(stored[key]) if key in stored else joined[key]
            slots.append(Slot(key, future, from_store=not is_mine))
            if is_mine:
                missing.append((key, item))
            else:
                others.append((key, item))
            if is_new and not is_mine:
                awaited.append((slots[-1], item))
        self._on_joined(others)
        self._flight.start(missing)
        if awaited:
            self._flight.wait_for(awaited)
        return slots


class _CallsInFlight(Generic[Item]):
    """Calls of one stream that are under way, here or in other processes.

    Everything but `expect`, `expected`, `start`, `wait_for` and `close` happens on the background loop.

    An answer counts once it is committed. One writer commits whatever has arrived while it waited for a moment or was
    busy with the commit before, so that the faster answers arrive, the more of them share the price of durability. One
    that comes long after the one before is committed at once: no other would share it.
    """

    def __init__(
        self, store: CallStore, send: Send[Item], batches: Callable[[Batch[Item]], Iterable[Batch[Item]]]
    ) -> None:
        self._store = store
        self._send = send
        self._batches = batches
        self._expected: dict[str, Future[StoredCall]] = {}
        self._tasks: set[asyncio.Task[Sequence[StoredCall | LostItem]]] = set()
        self._uncommitted: list[StoredCall] = []
        self._writer: asyncio.Task[None] | None = None
        self._awaited: dict[str, tuple[Slot, Item]] = {}  # of other processes
        self._watcher: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()
        self._releases: set[asyncio.Task[None]] = set()
        self._arrived_at = -math.inf  # on the loop's clock, the answer before
        self._stop_error: BaseException | None = None

    def expected(self, key: str) -> Future[StoredCall] | None:
        """Return the future of a call that is under way."""
        return self._expected.get(key)

    def expect(self, key: str) -> Future[StoredCall]:
        """Announce a call that `start` is going to make."""
        return self._expected.setdefault(key, Future())

    def start(self, keyed: Batch[Item]) -> None:
        """Start the calls for these items."""
        for batch in self._batches(keyed):
            background_loop().call_soon_threadsafe(self._start, batch)

    def wait_for(self, awaited: Sequence[tuple[Slot, Item]]) -> None:
        """Wait for the answers to these items, for which other processes pay; start the calls that they give up."""
        background_loop().call_soon_threadsafe(self._wait_for, awaited)

    def close(self) -> None:
        """Cancel what is in flight and commit what has arrived; afterwards nothing of this stream runs."""
        if sys.is_finalizing():  # the loop's thread is gone already, and waiting for it would never end
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), background_loop())
        if not is_background_thread():  # it is, if the garbage collector closes a generator there
            closing.result()

    def _start(self, batch: Batch[Item]) -> None:
        keys = [key for key, _ in batch]
        if self._stop_error:
            self._give_up(keys, self._stop_error)
            return
        task = asyncio.ensure_future(self._send(batch))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._on_done, keys))

    def _on_done(self, keys: Sequence[str], task: asyncio.Task[Sequence[StoredCall | LostItem]]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._give_up(keys, self._stop_error or CallFailedError("it was cancelled", tries=1))
        elif error := task.exception():
            self._give_up(keys, error)
            if not isinstance(error, CallFailedError):
                self._stop(error)
        else:
            for outcome in task.result():
                if isinstance(outcome, StoredCall):
                    self._uncommitted.append(outcome)
                else:
                    self._give_up([outcome.key], outcome.error)
            arrived_at, self._arrived_at = self._arrived_at, asyncio.get_running_loop().time()
            is_alone = self._arrived_at - arrived_at > COMMIT_WAIT_S
            self._writer = self._writer or asyncio.ensure_future(self._commit(is_alone=is_alone))

    async def _commit(self, *, is_alone: bool) -> None:
        while self._uncommitted:
            if self._tasks and not is_alone:
                await asyncio.sleep(COMMIT_WAIT_S)
            is_alone = False  # what arrives during this commit
            calls, self._uncommitted = self._uncommitted, []
            try:
                kept = await asyncio.to_thread(self._store.put, calls)
            except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
                self._give_up([call.key for call in calls], error)
                self._stop(error)
            else:
                for call in calls:
                    self._expected.pop(call.key).set_result(kept[call.key])
        self._writer = None

    def _wait_for(self, awaited: Sequence[tuple[Slot, Item]]) -> None:
        self._awaited.update({slot.key: (slot, item) for slot, item in awaited})
        if self._stop_error:
            self._await_no_longer(self._stop_error)
        elif self._watcher is None:
            log.info("%d calls are under way in other processes, whose answers are taken", len(awaited))
            self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        shortest, longest = WATCH_S
        pause_s = shortest
        while self._awaited:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_closing.wait(), pause_s)
            if not self._awaited:
                break
            try:
                claimed = await asyncio.to_thread(self._store.claim, list(self._awaited))
            except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
                self._stop(error)
                break
            has_news = self._take_over(claimed)
            pause_s = shortest if has_news else min(pause_s * WATCH_GROWTH, longest)
        self._watcher = None

    def _take_over(self, claimed: ClaimedCalls) -> bool:
        """Take what other processes paid, and start the calls that they gave up; return whether there was any."""
        for key in claimed.stored.keys() & self._awaited.keys():
            del self._awaited[key]
            self._expected.pop(key).set_result(claimed.stored[key])
        mine = [(key, self._awaited.pop(key)) for key in list(self._awaited) if key in claimed.mine]
        for _, (slot, _) in mine:
            slot.from_store = False
        for batch in self._batches([(key, item) for key, (_, item) in mine]):
            self._start(batch)
        self._release(claimed.mine - {key for key, _ in mine})  # nobody waits for them any more
        return bool(claimed.stored or claimed.mine)

    def _await_no_longer(self, error: BaseException) -> None:
        awaited, self._awaited = self._awaited, {}
        self._settle(awaited, error)

    def _stop(self, error: BaseException) -> None:
        """End the stream for an error that no other call would survive.

        Answers that have arrived are committed all the same.
        """
        self._stop_error = self._stop_error or error
        for task in self._tasks:
            task.cancel()
        self._await_no_longer(self._stop_error)

    def _give_up(self, keys: Collection[str], error: BaseException) -> None:
        """Settle calls that this process claimed and that brought nothing."""
        self._settle(keys, error)
        self._release(keys)

    def _release(self, keys: Collection[str]) -> None:
        if keys:
            release = asyncio.ensure_future(self._let_go(list(keys)))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)

    async def _let_go(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(RuntimeError):  # no thread begins any more: the process ends, and its claims with it
            await asyncio.to_thread(self._store.release, keys)

    def _settle(self, keys: Iterable[str], error: BaseException) -> None:
        for key in keys:
            self._expected.pop(key).set_exception(error)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._await_no_longer(CallFailedError("it was cancelled", tries=1))
        self._is_closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watcher:
            await self._watcher
        if self._writer:
            await self._writer
        await asyncio.gather(*self._releases)


def _completed_future(call: StoredCall) -> Future[StoredCall]:
    future: Future[StoredCall] = Future()
    future.set_result(call)
    return future
