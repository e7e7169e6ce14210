"""What an endpoint's address says of the service behind it."""

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.environment import Environment

FOUNDRY = "https://mine.services.ai.azure.com"
PROJECT = f"{FOUNDRY}/api/projects/one/openai/v1"


@pytest.mark.parametrize(
    ("provider", "address", "is_azure", "is_project"),
    [
        ("azure", "https://mine.openai.azure.com", True, False),
        ("azure", "http://127.0.0.1:1/api/projects/one", True, True),  # behind a gateway of the user's own
        ("azure", PROJECT, True, True),
        ("openai", PROJECT, True, True),
        ("openai", f"{PROJECT}/", True, True),
        ("openai", PROJECT.upper().replace("HTTPS", "https").replace("/API/PROJECTS/ONE/OPENAI/V1", ""), True, False),
        ("openai", "https://mine.openai.azure.com/openai/v1", True, False),
        ("openai", "https://mine.cognitiveservices.azure.com/openai/v1/", True, False),
        ("openai", f"{FOUNDRY}/models", False, False),  # another API
        ("openai", "https://mine.eastus.models.ai.azure.com/v1", False, False),  # a serverless endpoint
        ("openai", "https://openai.azure.com.example/openai/v1", False, False),
        ("openai", "https://example.com/mine.openai.azure.com/openai/v1", False, False),
        ("openai", "https://api.openai.com/v1", False, False),
        ("embedded", "", False, False),
    ],
)
def test_azure_is_known_by_its_address_whatever_variable_names_it(
    provider: str, address: str, is_azure: bool, is_project: bool
) -> None:
    endpoint = Endpoint(Role.STUDENT, provider, "m", address)  # type: ignore[arg-type]
    assert (endpoint.is_azure_openai, endpoint.is_foundry_project) == (is_azure, is_project)
    assert (endpoint.is_deployed_on_azure, endpoint.requires_bom) == (is_azure, is_azure)


@pytest.mark.parametrize(
    "address",
    [
        FOUNDRY,
        f"{FOUNDRY}/",
        f"{FOUNDRY}/openai",
        f"{FOUNDRY}/openai/v1/",
        f"{FOUNDRY}/api/projects/one",
        f"{PROJECT}/",
    ],
)
def test_the_resource_is_the_address_without_project_and_path(address: str) -> None:
    assert Endpoint(Role.STUDENT, "azure", "m", address).azure_resource == FOUNDRY


@pytest.mark.parametrize(
    "names", [("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT"), ("OPENAI_BASE_URL", "OPENAI_DEPLOYMENT")]
)
def test_a_foundry_project_may_stand_in_either_family_of_variables_without_a_key(names: tuple[str, str]) -> None:
    roles = ("TEACHER", "EMBEDDING", "STUDENT", "JUDGE")
    address, deployment = names
    variables = {f"{role}_{address}": PROJECT for role in roles} | {f"{role}_{deployment}": "m" for role in roles}
    endpoints = Environment(variables, {}).endpoints()
    assert {endpoint.is_foundry_project for endpoint in endpoints.values()} == {True}
    assert {endpoint.service for endpoint in endpoints.values()} == {
        PROJECT
    }  # as it is written: calls are stored by it


@pytest.mark.parametrize("end", ["?api-key=x", "#api-key=x", "?", "#"])
def test_an_address_with_a_query_or_a_fragment_says_where_the_key_belongs(end: str) -> None:
    variables = {"TEACHER_AZURE_OPENAI_ENDPOINT": f"{PROJECT}{end}", "TEACHER_AZURE_OPENAI_DEPLOYMENT": "m"}
    with pytest.raises(SettingsError, match="TEACHER_AZURE_OPENAI_ENDPOINT contains a user, a password, a query"):
        Environment(variables, {}).endpoints()
