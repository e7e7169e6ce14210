"""`Records` as files of a folder: the document `jobs/one.json` is the file `jobs/one.json`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from raft_assets.core.atomic import write_bytes
from raft_assets.core.locks import exclusive_lock

_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)


def is_record_name(name: str) -> bool:
    """Return whether a record may have that name."""
    return _NAME.fullmatch(name) is not None


def check_record_name(name: str) -> None:
    """Raise ValueError for a name that no record may have."""
    if not is_record_name(name):
        raise ValueError(f"{name!r} can't be the name of a record")


class FileRecords:
    """The records in a folder of this machine, which may contain other files as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """Return the content; None where there is no such document."""
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted."""
        return sorted(name for name in self._names(prefix.rpartition("/")[0], prefix) if is_record_name(name))

    def put(self, name: str, content: bytes) -> bool:
        """Add a document; False where there is one of that name, which stays as it is. Of several writers one wins."""
        file = self._file(name)
        # a hard link would need no lock, but not every file system knows them
        with exclusive_lock(self._folder / ".records.lock"):
            if file.exists():
                return False
            write_bytes(file, content)
            return True

    def delete(self, name: str) -> None:
        """Remove a document; a missing one is not an error."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        check_record_name(name)
        return self._folder / name

    def _names(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(self._folder / folder))
        except FileNotFoundError:
            return
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not name.startswith(prefix):
                continue
            if entry.is_dir():
                yield from self._names(name, prefix)
            else:
                yield name
