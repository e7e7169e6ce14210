"""Dagster runs as `raft run` makes them: the same job, events and metadata as a run that the UI starts.

One process per domain, because runs compute; within it wave after wave, each wave one run. A run carries its process in
a tag, so that the next
command can close what was killed.
"""

from collections.abc import Sequence

import dagster as dg

from raft_assets.defs.staleness import Graph, assets_in_order, next_wave, states
from raft_assets.operations.process import COMMAND_TAG, PROCESS_TAG, is_alive, this_process

LINEAGE_JOB = "lineage"
OPEN = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]


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
