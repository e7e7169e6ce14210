"""A limit of the memory that this process may take from here on."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

GB = 1_000_000_000
STACKS_GB = 0.02  # of the threads that a library starts for each core


@contextmanager
def limited_memory(gigabytes: float) -> Iterator[None]:
    """Limit what this process can write to to what it is now and so much more; MemoryError is raised beyond.

    Does nothing where the system has no such limit, which is everywhere but on Linux. What is only reserved doesn't
    count (`RLIMIT_DATA`, https://man7.org/linux/man-pages/man2/getrlimit.2.html): allocators reserve a lot.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    more = gigabytes + STACKS_GB * (os.cpu_count() or 1)
    wanted = psutil.Process().memory_info().data + int(more * GB)
    limit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
