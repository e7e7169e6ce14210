"""Locks between processes: open files that the kernel releases when their holder dies, however it dies.

They lock an open descriptor (`filelock.lock_descriptor`) instead of using filelock's `FileLock`: a child can inherit a
descriptor, the file itself can be read and written under the lock, and it costs only the system call, a tenth of what
`FileLock` takes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

LOOK_S = 1e-3  # between two tries for a lock that another process holds for milliseconds
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # Windows would translate line ends


@contextmanager
def exclusive_lock(file: Path) -> Iterator[int]:
    """Wait for the lock and hold it, for sections of milliseconds; threads of one process exclude one another too.

    Yields the file's descriptor, open for reading and writing.
    """
    descriptor = _open(file)
    try:
        lock_descriptor(descriptor, poll_interval=LOOK_S)
        try:
            yield descriptor
        finally:
            unlock_descriptor(descriptor)  # closing it is not enough while a child that was just forked has a copy
    finally:
        os.close(descriptor)


def try_lock(file: Path) -> int | None:
    """Return a descriptor that holds the lock until it and its copies in children are closed; None if it is taken.

    The holder may remove the file, and then closes the descriptor. Windows supports neither: a child inherits no
    descriptor there (`pass_fds`), and an open file stays.
    """
    while True:
        descriptor = _open(file)
        if not lock_descriptor(descriptor, blocking=False):
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # its holder removed it between our opening and locking it: it guards nothing


def _open(file: Path) -> int:
    try:
        return os.open(file, _FLAGS, 0o600)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    return os.open(file, _FLAGS, 0o600)
