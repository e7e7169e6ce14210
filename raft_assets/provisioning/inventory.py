"""What is on Azure of an azd environment: resources and deployments, what each is for, what it costs asleep."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.provisioning.arm import Arm
from raft_assets.provisioning.azd import AzdEnvironment
from raft_assets.provisioning.preflight import ACCOUNT_VERSION, GROUP_VERSION
from raft_assets.provisioning.provisioned import account_of, group_of
from raft_assets.student.hosting import DOMAIN_TAG, HASH_TAG

ROLES_TAG = "raft-roles"  # set by infra/modules/models.bicep


class IdleCost(BaseModel):
    """What a kind of resource costs a month while nobody uses it; `month` is None where it depends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    month: float | None
    why: str
    source: str


class IdleCosts(BaseModel):
    """The shipped table, by resource type, and when it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read: date
    resources: Mapping[str, IdleCost]

    def of(self, kind: str) -> IdleCost | None:
        """Return the cost of a resource type, whose case Azure doesn't keep."""
        return next((cost for name, cost in self.resources.items() if name.lower() == kind.lower()), None)


@dataclass(frozen=True)
class AzureResource:
    """A resource. `sku` is that of a deployment; `is_student`: of a fine-tuned model, paid by the hour."""

    name: str
    kind: str
    purpose: str
    sku: str = ""
    is_student: bool = False


@cache
def idle_costs() -> IdleCosts:
    """Return the shipped table of idle costs."""
    text = files("raft_assets.provisioning").joinpath("idle_costs.yaml").read_text("utf-8")
    return IdleCosts.model_validate(yaml.safe_load(text))


def list_resources(environment: AzdEnvironment, arm: Arm) -> Iterator[AzureResource]:
    """Yield the resources of the environment's group, then the deployments of its account.

    Raises ArmError where Azure refuses to tell.
    """
    group = f"/subscriptions/{arm.subscription}/resourceGroups/{group_of(environment)}"
    for resource in arm.read_all(f"{group}/resources", GROUP_VERSION):
        kind = str(resource.get("type") or "")
        yield AzureResource(str(resource.get("name") or ""), kind, _purpose(kind))
    account = account_of(environment)
    if account is not None:
        for deployment in arm.read_all(f"{account.path}/deployments", ACCOUNT_VERSION):
            yield _deployment(deployment)


def _deployment(deployment: Mapping[str, Any]) -> AzureResource:
    tags, sku = deployment.get("tags") or {}, deployment.get("sku") or {}
    is_student = HASH_TAG in tags
    purpose = f"student of {tags.get(DOMAIN_TAG, '?')}" if is_student else str(tags.get(ROLES_TAG) or "not ours")
    sku_text = f"{sku.get('name', '?')}, {sku.get('capacity', '?')}"
    return AzureResource(str(deployment.get("name")), "deployment", purpose, sku_text, is_student)


def _purpose(kind: str) -> str:
    purposes = {
        "accounts": "models: asking, training, deploying",
        "projects": "Foundry project",
        "userassignedidentities": "identity of what runs on Azure",
        "storageaccounts": "lake and paid calls",
        "components": "metrics and traces",
        "vaults": "secrets of the hub",
        "managedenvironments": "network of the platform's containers",
        "containerapps": "the platform: webserver, daemon, code server",
        "jobs": "a run of the platform",
        "registries": "images of the platform",
        "flexibleservers": "history of runs, and coordination",
        "virtualnetworks": "network of the platform",
        "privatednszones": "name of the database",
    }
    last = kind.lower().rpartition("/")[2]
    if last == "workspaces":
        return "logs" if "operationalinsights" in kind.lower() else "serverless students (classic)"
    return purposes.get(last, "")
