"""Sensors and schedules: observe always, request runs only when switched on, never start paid work.

What a person started and a service answers later is collected always, and the run that waited for it goes on.

One rule decides what is requested, the same that `raft run` follows: what is not fresh, in waves. So a tick can't ask
for what a command would skip.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from raft_assets.core.errors import RaftError
from raft_assets.defs.dagster_internals import StaleResolver, last_attempts, runs_not_retried
from raft_assets.defs.lineage_asset import ROLES_METADATA
from raft_assets.defs.observation import lost_assets, observe, plan_observation, report
from raft_assets.defs.pools import limit_pools
from raft_assets.defs.runs import LINEAGE_JOB, OPEN_STATUSES, close_killed_runs, planned_assets
from raft_assets.defs.staleness import Graph, asset_states, assets_in_order, next_wave, waiting_jobs
from raft_assets.llm.batches import read_batch_records
from raft_assets.operations.batches import collect_batches as collect_answers
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.losses import Losses
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import (
    BUDGET_TAG,
    COLLECTS_TAG,
    COMMAND_TAG,
    DOMAIN_PARTITIONS,
    PARTITION_TAG,
    RESUMED_BACKFILL_TAG,
    RESUMES_TAG,
    backfill_of,
    is_domain_busy,
    records_of,
)
from raft_assets.operations.training import ended_jobs
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.student.approval import APPROVAL_TAG

TRAINED = dg.AssetKey("finetuned_model")
OBSERVE_EVERY_S = 30
FETCH_WITHIN_S = 20.0  # for documents that are fetched from a container; the next tick goes on
WAIT_FOR_RESULTS_S = 5.0  # for a program that holds the results store: a tick has a minute
LOOK_FOR_LOSSES_EVERY_S = 3600  # a listing of the whole lake, which may be far away
REQUEST_EVERY_S = 60
TEAR_DOWN_EVERY_S = 600
COLLECT_EVERY_S = 60
LOST_WITHIN = timedelta(days=1)  # a run that was lost before is for a person
MAX_CHANGES_A_TICK = 5_000  # more are reported by the next one, as a tick has a minute
MAX_LOSSES_A_TICK = 300  # likewise: the daemon stores an event for each
MAX_NAMED = 20


@dg.sensor(minimum_interval_seconds=OBSERVE_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def observe_domains(
    context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
) -> dg.SensorResult | dg.SkipReason:
    """Register domains and report changed files, settings and models, so that the lineage shows what is stale.

    Starts nothing. Once an hour it looks for what was made and is gone from the lake or the results store, and reports
    it as an observation of the asset.
    """
    limit_pools(context.instance, project)  # on a platform no command does it
    try:
        plan = plan_observation(context.instance, project, within_s=FETCH_WITHIN_S)
        report(context.instance, plan, max_changes=MAX_CHANGES_A_TICK)
        lost = _look_for_losses(context, project, plan.domains)
    except RaftError as error:
        return dg.SkipReason(str(error))
    for problem in plan.problems.values():
        context.log.warning("%s", problem)
    if plan.is_empty and not lost:
        named = ", ".join(plan.domains[:MAX_NAMED]) + (", …" if len(plan.domains) > MAX_NAMED else "")
        wrong = "".join(f" {error}" for error in plan.problems.values())
        return dg.SkipReason(f"Nothing changed in {len(plan.domains):,} domains: {named}.{wrong}")
    told = (
        f"{min(len(plan.changed), MAX_CHANGES_A_TICK):,} changes reported, {len(lost):,} assets missing, "
        f"{len(plan.new_domains):,} domains added, {len(plan.gone_domains):,} removed."
    )
    context.log.info("%s", told)
    return dg.SensorResult(asset_events=lost) if lost else dg.SkipReason(told)


def _look_for_losses(
    context: dg.SensorEvaluationContext, project: Project, names: Sequence[str]
) -> list[dg.AssetObservation]:
    """Return what is missing and was not missing at the last look; nothing until the next look is due."""
    seen = json.loads(context.cursor or "{}")
    now = time.time()
    if now - seen.get("looked", 0.0) < LOOK_FOR_LOSSES_EVERY_S:
        return []
    try:
        lost = lost_assets(context.instance, Losses.find(project, WAIT_FOR_RESULTS_S), names)
    except RaftError as error:  # changed files are reported all the same
        context.log.warning("%s", error)
        context.update_cursor(json.dumps(seen | {"looked": now}, ensure_ascii=False))
        return []
    told = {(asset, domain) for asset, domain in seen.get("told", [])}
    new = [observed for observed in lost if (observed.asset_key.to_user_string(), observed.partition) not in told]
    reported = new[:MAX_LOSSES_A_TICK]
    remain = [observed for observed in lost if observed not in new]
    named = [(observed.asset_key.to_user_string(), observed.partition) for observed in [*remain, *reported]]
    looked = now if len(reported) == len(new) else 0.0
    context.update_cursor(json.dumps({"looked": looked, "told": named}, ensure_ascii=False))
    return reported


@dg.sensor(minimum_interval_seconds=TEAR_DOWN_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def tear_down_expired(models: dg.ResourceParam[ModelClients]) -> dg.SkipReason:
    """Delete deployments on Azure that have expired. The models stay."""
    if not models.endpoints[Role.STUDENT].is_deployed_on_azure:
        return dg.SkipReason("Nothing is deployed on Azure.")
    try:
        with open_hosting(models.project) as hosting:
            gone = hosting.delete_expired(datetime.now(UTC)) if hosting else []
    except RaftError as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(f"Deleted: {', '.join(gone)}." if gone else "No deployment has expired.")


def stale_run_requests(instance: dg.DagsterInstance, graph: Graph, models: ModelClients) -> Iterator[dg.RunRequest]:
    """Yield a run request per domain for what is stale or missing and is free, unless a run of the domain is open."""
    close_killed_runs(instance)
    seen = observe(instance, models.project)
    resolver, losses = StaleResolver(instance, graph), Losses.find(models.project)
    for domain in seen.domains:
        if domain in seen.problems or _is_open(instance, models, domain):
            continue
        current = asset_states(instance, graph, domain, losses, resolver)
        free = free_assets(graph, models.endpoints)
        wanted = [key for key in free if current[key].state not in ("failed", "waiting")]
        wave = next_wave(graph, current, wanted)
        if wave:
            yield dg.RunRequest(partition_key=domain, asset_selection=wave, job_name=LINEAGE_JOB)


def _is_open(instance: dg.DagsterInstance, models: ModelClients, domain: str) -> bool:
    """Return whether a run of the domain is queued or runs, or a command works on it between two runs."""
    waiting = dg.RunsFilter(tags={PARTITION_TAG: domain}, statuses=[*OPEN_STATUSES, dg.DagsterRunStatus.QUEUED])
    return bool(instance.get_runs(filters=waiting, limit=1)) or is_domain_busy(models.project, domain)


def free_assets(graph: Graph, endpoints: dict[Role, Endpoint]) -> list[dg.AssetKey]:
    """Return the assets that make no paid call: what calls a role that is not known to be free is left to people."""
    paid = {role.value for role, endpoint in endpoints.items() if not endpoint.is_free}
    return [
        key
        for key in assets_in_order(graph)
        if not paid.intersection(str(graph.get(key).metadata.get(ROLES_METADATA, "")).split())
    ]


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=COLLECT_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING
)
def collect_batches(
    context: dg.SensorEvaluationContext, models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.RunRequest]:
    """Collect finished batches, and go on with the runs that waited for them."""
    assert context.repository_def is not None
    yield from batch_run_requests(context.instance, context.repository_def.asset_graph, models)


def batch_run_requests(instance: dg.DagsterInstance, graph: Graph, models: ModelClients) -> Iterator[dg.RunRequest]:
    """Yield a run request per asset whose batches have all been answered since its run ended without them."""
    records = records_of(models.project)
    before = [record for record in read_batch_records(records) if record.is_open]
    collect_answers(models)
    waits = {(record.domain, record.asset) for record in read_batch_records(records) if record.is_open}
    for domain, asset in dict.fromkeys((record.domain, record.asset) for record in before):
        if (domain, asset) in waits or not domain or _is_open(instance, models, domain):
            continue
        key = dg.AssetKey(asset)
        if asset_states(instance, graph, domain, Losses.find(models.project))[key].state == "waiting":
            run = instance.get_run_by_id(last_attempts(instance, key)[domain])
            assert run is not None  # an asset waits because its last run says so
            yield _resumed(instance, graph, run, {key})


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=COLLECT_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING
)
def collect_jobs(
    context: dg.SensorEvaluationContext, models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Go on with the runs that waited for a fine-tuning job which has ended."""
    assert context.repository_def is not None
    try:
        requests = list(job_run_requests(context.instance, context.repository_def.asset_graph, models))
    except RaftError as error:
        yield dg.SkipReason(str(error))
        return
    yield from requests


def job_run_requests(instance: dg.DagsterInstance, graph: Graph, models: ModelClients) -> Iterator[dg.RunRequest]:
    """Yield a run request per run that ended before its fine-tuning job did, once the job has ended.

    The run asks for the result of that job alone, so that nothing is paid for which nobody started. Raises
    EndpointError where the service of the jobs doesn't answer.
    """
    known = set(instance.get_dynamic_partitions(DOMAIN_PARTITIONS))
    waits = {domain: wait for domain, wait in waiting_jobs(instance, TRAINED).items() if domain in known}
    ended = ended_jobs(models, {wait.job for wait in waits.values()}) if waits else set()
    for domain, wait in waits.items():
        if wait.job in ended and not _is_open(instance, models, domain):
            yield _resumed(instance, graph, wait.run, {TRAINED}, tags={COLLECTS_TAG: wait.job})


def _resumed(
    instance: dg.DagsterInstance,
    graph: Graph,
    run: dg.DagsterRun,
    due: Collection[dg.AssetKey],
    *,
    tags: Mapping[str, str] | None = None,
    run_key: str | None = None,
) -> dg.RunRequest:
    """Return the request for what a run was to make and has not: what of it is due, and what lies behind that.

    Of a run of `raft run` it is what is due alone: a person follows the command, with its budget, and starts it again.
    What a person decided is kept, and whose budget the run shares. `run_key`: by which the request is met only once.
    """
    rest, kept = set(due), dict[str, str]()
    if COMMAND_TAG not in run.tags:
        planned = planned_assets(instance, run.run_id)
        rest &= planned
        for asset in assets_in_order(graph):
            if asset in planned and graph.get(asset).parent_keys & rest:
                rest.add(asset)
        kept = {name: run.tags[name] for name in (APPROVAL_TAG, BUDGET_TAG) if name in run.tags}
        kept[RESUMES_TAG] = run.tags.get(RESUMES_TAG, run.run_id)
        if backfill := backfill_of(run.tags):
            kept[RESUMED_BACKFILL_TAG] = backfill
    return dg.RunRequest(
        run_key=run_key,
        partition_key=run.tags[PARTITION_TAG],
        asset_selection=[asset for asset in assets_in_order(graph) if asset in rest],
        job_name=LINEAGE_JOB,
        tags={**kept, **(tags or {})},
    )


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=COLLECT_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING
)
def resume_lost_runs(
    context: dg.SensorEvaluationContext, models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.RunRequest]:
    """Go on, once, with runs of a backfill whose worker was lost and that Dagster doesn't retry."""
    assert context.repository_def is not None
    yield from lost_run_requests(context.instance, context.repository_def.asset_graph, models)


def lost_run_requests(instance: dg.DagsterInstance, graph: Graph, models: ModelClients) -> Iterator[dg.RunRequest]:
    """Yield a request for each lost run that nobody goes on with: what it was to make, from what it has not made on."""
    known = set(instance.get_dynamic_partitions(DOMAIN_PARTITIONS))
    for run in runs_not_retried(instance, datetime.now(UTC) - LOST_WITHIN):
        domain = run.tags.get(PARTITION_TAG, "")
        if domain not in known or _is_open(instance, models, domain):
            continue
        states = asset_states(instance, graph, domain, Losses.find(models.project))
        due = {key for key, state in states.items() if state.state != "fresh"}
        request = _resumed(instance, graph, run, due, run_key=run.run_id)
        if request.asset_selection:
            yield request


@dg.sensor(
    job_name=LINEAGE_JOB, minimum_interval_seconds=REQUEST_EVERY_S, default_status=dg.DefaultSensorStatus.STOPPED
)
def request_stale(
    context: dg.SensorEvaluationContext, models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.RunRequest]:
    """Materialize stale assets, wave by wave, as soon as they are stale.

    Off by default; never starts anything that costs money.
    """
    assert context.repository_def is not None
    yield from stale_run_requests(context.instance, context.repository_def.asset_graph, models)


@dg.schedule(job_name=LINEAGE_JOB, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def nightly(context: dg.ScheduleEvaluationContext, models: dg.ResourceParam[ModelClients]) -> Iterator[dg.RunRequest]:
    """Materialize stale assets every night at 3:00. Off by default; never starts anything that costs money."""
    assert context.repository_def is not None
    yield from stale_run_requests(context.instance, context.repository_def.asset_graph, models)
