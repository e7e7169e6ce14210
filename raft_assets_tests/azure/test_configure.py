"""`raft azure configure` with a subscription: what ARM lists decides, and what it refuses is said."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from raft_assets_tests.azure.cloud import Cloud
from raft_assets_tests.azure.management import ACCOUNT, SUBSCRIPTION
from raft_assets_tests.azure.model_lists import listed, sku
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.provisioning.azd import install_azd, new_environment, values_of

Configure = Callable[..., CompletedProcess[str]]
TEACHER_QUOTA = "AIServices.GlobalStandard.gpt-oss-120b"


@pytest.fixture
def project(azure: Cloud, tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path / "project")
    path = f"{install_azd(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
    found.own_variables = azure.internet.variables | azure.identity.variables | {"PATH": path}
    new_environment(found.folder, "mine", AZURE_SUBSCRIPTION_ID=SUBSCRIPTION)
    return found


@pytest.fixture
def configure(project: ProjectHarness) -> Configure:
    return lambda *options: project.raft_here("azure", "configure", "--yes", *options)


def deployments(project: ProjectHarness) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(values_of(project.folder, "mine")["RAFT_DEPLOYMENTS"])}


def test_what_azure_lists_is_chosen_from_all_pages_of_it(project: ProjectHarness, configure: Configure) -> None:
    done = configure("--judge", "Mistral-Large-3", "--capacity", "judge=250")
    assert done.returncode == 0, done.stderr
    assert f"Azure's lists for swedencentral of subscription {SUBSCRIPTION}" in done.stdout
    found = deployments(project)
    assert found.keys() == {"gpt-oss-120b", "gpt-oss-20b", "text-embedding-3-small", "Mistral-Large-3"}
    judge = found["Mistral-Large-3"]
    assert (judge["version"], judge["sku"], judge["capacity"]) == ("2", "DataZoneStandard", 250)  # the newest version
    assert "shipped list" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # ARM's dates count: it puts gpt-4.1-mini's end off by a year, and still lets no new customer deploy it
        (["--student", "gpt-4.1-mini"], "only customers who use it already can deploy it, until 2027-10-14; instead"),
        (["--teacher", "gpt-4o"], "it was retired on 2026-10-01; instead gpt-5.1"),
        (["--teacher", "DeepSeek-V3.2"], "it has no deployment by token in swedencentral: try eastus2"),
        (
            ["--teacher", "Llama-3.3-70B-Instruct"],
            "it has no deployment by token in swedencentral",
        ),  # its SKU has ended
        (["--student", "Contoso-Chat"], "not among the models that this product knows to be fine-tuned"),
        (["--teacher", "gpt-5.1"], "There is no model 'gpt-5.1' in swedencentral"),
        (["--judge", "FLUX-1.1-pro"], "There is no model 'FLUX-1.1-pro'"),  # it neither answers nor embeds
        (["--judge", "Mistral-Large-3", "--capacity", "judge=20"], "at least 50 thousand tokens a minute"),
        (["--judge", "Mistral-Large-3", "--capacity", "judge=120"], "in steps of 50"),
    ],
)
def test_what_azure_does_not_offer_is_refused_with_the_reason(
    project: ProjectHarness, configure: Configure, options: list[str], said: str
) -> None:
    done = configure(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "RAFT_DEPLOYMENTS" not in values_of(project.folder, "mine")


def test_a_publisher_that_nobody_knows_may_teach_by_its_own_format(
    project: ProjectHarness, configure: Configure
) -> None:
    assert configure("--teacher", "Contoso-Chat").returncode == 0
    assert deployments(project)["Contoso-Chat"]["format"] == "Contoso"


def test_quota_below_the_capacity_offers_the_rest(azure: Cloud, project: ProjectHarness, configure: Configure) -> None:
    azure.management.lists.quota[TEACHER_QUOTA] = (200.0, 170.0)
    rest = configure()
    assert rest.returncode == 0
    assert deployments(project)["gpt-oss-120b"]["capacity"] == 30
    assert "gpt-oss-120b gets 30 thousand tokens a minute: no more quota is left" in rest.stdout
    wanted = configure("--capacity", "teacher=100")
    assert wanted.returncode == 2
    assert "can't be deployed with a capacity of 100: 1 to 30 thousand tokens a minute are left" in wanted.stderr
    azure.management.lists.quota[TEACHER_QUOTA] = (200.0, 200.0)
    none = configure("--teacher", "gpt-oss-120b")
    assert none.returncode == 2
    assert "the quota left in swedencentral is too small (GlobalStandard 0 of at least 1)" in none.stderr
    assert configure().returncode == 0  # another teacher is taken
    assert "gpt-oss-120b" not in deployments(project)


def test_a_region_without_room_names_those_that_have_it(
    azure: Cloud, project: ProjectHarness, configure: Configure
) -> None:
    azure.management.lists.room = {"swedencentral": {"gpt-oss-120b": 10.0}, "eastus2": {"gpt-oss-120b": 500.0}}
    done = configure()
    assert done.returncode == 2
    assert "swedencentral has room for 10 thousand tokens a minute of gpt-oss-120b" in done.stderr
    assert "a --region that has room (eastus2)" in done.stderr
    assert configure("--region", "eastus2").returncode == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((403, "AuthorizationFailed", "The client may not read"), "ask for the role Reader on the subscription"),
        ((401, "InvalidAuthenticationToken", "The token is invalid"), "ask for the role Reader on the subscription"),
    ],
)
def test_where_the_list_may_not_be_read_the_shipped_one_serves_and_says_its_age(
    azure: Cloud, project: ProjectHarness, configure: Configure, fault: tuple[int, str, str], said: str
) -> None:
    azure.management.lists.refuse["models"] = fault
    done = configure()
    assert done.returncode == 0
    assert said in done.stderr
    assert "from the shipped list of" in done.stderr
    assert deployments(project)["gpt-oss-120b"]["version"] == "1"


def test_what_else_azure_refuses_ends_the_command_or_is_said(
    azure: Cloud, project: ProjectHarness, configure: Configure
) -> None:
    azure.management.lists.refuse["usages"] = (403, "AuthorizationFailed", "The client may not read")
    azure.management.account_is = "deleted softly"
    done = configure()
    assert done.returncode == 0
    assert "Quota is unknown" in done.stderr
    assert f"Deleted and not purged in swedencentral: {ACCOUNT}" in done.stderr
    azure.management.lists.refuse["models"] = (400, "LocationNotAvailableForResourceType", "No such location")
    refused = configure()
    assert refused.returncode == 2
    assert "Azure could not list the models of swedencentral (LocationNotAvailableForResourceType" in refused.stderr


def test_nobody_signed_in_and_no_subscription_are_told_apart(
    azure: Cloud, project: ProjectHarness, configure: Configure
) -> None:
    azure.identity.refuses = True
    assert "run `az login`" in configure().stderr
    new_environment(project.folder, "other", is_default=False)
    assert "has no AZURE_SUBSCRIPTION_ID" in configure("-e", "other").stderr


def test_a_model_that_is_retired_between_two_runs_is_no_longer_taken(
    azure: Cloud, project: ProjectHarness, configure: Configure
) -> None:
    assert configure().returncode == 0
    lists = azure.management.lists
    lists.models = [one for one in lists.models if one.model is None or one.model.name != "gpt-oss-120b"]
    lists.models.append(listed("gpt-oss-120b", "1", "OpenAI-OSS", status="Deprecated", skus=[sku()]))
    assert configure().returncode == 0
    assert "gpt-oss-120b" not in deployments(project)
