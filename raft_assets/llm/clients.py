"""The `openai` client of an endpoint.

Local services, OpenAI and Azure differ here, by address and authentication, and nowhere else. A client belongs to the
background loop (`background.run_coroutine`). It never retries by itself: `attempts` does, which counts tries and can be
stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raft_assets.core.errors import EndpointError
from raft_assets.llm.azure_sign_in import AZURE_SCOPE, FOUNDRY_SCOPE, AzureCredential
from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import httpx2
    import openai

ASGIApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
TokenProvider = Callable[[], Awaitable[str]]

# seconds; a long answer of a slow model takes a minute or more before its first byte
TIMEOUT_S, CONNECT_S = 120.0, 10.0
EMBEDDED_URL = "http://embedded/v1"
NO_KEY = "none"  # the client requires a key, a local service needs none
UPLOADS_API_VERSION = "2025-04-01-preview"  # of Azure's dated API: the version-less one answers 404 to `uploads`


def open_client(endpoint: Endpoint, embedded_app: Callable[[], ASGIApp]) -> openai.AsyncOpenAI:
    """Return a client of the endpoint.

    `embedded_app` creates the embedded provider's application; it is called only if that is the provider.

    Raises EndpointError if Azure is to be used without a key and `azure-identity` is not installed. Close the client
    with `run_coroutine(client.close())`.
    """
    import httpx2
    import openai

    if endpoint.provider == "azureml":
        raise EndpointError(
            f"{endpoint.role} is a base model in an Azure ML workspace, which can be called once it is fine-tuned "
            "and deployed; its jobs are in the studio."
        )
    if endpoint.provider == "embedded":
        transport = httpx2.ASGITransport(app=embedded_app())
        client = openai.AsyncOpenAI(
            base_url=EMBEDDED_URL,
            api_key=NO_KEY,
            http_client=httpx2.AsyncClient(transport=transport, timeout=_timeout()),
            max_retries=0,
        )
    elif endpoint.is_azure_openai:
        client = _azure_client(endpoint)
    else:
        client = openai.AsyncOpenAI(
            base_url=endpoint.service, api_key=_key(endpoint) or NO_KEY, http_client=_http_client(), max_retries=0
        )
    # the library reads these from the environment, where they may belong to another account than the key
    client.organization = client.project = None
    return client


def open_uploads_client(endpoint: Endpoint, embedded_app: Callable[[], ASGIApp]) -> openai.AsyncOpenAI:
    """Return a client that uploads files in parts: on Azure one of the dated API, else as `open_client`."""
    if endpoint.is_azure_openai:
        endpoint = replace(endpoint, api_version=UPLOADS_API_VERSION)
    return open_client(endpoint, embedded_app)


def _azure_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    import openai

    key = _key(endpoint)
    if endpoint.api_version:
        sign_in = None if key else _token_provider(endpoint)
        return openai.AsyncAzureOpenAI(
            azure_endpoint=endpoint.azure_resource,  # projects have no dated API
            api_version=endpoint.api_version,
            api_key=key,
            azure_ad_token_provider=sign_in,
            http_client=_http_client(),
            max_retries=0,
        )
    sign_in = None if key else _token_provider(endpoint)
    return openai.AsyncOpenAI(
        base_url=azure_address(endpoint), api_key=key or sign_in, http_client=_http_client(), max_retries=0
    )


def _http_client() -> httpx2.AsyncClient:
    """Return the client library's aiohttp transport: its other one scans every open connection for each call."""
    import openai

    return openai.DefaultAioHttpClient(timeout=_timeout())


def _timeout() -> httpx2.Timeout:
    import httpx2

    return httpx2.Timeout(TIMEOUT_S, connect=CONNECT_S)


def azure_address(endpoint: Endpoint) -> str:
    """Return the address of the version-less API; the portal shows resource and project with or without its path."""
    return f"{endpoint.service.removesuffix('/v1').removesuffix('/openai')}/openai/v1/"


def _key(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def check_sign_in(endpoint: Endpoint) -> None:
    """Sign in where the endpoint is on Azure without a key. Raises EndpointError, which names the key's variable."""
    if endpoint.is_azure_openai and endpoint.api_key is None:
        _credential(endpoint).get_token(_scope(endpoint))


def _scope(endpoint: Endpoint) -> str:
    """Return what a token is for; projects have no dated API."""
    return FOUNDRY_SCOPE if endpoint.is_foundry_project and not endpoint.api_version else AZURE_SCOPE


def _credential(endpoint: Endpoint) -> AzureCredential:
    key = f"set {endpoint.role}_{'AZURE_' if endpoint.provider == 'azure' else ''}OPENAI_API_KEY"
    return AzureCredential(f"{endpoint.role} is on Azure without a key", key)


def _token_provider(endpoint: Endpoint) -> TokenProvider:
    """Return a function that signs in to Azure as the current user."""
    credential, scope = _credential(endpoint), _scope(endpoint)
    one_at_a_time = asyncio.Lock()

    async def token() -> str:
        async with one_at_a_time:
            return (await asyncio.to_thread(credential.get_token, scope)).token

    return token
