"""Deployments of fine-tuned students on an Azure OpenAI or Foundry resource.

API: https://learn.microsoft.com/rest/api/aiservices/accountmanagement/deployments
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from raft_assets.core.errors import EndpointError, SettingsError
from raft_assets.core.identity import digest
from raft_assets.llm.azure_sign_in import INSTALL_HINT, AzureCredential
from raft_assets.settings.endpoints import DEPLOYMENT_PREFIX, DEVELOPER_TIER, Endpoint, HostingSettings
from raft_assets.student.hosting import (
    FAILED_STATES,
    HASH_TAG,
    SUCCEEDED_STATE,
    HostedDeployment,
    HostingService,
    OnEvent,
    build_tags,
    error_code_and_message,
    fields_from_tags,
    slug,
)

DEVELOPER_TIER_HOURS = 24  # the service ends it then
CONTRIBUTOR_ROLE = "Cognitive Services Contributor"  # may write and delete deployments
ACCOUNTS = "/providers/Microsoft.CognitiveServices/accounts"
PERMISSIONS = "/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
DEPLOY_ACTION = "Microsoft.CognitiveServices/accounts/deployments/write"
CONNECT_S, READ_S = 10, 60


class AzureOpenAIHosting(HostingService):
    """The deployments of one Azure OpenAI or Foundry resource, which the student's endpoint identifies.

    Every method raises EndpointError with the service's reason and what to do; creating one raises SettingsError if the
    subscription is unknown.
    """

    kind = "deployment"
    portal = "the portal (a quota, a region without the model)"

    def __init__(self, endpoint: Endpoint, hosting: HostingSettings) -> None:
        if not hosting.subscription:
            raise SettingsError(
                "STUDENT is on Azure, where a fine-tuned model must be deployed: set AZURE_SUBSCRIPTION_ID (and "
                "AZURE_RESOURCE_GROUP), or name a model of yours that is deployed in student.finetuned_model."
            )
        try:
            from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
        except ImportError as error:
            raise EndpointError(f"Deploying on Azure needs azure-mgmt-cognitiveservices: {INSTALL_HINT}.") from error
        self._hosting, self._host = hosting, (urlsplit(endpoint.service).hostname or "").lower()
        sign_in = AzureCredential("Deploying on Azure", "deploy yourself and name the model in student.finetuned_model")
        self._client = CognitiveServicesManagementClient(
            sign_in, hosting.subscription, connection_timeout=CONNECT_S, read_timeout=READ_S
        )
        self._account: tuple[str, str] | None = None

    @property
    def account(self) -> tuple[str, str]:
        """Resource group and name of the resource that answers at the endpoint."""
        if self._account is None:
            with _translate_errors("find the resource"):
                self._account = self._find_account()
        return self._account

    def check_permission(self) -> str:
        """Return a sentence if the current sign-in may deploy, and raise otherwise.

        Source: Azure's API of permissions for a resource.
        """
        from azure.core.rest import HttpRequest

        group, name = self.account
        path = f"/subscriptions/{self._hosting.subscription}/resourceGroups/{group}{ACCOUNTS}/{name}{PERMISSIONS}"
        with _translate_errors("read your permissions"):
            request = HttpRequest("GET", path)
            response = self._client._send_request(request)  # noqa: SLF001 - the library has no public call for it
            response.raise_for_status()
        if not any(allows(role, DEPLOY_ACTION) for role in response.json()["value"]):
            raise EndpointError(
                f"The signed-in identity may not deploy models at {name}: ask for the role {CONTRIBUTOR_ROLE} on it."
            )
        return f"models may be deployed at {name} (resource group {group})"

    def find(self, name: str) -> HostedDeployment | None:
        """Return the deployment of that name, or None. Raises EndpointError where raft-assets didn't make it."""
        from azure.core.exceptions import ResourceNotFoundError

        with _translate_errors(f"find the deployment {name}"):
            try:
                deployment = _to_hosted_deployment(self._client.deployments.get(*self.account, name))
            except ResourceNotFoundError:
                return None
        if not deployment.training_hash:
            raise EndpointError(
                f"The deployment {name} of {self._host} was not created by raft-assets (it has no tag {HASH_TAG}), and "
                f"is not touched. Delete or rename it, and materialize deployment again."
            )
        return deployment

    def all(self) -> list[HostedDeployment]:
        """Return every deployment in the resource that raft-assets made."""
        with _translate_errors("list the deployments"):
            deployments = [
                _to_hosted_deployment(deployment) for deployment in self._client.deployments.list(*self.account)
            ]
        return [hosted for hosted in deployments if hosted.training_hash]

    def deploy(
        self, domain: str, model: str, training_hash: str, *, on_event: OnEvent, now: datetime
    ) -> HostedDeployment:
        """Return the domain's deployment of this very model: reused, updated from an older model, or created.

        A deployment that is already in progress, after a crash, is waited for and not created twice.
        """
        name = deployment_name(domain)
        existing = self.find(name)
        right = existing is not None and (existing.model, existing.training_hash) == (model, training_hash)
        if existing is not None and right and existing.state not in FAILED_STATES:
            on_event(f"deployment {name} of {model} exists: {existing.state}")
            return existing if existing.state == SUCCEEDED_STATE else self._wait_until_ready(name, on_event)
        on_event(f"deployment {name}: {'updated to' if existing else 'made of'} {model}, {self._hosting.sku}")
        self._create_or_update(name, domain, model, training_hash, now)
        return self._wait_until_ready(name, on_event)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _begin_delete(self, name: str) -> None:
        with _translate_errors(f"delete the deployment {name}"):
            self._client.deployments.begin_delete(*self.account, name, polling=False)

    def _find_account(self) -> tuple[str, str]:
        accounts, group = self._client.accounts, self._hosting.resource_group
        for account in accounts.list_by_resource_group(group) if group else accounts.list():
            if self._host in _host_names(account):
                return str(account.id).split("/")[4], str(account.name)
        name = self._host.partition(".")[0]
        if any(gone.name == name for gone in self._client.deleted_accounts.list()):
            raise EndpointError(
                f"The resource {name} was deleted and can still be recovered: `az cognitiveservices account "
                f"recover --name {name}`. Then materialize deployment again."
            )
        where = f"resource group {group}" if group else f"subscription {self._hosting.subscription}"
        raise EndpointError(
            f"No resource in {where} has the address {self._host}. Set AZURE_SUBSCRIPTION_ID and "
            "AZURE_RESOURCE_GROUP to those of STUDENT_AZURE_OPENAI_ENDPOINT, or ask for the role Reader there."
        )

    def _create_or_update(self, name: str, domain: str, model: str, training_hash: str, now: datetime) -> None:
        from azure.mgmt.cognitiveservices import models

        hours = self._hosting.hours
        if hours is None and self._hosting.sku.lower() == DEVELOPER_TIER.lower():
            hours = DEVELOPER_TIER_HOURS
        wanted = models.Deployment(
            sku=models.Sku(name=self._hosting.sku, capacity=self._hosting.capacity),
            tags=build_tags(domain, training_hash, hours=hours, now=now),
            properties=models.DeploymentProperties(
                model=models.DeploymentModel(format=self._hosting.model_format, name=model, version="1")
            ),
        )
        with _translate_errors(f"deploy {model} as {name}"):
            self._client.deployments.begin_create_or_update(*self.account, name, wanted, polling=False)


def allows(role: Mapping[str, Any], action: str) -> bool:
    """Return whether a set of permissions includes an action; `*` matches anything, case doesn't matter."""

    def named(patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)

    return named(role.get("actions", ())) and not named(role.get("notActions", ()))


def deployment_name(domain: str) -> str:
    """Return a domain's deployment name: letters, digits and hyphens, at most 64, different for different domains."""
    return f"{DEPLOYMENT_PREFIX}{slug(domain)[:48]}-{digest('deployment', domain)[:8]}".replace("--", "-")


def _to_hosted_deployment(deployment: Any) -> HostedDeployment:
    properties = deployment.properties
    return HostedDeployment(
        name=deployment.name,
        model=properties.model.name if properties.model else "",
        state=str(getattr(properties.provisioning_state, "value", properties.provisioning_state)),
        sku=deployment.sku.name if deployment.sku else "",
        capacity=(deployment.sku.capacity if deployment.sku else None) or 0,
        **fields_from_tags(deployment.tags, deployment.system_data),
    )


def _host_names(account: Any) -> set[str]:
    """Return every host name under which a resource answers."""
    addresses = [account.properties.endpoint, *(account.properties.endpoints or {}).values()]
    named = account.properties.custom_sub_domain_name or account.name
    hosts = {f"{named}.{suffix}" for suffix in ("openai.azure.com", "services.ai.azure.com")}
    return {host.lower() for host in hosts | {urlsplit(address or "").hostname or "" for address in addresses}}


_REMEDIES = {
    "AuthorizationFailed": f"ask for the role {CONTRIBUTOR_ROLE} on the resource (the signed-in identity lacks it)",
    "InsufficientQuota": "lower STUDENT_DEPLOYMENT_CAPACITY, choose another STUDENT_DEPLOYMENT_SKU, or ask for quota",
    "InvalidResourceProperties": "choose a STUDENT_DEPLOYMENT_SKU that this model has in this region",
    "DeploymentModelNotSupported": "choose a STUDENT_DEPLOYMENT_SKU that this model has in this region",
    "SubscriptionNotFound": "set AZURE_SUBSCRIPTION_ID to a subscription that you can see",
    "ResourceGroupNotFound": "set AZURE_RESOURCE_GROUP to one that exists, or unset it",
}


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Turn errors of Azure's library into one sentence that says what to do."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        raise _to_endpoint_error(what, error) from None
    except AzureError as error:
        raise EndpointError(
            f"Azure could not {what}: {type(error).__name__}, it can't be reached. Check the network and the proxy."
        ) from None


def _to_endpoint_error(what: str, error: Any) -> EndpointError:
    code, told = error_code_and_message(error)
    remedy = _REMEDIES.get(code)
    if remedy is None and error.status_code in (401, 403):
        remedy = _REMEDIES["AuthorizationFailed"]
    return EndpointError(f"Azure could not {what} ({code}: {told}): {remedy or 'fix the cause and materialize again'}.")
