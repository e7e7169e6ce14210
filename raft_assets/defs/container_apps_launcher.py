"""A Container Apps job per run, by Dagster's launcher, with what it lacks in version 0.29.

It gives a job 30 s to be created, which takes 30 to 50 s, and names the job in the run only after that; a moment in
which Azure doesn't answer counts as the end of the worker. Where it has learned all that, `AcaRunLauncher` takes this
configuration as it is, and this module can go.
"""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import dagster as dg
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.mgmt.appcontainers import ContainerAppsAPIClient
from dagster_azure.container_apps import AcaRunLauncher

from raft_assets.defs.dagster_internals import CheckRunHealthResult, LaunchRunContext, WorkerStatus

JOB_NAME_TAG = "azure/container_apps/job_name"  # of a run: AcaRunLauncher finds its job by it
RUN_ID_TAG = "dagster-run-id"  # of a job, which AcaRunLauncher sets
CREATE_TIMEOUT_S = 600.0  # below `start_timeout_seconds`, which counts the start of the container as well
KEEP_JOBS = timedelta(days=1)  # after the end of the run, for who wants to read what its container printed
# what a run reads, but nothing that opens a door: whoever may look at a job sees its variables
_FORWARDED = re.compile(
    r"(RAFT|DAGSTER|AZURE|TEACHER|COMPLETION|EMBEDDING|BASELINE|STUDENT|JUDGE|MLFLOW)_\w+|PG(HOST|SSLMODE|SSLROOTCERT)"
)
_SECRET = re.compile(r"(KEY|PASSWORD|PASSWORD_FILE|SECRET|_TOKEN|CONNECTION_STRING)$")


class PatientAcaRunLauncher(AcaRunLauncher):
    """`AcaRunLauncher` that waits for a job as long as Azure needs, and hands the daemon's settings on."""

    @property
    def env_vars(self) -> Sequence[str]:
        """The variables of the configuration, and those of the daemon that a run reads; never a key or a password."""
        forwarded = (name for name in os.environ if _FORWARDED.fullmatch(name) and not _SECRET.search(name))
        return [*super().env_vars, *sorted(forwarded)]

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create the run's job and start it; the run names the job from the beginning.

        So a run whose daemon ends meanwhile can be canceled, and its job is looked at.
        """
        run = context.dagster_run
        self._instance.add_run_tags(run.run_id, {JOB_NAME_TAG: self._job_name_for_run(run.run_id)})
        super().launch_run(context)
        with suppress(AzureError):  # the run has begun; the next one looks again
            self._delete_jobs_of_ended_runs()

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return what Azure says of the run's job.

        Raises AzureError where Azure doesn't say it: the daemon leaves the run as it is, and asks again.
        """
        found = super().check_run_worker_health(run)
        job = run.tags.get(JOB_NAME_TAG)
        if found.status is not WorkerStatus.UNKNOWN or job is None:
            return found
        try:
            executions = list(self._get_client().jobs_executions.list(self._resource_group, job))
        except ResourceNotFoundError:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"the job {job} was deleted")
        # there is one: Azure answers again, or calls its state by a name that nobody knows
        return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg) if executions else found

    def _get_client(self) -> ContainerAppsAPIClient:
        client = super()._get_client()
        jobs: Any = client.jobs
        if "begin_create_or_update" not in vars(jobs):
            jobs.begin_create_or_update = _returning_when_done(jobs.begin_create_or_update)
        return client

    def _delete_jobs_of_ended_runs(self) -> None:
        """Delete the jobs of this platform's runs that ended a while ago; Azure keeps them for ever."""
        jobs = self._get_client().jobs
        for job in list(jobs.list_by_resource_group(self._resource_group)):
            record = self._instance.get_run_record_by_id((job.tags or {}).get(RUN_ID_TAG, ""))
            if record is None or record.end_time is None:
                continue
            if datetime.now(UTC) - datetime.fromtimestamp(record.end_time, UTC) > KEEP_JOBS:
                jobs.begin_delete(self._resource_group, str(job.name), polling=False)


def _returning_when_done(begin: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation of Azure's library, which hands out its poller once the work is done."""

    @wraps(begin)
    def begin_and_wait(*args: Any, **options: Any) -> Any:
        poller = begin(*args, **options)
        poller.wait(CREATE_TIMEOUT_S)
        return poller

    return begin_and_wait
