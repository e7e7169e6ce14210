"""`Coordination` by a PostgreSQL database: for the processes of several machines.

State is a row that its holder locks; a claim is an advisory lock, which PostgreSQL releases when the connection ends. A
process has one connection for both. So who loses it has lost its claims, and can touch no shared state until those
claims are closed: nobody goes on spending money that others believe to be free. A pooler that hands one connection to
several clients (PgBouncer in its modes `transaction` and `statement`) can't be used. Paid calls (`shared_calls`) have a
connection of their own: the limits of calls are looked up on the event loop, which must not wait for answers' rows.

See "Explicit Locking" in PostgreSQL's documentation, https://www.postgresql.org/docs/current/explicit-locking.html.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.core.ports import Shared
from raft_assets.llm.azure_sign_in import AzureCredential
from raft_assets.settings.coordination import PASSWORD_VARIABLE, VARIABLE, CoordinationDatabase
from raft_assets.storage.coordination import check_name

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that psycopg2 writes small

INSTALL_HINT = "install raft-assets[hosted]"
SCHEMA = "raft"
CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 30  # for a state that another process holds
IDLE_TIMEOUT_S = 10  # of a process that was stopped while it held a state: the database takes it away
_AZURE_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
_SESSION = (
    f"-c lock_timeout={LOCK_TIMEOUT_S}s -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_S}s "
    # of a machine that vanished, the claims end within a minute
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)
_KEEP_ALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_READ = "SELECT text, extract(epoch FROM clock_timestamp()) FROM raft.shared WHERE name = %s FOR UPDATE"
_ADD = "INSERT INTO raft.shared VALUES (%s, '') ON CONFLICT DO NOTHING"
_WRITE = "UPDATE raft.shared SET text = %s WHERE name = %s"
# the ids of all claims that are held, of whatever machine
HELD_CLAIMS = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_IS_CLAIMED = f"SELECT %s IN ({HELD_CLAIMS})"
_TABLES = (
    "shared (name text PRIMARY KEY, text text NOT NULL)",
    # see `shared_calls`
    "calls (key text PRIMARY KEY, owner bigint NOT NULL, entry text, is_placed boolean NOT NULL DEFAULT false)",
    "forgotten (key text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())",
)
_LAST_MADE = f"{SCHEMA}.not_placed"
_NOT_PLACED = f"CREATE INDEX IF NOT EXISTS not_placed ON {SCHEMA}.calls (owner) WHERE entry IS NOT NULL"


class CoordinationError(RaftError):
    """The database that processes share can't be used; no paid call is made without it."""


class PostgresClaim:
    """An advisory lock of this process's connection."""

    def __init__(self, session: "_Session", name: str, number: int) -> None:
        self._session, self._name, self._number = session, name, number

    def close(self) -> None:
        """Release the claim; a second call does nothing, nor does one after the connection was lost."""
        self._session.release(self._name, self._number)


class PostgresCoordination:
    """The state `limits/a` is a row of `raft.shared`; claims are advisory locks by a hash of their names."""

    def __init__(self, database: CoordinationDatabase, connection: str = "") -> None:
        """Share this process's connection of that name, which is opened when it is first needed."""
        self._session = _session_of(database, connection)

    def now(self) -> float:
        """Return the seconds since 1970 by the database's clock; see `Coordination.now`."""
        return self._session.now()

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[Shared]:
        """Hold the state of that name, for milliseconds, while others wait; see `Coordination.shared`.

        Raises CoordinationError if the database can't be reached, or another process holds the state for
        `LOCK_TIMEOUT_S`.
        """
        check_name(name)
        with self._session.transaction() as cursor:
            before = self._session.lock_row(cursor, name)
            shared = Shared(before)
            yield shared
            if shared.text != before:
                cursor.execute(_WRITE, (shared.text, name))

    def claim(self, name: str) -> PostgresClaim | None:
        """Take the claim of that name; None, at once, where another claim holds it, also one of this process."""
        check_name(name)
        number = self._session.claim(name)
        return None if number is None else PostgresClaim(self._session, name, number)

    def is_claimed(self, name: str) -> bool:
        """Return whether the name is claimed by a process of any machine."""
        check_name(name)
        return self._session.is_claimed(name)

    def statements(self) -> AbstractContextManager[Any]:
        """Open a cursor of this process's connection; every statement is a transaction of its own.

        Raises CoordinationError as `shared` does.
        """
        return self._session.cursor()


class _Session:
    """The one connection of this process to a database; its threads take turns."""

    def __init__(self, database: CoordinationDatabase) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._opened_by = 0  # the process: a child that was forked has no connection of its own
        self._numbers = itertools.count()
        self._held = dict[str, int]()  # name of a claim to its number
        self._offset: float | None = None  # of the database's clock from this machine's monotonic one

    def now(self) -> float:
        if self._offset is None:
            with self.cursor() as cursor:
                cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
                self._set_clock(cursor.fetchone()[0])
        return time.monotonic() + (self._offset or 0.0)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
            except BaseException:
                with contextlib.suppress(Exception):  # a connection that is gone has rolled back
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def lock_row(self, cursor: Any, name: str) -> str:
        """Lock the row of a state until the transaction ends, and return its text; create one that isn't there yet."""
        cursor.execute(_READ, (name,))
        row = cursor.fetchone()
        if row is None:
            cursor.execute(_ADD, (name,))
            cursor.execute(_READ, (name,))
            row = cursor.fetchone()
        text, epoch = row
        self._set_clock(epoch)  # again and again: a machine that sleeps stops its monotonic clock
        return str(text)

    def claim(self, name: str) -> int | None:
        """Take a claim and return its number; None if it is taken."""
        with self.cursor() as cursor:
            if name in self._held:
                return None
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (claim_id(name),))
            if not cursor.fetchone()[0]:
                return None
            self._held[name] = next(self._numbers)
            return self._held[name]

    def release(self, name: str, number: int) -> None:
        with self._lock:
            if self._held.get(name) != number or os.getpid() != self._opened_by:
                return
            del self._held[name]
            if self._connection is None:  # lost, and the claim with it
                return
            with contextlib.suppress(CoordinationError), self.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (claim_id(name),))

    def is_claimed(self, name: str) -> bool:
        with self.cursor() as cursor:
            if name in self._held:
                return True
            cursor.execute(_IS_CLAIMED, (claim_id(name),))
            return bool(cursor.fetchone()[0])

    def _set_clock(self, epoch: Any) -> None:
        self._offset = float(epoch) - time.monotonic()

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        with self._lock:
            connection = self._open()
            import psycopg2  # which is there now

            try:
                with connection.cursor() as cursor:
                    yield cursor
            except psycopg2.errors.LockNotAvailable as error:
                raise CoordinationError(
                    f"Another process has held the shared state for over {LOCK_TIMEOUT_S} s in the database of "
                    f"{VARIABLE}. Nothing was sent; look for a machine that hangs, and run again."
                ) from error
            except psycopg2.Error as error:
                if (
                    not isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
                    and not connection.closed
                ):
                    raise CoordinationError(
                        f"The database of {VARIABLE} refused a statement: {_first_line(error)}. "
                        f"Check what the role may do in the schema {SCHEMA}, and run again."
                    ) from error
                self._lose(connection)
                raise CoordinationError(
                    f"The connection to the database of {VARIABLE} is lost ({_first_line(error)}): no further call is "
                    "sent, and paid answers are kept. Run again when it can be reached."
                ) from error

    def _lose(self, connection: "Connection") -> None:
        with contextlib.suppress(Exception):
            connection.close()
        self._connection = None

    def _open(self) -> "Connection":
        if os.getpid() != self._opened_by:
            self._connection, self._held, self._opened_by = None, {}, os.getpid()
        if self._connection is None and self._held:
            raise CoordinationError(
                f"The connection to the database of {VARIABLE} was lost, and with it what this process held: no "
                "further call is sent, and paid answers are kept. Run again."
            )
        if self._connection is None:
            self._connection = _connect(self._database)
        return self._connection


@cache
def _session_of(database: CoordinationDatabase, connection: str) -> _Session:  # noqa: ARG001 - the cache's key
    return _Session(database)


def _connect(database: CoordinationDatabase) -> "Connection":
    """Open a connection and create the schema where it is missing.

    Raises SettingsError if psycopg2 isn't installed, EndpointError if signing in to Azure fails, else
    CoordinationError.
    """
    try:
        import psycopg2
    except ImportError as error:
        raise SettingsError(f"{VARIABLE} needs psycopg2: {INSTALL_HINT}, or unset it on a single machine.") from error
    try:
        connection = psycopg2.connect(
            database.address,
            **dict(database.options),
            **_password(database),
            **_KEEP_ALIVE,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="raft-assets",
            options=_SESSION,
        )
    except psycopg2.Error as error:
        raise CoordinationError(
            f"The database of {VARIABLE} can't be reached ({_first_line(error)}): no call is sent without it, and paid "
            f"answers are kept. Start it, or check {VARIABLE} and {PASSWORD_VARIABLE}, and run again."
        ) from error
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NULL", (_LAST_MADE,))
            if cursor.fetchone()[0]:
                _create_schema(cursor)
    except psycopg2.Error as error:
        connection.close()
        raise CoordinationError(
            f"The role may not create the schema {SCHEMA} in the database of {VARIABLE} ({_first_line(error)}): let "
            f"the database's owner run `CREATE SCHEMA {SCHEMA} AUTHORIZATION` with the role's name."
        ) from error
    return connection


def _create_schema(cursor: Any) -> None:
    """Create what is missing, one process at a time: two that create a schema at once would collide."""
    cursor.execute("SELECT pg_advisory_lock(%s)", (claim_id(SCHEMA),))
    try:
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", (SCHEMA,))
        if cursor.fetchone()[0]:  # asked, as CREATE ... IF NOT EXISTS needs the right even where it exists
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        for table in _TABLES:
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{table}")
        cursor.execute(_NOT_PLACED)
    finally:
        cursor.execute("SELECT pg_advisory_unlock(%s)", (claim_id(SCHEMA),))


def _password(database: CoordinationDatabase) -> dict[str, str]:
    if database.password:
        return {"password": database.password.get_secret_value()}
    if not database.signs_in_to_azure:
        return {}
    credential = AzureCredential(f"{VARIABLE} is on Azure and has no password", f"set {PASSWORD_VARIABLE}")
    return {"password": credential.get_token(_AZURE_SCOPE).token}


def claim_id(name: str) -> int:
    """Return the 64 bits, signed, by which PostgreSQL knows a claim."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8, person=b"raft claim").digest(), "big", signed=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
