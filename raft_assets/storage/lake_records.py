"""`Records` in a lake that is an address: the document `jobs/one.json` is one object, which all machines see.

An object is created only if there is none of its name (`If-None-Match: *` on Azure Blob), so of several writers one
wins, and it is there whole or not at all. See "Specifying conditional headers for Blob service operations",
https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress

from raft_assets.core.ports import Records
from raft_assets.storage.lake import Lake
from raft_assets.storage.records import check_record_name, is_record_name

log = logging.getLogger(__name__)

FOLDER = "records"  # of the lake's state


class LakeRecords:
    """The records of a project whose lake several machines share."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def read(self, name: str) -> bytes | None:
        """Return the content; None where there is no such document."""
        check_record_name(name)
        with self._lake.told():
            root = self._lake.state
            try:
                return bytes(root.fs.cat_file(f"{root.path}/{FOLDER}/{name}"))
            except FileNotFoundError:
                return None

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted."""
        with self._lake.told():
            root = self._lake.state
            above = f"{root.path}/{FOLDER}"
            folder = prefix.rpartition("/")[0]
            root.fs.invalidate_cache()  # other machines write as well
            found = root.fs.find(f"{above}/{folder}".rstrip("/"))
        start = f"{above.strip('/')}/"
        names = (file.strip("/").removeprefix(start) for file in found)
        return sorted(name for name in names if name.startswith(prefix) and is_record_name(name))

    def put(self, name: str, content: bytes) -> bool:
        """Add a document; False where there is one of that name, which stays as it is. Of several writers one wins.

        Where the network loses the service's answer, False may mean that this very content was added.
        """
        check_record_name(name)
        with self._lake.told():
            root = self._lake.state
            try:
                root.fs.pipe_file(f"{root.path}/{FOLDER}/{name}", content, mode="create")
            except FileExistsError:
                return False
        return True

    def delete(self, name: str) -> None:
        """Remove a document; a missing one is not an error."""
        check_record_name(name)
        with self._lake.told(), suppress(FileNotFoundError):
            root = self._lake.state
            root.fs.rm_file(f"{root.path}/{FOLDER}/{name}")


def take_over(here: Records, there: Records, prefixes: Sequence[str]) -> None:
    """Move the documents whose names begin with one of the prefixes to another place.

    A document that is there already, in whatever version, stays as it is, and the one from here is dropped.
    """
    for prefix in prefixes:
        names = [name for name in here.names(prefix) if name.endswith(".json")]  # not locks, which lie beside them
        known = {_without_version(name) for name in there.names(prefix)} if names else set()
        for name in names:
            content = here.read(name)
            if _without_version(name) in known:
                if content not in (None, there.read(name)):
                    log.warning("The record %s of this machine is dropped: the lake has one of another machine", name)
            elif content is not None:
                there.put(name, content)
            here.delete(name)


def _without_version(name: str) -> str:
    return name.partition(".")[0]
