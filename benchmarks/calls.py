"""How fast the call engine asks a service that it knows nothing of: wall time against the bound that the service sets.

    python benchmarks/calls.py [--only "queue"] [--list]

The service is `raft serve --simulate` in a process of its own, which has answered once before the clock starts: one
that queues, as local servers do, one that rejects calls at once or a minute, and one that rejects at random. Every line
has the time, its bound and their ratio, the share of requests that was rejected, calls that were lost (none may be),
and the CPU of this process: a call, or a second where calls are slower than 10 a second. Random rejections are compared
with the same service without them. The last line is a corpus of 946 calls of 1.69 s, for which RAFT's own script takes
800 s with its two workers (measured elsewhere, not here).
"""

import argparse
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from service import simulated

from raft_assets.core.prompt_contract import render_messages
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords

SECONDS_PER_TOKEN, ANSWER_TOKENS = 0.01, 47  # of the answer to what is asked here
CALL_S = 2.0  # 300 ms and 170 tokens
REJECTED, CPU_MS, SLOW_CPU_MS, SLOW = 0.05, 3.0, 20.0, 10.0  # at most: a call, a second; calls a second
CEILING = 256  # calls at once that the engine may try; what the service takes it finds out
MODEL = "embedded-teacher"
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])


@dataclass(frozen=True)
class Case:
    """A service and how many calls it gets; `ratio`: the time over its bound, at most."""

    name: str
    calls: int
    ratio: float
    options: tuple[str, ...]
    call_s: float = CALL_S
    at_once: int | None = None
    per_minute: int | None = None
    rejected: float | None = REJECTED

    @property
    def bound_s(self) -> float:
        """The seconds that the service needs at least."""
        at_once = self.calls * self.call_s / (self.at_once or CEILING)
        return max(self.call_s, at_once, self.calls * 60 / self.per_minute if self.per_minute else 0.0)


def _queue(slots: int, call_s: float, calls: int, ratio: float) -> Case:
    options = ("--queue", "--concurrency", str(slots))
    return Case(f"queue of {slots} x {call_s} s", calls, ratio, options, call_s, at_once=slots)


def _at_once(concurrency: int, calls: int, ratio: float) -> Case:
    options = ("--remote", "--concurrency", str(concurrency))
    return Case(f"{concurrency} at once", calls, ratio, options, at_once=concurrency, rejected=None)


def _rate(per_minute: int, calls: int) -> Case:
    options = ("--remote", "--requests-per-minute", str(per_minute))
    return Case(f"{per_minute} a minute", calls, 1.1, options, per_minute=per_minute)


CASES = (
    _queue(1, 5.0, 160, 1.05),
    _queue(2, 2.75, 400, 1.05),
    _queue(8, 2.0, 600, 1.1),
    _at_once(32, 600, 1.15),
    _at_once(128, 1_000, 1.3),
    _at_once(32, 3_000, 1.1),
    _at_once(128, 3_000, 1.1),
    _rate(120, 240),
    _rate(600, 900),
    _rate(3_600, 5_400),
)
RANDOM_CALLS, RANDOM_SHARES, RANDOM_LEAST = 3_000, (0.03, 0.10), 0.6  # share of the throughput without rejections
SCRIPT_CALLS, SCRIPT_CALL_S, SCRIPT_S, SCRIPT_RATIO = 946, 1.69, 800, 20  # of RAFT's own script, and how much faster


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name begins so, `random` or `script`")
    parser.add_argument("--list", action="store_true", help="print the cases and their bounds, and measure nothing")
    chosen = parser.parse_args()
    for case in CASES:
        if chosen.list:
            print(f"{case.name}: {case.calls:,} calls, bound {case.bound_s:.0f} s, at most {case.ratio} times as long")
        elif case.name.startswith(chosen.only):
            _print(case, _measure(case))
    if not chosen.list and "random".startswith(chosen.only):
        _print_random()
    if not chosen.list and "script".startswith(chosen.only):
        case = Case("script", SCRIPT_CALLS, 0.0, ("--remote", "--concurrency", "128"), SCRIPT_CALL_S, at_once=128)
        seconds = _measure(case).seconds
        print(
            f"{SCRIPT_CALLS} calls of {SCRIPT_CALL_S} s, 128 at once: {seconds:.0f} s, "
            f"{SCRIPT_S / seconds:.0f} times as fast as RAFT's script (at least {SCRIPT_RATIO})"
        )


@dataclass(frozen=True)
class Measured:
    """What it took: seconds, share of requests that was rejected, calls without an answer, seconds of CPU."""

    seconds: float
    rejected: float
    lost: int
    cpu_s: float


def _measure(case: Case) -> Measured:
    delay = f"{case.call_s - ANSWER_TOKENS * SECONDS_PER_TOKEN:.3f}"
    delays = ("--latency", delay, "--per-token", str(SECONDS_PER_TOKEN))
    with tempfile.TemporaryDirectory() as home, simulated(Path(home), *delays, *case.options) as url:
        return _ask(Path(home), url, case.calls)


def _ask(folder: Path, url: str, calls: int) -> Measured:
    endpoint = Endpoint(Role.TEACHER, "openai", MODEL, url, limits=Limits(max_concurrency=CEILING))
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    body = {"messages": ASKED, "max_completion_tokens": 100}
    files = FileCoordination(folder)
    with SqliteCallStore(folder / "calls.sqlite") as store, closing(Limiter.of(files, endpoint, MODEL)) as limiter:
        takes = Capabilities.of(FileRecords(folder), endpoint, MODEL)
        caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter, capabilities=takes)
        list(caller.ask([Request("chat", body, sample=calls)]))  # the service loads its models
        started, cpu_started, before = time.monotonic(), time.process_time(), caller.usage_stats.retries
        answers = list(caller.ask(Request("chat", body, number) for number in range(calls)))
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
        retries = caller.usage_stats.retries - before
    run_coroutine(client.close())
    lost = sum(answer.status != "ok" for answer in answers)
    return Measured(seconds, retries / (calls + retries), lost, cpu_s)


def _print(case: Case, measured: Measured) -> None:
    rejected = f" (at most {case.rejected:.0%})" if case.rejected is not None else ""
    print(
        f"{case.name}: {case.calls:,} calls in {measured.seconds:.0f} s, bound {case.bound_s:.0f} s, ratio "
        f"{measured.seconds / case.bound_s:.2f} (at most {case.ratio}); {measured.rejected:.1%} rejected{rejected}, "
        f"{measured.lost} lost, {_describe_cpu(case.calls, measured)}",
        flush=True,
    )


def _describe_cpu(calls: int, measured: Measured) -> str:
    if calls / measured.seconds < SLOW:
        return f"{measured.cpu_s / measured.seconds * 1000:.0f} ms of CPU a second (at most {SLOW_CPU_MS:.0f})"
    return f"{measured.cpu_s / calls * 1000:.1f} ms of CPU a call (at most {CPU_MS:.0f})"


def _print_random() -> None:
    """Compare a service that rejects a share of all requests at random with one that doesn't."""
    without = _measure(Case("", RANDOM_CALLS, 0.0, ("--remote",)))
    for share in RANDOM_SHARES:
        measured = _measure(Case("", RANDOM_CALLS, 0.0, ("--remote", "--fault", f"rate_limit={share}")))
        kept = without.seconds / measured.seconds / (1 - share)
        print(
            f"random rejections of {share:.0%}: {RANDOM_CALLS:,} calls in {measured.seconds:.0f} s, {kept:.0%} of the "
            f"throughput without them (at least {RANDOM_LEAST:.0%}); {measured.lost} lost, "
            f"{_describe_cpu(RANDOM_CALLS, measured)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
