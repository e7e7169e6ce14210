"""What `llm`, `student` and the providers are given in place of files and databases, and the documents kept there.

Three protocols, small enough that both files and a cloud service can implement them. `Records` are documents that last;
`Coordination` is state that processes share while they run; `SharedFiles` are what machines share of a folder. How
money is reserved and how a slot is taken is not defined here: that logic exists once, in `llm`. The implementations are
in `storage`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class Records(Protocol):
    """Small named documents that every process of a project shares.

    A name is relative, with `/` between its parts; a part is made of ASCII letters, digits, `-`, `_` and `.`, and does
    not begin with a dot. A document never changes: see `VersionedRecord`.
    """

    def read(self, name: str) -> bytes | None:
        """Return the content; None if there is no such document."""

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted."""

    def put(self, name: str, content: bytes) -> bool:
        """Add a document; False if there already is one of that name, which stays as it is.

        Of several writers one wins.
        """

    def delete(self, name: str) -> None:
        """Remove a document; removing one that is already gone is no error."""


@dataclass
class Shared:
    """A small text that processes share, held by one of them: `text` is empty at first and may be replaced."""

    text: str


class Claim(Protocol):
    """Something that one process has to itself until it closes the claim or dies."""

    def close(self) -> None:
        """Release the claim; a second call does nothing."""


class Coordination(Protocol):
    """What the processes of a project share while they run. A name has `/` between its parts."""

    def now(self) -> float:
        """Return the seconds of a clock that is one for all of these processes, from a beginning of its own."""

    def shared(self, name: str) -> AbstractContextManager[Shared]:
        """Hold the state of that name, for milliseconds, while others wait.

        The value of `text` at the end of the block is what the next holder reads; nothing changes if the block raises.
        The state may be lost when no process runs.
        """

    def claim(self, name: str) -> Claim | None:
        """Take the claim of that name; None, at once, if another claim holds it.

        The other claim may be one of this process.
        """

    def is_claimed(self, name: str) -> bool:
        """Return whether the name is claimed.

        A process that claims it at that very moment may find that it is taken.
        """


class SharedFiles(Protocol):
    """Files that several machines share; each machine has a folder with those that it made or needed.

    A name is that of a file in this folder, or of a folder in it, with `/` between its parts. A file is shared whole or
    not at all; a folder is shared file by file.
    """

    @property
    def machine(self) -> str:
        """A name of this machine's folder that no other one has; empty where nothing is shared."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the shared files below a folder, sorted."""

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the contents, by name, of those of the files that are shared."""

    def fetch(self, name: str) -> None:
        """Put the shared file, or all files of the shared folder, into this machine's folder; nothing if there is none.

        A folder that isn't here yet appears as a whole.
        """

    def publish(self, name: str) -> None:
        """Share the file, or all files of the folder, as it is here, in place of what is shared by that name."""

    def forget(self, name: str) -> None:
        """Share a file or a folder no longer; what is here stays. One that isn't shared is no error."""

    def reconcile(self) -> None:
        """Delete here what another machine has forgotten, and share what was made here before anything was shared."""


READ_AT_ONCE = 16  # records: those of a shared lake are a matter of waiting
_VERSION = re.compile(r"(?P<name>[^.]+)(?:\.(?P<number>\d+))?\.json")


class VersionedRecord:
    """A JSON document that changes: every change is a version of its own, so that no update is lost.

    The first version of `jobs/one` is `jobs/one.json`, the next ones are `jobs/one.1.json`, `jobs/one.2.json` and so
    on; a version is deleted once a later one exists.
    """

    def __init__(self, records: Records, name: str) -> None:
        """Open the document; `name` has no dots."""
        self._records, self._name = records, name

    def read(self) -> bytes | None:
        """Return the newest version; None if there is none."""
        return self._newest()[1]

    def change(self, changed: Callable[[bytes | None], bytes]) -> None:
        """Add the version that `changed` makes of the newest one, or of None; an equal version is not added.

        If another process was faster, `changed` is called again with what that process wrote. So it must be safe to
        apply it to a document that already has its change.
        """
        while True:
            newest, content = self._newest()
            mine, document = newest + 1, changed(content)
            if document == content:
                return
            if not self._records.put(_file(self._name, mine), document):
                continue
            versions = _versions(self._records, self._name)[self._name]
            if max(versions, default=mine) > mine:  # others were faster, and deleted the version with this number
                self._records.delete(_file(self._name, mine))
                continue
            for version in versions:
                if version < mine:
                    self._records.delete(_file(self._name, version))
            return

    def delete(self) -> None:
        """Remove every version, the newest one last.

        A change that is under way in another process may bring the document back.
        """
        for version in sorted(_versions(self._records, self._name)[self._name]):
            self._records.delete(_file(self._name, version))

    def _newest(self) -> tuple[int, bytes | None]:
        """Return the number and content of the newest version; (-1, None) if there is none."""
        while versions := _versions(self._records, self._name)[self._name]:
            newest = max(versions)
            content = self._records.read(_file(self._name, newest))
            if content is not None:
                return newest, content  # else another process has just put a newer version and deleted this one
        return -1, None


def newest_of_all(records: Records, folder: str) -> list[bytes]:
    """Return the newest version of every `VersionedRecord` in a folder such as `jobs`, sorted by name."""
    newest = {name: max(versions) for name, versions in sorted(_versions(records, f"{folder}/").items())}
    with ThreadPoolExecutor(READ_AT_ONCE) as readers:
        found = list(readers.map(lambda name: records.read(_file(name, newest[name])), newest))
    contents = (
        # else another process has just put a newer version and deleted this one
        VersionedRecord(records, name).read() if content is None else content
        for name, content in zip(newest, found, strict=True)
    )
    return [content for content in contents if content is not None]


def _file(name: str, version: int) -> str:
    return f"{name}.{version}.json" if version else f"{name}.json"


def _versions(records: Records, prefix: str) -> dict[str, list[int]]:
    """Return the version numbers of every document whose name begins with `prefix`."""
    numbers = defaultdict[str, list[int]](list)
    for name in records.names(prefix):
        if match := _VERSION.fullmatch(name):
            numbers[match["name"]].append(int(match["number"] or 0))
    return numbers
