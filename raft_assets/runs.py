"""Dagster runs as `raft run` makes them: the same job, events and metadata as a run that the UI starts.

One process per domain, because runs compute; within it wave after wave, each wave one run. A run carries its process in
a tag, so that the next
command can close what was killed.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import dagster as dg
import psutil

from raft_assets.freshness import Graph, assets_in_order, next_wave, states

LINEAGE_JOB = "lineage"
COMMAND_TAG = "raft/command"
PROCESS_TAG = "raft/process"
OPEN = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]


def this_process() -> str:
    """Process id and start time: an id alone may be another's by now."""
    process = psutil.Process()
    return f"{process.pid}@{process.create_time():.0f}"


def is_alive(process: str) -> bool:
    """Whether the process of a run's tag still runs on this machine."""
    pid, _, started = process.partition("@")
    try:
        found = psutil.Process(int(pid))
        return f"{found.create_time():.0f}" == started and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def close_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Ends every run whose process is gone; returns their ids. What they had finished is kept."""
    closed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=OPEN)):
        process = run.tags.get(PROCESS_TAG)
        if process and not is_alive(process):
            instance.report_run_failed(
                run,
                "The process of this run was killed. "
                "What it had finished is kept: materialize again, and the rest follows.",
            )
            closed.append(run.run_id)
    return closed


def materialize(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    domain: str,
    wanted: Sequence[dg.AssetKey],
    *,
    force: bool,
    command: str,
) -> bool:
    """Materializes what is not fresh of `wanted` (with `force` all of it) in one domain, wave by wave.

    False after a failed run.
    """
    graph: Graph = defs.resolve_asset_graph()
    job = defs.resolve_job_def(LINEAGE_JOB)
    done: set[dg.AssetKey] = set()
    wave = (
        [key for key in assets_in_order(graph) if key in set(wanted)]
        if force
        else next_wave(graph, states(instance, graph, domain), wanted)
    )
    while wave:
        result = job.execute_in_process(
            partition_key=domain,
            instance=instance,
            asset_selection=wave,
            tags={COMMAND_TAG: command, PROCESS_TAG: this_process()},
            raise_on_error=False,
        )
        done |= set(wave)
        if not result.success:
            return False
        # an asset that is not fresh right after its run changed while it ran: the next command takes it up
        wave = [key for key in next_wave(graph, states(instance, graph, domain), wanted) if key not in done]
    return True


def worker_command(domain: str, wanted: Sequence[dg.AssetKey], *, force: bool, command: str) -> list[str]:
    """Command line of the process that materializes one domain."""
    names = ",".join(key.to_user_string() for key in wanted)
    return [
        sys.executable,
        "-m",
        __name__,
        "--domain",
        domain,
        "--assets",
        names,
        "--command",
        command,
        *(["--force"] if force else []),
    ]


def _work() -> int:
    parser = argparse.ArgumentParser(description="Materializes one domain; started by `raft run`.")
    for name in ("--domain", "--assets", "--command"):
        parser.add_argument(name, required=True)
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    from raft_assets.definitions import definitions  # the graph is built only in the process that needs it

    wanted = [dg.AssetKey.from_user_string(name) for name in arguments.assets.split(",")]
    with dg.DagsterInstance.get() as instance:
        done = materialize(
            definitions(), instance, arguments.domain, wanted, force=arguments.force, command=arguments.command
        )
    return 0 if done else 1


if __name__ == "__main__":
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # domains run side by side; threads of one would take the other's core
    sys.exit(_work())
