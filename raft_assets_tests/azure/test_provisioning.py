"""From an empty subscription to a report and back: what azd's hooks call, against the emulated management plane."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raft_assets_tests.azure import data_plane
from raft_assets_tests.azure.blob import ACCOUNT as STORAGE
from raft_assets_tests.azure.cloud import RESOURCE, Cloud, cloud
from raft_assets_tests.azure.management import ACCOUNT, GROUP, SUBSCRIPTION
from raft_assets_tests.azure.model_lists import EMBEDS, listed, sku
from raft_assets_tests.azure.resource_manager import put_models
from raft_assets_tests.harness import REPOSITORY, ProjectHarness
from raft_assets_tests.infra.evaluate import Deployment, deploy
from raft_assets_tests.infra.test_infra import INFRA
from raft_assets_tests.infra.types import official
from raft_assets_tests.provisioning import azd_up
from raft_assets_tests.provisioning.azd import install_azd, new_environment, values_of

ACCOUNT_ID = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.CognitiveServices/accounts/{ACCOUNT}"
)
TEACHER, STUDENT, EMBEDDING = "gpt-oss-120b", "gpt-oss-20b", "text-embedding-3-small"
LISTED = {TEACHER: ("OpenAI-OSS", "1"), STUDENT: ("Microsoft", "11"), EMBEDDING: ("OpenAI", "1")}
NAMES = {
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP": GROUP,
    "AZURE_PRINCIPAL_ID": "aaaaaaaa-0000-0000-0000-000000000001",
    "RAFT_ACCOUNT_NAME": ACCOUNT,
}
QUOTA = {"teacher": (200.0, 0.0), "student": (200.0, 0.0), "embedding": (200.0, 0.0)}


def _deployment(model: str, *roles: str, capacity: int = 50) -> dict[str, object]:
    model_format, version = LISTED[model]
    return {
        "name": model,
        "format": model_format,
        "model": model,
        "version": version,
        "sku": "GlobalStandard",
        "capacity": capacity,
        "roles": roles,
    }


CHOSEN = {
    "AZURE_LOCATION": "swedencentral",
    "RAFT_DEPLOYMENTS": json.dumps(
        [
            _deployment(TEACHER, "TEACHER", capacity=100),
            _deployment(STUDENT, "BASELINE"),
            _deployment(EMBEDDING, "EMBEDDING"),
        ]
    ),
    "RAFT_STUDENT": json.dumps(
        {
            "model": STUDENT,
            "version": "11",
            "format": "Microsoft",
            "training_type": "globalStandard",
            "deployment_sku": "GlobalStandard",
            "deployment_capacity": 100,
        }
    ),
}


@pytest.fixture
def azure() -> Iterator[Cloud]:
    """A subscription that lists three models with quota for them, and serves them once they are deployed."""
    with cloud() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.variables.items():
            patch.setenv(name, value)
        patch.setitem(data_plane.BASE_MODELS, STUDENT, "embedded-reader")
        found.management.lists.models = [
            listed(TEACHER, "1", "OpenAI-OSS", skus=[sku(usage="teacher", minimum=1)]),
            listed(STUDENT, "11", "Microsoft", skus=[sku(usage="student", minimum=1)]),
            listed(EMBEDDING, "1", "OpenAI", capabilities=EMBEDS, skus=[sku(usage="embedding", minimum=1)]),
        ]
        found.management.lists.quota = dict(QUOTA)
        found.resource.stands_in = {
            TEACHER: "embedded-teacher",
            STUDENT: "embedded-reader",
            EMBEDDING: "embedded-encoder",
        }
        yield found


@pytest.fixture
def project(azure: Cloud, tmp_path: Path) -> ProjectHarness:
    """A project with a fake azd, and one azd environment in which models are chosen."""
    found = ProjectHarness(tmp_path / "project")
    path = f"{install_azd(tmp_path / 'bin')}:{os.environ['PATH']}"
    found.own_variables = {"PATH": path, **azure.internet.variables, **azure.identity.variables}
    new_environment(found.folder, "mine", **NAMES, **CHOSEN)
    return found


def change(project: ProjectHarness, **values: str) -> None:
    file = project.folder / ".azure" / "mine" / "values.json"
    file.write_text(json.dumps(values_of(project.folder, "mine") | values))


def provision(azure: Cloud, project: ProjectHarness, *, models: bool = True) -> Deployment:
    """What `azd provision` does between its hooks."""
    found = deploy(INFRA, values_of(project.folder, "mine"), official())
    assert found.findings == []
    azure.groups.create(found)
    if models:
        put_models(found)
    change(project, **{**found.outputs, "RAFT_ACCOUNT_ENDPOINT": f"https://{ACCOUNT}.cognitiveservices.azure.com/"})
    return found


def test_before_provisioning_everything_that_can_fail_is_asked(azure: Cloud, project: ProjectHarness) -> None:
    done = project.raft_here("azure", "preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "azd environment mine (the only one)",
        f"ok       models: {TEACHER} (GlobalStandard, 100) for TEACHER, {STUDENT} (GlobalStandard, 50) for BASELINE, "
        f"{EMBEDDING} (GlobalStandard, 50) for EMBEDDING",
        "ok       values: switches, budget and addresses can be read",
        "ok       account: no deleted account holds its name",
        "ok       quota: every model is offered in swedencentral within what is left of the quota",
        "ok       rights: you may deploy and assign roles on the subscription",
    ]


def test_a_model_that_is_listed_for_a_second_kind_of_account_is_still_offered(
    azure: Cloud, project: ProjectHarness
) -> None:
    teacher = azure.management.lists.models[0].model
    azure.management.lists.models.append(listed(teacher.name, teacher.version, teacher.format, kind="OpenAI", skus=[]))
    done = project.raft_here("azure", "preflight")
    assert done.returncode == 0, done.stdout + done.stderr


def _retired(azure: Cloud) -> None:
    azure.management.lists.models[0].model.lifecycle_status = "Deprecated"


def _not_listed(azure: Cloud) -> None:
    del azure.management.lists.models[1]


def _without_sku(azure: Cloud) -> None:
    azure.management.lists.models[2].model.skus = [sku("ProvisionedManaged")]


def _quota_used(azure: Cloud) -> None:
    azure.management.lists.quota["teacher"] = (200.0, 150.0)


def _deleted_softly(azure: Cloud) -> None:
    azure.management.account_is = "deleted softly"


def _may_not_assign(azure: Cloud) -> None:
    azure.groups.granted = ({"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]},)


def _may_not_deploy(azure: Cloud) -> None:
    azure.groups.granted = ({"actions": ["*/read"], "notActions": []},)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_retired, "gpt-oss-120b 1 is retired in swedencentral: choose again with `raft azure configure`"),
        (_not_listed, "gpt-oss-20b 11 is not offered any more in swedencentral"),
        (_without_sku, "text-embedding-3-small can't be deployed as GlobalStandard in swedencentral"),
        (_quota_used, "gpt-oss-120b asks for 100 thousand tokens a minute (GlobalStandard) and 50 are left"),
        (
            _deleted_softly,
            "az cognitiveservices account purge --location swedencentral --resource-group rg-raft --name raft",
        ),
        (
            _may_not_assign,
            "roleAssignments/write on the subscription: ask for the role Role Based Access Control Admin",
        ),
        (_may_not_deploy, "deployments/write on the subscription: ask for the role Contributor"),
    ],
)
def test_what_would_fail_after_minutes_is_told_before(
    azure: Cloud, project: ProjectHarness, fault: Callable[[Cloud], None], said: str
) -> None:
    fault(azure)
    refused = project.raft_here("azure", "preflight")
    assert refused.returncode == 1
    (problem,) = [line for line in refused.stdout.splitlines() if line.startswith("problem")]
    assert said in problem


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"RAFT_IP_RANGES": '["203.0.113.7/32"]'}, "a single address without /32"),
        ({"RAFT_IP_RANGES": '["10.0.0.0/8"]'}, "public IPv4 addresses"),
        ({"RAFT_IP_RANGES": "203.0.113.7"}, "must be a JSON list"),
        ({"RAFT_BUDGET": "fifty"}, "whole number of US dollars a month"),
        ({"RAFT_MONITORING": "no"}, "allowed is true or false: `azd env set RAFT_MONITORING true`"),
        ({"RAFT_DEPLOYMENTS": ""}, "run `raft azure configure`"),
        ({"RAFT_RESTORE_ACCOUNT": "true"}, "no account of this environment was deleted"),
        ({"RAFT_EXISTING_ACCOUNT": "theirs"}, "must be a resource id"),
        ({"RAFT_EXISTING_ACCOUNT": f"{ACCOUNT_ID}-gone"}, "there is no account raft-openai-gone in rg-raft"),
        ({"RAFT_EXISTING_GROUP": "true"}, "there is no resource group rg-raft: set AZURE_RESOURCE_GROUP"),
    ],
)
def test_values_that_a_template_refuses_are_told_with_what_to_set(
    azure: Cloud, project: ProjectHarness, values: dict[str, str], said: str
) -> None:
    change(project, **values)
    refused = project.raft_here("azure", "preflight")
    assert refused.returncode == 1
    assert said in refused.stdout


def test_an_account_of_others_is_checked_where_it_lies(azure: Cloud, project: ProjectHarness) -> None:
    azure.groups.groups["rg-ours"] = {}
    azure.groups.account_location = "francecentral"
    change(project, AZURE_RESOURCE_GROUP="rg-ours", RAFT_EXISTING_ACCOUNT=ACCOUNT_ID)
    done = project.raft_here("azure", "preflight")
    assert done.returncode == 0, done.stdout
    assert "every model is offered in francecentral within what is left of the quota" in done.stdout
    assert "on the resource group rg-ours and the resource group rg-raft of raft-openai" in done.stdout
    azure.groups.granted_in[GROUP] = ({"actions": ["*/read"], "notActions": []},)
    refused = project.raft_here("azure", "preflight")
    assert refused.returncode == 1
    assert "deployments/write on the resource group rg-raft of raft-openai: ask for the role Contrib" in refused.stdout


def test_an_unchanged_template_counts_its_quota_once(azure: Cloud, project: ProjectHarness) -> None:
    provision(azure, project)
    azure.management.lists.quota = {name: (limit, 150.0) for name, (limit, _) in QUOTA.items()}
    again = project.raft_here("azure", "preflight")
    assert again.returncode == 0, again.stdout
    assert "you may deploy and assign roles on the resource group rg-raft" in again.stdout


def test_without_a_sign_in_azd_goes_on_and_what_was_not_checked_is_said(azure: Cloud, project: ProjectHarness) -> None:
    azure.identity.refuses = True
    done = project.raft_here("azure", "preflight")
    assert done.returncode == 0
    assert "warning  account: Azure's management plane is asked, and signing in failed" in done.stdout
    change(project, AZURE_SUBSCRIPTION_ID="")
    assert "so Azure was not asked: azd will ask for them" in project.raft_here("azure", "preflight").stdout


def test_a_group_that_azd_did_not_make_is_never_handed_to_it(azure: Cloud, project: ProjectHarness) -> None:
    azure.groups.groups[GROUP] = {"owner": "somebody"}
    for values in (
        {},
        {"RAFT_EXISTING_GROUP": "true"},
        {"RAFT_EXISTING_ACCOUNT": ACCOUNT_ID.replace(GROUP, "rg-theirs")},
    ):
        change(project, **values)
        refused = project.raft_here("azure", "predown")
        assert refused.returncode == 2
        assert "would delete the whole resource group" in refused.stderr
        assert "az resource list --tag azd-env-name=mine" in refused.stderr
    assert "--name raft-openai --deployment-name NAME" in refused.stderr


def test_what_lies_on_azure_is_told_before_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud(with_storage=True) as found:
        project = ProjectHarness(tmp_path / "project")
        path = f"{install_azd(tmp_path / 'bin')}:{os.environ['PATH']}"
        project.own_variables = {"PATH": path, **found.internet.variables, **found.identity.variables}
        values = {"RAFT_STORAGE_NAME": STORAGE, "RAFT_LAKE_ON_AZURE": "true"}
        new_environment(project.folder, "mine", **NAMES, **CHOSEN, **values)
        provision(found, project, models=False)
        assert project.raft_here("azure", "export").returncode == 0
        for name, value in project.own_variables.items():
            monkeypatch.setenv(name, value)
        assert project.opened.lake == found.lake
        project.lake.write_text("qa_dataset", "bats", ".parquet", "rows")
        project.lake.write_record("finetuned_model", "bats", {"model": "ft:1"})
        told = project.raft_here("azure", "predown")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "azd environment mine (the only one)",
        "lost for good: student of bats: ft:1, which would be trained and paid again",
        f"lost for good: lake {found.lake}: 2 files, datasets of bats",
        f"lost for good: paid calls abfs://calls@{STORAGE}.dfs.core.windows.net/raft: all answers would have to be "
        "paid again, except what this machine keeps",
    ]


def _blocks() -> list[list[str]]:
    """The commands of the document, block by block."""
    text = (REPOSITORY / "docs" / "azure" / "provisioning.md").read_text("utf-8")
    return [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]


def test_the_document_leads_from_nothing_to_a_report_and_back(azure: Cloud, tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    project.own_variables = {
        "PATH": f"{azd_up.install(tmp_path / 'bin')}:{os.environ['PATH']}",
        "FAKE_AZD_VALUES": json.dumps(NAMES),
        **azure.internet.variables,
        **azure.identity.variables,
    }
    project.copy_domain("bats", "mine", documents=1)
    late = iter(range(3))  # new roles don't hold at once
    azure.resource.before = lambda _: _forbidden() if next(late, None) is not None else None
    install, whole, switches, _ = _blocks()
    assert (REPOSITORY / install[0].split()[-1]).is_file()
    said: dict[str, str] = {}
    for line in whole:
        done = subprocess.run(
            ["sh", "-c", line.replace("raft run mine", "raft run mine --yes")],
            cwd=project.folder,
            env=project.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said[line] = done.stdout
    up = said["azd up"]
    assert "ok       quota: every model is offered in swedencentral within what is left of the quota" in up
    assert "waiting until roles hold: " in up
    assert f"ok       role TEACHER: {TEACHER} at {RESOURCE} answers" in up
    assert "ok       deployment: models may be deployed at raft-openai (resource group rg-raft)" in up
    assert azure.resource.training_types == ["globalStandard"]
    assert (project.folder / project.raft_here("report", "mine").stdout.strip()).is_file()
    for name, purpose in ((TEACHER, "TEACHER"), (STUDENT, "BASELINE"), (EMBEDDING, "EMBEDDING")):
        assert re.search(rf"{name} .* {purpose} .* 0\.00 ", said["raft azure status"]), said["raft azure status"]
    assert "raft-mine" in said["raft teardown --all"]
    assert set(azure.management.deployments) == {TEACHER, STUDENT, EMBEDDING}
    assert f"lost for good: deployment {TEACHER} (TEACHER)" in said["azd down --purge"]
    assert "lost for good: student of mine: ft:" in said["azd down --purge"]
    text = (project.folder / ".env.state").read_text("utf-8")
    assert not any(token in text for token in azure.identity.valid)

    for line in switches[:-1]:
        subprocess.run(["sh", "-c", line], cwd=project.folder, env=project.variables, capture_output=True, check=True)
    found = deploy(INFRA, values_of(project.folder, "mine"), official())
    assert found.findings == []
    assert (len(found.of("budgets")), len(found.of("components"))) == (1, 0)
    assert found.of("budgets")[0].body["properties"]["amount"] == 50
    assert values_of(project.folder, "mine")["RAFT_LAKE_ON_AZURE"] == "true"


def _forbidden() -> object:
    return data_plane._error(403, "PermissionDenied", "The principal lacks the required data action.")
