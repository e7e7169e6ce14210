"""A real PostgreSQL server on this machine (Debian's package), on a socket and on a port of 127.0.0.1."""

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.ports import Coordination
from raft_assets.settings.coordination import CoordinationDatabase
from raft_assets.settings.environment import Environment
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.postgresql import PostgresCoordination
from raft_assets_tests.processes import free_port

STARTED_WITHIN_S = 60.0
ROLE, PASSWORD = "raft", "correct-horse"
_NUMBERS = itertools.count()


class PostgresServer:
    """A server with trusted connections by its socket and a password over TCP."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self.port = programs, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return self._programs

    @property
    def socket(self) -> Path:
        """The folder of its socket, where everybody is trusted."""
        return self._folder

    def new_database(self) -> str:
        """Create an empty database that the role owns; return its address."""
        name = f"raft{next(_NUMBERS)}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser."""
        command = [self._programs / "psql", "-h", self._folder, "-p", str(self.port), "-U", "postgres", "-d", database]
        return self._run([*map(str, command), "-qAtc", statement]).strip()

    @contextlib.contextmanager
    def encrypted(self, pem: Path) -> Iterator[None]:
        """Answer by TLS as well until the block ends, with a file that has a key and a certificate."""
        file = self._folder / "server.pem"
        file.write_bytes(pem.read_bytes())
        file.chmod(0o600)
        if os.getuid() == 0:
            os.chown(file, *_user())
        for name in ("ssl_cert_file", "ssl_key_file"):
            self.sql(f"ALTER SYSTEM SET {name} = '{file}'")
        self._switch_tls("SET ssl = on", "on")
        try:
            yield
        finally:
            self._switch_tls("RESET ALL", "off")

    def _switch_tls(self, change: str, expected: str) -> None:
        self.sql(f"ALTER SYSTEM {change}")
        self.sql("SELECT pg_reload_conf()")
        until = time.monotonic() + STARTED_WITHIN_S
        while self.sql("SHOW ssl") != expected:  # each is a new session
            assert time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.05)

    def create(self) -> None:
        """Create the files of a server that doesn't run yet."""
        data = str(self._folder / "data")
        self._run([str(self._programs / "initdb"), "-D", data, "-U", "postgres", "--auth-local=trust", "--no-sync"])
        access = self._folder / "data" / "pg_hba.conf"
        trusted = re.compile(r"(host\s+all\s+all\s+127\.0\.0\.1/32\s+)trust")
        access.write_text(trusted.sub(r"\1scram-sha-256", access.read_text()))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        command = [self._programs / "postgres", "-D", self._folder / "data", "-k", self._folder, "-p", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *options], stderr=log, **_as_a_user())  # type: ignore[call-overload]
        until = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.sql("SELECT 1")
                return
            time.sleep(0.1)
        raise AssertionError((self._folder / "log").read_text())

    def stop(self) -> None:
        """End the server at once; its clients lose their connections."""
        if self._process:
            self._process.send_signal(signal.SIGINT)  # "fast": sessions are ended
            self._process.wait()
            self._process = None

    def _run(self, command: list[str]) -> str:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}  # a test's own clients'
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=own, **_as_a_user())  # type: ignore[call-overload]
        return str(done.stdout)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test where there is none, which fails where `RAFT_REQUIRE_POSTGRESQL` is set."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None) or shutil.which("postgres")
    if programs is None:
        if os.environ.get("RAFT_REQUIRE_POSTGRESQL"):
            pytest.fail("no PostgreSQL on this machine, and RAFT_REQUIRE_POSTGRESQL is set")
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="raft-postgresql-") as folder:  # pytest's own are closed to other users
        if os.getuid() == 0:
            os.chown(folder, *_user())
        server = PostgresServer(Path(programs).parent, Path(folder))
        server.create()
        server.start()
        try:
            server.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()


def opened(where: str) -> Coordination:
    """Open what processes share: in a folder, or in a database of this module's server by its address."""
    return PostgresCoordination(database_at(where)) if "://" in where else FileCoordination(Path(where))


def database_at(address: str) -> CoordinationDatabase:
    """Return a database of this module's server by its address."""
    variables = {"RAFT_COORDINATION": address, "RAFT_COORDINATION_PASSWORD": PASSWORD}
    database = CoordinationDatabase.of(Environment(process=variables, files={}))
    assert database
    return database


def _user() -> tuple[int, int]:
    """Return the user of Debian's package: PostgreSQL refuses to run as root."""
    entry = pwd.getpwnam("postgres")
    return entry.pw_uid, entry.pw_gid


def _as_a_user() -> dict[str, object]:
    if os.getuid() != 0:
        return {}
    user, group = _user()
    return {"user": user, "group": group, "extra_groups": [], "cwd": "/"}
