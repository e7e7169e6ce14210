"""`raft azure export`: what `.env.state` holds after azd provisioned, and what it never does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from raft_assets.settings.endpoints import Role
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.infra.evaluate import deploy
from raft_assets_tests.infra.test_infra import INFRA, MODELS, PLAIN, SWITCHES
from raft_assets_tests.infra.types import official
from raft_assets_tests.provisioning.azd import install_azd, new_environment

STUDENT = {
    "model": "gpt-oss-20b",
    "version": "1",
    "format": "Microsoft",
    "training_type": "globalStandard",
    "deployment_sku": "GlobalStandard",
    "deployment_capacity": 100,
}


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path / "project")
    found.own_variables = {"PATH": f"{install_azd(tmp_path / 'bin')}:{os.environ['PATH']}"}
    return found


def provision(project: ProjectHarness, name: str = "mine", *, is_default: bool = True, **switches: str) -> None:
    """What is left by `azd provision`: the environment, and in it the outputs of the template."""
    values = PLAIN | {"RAFT_STUDENT": json.dumps(STUDENT), "AZURE_SUBSCRIPTION_ID": "1" * 8} | switches
    values["AZURE_ENV_NAME"] = name
    outputs = deploy(INFRA, values, official()).outputs
    outputs["RAFT_ACCOUNT_ENDPOINT"] = "https://aif-1.cognitiveservices.azure.com/"
    new_environment(project.folder, is_default=is_default, name=name, **{**values, **outputs})


def state(project: ProjectHarness) -> dict[str, str]:
    lines = (project.folder / ".env.state").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_every_role_is_asked_where_it_was_provisioned_and_nothing_else_is_exported(project: ProjectHarness) -> None:
    provision(project)
    done = project.raft_here("azure", "export")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["azd environment mine (the only one)", ".env.state is written"]
    asked = {role: (one.service, one.model, one.base_model) for role, one in project.opened.endpoints.items()}
    address = "https://aif-1.openai.azure.com"
    assert asked == {
        Role.TEACHER: (address, "gpt-5-mini", "gpt-5-mini"),
        Role.JUDGE: (address, "gpt-5-mini", "gpt-5-mini"),
        Role.BASELINE: (address, "gpt-5-mini", "gpt-5-mini"),
        Role.EMBEDDING: (address, "text-embedding-3-small", "text-embedding-3-small"),
        Role.STUDENT: (address, "gpt-oss-20b", "gpt-oss-20b"),
    }
    hosting = project.opened.environment.hosting()
    assert (hosting.sku, hosting.capacity, hosting.model_format) == ("GlobalStandard", 100, "Microsoft")
    assert (hosting.training_type, hosting.resource_group) == ("globalStandard", "rg-mine")
    assert not project.opened.lake.startswith("abfs")
    assert not [name for name in state(project) if "KEY" in name or name == "AZURE_OPENAI_ENDPOINT"]
    assert not (project.folder / "config.json").exists()


def test_a_second_export_changes_nothing_and_env_stays_as_it_is(project: ProjectHarness) -> None:
    provision(project)
    own = project.write(
        ".env", "TEACHER_OPENAI_API_KEY=sk-own\nTEACHER_OPENAI_DEPLOYMENT=mine\nSTUDENT_DEPLOYMENT_CAPACITY=7"
    )
    first = project.raft_here("azure", "export").stdout
    assert "TEACHER is configured in .env, and left out" in first
    assert "STUDENT_DEPLOYMENT_CAPACITY is set to something else in .env, which comes first" in first
    assert (project.opened.endpoints[Role.TEACHER].model, project.opened.environment.hosting().capacity) == ("mine", 7)
    file = project.folder / ".env.state"
    before = file.stat().st_mtime_ns
    assert ".env.state is unchanged" in project.raft_here("azure", "export").stdout
    assert file.stat().st_mtime_ns == before
    assert "sk-own" in own.read_text()
    assert "sk-own" not in file.read_text()
    assert [one.name for one in project.folder.iterdir() if one.name.endswith(".part")] == []


def test_a_student_that_a_run_serves_stays_the_student_and_stays_known(project: ProjectHarness) -> None:
    provision(project)
    project.write(".env", "STUDENT_LOCAL_MODEL=models/tiny\n")
    served = "STUDENT_LOCAL_SERVED='http://127.0.0.1:8321/v1 tiny@0123456789ab models/tiny'"
    project.write(".env.state", f"{served}\n")
    done = project.raft_here("azure", "export")
    assert "STUDENT is configured in .env, and left out" in done.stdout, done.stderr
    lines = (project.folder / ".env.state").read_text().splitlines()
    assert served in lines
    assert not any(line.startswith("STUDENT_AZURE") for line in lines)
    assert ".env.state is unchanged" in project.raft_here("azure", "export").stdout


def test_the_lake_moves_only_where_that_was_chosen_and_a_run_names_what_stays_behind(project: ProjectHarness) -> None:
    provision(project, RAFT_LAKE_ON_AZURE="true", RAFT_STORAGE_NAME="straft1")
    project.raft_here("azure", "export")
    assert project.opened.lake == "abfs://lake@straft1.dfs.core.windows.net/raft"
    assert project.opened.calls_address == "abfs://calls@straft1.dfs.core.windows.net/raft"
    project.write(".raft/lake/chunks/bats.parquet", "rows")
    project.copy_domain("bats", documents=1)
    elsewhere = {"RAFT_LAKE": str(project.folder / "other"), "RAFT_CALLS": str(project.folder / "calls")}
    said = project.raft_here(
        "run", "bats", "--select", "source_documents", variables={"RAFT_PROVIDER": "embedded", **elsewhere}
    )
    assert f"{project.folder / '.raft' / 'lake'} stays behind" in said.stdout, said.stderr


def test_of_two_environments_the_one_that_is_meant_is_exported_and_named(project: ProjectHarness) -> None:
    provision(project, "one")
    provision(project, "two", is_default=False)
    assert project.raft_here("azure", "export").stdout.startswith("azd environment one (azd's default; others: two)")
    named = project.raft_here("azure", "export", "--environment", "two")
    assert named.stdout.startswith("azd environment two (named; others: one)")
    assert state(project)["AZURE_RESOURCE_GROUP"] == "rg-two"
    hooked = project.raft_here("azure", "export", variables={"AZURE_ENV_NAME": "one"})
    assert hooked.stdout.startswith("azd environment one")
    assert state(project)["AZURE_RESOURCE_GROUP"] == "rg-one"


def test_only_the_classic_path_writes_config_json_and_never_over_another(project: ProjectHarness) -> None:
    provision(project, **SWITCHES["classic"], RAFT_HUB_PROJECT_NAME="proj1")
    assert "config.json is written" in project.raft_here("azure", "export").stdout
    workspace = {"AZUREML_WORKSPACE": "proj1", "AZURE_RESOURCE_GROUP": "rg-mine"}
    found = json.loads((project.folder / "config.json").read_text())
    assert (found["workspace_name"], found["resource_group"]) == tuple(workspace.values())
    project.write("config.json", json.dumps(found | {"workspace_name": "somebody's"}))
    refused = project.raft_here("azure", "export")
    assert refused.returncode == 2
    assert "names another workspace: move it away" in refused.stderr


def test_the_workspace_lies_in_its_own_group_also_beside_an_account_of_others(project: ProjectHarness) -> None:
    provision(project, **(SWITCHES["classic"] | SWITCHES["existing account"]), RAFT_HUB_PROJECT_NAME="proj1")
    project.raft_here("azure", "export")
    assert state(project)["AZURE_RESOURCE_GROUP"] == "rg-theirs"
    workspace = project.opened.environment.ml_workspace()
    assert (workspace.name, workspace.resource_group) == ("proj1", "rg-mine")


def test_an_account_of_others_is_deployed_to_where_it_lies(project: ProjectHarness) -> None:
    provision(project, **SWITCHES["existing account"])
    project.raft_here("azure", "export")
    found = state(project)
    assert found["AZURE_RESOURCE_GROUP"] == "rg-theirs"
    assert found["AZURE_SUBSCRIPTION_ID"] in SWITCHES["existing account"]["RAFT_EXISTING_ACCOUNT"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Nothing is provisioned in the azd environment mine"),
        ({"RAFT_DEPLOYMENTS": "[{]"}, "RAFT_DEPLOYMENTS of the azd environment can't be read: run `raft azure conf"),
        ({"RAFT_DEPLOYMENTS": ""}, "No model is chosen"),
        ({"RAFT_LAKE_ON_AZURE": "yes"}, "allowed is true or false"),
        ({"RAFT_ACCOUNT_ID": "mine"}, "must be a resource id, such as /subscriptions/ID"),
        ({"RAFT_ACCOUNT_ENDPOINT": "https://swedencentral.api.cognitive.microsoft.com/"}, "without a subdomain"),
    ],
)
def test_what_can_not_be_exported_is_told_and_nothing_is_written(
    project: ProjectHarness, values: dict[str, Any], said: str
) -> None:
    provisioned = {
        "RAFT_ACCOUNT_ID": SWITCHES["existing account"]["RAFT_EXISTING_ACCOUNT"],
        "RAFT_ACCOUNT_ENDPOINT": "https://aif-1.openai.azure.com/",
        "RAFT_DEPLOYMENTS": json.dumps(MODELS),
    }
    new_environment(project.folder, "mine", **((provisioned | values) if values else {}))
    refused = project.raft_here("azure", "export")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not (project.folder / ".env.state").exists()
