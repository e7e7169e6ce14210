"""`Coordination` by files of a folder: for the processes of one machine, which see one another's locks."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from raft_assets.core.locks import exclusive_lock, try_lock
from raft_assets.core.ports import Shared


class FileClaim:
    """A lock on a file, which is removed with the claim; what a killed process leaves of it blocks nobody."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Release the claim; doing so twice is harmless."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # Windows removes no open file: it stays, and is used again
                self._file.unlink()
            os.close(self._descriptor)
            self._descriptor = None


class FileCoordination:
    """The state `limits/a` is the file `limits/a.json`, the claim of that name is the file `limits/a.lock`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def now(self) -> float:
        """Return the system's monotonic clock, which is one for all processes; see `Coordination.now`."""
        return time.monotonic()

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[Shared]:
        """Hold the state of that name, for milliseconds, while others wait; see `Coordination.shared`."""
        with exclusive_lock(self._file(name, ".json")) as descriptor:
            content = os.read(descriptor, os.fstat(descriptor).st_size)
            shared = Shared(content.decode("utf-8", "replace"))
            yield shared
            written = shared.text.encode("utf-8")
            if written != content:
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, written)
            if len(written) < len(content):
                os.ftruncate(descriptor, len(written))

    def claim(self, name: str) -> FileClaim | None:
        """Take the claim of that name; None, at once, where another claim holds it, also one of this process."""
        file = self._file(name, ".lock")
        descriptor = try_lock(file)
        return None if descriptor is None else FileClaim(file, descriptor)

    def is_claimed(self, name: str) -> bool:
        """Return whether the claim is taken; remove what a killed process left."""
        if not self._file(name, ".lock").exists():
            return False
        claim = self.claim(name)
        if claim:
            claim.close()
        return claim is None

    def _file(self, name: str, suffix: str) -> Path:
        check_name(name)
        return self._folder / f"{name}{suffix}"


def check_name(name: str) -> None:
    """Raise ValueError for what can't be the name of a state or a claim."""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name!r} can't be a name")
