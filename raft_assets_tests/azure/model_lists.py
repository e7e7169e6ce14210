"""What `management.azure.com` lists of a region: models, quota, capacity. Its answers are the SDK's own typed models.

No schema of these answers is at hand. They keep ARM's paging, and hold what real lists hold: models without SKUs, SKUs
that have ended, several versions, one model for several kinds of accounts, models that neither answer nor embed,
publishers that nobody knows, dates that are missing or empty.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

models = pytest.importorskip("azure.mgmt.cognitiveservices.models", reason="the extra raft-assets[azure]")

PAGE = 3  # items; a real one has hundreds
ANSWERS, EMBEDS = {"chatCompletion": "true"}, {"embeddings": "true"}
HOST = "https://management.azure.com"


def sku(name: str = "GlobalStandard", usage: str = "", *, ended: bool = False, **bounds: int) -> models.ModelSku:
    """A SKU of a model; `bounds` are of its capacity."""
    return models.ModelSku(
        name=name,
        usage_name=usage,
        deprecation_date=datetime(2026, 1, 1, tzinfo=UTC) if ended else None,
        capacity=models.CapacityConfig(**bounds) if bounds else None,
    )


def listed(
    name: str,
    version: str,
    model_format: str,
    *,
    capabilities: dict[str, str] | None = None,
    status: str = "GenerallyAvailable",
    retires: str | None = None,
    successor: str = "",
    kind: str = "AIServices",
    skus: Iterable[models.ModelSku] | None = (),
) -> models.Model:
    """A model as a list has it; `skus` None: the field is missing."""
    return models.Model(
        kind=kind,
        sku_name="S0",
        model=models.AccountModel(
            name=name,
            version=version,
            format=model_format,
            capabilities=ANSWERS if capabilities is None else capabilities,
            lifecycle_status=status,
            deprecation=models.ModelDeprecationInfo(inference=retires, fine_tune=None),
            replacement_config=models.ReplacementConfig(target_model_name=successor) if successor else None,
            skus=None if skus is None else list(skus),
        ),
    )


def todays_models() -> list[models.Model]:
    """What a region lists."""
    oss = "AIServices.GlobalStandard.gpt-oss-120b"
    return [
        listed("FLUX-1.1-pro", "1", "Black Forest Labs", capabilities={}, skus=[sku()]),
        listed("gpt-4o", "2024-08-06", "OpenAI", status="Deprecated", retires="2026-10-01T00:00:00Z", skus=[sku()]),
        listed(
            "gpt-4.1-mini",
            "2025-04-14",
            "OpenAI",
            status="Deprecating",
            retires="2027-10-14T00:00:00Z",
            successor="gpt-5.4-mini",
            skus=[sku()],
        ),
        models.Model(kind="AIServices", model=None),
        listed(
            "gpt-oss-120b", "1", "OpenAI-OSS", skus=[sku("ProvisionedManaged"), sku("GlobalStandard", oss, minimum=1)]
        ),
        listed("gpt-oss-120b", "1", "OpenAI-OSS", kind="OpenAI", skus=[]),
        listed("gpt-oss-20b", "11", "Microsoft", skus=[sku()]),
        listed("Llama-3.3-70B-Instruct", "1", "Meta", skus=[sku(ended=True)]),
        listed("DeepSeek-V3.2", "1", "DeepSeek", skus=None),
        listed("Mistral-Large-3", "1", "Mistral AI", skus=[sku("DataZoneStandard", minimum=50, step=50)]),
        listed("Mistral-Large-3", "2", "Mistral AI", skus=[sku("DataZoneStandard", minimum=50, step=50)]),
        listed("Contoso-Chat", "1", "Contoso", status="Stable", retires="", skus=[sku()]),
        listed("text-embedding-3-small", "1", "OpenAI", capabilities=EMBEDS, retires="2027-04-15", skus=[sku()]),
    ]


class ModelLists:
    """What is listed. `quota`: limit and use by name; `room`: free capacity by region; `refuse`: an error by list."""

    def __init__(self) -> None:
        self.models = todays_models()
        self.quota: dict[str, tuple[float, float]] = {"AIServices.GlobalStandard.gpt-oss-120b": (1000.0, 0.0)}
        self.room: dict[str, dict[str, float]] = {}
        self.refuse: dict[str, tuple[int, str, str]] = {}

    def answer_models(self, request: Request, _: bytes) -> Response:
        """`models.list`."""
        return self._page(request, "models", self.models)

    def answer_usages(self, request: Request, _: bytes) -> Response:
        """`usages.list`, with a limit that has no name."""
        usages = [
            models.Usage(name=models.MetricName(value=name), limit=limit, current_value=used, unit="Count")
            for name, (limit, used) in self.quota.items()
        ]
        return self._page(request, "usages", [models.Usage(name=None, limit=1.0), *usages])

    def answer_capacities(self, request: Request, _: bytes) -> Response:
        """`model_capacities.list`, of one model in every region."""
        name = request.query_params["modelName"]
        wanted = models.DeploymentModel(
            format=request.query_params["modelFormat"], name=name, version=request.query_params["modelVersion"]
        )
        found = [
            models.ModelCapacityListResultValueItem(
                location=region,
                properties=models.ModelSkuCapacityProperties(
                    model=wanted, sku_name="GlobalStandard", available_capacity=free[name]
                ),
            )
            for region, free in self.room.items()
            if name in free
        ]
        return self._page(request, "modelCapacities", found)

    def _page(self, request: Request, name: str, items: list[Any]) -> Response:
        if name in self.refuse:
            status, code, message = self.refuse[name]
            return JSONResponse({"error": {"code": code, "message": message}}, status)
        start = int(request.query_params.get("$skiptoken", "0"))
        body: dict[str, Any] = {"value": [one.serialize(keep_readonly=True) for one in items[start : start + PAGE]]}
        if start + PAGE < len(items):
            query = f"{request.url.query.partition('&$skiptoken')[0]}&$skiptoken={start + PAGE}"
            body["nextLink"] = f"{HOST}{request.url.path}?{query}"
        return JSONResponse(body)
