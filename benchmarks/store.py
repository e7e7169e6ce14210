"""The store of paid calls at scale: look-ups, a million entries, and the engine's memory as calls grow.

    python benchmarks/store.py [--entries N] [--calls N ...]

Entries are synthetic answers of 2 kB. For memory, the engine asks a service that answers at
once; every number of calls is a process of its own, so that its peak is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from starlette.applications import Starlette
from starlette.requests import Request as Received
from starlette.responses import JSONResponse
from starlette.routing import Route

from raft_assets.core.identity import digest
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.requests import Origin, Request, Usage
from raft_assets.llm.serve_app import serve_in_background
from raft_assets.llm.store import StoredCall
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords

LOOKED_UP, AT_ONCE = 100_000, 500
PUT_AT_ONCE = 200
PER_SECOND = 20_000  # look-ups, at least
GROWTH = 1.5  # of memory from the smallest number of calls to the largest, at most
PAYLOAD = json.dumps({"choices": [{"message": {"content": "An answer of many words. " * 80}}]}).encode()
REPLY = {
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes " * 100}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
}


def main() -> None:
    """Measures and prints; a worker asks a service so many things."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        print(*_asked(chosen.worker, chosen.calls[0]))
        return
    with TemporaryDirectory() as folder:
        _look_up(Path(folder), chosen.entries)
    with serve_in_background(_service()) as address:
        first = 0.0
        for calls in chosen.calls:
            command = [sys.executable, __file__, "--worker", f"{address}/v1", "--calls", str(calls)]
            worker = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds, memory = map(float, worker.stdout.split())
            first = first or memory
            print(
                f"{calls:,} calls: {memory:,.0f} MB at the peak, {memory / first:.2f} of that of {chosen.calls[0]:,} "
                f"(at most {GROWTH}), {calls / seconds:,.0f} calls a second",
                flush=True,
            )


def _look_up(folder: Path, entries: int) -> None:
    with SqliteCallStore(folder / "calls.sqlite") as store:
        started = time.monotonic()
        for first in range(0, entries, 5_000):
            store.put([_entry(number) for number in range(first, min(first + 5_000, entries))])
        print(
            f"{entries:,} entries of {len(PAYLOAD):,} bytes, written in {time.monotonic() - started:.0f} s", flush=True
        )
        draw = Random(0)
        keys = [digest("call", str(draw.randrange(entries))) for _ in range(LOOKED_UP)]
        started = time.monotonic()
        found = sum(len(store.get(keys[first : first + AT_ONCE])) for first in range(0, LOOKED_UP, AT_ONCE))
        rate = LOOKED_UP / (time.monotonic() - started)
        print(
            f"look-ups: {rate:,.0f} a second, {rate / PER_SECOND:.1f} of what is wanted ({found:,} found)", flush=True
        )
        started = time.monotonic()
        store.put([_entry(entries + number) for number in range(PUT_AT_ONCE)])
        print(f"{PUT_AT_ONCE} more answers in one durable commit: {(time.monotonic() - started) * 1000:.0f} ms")
        started = time.monotonic()
        store.usage()
        print(f"what every domain used of every model: {time.monotonic() - started:.1f} s")
    started = time.monotonic()
    with SqliteCallStore(folder / "calls.sqlite"):
        print(f"opened and closed in {(time.monotonic() - started) * 1000:.0f} ms", flush=True)


def _entry(number: int) -> StoredCall:
    key = digest("call", str(number))
    usage = Usage(input_tokens=700, output_tokens=300)
    origin = Origin("qa_pairs", f"domain {number % 10}", "run")
    return StoredCall(key, "https://service", "model", "chat", "ok", usage, 1.0, float(number), PAYLOAD, origin=origin)


def _asked(url: str, calls: int) -> tuple[float, float]:
    """Seconds, and MB at the peak."""
    endpoint = Endpoint(Role.TEACHER, "openai", "model", url, limits=Limits(max_concurrency=32))
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    messages = [{"role": "user", "content": "What is it? " * 100}]
    requests = (Request("chat", {"messages": messages}, sample=number) for number in range(calls))
    with (
        TemporaryDirectory() as name,
        SqliteCallStore(Path(name) / "calls.sqlite") as store,
        closing(Limiter.of(FileCoordination(Path(name)), endpoint, "model")) as limiter,
    ):
        takes = Capabilities.of(FileRecords(Path(name)), endpoint, "model")
        caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter, capabilities=takes)
        started = time.monotonic()
        if any(answer.status != "ok" for answer in caller.ask(requests)):
            sys.exit("a call failed")
        seconds = time.monotonic() - started
    run_coroutine(client.close())
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _service() -> Starlette:
    async def answer(_: Received) -> JSONResponse:
        return JSONResponse(REPLY)

    return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])


if __name__ == "__main__":
    main()
