"""The data plane of an Azure OpenAI resource: the embedded provider's own application behind Azure's names.

Models are asked for by the name of a deployment, in the body (version-less API) or in the path (dated API); keys and
tokens are checked; a base model that is to be fine-tuned has the name that Azure gives it.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from raft_assets_tests.azure.management import Management
from raft_assets_tests.openai_contract import request_breaches

BASE_MODELS = {"gpt-4o-mini-2024-07-18": "embedded-reader"}  # what can be fine-tuned there
BASE_DEPLOYMENTS = {  # what somebody deployed before
    "teacher": "embedded-teacher",
    "embedding": "embedded-encoder",
    "gpt-4o-mini-2024-07-18": "embedded-reader",
}
ASKING = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


class DataPlane:
    """`not_ready`: how many more questions to a deployment of the management plane are refused.

    `before` may answer in the provider's place, `create_job` takes the place of its fine-tuning.
    `seen`: method and path as the client sent them, with the model that was asked for; `asked`: questions per model.
    """

    def __init__(
        self, provider: ASGIApp, management: Management, allowed: Callable[[str], bool], keys: set[str]
    ) -> None:
        self._provider, self._management, self._allowed, self._keys = provider, management, allowed, keys
        self.not_ready = 0
        self.seen: list[tuple[str, str]] = []
        self.headers: list[MutableMapping[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.training_types: list[str | None] = []
        self.before: Callable[[Request], JSONResponse | None] = lambda _: None
        self.create_job: Callable[[Request], Awaitable[JSONResponse]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.seen.append((request.method, request.url.path))
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.headers.get("api-key") not in self._keys and token not in self._keys and not self._allowed(token):
            await _error(401, "401", "Access denied due to invalid subscription key.")(scope, receive, send)
            return
        answer = self.before(request)
        if answer is None:
            answer = await self._forward(request, scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _forward(self, request: Request, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        path, deployment = _path(request.url.path)
        body = await request.body()
        if path in ASKING or (path == "/v1/fine_tuning/jobs" and request.method == "POST"):
            content = json.loads(body)
            asked = deployment or content["model"]
            self.asked[asked] += 1
            model = self._model(asked) if path in ASKING else BASE_MODELS.get(asked)
            training_type = content.pop("trainingType", None)  # which is Azure's, and goes beside the library's own
            if wrong := request_breaches(path, {"model": asked, **content}):
                return _error(400, "InvalidRequest", "; ".join(wrong))
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

    def _model(self, deployment: str) -> str | None:
        made = self._management.deployments.get(deployment)
        if made is None:
            return BASE_DEPLOYMENTS.get(deployment)
        if made["properties"]["provisioningState"] != "Succeeded" or self.not_ready > 0:
            self.not_ready -= 1
            return None
        return str(made["properties"]["model"]["name"])


def _path(path: str) -> tuple[str, str]:
    """The provider's path, and the deployment that stands in a dated one."""
    rest = path.removeprefix("/openai")
    if rest.startswith("/deployments/"):
        _, _, deployment, rest = rest.split("/", 3)
        return f"/v1/{rest}", deployment
    return (rest if rest.startswith("/v1/") else f"/v1{rest}"), ""


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
