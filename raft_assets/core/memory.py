"""A limit of the memory that this process may take from here on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

GB = 1_000_000_000


@contextmanager
def limited_memory(gigabytes: float) -> Iterator[None]:
    """Limit the address space to what it is now and so much more; MemoryError or the like is raised beyond.

    Does nothing where the system has no such limit.
    """
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = psutil.Process().memory_info().vms + int(gigabytes * GB)
    limit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
