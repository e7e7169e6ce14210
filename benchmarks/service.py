"""The simulated service that benchmarks of calls ask, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


@contextmanager
def simulated(folder: Path, *options: str) -> Iterator[str]:
    """Runs `raft serve --simulate` with the options and its home in the folder; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "raft_assets.cli.main", "serve", "--port", str(port), "--simulate", *options]
    variables = os.environ | {"RAFT_PROJECT": str(REPOSITORY), "RAFT_HOME": str(folder / "home")}
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()
