"""How fast the call engine asks a hosted service: wall time against the bound that latency and limits set.

    python benchmarks/calls.py [--calls N]

The service is `raft serve --simulate` in a process of its own (300 ms a call and 10 ms a token of output). For every
limit: the bound, the time, their ratio (at most 1.15), the share of requests that was rejected (at most 5 %), and the
engine's own CPU per call (at most 3 ms).
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
from pathlib import Path

from raft_assets.calls.background import run
from raft_assets.calls.clients import open_client
from raft_assets.calls.engine import Caller
from raft_assets.calls.limits import Limiter
from raft_assets.calls.requests import Request
from raft_assets.calls.store import CallStore
from raft_assets.raft.contract import render_messages
from raft_assets.settings.endpoints import Endpoint, Limits, Role

REPOSITORY = Path(__file__).parents[1]
LATENCY_S, SECONDS_PER_TOKEN = 0.3, 0.01
RATIO, REJECTED, CPU_MS = 1.15, 0.05, 3.0  # at most
CEILING = 256  # calls at once that the engine may try; what the service takes it finds out
MODEL = "embedded-teacher"
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])
LIMITS: tuple[Mapping[str, int], ...] = (
    {"concurrency": 8},
    {"concurrency": 32},
    {"concurrency": 128},
    {"requests-per-minute": 600, "concurrency": 128},
    {"requests-per-minute": 6000, "concurrency": 128},
)


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="of every limit; 10,000 at 600 a minute: 17 min")
    calls = parser.parse_args().calls
    for limits in LIMITS:
        with tempfile.TemporaryDirectory() as folder, _service(Path(folder), limits) as url:
            _measure(Path(folder), url, limits, calls)


@contextmanager
def _service(folder: Path, limits: Mapping[str, int]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    delays = ["--latency", str(LATENCY_S), "--per-token", str(SECONDS_PER_TOKEN)]
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


def _measure(folder: Path, url: str, limits: Mapping[str, int], calls: int) -> None:
    endpoint = Endpoint(Role.TEACHER, "openai", MODEL, url, limits=Limits(ceiling=CEILING))
    client = open_client(endpoint, lambda: sys.exit("not embedded"))
    requests = (Request("chat", {"messages": ASKED, "max_completion_tokens": 100}, sample=n) for n in range(calls))
    with CallStore(folder / "calls.sqlite") as store, closing(Limiter.of(folder, endpoint, MODEL)) as limiter:
        caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter)
        started, cpu_started = time.monotonic(), time.process_time()
        tokens = sum(answer.usage.output_tokens for answer in caller.ask(requests)) / calls
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
        rejected = caller.tally.retries / (calls + caller.tally.retries)
    run(client.close())
    bounds = [calls * (LATENCY_S + tokens * SECONDS_PER_TOKEN) / limits["concurrency"]]
    if rate := limits.get("requests-per-minute"):
        bounds.append(calls * 60 / rate)
    bound = max(bounds)
    named = ", ".join(f"{name} {value}" for name, value in limits.items())
    print(
        f"{named}: {calls:,} calls in {seconds:.0f} s, bound "
        f"{bound:.0f} s, ratio {seconds / bound:.2f} (at most {RATIO}); {rejected:.1%} rejected "
        f"(at most {REJECTED:.0%}), {cpu_s / calls * 1000:.1f} ms of CPU a call (at most {CPU_MS:.0f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
