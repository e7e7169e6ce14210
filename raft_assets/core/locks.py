"""Locks between processes: files held by `flock`, freed by the kernel when their holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(file: Path) -> Iterator[int]:
    """Waits for the lock and holds it, for sections of milliseconds; threads of one process exclude one another too.

    Gives the file's descriptor, open for reading and writing.
    """
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_exclusive(file: Path) -> int | None:
    """A descriptor that holds the lock until it and its copies in children are closed; None where it is taken."""
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_free(file: Path) -> bool:
    """Whether nobody holds the lock; also where there is no such file."""
    if not file.exists():
        return True
    descriptor = try_exclusive(file)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
