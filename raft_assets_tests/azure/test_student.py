"""A student on Azure without the lineage before it: its files, its job, its deployment until it answers, a Foundry
project.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.core.tables import Chunk, RaftRow, SourceDocument
from raft_assets.defs.automation import job_run_requests
from raft_assets.llm.requests import Origin
from raft_assets.operations.deploying import deploy_student
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import BACKFILL_TAG, COLLECTS_TAG, RESUMED_BACKFILL_TAG, RESUMES_TAG
from raft_assets.operations.students import KnownStudent, locate_student
from raft_assets.operations.training import ApprovalNeededError, TrainingWatch, train
from raft_assets.student.approval import APPROVAL_TAG, APPROVE_FINE_TUNING
from raft_assets.student.deployment import Readiness, SmokeTest
from raft_assets_tests.azure.cloud import BASE, PROJECT, RESOURCE, Cloud
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.student.test_finetuning import Jobs

NAME = re.compile(r"raft-small-[0-9a-f]{8}")
TUNED = {"model": "embedded-reader", "training_hash": "hash 1"}  # any model that the service has
ROWS = 60


@pytest.fixture
def project(azure: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectHarness:
    """A project whose every role is on Azure, and that has made nothing yet."""
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)
    found = ProjectHarness(tmp_path / "project")
    found.own_variables = azure.variables
    found.copy_domain("bats", SMALL, documents=1)
    return found


def deploy(project: ProjectHarness, told: list[str]) -> SmokeTest:
    """Deploys and asks the student as its asset does, with no time to get ready."""
    at_once = Readiness(ready_within_s=0.0, pause_after_delete_s=0.0)
    deployed, test = deploy_student(
        ModelClients(project.opened),
        SMALL,
        TUNED,
        origin=Origin("deployment", SMALL, "run"),
        on_event=told.append,
        readiness=at_once,
    )
    assert NAME.fullmatch(deployed.name)
    return test


@pytest.mark.parametrize("status", [404, 409, 503])
def test_a_deployment_that_azure_calls_ready_and_that_never_answers_is_made_again_once(
    azure: Cloud, project: ProjectHarness, status: int
) -> None:
    told = list[str]()
    azure.resource.stuck, azure.resource.stuck_status = 1, status  # the first one, and not the next
    assert deploy(project, told).answer
    assert (azure.management.count("DELETE"), azure.management.count("PUT")) == (1, 2)
    assert len(azure.management.deployments) == 1
    assert any("is Succeeded for Azure: deleted, to be made again" in one for one in told)
    assert any("is deployed and not ready" in one for one in told)


def test_a_deployment_that_never_answers_twice_ends_with_a_sentence(azure: Cloud, project: ProjectHarness) -> None:
    azure.resource.stuck = 2
    with pytest.raises(
        EndpointError, match=r"was made twice and has not answered.*not ready.*Inspect it in the portal"
    ):
        deploy(project, [])
    assert (azure.management.count("DELETE"), azure.management.count("PUT")) == (1, 2)


def test_an_adapter_that_is_still_being_loaded_is_waited_for_and_nothing_is_deleted(
    azure: Cloud, project: ProjectHarness
) -> None:
    azure.resource.loading = 2
    assert deploy(project, []).answer
    assert (azure.management.count("DELETE"), azure.management.count("PUT"), azure.resource.loading) == (0, 1, 0)


def test_an_older_student_is_asked_where_it_is_deployed_still_and_one_that_was_replaced_is_not(
    azure: Cloud, project: ProjectHarness
) -> None:
    deploy(project, [])
    models = ModelClients(project.opened)
    there = KnownStudent("hash 1", RESOURCE, TUNED["model"], TUNED["training_hash"], "gpt-4.1-nano")
    deployed = locate_student(models, SMALL, there)
    assert (deployed.is_hosted, deployed.training_hash, deployed.service) == (True, "hash 1", RESOURCE)
    assert (
        there.priced_as(deployed.name) == "gpt-4.1-nano"
    )  # its successor has the same name, and may have another base
    with pytest.raises(EndpointError, match=r"can't be asked: no deployment holds .*a newer student takes over"):
        locate_student(models, SMALL, replace(there, training_hash="hash 0"))
    assert len(azure.management.deployments) == 1


@pytest.mark.parametrize("form", ["AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"])
def test_every_role_answers_at_a_foundry_project_without_a_key_and_its_student_is_deployed(
    azure: Cloud, project: ProjectHarness, form: str
) -> None:
    deployment = f"{form.rpartition('OPENAI')[0]}OPENAI_DEPLOYMENT"
    models = {"TEACHER": "teacher", "EMBEDDING": "embedding", "STUDENT": BASE}
    elsewhere = {name: value for name, value in azure.variables.items() if "OPENAI" not in name}
    roles = {f"{role}_{form}": f"{PROJECT}/openai/v1" for role in models}
    project.own_variables = elsewhere | roles | {f"{role}_{deployment}": model for role, model in models.items()}
    found = project.raft_here("doctor").stdout
    assert f"ok       role STUDENT: {BASE} at {PROJECT}/openai/v1 fine-tuning is permitted" in found
    assert "ok       deployment: models may be deployed at raft-openai (resource group rg-raft)" in found
    assert "problem" not in found
    assert deploy(project, []).answer
    assert all(path.startswith("/api/projects/raft/openai/v1/") for _, path in azure.resource.seen)


def test_a_training_file_over_the_limit_is_cut_and_that_is_said_before_anything_is_paid(
    azure: Cloud, project: ProjectHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"prompt": "Who?", "completion": f" Number {number}"}) for number in range(ROWS)]
    for name in ("train", "valid"):
        project.lake.write_lines("training_files", SMALL, f"{name}.jsonl", lines)
    counts = {"rows": ROWS, "tokens": 6000}
    project.lake.write_record("training_files", SMALL, {"train": counts, "valid": counts})
    monkeypatch.setattr("raft_assets.operations.training.MAX_FILE_BYTES", len("\n".join(lines)) // 2)
    told, watched = list[str](), ModelClients(project.opened)
    with pytest.raises(ApprovalNeededError) as needed:
        train(watched, project.lake, SMALL, TrainingWatch(told.append, lambda _: None), approved=None)
    left = needed.value.rows
    assert left == pytest.approx(ROWS / 2, abs=2)
    assert f"{left} rows, " in str(needed.value)
    assert f"{ROWS - left} of {ROWS} rows are left out, and {ROWS - left} rows to validate on" in str(needed.value)
    assert told[0] in str(needed.value)
    assert {method for method, _ in azure.resource.seen} == {"GET"}  # the list of jobs


def test_a_run_that_no_command_follows_ends_while_its_job_goes_on_and_a_sensor_has_it_resumed(
    azure: Cloud, project: ProjectHarness
) -> None:
    message = {"role": "assistant", "content": "##begin_quote##I am Ann.##end_quote##\n<ANSWER>: Ann"}
    rows = [{"messages": [{"role": "user", "content": f"Who is number {number}?"}, message]} for number in range(ROWS)]
    for name in ("train", "valid"):
        project.lake.write_lines("training_files", SMALL, f"{name}.jsonl", map(json.dumps, rows))
    counts = {"rows": ROWS, "tokens": 6000}
    project.lake.write_record("training_files", SMALL, {"train": counts, "valid": counts})
    for model in (SourceDocument, Chunk, RaftRow):
        project.lake.write(model, SMALL, [])
    project.look()
    project.own_variables = azure.variables | {"RAFT_JOB_WAIT_MINUTES": "0"}

    def tick() -> list[dg.RunRequest]:
        with project.instance() as instance:
            return list(job_run_requests(instance, project.graph, ModelClients(project.opened)))

    jobs = Jobs(["running"])
    azure.resource.before, azure.resource.create_job = jobs.answer, jobs.create
    decided = {APPROVAL_TAG: APPROVE_FINE_TUNING}
    before = project.launch(SMALL, "finetuned_model", "deployment", tags=decided | {BACKFILL_TAG: "abcd"})
    assert before.is_success
    found = project.states(SMALL)
    assert (found["finetuned_model"].state, found["deployment"].state) == ("waiting", "missing")
    (reason,) = found["finetuned_model"].reasons
    assert f"Fine-tuning job ftjob-1 of {BASE} is running, submitted 1970-01-01 00:00 UTC" in reason
    assert tick() == []
    jobs.states = ["failed"]
    (request,) = tick()
    assert [key.to_user_string() for key in request.asset_selection or ()] == ["finetuned_model", "deployment"]
    assert request.tags == decided | {
        RESUMES_TAG: before.run_id,
        RESUMED_BACKFILL_TAG: "abcd",  # not Dagster's tag: a lost run of a backfill that has ended isn't retried
        COLLECTS_TAG: "ftjob-1",
    }
    assert not project.launch_requested(request).is_success
    assert "ftjob-1 of gpt-4.1-mini-2025-04-14 ended as failed: row 3 has no assistant" in project.last_failure()
    assert tick() == []  # what failed is left to people
    jobs.states = ["succeeded"]
    assert project.launch(SMALL, "finetuned_model", tags=request.tags).is_success
    assert project.metadata("finetuned_model", SMALL)["model"] == "ft:1"
    assert len(jobs.created) == 1  # whatever becomes of a job, no run that asks for it submits a second one


def test_a_student_that_cannot_be_trained_or_deployed_is_refused_before_anything_is_paid(
    azure: Cloud, project: ProjectHarness
) -> None:
    estimated = project.raft_here("estimate", SMALL, variables={"STUDENT_DEPLOYMENT_SKU": "ProvisionedManaged"})
    assert estimated.returncode == 1
    assert f"Problem: A student of {BASE} can't be deployed as ProvisionedManaged" in estimated.stderr
    run = project.raft_here("run", SMALL, "--yes", variables={"STUDENT_AZURE_OPENAI_DEPLOYMENT": "gpt-5"})
    assert run.returncode == 2
    assert "STUDENT gpt-5 can't be fine-tuned: it is fine-tuned by reinforcement" in run.stderr
    assert not azure.resource.asked


def test_doctor_and_estimate_tell_when_the_student_ends(project: ProjectHarness) -> None:
    told = f"{BASE}: only customers who used it before can train it"
    assert f"warning  life cycle STUDENT: {told}" in project.raft_here("doctor").stdout
    estimated = project.raft_here("estimate", SMALL)
    assert estimated.returncode == 0
    assert f"STUDENT: {told}" in estimated.stderr
