"""An Azure ML workspace at `management.azure.com`: data assets, fine-tuning jobs, models, serverless endpoints.

Training is the embedded provider's: a job's files are read from blob storage, where the real library put them. Bodies
are checked against the official schema.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai
from azure.storage.blob import ContainerClient
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from raft_assets_tests.azure.contracts import breaches
from raft_assets_tests.azure.management import GROUP, MADE_BEFORE, SUBSCRIPTION

WORKSPACE, REGION, STORE = "ws-raft", "swedencentral", "workspaceblobstore"
ML_CONTAINER = "azureml"  # of the workspace, in its storage account
MODEL = "azureml://registries/azureml-meta/models/Llama-2-7b"
PROVIDER = "Microsoft.MachineLearningServices"
ROOT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{PROVIDER}/workspaces/{WORKSPACE}"
ENDPOINT_KEY = "canary-serverless-key"
STATUSES = {"succeeded": "Completed", "failed": "Failed", "cancelled": "Canceled"}


class MachineLearning:
    """`made`: kind and name to what was PUT. `container` is where the workspace keeps its files."""

    def __init__(self, provider: ASGIApp, container: Callable[[], ContainerClient], account: str) -> None:
        self._provider, self._container, self._account = provider, container, account
        self.made: dict[tuple[str, str], dict[str, Any]] = {}
        self.trained: dict[str, str] = {}  # job of ours to that of the embedded provider
        self.puts: list[str] = []
        self.ends_as: str | None = None
        self.unlisted = 0  # looks at the registered models that find none yet
        self.routes = [
            Route(ROOT, self._workspace),
            Route(f"{ROOT}/datastores", self._datastores),
            Route(f"{ROOT}/datastores/{STORE}", self._datastore),
            Route(f"{ROOT}/datastores/{STORE}/listSecrets", self._secrets, methods=["POST"]),
            Route(f"{ROOT}/models/{{name}}/versions", self._models),
            Route(f"{ROOT}/serverlessEndpoints/{{name}}/listKeys", self._keys, methods=["POST"]),
            Route(f"{ROOT}/data/{{name}}/versions/{{version}}", self._resource, methods=["GET", "PUT"]),
            Route(f"{ROOT}/{{kind}}", self._list),
            Route(f"{ROOT}/{{kind}}/{{name}}", self._resource, methods=["GET", "PUT", "DELETE"]),
        ]

    async def _workspace(self, _: Request) -> Response:
        properties = {"workspaceId": "ws-id", "storageAccount": "s", "discoveryUrl": "https://none/discovery"}
        return JSONResponse(
            {"id": ROOT, "name": WORKSPACE, "location": REGION, "kind": "Default", "properties": properties}
        )

    async def _datastores(self, _: Request) -> Response:
        return JSONResponse({"value": [self._store()]})

    async def _datastore(self, _: Request) -> Response:
        return JSONResponse(self._store())

    def _store(self) -> dict[str, Any]:
        properties = {
            "datastoreType": "AzureBlob",
            "accountName": self._account,
            "containerName": ML_CONTAINER,
            "isDefault": True,
            "credentials": {"credentialsType": "None"},
            "endpoint": "core.windows.net",
            "protocol": "https",
        }
        return {"id": f"{ROOT}/datastores/{STORE}", "name": STORE, "properties": properties}

    async def _secrets(self, _: Request) -> Response:
        return _error(403, "Forbidden", "The datastore has no secrets: it is identity-based.")

    async def _keys(self, request: Request) -> Response:
        return JSONResponse({"primaryKey": ENDPOINT_KEY, "secondaryKey": "other"})

    async def _list(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        return JSONResponse({"value": [self._shown(*key) for key in self.made if key[0] == kind]})

    async def _models(self, request: Request) -> Response:
        name = request.path_params["name"]
        if self.unlisted > 0:
            self.unlisted -= 1
            return JSONResponse({"value": []})
        jobs = [body for (kind, _), body in self.made.items() if kind == "jobs" and self._output(body) == name]
        found = [
            {
                "id": f"{ROOT}/models/{name}/versions/{number}",
                "name": str(number),
                "properties": {"modelUri": f"azureml://{name}", "modelType": "mlflow_model", "flavors": {}},
            }
            for number, _ in enumerate(jobs, start=1)
        ]
        return JSONResponse({"value": found})

    async def _resource(self, request: Request) -> Response:
        kind, name = request.url.path.removeprefix(f"{ROOT}/").split("/")[:2]
        if request.method == "PUT":
            return await self._put(kind, name, await request.json())
        if (kind, name) not in self.made:
            return _error(404, "ResourceNotFound", f"{kind} {name} was not found.")
        if request.method == "DELETE":
            del self.made[kind, name]
            return Response(status_code=204)
        if kind == "jobs":
            await self._look_at_job(name)
        return JSONResponse(self._shown(kind, name))

    async def _put(self, kind: str, name: str, body: dict[str, Any]) -> Response:
        resource = "workspaces_data_versions" if kind == "data" else f"workspaces_{kind}"
        official = f"{PROVIDER}/workspaces/{kind}" + ("/versions" if kind == "data" else "")
        # the schema at hand is of one version of the API; what the library asks by older ones is held against it, too
        held = _in_official_case(body)
        if kind == "serverlessEndpoints":  # which the newer version wants, and the library can't send
            held = {**held, "properties": {"authMode": "Key", **held["properties"]}}
        wrong = breaches("arm_ml_*.json", resource, official, name, held)
        if wrong:
            return _error(400, "InvalidRequestContent", "; ".join(wrong))
        self.puts.append(kind)
        self.made[kind, name] = body
        body["systemData"] = {"createdAt": (datetime.now(UTC) - MADE_BEFORE).isoformat()}
        if kind == "jobs":
            body["properties"]["status"] = "Running"
            self.trained[name] = await self._train(body["properties"])
        if kind == "serverlessEndpoints":
            body["properties"] |= {
                "provisioningState": "Succeeded",
                "inferenceEndpoint": {"uri": f"https://{name}.{REGION}.models.ai.azure.com", "headers": {}},
                "authMode": "Key",
            }
        if kind == "marketplaceSubscriptions":
            plan = {"publisherId": "meta", "offerId": "llama", "planId": "pay"}
            body["properties"] |= {
                "provisioningState": "Succeeded",
                "marketplacePlan": plan,
                "marketplaceSubscriptionStatus": "Subscribed",
            }
        return JSONResponse(self._shown(kind, name), 201)

    async def _train(self, job: dict[str, Any]) -> str:
        details = job["fineTuningDetails"]
        async with self._client() as client:
            files = []
            for part in ("trainingData", "validationData"):
                content = self._content(details[part]["uri"]) if details.get(part) else b""
                if content:
                    made = await client.files.create(file=(f"{part}.jsonl", io.BytesIO(content)), purpose="fine-tune")
                    files.append(made.id)
            given = details.get("hyperParameters") or {}
            epochs = {"n_epochs": int(given["num_train_epochs"])} if "num_train_epochs" in given else {}
            method = {"type": "supervised", "supervised": {"hyperparameters": epochs}}
            started = await client.fine_tuning.jobs.create(
                model="embedded-reader",
                training_file=files[0],
                method=method,
                suffix="maas",  # type: ignore[arg-type]
            )
        return started.id

    async def _look_at_job(self, name: str) -> None:
        async with self._client() as client:
            job = await client.fine_tuning.jobs.retrieve(self.trained[name])
        properties = self.made["jobs", name]["properties"]
        if properties["status"] == "Failed":
            return  # for good
        properties["status"] = self.ends_as or STATUSES.get(job.status, "Running")
        if properties["status"] == "Failed":
            properties["properties"] = {"error": "row 3 has no answer"}

    async def model_of(self, endpoint: str) -> str:
        """The embedded provider's model that an endpoint serves; empty where there is no such endpoint."""
        made = self.made.get(("serverlessEndpoints", endpoint))
        if made is None:
            return ""
        registered = made["properties"]["modelSettings"]["modelId"].rpartition("/")[2]
        name = next(
            job for (kind, job), body in self.made.items() if kind == "jobs" and self._output(body) == registered
        )

        async with self._client() as client:
            return str((await client.fine_tuning.jobs.retrieve(self.trained[name])).fine_tuned_model)

    def _content(self, uri: str) -> bytes:
        """The file behind the id of a data asset, or behind a path in the datastore."""
        if "/data/" in uri:
            name = uri.split("/data/")[1].split("/", maxsplit=1)[0]
            uri = self.made["data", name]["properties"]["dataUri"]
        with self._container() as container:
            return container.download_blob(uri.split("/paths/")[1]).readall()

    def _client(self) -> openai.AsyncOpenAI:
        transport = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self._provider))
        return openai.AsyncOpenAI(base_url="http://embedded/v1", api_key="any", http_client=transport)

    @staticmethod
    def _output(job: dict[str, Any]) -> str:
        return str(job["properties"]["outputs"]["registered_model"]["assetName"])

    def _shown(self, kind: str, name: str) -> dict[str, Any]:
        version = "/versions/1" if kind == "data" else ""
        return {"id": f"{ROOT}/{kind}/{name}{version}", "name": "1" if version else name, **self.made[kind, name]}


class ServerlessPlane:
    """Where serverless endpoints answer; `asked` counts questions by kind."""

    def __init__(self, provider: ASGIApp, workspace: MachineLearning) -> None:
        self._provider, self._workspace = provider, workspace
        self.asked: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        model = await self._workspace.model_of(request.url.hostname.partition(".")[0])  # type: ignore[union-attr]
        if request.headers.get("authorization") != f"Bearer {ENDPOINT_KEY}" or not model:
            await _error(401, "Unauthorized", "The key is wrong.")(scope, receive, send)
            return
        self.asked[request.url.path] += 1
        body = json.dumps({**await request.json(), "model": model}).encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return pending.pop() if pending else await receive()

        await self._provider({**scope, "headers": headers}, replay, send)


def _in_official_case(body: dict[str, Any]) -> dict[str, Any]:
    """The library writes `chatCompletion` where the schema has `ChatCompletion`; Azure reads both."""
    details = body["properties"].get("fineTuningDetails")
    if not details:
        return body
    task = details["taskType"]
    named = {**details, "taskType": task[0].upper() + task[1:]}
    return {**body, "properties": {**body["properties"], "fineTuningDetails": named}}


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
