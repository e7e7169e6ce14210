"""The whole lineage on Azure OpenAI without a key, by the real libraries and production names; and what comes after."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from raft_assets.defs.automation import job_run_requests
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import BACKFILL_TAG, BUDGET_TAG, COLLECTS_TAG, RESUMES_TAG
from raft_assets_tests.azure.cloud import BASE, KEY, Cloud, cloud
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

SUBMITTED = 1_795_867_200  # 2026-11-28 12:00 UTC
NAME = re.compile(r"raft-small-[0-9a-f]{8}")


def job_that_is(status: str, tuned: Mapping[str, Any]) -> Callable[[Request], JSONResponse | None]:
    """What the service says in place of the provider when a job is looked at."""

    def answer(request: Request) -> JSONResponse | None:
        if request.method != "GET" or not request.url.path.endswith(f"/fine_tuning/jobs/{tuned['job']}"):
            return None
        return JSONResponse(
            {
                "id": tuned["job"],
                "object": "fine_tuning.job",
                "created_at": SUBMITTED,
                "model": BASE,
                "training_file": "file-1",
                "status": status,
                "metadata": {"raft_training_hash": tuned["training_hash"]},
                "hyperparameters": {"n_epochs": 1},
                "organization_id": "o",
                "result_files": [],
                "seed": 0,
            }
        )

    return answer


@pytest.fixture(scope="module")
def azure() -> Iterator[Cloud]:
    """One subscription for the module: its tests stand in the order of a deployment's life."""
    with cloud(with_storage=True) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.variables.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def project(azure: Cloud, tmp_path_factory: pytest.TempPathFactory) -> ProjectHarness:
    """A project whose every role is on Azure; one document went through the whole lineage."""
    found = ProjectHarness(tmp_path_factory.mktemp("azure"))
    found.own_variables = azure.variables
    found.copy_domain("bats", SMALL, documents=1)
    azure.resource.not_ready = 2
    done = found.raft("run", SMALL, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return found


def test_every_model_was_asked_on_azure_and_the_student_by_its_deployment(
    azure: Cloud, project: ProjectHarness
) -> None:
    (name,) = azure.management.deployments
    assert NAME.fullmatch(name)
    assert set(azure.resource.asked) == {"teacher", "embedding", BASE, name}
    paths = {path for _, path in azure.resource.seen}
    assert {"/openai/deployments/teacher/chat/completions", "/openai/v1/embeddings"} <= paths
    assert project.not_fresh(SMALL) == {}
    assert project.metadata("deployment", SMALL)["hosting_us_dollars_a_month"] == 0.0


def test_a_deployment_tells_whose_it_is_and_when_it_ends(azure: Cloud, project: ProjectHarness) -> None:
    (deployment,) = azure.management.deployments.values()
    tuned = project.lake.read_record("finetuned_model", SMALL)
    assert deployment["tags"]["raft-training-hash"] == tuned["training_hash"]
    assert deployment["properties"]["model"]["name"] == tuned["model"]
    record = project.lake.read_record("deployment", SMALL)
    assert record["expires"] == deployment["tags"]["raft-expires"]


def test_the_lake_is_asked_where_it_lies_and_nothing_of_it_is_on_this_machine(project: ProjectHarness) -> None:
    asked = project.raft_here("sql", "SELECT count(*) AS n FROM student_answers WHERE status = 'ok'", "--json")
    assert json.loads(asked.stdout)["n"] > 50
    assert project.raft_here("report", SMALL).stdout.startswith("abfs://lake/raft/eval_report/small.html")
    assert not list(project.folder.rglob("*.parquet"))
    assert "AzureBlobComputeLogManager" in (project.opened.dagster_home / "dagster.yaml").read_text()


def test_another_machine_finds_job_and_deployment_and_pays_for_neither(
    azure: Cloud, project: ProjectHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = azure.management.count("PUT"), len(azure.resource.training_types)
    other = ProjectHarness(tmp_path_factory.mktemp("other"))
    other.own_variables = azure.variables
    other.copy_domain("bats", SMALL, documents=1)
    other.look()
    assert other.materialize_only(SMALL, "finetuned_model")
    assert other.metadata("finetuned_model", SMALL)["found_again"] is True
    assert other.materialize_only(SMALL, "deployment")
    assert (azure.management.count("PUT"), len(azure.resource.training_types)) == before


def test_a_run_that_no_command_follows_ends_while_its_job_goes_on_and_a_sensor_has_it_resumed(
    azure: Cloud, project: ProjectHarness
) -> None:
    project.own_variables = azure.variables | {"RAFT_JOB_WAIT_MINUTES": "0"}
    tuned, submitted = project.lake.read_record("finetuned_model", SMALL), list(azure.resource.training_types)
    job = tuned["job"]

    def tick() -> list[dg.RunRequest]:
        with project.instance() as instance:
            return list(job_run_requests(instance, project.graph, ModelClients(project.opened)))

    azure.resource.before = job_that_is("running", tuned)
    before = project.launch(SMALL, "finetuned_model", "deployment", tags={BACKFILL_TAG: "abcd", BUDGET_TAG: "5"})
    assert before.is_success
    found = project.states(SMALL)
    assert (found["finetuned_model"].state, found["deployment"].shown) == ("waiting", "will follow")
    (reason,) = found["finetuned_model"].reasons
    assert f"job {job} of {BASE} is running, submitted 2026-11-28 12:00 UTC" in reason
    assert tick() == []
    azure.resource.before = job_that_is("failed", tuned)
    (request,) = tick()
    assert [key.to_user_string() for key in request.asset_selection or ()] == ["finetuned_model", "deployment"]
    carried = {BACKFILL_TAG: "abcd", BUDGET_TAG: "5", RESUMES_TAG: before.run_id, COLLECTS_TAG: job}
    assert request.tags == carried
    assert not project.launch_requested(request).is_success
    assert f"Fine-tuning job {job} of {BASE} ended as failed" in project.last_failure()
    assert tick() == []  # what failed is left to people
    azure.resource.before = lambda _: None
    assert project.launch_requested(request).is_success
    assert project.not_fresh(SMALL) == {}
    assert azure.resource.training_types == submitted  # whatever became of the job, there is no second one
    project.own_variables = azure.variables


def test_doctor_proves_every_role_and_the_right_to_deploy(azure: Cloud, project: ProjectHarness) -> None:
    sound = project.raft_here("doctor")
    assert sound.returncode == 0, sound.stdout
    for said in (
        "ok       role TEACHER: teacher at https://raft-openai.openai.azure.com answers",
        "ok       role EMBEDDING: embedding at https://raft-openai.openai.azure.com embeds with 384 dimensions",
        f"ok       role STUDENT: {BASE} at https://raft-openai.openai.azure.com fine-tuning is permitted",
        "ok       deployment: models may be deployed at raft-openai (resource group rg-raft)",
        "warning  price TEACHER: the price of teacher is unknown (input, output). Add it to prices.yaml, or set",
    ):
        assert said in sound.stdout
    azure.management.actions = ["*/read"]
    azure.identity.valid.clear()
    lacking = project.raft_here(
        "doctor", variables={"TEACHER_AZURE_OPENAI_DEPLOYMENT": "nowhere", "TEACHER_MODEL": "gpt-4o"}
    )
    azure.management.actions = ["*"]
    assert lacking.returncode == 1
    assert "may not deploy models at raft-openai: ask for the role Cognitive Services Contributor" in lacking.stdout
    assert "problem  role TEACHER: TEACHER (model nowhere" in lacking.stdout
    assert re.search(
        r"does not exist there \(404: .*\): set the model in TEACHER_AZURE_OPENAI_DEPLOYMENT", lacking.stdout
    )


def test_status_tells_what_stands_and_what_it_costs(project: ProjectHarness) -> None:
    shown = project.raft_here("status", variables={"COLUMNS": "200"}).stdout
    assert re.search(r"raft-small-[0-9a-f]{8}\s+small\s+Succeeded\s+DeveloperTier, 50 .* 0\.00", shown)


def test_a_deployment_that_is_gone_is_told_and_made_again_where_that_is_allowed(
    azure: Cloud, project: ProjectHarness
) -> None:
    azure.management.deployments.clear()
    asked = azure.resource.asked.total()
    assert not project.materialize_only(SMALL, "student_answers")
    assert azure.resource.asked.total() == asked
    assert "can't be called: the deployment raft-small-" in project.last_failure()
    project.own_variables = azure.variables | {"RAFT_REDEPLOY": "1"}
    azure.resource.not_ready = 1  # which is waited out
    assert project.materialize_only(SMALL, "student_answers")
    assert len(azure.management.deployments) == 1


def test_answers_of_another_model_under_the_same_name_are_not_taken(azure: Cloud, project: ProjectHarness) -> None:
    project.own_variables = azure.variables
    (deployment,) = azure.management.deployments.values()
    right = deployment["properties"]["model"]["name"]
    deployment["properties"]["model"]["name"] = "ft:embedded-reader:somebody-else"
    assert not project.materialize_only(SMALL, "student_answers")
    assert "now holds another model" in project.last_failure()
    puts = azure.management.count("PUT")
    assert project.materialize_only(SMALL, "deployment")  # which updates it
    assert azure.management.count("PUT") == puts + 1
    (deployment,) = azure.management.deployments.values()
    assert deployment["properties"]["model"]["name"] == right


def test_teardown_deletes_what_it_is_told_and_nothing_of_others(azure: Cloud, project: ProjectHarness) -> None:
    foreign = {"sku": {"name": "Standard", "capacity": 1}, "properties": {"provisioningState": "Succeeded"}}
    azure.management.deployments["gpt-4o"] = foreign
    for kept in (("--expired",), ("--idle", "1"), ("--all", "--dry-run")):
        assert project.raft_here("teardown", *kept).returncode == 0
        assert len(azure.management.deployments) == 2
    assert project.raft_here("teardown").returncode == 2
    gone = project.raft_here("teardown", SMALL)
    assert NAME.search(gone.stdout)
    assert list(azure.management.deployments) == ["gpt-4o"]


def test_no_token_or_secret_of_the_machine_stays_anywhere(azure: Cloud, project: ProjectHarness) -> None:
    secrets = [token.encode() for token in azure.identity.valid] + [b"secret-of-the-machine", KEY.encode()]
    files = [file for folder in (project.folder, azure.storage) for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert any(b"train.jsonl" in file.read_bytes() for file in files)  # the lake is among them
    assert [file for file in files for secret in secrets if secret in file.read_bytes()] == []
