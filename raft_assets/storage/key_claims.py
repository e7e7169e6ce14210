"""Which paid calls the processes of this machine are making right now: a file beside the call store.

It may vanish whenever no process runs, so its commits wait for no disk. A key belongs to an owner, who is a claim of
`FileCoordination` and ends with its process.
"""

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Collection
from pathlib import Path

from raft_assets.storage.coordination import FileClaim, FileCoordination

BUSY_S = 60.0  # a commit takes less than a millisecond
# WHERE: else SQLite takes ON for that of a join
_TAKE = "INSERT INTO under_way SELECT value, ? FROM json_each(?) WHERE true ON CONFLICT DO NOTHING RETURNING key"
_OWNERS = "SELECT DISTINCT owner FROM under_way WHERE key IN (SELECT value FROM json_each(?))"
_RELEASE = "DELETE FROM under_way WHERE owner = ? AND key IN (SELECT value FROM json_each(?))"


class KeyClaims:
    """The claims of one owner, whose threads may share it; the file is opened when a claim is first needed."""

    def __init__(self, file: Path) -> None:
        self._file, self._coordination = file, FileCoordination(file.parent)
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._alive: FileClaim | None = None
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def take(self, keys: Collection[str]) -> frozenset[str]:
        """Claim the keys that nobody has claimed who is still there, and return them."""
        with self._lock:
            connection = self._open()
            names = json.dumps(list(keys))
            taken = self._take(connection, names)
            if len(taken) < len(keys) and self._bury_the_dead(connection, names):
                taken |= self._take(connection, names)
            return taken

    def release(self, keys: Collection[str]) -> None:
        """Give up claims; keys that aren't claimed are no error."""
        with self._lock:
            if self._connection and keys:
                self._connection.execute(_RELEASE, (self._owner, json.dumps(list(keys))))

    def close(self) -> None:
        """Give up every claim."""
        with self._lock:
            if self._connection:
                self._connection.execute("DELETE FROM under_way WHERE owner = ?", (self._owner,))
                self._connection.close()
                self._connection = None
            if self._alive:
                self._alive.close()
                self._alive = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._alive = self._alive or self._coordination.claim(_claim_of(self._owner))
            connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS under_way (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID"
            )
            self._connection = connection
        return self._connection

    def _take(self, connection: sqlite3.Connection, names: str) -> frozenset[str]:
        return frozenset(key for (key,) in connection.execute(_TAKE, (self._owner, names)).fetchall())

    def _bury_the_dead(self, connection: sqlite3.Connection, names: str) -> bool:
        """Remove what owners of these keys claimed who have ended; return whether there was one."""
        owners = [owner for (owner,) in connection.execute(_OWNERS, (names,)).fetchall()]
        dead = [owner for owner in owners if not self._coordination.is_claimed(_claim_of(owner))]
        connection.executemany("DELETE FROM under_way WHERE owner = ?", [(owner,) for owner in dead])
        return bool(dead)


def _claim_of(owner: str) -> str:
    return f"paying.{owner}"
