"""When something happens without being asked: observing always, requesting only where it is switched on, paying never.

One rule decides what is requested, the same that `raft run` follows: what is not fresh, in waves. So a tick can't ask
for what a command would skip.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from raft_assets.core.errors import RaftError
from raft_assets.defs.observation import ROLES, observe
from raft_assets.defs.runs import LINEAGE_JOB, OPEN, PARTITION_TAG, close_killed_runs, is_being_worked_on
from raft_assets.defs.staleness import Graph, assets_in_order, next_wave, states
from raft_assets.llm.batches import read_records
from raft_assets.operations.models import Models
from raft_assets.settings.endpoints import Endpoint, Role

OBSERVE_EVERY_S = 30
REQUEST_EVERY_S = 60
TEAR_DOWN_EVERY_S = 600
COLLECT_EVERY_S = 60


@dg.sensor(minimum_interval_seconds=OBSERVE_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def observe_domains(context: dg.SensorEvaluationContext, models: Models) -> dg.SkipReason:
    """Registers domains and reports changed files, settings and models, so that the lineage shows what is stale.

    Starts nothing.
    """
    try:
        seen = observe(context.instance, models.workplace)
    except RaftError as error:
        return dg.SkipReason(str(error))
    wrong = "".join(f" {error}" for error in seen.problems.values())
    return dg.SkipReason(f"{len(seen.domains)} domains observed: {', '.join(seen.domains)}.{wrong}")


@dg.sensor(minimum_interval_seconds=TEAR_DOWN_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def tear_down_expired(models: Models) -> dg.SkipReason:
    """Deletes deployments on Azure that are past the end that was set for them. The models stay."""
    if not models.endpoints[Role.STUDENT].is_deployed_on_azure:
        return dg.SkipReason("Nothing is deployed on Azure.")
    try:
        with models.hosting() as hosting:
            gone = hosting.delete_expired(datetime.now(UTC)) if hosting else []
    except RaftError as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(f"Deleted: {', '.join(gone)}." if gone else "No deployment is past its end.")


def requests(instance: dg.DagsterInstance, graph: Graph, models: Models) -> Iterator[dg.RunRequest]:
    """A run request per domain for what is not fresh and costs nothing, unless a run of the domain is still open."""
    close_killed_runs(instance)
    seen = observe(instance, models.workplace)
    for domain in seen.domains:
        if domain in seen.problems or _is_open(instance, models, domain):
            continue
        current = states(instance, graph, domain)
        free = free_assets(graph, models.endpoints)
        wanted = [key for key in free if current[key].state not in ("failed", "waiting")]
        wave = next_wave(graph, current, wanted)
        if wave:
            yield dg.RunRequest(partition_key=domain, asset_selection=wave, job_name=LINEAGE_JOB)


def _is_open(instance: dg.DagsterInstance, models: Models, domain: str) -> bool:
    """Whether a run of the domain is queued or runs, or a command works on it and is between two runs."""
    waiting = dg.RunsFilter(tags={PARTITION_TAG: domain}, statuses=[*OPEN, dg.DagsterRunStatus.QUEUED])
    return bool(instance.get_runs(filters=waiting, limit=1)) or is_being_worked_on(models.workplace, domain)


def free_assets(graph: Graph, endpoints: dict[Role, Endpoint]) -> list[dg.AssetKey]:
    """Assets that make no paid call: those that call a role which is not known to be free are left to people."""
    paid = {role.value for role, endpoint in endpoints.items() if not endpoint.is_free}
    return [
        key
        for key in assets_in_order(graph)
        if not paid.intersection(str(graph.get(key).metadata.get(ROLES, "")).split())
    ]


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=COLLECT_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING
)
def collect_batches(context: dg.SensorEvaluationContext, models: Models) -> Iterator[dg.RunRequest]:
    """Collects what batches of calls brought, and requests the asset that waited for it, and no other."""
    assert context.repository_def is not None
    yield from continuations(context.instance, context.repository_def.asset_graph, models)


def continuations(instance: dg.DagsterInstance, graph: Graph, models: Models) -> Iterator[dg.RunRequest]:
    """A run request per asset whose batches have all been answered since it ended without them."""
    before = [record for record in read_records(models.records) if record.is_open]
    models.collect_batches()
    waits = {(record.domain, record.asset) for record in read_records(models.records) if record.is_open}
    for domain, asset in dict.fromkeys((record.domain, record.asset) for record in before):
        if (domain, asset) in waits or not domain or _is_open(instance, models, domain):
            continue
        key = dg.AssetKey(asset)
        if states(instance, graph, domain)[key].state == "waiting":
            yield dg.RunRequest(partition_key=domain, asset_selection=[key], job_name=LINEAGE_JOB)


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=REQUEST_EVERY_S, default_status=dg.DefaultSensorStatus.STOPPED
)
def request_stale(context: dg.SensorEvaluationContext, models: Models) -> Iterator[dg.RunRequest]:
    """Materializes what is stale, wave by wave, as soon as it is.

    Off until it is switched on; never starts anything paid.
    """
    assert context.repository_def is not None
    yield from requests(context.instance, context.repository_def.asset_graph, models)


@dg.schedule(job_name=LINEAGE_JOB, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def nightly(context: dg.ScheduleEvaluationContext, models: Models) -> Iterator[dg.RunRequest]:
    """Materializes every night at 3 what is stale by then. Off until it is switched on; never starts anything paid."""
    assert context.repository_def is not None
    yield from requests(context.instance, context.repository_def.asset_graph, models)
