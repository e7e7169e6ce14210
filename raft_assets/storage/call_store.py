"""The call store: one SQLite file shared by many processes; an answer is durable before it is used.

What belongs here: SQL, and what may go wrong with a file. Write-ahead logging lets readers and one writer work at the
same time; `synchronous=FULL` syncs every commit, so that an answer that was handed out survives a power cut. A sync
costs milliseconds, which is why `put` takes many answers at once. Every entry carries a checksum: one that doesn't
match counts as absent and is replaced when its call is made again.

A machine's disk may vanish with it. So where answers are shared, one is durable elsewhere before it is used: in the
database of `RAFT_COORDINATION`, where others find it at once, else in a segment at `RAFT_CALLS`.
"""

import contextlib
import logging
import random
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.core.identity import short_digest
from raft_assets.core.locks import exclusive_lock
from raft_assets.llm.azure_sign_in import storage_credential
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.requests import Origin, Usage
from raft_assets.llm.store import CallSource, ClaimedCalls, ModelUsage, StoredCall, StoreStats
from raft_assets.settings.blob import storage_options
from raft_assets.settings.project import Project
from raft_assets.storage.key_claims import KeyClaims
from raft_assets.storage.segments import Segments, read_entry, write_entry
from raft_assets.storage.shared_calls import Found, SharedCalls

log = logging.getLogger(__name__)
T = TypeVar("T")

STORE_FORMAT = 2
BUSY_S = 5.0  # SQLite's own wait for the writer's lock, before the next pause is drawn
LOCK_TIMEOUT_S = 60.0  # a commit takes milliseconds; a lock that is held this long means that a process hangs
PAUSE_S = (0.02, 0.2)  # between two tries for the lock, drawn, so that processes don't meet again
FLUSH_CALLS, FLUSH_AFTER_S = 200, 30.0  # of a commit, and since the last segment: then the spool is written
MERGED_SEGMENTS = 64  # where every commit is a segment: so many are written anew as one
SPOOLED = ""  # in place of a segment's name: to be written into one
ELSEWHERE = "-"  # likewise: another machine has the answer, and writes it into a segment
KEYS_PER_QUERY = 500  # well below SQLite's limit of variables in a statement

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    latency_s REAL NOT NULL,
    tries INTEGER NOT NULL,
    created REAL NOT NULL,
    role TEXT NOT NULL,
    asset TEXT NOT NULL,
    domain TEXT NOT NULL,
    run TEXT NOT NULL,
    payload BLOB NOT NULL,
    checksum TEXT NOT NULL,
    estimated INTEGER NOT NULL DEFAULT 0
)
"""
TIMED_CALLS = 200  # the newest ones tell how fast a model is now
_TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_SUMMED = (*_TOKENS, "estimated")
_GROUPED = ("month", "domain", "service", "model", "kind")
_SUMS = f"""
CREATE TABLE sums (
    {", ".join(f"{name} TEXT NOT NULL" for name in _GROUPED)},
    calls INTEGER NOT NULL, {", ".join(f"{name} INTEGER NOT NULL" for name in _SUMMED)},
    PRIMARY KEY ({", ".join(_GROUPED)})
) WITHOUT ROWID
"""  # what a budget needs of millions of calls; triggers keep it, whoever writes into the file
# with recursive triggers, an entry that is replaced leaves the sums; with secure_delete, a deleted one leaves no bytes
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "recursive_triggers=ON", "secure_delete=ON")
_SOURCES = """
CREATE TABLE sources (
    key TEXT NOT NULL, domain TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (key, domain, document)
) WITHOUT ROWID
"""  # for what calls were asked; kept beside them, so that no entry changes
_INSERT_SOURCE = "INSERT OR IGNORE INTO sources VALUES (?, ?, ?)"
_PLACE = "INSERT OR REPLACE INTO placed VALUES (?, ?)"
_MONTH = "coalesce(strftime('%Y-%m', {created}, 'unixepoch'), '')"
_NAMES = (
    "key",
    "service",
    "model",
    "kind",
    "status",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "latency_s",
    "tries",
    "created",
    "role",
    "asset",
    "domain",
    "run",
    "payload",
    "checksum",
    "estimated",
)
_COLUMNS = ", ".join(_NAMES)
_SELECT_CALLS = f"SELECT {_COLUMNS} FROM calls"  # noqa: S608 - names of columns
_REMEDIES = {
    (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT): (
        "is damaged ({error}). Restore a copy of it, or move it away with its -wal and -shm files: "
        "the calls are then made, and paid for, again."
    ),
    (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM): (
        "cannot be written ({error}). Make its folder writable for this user, or set RAFT_HOME to a folder that is."
    ),
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR): (
        "could not be written ({error}). Free disk space and run again; stored answers are kept."
    ),
    (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED): (
        "has been locked by another process for a minute ({error}). End the process that holds it and run again."
    ),
}


class SqliteCallStore:
    """The store in one file, which is created if missing; with `segments` that file is a spool of what they contain.

    Threads may share it. Errors of file and disk are raised as RaftErrors, as are segments that can't be reached when
    the store is opened. Later, what can't be written into segments stays in the spool, and a warning is logged.

    `shared` is asked before calls are paid, and told of their answers; looking at what is stored never needs it. An
    answer that it can't be told of stays here, likewise.
    """

    def __init__(self, path: Path, segments: Segments | None = None, shared: SharedCalls | None = None) -> None:
        self.path = path
        self._segments, self._flushed_at = segments, time.monotonic()
        self._small_segments = list[str]()  # of this store, to be merged
        self._shared, self._claims = shared, KeyClaims(path.with_name("under_way.sqlite"))
        self._join_lock, self._has_joined = threading.Lock(), False
        self._read_lock, self._write_lock = threading.Lock(), threading.Lock()
        with self._translate_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._retry_while_locked(self._open)
            self._reader = self._retry_while_locked(self._open)
        if segments:
            with self._translate_errors(), self._write_lock:
                self._retry_while_locked(lambda: _spool_unplaced(self._writer))
            self._flush()
            self._sync_segments(segments)

    def get(self, keys: Iterable[str]) -> dict[str, StoredCall]:
        """Return the entries that exist and are intact."""
        with self._translate_errors(), self._read_lock:
            return self._retry_while_locked(lambda: _select(self._reader, list(keys)))

    def fetch(self, keys: Iterable[str]) -> dict[str, StoredCall]:
        """Return the same, and ask the database for what is not here. Raises CoordinationError."""
        wanted = set(keys)
        stored = self.get(wanted)
        if self._shared and (missing := wanted - stored.keys()):
            self._join(self._shared)
            self._bring(self._shared.find(missing))
            stored |= self.get(missing)
        return stored

    def claim(self, keys: Collection[str]) -> ClaimedCalls:
        """Claim the calls that nobody has made or is making; see `CallStore.claim`.

        Raises CoordinationError where that can't be known.
        """
        if not keys:
            return ClaimedCalls(frozenset(), {})
        if self._shared:
            mine, stored = self._claim_from_all(self._shared, keys)
        else:
            with self._translate_errors():
                mine = self._retry_while_locked(lambda: self._claims.take(keys))
            stored = self.get(keys)  # what another process stored before this one claimed it
        self.release(mine & stored.keys())
        return ClaimedCalls(mine - stored.keys(), stored)

    def release(self, keys: Collection[str]) -> None:
        """Give up claims; see `CallStore.release`."""
        if not keys:
            return
        try:
            if self._shared:
                self._shared.release(keys)
            else:
                self._claims.release(keys)
        except (RaftError, sqlite3.Error) as error:  # they end with this process
            log.debug("%d claims were not given up: %s", len(keys), error)

    def put(self, calls: Sequence[StoredCall]) -> dict[str, StoredCall]:
        """Store the calls in one durable commit and return what the store now holds for their keys.

        Where another process was faster, its entry stays and is returned, so that every table refers to the answer that
        is kept.
        """
        rows = {call.key: _to_row(call) for call in calls}
        is_told = self._shared is not None and self._tell(self._shared, rows)
        with self._translate_errors(), self._write_lock:
            kept = self._retry_while_locked(lambda: self._commit(calls, rows, is_told=is_told))
        if not self._shared:
            self.release(rows.keys())
        if self._segments:
            is_due = len(calls) >= FLUSH_CALLS or time.monotonic() - self._flushed_at > FLUSH_AFTER_S
            if is_due or not is_told:
                self._flush()
            if len(self._small_segments) >= MERGED_SEGMENTS:
                self._merge_segments(self._segments)
        return kept

    def stats(self) -> StoreStats:
        """Return totals over everything that is stored."""
        with self._translate_errors(), self._read_lock:
            calls, *tokens = self._retry_while_locked(lambda: _select_totals(self._reader))
            return StoreStats(calls, Usage(*tokens), self.path.stat().st_size)

    def calls(self) -> Iterator[StoredCall]:
        """Iterate over every intact entry, oldest first, a few at a time; what is stored meanwhile may be missing."""
        last: tuple[float, str] = (-1.0, "")
        while True:
            with self._translate_errors(), self._read_lock:
                rows = self._retry_while_locked(partial(_select_page, self._reader, last))
            if not rows:
                return
            last = (rows[-1][_NAMES.index("created")], rows[-1][0])
            yield from filter(None, map(_from_row, rows))

    def usage(self, month: str | None = None) -> list[ModelUsage]:
        """Return what each domain used of each model, ever or in a month such as 2026-11 (UTC); reads no calls."""
        with self._translate_errors(), self._read_lock:
            rows = self._retry_while_locked(lambda: _sum_by_model(self._reader, month))
        return [
            ModelUsage(domain, service, model, kind, calls, Usage(*tokens))
            for domain, service, model, kind, calls, *tokens in rows
        ]

    def last_asked(self, service: str, model: str) -> float | None:
        """Return when the model was last called, in Unix time; None where it never was."""
        with self._translate_errors(), self._read_lock:
            return self._retry_while_locked(lambda: _select_last_call_time(self._reader, service, model))

    def recent_latency(self, service: str, model: str) -> float | None:
        """Return the mean seconds of the model's newest calls that brought an answer; None where there is none."""
        with self._translate_errors(), self._read_lock:
            return self._retry_while_locked(lambda: _select_recent_latency(self._reader, service, model))

    def add_sources(self, sources: Iterable[CallSource]) -> None:
        """Remember durably for what calls are asked; what is known already is not written again."""
        rows = [(source.key, source.domain, source.document) for source in sources]
        if rows:
            with self._translate_errors(), self._write_lock:
                self._retry_while_locked(lambda: _insert_sources(self._writer, rows))

    def sources(self) -> Iterator[CallSource]:
        """Iterate over what every call was asked for, by key, a few at a time."""
        last = ("", "", "")
        while True:
            with self._translate_errors(), self._read_lock:
                rows = self._retry_while_locked(partial(_select_sources, self._reader, last))
            if not rows:
                return
            last = rows[-1]
            yield from (CallSource(*row) for row in rows)

    def gather(self) -> None:
        """Bring here what other machines paid and have not written into a segment yet. Raises CoordinationError."""
        if self._shared:
            self._join(self._shared)
            for entries in self._shared.entries():
                self._import_entries(entries)

    def forget(self, chosen: Callable[[StoredCall], bool]) -> int:
        """Delete the chosen entries, so that nothing of them remains in the file, and return their number.

        Their sources stay, by which files of batches are recognised. They are deleted in segments and in the database
        as well; `gather` finds there what this machine doesn't know. Raises RaftError where another process reads the
        file for so long that the bytes can't be overwritten.
        """
        with self._translate_errors(), self._read_lock:
            keys = [row[0] for row in self._reader.execute(_SELECT_CALLS) if _is_chosen(row, chosen)]
        if self._segments and keys:  # first: an entry that is in no segment any more is still found here
            self._delete_from_segments(self._segments, set(keys))
        if self._shared and keys:
            self._shared.forget(keys)
        with self._translate_errors(), self._read_lock, self._write_lock:
            self._retry_while_locked(lambda: _delete(self._writer, keys))
            self._retry_while_locked(lambda: _overwrite(self._writer))
        return len(keys)

    def forget_sources(self, domain: str, document: str | None) -> None:
        """Delete that calls were asked for a domain, or for a document of it; the calls stay."""
        with self._translate_errors(), self._read_lock, self._write_lock:
            self._retry_while_locked(lambda: _delete_sources(self._writer, domain, document))
            self._retry_while_locked(lambda: _overwrite(self._writer))

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it; what is in the spool goes into a segment."""
        if self._segments:
            self._flush()
            self._merge_segments(self._segments)
        if self._shared:
            self._shared.close()
        self._claims.close()
        with self._translate_errors(), self._read_lock, self._write_lock:
            self._reader.close()
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            # a damaged entry may hold bytes that aren't UTF-8; its checksum shows it, not an exception
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if self._segments:
            # which segment holds an entry, SPOOLED or ELSEWHERE
            connection.execute("CREATE TABLE IF NOT EXISTS placed (key TEXT PRIMARY KEY, segment TEXT NOT NULL)")
            connection.execute("CREATE INDEX IF NOT EXISTS placed_in ON placed (segment)")
        if self._shared:
            # what the database couldn't be told, and until when (by its clock) it was asked for what to forget
            connection.execute("CREATE TABLE IF NOT EXISTS untold (key TEXT PRIMARY KEY)")
            connection.execute("CREATE TABLE IF NOT EXISTS heard (until REAL NOT NULL)")
        if version == 0:
            connection.execute(_SCHEMA)
            connection.execute("CREATE INDEX IF NOT EXISTS by_time ON calls (created, key)")
            connection.execute(f"PRAGMA user_version={STORE_FORMAT}")
        elif version != STORE_FORMAT:
            raise RaftError(
                f"The call store {self.path} has format {version}, but this version reads {STORE_FORMAT}: "
                "use the version that wrote it, or set RAFT_HOME to another folder."
            )
        if not _has_table(connection, "sums"):
            with _transaction(connection):
                _add_sums(connection)
        if not _has_table(connection, "sources"):
            with _transaction(connection):
                _add_sources_table(connection)

    def _commit(
        self, calls: Sequence[StoredCall], rows: Mapping[str, tuple[Any, ...]], *, is_told: bool
    ) -> dict[str, StoredCall]:
        with _transaction(self._writer):
            kept = _select(self._writer, [call.key for call in calls])
            added = {call.key: call for call in calls if call.key not in kept}
            _insert(self._writer, [rows[key] for key in added])
            sources = [(one.key, one.domain, one.document) for call in calls for one in call.sources]
            self._writer.executemany(_INSERT_SOURCE, sources)
            if self._segments:
                self._writer.executemany(_PLACE, [(key, SPOOLED) for key in added])
            if self._shared and not is_told:
                self._writer.executemany("INSERT OR IGNORE INTO untold VALUES (?)", [(key,) for key in added])
        return kept | added

    # ------------------------------------------------------------ what machines share while they run

    def _join(self, shared: SharedCalls) -> None:
        """Do once, before this store pays for anything, what was left undone while it wasn't connected.

        Hear what is to be forgotten, tell what could not be told, and take over the answers of processes that have
        ended without writing them into a segment.
        """
        with self._join_lock:
            if self._has_joined:
                return
            with self._translate_errors(), self._read_lock:
                heard = self._retry_while_locked(lambda: _select_heard(self._reader))
                untold = self._retry_while_locked(lambda: _select_untold(self._reader))
            forgotten, now = shared.forgotten(heard)
            told = {row[0]: write_entry(_to_segment(row)) for row in untold}
            shared.put(told)
            with self._translate_errors(), self._write_lock:
                deleted = self._retry_while_locked(partial(_hear, self._writer, forgotten - told.keys(), now))
                if deleted:
                    self._retry_while_locked(lambda: _overwrite(self._writer))
            if self._segments:
                self._adopt(shared)
            self._has_joined = True

    def _adopt(self, shared: SharedCalls) -> None:
        """Spool the answers that are in no segment and whose process has ended."""
        entries = shared.orphans()
        keys = {read_entry(entry)[0] for entry in entries}
        self._import_entries(entries)
        with self._translate_errors(), self._read_lock:
            placed = self._retry_while_locked(lambda: _select_placed(self._reader)) & keys if keys else set()
        if placed:
            shared.place(placed)
        with self._translate_errors(), self._write_lock:
            self._retry_while_locked(lambda: _assign_segment(self._writer, list(keys - placed), SPOOLED))

    def _claim_from_all(
        self, shared: SharedCalls, keys: Collection[str]
    ) -> tuple[frozenset[str], dict[str, StoredCall]]:
        self._join(shared)
        found = shared.take(keys)
        self._bring(found)
        stored = self.get(keys)
        lost = found.placed - stored.keys()  # such as by who deleted segments by hand
        return found.mine | (shared.retake(lost) if lost else frozenset()), stored

    def _tell(self, shared: SharedCalls, rows: Mapping[str, tuple[Any, ...]]) -> bool:
        """Make answers durable where other machines find them; where others were faster, bring theirs here.

        If that fails, return False: what is paid is kept here, and told when the database is there again.
        """
        try:
            self._join(shared)
            if others := shared.put({key: write_entry(_to_segment(row)) for key, row in rows.items()}):
                self._bring(shared.find(others))
        except RaftError as error:
            log.warning("%d answers are on this machine alone until the next run: %s", len(rows), error)
            return False
        return True

    def _bring(self, found: Found) -> None:
        """Copy what the database knows of to this machine."""
        self._import_entries(found.entries)
        if found.placed and self._segments:
            self._sync_segments(self._segments)

    def _import_entries(self, entries: Iterable[str]) -> None:
        """Add answers of other machines, which write them into segments."""
        rows = {row[0]: row for row in map(read_entry, entries)}
        if missing := rows.keys() - self.get(rows).keys():
            segment = ELSEWHERE if self._segments else None
            with self._translate_errors(), self._write_lock:
                self._retry_while_locked(
                    lambda: _import(self._writer, [rows[key] for key in missing], segment, replace=True)
                )

    # ------------------------------------------------------------ segments

    def _flush(self) -> None:
        """Write the spool into a segment; if that fails, it stays for the next time."""
        assert self._segments is not None
        self._flushed_at = time.monotonic()
        with exclusive_lock(self.path.with_suffix(".flush")), self._translate_errors():
            with self._read_lock:
                rows = self._retry_while_locked(lambda: _select_spooled(self._reader))
            if not rows:
                return
            try:
                name = self._segments.write(map(_to_segment, rows))
            except Exception as error:  # noqa: BLE001 - whatever the service or the network does: nothing is lost here
                log.warning(
                    "%d answers could not be written to %s (%s): they are kept in %s and written the next time",
                    *(len(rows), self._segments.address, type(error).__name__, self.path),
                )
                return
            keys = [row[0] for row in rows]
            with self._write_lock:
                self._retry_while_locked(lambda: _assign_segment(self._writer, keys, name))
        if self._shared and self._has_joined:
            with contextlib.suppress(RaftError):  # the answers stay there until another process finds them
                self._shared.place(keys)
        if not self._shared and len(rows) < FLUSH_CALLS:
            self._small_segments.append(name)

    def _merge_segments(self, segments: Segments) -> None:
        """Write the small segments of this store anew as one; whatever fails, the answers are in one or the other."""
        names, self._small_segments = self._small_segments, []
        try:
            names = sorted(segments.names().intersection(names)) if len(names) > 1 else []  # not what a purge removed
            with self._translate_errors(), self._read_lock:
                rows = self._retry_while_locked(lambda: _select_segment_rows(self._reader, names))
            if rows:
                merged = segments.write(map(_to_segment, rows))
                with self._translate_errors(), self._write_lock:
                    self._retry_while_locked(lambda: _assign_segment(self._writer, [row[0] for row in rows], merged))
                segments.delete(*names)
        except Exception as error:  # noqa: BLE001 - whatever the service or the network does: nothing is lost here
            log.warning("%d segments of %s stay small (%s)", len(names), segments.address, type(error).__name__)

    def _sync_segments(self, segments: Segments) -> None:
        """Copy what other machines wrote into the file, and drop what they deleted."""
        try:
            # in this order: what another process of this machine writes in between is not gone
            with self._translate_errors(), self._read_lock:
                known = self._retry_while_locked(lambda: _select_segments(self._reader))
            names = segments.names()
            for name in sorted(names - known):
                rows = segments.read(name)
                with self._translate_errors(), self._write_lock:
                    self._retry_while_locked(partial(_import, self._writer, rows, name))
        except RaftError:
            raise
        except Exception as error:
            raise RaftError(
                f"The paid calls at {segments.address} can't be read ({type(error).__name__}): check the address in "
                "RAFT_CALLS and your role there. Without them the calls would be paid for again."
            ) from error
        if gone := known - names:
            with self._translate_errors(), self._write_lock:
                self._retry_while_locked(lambda: _delete_segments(self._writer, gone))

    def _delete_from_segments(self, segments: Segments, keys: set[str]) -> None:
        """Replace the segments that contain a deleted entry by segments without it."""
        for name in segments.names():
            rows = segments.read(name)
            kept = [row for row in rows if row[0] not in keys]
            if len(kept) < len(rows):
                if kept:
                    moved = segments.write(kept)
                    with self._translate_errors(), self._write_lock:
                        self._retry_while_locked(
                            partial(_assign_segment, self._writer, [row[0] for row in kept], moved)
                        )
                segments.delete(name)

    def _retry_while_locked(self, action: Callable[[], T]) -> T:
        """Retry while other processes hold the file."""
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if (
                    _primary_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                    or time.monotonic() > deadline
                ):
                    raise
            time.sleep(random.uniform(*PAUSE_S))

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RaftError(f"The call store {self.path} {_remedy(sqlite3.SQLITE_CANTOPEN, error.strerror)}") from error
        except sqlite3.Error as error:
            raise RaftError(f"The call store {self.path} {_remedy(_primary_code(error), error)}") from error


def open_call_store(project: Project) -> SqliteCallStore:
    """Open the call store of a project; the caller closes it.

    Raises SettingsError if its address needs an extra that isn't installed, and RaftError as the store does.
    """
    address = project.calls_address
    try:
        segments = (
            Segments(address, storage_options(address, project.environment, storage_credential)) if address else None
        )
    except ImportError as error:
        raise SettingsError(f"RAFT_CALLS is {address}, which needs raft-assets[azure] ({error}).") from error
    return SqliteCallStore(project.calls, segments, SharedCalls(project.coordination) if project.coordination else None)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything or nothing, with the writer's lock from the start: a reader can't always become a writer."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after some errors SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


def _select(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, StoredCall]:
    calls = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        some = keys[start : start + KEYS_PER_QUERY]
        marks = ", ".join("?" * len(some))
        for row in connection.execute(f"{_SELECT_CALLS} WHERE key IN ({marks})", some):
            if call := _from_row(row):
                calls[call.key] = call
    return calls


def _select_page(connection: sqlite3.Connection, after: tuple[float, str]) -> list[tuple[Any, ...]]:
    statement = f"{_SELECT_CALLS} WHERE (created, key) > (?, ?) ORDER BY created, key LIMIT ?"
    return connection.execute(statement, (*after, KEYS_PER_QUERY)).fetchall()


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchall())


def _add_sources_table(connection: sqlite3.Connection) -> None:
    """Add the table of sources to a new file or one of a version before 0.3.0: of its calls only domains are known."""
    if not _has_table(connection, "sources"):  # else another process was faster
        connection.execute(_SOURCES)
        connection.execute("INSERT INTO sources SELECT key, domain, '' FROM calls WHERE domain <> ''")


def _insert_sources(connection: sqlite3.Connection, rows: Sequence[tuple[str, str, str]]) -> None:
    with _transaction(connection):
        connection.executemany(_INSERT_SOURCE, rows)


def _select_sources(connection: sqlite3.Connection, after: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    statement = "SELECT * FROM sources WHERE (key, domain, document) > (?, ?, ?) ORDER BY key, domain, document LIMIT ?"
    return connection.execute(statement, (*after, KEYS_PER_QUERY)).fetchall()


def _delete_sources(connection: sqlite3.Connection, domain: str, document: str | None) -> None:
    chosen = "" if document is None else " AND document = ?"
    statement = f"DELETE FROM sources WHERE domain = ?{chosen}"  # noqa: S608 - one of two constants
    with _transaction(connection):
        connection.execute(statement, (domain,) if document is None else (domain, document))


def _add_sums(connection: sqlite3.Connection) -> None:
    """Add the sums of the stored calls, and triggers that keep them, to a new file or one of a version before 0.3.0."""
    if _has_table(connection, "sums"):  # another process was faster
        return
    if "estimated" not in {name for _, name, *_ in connection.execute("PRAGMA table_info(calls)")}:
        connection.execute("ALTER TABLE calls ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0")
    connection.execute(_SUMS)
    groups, counts = ", ".join(_GROUPED), ", ".join(_SUMMED)
    stored = ", ".join([_MONTH.format(created="created"), *_GROUPED[1:], "count(*)", *(f"sum({n})" for n in _SUMMED)])
    statement = f"INSERT INTO sums ({groups}, calls, {counts}) SELECT {stored} FROM calls GROUP BY 1, 2, 3, 4, 5"  # noqa: S608 - names of columns
    connection.execute(statement)
    for event, row, sign in (("INSERT", "new", "+"), ("DELETE", "old", "-")):
        values = [_MONTH.format(created=f"{row}.created"), *(f"{row}.{name}" for name in _GROUPED[1:])]
        group = " AND ".join(f"{name} = {value}" for name, value in zip(_GROUPED, values, strict=True))
        changed = ", ".join([f"calls = calls {sign} 1", *(f"{n} = {n} {sign} {row}.{n}" for n in _SUMMED)])
        zeros = ", ".join("0" * (1 + len(_SUMMED)))
        # without a conflict: in a trigger, the statement that fired it says what to do about one
        actions = (
            f"INSERT INTO sums SELECT {', '.join(values)}, {zeros} WHERE NOT EXISTS (SELECT 1 FROM sums WHERE {group})",  # noqa: S608 - names of columns
            f"UPDATE sums SET {changed} WHERE {group}",  # noqa: S608 - names of columns
            f"DELETE FROM sums WHERE calls = 0 AND {group}",  # noqa: S608 - names of columns
        )
        name = f"sums_after_{event.lower()}"
        connection.execute(f"CREATE TRIGGER {name} AFTER {event} ON calls BEGIN {'; '.join(actions)}; END")


def _sum_by_model(connection: sqlite3.Connection, month: str | None) -> list[tuple[Any, ...]]:
    sums = ", ".join(f"sum({name})" for name in ("calls", *_SUMMED))
    grouped, of_month = ", ".join(_GROUPED[1:]), "" if month is None else "WHERE month = ?"
    statement = f"SELECT {grouped}, {sums} FROM sums {of_month} GROUP BY {grouped}"  # noqa: S608 - names of columns
    return connection.execute(statement, () if month is None else (month,)).fetchall()


def _select_last_call_time(connection: sqlite3.Connection, service: str, model: str) -> float | None:
    query = "SELECT max(created) FROM calls WHERE service = ? AND model = ?"
    (created,) = connection.execute(query, (service, model)).fetchone()
    return None if created is None else float(created)


def _select_recent_latency(connection: sqlite3.Connection, service: str, model: str) -> float | None:
    newest = (
        "SELECT latency_s FROM calls WHERE service = ? AND model = ? AND status = 'ok' ORDER BY created DESC LIMIT ?"
    )
    query = f"SELECT avg(latency_s) FROM ({newest})"  # noqa: S608 - a statement of ours
    (latency,) = connection.execute(query, (service, model, TIMED_CALLS)).fetchone()
    return None if latency is None else float(latency)


def _select_spooled(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return _select_segment_rows(connection, [SPOOLED])


def _spool_unplaced(connection: sqlite3.Connection) -> None:
    """Spool what was stored while there were no segments."""
    with _transaction(connection):
        unplaced = "SELECT key, ? FROM calls WHERE key NOT IN (SELECT key FROM placed)"
        connection.execute(f"INSERT INTO placed {unplaced}", (SPOOLED,))


def _assign_segment(connection: sqlite3.Connection, keys: Sequence[str], segment: str) -> None:
    with _transaction(connection):
        connection.executemany(_PLACE, [(key, segment) for key in keys])


def _select_segments(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT DISTINCT segment FROM placed")} - {SPOOLED, ELSEWHERE}


def _select_placed(connection: sqlite3.Connection) -> set[str]:
    statement = "SELECT key FROM placed WHERE segment NOT IN (?, ?)"
    return {key for (key,) in connection.execute(statement, (SPOOLED, ELSEWHERE))}


def _select_segment_rows(connection: sqlite3.Connection, segments: Sequence[str]) -> list[tuple[Any, ...]]:
    marks = ", ".join("?" * len(segments))
    placed = f"SELECT key FROM placed WHERE segment IN ({marks})"  # noqa: S608 - question marks
    return connection.execute(f"{_SELECT_CALLS} WHERE key IN ({placed})", segments).fetchall()


def _select_untold(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(f"{_SELECT_CALLS} WHERE key IN (SELECT key FROM untold)").fetchall()  # noqa: S608


def _select_heard(connection: sqlite3.Connection) -> float:
    (until,) = connection.execute("SELECT coalesce(max(until), 0) FROM heard").fetchone()
    return float(until)


def _hear(connection: sqlite3.Connection, forgotten: Iterable[str], until: float) -> bool:
    """Delete what other machines deleted, and remember until when this one knows of it; return whether any was here."""
    keys = [(key,) for key in forgotten]
    with _transaction(connection):
        deleted = connection.executemany("DELETE FROM calls WHERE key = ?", keys).rowcount
        connection.execute("DELETE FROM untold")
        connection.execute("DELETE FROM heard")
        connection.execute("INSERT INTO heard VALUES (?)", (until,))
    return deleted > 0


def _import(
    connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], segment: str | None, *, replace: bool = False
) -> None:
    """Add rows of a segment, of the spool or, without one, of a store that has none; `replace` damaged entries."""
    marks, conflict = ", ".join("?" * len(_NAMES)), "REPLACE" if replace else "IGNORE"
    with _transaction(connection):
        statement = f"INSERT OR {conflict} INTO calls ({_COLUMNS}) VALUES ({marks})"  # noqa: S608 - names of columns
        connection.executemany(statement, map(_from_segment, rows))
        domain = _NAMES.index("domain")  # of the first requester: documents are known where the call was made
        connection.executemany(_INSERT_SOURCE, [(row[0], row[domain], "") for row in rows if row[domain]])
        if segment is not None:
            connection.executemany(_PLACE, [(row[0], segment) for row in rows])


def _to_segment(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row as a segment holds it; one that isn't estimated as versions before 0.3.0 write and read it."""
    return row if row[-1] else row[:-1]


def _from_segment(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row if len(row) == len(_NAMES) else (*row, 0)


def _delete_segments(connection: sqlite3.Connection, segments: Iterable[str]) -> None:
    with _transaction(connection):
        for name in segments:
            connection.execute("DELETE FROM calls WHERE key IN (SELECT key FROM placed WHERE segment = ?)", (name,))
            connection.execute("DELETE FROM placed WHERE segment = ?", (name,))


def _insert(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert the calls, replacing damaged entries: `put` calls this only with keys that have no intact entry."""
    marks = ", ".join("?" * len(_NAMES))
    statement = f"INSERT OR REPLACE INTO calls ({_COLUMNS}) VALUES ({marks})"  # noqa: S608 - names of columns
    connection.executemany(statement, rows)


def _is_chosen(row: tuple[Any, ...], chosen: Callable[[StoredCall], bool]) -> bool:
    """Return whether an entry is to be deleted; a damaged one can't be judged, so it is."""
    call = _from_row(row)
    return call is None or chosen(call)


def _delete(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
    with _transaction(connection):
        connection.executemany("DELETE FROM calls WHERE key = ?", [(key,) for key in keys])


def _overwrite(connection: sqlite3.Connection) -> None:
    """Overwrite in the file what was deleted; raises OperationalError while another process reads the old state."""
    (is_blocked, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_blocked:
        error = sqlite3.OperationalError("the write-ahead log is in use")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error


def _select_totals(connection: sqlite3.Connection) -> tuple[int, ...]:
    sums = ", ".join(f"COALESCE(SUM({column}), 0)" for column in ("calls", *_SUMMED))
    statement = f"SELECT {sums} FROM sums"  # noqa: S608 - names of columns
    totals: tuple[int, ...] = connection.execute(statement).fetchone()
    return totals


def _to_row(call: StoredCall) -> tuple[Any, ...]:
    # a vector's bytes don't get smaller
    payload = call.payload if call.kind == EMBEDDING else zlib.compress(call.payload)
    row = (
        *(call.key, call.service, call.model, call.kind, call.status),
        *(getattr(call.usage, name) for name in _TOKENS),
        *(float(call.latency_s), call.tries, float(call.created)),
        *(call.role, call.origin.asset, call.origin.domain, call.origin.run),
        payload,
    )
    return (*row, short_digest(*row), int(call.usage.estimated > 0))


def _from_row(row: tuple[Any, ...]) -> StoredCall | None:
    *values, checksum, _ = row
    if short_digest(*values) != checksum:
        log.warning("a stored call is damaged and counts as absent: %s", values[0])
        return None
    columns = dict(zip(_NAMES, row, strict=True))
    payload = columns["payload"]
    return StoredCall(
        **{name: columns[name] for name in ("key", "service", "model", "kind", "status", "latency_s", "created")},
        usage=Usage(*(columns[name] for name in _SUMMED)),
        payload=payload if columns["kind"] == EMBEDDING else zlib.decompress(payload),
        tries=columns["tries"],
        role=columns["role"],
        origin=Origin(columns["asset"], columns["domain"], columns["run"]),
    )


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's code without its extension; errors of the Python module itself have none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _remedy(code: int, error: object) -> str:
    remedy = next(
        (text for codes, text in _REMEDIES.items() if code in codes),
        "failed ({error}). Inspect the file with the sqlite3 tool.",
    )
    return remedy.format(error=error)
