"""Dagster runs as `raft run` makes them: the same job, events and metadata as a run that the UI starts.

One process per domain, because runs compute; within it wave after wave, each wave one run. A run carries its process in
a tag, so that the next
command can close what was killed.
"""

import platform
from collections.abc import Sequence

import dagster as dg
import psutil

from raft_assets.core.ports import Claim
from raft_assets.defs.staleness import Graph, assets_in_order, next_wave, states
from raft_assets.settings.project import Workplace
from raft_assets.storage.coordination import FileCoordination

LINEAGE_JOB = "lineage"
PARTITION_TAG = "dagster/partition"
COMMAND_TAG = "raft/command"
PROCESS_TAG = "raft/process"
CLOCK_TOLERANCE_S = 2.0  # a process's start time is derived from the machine's, which is adjusted
OPEN = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]


def this_process() -> str:
    """Process id, start time and machine: an id alone may be another's by now."""
    process = psutil.Process()
    return f"{process.pid}@{process.create_time():.0f}@{platform.node()}"


def is_alive(process: str) -> bool:
    """Whether the process of a run's tag still runs; of another machine's nothing is known, so it counts as alive."""
    pid, started, machine = process.split("@", 2)
    if machine != platform.node():
        return True
    try:
        found = psutil.Process(int(pid))
        same = abs(found.create_time() - float(started)) <= CLOCK_TOLERANCE_S
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def claim(workplace: Workplace, domain: str) -> Claim | None:
    """Claims a domain for this process until it ends; None where another one works on it."""
    return FileCoordination(workplace.home).claim(f"locks/{domain}")


def is_being_worked_on(workplace: Workplace, domain: str) -> bool:
    """Whether a command works on the domain right now."""
    return FileCoordination(workplace.home).is_claimed(f"locks/{domain}")


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
