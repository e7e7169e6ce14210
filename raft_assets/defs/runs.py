"""Dagster runs as `raft run` makes them: the same job, events and metadata as a run that the UI starts.

One process per domain, because runs compute; within it wave after wave, each wave one run. A run carries its process
in a tag, and one of the UI in its events, so that what was killed is closed by the next command, or by the UI.
"""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import dagster as dg

from raft_assets.defs.dagster_internals import execute_job, free_pools, is_of_one_machine, job_origin, ui_run
from raft_assets.defs.pools import limit_pools
from raft_assets.defs.staleness import Graph, asset_states, assets_in_order, next_wave
from raft_assets.operations.losses import Losses
from raft_assets.operations.process import (
    COMMAND_TAG,
    PROCESS_TAG,
    current_process,
    is_process_alive,
    is_still_alive,
    local_pid,
    waiting_assets,
)
from raft_assets.settings.project import Project

LINEAGE_JOB = "lineage"
Ended = Literal["done", "waiting", "failed"]
OPEN_STATUSES = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]


def close_killed_runs(instance: dg.DagsterInstance, *, without_ui: bool = False) -> list[str]:
    """End every run whose process is gone, and return their ids. What they had finished is kept.

    `without_ui`: no code server runs on this machine, so that nothing becomes of a run that one was about to start.
    Where machines share the database of runs, none is ended here: a process id, and a host name, of another container
    say nothing, and the daemon asks the run launcher (`run_monitoring`).
    """
    closed: list[str] = []
    if not is_of_one_machine(instance):
        return closed
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=OPEN_STATUSES)):
        if not _is_killed(instance, run, without_ui=without_ui):
            continue
        last = instance.get_run_by_id(run.run_id)  # a process that ends well says so just before
        if last is None or last.is_finished:
            continue
        message = "The process of this run was killed. Finished assets are kept: materialize again to continue."
        if last.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(last, message)
        else:
            instance.report_run_failed(last, message)
        free_pools(instance, run.run_id)
        closed.append(run.run_id)
    return closed


def interrupt_canceled_runs(instance: dg.DagsterInstance) -> None:
    """Interrupt the processes of runs that somebody cancels.

    A code server interrupts its own runs; those of a command, and of a code server that was replaced, hear of it here.
    Where machines share the database of runs, the run launcher does it.
    """
    if not is_of_one_machine(instance):
        return
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELING])):
        pid = _local_process(instance, run)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)


def _is_killed(instance: dg.DagsterInstance, run: dg.DagsterRun, *, without_ui: bool) -> bool:
    if process := run.tags.get(PROCESS_TAG):
        return not is_process_alive(process)
    found = ui_run(instance, run)
    if found is None:
        return False
    return without_ui if found.pid is None else not is_still_alive(found.pid, found.at)


def _local_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """Return the id of the run's process, where it runs on this machine."""
    if process := run.tags.get(PROCESS_TAG):
        return local_pid(process)
    found = ui_run(instance, run)
    return found.pid if found and found.pid and is_still_alive(found.pid, found.at) else None


def planned_assets(instance: dg.DagsterInstance, run_id: str) -> set[dg.AssetKey]:
    """Return the assets that a run was to make."""
    of_type = {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    events = [
        record.event_log_entry.get_dagster_event()
        for record in instance.get_records_for_run(run_id, of_type=of_type).records
    ]
    return {event.asset_key for event in events if event.asset_key}


def materialize(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    project: Project,
    domain: str,
    wanted: Sequence[dg.AssetKey],
    *,
    force: bool,
    command: str,
) -> Ended:
    """Materialize what is not fresh of `wanted` (with `force` all of it) in one domain, wave by wave.

    What lies behind an asset that waits is left for the run that goes on when its result is there.
    """
    limit_pools(instance, project)
    graph: Graph = defs.resolve_asset_graph()
    job, origin = defs.resolve_job_def(LINEAGE_JOB), job_origin(project.workspace_file, LINEAGE_JOB)
    tags = {COMMAND_TAG: command, PROCESS_TAG: current_process()}
    done, waiting = set[dg.AssetKey](), set[dg.AssetKey]()
    wave = (
        [key for key in assets_in_order(graph) if key in set(wanted)]
        if force
        else next_wave(graph, asset_states(instance, graph, domain, Losses.find(project)), wanted)
    )
    while wave:
        run = execute_job(instance, job, partition=domain, assets=wave, tags=tags, origin=origin)
        done |= set(wave)
        if not run.is_success:
            return "failed"
        waiting |= {dg.AssetKey.from_user_string(name) for name in waiting_assets(run.tags)}
        due = [key for key in wanted if key not in waiting]
        # an asset that is not fresh right after its run changed while it ran: the next command takes it up
        states = asset_states(instance, graph, domain, Losses.find(project))
        wave = [key for key in next_wave(graph, states, due) if key not in done]
    return "waiting" if waiting else "done"
