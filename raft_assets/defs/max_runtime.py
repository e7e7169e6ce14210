"""How long a step may hold a worker, by the kind of its asset, for Dagster's run monitoring.

Run monitoring knows one limit, of the whole run. So every step raises it, if need be, to what has passed and what its
own kind may take. Source: https://docs.dagster.io/deployment/execution/run-monitoring ("General run timeouts").
"""

import time
from collections.abc import Collection, Mapping

import dagster as dg

from raft_assets.operations.training import job_wait_s
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project

# generous: recognizing a shelf of scans takes a night, and what asks a model follows the limits of a service
COMPUTES_S, ASKS_S = 24 * 3600, 72 * 3600
TRAINS_S = 4 * 3600  # besides the wait for the job: uploads, and a service that names its model late
TOLERANCE_S = 3600  # a limit that is that close isn't written again: a write takes 10 ms
OWN_LIMIT_TAG = "raft/max_runtime"  # beside Dagster's tag: the limit was set here, and by no person


def limit_runtime(context: dg.AssetExecutionContext, project: Project, roles: Collection[Role]) -> None:
    """Let the run go on for as long as the step of an asset that calls these roles may take, where runs are monitored.

    A limit that a person gave the run by `dagster/max_runtime` stays.
    """
    instance, run = context.instance, context.run
    is_own = dg.MAX_RUNTIME_SECONDS_TAG not in run.tags or OWN_LIMIT_TAG in run.tags
    record = instance.get_run_record_by_id(run.run_id) if instance.run_monitoring_enabled and is_own else None
    if record is None:
        return
    passed = time.time() - record.start_time if record.start_time else 0.0
    limit = round(passed + _step_s(project, run.tags, roles))
    if limit > int(record.dagster_run.tags.get(OWN_LIMIT_TAG, 0)) + TOLERANCE_S:
        instance.add_run_tags(run.run_id, dict.fromkeys((dg.MAX_RUNTIME_SECONDS_TAG, OWN_LIMIT_TAG), str(limit)))


def _step_s(project: Project, tags: Mapping[str, str], roles: Collection[Role]) -> float:
    if not roles:
        return COMPUTES_S
    # whoever asks for the student alone trains or deploys it
    return TRAINS_S + job_wait_s(project, tags) if set(roles) == {Role.STUDENT} else ASKS_S
