"""The `openai` client of an endpoint.

Local, OpenAI and Azure differ here, by address and authentication, and nowhere behind it. A client belongs to the
background loop (`background.run`). It never tries again by itself: `attempts` does, which counts and can be stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAioHttpClient

from raft_assets.core.errors import EndpointError
from raft_assets.llm.azure_sign_in import AZURE_SCOPE, AzureCredential
from raft_assets.settings.endpoints import Endpoint

ASGIApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
TokenProvider = Callable[[], Awaitable[str]]

TIMEOUT = httpx2.Timeout(
    120.0, connect=10.0
)  # seconds; a long answer of a slow model takes a minute or more before its first byte
EMBEDDED_URL = "http://embedded/v1"
NO_KEY = "none"  # the client insists on a key, a local service needs none


def open_client(endpoint: Endpoint, embedded_app: Callable[[], ASGIApp]) -> AsyncOpenAI:
    """A client of the endpoint.

    `embedded_app` makes the embedded provider's application; it is called only where that is the provider.

    Raises EndpointError where Azure is to be used without a key and `azure-identity` is not installed. Close it with
    `run(client.close())`.
    """
    if endpoint.provider == "azureml":
        raise EndpointError(
            f"{endpoint.role} is a base model in an Azure ML workspace, which can be called once it is fine-tuned "
            "and deployed; "
            "its jobs are in the studio."
        )
    if endpoint.provider == "embedded":
        transport = httpx2.ASGITransport(app=embedded_app())
        client = AsyncOpenAI(
            base_url=EMBEDDED_URL,
            api_key=NO_KEY,
            http_client=httpx2.AsyncClient(transport=transport, timeout=TIMEOUT),
            max_retries=0,
        )
    elif endpoint.provider == "openai":
        client = AsyncOpenAI(
            base_url=endpoint.service, api_key=_key(endpoint) or NO_KEY, http_client=_http_client(), max_retries=0
        )
    else:
        client = _azure_client(endpoint)
    # the library takes these from the shell, where they may belong to another account than the key
    client.organization = client.project = None
    return client


def _azure_client(endpoint: Endpoint) -> AsyncOpenAI:
    key = _key(endpoint)
    sign_in = None if key else _token_provider(endpoint)
    if endpoint.api_version:
        return AsyncAzureOpenAI(
            azure_endpoint=endpoint.service,
            api_version=endpoint.api_version,
            api_key=key,
            azure_ad_token_provider=sign_in,
            http_client=_http_client(),
            max_retries=0,
        )
    return AsyncOpenAI(
        base_url=_azure_v1(endpoint.service), api_key=key or sign_in, http_client=_http_client(), max_retries=0
    )


def _http_client() -> httpx2.AsyncClient:
    """The client library's aiohttp side: its other one looks at every open connection for each call."""
    return DefaultAioHttpClient(timeout=TIMEOUT)


def _azure_v1(service: str) -> str:
    """The resource's address with the version-less API behind it, which the portal shows with or without its path."""
    return f"{service.removesuffix('/v1').removesuffix('/openai')}/openai/v1/"


def _key(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def _token_provider(endpoint: Endpoint) -> TokenProvider:
    """Signs in to Azure as whoever runs this."""
    key = f"set {endpoint.role}_AZURE_OPENAI_API_KEY"
    credential = AzureCredential(f"{endpoint.role} is on Azure without a key", key)
    one_at_a_time = asyncio.Lock()

    async def token() -> str:
        async with one_at_a_time:
            return (await asyncio.to_thread(credential.get_token, AZURE_SCOPE)).token

    return token
