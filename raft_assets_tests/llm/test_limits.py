"""What an endpoint takes is found, kept to and shared: by a clock that jumps, on the real state file."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.llm.limits import HOSTED_HEADER, Limiter
from raft_assets.settings.endpoints import Limits
from raft_assets.storage.coordination import FileCoordination
from raft_assets_tests.llm.virtual import Endpoint, VirtualLoop, run_virtually

MOST_REJECTED, MOST_TIME = 0.05, 1.15  # share of calls, and of the time that latency and limits set


async def ask(limiter: Limiter, endpoint: Endpoint, *, tokens: int = 100, used: int = 0, most: int = 0) -> None:
    """One call, tried until it is answered; a client that gives up is a failure of the test."""
    again = False
    while True:
        async with limiter.admit(tokens, most, again=again) as turn:
            calling = endpoint.call(prompt=tokens, used=used, most=most)
            answered, after_s, headers = await asyncio.wait_for(calling, turn.timeout_s)
            if answered:
                turn.record_answer(headers)
                turn.record_usage(tokens, used)
                return
            turn.record_rate_limit(after_s, headers)
        again = True
        await asyncio.sleep(after_s or 0.2)


def time_for(calls: int, endpoint: Endpoint, limiters: list[Limiter], loop: VirtualLoop) -> float:
    """Seconds on the loop's clock until every call is answered, by limiters in turn."""
    started = loop.time()

    async def work() -> float:
        for first in range(0, calls, 1000):
            asked = (ask(limiters[number % len(limiters)], endpoint) for number in range(min(1000, calls - first)))
            await asyncio.gather(*asked)
        return loop.time() - started

    return run_virtually(work(), loop)


def a_limiter(file: Path, limits: Limits, **settings: Any) -> Limiter:
    """One of those that share their state in the file."""
    return Limiter(FileCoordination(file.parent), file.stem, limits, **settings)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "limits" / "endpoint.json"


@pytest.mark.parametrize("busy_for_s", [None, 0.25])
@pytest.mark.parametrize("at_once", [1, 8, 32, 128])
def test_the_calls_that_an_endpoint_takes_at_once_are_found_with_few_rejections(
    file: Path, at_once: int, busy_for_s: float | None
) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=at_once, busy_for_s=busy_for_s)
    calls = max(500, 25 * at_once)
    seconds = time_for(calls, endpoint, [a_limiter(file, Limits(), clock=loop.time)], loop)
    assert endpoint.answered == calls
    assert endpoint.rejected <= MOST_REJECTED * calls
    # the bound, and the end of each thousand, in which fewer calls are left than fit
    assert seconds <= MOST_TIME * calls * endpoint.latency_s / at_once + 4 * endpoint.latency_s


@pytest.mark.parametrize("per_minute", [600, 3000])
def test_a_rate_that_the_service_tells_is_kept(file: Path, per_minute: int) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=128, per_minute=per_minute)
    calls = 3 * per_minute
    seconds = time_for(calls, endpoint, [a_limiter(file, Limits(), clock=loop.time)], loop)
    assert endpoint.rejected <= MOST_REJECTED * calls
    assert seconds <= MOST_TIME * 60 * calls / per_minute


def test_a_rate_that_is_only_enforced_is_waited_for(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=128, per_minute=600, tells_rate=False)
    seconds = time_for(2400, endpoint, [a_limiter(file, Limits(), clock=loop.time)], loop)
    assert endpoint.answered == 2400
    assert seconds <= 1.2 * 240  # at first it looks like too many calls at once
    assert endpoint.rejected <= 2400


def test_a_call_that_is_tried_again_does_not_queue_behind_the_others(file: Path) -> None:
    loop = VirtualLoop()
    limiter = a_limiter(file, Limits(max_concurrency=1), clock=loop.time)
    order: list[str] = []

    async def call(name: str, *, again: bool = False) -> None:
        async with limiter.admit(1, again=again) as turn:
            order.append(name)
            await asyncio.sleep(1)
            turn.record_answer({})

    async def work() -> None:
        waiting = [asyncio.ensure_future(call(f"new {number}")) for number in range(20)]
        await asyncio.sleep(0.5)
        await asyncio.gather(call("again", again=True), *waiting)

    run_virtually(work(), loop)
    assert order.index("again") <= 3


def test_an_endpoint_that_takes_less_than_it_did_is_found_out(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=64, busy_for_s=0.25)
    limiter = a_limiter(file, Limits(), clock=loop.time)
    time_before, before = 10, 64

    async def take_less() -> None:
        await asyncio.sleep(time_before)
        endpoint.at_once = before // 8

    async def work() -> float:
        started = loop.time()
        dropping = asyncio.ensure_future(take_less())
        for _ in range(3):
            await asyncio.gather(*(ask(limiter, endpoint) for _ in range(1000)))
        await dropping
        return loop.time() - started

    seconds = run_virtually(work(), loop)
    most_before = time_before * before / endpoint.latency_s
    assert seconds <= MOST_TIME * (time_before + (3000 - most_before) * endpoint.latency_s / endpoint.at_once)
    assert endpoint.rejected <= 450  # a burst when it happens, and then as few as ever


@given(at_once=st.integers(1, 64), ceiling=st.integers(1, 64), latency_s=st.floats(0.01, 5))
@settings(max_examples=20, deadline=None)
def test_the_ceiling_is_never_passed(
    tmp_path_factory: pytest.TempPathFactory, at_once: int, ceiling: int, latency_s: float
) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=at_once, latency_s=latency_s)
    most = 0
    call = endpoint.call

    async def counted(**tokens: int) -> tuple[bool, float | None, dict[str, str]]:
        nonlocal most
        most = max(most, endpoint.in_flight + 1)
        return await call(**tokens)

    endpoint.call = counted  # type: ignore[method-assign]
    file = tmp_path_factory.mktemp("limits") / "endpoint.json"
    time_for(100, endpoint, [a_limiter(file, Limits(max_concurrency=ceiling), clock=loop.time)], loop)
    assert endpoint.answered == 100
    assert most <= ceiling + 1


def test_limiters_that_want_more_share_the_window_evenly(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, at_once=16)
    one, other = (a_limiter(file, Limits(), clock=loop.time) for _ in range(2))
    done: list[str] = []

    async def work(name: str, limiter: Limiter) -> None:
        async def single() -> None:
            await ask(limiter, endpoint)
            done.append(name)

        await asyncio.gather(*(single() for _ in range(400)))

    async def both() -> None:
        await asyncio.gather(work("one", one), work("other", other))

    run_virtually(both(), loop)
    first_half = done[200:400]
    assert 80 <= first_half.count("one") <= 120
    assert endpoint.rejected <= MOST_REJECTED * 800


def test_tokens_of_a_minute_are_paced_when_they_are_set(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=0.1)
    limiter = a_limiter(file, Limits(tokens_per_minute=60_000), clock=loop.time)

    async def work() -> float:
        started = loop.time()
        await asyncio.gather(*(ask(limiter, endpoint, tokens=1000) for _ in range(130)))
        return loop.time() - started

    # 1,000 tokens at once, then 1,000 a second
    assert 128 <= run_virtually(work(), loop) <= 132


def test_a_call_of_more_tokens_than_the_burst_is_made_all_the_same(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop)
    limiter = a_limiter(file, Limits(tokens_per_minute=600), clock=loop.time)

    async def work() -> None:
        await asyncio.gather(*(ask(limiter, endpoint, tokens=5000) for _ in range(2)))

    run_virtually(work(), loop)
    assert endpoint.answered == 2


def test_what_a_killed_process_held_is_given_back(file: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from raft_assets.settings.endpoints import Limits\n"
        "from raft_assets_tests.llm.test_limits import a_limiter\n"
        "async def hold():\n"
        "    limiter = a_limiter(Path(sys.argv[1]), Limits(max_concurrency=2))\n"
        "    async with limiter.admit(1):\n"
        "        async with limiter.admit(1):\n"
        "            print('held', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(hold())"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGKILL)

    async def take() -> None:
        limiter = a_limiter(file, Limits(max_concurrency=2))
        async with limiter.admit(1), limiter.admit(1):
            pass
        limiter.close()

    asyncio.run(asyncio.wait_for(take(), 30))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"window": "many"}', b"\xff\xfe"])
def test_a_damaged_state_is_begun_anew(file: Path, damage: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(damage)
    limiter = a_limiter(file, Limits(max_concurrency=3))

    async def take() -> None:
        async with limiter.admit(1) as turn:
            turn.record_answer({})

    asyncio.run(take())
    assert 1 <= limiter.window <= 3
    limiter.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_headers_that_are_no_numbers_are_ignored(file: Path) -> None:
    limiter = a_limiter(file, Limits())

    async def take() -> None:
        for value in ("nan", "-1", "many", "inf", ""):
            async with limiter.admit(1) as turn:
                turn.record_answer({"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-requests": value})

    asyncio.run(asyncio.wait_for(take(), 30))
    limiter.close()


# ---------------------------------------------------------------- servers that queue


@pytest.mark.parametrize("is_hosted", [False, True])
@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize(
    ("slots", "latency_s", "calls", "most_time"),
    [(1, 5.0, 160, 1.05), (2, 2.75, 400, 1.05), (8, 2.0, 600, 1.1), (32, 2.0, 1000, 1.15)],
)
def test_a_server_that_queues_is_kept_busy_and_never_given_up(  # noqa: PLR0917 - a table
    file: Path, slots: int, latency_s: float, calls: int, most_time: float, spread: float, is_hosted: bool
) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=latency_s, slots=slots, spread=spread)
    seconds = time_for(calls, endpoint, [a_limiter(file, Limits(), is_hosted=is_hosted, clock=loop.time)], loop)
    assert endpoint.answered == calls
    assert seconds <= most_time * endpoint.worked_s / slots + spread * 10  # the last ones may be long ones


@pytest.mark.parametrize(
    ("slots", "latency_s", "most_at_once", "most_at_last"),
    [(1, 5.0, 8, 4), (1, 60.0, 8, 4), (2, 2.75, 40, 16), (8, 2.0, 48, 16)],
)
def test_the_window_of_a_server_that_queues_stays_near_what_it_answers_at_once(
    file: Path, slots: int, latency_s: float, most_at_once: int, most_at_last: int
) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=latency_s, slots=slots)
    limiter = a_limiter(file, Limits(), is_hosted=False, clock=loop.time)
    time_for(60 * slots, endpoint, [limiter], loop)
    assert endpoint.most_at_once <= most_at_once  # once, at the start
    assert limiter.window <= most_at_last


def test_a_server_that_is_slower_with_more_calls_is_used_as_long_as_it_answers_more(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=2.0, slowdown=1 / 32)  # at 256 calls at once: nine times the latency
    limiter = a_limiter(file, Limits(), is_hosted=False, clock=loop.time)
    seconds = time_for(1000, endpoint, [limiter], loop)
    assert endpoint.most_at_once > 128
    assert seconds <= 1.25 * 1000 / (128 / (2.0 * (1 + 128 / 32)))


def test_latencies_that_hurt_nobody_do_not_limit_the_window(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=0.01, slots=4)
    limiter = a_limiter(file, Limits(max_concurrency=32), is_hosted=False, clock=loop.time)
    time_for(1000, endpoint, [limiter], loop)
    assert limiter.window == 32


def test_calls_that_were_given_up_halve_the_window_at_least(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=1.0)
    limiter = a_limiter(file, Limits(), clock=loop.time)

    async def give_up() -> None:
        async with limiter.admit(1) as turn:
            await asyncio.sleep(turn.timeout_s)
            turn.record_timeout()

    async def work() -> list[int]:
        await asyncio.gather(*(ask(limiter, endpoint) for _ in range(500)))
        windows = [limiter.window]
        await asyncio.gather(*(give_up() for _ in range(windows[0])))
        windows.append(limiter.window)
        await asyncio.gather(*(give_up() for _ in range(windows[1])))
        return [*windows, limiter.window]

    before, after, at_last = run_virtually(work(), loop)
    assert before > 32
    assert before // 3 <= after <= before // 2
    assert at_last <= max(1, after // 2)


def test_how_long_a_call_is_waited_for_follows_what_calls_took(file: Path) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=90.0)
    limiter = a_limiter(file, Limits(max_concurrency=4), is_hosted=False, clock=loop.time)

    async def timeout_s() -> float:
        async with limiter.admit(1) as turn:
            return turn.timeout_s

    async def work() -> tuple[float, float]:
        first = await timeout_s()
        await asyncio.gather(*(ask(limiter, endpoint) for _ in range(20)))
        return first, await timeout_s()

    first, later = run_virtually(work(), loop)
    assert first >= 1800  # a model may be loaded first
    assert later == pytest.approx(10 * endpoint.latency_s, rel=0.01)


def test_a_timeout_that_is_set_is_kept(file: Path) -> None:
    limiter = a_limiter(file, Limits(timeout_s=7))

    async def timeout_s() -> float:
        async with limiter.admit(1) as turn:
            return turn.timeout_s

    assert asyncio.run(timeout_s()) == 7
    limiter.close()


# ---------------------------------------------------------------- shared capacity, and the start


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_rejections_at_random_do_not_pin_the_window(file: Path, share: float, seed: int) -> None:
    def seconds(random_share: float) -> float:
        loop = VirtualLoop()
        endpoint = Endpoint(loop, latency_s=2.0, random_share=random_share, seed=seed)
        of_each = file.with_name(f"{random_share}.json")
        return time_for(1000, endpoint, [a_limiter(of_each, Limits(), clock=loop.time)], loop)

    assert seconds(0.0) / seconds(share) >= 0.6 * (1 - share)


@pytest.mark.parametrize(
    ("is_hosted", "at_once", "calls", "most_time"),
    [
        (True, 32, 600, 1.15),
        (True, 128, 1000, 1.3),
        (True, 32, 3000, 1.1),
        (True, 128, 3000, 1.1),
        (False, 32, 600, 1.1),
        (False, 128, 1000, 1.31),  # ten rounds of 2 s where eight are the least, and how long the window grows
        (False, 128, 3000, 1.12),
    ],
)
def test_the_start_costs_little(file: Path, at_once: int, calls: int, most_time: float, *, is_hosted: bool) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=2.0, at_once=at_once)
    limiter = a_limiter(file, Limits(), is_hosted=is_hosted, clock=loop.time)

    async def work() -> float:
        started = loop.time()
        await asyncio.gather(*(ask(limiter, endpoint) for _ in range(calls)))
        return loop.time() - started

    assert run_virtually(work(), loop) <= most_time * calls * endpoint.latency_s / at_once
    assert endpoint.rejected <= MOST_REJECTED * calls


def test_a_service_that_says_it_is_hosted_is_started_as_one(file: Path) -> None:
    limiter = a_limiter(file, Limits(), is_hosted=False)

    async def take() -> tuple[int, int]:
        first = limiter.window
        async with limiter.admit(1) as turn:
            turn.record_answer({HOSTED_HEADER: "1"})
        return first, limiter.window

    assert asyncio.run(take()) == (2, 4)
    limiter.close()


# ---------------------------------------------------------------- rates


@pytest.mark.parametrize(("window_s", "most_time"), [(1.0, 1.15), (10.0, 1.1), (60.0, 1.1)])
@pytest.mark.parametrize(("per_minute", "calls"), [(120, 240), (600, 900), (3600, 3600)])
def test_few_calls_are_rejected_by_a_rate_from_the_first_one_on(
    file: Path, per_minute: int, calls: int, window_s: float, most_time: float
) -> None:
    loop = VirtualLoop()
    endpoint = Endpoint(loop, latency_s=2.0, per_minute=per_minute, window_s=window_s)
    limiter = a_limiter(file, Limits(), clock=loop.time)

    async def work() -> float:
        started = loop.time()
        await asyncio.gather(*(ask(limiter, endpoint) for _ in range(calls)))
        return loop.time() - started

    assert run_virtually(work(), loop) <= most_time * 60 * calls / per_minute
    assert endpoint.rejected <= MOST_REJECTED * calls


@pytest.mark.parametrize("counts_maximum", [False, True])
def test_tokens_are_reserved_as_the_service_counts_them(file: Path, *, counts_maximum: bool) -> None:
    loop = VirtualLoop()
    prompt, used, most, calls = 287, 194, 1024, 1000
    endpoint = Endpoint(loop, latency_s=2.0, tokens_per_minute=600_000, counts_maximum=counts_maximum)
    limiter = a_limiter(file, Limits(), clock=loop.time)

    async def work() -> float:
        started = loop.time()
        asking = (ask(limiter, endpoint, tokens=prompt, used=used, most=most) for _ in range(calls))
        await asyncio.gather(*asking)
        return loop.time() - started

    counted = prompt + (most if counts_maximum else used)
    assert run_virtually(work(), loop) <= 1.1 * calls * counted / endpoint.tokens_per_minute * 60
    assert endpoint.rejected <= MOST_REJECTED * calls
