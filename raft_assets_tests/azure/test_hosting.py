"""What Azure's management plane can do to a deployment, and what is said and done about it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from raft_assets.core.errors import EndpointError, RaftError, SettingsError
from raft_assets.settings.endpoints import Endpoint, HostingSettings, Role
from raft_assets.settings.environment import Environment
from raft_assets.student.azure_openai import AzureOpenAIHosting, deployment_name
from raft_assets_tests.azure import contracts
from raft_assets_tests.azure.cloud import BASE, RESOURCE, Cloud
from raft_assets_tests.azure.management import SUBSCRIPTION

NOW = datetime.now(UTC)
STUDENT = Endpoint(Role.STUDENT, "azure", BASE, RESOURCE)
NAME = deployment_name("bats")


@pytest.fixture
def hosting(azure: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AzureOpenAIHosting]:
    """Makes a connection to the subscription as a user's environment describes it."""
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)

    def connect(**changes: object) -> AzureOpenAIHosting:
        return AzureOpenAIHosting(STUDENT, replace(Environment(azure.variables, {}).hosting(), **changes))  # type: ignore[arg-type]

    return connect


def deploy(hosting: AzureOpenAIHosting, model: str = "ft:1", training_hash: str = "hash 1") -> object:
    return hosting.deploy("bats", model, training_hash, on_event=lambda _: None, now=NOW)


@pytest.mark.skipif(not list(contracts.FOLDER.glob("arm_cog_*.json")), reason="the official schema isn't at hand")
def test_the_official_schema_refuses_what_is_no_deployment() -> None:
    kind = "Microsoft.CognitiveServices/accounts/deployments"
    wrong = {"sku": {"capacity": 1}, "properties": {"model": {"name": 7}}}
    assert contracts.breaches("arm_cog_*.json", "accounts_deployments", kind, "n", wrong) != []


def test_a_deployment_that_is_right_is_used_again_and_one_that_is_under_way_is_waited_for(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting]
) -> None:
    made = deploy(hosting())
    azure.management.deployments[NAME]["properties"]["provisioningState"] = "Creating"  # as after a kill -9
    assert deploy(hosting()) == made
    assert azure.management.count("PUT") == 1


def test_a_new_student_takes_the_place_of_the_one_before(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting]
) -> None:
    deploy(hosting())
    deploy(hosting(), "ft:2", "hash 2")
    assert azure.management.deployments[NAME]["properties"]["model"]["name"] == "ft:2"
    assert azure.management.deployments[NAME]["tags"]["raft-training-hash"] == "hash 2"


@pytest.mark.parametrize(
    ("hours", "sku", "ends"), [(None, "DeveloperTier", 24), (6, "Standard", 6), (None, "Standard", None)]
)
def test_a_deployment_ends_when_its_tier_or_the_user_says(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting], hours: int | None, sku: str, ends: int | None
) -> None:
    one = hosting(hours=hours, sku=sku)
    deploy(one)
    (found,) = one.all()
    assert found.expires == (None if ends is None else NOW.replace(microsecond=0) + timedelta(hours=ends))
    assert one.delete_expired(NOW + timedelta(hours=5)) == []
    assert one.delete_expired(NOW + timedelta(hours=25)) == ([] if ends is None else [NAME])


def test_a_foreign_deployment_of_that_name_is_left_alone(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting]
) -> None:
    azure.management.deployments[NAME] = {"properties": {"provisioningState": "Succeeded"}}
    with pytest.raises(EndpointError, match=r"was not created by raft-assets .* not touched"):
        deploy(hosting())
    with pytest.raises(EndpointError, match="not touched"):
        hosting().delete(NAME)
    assert list(azure.management.deployments) == [NAME]


def _forbidden(azure: Cloud) -> None:
    azure.management.refuse["PUT"] = (403, "AuthorizationFailed", "No permission for deployments/write.")


def _quota(azure: Cloud) -> None:
    azure.management.quota = 10


def _ends_badly(azure: Cloud) -> None:
    azure.management.ends_as = "Failed"


def _gone(azure: Cloud) -> None:
    azure.management.account_is = "gone"


def _deleted_softly(azure: Cloud) -> None:
    azure.management.account_is = "deleted softly"


def _no_identity(azure: Cloud) -> None:
    azure.identity.refuses = True


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_forbidden, r"AuthorizationFailed.*ask for the role Cognitive Services Contributor"),
        (_quota, r"InsufficientQuota.*lower STUDENT_DEPLOYMENT_CAPACITY"),
        (_ends_badly, r"ended as Failed"),
        (_gone, r"No resource in subscription .* has the address raft-openai\.openai\.azure\.com"),
        (_deleted_softly, r"az cognitiveservices account recover --name raft-openai"),
        (_no_identity, r"signing in failed .*run `az login`"),
    ],
)
def test_every_failure_is_a_sentence_with_a_way_out(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting], fault: Callable[[Cloud], None], said: str
) -> None:
    fault(azure)
    with pytest.raises(RaftError, match=said):
        deploy(hosting())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subscription": SUBSCRIPTION.replace("1", "9")}, "SubscriptionNotFound"),
        ({"resource_group": "rg-other"}, "ResourceGroupNotFound.*set AZURE_RESOURCE_GROUP"),
    ],
)
def test_a_wrong_subscription_or_group_is_told(
    azure: Cloud, hosting: Callable[..., AzureOpenAIHosting], changes: dict[str, str], said: str
) -> None:
    with pytest.raises(EndpointError, match=said):
        deploy(hosting(**changes))


def test_without_a_subscription_nothing_is_asked() -> None:
    with pytest.raises(SettingsError, match=r"set AZURE_SUBSCRIPTION_ID .* or name a model of yours"):
        AzureOpenAIHosting(STUDENT, HostingSettings())


@pytest.mark.parametrize("domain", ["bats", "harbor handbook", "Ærø & Ýmir/..", "x" * 200])
def test_names_of_deployments_are_what_azure_takes(domain: str) -> None:
    name = deployment_name(domain)
    assert len(name) <= 64
    assert name.replace("-", "").isalnum()
    assert name.isascii()
    assert name != deployment_name(domain + " ")
