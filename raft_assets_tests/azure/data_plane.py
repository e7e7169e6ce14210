"""The data plane of an Azure OpenAI resource: the embedded provider's own application behind Azure's names.

Models are asked for by the name of a deployment, in the body (version-less API) or in the path (dated API); keys and
tokens are checked; a base model that is to be fine-tuned has the name that Azure gives it. A Foundry project in the
resource is another address of the version-less API, with tokens of its own. Uploads in parts are the dated API's.
"""

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from raft_assets_tests.azure.identity import audience_of
from raft_assets_tests.azure.management import Management
from raft_assets_tests.openai_contract import request_breaches

BASE_MODELS = {"gpt-4.1-mini-2025-04-14": "embedded-reader"}  # what can be fine-tuned there
BASE_DEPLOYMENTS = {  # what somebody deployed before
    "teacher": "embedded-teacher",
    "embedding": "embedded-encoder",
    "gpt-4.1-mini-2025-04-14": "embedded-reader",
}
ASKING = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
CHECKED = (*ASKING, "/v1/fine_tuning/jobs", "/v1/uploads")
AUDIENCES = {True: "https://ai.azure.com", False: "https://cognitiveservices.azure.com"}  # of projects, of resources


class DataPlane:
    """`not_ready`: how many more questions to a deployment of the management plane are refused.

    `stuck`: how many of the deployments that are made never answer, with that status and message, whatever the
    management plane says. `loading`: how many more questions to one find it without its adapter. `before` may answer in
    the provider's place, `create_job` takes the place of its fine-tuning. `stands_in`: the provider's model for a base
    model that somebody deploys.
    `seen`: method and path as the client sent them, with the model that was asked for; `asked`: questions per model.
    """

    def __init__(
        self, provider: ASGIApp, management: Management, allowed: Callable[[str], bool], keys: set[str]
    ) -> None:
        self._provider, self._management, self._allowed, self._keys = provider, management, allowed, keys
        self.not_ready = self.stuck = self.loading = 0
        self.stuck_status = 400
        self.seen: list[tuple[str, str]] = []
        self.headers: list[MutableMapping[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.training_types: list[str | None] = []
        self.before: Callable[[Request], JSONResponse | None] = lambda _: None
        self.create_job: Callable[[Request], Awaitable[JSONResponse]] | None = None
        self.stands_in = dict[str, str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.seen.append((request.method, request.url.path))
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        by_key = request.headers.get("api-key") in self._keys or token in self._keys
        if not by_key and not (self._allowed(token) and audience_of(token) == AUDIENCES[_is_project(request.url.path)]):
            await _error(401, "401", "Access denied due to invalid subscription key.")(scope, receive, send)
            return
        answer = _missing(request) or self.before(request)
        if answer is None:
            answer = await self._forward(request, scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _forward(self, request: Request, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        path, deployment = _path(request.url.path)
        body = await request.body()
        if path in CHECKED and request.method == "POST":
            content = json.loads(body)
        if path == "/v1/uploads" and (wrong := request_breaches(path, content)):
            return _error(400, "InvalidRequest", "; ".join(wrong))
        if path in ASKING or (path == "/v1/fine_tuning/jobs" and request.method == "POST"):
            asked = deployment or content["model"]
            self.asked[asked] += 1
            model = self._model(asked) if path in ASKING else BASE_MODELS.get(asked)
            training_type = content.pop("trainingType", None)  # which is Azure's, and goes beside the library's own
            if wrong := request_breaches(path, {"model": asked, **content}):
                return _error(400, "InvalidRequest", "; ".join(wrong))
            if asked in self._management.deployments and (refusal := self._refusal()):
                return refusal
            if model is None:
                return _error(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
            if self.create_job and path == "/v1/fine_tuning/jobs":
                return await self.create_job(request)
            if path == "/v1/fine_tuning/jobs":
                self.training_types.append(training_type)
            body = json.dumps({**content, "model": model}).encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))

        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return pending.pop() if pending else await receive()

        await self._provider({**scope, "path": path, "raw_path": path.encode(), "headers": headers}, replay, send)
        return None

    def _refusal(self) -> JSONResponse | None:
        """What a deployment that Azure calls Succeeded says in place of an answer."""
        if self._management.count("PUT") <= self.stuck:
            return _error(self.stuck_status, "DeploymentNotReady", "The deployment is not ready to serve requests.")
        if self.loading > 0:
            self.loading -= 1
            return _error(500, "InternalServerError", "Failed to load LoRA adapter for the request.")
        return None

    def _model(self, deployment: str) -> str | None:
        made = self._management.deployments.get(deployment)
        if made is None:
            return BASE_DEPLOYMENTS.get(deployment)
        if made["properties"]["provisioningState"] != "Succeeded" or self.not_ready > 0:
            self.not_ready -= 1
            return None
        name = str(made["properties"]["model"]["name"])
        return self.stands_in.get(name, name)


def _path(path: str) -> tuple[str, str]:
    """The provider's path, and the deployment that stands in a dated one."""
    rest = re.sub(r"^(/api/projects/[^/]+)?/openai", "", path)
    if rest.startswith("/deployments/"):
        _, _, deployment, rest = rest.split("/", 3)
        return f"/v1/{rest}", deployment
    return (rest if rest.startswith("/v1/") else f"/v1{rest}"), ""


def _is_project(path: str) -> bool:
    return path.startswith("/api/projects/")


def _missing(request: Request) -> JSONResponse | None:
    """The 404 of what the version-less API doesn't have, and of the dated one without its date."""
    if "/openai/v1/" in request.url.path:
        is_missing = "/uploads" in request.url.path
    else:
        is_missing = "api-version" not in request.query_params
    return _error(404, "404", "Resource not found") if is_missing else None


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
