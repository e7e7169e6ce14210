"""Resource groups on `management.azure.com`: what a template made there, whose a group is, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from raft_assets_tests.azure.management import ACCOUNT, GROUP, SUBSCRIPTION, Management

if TYPE_CHECKING:
    from raft_assets_tests.infra.evaluate import Deployment

EVERYTHING = ({"actions": ["*"], "notActions": []},)
DEPLOYMENTS = "Microsoft.CognitiveServices/accounts/deployments"


class ResourceManager:
    """`groups`: the tags of each; `granted`: the permissions of the signed-in identity; `granted_in`: those by group.

    `account_location`: the region of the account.
    """

    def __init__(self, management: Management) -> None:
        self.groups: dict[str, dict[str, str]] = {}
        self.resources: list[Mapping[str, Any]] = []
        self.granted: tuple[Mapping[str, Any], ...] = EVERYTHING
        self.granted_in: dict[str, tuple[Mapping[str, Any], ...]] = {}
        self.account_location = "swedencentral"
        self.subdomain: str | None = ACCOUNT
        subscription = "/subscriptions/{subscription}"
        group = f"{subscription}/resourceGroups/{{group}}"
        permissions = "/providers/Microsoft.Authorization/permissions"
        answers = {
            group: self._group,
            f"{group}/resources": self._resources,
            f"{group}{permissions}": self._permissions,
            f"{subscription}{permissions}": self._permissions,
            f"{group}/providers/Microsoft.CognitiveServices/accounts/{{account}}": self._account,
        }
        self.routes = [Route(path, management._of(answer)) for path, answer in answers.items()]

    def create(self, found: Deployment) -> None:
        """What a template comes to, except deployments of models: those are PUT by the SDK (see `put_models`)."""
        for one in found.resources:
            if one.type == "Microsoft.Resources/resourceGroups":
                self.groups[str(one.body["name"])] = dict(one.body["tags"])
            elif one.type != DEPLOYMENTS:
                self.resources.append({"id": one.id, "name": one.body["name"], "type": one.type})

    def _group(self, request: Request, _: bytes) -> Response:
        tags = self.groups.get(request.path_params["group"])
        if tags is None:
            return _error(404, "ResourceGroupNotFound", "The resource group could not be found.")
        return JSONResponse({"name": request.path_params["group"], "location": "swedencentral", "tags": tags})

    def _resources(self, request: Request, _: bytes) -> Response:
        # assignments and children of children are no resources of a group, to this list
        shown = [one for one in self.resources if one["type"].count("/") == 1 and "Authorization" not in one["type"]]
        return JSONResponse({"value": shown})

    def _permissions(self, request: Request, _: bytes) -> Response:
        granted = self.granted_in.get(request.path_params.get("group", ""), self.granted)
        return JSONResponse({"value": list(granted)})

    def _account(self, request: Request, _: bytes) -> Response:
        if (request.path_params["group"], request.path_params["account"]) != (GROUP, ACCOUNT):
            return _error(404, "ResourceNotFound", "The account was not found.")
        return JSONResponse(
            {
                "name": ACCOUNT,
                "kind": "AIServices",
                "location": self.account_location,
                "properties": {"customSubDomainName": self.subdomain},
            }
        )


def put_models(found: Deployment) -> None:
    """PUT the deployments of a template one after another, by the SDK and as the environment signs in."""
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient

    with CognitiveServicesManagementClient(DefaultAzureCredential(), SUBSCRIPTION) as client:
        for one in found.of(DEPLOYMENTS):
            body = {key: value for key, value in one.body.items() if key != "name"}
            client.deployments.begin_create_or_update(GROUP, ACCOUNT, str(one.body["name"]), body, polling=False)
            client.deployments.get(GROUP, ACCOUNT, str(one.body["name"]))
            client.deployments.get(GROUP, ACCOUNT, str(one.body["name"]))  # by the second look it is made


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
