"""What a budget costs: speed and CPU of calls under one that is never reached, and opening one over many stored calls.

    python benchmarks/budget.py [--calls N] [--stored N]

Calls go to `raft serve --simulate` in a process of its own (300 ms a call and 10 ms a token of output, 128 at once),
first without a budget, then with budgets of a run and of a month. CPU is that of the calling process, after its
imports. The stored calls are written into a call store by SQL, all of this month; a process of its own then opens a
budget.
"""

import argparse
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service import simulated

from raft_assets.core.prompt_contract import render_messages
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.budget import Budget
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.prices import Price, PriceList
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.settings.project import Budgets
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords

CONCURRENCY, LATENCY_S, SECONDS_PER_TOKEN = 128, 0.3, 0.01
CPU_MS, SLOWER = 3.0, 1.05  # at most
OPEN_S, OPEN_MB = 1.0, 200.0  # at most
PAYLOAD = 300  # bytes of a stored answer: a short one, compressed
MODEL = "embedded-teacher"
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])
PRICE = Price(1.0, 0.5, 4.0, None, "a benchmark")
NEVER_REACHED = Budgets(run=1e6, month=1e6)  # US dollars


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--stored", type=int, default=5_000_000)
    parser.add_argument("--open", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.open:
        _open(Path(chosen.open))
        return
    if chosen.calls:
        limits = ["--concurrency", str(CONCURRENCY), "--latency", str(LATENCY_S), "--per-token", str(SECONDS_PER_TOKEN)]
        with TemporaryDirectory() as folder, simulated(Path(folder), *limits) as url:
            first, _ = _call(Path(folder), url, "without a budget", chosen.calls, Budgets())
            seconds, _ = _call(Path(folder), url, "with a budget", chosen.calls, NEVER_REACHED)
            print(f"with a budget {seconds / first:.2f} times as long (at most {SLOWER})", flush=True)
    if chosen.stored:
        with TemporaryDirectory() as folder:
            _fill(Path(folder), chosen.stored)
            subprocess.run([sys.executable, __file__, "--open", folder], check=True)


def _call(folder: Path, url: str, name: str, calls: int, budgets: Budgets) -> tuple[float, float]:
    """Seconds, and milliseconds of CPU a call."""
    endpoint = Endpoint(Role.TEACHER, "openai", MODEL, url, limits=Limits())
    client, files = open_client(endpoint, lambda: sys.exit("not embedded")), FileCoordination(folder / name)
    body = {"messages": ASKED, "max_completion_tokens": 100}
    with (
        SqliteCallStore(folder / name / "calls.sqlite") as store,
        closing(Limiter.of(files, endpoint, MODEL)) as limiter,
        closing(Budget(files, budgets, run="r", store=store, prices=PriceList(folder))) as budget,
    ):
        takes = Capabilities.of(FileRecords(folder), endpoint, MODEL)
        shared: dict[str, Any] = {
            "client": client,
            "store": store,
            "limiter": limiter,
            "capabilities": takes,
            "budget": budget,
        }
        caller = Caller(endpoint, model_version="", price=PRICE, **shared)
        list(caller.ask([Request("chat", body, sample=calls)]))  # the service loads its models
        started, cpu_started = time.monotonic(), time.process_time()
        tokens = sum(one.usage.output_tokens for one in caller.ask(Request("chat", body, n) for n in range(calls)))
        seconds, cpu_ms = time.monotonic() - started, (time.process_time() - cpu_started) * 1000 / calls
    run_coroutine(client.close())
    bound = calls * (LATENCY_S + tokens / calls * SECONDS_PER_TOKEN) / CONCURRENCY
    print(
        f"{name}: {calls:,} calls in {seconds:.1f} s, bound {bound:.1f} s, {cpu_ms:.1f} ms of CPU a call "
        f"(at most {CPU_MS:.0f})",
        flush=True,
    )
    return seconds, cpu_ms


def _fill(folder: Path, calls: int) -> None:
    """Writes a store as the version before left it, without sums, and opens it once: that adds them."""
    started = time.monotonic()
    SqliteCallStore(folder / "calls.sqlite").close()
    with closing(sqlite3.connect(folder / "calls.sqlite", isolation_level=None)) as connection:
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "DROP TRIGGER sums_after_insert",
            "DROP TRIGGER sums_after_delete",
            "DROP TABLE sums",
        ):
            connection.execute(statement)
        connection.execute(
            f"""WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
            INSERT INTO calls SELECT printf('%064d', n), 'https://service/v1', 'model ' || n % 3, 'chat', 'ok', 700, 0,
                300, 0, 1.0, 1, ?, 'TEACHER', 'qa_pairs', 'domain ' || n % 10, 'run', zeroblob({PAYLOAD}), '', 0
            FROM numbers""",
            (calls, time.time()),
        )
    print(f"{calls:,} stored calls, written in {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    SqliteCallStore(folder / "calls.sqlite").close()
    print(f"opened for the first time by this version in {time.monotonic() - started:.1f} s", flush=True)


def _open(folder: Path) -> None:
    prices = PriceList(folder)
    started = time.monotonic()
    with SqliteCallStore(folder / "calls.sqlite") as store:
        budget = Budget(FileCoordination(folder), NEVER_REACHED, run="r", store=store, prices=prices)
        seconds = time.monotonic() - started
        budget.close()
        calls = store.stats().calls
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"{calls:,} stored calls: a budget opens in {seconds:.2f} s (at most {OPEN_S:.0f}), with {memory:,.0f} MB at "
        f"the peak of the process (at most {OPEN_MB:.0f})"
    )


if __name__ == "__main__":
    main()
