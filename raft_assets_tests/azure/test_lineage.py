"""The whole lineage on Azure OpenAI without a key, by the real libraries and production names; and what comes after."""

import json
import re
from collections.abc import Iterator

import pytest

from raft_assets_tests.azure.cloud import BASE, KEY, Cloud, cloud
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

NAME = re.compile(r"raft-small-[0-9a-f]{8}")


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
