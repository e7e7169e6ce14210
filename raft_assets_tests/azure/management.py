"""`management.azure.com` for one Azure OpenAI resource: accounts and their deployments.

It checks what it is sent against the official schema, and can be told to fail as Azure does.
"""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from raft_assets_tests.azure.contracts import breaches
from raft_assets_tests.azure.model_lists import ModelLists

SUBSCRIPTION, GROUP, ACCOUNT = "11111111-2222-3333-4444-555555555555", "rg-raft", "raft-openai"
KIND = "Microsoft.CognitiveServices/accounts/deployments"
MADE_BEFORE = timedelta(hours=2)  # what is hosted was made so long ago, by its own record: it may count as idle
TURNS_UNTIL_MADE = 1  # looks at a new deployment that find it unfinished


class Management:
    """`deployments`: name to what was PUT, with its state. `seen`: method and last part of the path, in order."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self.deployments: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.refuse: dict[str, tuple[int, str, str]] = {}  # method: status, code, message
        self.ends_as = "Succeeded"
        self.account_is = "there"  # or "gone", "deleted softly"
        self.quota = 1000
        self.actions = ["Microsoft.CognitiveServices/*"]
        self.lists = ModelLists()
        self._looks: Counter[str] = Counter()
        group = "/subscriptions/{subscription}/resourceGroups/{group}"
        accounts = "/providers/Microsoft.CognitiveServices/accounts"
        deployment = f"{group}{accounts}/{{account}}/deployments"
        provider = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices"
        self.app = Starlette(
            routes=[
                Route(f"/subscriptions/{{subscription}}{accounts}", self._of(self._accounts)),
                Route(f"{group}{accounts}", self._of(self._accounts)),
                Route(f"{provider}/deletedAccounts", self._of(self._deleted)),
                Route(f"{provider}/locations/{{location}}/models", self._of(self.lists.answer_models)),
                Route(f"{provider}/locations/{{location}}/usages", self._of(self.lists.answer_usages)),
                Route(f"{provider}/modelCapacities", self._of(self.lists.answer_capacities)),
                Route(
                    f"{group}{accounts}/{{account}}/providers/Microsoft.Authorization/permissions",
                    self._of(self._permissions),
                ),
                Route(deployment, self._of(self._list)),
                Route(f"{deployment}/{{name}}", self._of(self._get)),
                Route(f"{deployment}/{{name}}", self._of(self._put), methods=["PUT"]),
                Route(f"{deployment}/{{name}}", self._of(self._delete), methods=["DELETE"]),
            ]
        )

    def count(self, method: str) -> int:
        """How often a method was asked for."""
        return sum(seen == method for seen, _ in self.seen)

    def _of(self, handler: Callable[[Request, bytes], Response]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            body = await request.body()
            self.seen.append((request.method, request.url.path.rpartition("/")[2]))
            if not self._allowed(request.headers.get("authorization", "").removeprefix("Bearer ")):
                return _error(401, "InvalidAuthenticationToken", "The access token is invalid.")
            if not request.query_params.get("api-version"):
                return _error(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
            if request.path_params["subscription"] != SUBSCRIPTION:
                return _error(404, "SubscriptionNotFound", "The subscription could not be found.")
            if request.method in self.refuse:
                return _error(*self.refuse[request.method])
            return handler(request, body)

        return handle

    def _accounts(self, request: Request, _: bytes) -> Response:
        if request.path_params.get("group", GROUP) != GROUP:
            return _error(404, "ResourceGroupNotFound", "The resource group could not be found.")
        found = {
            "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.CognitiveServices"
            f"/accounts/{ACCOUNT}",
            "name": ACCOUNT,
            "kind": "OpenAI",
            "properties": {"endpoint": f"https://{ACCOUNT}.openai.azure.com/", "provisioningState": "Succeeded"},
        }
        return JSONResponse({"value": [found] if self.account_is == "there" else []})

    def _deleted(self, request: Request, _: bytes) -> Response:
        where = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CognitiveServices/locations/swedencentral"
        id_ = f"{where}/resourceGroups/{GROUP}/deletedAccounts/{ACCOUNT}"
        gone = {"id": id_, "name": ACCOUNT, "location": "swedencentral"}
        return JSONResponse({"value": [gone] if self.account_is == "deleted softly" else []})

    def _permissions(self, request: Request, _: bytes) -> Response:
        return JSONResponse({"value": [{"actions": self.actions, "notActions": []}]})

    def _list(self, request: Request, _: bytes) -> Response:
        return JSONResponse({"value": [self._shown(name) for name in self.deployments]})

    def _get(self, request: Request, _: bytes) -> Response:
        name = request.path_params["name"]
        if name not in self.deployments:
            return _error(404, "ResourceNotFound", f"The deployment {name} was not found.")
        self._looks[name] += 1
        deployment = self.deployments[name]
        if deployment["properties"]["provisioningState"] == "Creating" and self._looks[name] > TURNS_UNTIL_MADE:
            deployment["properties"]["provisioningState"] = self.ends_as
        return JSONResponse(self._shown(name))

    def _put(self, request: Request, body: bytes) -> Response:
        name, wanted = request.path_params["name"], json.loads(body)
        wrong = breaches("arm_cog_*.json", "accounts_deployments", KIND, name, wanted)
        if wrong:
            return _error(400, "InvalidRequestContent", "; ".join(wrong))
        if wanted["sku"]["capacity"] > self.quota:
            return _error(400, "InsufficientQuota", f"The capacity is above the quota of {self.quota}.")
        self._looks[name] = 0
        wanted["properties"]["provisioningState"] = "Creating"
        wanted["systemData"] = {"createdAt": (datetime.now(UTC) - MADE_BEFORE).isoformat()}
        made = name not in self.deployments
        self.deployments[name] = wanted
        return JSONResponse(self._shown(name), 201 if made else 200)

    def _delete(self, request: Request, _: bytes) -> Response:
        return Response(status_code=200 if self.deployments.pop(request.path_params["name"], None) else 204)

    def _shown(self, name: str) -> dict[str, Any]:
        path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{KIND.rpartition('/')[0]}/{ACCOUNT}"
        return {"id": f"{path}/deployments/{name}", "name": name, "type": KIND, **self.deployments[name]}


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
