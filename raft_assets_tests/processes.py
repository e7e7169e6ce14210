"""Python programs that tests run in processes of their own, listen to and kill."""

import socket
import subprocess
import sys
from pathlib import Path


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
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
