"""What `raft ui` does: it keeps the Dagster UI's programs running, as one UI per project.

The code servers come first, then the webserver, then the daemon, each when the one before answers: a daemon that finds
no code server fails whole backfills. No program waits for another's heartbeat, so that a machine may sleep.
"""

import json
import os
import shlex
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import dagster as dg
import yaml
from sqlalchemy.exc import SQLAlchemyError

from raft_assets.cli.project import activate_project, open_instance
from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.defs.dagster_internals import (
    CodeLocation,
    code_locations,
    code_server_answers,
    code_server_command,
    daemon_command,
)
from raft_assets.defs.lineage_asset import main_path_address
from raft_assets.defs.pools import limit_pools
from raft_assets.defs.runs import close_killed_runs, interrupt_canceled_runs
from raft_assets.operations.local_models import serving_student
from raft_assets.operations.process import (
    WORKER_VARIABLES,
    current_process,
    is_process_alive,
    machine_coordination,
    process_of,
)
from raft_assets.operations.supervisor import Service, Supervisor, end_groups
from raft_assets.settings.project import Project

HOST = "127.0.0.1"
TICK_S = 1.0
CLOSE_EVERY_S = 15.0  # what was killed is closed within a minute
ANSWER_TIMEOUT_S = 2.0
LEFT_BEHIND_S = 20.0  # for programs of a UI that was killed to end
CLAIM = "ui"
SETTINGS_FILES = (".env", ".env.state", "config.json")
# Dagster would fail a backfill whose code server is replaced meanwhile
DAEMON_VARIABLES = {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}


def start_ui(port: int) -> None:
    """Serve the UI until the process is interrupted.

    Raises RaftError where it runs already, the port is taken, or there is no project.
    """
    project = Project.load()
    if not project.workspace_file.is_file():
        raise RaftError(f"{project.folder} is no project, as it has no {project.workspace_file.name}: raft init.")
    address = f"http://{HOST}:{port}"
    with open_instance(project) as instance, _sole_ui(project, address) as note, _interrupted_by_every_signal():
        _check_port(port)
        for closed in close_killed_runs(instance, without_ui=True):
            _say(f"closed run {closed[:8]}, whose process had been killed")
        with (
            serving_student(project, _say) as served,
            tempfile.TemporaryDirectory(prefix="raft-ui-") as folder,
        ):
            limit_pools(instance, served)
            services = UiServices(served, port, Path(folder))
            supervisor = Supervisor(services, folder=project.folder, say=_say)
            try:
                _supervise(supervisor, instance, note, address)
            except KeyboardInterrupt:
                _say("The UI ends; runs that it started are interrupted, and finished work is kept.")
            finally:
                supervisor.end()
                close_killed_runs(instance, without_ui=True)


def _supervise(
    supervisor: Supervisor, instance: dg.DagsterInstance, note: Callable[[list[int]], None], address: str
) -> None:
    announced, noted, closed_at = False, list[int](), time.monotonic()
    while True:
        ready = supervisor.tick()
        if (processes := supervisor.processes()) != noted:
            note(processes)
            noted = processes
        if ready and not announced:
            _say(f"Dagster UI at {address} (Ctrl-C ends it)")
            _say(f"The lineage, from documents to the report: {main_path_address(address)}")
            announced = True
        if time.monotonic() - closed_at > CLOSE_EVERY_S:
            _tend_runs(instance)
            closed_at = time.monotonic()
        time.sleep(TICK_S)


def _tend_runs(instance: dg.DagsterInstance) -> None:
    try:
        interrupt_canceled_runs(instance)
        for closed in close_killed_runs(instance):
            _say(f"closed run {closed[:8]}, whose process had been killed")
    except (SQLAlchemyError, dg.DagsterError) as error:  # such as a locked database: the next look finds the same runs
        _say(f"runs were not looked at: {' '.join(str(error).split())[:200]}")


class UiServices:
    """The programs of a project's UI. They meet in sockets and a workspace file of `folder`, which is private."""

    def __init__(self, project: Project, port: int, folder: Path) -> None:
        self._project, self._port, self._folder = project, port, folder
        self._workspace = folder / "workspace.yaml"
        self._locations: list[CodeLocation] = []
        self._read: object = None
        self._activated = self._settings_state()

    def __call__(self) -> list[Service]:
        """Return the services in the order of their start, by what stands in `workspace.yaml` now."""
        self._follow_settings()
        self._follow_workspace()
        servers = [
            self._code_server(index, location)
            for index, location in enumerate(self._locations)
            if location.target is not None
        ]
        return [*servers, self._webserver(), self._daemon()]

    def _follow_settings(self) -> None:
        """Let changed settings reach the generated part of `dagster.yaml` and the programs that start from now on."""
        if (state := self._settings_state()) == self._activated:
            return
        self._activated = state
        try:
            activate_project(Project.load(self._project.folder))
        except RaftError as error:
            _say(f"settings as before: {error}")

    def _follow_workspace(self) -> None:
        state = _states([self._project.workspace_file])
        if state == self._read:
            return
        self._read = state
        try:
            self._locations = code_locations(self._project.workspace_file)
        except SettingsError as error:
            if not self._locations:
                raise
            _say(f"code locations as before: {error}")
            return
        entries = [
            {
                "grpc_server": {"location_name": location.name, "host": "localhost"}
                | (dict(location.address) or {"socket": str(self._link(index))})
            }
            for index, location in enumerate(self._locations)
        ]
        self._workspace.write_text(yaml.safe_dump({"load_from": entries}), "utf-8")

    def _code_server(self, index: int, location: CodeLocation) -> Service:
        def address(number: int) -> Path:
            return self._folder / f"{index}-{number}.sock"

        def publish(number: int) -> None:
            """Lead the one address that all others know to this server."""
            draft = self._folder / f"{index}.draft"
            draft.symlink_to(address(number))
            draft.replace(self._link(index))

        return Service(
            name=f"code server {location.name}",
            command=lambda number: code_server_command(location, address(number)),
            answers=lambda number: code_server_answers(address(number)),
            inputs=lambda: (self._settings_state(), location, _package_state()),
            publish=publish,
            variables=WORKER_VARIABLES,  # which the runs that it starts inherit
        )

    def _webserver(self) -> Service:
        options = ("--host", HOST, "--port", str(self._port), "--workspace", str(self._workspace))
        return Service(
            name="webserver",
            command=lambda _: [sys.executable, "-m", "dagster_webserver", *options],
            answers=lambda _: _answers(f"http://{HOST}:{self._port}/server_info"),
            inputs=self._instance_state,
            end_s=3.0,  # it waits for every open tab, and nothing is lost
        )

    def _daemon(self) -> Service:
        return Service(
            name="daemon",
            command=lambda _: daemon_command(self._workspace),
            answers=lambda _: True,
            inputs=self._instance_state,
            variables=DAEMON_VARIABLES,
        )

    def _link(self, index: int) -> Path:
        return self._folder / f"{index}.sock"

    def _settings_state(self) -> object:
        return _states(self._project.folder / name for name in SETTINGS_FILES)

    def _instance_state(self) -> object:
        return _states([self._project.dagster_home / "dagster.yaml", self._workspace])


@contextmanager
def _sole_ui(project: Project, address: str) -> Iterator[Callable[[list[int]], None]]:
    """Make this process the project's UI, and end what is left of one that was killed.

    Yields a function that notes the ids of its programs. Raises RaftError with the address of a UI that runs.
    """
    coordination = machine_coordination(project)
    claim = coordination.claim(CLAIM)
    before: dict[str, Any] = {}
    with coordination.shared(CLAIM) as shared, suppress(ValueError):  # cut off where the machine stopped
        before = json.loads(shared.text)
    if claim is None:
        where = f" at {before['address']}" if before else ""
        raise RaftError(f"The UI of {project.folder} runs already{where}: use it, or end it there with Ctrl-C.")

    def note(processes: Sequence[int]) -> None:
        programs = [process for pid in processes if (process := process_of(pid))]
        with coordination.shared(CLAIM) as shared:
            shared.text = json.dumps({"address": address, "process": current_process(), "programs": programs})

    with closing(claim):
        left = [int(process.split("@")[0]) for process in before.get("programs", ()) if is_process_alive(process)]
        end_groups([(pid, LEFT_BEHIND_S) for pid in left])
        note([])
        try:
            yield note
        finally:
            with coordination.shared(CLAIM) as shared:
                shared.text = ""


@contextmanager
def _interrupted_by_every_signal() -> Iterator[None]:
    """Let `kill` and a closed terminal end the UI as Ctrl-C does, however it was started."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # SIGINT as well: a script starts a program in the background with SIGINT ignored, and children would inherit that
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it was started by `nohup`
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _check_port(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            command = shlex.join(["raft", "ui", "--port", str(port + 1 if port < 65535 else 3000)])
            raise RaftError(f"Port {port} of {HOST} can't be used ({error.strerror}): {command}") from error


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_TIMEOUT_S) as response:  # noqa: S310 - an http address of ours
            return bool(response.status == 200)
    except OSError:
        return False


def _package_state() -> object:
    """Return the state of the package's files, those that Python writes left out."""
    package = Path(str(files("raft_assets")))
    return _states(
        Path(folder, name)
        for folder, _, names in os.walk(package)
        if not folder.endswith("__pycache__")
        for name in names
    )


def _states(paths: Iterable[Path]) -> object:
    """Return what changes when one of the files is written, added or removed."""
    found = {}
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be closed while the programs are still to be ended
        click.echo(line)
