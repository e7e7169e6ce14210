"""A Container Apps job per run, however long Azure takes to create it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

pytest.importorskip("azure.mgmt.appcontainers", reason="the extra raft-assets[azure]")

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.polling import LROPoller
from azure.mgmt.appcontainers import ContainerAppsAPIClient
from dagster_azure.container_apps import AcaRunLauncher

from raft_assets.defs.container_apps_launcher import JOB_NAME_TAG, KEEP_JOBS, PatientAcaRunLauncher
from raft_assets_tests.hosted.container_apps import Jobs, serving

IMAGE = "crmine.azurecr.io/raft-assets:0.2.0"
IDENTITY = "/subscriptions/s/resourceGroups/rg-raft/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
LAUNCHER = {
    "module": "raft_assets.defs.container_apps_launcher",
    "class": "PatientAcaRunLauncher",
    "config": {
        "subscription_id": "s",
        "resource_group": "rg-raft",
        "region": "swedencentral",
        "environment_id": "/subscriptions/s/resourceGroups/rg-raft/providers/Microsoft.App/managedEnvironments/cae",
        "identity_id": IDENTITY,
        "run_resources": {"cpu": "2", "memory": "4Gi"},
    },
}


@pytest.fixture(scope="module")
def azure() -> Iterator[Jobs]:
    """Azure, whose time passes when the library waits."""
    found = Jobs()
    begin = ContainerAppsAPIClient.__init__

    def here(self: Any, credential: Any, subscription: str, **options: Any) -> None:
        options |= {"base_url": found.address, "authentication_policy": SansIOHTTPPolicy()}
        begin(self, credential, subscription, **options)

    with serving(found), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContainerAppsAPIClient, "__init__", here)
        patch.setattr(RequestsTransport, "sleep", lambda _, duration: found.sleep(duration))
        patch.setattr(LROPoller, "wait", lambda poller, timeout=1e9: found.wait(poller.done, timeout))
        yield found


@pytest.fixture
def jobs(azure: Jobs) -> Jobs:
    azure.reset()
    return azure


@pytest.fixture(scope="module")
def instance(azure: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.local_temp(str(folder), overrides={"run_launcher": LAUNCHER}) as opened:
        yield opened


def launched(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run that was given to the launcher."""
    context = new_run(instance)
    instance.run_launcher.launch_run(context)
    return reloaded(instance, context.dagster_run)


def new_run(instance: dg.DagsterInstance) -> LaunchRunContext:
    pointer = ModuleCodePointer("raft_assets.definitions", "definitions", None)
    repository = RepositoryPythonOrigin("python", pointer, IMAGE, entry_point=["dagster"], container_context={})
    run = instance.create_run_for_job(
        dg.JobDefinition(graph_def=dg.GraphDefinition("lineage"), name="lineage"),
        status=dg.DagsterRunStatus.STARTING,
        job_code_origin=JobPythonOrigin("lineage", repository),
    )
    return LaunchRunContext(run, workspace=None)


def reloaded(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found


@pytest.mark.parametrize("created_after_s", [12, 40, 120])
def test_a_job_is_started_once_it_was_created_and_only_once(
    created_after_s: int, jobs: Jobs, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.created_after_s, began = created_after_s, jobs.now
    settings = {
        "RAFT_LAKE": "abfs://lake@stmine.dfs.core.windows.net/raft",
        "TEACHER_TOKENS_PER_MINUTE": "1000",
        "PGHOST": "psql-mine.postgres.database.azure.com",
    }
    secrets = ("TEACHER_OPENAI_API_KEY", "DAGSTER_POSTGRES_PASSWORD", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_SECRET")
    for name, value in (settings | dict.fromkeys(secrets, "canary")).items():
        monkeypatch.setenv(name, value)
    run = launched(instance)
    ((name, states),) = jobs.executions.items()
    assert states == ["Running"]
    assert run.tags[JOB_NAME_TAG] == name
    starts = [at for at, method, path in jobs.seen if (method, path) == ("POST", f"jobs/{name}/start")]
    assert len(starts) == 1
    assert created_after_s <= starts[0] - began <= created_after_s + 5  # the library asks every 5 s
    sent = jobs.jobs[name]
    (container,) = sent["properties"]["template"]["containers"]
    assert container["image"] == IMAGE
    assert container["command"][:3] == ["dagster", "api", "execute_run"]
    assert settings.items() <= {one["name"]: one["value"] for one in container["env"]}.items()
    assert "canary" not in json.dumps(sent)  # whoever may look at a job sees its variables
    assert sent["properties"]["configuration"]["replicaRetryLimit"] == 0
    assert list(sent["identity"]["userAssignedIdentities"]) == [IDENTITY]


def test_dagsters_own_launcher_still_gives_up_after_30_s(jobs: Jobs, instance: dg.DagsterInstance) -> None:
    """Where it doesn't any more, `container_apps_launcher` can go."""
    theirs = AcaRunLauncher.from_config_value(None, LAUNCHER["config"])  # type: ignore[arg-type]
    theirs.register_instance(instance)
    for created_after_s, is_started in ((12, True), (40, False)):
        jobs.reset()
        jobs.created_after_s = created_after_s
        if is_started:
            theirs.launch_run(new_run(instance))
        else:
            with pytest.raises(HttpResponseError, match="is being created"):
                theirs.launch_run(new_run(instance))
        assert bool(jobs.executions) == is_started


def test_a_daemon_that_ends_while_a_job_is_created_leaves_a_run_that_names_it(
    jobs: Jobs, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    context = new_run(instance)
    launcher = instance.run_launcher
    assert isinstance(launcher, PatientAcaRunLauncher)
    monkeypatch.setattr(launcher._get_client().jobs, "begin_create_or_update", end)
    with pytest.raises(KeyboardInterrupt):
        launcher.launch_run(context)
    assert reloaded(instance, context.dagster_run).tags[JOB_NAME_TAG]


def test_what_azure_says_of_a_worker_counts_and_its_silence_does_not(jobs: Jobs, instance: dg.DagsterInstance) -> None:
    run, launcher = launched(instance), instance.run_launcher
    (name,) = jobs.executions
    for state, status in {
        "Running": WorkerStatus.RUNNING,
        "Succeeded": WorkerStatus.SUCCESS,
        "Failed": WorkerStatus.FAILED,
        "Stopped": WorkerStatus.FAILED,
    }.items():
        jobs.executions[name] = [state]
        assert launcher.check_run_worker_health(run).status is status
    jobs.is_silent = True
    with pytest.raises(AzureError):  # which the daemon logs, and leaves the run as it is
        launcher.check_run_worker_health(run)
    jobs.is_silent = False
    del jobs.jobs[name]
    assert launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_a_canceled_run_takes_its_job_with_it(jobs: Jobs, instance: dg.DagsterInstance) -> None:
    run = launched(instance)
    assert instance.run_launcher.terminate(run.run_id)
    assert jobs.jobs == {}


def test_jobs_of_runs_that_ended_a_while_ago_are_deleted(
    jobs: Jobs, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, runs = launched(instance), launched(instance)
    instance.report_run_failed(ended, "it failed")
    jobs.jobs["theirs"] = {"tags": {"dagster-run-id": "of another platform"}, "properties": {}}
    jobs.ready_at["theirs"] = 0.0
    before = set(jobs.jobs)
    launched(instance)
    assert before <= set(jobs.jobs)  # its container's last words can be read for a day
    later = datetime.now(UTC) + KEEP_JOBS + timedelta(minutes=1)
    clock = type("Clock", (datetime,), {"now": classmethod(lambda *_: later)})
    monkeypatch.setattr("raft_assets.defs.container_apps_launcher.datetime", clock)
    launched(instance)
    assert before - set(jobs.jobs) == {ended.tags[JOB_NAME_TAG]}
    assert runs.tags[JOB_NAME_TAG] in jobs.jobs


def test_a_run_that_has_begun_is_not_lost_over_what_is_left_of_others(jobs: Jobs, instance: dg.DagsterInstance) -> None:
    jobs.refused.add(("GET", "jobs"))
    run = launched(instance)
    assert jobs.executions == {run.tags[JOB_NAME_TAG]: ["Running"]}
