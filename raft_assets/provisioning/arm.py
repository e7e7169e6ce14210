"""Azure's management plane (ARM), read only: models, quota and capacity of a region, soft-deleted accounts, any path.

What is read is handed on as it comes; what follows from it is decided in `catalogue` and `choice`. API:
https://learn.microsoft.com/rest/api/aiservices/accountmanagement
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from raft_assets.core.errors import EndpointError
from raft_assets.llm.azure_sign_in import INSTALL_HINT, AzureCredential
from raft_assets.student.hosting import error_code_and_message

CONNECT_S, READ_S = 10, 60
_REMEDY = "run the command with --offline to choose from the shipped list of models"


class ArmError(EndpointError):
    """The management plane can't be asked, or refuses; `status` is None where it gave no answer."""

    def __init__(self, sentence: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(sentence)
        self.status, self.code = status, code


class Arm:
    """A subscription's management plane, with the current sign-in. Every method raises ArmError with a sentence.

    `remedy` ends the sentence: what to do without an answer.
    """

    def __init__(self, subscription: str, remedy: str = _REMEDY) -> None:
        try:
            from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
        except ImportError as error:
            raise ArmError(f"Asking Azure needs azure-mgmt-cognitiveservices: {INSTALL_HINT}, or {remedy}.") from error
        self.subscription, self._remedy = subscription, remedy
        try:
            sign_in = AzureCredential("Azure's management plane is asked", remedy)
        except EndpointError as error:
            raise ArmError(str(error)) from error
        self._client = CognitiveServicesManagementClient(
            sign_in, subscription, connection_timeout=CONNECT_S, read_timeout=READ_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def models(self, location: str) -> list[Any]:
        """Return the models of a region, all pages; each is `azure.mgmt.cognitiveservices.models.Model`."""
        with _translate_errors(self._remedy, f"list the models of {location}", "Reader on the subscription"):
            return list(self._client.models.list(location))

    def usages(self, location: str) -> list[Any]:
        """Return quota and use of a region, all pages; each is `azure.mgmt.cognitiveservices.models.Usage`."""
        role = "Cognitive Services Usages Reader on the subscription"
        with _translate_errors(self._remedy, f"read the quota of {location}", role):
            return list(self._client.usages.list(location))

    def model_capacities(self, model_format: str, name: str, version: str) -> list[Any]:
        """Return the free capacity for a model in each region and SKU, all pages.

        Each has `location` and `properties` of type `ModelSkuCapacityProperties`.
        """
        with _translate_errors(self._remedy, f"read the capacity for {name}", "Reader on the subscription"):
            return list(self._client.model_capacities.list(model_format, name, version))

    def deleted_accounts(self) -> list[Any]:
        """Return the soft-deleted accounts, which keep their name and quota; each has `id`, `name` and `location`."""
        with _translate_errors(self._remedy, "list the deleted accounts", "Reader on the subscription"):
            return list(self._client.deleted_accounts.list())

    def read(self, path: str, api_version: str) -> Any:
        """Return what GET of a path answers, such as `/subscriptions/.../permissions`; of a list, the first page."""
        return self._get(path, path, {"api-version": api_version})

    def read_all(self, path: str, api_version: str) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, page after page."""
        page = self.read(path, api_version)
        yield from page.get("value") or ()
        while link := page.get("nextLink"):
            page = self._get(str(link), path, {})  # it holds the version already
            yield from page.get("value") or ()

    def _get(self, address: str, path: str, parameters: Mapping[str, str]) -> Any:
        from azure.core.rest import HttpRequest

        with _translate_errors(self._remedy, f"read {path.rpartition('/')[2]}", "Reader on it"):
            request = HttpRequest("GET", address, params=dict(parameters))
            response = self._client._send_request(request)  # noqa: SLF001 - the library has no public call for it
            response.raise_for_status()
            return response.json()


@contextmanager
def _translate_errors(remedy: str, what: str, role: str) -> Iterator[None]:
    """Turn errors of Azure's library into one sentence; `role`: what a person may lack who is refused."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except ArmError:
        raise
    except EndpointError as error:  # of the sign-in
        raise ArmError(str(error)) from None
    except HttpResponseError as error:
        code, told = error_code_and_message(error)
        asked = f"ask for the role {role}, or {remedy}" if error.status_code in (401, 403) else remedy
        sentence = f"Azure could not {what} ({code}: {told}): {asked}."
        raise ArmError(sentence, status=error.status_code, code=code) from None
    except AzureError as error:
        reason = f"{type(error).__name__}, it can't be reached"
        raise ArmError(f"Azure could not {what}: {reason}. Check the network and the proxy, or {remedy}.") from None
