"""Who uses the server that runs start for themselves: it ends with the last of them, however each of them ends.

Every user holds a lock of its own for as long as it lives, and the kernel frees it. The server looks whether any is
held; while it makes sure, and ends, it holds the gate, which a new user passes only when the server is gone.
"""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raft_assets.core.errors import SettingsError
from raft_assets.core.locks import try_lock

LOOK_S = 0.5  # between two looks at locks that another process holds for seconds
OWN_TRIES = 3  # who looks whether the server lives holds its lock for a moment
STOP_S = 60.0  # a server that ends finishes its answers, and its engine ends first


class SharedServer:
    """The locks around one server, in a folder of the project."""

    def __init__(self, folder: Path) -> None:
        self._users, self._gate, self._life = folder / "users", folder / "gate.lock", folder / "alive.lock"

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep the server while the block runs; whoever was the last to use it waits until it has ended."""
        file = self._users / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
        lease = _lock(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            os.close(lease)
            until = time.monotonic() + STOP_S
            while self._is_alive() and not self._is_used() and time.monotonic() < until:
                time.sleep(LOOK_S)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hold the gate: one user at a time looks whether there is a server, and starts it where there is none."""
        gate = _lock(self._gate)
        try:
            yield
        finally:
            os.close(gate)

    def own(self) -> None:
        """Be the server, until this process ends. Raises SettingsError where another process is."""
        for _ in range(OWN_TRIES):
            if try_lock(self._life) is not None:
                return
            time.sleep(LOOK_S)
        raise SettingsError("The server that runs of this project share runs already.")

    def end_unused(self) -> None:
        """Wait, in the server, until nobody uses it, and end this process."""
        while True:
            time.sleep(LOOK_S)
            gate = try_lock(self._gate)
            if gate is None:
                continue
            if not self._is_used():
                os.kill(os.getpid(), signal.SIGTERM)  # the gate stays closed until this process is gone
                return
            os.close(gate)

    def _is_alive(self) -> bool:
        return self._life.is_file() and not _is_free(self._life)

    def _is_used(self) -> bool:
        return not all(_is_free(file, remove=True) for file in self._users.glob("*.lock"))


def _lock(file: Path) -> int:
    """Wait for the lock and return a descriptor that holds it."""
    while (lock := try_lock(file)) is None:
        time.sleep(LOOK_S)
    return lock


def _is_free(file: Path, *, remove: bool = False) -> bool:
    """Return whether nobody holds the lock; the file can be removed then, as what a killed holder left."""
    lock = try_lock(file)
    if lock is None:
        return False
    if remove:
        file.unlink(missing_ok=True)
    os.close(lock)
    return True
