"""How fast the call engine asks a hosted service: wall time against the bound that latency and limits set.

    python benchmarks/calls.py [--calls N] [--only "concurrency 128"]

The service is `raft serve --simulate` in a process of its own (300 ms a call and 10 ms a token of output), which has
answered once before the clock starts. For every limit: the bound, the time, their ratio (at most 1.15), the share of
requests that was rejected (at most 5 %), and the engine's own CPU per call (at most 3 ms). The last line is a corpus of
946 calls of 1.69 s, for which RAFT's own script takes 800 s with its two workers (measured elsewhere, not here).
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

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

REPOSITORY = Path(__file__).parents[1]
LATENCY_S, SECONDS_PER_TOKEN = 0.3, 0.01
RATIO, REJECTED, CPU_MS = 1.15, 0.05, 3.0  # at most
CEILING = 256  # calls at once that the engine may try; what the service takes it finds out
MODEL = "embedded-teacher"
ANSWER_TOKENS = 47  # of the answer to what is asked here
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])
LIMITS: tuple[Mapping[str, int], ...] = (
    {"concurrency": 8},
    {"concurrency": 32},
    {"concurrency": 128},
    {"requests-per-minute": 600, "concurrency": 128},
    {"requests-per-minute": 6000, "concurrency": 128},
)
SCRIPT_CALLS, SCRIPT_CALL_S, SCRIPT_S, SCRIPT_RATIO = 946, 1.69, 800, 20  # of RAFT's own script, and how much faster


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="of every limit; 10,000 at 600 a minute: 17 min")
    parser.add_argument("--only", default="", help="the limits whose name begins so, or script")
    chosen = parser.parse_args()
    for limits in LIMITS:
        if _named(limits).startswith(chosen.only):
            with tempfile.TemporaryDirectory() as folder, _service(Path(folder), limits, LATENCY_S) as url:
                _tell(limits, _measure(Path(folder), url, chosen.calls))
    if "script".startswith(chosen.only):
        limits, latency_s = {"concurrency": 128}, SCRIPT_CALL_S - ANSWER_TOKENS * SECONDS_PER_TOKEN
        with tempfile.TemporaryDirectory() as folder, _service(Path(folder), limits, latency_s) as url:
            seconds = _measure(Path(folder), url, SCRIPT_CALLS).seconds
        print(
            f"{SCRIPT_CALLS} calls of {SCRIPT_CALL_S} s, {_named(limits)}: {seconds:.0f} s, "
            f"{SCRIPT_S / seconds:.0f} times as fast as RAFT's script (at least {SCRIPT_RATIO})"
        )


@dataclass(frozen=True)
class Measured:
    """What it took: calls, seconds, tokens of an answer, share of requests rejected, seconds of CPU."""

    calls: int
    seconds: float
    tokens: float
    rejected: float
    cpu_s: float


def _named(limits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.items())


@contextmanager
def _service(folder: Path, limits: Mapping[str, int], latency_s: float) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    delays = ["--latency", str(latency_s), "--per-token", str(SECONDS_PER_TOKEN)]
    command = [sys.executable, "-m", "raft_assets.cli.main", "serve", "--port", str(port), "--simulate"]
    variables = os.environ | {"RAFT_PROJECT": str(REPOSITORY), "RAFT_HOME": str(folder / "home")}
    process = subprocess.Popen([*command, *delays, *options], env=variables, stdout=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _measure(folder: Path, url: str, calls: int) -> Measured:
    endpoint = Endpoint(Role.TEACHER, "openai", MODEL, url, limits=Limits(max_concurrency=CEILING))
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    body = {"messages": ASKED, "max_completion_tokens": 100}
    files = FileCoordination(folder)
    with SqliteCallStore(folder / "calls.sqlite") as store, closing(Limiter.of(files, endpoint, MODEL)) as limiter:
        takes = Capabilities.of(FileRecords(folder), endpoint, MODEL)
        caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter, capabilities=takes)
        list(caller.ask([Request("chat", body, sample=calls)]))  # the service loads its models
        started, cpu_started = time.monotonic(), time.process_time()
        tokens = sum(
            answer.usage.output_tokens for answer in caller.ask(Request("chat", body, n) for n in range(calls))
        )
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
        retries = caller.usage_stats.retries
    run_coroutine(client.close())
    return Measured(calls, seconds, tokens / calls, retries / (calls + retries), cpu_s)


def _tell(limits: Mapping[str, int], measured: Measured) -> None:
    calls, seconds = measured.calls, measured.seconds
    bounds = [calls * (LATENCY_S + measured.tokens * SECONDS_PER_TOKEN) / limits["concurrency"]]
    if rate := limits.get("requests-per-minute"):
        bounds.append(calls * 60 / rate)
    bound = max(bounds)
    print(
        f"{_named(limits)}: {calls:,} calls in {seconds:.0f} s, bound "
        f"{bound:.0f} s, ratio {seconds / bound:.2f} (at most {RATIO}); {measured.rejected:.1%} rejected "
        f"(at most {REJECTED:.0%}), {measured.cpu_s / calls * 1000:.1f} ms of CPU a call (at most {CPU_MS:.0f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
