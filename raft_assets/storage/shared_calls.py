"""Paid calls in the database of `RAFT_COORDINATION`: what processes of several machines know of them while they run.

A key has one row, in one of three states. It is claimed: its owner makes the call. It holds the answer, as a line of a
segment has it. It is placed: the answer lies in a segment at `RAFT_CALLS`, and the row only remembers that. So the
database holds the answers of the last moments, and those of all times where there are no segments. An owner is a claim
of `Coordination`, which ends with its process; whose owner has ended is for whoever comes next.

What belongs here: SQL. Every statement is a transaction of its own, and locks the rows that it changes in the order of
their keys, so that no two wait for one another.
"""

import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raft_assets.settings.coordination import CoordinationDatabase
from raft_assets.storage.postgresql import (
    HELD_CLAIMS,
    PostgresClaim,
    PostgresCoordination,
    claim_id,
)

CONNECTION = "calls"  # of its own
INHERIT_S = 1.0  # between two looks for owners that have ended
ORPHANS_AT_ONCE = 5_000  # the next process finds the others
ENTRIES_AT_ONCE = 1_000
_STORED = """
SELECT key, entry, is_placed FROM raft.calls WHERE key = ANY(%(keys)s::text[]) AND (entry IS NOT NULL OR is_placed)
"""
_TAKE = f"""
WITH taken AS (
  INSERT INTO raft.calls (key, owner) SELECT key, %(owner)s FROM unnest(%(keys)s::text[]) AS key ORDER BY key
  ON CONFLICT DO NOTHING RETURNING key
)
SELECT key, NULL, false FROM taken UNION ALL {_STORED}
"""  # noqa: S608 - statements of ours
_LOCKED = "SELECT key FROM raft.calls WHERE key = ANY(%(keys)s::text[]) AND {chosen} ORDER BY key FOR UPDATE"
_IS_UNDER_WAY = "entry IS NULL AND NOT is_placed"
_INHERIT = f"""
UPDATE raft.calls SET owner = %(owner)s
WHERE key IN ({_LOCKED.format(chosen=f"{_IS_UNDER_WAY} AND owner NOT IN ({HELD_CLAIMS})")}) RETURNING key
"""  # noqa: S608 - statements of ours
_RETAKE = f"""
UPDATE raft.calls SET owner = %(owner)s, is_placed = false
WHERE key IN ({_LOCKED.format(chosen="is_placed")}) RETURNING key
"""  # noqa: S608 - statements of ours
_RELEASE = f"DELETE FROM raft.calls WHERE key = ANY(%(keys)s::text[]) AND owner = %(owner)s AND {_IS_UNDER_WAY}"  # noqa: S608
_PUT = """
WITH stored AS (
  INSERT INTO raft.calls AS calls (key, owner, entry)
  SELECT key, %(owner)s, entry FROM unnest(%(keys)s::text[], %(entries)s::text[]) AS new (key, entry) ORDER BY key
  ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, entry = excluded.entry
  WHERE calls.entry IS NULL AND NOT calls.is_placed
  RETURNING key
), paid_again AS (DELETE FROM raft.forgotten WHERE key = ANY(%(keys)s::text[]))
SELECT key FROM stored
"""
_PLACE = """
INSERT INTO raft.calls (key, owner, is_placed)
SELECT key, %(owner)s, true FROM unnest(%(keys)s::text[]) AS key ORDER BY key
ON CONFLICT (key) DO UPDATE SET entry = NULL, is_placed = true
"""
_ORPHANS = f"SELECT entry FROM raft.calls WHERE entry IS NOT NULL AND owner NOT IN ({HELD_CLAIMS}) LIMIT %s"  # noqa: S608
_ENTRIES = "SELECT key, entry FROM raft.calls WHERE entry IS NOT NULL AND key > %s ORDER BY key LIMIT %s"
# a statement that began before another one read may end after it: what is new is read a minute back
_FORGOTTEN = "SELECT key FROM raft.forgotten WHERE at > to_timestamp(%s) - interval '1 minute'"
_FORGET = (
    """
    INSERT INTO raft.forgotten (key) SELECT key FROM unnest(%(keys)s::text[]) AS key ORDER BY key
    ON CONFLICT (key) DO UPDATE SET at = excluded.at
    """,
    f"DELETE FROM raft.calls WHERE key IN ({_LOCKED.format(chosen='true')})",  # noqa: S608 - statements of ours
    "VACUUM (FULL) raft.calls",  # writes the table anew, without what was deleted
)


@dataclass(frozen=True)
class Found:
    """What the database knows of some keys: those that this process may pay, stored answers, and keys in segments."""

    mine: frozenset[str]
    entries: list[str]
    placed: frozenset[str]


class SharedCalls:
    """The paid calls of all machines. Nothing is opened before a method is called; each raises CoordinationError."""

    def __init__(self, database: CoordinationDatabase) -> None:
        self._coordination = PostgresCoordination(database, CONNECTION)
        self._name = f"calls/paying/{os.getpid()}-{secrets.token_hex(8)}"
        self._owner = claim_id(self._name)
        self._alive: PostgresClaim | None = None
        self._inherited_at = 0.0

    def take(self, keys: Collection[str]) -> Found:
        """Claim the keys of which nobody has or makes the call; return them and what is stored of the others."""
        found = self._found(self._run(_TAKE, keys))
        under_way = set(keys) - found.mine - found.placed
        if len(under_way) > len(found.entries) and time.monotonic() - self._inherited_at > INHERIT_S:
            self._inherited_at = time.monotonic()
            inherited = {key for (key,) in self._run(_INHERIT, under_way)}
            return Found(found.mine | inherited, found.entries, found.placed)
        return found

    def retake(self, keys: Collection[str]) -> frozenset[str]:
        """Claim keys whose answer is in no segment, though it was."""
        return frozenset(key for (key,) in self._run(_RETAKE, keys))

    def release(self, keys: Collection[str]) -> None:
        """Give up claims of this process; those that brought an answer are none any more."""
        self._run(_RELEASE, keys)

    def find(self, keys: Collection[str]) -> Found:
        """Return what is stored, and claim nothing."""
        return self._found(self._run(_STORED, keys))

    def put(self, entries: Mapping[str, str]) -> set[str]:
        """Store answers durably; return the keys for which another process was faster."""
        stored = self._run(_PUT, entries.keys(), entries=list(entries.values()))
        return entries.keys() - {key for (key,) in stored}

    def place(self, keys: Collection[str]) -> None:
        """Remember that the answers are in a segment now, and hold them no longer."""
        self._run(_PLACE, keys)

    def orphans(self) -> list[str]:
        """Return some answers that are in no segment, and whose process has ended."""
        with self._statements() as cursor:
            cursor.execute(_ORPHANS, (ORPHANS_AT_ONCE,))
            return [entry for (entry,) in cursor.fetchall()]

    def entries(self) -> Iterator[list[str]]:
        """Yield every answer that is in no segment, a few at a time."""
        last = ""
        while True:
            with self._statements() as cursor:
                cursor.execute(_ENTRIES, (last, ENTRIES_AT_ONCE))
                rows = cursor.fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [entry for _, entry in rows]

    def forget(self, keys: Collection[str]) -> None:
        """Delete answers, and tell the other machines that they are to delete theirs."""
        for statement in _FORGET:
            self._run(statement, keys)

    def forgotten(self, since: float) -> tuple[set[str], float]:
        """Return the keys that were forgotten since a moment of the database's clock, and the moment now."""
        now = self._coordination.now()
        with self._statements() as cursor:
            cursor.execute(_FORGOTTEN, (since,))
            return {key for (key,) in cursor.fetchall()}, now

    def close(self) -> None:
        """End this owner: what it still claims is free."""
        if self._alive:
            self._alive.close()
            self._alive = None

    def _statements(self) -> Any:
        if self._alive is None:
            self._alive = self._coordination.claim(self._name)
        return self._coordination.statements()

    def _run(self, statement: str, keys: Collection[str] = (), **more: object) -> list[tuple[Any, ...]]:
        with self._statements() as cursor:
            cursor.execute(statement, {"keys": list(keys), "owner": self._owner, **more})
            return cursor.fetchall() if cursor.description else []

    @staticmethod
    def _found(rows: list[tuple[Any, ...]]) -> Found:
        return Found(
            mine=frozenset(key for key, entry, is_placed in rows if entry is None and not is_placed),
            entries=[entry for _, entry, _ in rows if entry is not None],
            placed=frozenset(key for key, _, is_placed in rows if is_placed),
        )
