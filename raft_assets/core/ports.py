"""What `llm` and `student` are handed in place of files and databases, and the documents that they keep there.

Two protocols, small enough that files and later a cloud can keep both. `Records` are documents that last;
`Coordination` is what processes agree on at a moment. How money is held and how a slot is taken is not said here: that
logic stands once, in `llm`. The implementations are in `storage`.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class Records(Protocol):
    """Small named documents that every process of a project shares.

    A name is relative, with `/` between its parts; a part is made of ASCII letters, digits, `-`, `_` and `.`, and does
    not begin with a dot. A document never changes: see `VersionedRecord`.
    """

    def read(self, name: str) -> bytes | None:
        """Return the content; None where there is no such document."""

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted."""

    def put(self, name: str, content: bytes) -> bool:
        """Add a document; False where there is one of that name, which stays as it is. Of several writers one wins."""

    def delete(self, name: str) -> None:
        """Remove a document; one that is gone is no mistake."""


@dataclass
class Shared:
    """A small text that processes share, in the hands of one of them: `text` is empty at first, and may be replaced."""

    text: str


class Claim(Protocol):
    """Something that one process has to itself, until it closes the claim or dies."""

    def close(self) -> None:
        """Give it back; a second time does nothing."""


class Coordination(Protocol):
    """What the processes of a project share while they run. A name has `/` between its parts."""

    def shared(self, name: str) -> AbstractContextManager[Shared]:
        """Hold the state of that name, for milliseconds, while others wait.

        What `text` is at the end is what the next holder finds; nothing changes where the block raises. The state may
        be forgotten when no process runs.
        """

    def claim(self, name: str) -> Claim | None:
        """Take what the name stands for; None, at once, where another claim holds it, also one of this process."""

    def is_claimed(self, name: str) -> bool:
        """Return whether somebody holds it. Whoever claims it at that very moment may be told that it is taken."""


_VERSION = re.compile(r"(?P<name>[^.]+)(?:\.(?P<number>\d+))?\.json")


class VersionedRecord:
    """A JSON document that changes: every change is a version of its own, so that no update is lost.

    The first version of `jobs/one` is `jobs/one.json`, the next ones are `jobs/one.1.json`, `jobs/one.2.json` and so
    on; a version is deleted when a later one is there.
    """

    def __init__(self, records: Records, name: str) -> None:
        """`name` has no dots."""
        self._records, self._name = records, name

    def read(self) -> bytes | None:
        """Return the newest version; None where there is none."""
        return self._newest()[1]

    def change(self, changed: Callable[[bytes | None], bytes]) -> None:
        """Add a version: what `changed` makes of the newest one, or of None. One that is equal is not added.

        `changed` is called again, with what the others wrote, where another process was faster. So it must be fine to
        apply it to a document that has its change already.
        """
        while True:
            newest, content = self._newest()
            mine, document = newest + 1, changed(content)
            if document == content:
                return
            if not self._records.put(_file(self._name, mine), document):
                continue
            versions = _versions(self._records, self._name)[self._name]
            if max(versions, default=mine) > mine:  # others were faster, and deleted the one that had this number
                self._records.delete(_file(self._name, mine))
                continue
            for version in versions:
                if version < mine:
                    self._records.delete(_file(self._name, version))
            return

    def delete(self) -> None:
        """Remove every version, the newest one last; a change that is under way elsewhere may bring it back."""
        for version in sorted(_versions(self._records, self._name)[self._name]):
            self._records.delete(_file(self._name, version))

    def _newest(self) -> tuple[int, bytes | None]:
        """The number and content of the newest version; (-1, None) where there is none."""
        while versions := _versions(self._records, self._name)[self._name]:
            newest = max(versions)
            content = self._records.read(_file(self._name, newest))
            if content is not None:
                return newest, content  # else a process that put a newer one has just deleted it
        return -1, None


def newest_of_all(records: Records, folder: str) -> list[bytes]:
    """Return the newest version of every `VersionedRecord` of a folder, such as `jobs`, by name."""
    found = []
    for name, versions in sorted(_versions(records, f"{folder}/").items()):
        content = records.read(_file(name, max(versions)))
        if content is None:  # a process that put a newer one has just deleted it
            content = VersionedRecord(records, name).read()
        if content is not None:
            found.append(content)
    return found


def _file(name: str, version: int) -> str:
    return f"{name}.{version}.json" if version else f"{name}.json"


def _versions(records: Records, prefix: str) -> dict[str, list[int]]:
    """The numbers of the versions of every document whose name begins with `prefix`."""
    found = defaultdict[str, list[int]](list)
    for name in records.names(prefix):
        if match := _VERSION.fullmatch(name):
            found[match["name"]].append(int(match["number"] or 0))
    return found
