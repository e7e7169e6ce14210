"""Sign in to Azure without a key, as the current user: `az login`, a managed identity, or a service principal.

`azure-identity` finds out which (`AZURE_TOKEN_CREDENTIALS` pins it). Here it gets a timeout, because a metadata address
that doesn't respond keeps it waiting for minutes.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from raft_assets.core.errors import EndpointError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

T = TypeVar("T")

AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
FOUNDRY_SCOPE = "https://ai.azure.com/.default"  # of a project's address, which refuses tokens for the resource
SIGN_IN_TIMEOUT_S = 60.0
INSTALL_HINT = "install raft-assets[azure]"


class AzureCredential:
    """A credential of Azure's libraries whose every failure is one sentence; they cache and renew tokens.

    `remedy` ends the sentence. The constructor raises EndpointError if `azure-identity` is not installed.
    """

    def __init__(self, who: str, remedy: str) -> None:
        self._who, self._remedy = who, remedy
        try:
            from azure.identity import DefaultAzureCredential
        except ImportError as error:
            raise EndpointError(f"{who} needs azure-identity: {INSTALL_HINT}, or {remedy}.") from error
        log = logging.getLogger("azure.identity")
        if log.level == logging.NOTSET:  # it warns on many lines of what is raised here as one sentence
            log.setLevel(logging.ERROR)
        self._credential = DefaultAzureCredential()

    def get_token(self, *scopes: str, **options: Any) -> "AccessToken":
        """Return a valid token.

        Raises EndpointError if signing in fails or takes longer than `SIGN_IN_TIMEOUT_S`.
        """
        from azure.core.exceptions import ClientAuthenticationError

        try:
            return _run_with_timeout(SIGN_IN_TIMEOUT_S, lambda: self._credential.get_token(*scopes, **options))
        except (ClientAuthenticationError, NotInTime) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else f"no answer in {SIGN_IN_TIMEOUT_S:.0f} s"
        raise EndpointError(f"{self._who}, and signing in failed ({reason}): run `az login`, or {self._remedy}.")


class AsyncAzureCredential:
    """A credential for libraries that wait without blocking."""

    def __init__(self, sign_in: AzureCredential) -> None:
        self._sign_in = sign_in

    async def get_token(self, *scopes: str, **options: Any) -> "AccessToken":
        """Return a valid token, as `AzureCredential.get_token`."""
        return await asyncio.to_thread(self._sign_in.get_token, *scopes, **options)

    async def close(self) -> None:
        """Do nothing: nothing is open between two tokens."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@cache
def storage_credential() -> AsyncAzureCredential:
    """Return the credential of object storage.

    It is one for all, because the library that opens file systems caches them.
    """
    return AsyncAzureCredential(storage_sign_in())


@cache
def storage_sign_in() -> AzureCredential:
    """Return the credential of object storage for libraries that wait for it; one for all keeps its tokens."""
    return AzureCredential("Azure Blob is used without a key", "set AZURE_STORAGE_CONNECTION_STRING")


def _run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """Run the work in a thread and return its result.

    Raises TimeoutError; the work is then left behind, in a thread that doesn't keep the process from ending.
    """
    result = Future[T]()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            result.set_exception(error)

    threading.Thread(target=run, name="azure-sign-in", daemon=True).start()
    return result.result(seconds)
