"""Clients of every provider, as the service at the other end sees them."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from raft_assets.core.errors import EndpointError
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.clients import ASGIApp, open_client
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.azure.identity import Identity, audience_of, serving
from raft_assets_tests.llm.conftest import CANARY, ask_about, shared_in
from raft_assets_tests.llm.service import Seen, Service

EMBEDDED = Endpoint(Role.TEACHER, "embedded", "embedded-teacher")


def not_embedded() -> ASGIApp:
    raise AssertionError("this endpoint is not the embedded provider")


def ask_once(endpoint: Endpoint, store: SqliteCallStore, app: Callable[[], Any] = not_embedded) -> str:
    client = open_client(endpoint, app)
    shared = shared_in(store.path.parent, endpoint)
    (answer,) = Caller(endpoint, model_version="", client=client, store=store, **shared).ask([ask_about(1)])
    run_coroutine(client.close())
    return answer.text


def asked(service: Service, store: SqliteCallStore, endpoint: Endpoint) -> Seen:
    assert ask_once(endpoint, store) == "answer to question 1"
    (seen,) = service.seen
    return seen


def test_an_openai_service_gets_its_key_and_model(service: Service, store: SqliteCallStore) -> None:
    seen = asked(service, store, Endpoint(Role.TEACHER, "openai", "gpt", service.url + "/", SecretStr(CANARY)))
    assert (seen.path, seen.query, seen.body["model"]) == ("/v1/chat/completions", "", "gpt")
    assert seen.headers["authorization"] == f"Bearer {CANARY}"


def test_credentials_of_the_shell_never_leave_it(
    service: Service, store: SqliteCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "OPENAI_API_KEY",
        "OPENAI_ADMIN_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
    )
    for name in (*names, "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.setenv(name, f"shell-{name}")
    seen = asked(service, store, Endpoint(Role.TEACHER, "openai", "gpt", service.url))
    assert "shell-" not in str(seen)


def test_azure_is_asked_through_its_version_less_api(service: Service, store: SqliteCallStore) -> None:
    resource = service.url.removesuffix("/v1")
    seen = asked(service, store, Endpoint(Role.STUDENT, "azure", "my-deployment", resource, SecretStr(CANARY)))
    assert (seen.path, seen.query, seen.body["model"]) == ("/openai/v1/chat/completions", "", "my-deployment")


@pytest.mark.parametrize("ending", ["/", "/openai", "/openai/v1", "/openai/v1/"])
def test_an_azure_address_may_be_given_with_or_without_its_path(
    service: Service, store: SqliteCallStore, ending: str
) -> None:
    resource = service.url.removesuffix("/v1")
    seen = asked(service, store, Endpoint(Role.STUDENT, "azure", "my-deployment", resource + ending, SecretStr(CANARY)))
    assert seen.path == "/openai/v1/chat/completions"


@pytest.mark.parametrize("ending", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
def test_a_foundry_project_may_be_given_with_or_without_its_path(
    service: Service, store: SqliteCallStore, ending: str
) -> None:
    project = service.url.removesuffix("/v1") + "/api/projects/mine" + ending
    seen = asked(service, store, Endpoint(Role.STUDENT, "azure", "my-deployment", project, SecretStr(CANARY)))
    assert (seen.path, seen.query) == ("/api/projects/mine/openai/v1/chat/completions", "")


@pytest.mark.parametrize("ending", ["", "/openai/v1", "/api/projects/mine", "/api/projects/mine/openai/v1/"])
def test_the_dated_api_is_asked_at_the_resource_whatever_address_is_given(
    service: Service, store: SqliteCallStore, ending: str
) -> None:
    address = service.url.removesuffix("/v1") + ending
    seen = asked(service, store, Endpoint(Role.STUDENT, "azure", "mine", address, SecretStr(CANARY), "2024-10-21"))
    assert seen.path == "/openai/deployments/mine/chat/completions"


def test_azure_with_an_api_version_is_asked_by_deployment(service: Service, store: SqliteCallStore) -> None:
    resource = service.url.removesuffix("/v1")
    seen = asked(
        service, store, Endpoint(Role.STUDENT, "azure", "my-deployment", resource, SecretStr(CANARY), "2024-10-21")
    )
    assert (seen.path, seen.query) == ("/openai/deployments/my-deployment/chat/completions", "api-version=2024-10-21")
    assert seen.headers["api-key"] == CANARY


def test_azure_without_a_key_and_without_azure_identity_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(EndpointError, match=r"install raft-assets\[azure\], or set STUDENT_AZURE_OPENAI_API_KEY"):
        open_client(Endpoint(Role.STUDENT, "azure", "my-deployment", "https://resource"), not_embedded)


@pytest.mark.parametrize(
    ("provider", "address", "api_version"),
    [("openai", "/v1", None), ("azure", "", None), ("azure", "", "2024-10-21"), ("azure", "/api/projects/mine", None)],
)
def test_every_call_is_posted_like_the_first_one_that_the_library_posts(
    service: Service, store: SqliteCallStore, provider: Any, address: str, api_version: str | None
) -> None:
    url = service.url.removesuffix("/v1") + address
    endpoint = Endpoint(Role.STUDENT, provider, "mine", url, SecretStr(CANARY), api_version)
    client = open_client(endpoint, not_embedded)
    caller = Caller(endpoint, model_version="", client=client, store=store, **shared_in(store.path.parent, endpoint))
    for number in range(3):
        (answer,) = caller.ask([ask_about(number)])
        assert answer.text == f"answer to question {number}"
    run_coroutine(client.close())
    first, *others = ((seen.path, seen.query, seen.body | {"messages": None}, _own(seen)) for seen in service.seen)
    assert others == [first, first]
    assert CANARY in str(first)


def _own(seen: Seen) -> dict[str, str]:
    """The headers of a request, without those that tell of the library and the connection."""
    of_library = ("x-stainless-", "content-length", "connection")
    return {name: value for name, value in seen.headers.items() if not name.startswith(of_library)}


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    pytest.importorskip("azure.identity", reason="the extra raft-assets[azure]")
    with serving() as found:
        for name, value in found.variables.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.mark.parametrize("api_version", [None, "2024-10-21"])
def test_azure_without_a_key_is_asked_with_the_token_of_whoever_runs_this(
    service: Service, store: SqliteCallStore, identity: Identity, api_version: str | None
) -> None:
    resource = service.url.removesuffix("/v1")
    endpoint = Endpoint(Role.STUDENT, "azure", "my-deployment", resource, None, api_version)
    client = open_client(endpoint, not_embedded)
    caller = Caller(endpoint, model_version="", client=client, store=store, **shared_in(store.path.parent, endpoint))
    for number in range(2):
        list(caller.ask([ask_about(number)]))
    run_coroutine(client.close())
    for seen in service.seen:
        assert identity.holds(seen.headers["authorization"].removeprefix("Bearer "))
        assert "api-key" not in seen.headers


@pytest.mark.parametrize(
    ("address", "api_version", "audience"),
    [
        ("", None, "https://cognitiveservices.azure.com"),
        ("/api/projects/mine/openai/v1", None, "https://ai.azure.com"),
        ("/api/projects/mine/openai/v1", "2024-10-21", "https://cognitiveservices.azure.com"),  # the resource's API
    ],
)
@pytest.mark.usefixtures("identity")
def test_a_foundry_project_is_asked_with_a_token_for_projects(
    service: Service, store: SqliteCallStore, address: str, api_version: str | None, audience: str
) -> None:
    resource = service.url.removesuffix("/v1")
    seen = asked(service, store, Endpoint(Role.STUDENT, "azure", "mine", resource + address, None, api_version))
    assert audience_of(seen.headers["authorization"].removeprefix("Bearer ")) == audience


def test_a_sign_in_that_fails_is_one_sentence(store: SqliteCallStore, identity: Identity) -> None:
    identity.refuses = True
    with pytest.raises(EndpointError, match=r"signing in failed \(.*\): run `az login`, or set STUDENT_AZURE_OPENAI"):
        ask_once(Endpoint(Role.STUDENT, "azure", "my-deployment", "http://127.0.0.1:9"), store)


def test_the_embedded_provider_is_reached_without_a_port(store: SqliteCallStore) -> None:
    async def answer(request: HttpRequest) -> JSONResponse:
        body = await request.json()
        message = {"content": f"{body['model']} at {request.url.path}"}
        return JSONResponse({"choices": [{"message": message, "finish_reason": "stop"}]})

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    assert ask_once(EMBEDDED, store, lambda: app) == "embedded-teacher at /v1/chat/completions"


def test_a_fault_of_the_embedded_provider_is_not_hidden(store: SqliteCallStore) -> None:
    async def broken(_: HttpRequest) -> JSONResponse:
        raise ZeroDivisionError("a fault of ours")

    app = Starlette(routes=[Route("/v1/chat/completions", broken, methods=["POST"])])
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        ask_once(EMBEDDED, store, lambda: app)


def test_a_client_may_be_used_again_and_again_from_synchronous_code(service: Service) -> None:
    client = open_client(Endpoint(Role.STUDENT, "openai", "gpt", service.url), not_embedded)
    for number in range(3):
        response = run_coroutine(
            client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": f"{number}"}])
        )
        assert response.choices[0].message.content == f"answer to {number}"
    run_coroutine(client.close())
