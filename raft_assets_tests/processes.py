"""Python programs that tests run in processes of their own, listen to and kill."""

import itertools
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

# below those that the system gives to whoever asks for any, beginning elsewhere in each process of the tests
FIRST_PORT, LAST_PORT = 10_000, 32_000
_ports = itertools.count(os.getpid() * 101)


def start_program(program: str, argument: Path | str) -> subprocess.Popen[str]:
    """Start a Python program with its streams open."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(argument)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def printed_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the program prints; waits for it."""
    assert process.stdout
    return process.stdout.readline().strip()


def free_port() -> int:
    """Return a port of this machine on which nobody listens; the system gives it to nobody, and this process once."""
    while True:
        port = FIRST_PORT + next(_ports) % (LAST_PORT - FIRST_PORT)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def kill_tree(pid: int) -> None:
    """kill -9 of a process and everything that it started; what ends by itself meanwhile is no matter."""
    with suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
