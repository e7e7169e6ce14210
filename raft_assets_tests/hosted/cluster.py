"""The platform on several machines: PostgreSQL and Blob storage in common, and a disk of its own for each program.

Where the system allows it, a machine is a set of namespaces: all of them have their disk at the same path and the same
process ids, as containers have, and none can reach another one's disk.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import psutil

from raft_assets.operations.platform import Platform
from raft_assets.settings.hosted import HostedPlatform
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore
from raft_assets_tests.azure.blob import CONTAINER, storage_account
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.hosted.hosts import ask
from raft_assets_tests.hosted.platform import HOSTED, container_variables
from raft_assets_tests.hosted.watched_provider import WatchedProvider, watched_provider
from raft_assets_tests.postgresql import PASSWORD, ROLE, PostgresServer
from raft_assets_tests.processes import free_port

DEADLINE_S = 600.0  # for what takes a minute on an idle machine
HOSTS = ("one", "two")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
ON_ITS_DISK = 'mount --bind "$1" "$2" && mount -t tmpfs none "$3" && cd "$2" && shift 3 && exec "$@"'
LAUNCHER = """
run_launcher:
  module: raft_assets_tests.hosted.hosts
  class: HostsRunLauncher
  config: { hosts: { env: TEST_HOSTS } }
"""
CODE_SERVER = (
    *("dagster", "api", "grpc", "--module-name", "raft_assets.definitions", "--host", "127.0.0.1"),
    *("--location-name", "raft_assets", "--lazy-load-user-code", "--inject-env-vars-from-instance", "--port"),
)


@cache
def may_isolate() -> bool:
    """Return whether namespaces can be made here."""
    if shutil.which("unshare") is None:
        return False
    command = [*_namespaces(), "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _namespaces() -> list[str]:
    return [*NAMESPACES, *(["--user", "--map-root-user"] if os.getuid() else [])]


@dataclass
class Cluster:
    """Machines by name; `service` answers for all models, `shared` are the variables that all of them have."""

    folder: Path
    server: PostgresServer
    service: WatchedProvider
    shared: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def disk(self, name: str) -> Path:
        """The folder that is a machine's disk."""
        return self.folder / "disks" / name

    def variables(self, name: str) -> dict[str, str]:
        """The environment of a machine's programs."""
        place = self.folder / "machine" if may_isolate() else self.disk(name)
        return container_variables(place) | self.shared

    def start(self, name: str, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a program as the only one of a machine, whose disk is made where it has none."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(name, command),
                env=self.variables(name) | variables,
                cwd=self.disk(name),
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        return self.processes[name]

    def run(self, name: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program on a machine to its end."""
        return subprocess.run(
            self._command(name, command),
            env=self.variables(name) | variables,
            cwd=self.disk(name),
            text=True,
            capture_output=True,
            check=False,
        )

    def _command(self, name: str, command: tuple[str, ...]) -> list[str]:
        self.disk(name).mkdir(parents=True, exist_ok=True)
        shutil.copy(HOSTED / "workspace.yaml", self.disk(name))
        entered = [str(HOSTED / "entrypoint.sh"), *command]
        if not may_isolate():
            return entered
        (machine := self.folder / "machine").mkdir(exist_ok=True)
        places = [str(self.disk(name)), str(machine), str(self.disk(name).parent)]
        return [*_namespaces(), "sh", "-c", ON_ITS_DISK, "sh", *places, *entered]

    def start_host(self, name: str, **variables: str) -> None:
        """Start a machine that executes runs, and wait until it does."""
        self.start(name, sys.executable, "-m", "raft_assets_tests.hosted.hosts", str(self.ports[name]), **variables)
        until(lambda: ask(self.ports[name], "") is not None, DEADLINE_S)

    def lose(self, name: str) -> None:
        """kill -9 of all that a machine runs, and the end of its disk."""
        process = self.processes.pop(name)
        with suppress(psutil.NoSuchProcess):
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()
        shutil.rmtree(self.disk(name))

    def end(self) -> None:
        """Lose all machines."""
        for name in list(self.processes):
            self.lose(name)

    def upload(self, domain: str, documents: Mapping[str, bytes]) -> None:
        """Put documents into the container, as a person does."""
        from azure.storage.blob import ContainerClient

        account = self.shared["AZURE_STORAGE_CONNECTION_STRING"]
        with ContainerClient.from_connection_string(account, CONTAINER) as container:
            for name, content in documents.items():
                container.upload_blob(f"data/{domain}/{name}", content)

    @property
    def lake(self) -> Lake:
        """The lake that the machines share."""
        return Lake.of(self._project)

    @property
    def results(self) -> ResultsStore:
        """The evaluations, as another machine reads them."""
        return ResultsStore.of(self._project)

    @property
    def _project(self) -> Project:
        return Project.load(self.folder, self.shared)

    def stored_calls(self) -> int:
        """How many answers are stored where all machines find them."""
        database = self.shared["RAFT_COORDINATION"].partition("?")[0].rpartition("/")[2]
        return int(self.server.sql("SELECT count(*) FROM raft.calls WHERE entry IS NOT NULL OR is_placed", database))

    @cached_property
    def platform(self) -> Platform:
        """The webserver, as a laptop reaches it."""
        return Platform(HostedPlatform(self.address, None))

    @property
    def address(self) -> str:
        """The webserver's address."""
        return f"http://127.0.0.1:{self.ports['webserver']}"

    def wait_until_known(self, *domains: str) -> None:
        """Wait until the daemon's sensor has seen the documents of domains."""
        until(lambda: set(domains) <= set(self.platform.domains("source_documents")), DEADLINE_S)


@contextmanager
def cluster(folder: Path, server: PostgresServer, **variables: str) -> Iterator[Cluster]:
    """A platform whose runs are executed by two hosts; the machines of its other programs are no hosts."""
    parts, ports = folder / "parts", {name: free_port() for name in (*HOSTS, "code server", "webserver")}
    shutil.copytree(HOSTED / "instance", parts / "instance")
    shutil.copy(HOSTED / "dagster.yaml", parts)
    (parts / "instance" / "launcher-hosts.yaml").write_text(LAUNCHER)
    with ExitStack() as stack:
        account = stack.enter_context(storage_account(folder / "account"))
        service = stack.enter_context(watched_provider(folder / "service"))
        found = Cluster(folder, server, service, _shared(parts, server, service, account, ports) | variables, ports)
        stack.callback(found.end)
        found.start("code server", *CODE_SERVER, str(ports["code server"]))
        for name in HOSTS:
            found.start_host(name)
        wait = {"RAFT_WAIT_FOR_CODE_SERVER": "1"}
        found.start("daemon", "dagster-daemon", "run", "--workspace", "workspace.yaml", **wait)
        served = ("--host", "127.0.0.1", "--port", str(ports["webserver"]), "--workspace", "workspace.yaml")
        found.start("webserver", "dagster-webserver", *served, **wait)
        stack.enter_context(closing(found.platform))
        until(lambda: _answers(found.platform), DEADLINE_S)
        yield found


def _answers(platform: Platform) -> bool:
    from raft_assets.operations.platform import PlatformError

    with suppress(PlatformError):
        platform.check()
        return True
    return False


def _shared(
    parts: Path, server: PostgresServer, service: WatchedProvider, account: str, ports: Mapping[str, int]
) -> dict[str, str]:
    history, coordination = (server.new_database().rpartition("/")[2] for _ in range(2))
    models = {"TEACHER": "embedded-teacher", "EMBEDDING": "embedded-encoder", "STUDENT": "embedded-reader"}
    return {
        "PGHOST": str(server.socket),
        "DAGSTER_POSTGRES_PORT": str(server.port),
        "DAGSTER_POSTGRES_DB": history,
        "DAGSTER_POSTGRES_USER": ROLE,
        "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        "RAFT_INSTANCE_PARTS": str(parts),
        "RAFT_RUN_LAUNCHER": "hosts",
        "TEST_HOSTS": ",".join(f"{name}:{ports[name]}" for name in HOSTS),
        "RAFT_CODE_SERVER_HOST": "127.0.0.1",
        "RAFT_CODE_SERVER_PORT": str(ports["code server"]),
        "RAFT_QUEUE_INTERVAL_S": "1",
        "RAFT_MAX_CONCURRENT_RUNS": "2",
        "RAFT_COORDINATION": f"postgresql://{ROLE}@:{server.port}/{coordination}?host={server.socket}",
        "RAFT_DATA": f"abfs://{CONTAINER}/data",
        "RAFT_LAKE": f"abfs://{CONTAINER}/lake",
        "RAFT_CALLS": f"abfs://{CONTAINER}/calls",
        "AZURE_STORAGE_CONNECTION_STRING": account,
        **{f"{role}_OPENAI_BASE_URL": service.url for role in models},
        **{f"{role}_OPENAI_DEPLOYMENT": model for role, model in models.items()},
        **{f"{role}_MAX_CONCURRENT_CALLS": "4" for role in (*models, "BASELINE")},
    }
