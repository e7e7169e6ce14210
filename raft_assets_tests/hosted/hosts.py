"""Hosts that execute runs, and the launcher that hands runs to them: what a cluster does, on one machine.

A host is a process that starts `dagster api execute_run`, and says which of its runs still have a process. It gets no
instance with a run, but has its own: the files of the one that launches don't lie on its disk.
"""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from typing import Any, Self

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass
from dagster._serdes.config_class import ConfigurableClassData

from raft_assets.operations.process import PARTITION_TAG

HOST_TAG = "test/host"  # of a run: who executes it


class HostsRunLauncher(RunLauncher, ConfigurableClass):
    """Hands a run to a living host, where there are two not to the one that worked on its domain last."""

    def __init__(self, hosts: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._ports = {name: int(port) for name, _, port in (part.partition(":") for part in hosts.split(","))}
        self._inst_data = inst_data
        self._choosing = threading.Lock()  # the daemon launches several runs at once
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"hosts": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, hosts=config_value["hosts"])

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        assert context.job_code_origin
        with self._choosing:
            host = self._choose(run)
            self._instance.add_run_tags(run.run_id, {HOST_TAG: host})
        args = ExecuteRunArgs(job_origin=context.job_code_origin, run_id=run.run_id, instance_ref=None)
        assert self._ask(host, run.run_id, *args.get_command_args())

    def _choose(self, run: dg.DagsterRun) -> str:
        runs = [one for one in self._instance.get_runs() if one.run_id != run.run_id and HOST_TAG in one.tags]
        of_domain = [one.tags[HOST_TAG] for one in runs if one.tags.get(PARTITION_TAG) == run.tags[PARTITION_TAG]]
        had = Counter(one.tags[HOST_TAG] for one in runs)
        living = [name for name in self._ports if self._ask(name, "") is not None]
        return min(living, key=lambda name: (name in of_domain[:1], had[name]))

    def _ask(self, host: str, *request: str) -> bool | None:
        return ask(self._ports[host], *request)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if self._ask(host := run.tags[HOST_TAG], run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"host {host} has no process of this run")

    def terminate(self, run_id: str) -> bool:
        raise NotImplementedError


def ask(port: int, *request: str) -> bool | None:
    """Return what a host says to a run and, where it is to start, a command; None where there is no host."""
    with suppress(OSError, EOFError), Client(("127.0.0.1", port)) as connection:
        connection.send(request)
        return bool(connection.recv())
    return None


def serve(port: int) -> None:
    """Be a host: start the command that comes with a run, or say whether the run has a process."""
    workers: dict[str, subprocess.Popen[bytes]] = {}
    with Listener(("127.0.0.1", port)) as listener:
        while True:
            with suppress(EOFError), listener.accept() as connection:
                run, *command = connection.recv()
                if command:
                    workers[run] = subprocess.Popen(command)
                connection.send(run in workers and workers[run].poll() is None)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
