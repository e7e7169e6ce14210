"""One server for all runs of a project: it lives while any of them does, and ends with the last, however that ends."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.operations.shared_server import SharedServer
from raft_assets_tests.embedded.provider import until

SERVER = """
import sys, threading
from pathlib import Path
from raft_assets.operations.shared_server import SharedServer
shared = SharedServer(Path(sys.argv[1]))
shared.own()
threading.Thread(target=shared.end_unused, daemon=True).start()
print("up", flush=True)
threading.Event().wait()
"""
SLOW_SERVER = """
import os, signal, sys, threading
from pathlib import Path
from raft_assets.operations.shared_server import SharedServer

def end(*_):
    print("ending", flush=True)
    sys.stdin.read()  # until it may
    os._exit(0)

signal.signal(signal.SIGTERM, end)
shared = SharedServer(Path(sys.argv[1]))
shared.own()
threading.Thread(target=shared.end_unused, daemon=True).start()
print("up", flush=True)
while True:
    signal.pause()
"""
USER = """
import sys, threading
from pathlib import Path
from raft_assets.operations.shared_server import SharedServer
with SharedServer(Path(sys.argv[1])).using():
    print("uses it", flush=True)
    sys.stdin.read()
"""
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process, and wait until it says that it has begun."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


def test_a_server_ends_with_the_last_run_that_uses_it_however_that_ends(start: Start, tmp_path: Path) -> None:
    shared = SharedServer(tmp_path)
    with shared.using():
        with shared.starting():
            server = start(SERVER)
        other = start(USER)
    assert server.poll() is None  # the run that started it is over, the other isn't
    with shared.using():
        other.kill()
        other.wait()
        with shared.starting():  # a third one finds it
            assert server.poll() is None
    # who leaves last waits for its end, so that the port is free
    assert until(lambda: server.poll() is not None)
    assert list((tmp_path / "users").iterdir()) == []


def test_a_server_ends_when_the_only_run_is_killed(start: Start, tmp_path: Path) -> None:
    user = start(USER)
    server = start(SERVER)
    user.kill()
    assert until(lambda: server.poll() is not None)


def test_a_run_that_comes_while_the_server_ends_waits_until_it_has_ended(start: Start, tmp_path: Path) -> None:
    server = start(SLOW_SERVER)  # which nobody uses
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == "ending\n"
    Timer(3.0, server.stdin.close).start()
    with SharedServer(tmp_path).using(), SharedServer(tmp_path).starting():
        assert server.wait(timeout=1.5) == 0  # it was let go three seconds after the gate was asked for


def test_there_is_one_shared_server(start: Start, tmp_path: Path) -> None:
    with SharedServer(tmp_path).using():
        start(SERVER)
        with pytest.raises(SettingsError, match="runs already"):
            SharedServer(tmp_path).own()
