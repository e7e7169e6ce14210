"""The programs of `raft ui`: one UI per project, what dies comes back, what was killed is closed, nothing is left."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from raft_assets_tests.defs.test_ui import CODE_LOCATION, LAUNCH, SENSORS, Ui, answers, wait_until
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.processes import free_port, kill_tree

TEXT = "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"
LOCATIONS = (
    """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"""
)
SENSOR_TICKS = """query($selector: RepositorySelector!) { sensorsOrError(repositorySelector: $selector) {
  ... on Sensors { results { id name sensorState { ticks(limit: 1) { status } } } } } }"""
STOP_SENSOR = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
END_S = 90  # for all programs to end on a busy machine; what doesn't end is killed long before


def runs(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about yet doesn't."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunningUi(Ui):
    """A `raft ui` and the processes below it."""

    def __init__(self, project: ProjectHarness, port: int, process: subprocess.Popen[bytes]) -> None:
        super().__init__(project, port)
        self.process = process

    def program(self, word: str) -> psutil.Process:
        """The newest program whose command line has the word."""
        found = [child for child, words in self._children() if word in words]
        return max(found, key=lambda child: child.create_time())

    def code_servers(self) -> int:
        return sum("grpc" in words for _, words in self._children())

    def everything(self) -> list[psutil.Process]:
        return [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]

    def is_whole(self) -> bool:
        """Whether the three programs run, the webserver answers, and the code location is loaded under its name."""
        words = {word for _, line in self._children() for word in line}
        if not {"grpc", "dagster_webserver", "dagster._daemon"} <= words or not answers(self):
            return False
        (entry,) = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        assert entry["name"] == "raft_assets"
        return bool((entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation")

    def launch(self, *domains: str, assets: tuple[str, ...] = ("source_documents",)) -> None:
        selection = [{"path": [asset]} for asset in assets]
        launched = self.ask(LAUNCH, params={"assetSelection": selection, "partitionNames": list(domains)})
        assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched

    def sensor_states(self) -> dict[str, str]:
        listed = self.ask(SENSORS, selector=CODE_LOCATION)["sensorsOrError"]["results"]
        return {sensor["name"]: sensor["sensorState"]["status"] for sensor in listed}

    def stop_sensor(self, name: str) -> None:
        """Stop a sensor after its first tick: the daemon writes the state that it read before a tick back after it."""
        wait_until(lambda: self._newest_tick(name) in ("SUCCESS", "SKIPPED"), f"the first tick of {name}")
        stopped = self.ask(STOP_SENSOR, id=self._sensor(name)["id"])["stopSensor"]
        assert stopped["__typename"] == "StopSensorMutationResult"
        wait_until(lambda: self.sensor_states()[name] == "STOPPED", f"{name} to be stopped")

    def _newest_tick(self, name: str) -> str | None:
        return next((tick["status"] for tick in self._sensor(name)["sensorState"]["ticks"]), None)

    def _sensor(self, name: str) -> dict[str, Any]:
        listed = self.ask(SENSOR_TICKS, selector=CODE_LOCATION)["sensorsOrError"]["results"]
        (found,) = (sensor for sensor in listed if sensor["name"] == name)
        return dict(found)

    def _children(self) -> list[tuple[psutil.Process, list[str]]]:
        """The programs that run, with the words of their command lines."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and (words := child.cmdline()):
                    found.append((child, words))
        return found


@contextmanager
def running(project: ProjectHarness) -> Iterator[RunningUi]:
    """A UI that is whole, and is ended by force if the test didn't end it."""
    port = free_port()
    with (project.folder / "ui.log").open("ab") as log:
        # as a script starts a program in the background: with SIGINT ignored
        ignoring = (
            "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
        )
        command = [sys.executable, "-c", ignoring, *ProjectHarness.command("ui", "--port", str(port))]
        process = subprocess.Popen(
            command, cwd=project.folder, env=project.variables, stdout=log, stderr=log, start_new_session=True
        )
    ui = RunningUi(project, port, process)
    try:
        wait_until(ui.is_whole, "the UI to be whole", process)
        yield ui
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    for name in ("one", "two"):
        project.write(f"data/{name}/a.txt", TEXT)
    return project


def statuses(project: ProjectHarness) -> dict[str, dg.DagsterRunStatus]:
    """The status of the newest run of every domain."""
    with project.instance() as instance:
        return {run.tags["dagster/partition"]: run.status for run in reversed(instance.get_runs())}


def test_programs_that_are_killed_or_stopped_come_back_and_no_queued_run_is_lost(project: ProjectHarness) -> None:
    project.look()
    with running(project) as ui:
        second = project.raft("ui", "--port", "1")
        assert second.returncode == 2
        assert f"runs already at {ui.address}" in second.stderr
        assert "--heartbeat" not in ui.program("grpc").cmdline()  # with it, a minute's sleep of the machine is its end
        ui.stop_sensor("tear_down_expired")
        ui.launch("one", "two")
        wait_until(lambda: statuses(project).keys() == {"one", "two"}, "runs to be queued")
        stopped = ui.program("grpc")
        stopped.suspend()
        for word in ("dagster_webserver", "dagster._daemon"):
            ui.program(word).kill()
        stopped.resume()
        wait_until(ui.is_whole, "the webserver and the daemon to come back")
        ui.program("grpc").kill()
        wait_until(ui.is_whole, "the code server to come back")
        ended = dict.fromkeys(("one", "two"), dg.DagsterRunStatus.SUCCESS)
        wait_until(lambda: statuses(project) == ended, "both runs to succeed", seconds=300)
        assert ui.sensor_states()["tear_down_expired"] == "STOPPED"
        every = ui.everything()
        os.kill(ui.process.pid, signal.SIGINT)
        assert ui.process.wait(END_S) == 0
        assert [one for one in every if runs(one)] == []


@pytest.fixture
def silent_teacher(project: ProjectHarness) -> Iterator[None]:
    """A teacher that takes every call and never answers: a run that asks it goes on until it is ended."""
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        service.listen(64)
        address = f"http://127.0.0.1:{service.getsockname()[1]}/v1"
        project.own_variables = {
            "TEACHER_OPENAI_BASE_URL": address,
            "TEACHER_OPENAI_DEPLOYMENT": "silent",
            "RAFT_MAX_CONCURRENT_RUNS": "1",
        }
        yield


@pytest.mark.usefixtures("silent_teacher")
def test_runs_outlive_a_new_code_server_are_closed_once_killed_and_end_with_the_ui(project: ProjectHarness) -> None:
    project.look()
    started, queued = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED
    with running(project) as ui:
        ui.launch("one", "two", assets=("source_documents", "chunks", "chunk_embeddings", "qa_pairs"))
        wait_until(lambda: set(statuses(project).values()) == {queued, started}, "a run to start")
        before = statuses(project)
        project.write(".env", "RAFT_BUDGET_MONTH=5\n")
        wait_until(lambda: ui.code_servers() == 2, "a second code server")
        wait_until(ui.is_whole, "the UI to be whole again")
        assert statuses(project) == before
        kill_tree(ui.process.pid)
        ui.process.wait()
    (killed,) = (domain for domain, status in before.items() if status is started)
    (other,) = (domain for domain, status in before.items() if status is queued)
    with running(project) as ui:
        wait_until(lambda: statuses(project)[killed] is dg.DagsterRunStatus.FAILURE, "the killed run to be closed")
        wait_until(lambda: statuses(project)[other] is started, "the queue to go on")
        every = ui.everything()
        os.kill(ui.process.pid, signal.SIGINT)
        assert ui.process.wait(END_S) == 0
        assert [one for one in every if runs(one)] == []
    ended = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    assert set(statuses(project).values()) <= ended
