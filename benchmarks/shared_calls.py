"""What it costs that paid answers outlive the machine: wall time against the service's bound, and CPU a call.

    python benchmarks/shared_calls.py [--calls N] [--only "one machine"]

The service is `raft serve --simulate` in a process of its own (2 s a call, 128 at once). It is asked with answers kept
on this disk alone, with a put for every commit at an emulated Azure Blob (`RAFT_CALLS`), and with rows in PostgreSQL
that go into segments later (`RAFT_CALLS` and `RAFT_COORDINATION`; budgets aside, limits are shared there as well). What
goes to Blob and the database takes 20 ms and 2 ms longer, there and back. Needs azurite (npm) and Debian's PostgreSQL.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from service import REPOSITORY, simulated

sys.path.insert(0, str(REPOSITORY))  # for the servers that tests start

from raft_assets.core.ports import Coordination
from raft_assets.core.prompt_contract import render_messages
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.requests import Request
from raft_assets.llm.store import StoredCall
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.postgresql import PostgresCoordination
from raft_assets.storage.records import FileRecords
from raft_assets.storage.segments import Segments
from raft_assets.storage.shared_calls import SharedCalls
from raft_assets_tests.azure.blob import CONTAINER, storage_account
from raft_assets_tests.postgresql import database_at, postgres_server

AT_ONCE, CALL_S, TOKENS, SECONDS_PER_TOKEN = 128, 2.0, 47, 0.01  # of an answer to what is asked here
BLOB_S, DATABASE_S = 0.020, 0.002  # there and back
RATIO, CPU_MS = 1.15, 5.0  # at most: time over the bound; more than on one machine, a call
WAYS = ONE_MACHINE, BLOB, DATABASE = "one machine", "put to Blob", "row in PostgreSQL"
MODEL = "embedded-teacher"
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])


class TimedStore(SqliteCallStore):
    """A store that remembers how long its commits took, seconds, and of how many answers they were."""

    def __init__(self, path: Path, segments: Segments | None = None, shared: SharedCalls | None = None) -> None:
        super().__init__(path, segments, shared)
        self.answers, self.commits = list[int](), list[float]()

    def put(self, calls: Sequence[StoredCall]) -> dict[str, StoredCall]:
        """Store the calls."""
        started = time.monotonic()
        kept = super().put(calls)
        self.commits.append(time.monotonic() - started)
        self.answers.append(len(calls))
        return kept


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--only", default="", help=f"ways whose name begins so: {', '.join(WAYS)}")
    parser.add_argument("--delay", nargs=2, metavar=("PORT", "SECONDS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.delay:
        asyncio.run(_delay(int(chosen.delay[0]), float(chosen.delay[1]) / 2))
        return
    cpu_ms = {way: _measure(way, chosen.calls) for way in WAYS if way.startswith(chosen.only)}
    if ONE_MACHINE in cpu_ms:
        for way, more in cpu_ms.items():
            print(f"{way}: {more - cpu_ms[ONE_MACHINE]:.1f} ms of CPU a call more (at most {CPU_MS:.0f})")


def _measure(way: str, calls: int) -> float:
    """Print what it takes and return milliseconds of CPU a call."""
    delays = ("--latency", f"{CALL_S - TOKENS * SECONDS_PER_TOKEN:.3f}", "--per-token", str(SECONDS_PER_TOKEN))
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(simulated(home, *delays, "--remote", "--concurrency", str(AT_ONCE)))
        segments, shared = None, None
        coordination: Coordination = FileCoordination(home)
        if way != ONE_MACHINE:
            connection = stack.enter_context(storage_account(home / "account"))
            port = connection.rpartition("127.0.0.1:")[2].partition("/")[0]
            late = stack.enter_context(_delayed(port, BLOB_S))
            options = {"connection_string": connection.replace(f":{port}/", f":{late}/")}
            segments = Segments(f"abfs://{CONTAINER}/calls", options)
        if way == DATABASE:
            address = stack.enter_context(postgres_server()).new_database()
            port = address.rpartition(":")[2].partition("/")[0]
            database = database_at(address.replace(f":{port}/", f":{stack.enter_context(_delayed(port, DATABASE_S))}/"))
            shared, coordination = SharedCalls(database), PostgresCoordination(database)
        store = stack.enter_context(TimedStore(home / "calls.sqlite", segments, shared))
        return _ask(way, url, calls, store, coordination, home)


def _ask(way: str, url: str, calls: int, store: TimedStore, coordination: Coordination, home: Path) -> float:
    endpoint = Endpoint(Role.TEACHER, "openai", MODEL, url, limits=Limits())
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    body = {"messages": ASKED, "max_completion_tokens": 100}
    with closing(Limiter.of(coordination, endpoint, MODEL)) as limiter:
        takes = Capabilities.of(FileRecords(home), endpoint, MODEL)
        caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter, capabilities=takes)
        list(caller.ask([Request("chat", body, sample=calls)]))  # the service loads its models
        store.commits, store.answers = [], []
        started, cpu_started = time.monotonic(), time.process_time()
        answers = list(caller.ask(Request("chat", body, number) for number in range(calls)))
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
    run_coroutine(client.close())
    lost, bound_s = sum(answer.status != "ok" for answer in answers), calls * CALL_S / AT_ONCE
    print(
        f"{way}: {calls:,} calls in {seconds:.1f} s, bound {bound_s:.1f} s, ratio {seconds / bound_s:.2f} (at most "
        f"{RATIO}); {lost} lost, {cpu_s / calls * 1000:.1f} ms of CPU a call; {len(store.commits)} commits of "
        f"{calls / len(store.commits):.1f} answers, {sum(store.commits) / len(store.commits) * 1000:.0f} ms each, the "
        f"longest {max(store.commits) * 1000:.0f} ms",
        flush=True,
    )
    return cpu_s / calls * 1000


@contextmanager
def _delayed(port: str, seconds: float) -> Iterator[str]:
    """Yield a port of this machine behind which that one is, farther away."""
    command = [sys.executable, __file__, "--delay", port, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


async def _delay(port: int, seconds: float) -> None:
    """Hand on what comes to a port of its own, and what is answered, so much later."""

    async def hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while content := await source.read(1 << 16):
            loop.call_later(seconds, target.write, content)
        loop.call_later(seconds, target.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(hand_on(reader, requests), hand_on(answers, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
