"""The platform's programs on this machine, as `infra/hosted` starts them, over a real PostgreSQL server."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._cli.job import _create_run
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.daemon import DagsterDaemon, MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from raft_assets_tests.harness import REPOSITORY
from raft_assets_tests.postgresql import PASSWORD, ROLE, PostgresServer
from raft_assets_tests.processes import free_port

HOSTED = REPOSITORY / "infra" / "hosted"
WITHIN_S = 120.0


def image_variables() -> dict[str, str]:
    """The variables of the Dockerfile, but for its PATH."""
    text = (HOSTED / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    (found,) = re.findall(r"^ENV (PATH=.*)$", text, re.MULTILINE)
    named = dict(part.split("=", 1) for part in found.split())
    return {name: value for name, value in named.items() if name != "PATH"}


def entered(folder: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the image's entry point does, with nothing of the tester's own configuration."""
    return subprocess.run(
        [str(HOSTED / "entrypoint.sh"), *command],
        env=container_variables(folder) | changes,
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


def container_variables(folder: Path) -> dict[str, str]:
    """The environment of a container whose writable folders lie in `folder`."""
    plain = {name: os.environ[name] for name in ("LANG", "HOME", "PYTHONPATH") if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    moved = {
        "DAGSTER_HOME": str(folder / "home"),
        "RAFT_PROJECT": str(folder),
        "RAFT_HOME": str(folder / "state"),
        "RAFT_COMPUTE_LOGS_FOLDER": str(folder / "compute_logs"),
        "RAFT_INSTANCE_PARTS": str(HOSTED),
    }
    return plain | image_variables() | {"PATH": path} | moved


class Platform:
    """One platform; `tick()` does what the daemon does at intervals."""

    def __init__(self, folder: Path, server: PostgresServer, context: WorkspaceProcessContext) -> None:
        self.folder, self._server, self._context = folder, server, context
        self.instance = context.instance
        self._daemons: list[DagsterDaemon] = [  # type: ignore[type-arg]
            MonitoringDaemon(interval_seconds=1),
            EventLogConsumerDaemon(),
            QueuedRunCoordinatorDaemon(interval_seconds=1),
        ]

    def submit(self, domain: str) -> str:
        """Put a run of a domain into the queue."""
        request = self._context.create_request_context()
        location = request.get_code_location("raft_assets")
        (repository,) = location.get_repositories().values()
        job = repository.get_full_job("lineage")
        run = _create_run(self.instance, location, repository, job, {}, {"dagster/partition": domain}, None, None)
        self.instance.submit_run(run.run_id, request)
        return run.run_id

    def launch_backfill(self, *domains: str) -> str:
        """Submit every asset of some domains, as the webserver does."""
        graph = self._context.create_request_context().asset_graph
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="everything",
            asset_graph=graph,
            partition_names=domains,
            asset_selection=sorted(graph.materializable_asset_keys),
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=self.instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        self.instance.add_backfill(backfill)
        return backfill.backfill_id

    def backfill_status(self, backfill: str) -> str:
        """The state of a backfill."""
        found = self.instance.get_backfill(backfill)
        assert found
        return found.status.value

    @contextmanager
    def another_daemon(self) -> Iterator["Platform"]:
        """A daemon that has just started, and knows of the code server what this one answers now."""
        with WorkspaceProcessContext(self.instance, WorkspaceFileTarget([str(HOSTED / "workspace.yaml")])) as context:
            yield Platform(self.folder, self._server, context)

    def tick(self) -> None:
        """Let every daemon look once."""
        list(execute_backfill_iteration(self._context, logging.getLogger("backfills")))
        for daemon in self._daemons:
            list(daemon.run_iteration(self._context))

    def status(self, run: str) -> str:
        """The state of a run."""
        found = self.instance.get_run_by_id(run)
        assert found
        return found.status.value

    def last(self, run: str) -> str:
        """The run that took the place of a run, or of one that did, and so on; the run itself where none did."""
        places = {one.parent_run_id: one.run_id for one in self.instance.get_runs()}
        while run in places:
            run = places[run]
        return run

    def wait(self, is_so: Callable[[], object], what: str) -> None:
        """Wait for what another process does."""
        until = time.monotonic() + WITHIN_S
        while not is_so():
            assert time.monotonic() < until, f"{what}: not within {WITHIN_S} s"
            time.sleep(0.1)

    @contextmanager
    def code_server(self) -> Iterator[subprocess.Popen[bytes]]:
        """A code server with the processes of its runs; at the end all of them are killed, as with a machine."""
        location = Path(__file__).with_name("location.py")
        serve = ["dagster", "api", "grpc", "--python-file", str(location), "--host", "127.0.0.1"]
        process = subprocess.Popen(
            [str(HOSTED / "entrypoint.sh"), *serve, "--port", os.environ["RAFT_CODE_SERVER_PORT"]],
            env=os.environ | container_variables(self.folder) | platform_variables(self.folder, self._server),
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.wait(self._answers, "the code server answers")
            self._context.reload_code_location("raft_assets")
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        from dagster._grpc.client import DagsterGrpcClient

        client = DagsterGrpcClient(host="127.0.0.1", port=int(os.environ["RAFT_CODE_SERVER_PORT"]))
        with suppress(Exception):
            return client.health_check_query() == "SERVING"
        return False


def platform_variables(folder: Path, server: PostgresServer) -> Mapping[str, str]:
    """Where this test's database and code server are."""
    return {
        "PGHOST": str(server.socket),
        "DAGSTER_POSTGRES_PORT": str(server.port),
        "DAGSTER_POSTGRES_DB": (folder / "database").read_text().rpartition("/")[2],
        "DAGSTER_POSTGRES_USER": ROLE,
        "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        "RAFT_CODE_SERVER_HOST": "127.0.0.1",
        "RAFT_CODE_SERVER_PORT": os.environ.get("RAFT_CODE_SERVER_PORT") or str(free_port()),
        "PLATFORM_FOLDER": str(folder),
    }


@contextmanager
def platform_instance(
    folder: Path, server: PostgresServer, set_variable: Callable[[str, str], None]
) -> Iterator[dg.DagsterInstance]:
    """The instance of `infra/hosted/dagster.yaml` over a database of its own, in this process."""
    (folder / "database").write_text(server.new_database())
    variables = container_variables(folder) | platform_variables(folder, server)
    done = entered(folder, "true", **variables)
    assert done.returncode == 0, done.stderr
    for name, value in variables.items():
        if name not in ("PATH", "HOME", "PYTHONPATH"):
            set_variable(name, value)
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        yield instance


@contextmanager
def platform(folder: Path, server: PostgresServer, set_variable: Callable[[str, str], None]) -> Iterator[Platform]:
    """A platform without a code server yet."""
    with (
        platform_instance(folder, server, set_variable) as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(HOSTED / "workspace.yaml")])) as context,
    ):
        yield Platform(folder, server, context)
