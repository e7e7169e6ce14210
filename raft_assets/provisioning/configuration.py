"""From a subscription and a choice to the values of the azd environment: what ARM lists, capacity, prices.

What belongs here: reading ARM's lists into a `Market`, and saying what a choice costs. What is offered and why is
decided in `choice`; who is asked for a choice, and how it is shown, belongs in the command.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raft_assets.core.errors import SettingsError
from raft_assets.llm.prices import HOURS_A_MONTH, Price, PriceList
from raft_assets.provisioning.catalogue import AZURE, Catalogue, KnownModel
from raft_assets.provisioning.choice import BASE_SKUS, Candidate, Choice, Market, Sku, market_of_list
from raft_assets.provisioning.provisioned import DEPLOYMENTS, LAKE, LOCATION, STUDENT
from raft_assets.settings.endpoints import DEVELOPER_TIER, Role

if TYPE_CHECKING:
    from raft_assets.provisioning.arm import Arm

FOUNDRY_ADDRESS = "https://new.services.ai.azure.com"  # of a resource that isn't made yet, as price lists know it
FALL_BACK_STATUSES = (None, 401, 403)  # no answer or no permission: the shipped list is better than nothing
RETIRED, LEAVING = "Deprecated", "Deprecating"  # lifecycle statuses of ARM
KINDS = ("AIServices", "OpenAI")  # of accounts; the same model may be listed for both


def open_market(arm: "Arm | None", catalogue: Catalogue, region: str, today: date, *, reason: str = "") -> Market:
    """Return what a region offers: as ARM tells it, else as the shipped list does, which says why and how old it is.

    `reason`: why there is no ARM. Raises ArmError where ARM refuses the region itself.
    """
    if arm is None:
        return _with_warnings(market_of_list(catalogue, region, today), [reason] if reason else [])
    from raft_assets.provisioning.arm import ArmError

    try:
        listed = arm.models(region)
    except ArmError as error:
        if error.status not in FALL_BACK_STATUSES:
            raise
        return _with_warnings(market_of_list(catalogue, region, today), [str(error)])
    warnings = list[str]()
    try:
        usages = {one.name.value: one for one in arm.usages(region) if one.name and one.name.value}
    except ArmError as error:
        usages = {}
        warnings.append(f"{error} Quota is unknown.")
    candidates = list(_read_candidates(listed, usages, catalogue, today))
    warnings += _deleted_accounts(arm, region)
    told = f"Azure's lists for {region} of subscription {arm.subscription}"
    return Market(region, today, catalogue, tuple(candidates), told, tuple(warnings), is_complete=True)


def _with_warnings(market: Market, warnings: Iterable[str]) -> Market:
    return replace(market, warnings=(*warnings, *market.warnings))


def _deleted_accounts(arm: "Arm", region: str) -> Iterator[str]:
    """Yield a warning where deleted accounts keep their quota."""
    from raft_assets.provisioning.arm import ArmError

    try:
        gone = [str(one.name) for one in arm.deleted_accounts() if str(one.location or "").lower() == region]
    except ArmError:
        return  # it is worth no sentence where they may not be listed
    if gone:
        yield (
            f"Deleted and not purged in {region}: {', '.join(sorted(gone))}. They keep their names and quota until "
            "`az cognitiveservices account purge`."
        )


def _read_candidates(
    listed: Iterable[Any], usages: Mapping[str, Any], catalogue: Catalogue, today: date
) -> Iterator[Candidate]:
    """Yield the models of ARM's list that answer or embed, each version once, in the order of our own list."""
    found: dict[tuple[str, str, str], Candidate] = {}
    for entry in listed:
        model = entry.model
        if model is None or not model.name or entry.kind not in (*KINDS, None):
            continue
        kind = _read_kind(model)
        if kind:
            known = _merge(model, kind, catalogue)
            candidate = Candidate(known, tuple(_read_skus(model, usages, today)))
            former = found.get(candidate.key)
            if former is None or len(candidate.skus) > len(former.skus):
                found[candidate.key] = candidate
    ours = [one.name.lower() for one in catalogue.of_service(AZURE)]

    def rank(candidate: Candidate) -> tuple[int, str, str]:
        name = candidate.name.lower()
        return (ours.index(name) if name in ours else len(ours), name, candidate.model.version)

    yield from sorted(found.values(), key=rank)


def lifecycle_status(model: Any) -> str:
    """Return a model's status in ARM's list; empty where it has none."""
    return str(getattr(model.lifecycle_status, "value", model.lifecycle_status) or "")


def _read_kind(model: Any) -> str:
    capabilities = {str(key).lower(): str(value).lower() for key, value in (model.capabilities or {}).items()}
    if capabilities.get("embeddings") == "true":
        return "embedding"
    return "chat" if capabilities.get("chatcompletion") == "true" else ""


def _merge(model: Any, kind: str, catalogue: Catalogue) -> KnownModel:
    """Return a model as ARM tells it, with what only our list knows: how it is fine-tuned, and what replaces it."""
    version = str(model.version or "")
    exact = catalogue.find(AZURE, f"{model.name}-{version}")
    known = exact or catalogue.find(AZURE, str(model.name))
    # OpenAI's versions are models of their own; others are the same under any version
    is_same = known is not None and (exact is not None or model.format != "OpenAI")
    tuning = known.tuning if known and is_same else None
    deprecation = model.deprecation
    fine_tuning_ends = _read_date(deprecation.fine_tune) if deprecation else None
    if tuning is not None and fine_tuning_ends is not None:
        tuning = tuning.model_copy(update={"ends": fine_tuning_ends, "is_earliest": False})
    replacement = model.replacement_config.target_model_name if model.replacement_config else None
    status = lifecycle_status(model)
    return KnownModel.model_validate(
        {
            "service": AZURE,
            "name": str(model.name),
            "version": version,
            "format": str(model.format or ""),
            "kind": kind,
            "stage": "deprecated"
            if status in (RETIRED, LEAVING)
            else "preview"
            if status == "Preview"
            else "available",
            "retires": _read_date(deprecation.inference) if deprecation else None,
            "successor": str(replacement or (known.successor if known else "")),
            "tuning": tuning,
            "untunable": ""
            if tuning
            else (known.untunable if known else "")
            or "it is not among the models that this product knows to be fine-tuned",
            "sources": known.sources if known else (),
        }
    )


def _read_date(text: object) -> date | None:
    """Return a date that ARM writes in several forms; None for none, or for one that can't be read."""
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _read_skus(model: Any, usages: Mapping[str, Any], today: date) -> Iterator[Sku]:
    """Yield the SKUs by token that still exist, in the order in which they are preferred."""
    listed = {str(sku.name): sku for sku in model.skus or () if sku.name}
    for name in BASE_SKUS:
        sku = listed.get(name)
        if sku is None or (sku.deprecation_date is not None and sku.deprecation_date.date() <= today):
            continue
        capacity = sku.capacity
        usage = usages.get(sku.usage_name or "")
        yield Sku(
            name,
            minimum=(capacity.minimum if capacity else None) or 1,
            maximum=capacity.maximum if capacity else None,
            step=(capacity.step if capacity else None) or 1,
            free=None if usage is None else max(int((usage.limit or 0) - (usage.current_value or 0)), 0),
        )


def check_capacity(arm: "Arm", choice: Choice) -> None:
    """Raise SettingsError where a region has no room now for a deployment, although the quota allows it."""
    from raft_assets.provisioning.arm import ArmError

    for deployment in choice.deployments:
        model, region = deployment.candidate.model, choice.market.region
        try:
            rows = arm.model_capacities(model.format, model.name, model.version)
        except ArmError:
            continue  # the deployment itself will tell
        room = {
            str(row.location).lower(): row.properties.available_capacity or 0
            for row in rows
            if row.location and row.properties and row.properties.sku_name == deployment.sku.name
        }
        if region in room and room[region] < deployment.capacity:
            elsewhere = sorted(place for place, free in room.items() if free >= deployment.capacity)
            raise SettingsError(
                f"{region} has room for {room[region]:,.0f} thousand tokens a minute of {model.name} "
                f"({deployment.sku.name}), and {deployment.capacity:,} are wanted: lower --capacity, or choose a "
                f"--region that has room ({', '.join(elsewhere) or 'none has'})."
            )


def to_values(choice: Choice, *, lake_on_azure: bool) -> dict[str, str]:
    """Return the values of the azd environment that a choice comes to; the parameters of the template read them."""
    deployments = [deployment.record for deployment in choice.deployments]
    return {
        LOCATION: choice.market.region,
        DEPLOYMENTS: json.dumps(deployments, separators=(",", ":")),
        STUDENT: json.dumps(choice.student.record, separators=(",", ":")),
        LAKE: "true" if lake_on_azure else "false",
    }


@dataclass(frozen=True)
class ModelPrice:
    """What a model costs, in US dollars a million tokens; every unknown part is None."""

    model: str
    roles: tuple[Role, ...]
    price: Price


def model_prices(choice: Choice, project: Path) -> list[ModelPrice]:
    """Return the prices of every model of a choice, by the project's `prices.yaml` and the shipped lists."""
    prices, roles = PriceList(project), dict[str, list[Role]]()
    for role, candidate in choice.roles.items():
        roles.setdefault(candidate.name, []).append(role)
    return [ModelPrice(name, tuple(of), prices.at(FOUNDRY_ADDRESS, name)) for name, of in roles.items()]


def describe_idle_cost(choice: Choice, prices: Iterable[ModelPrice]) -> str:
    """Return what everything costs while nobody uses it, in a sentence."""
    student = choice.student
    base = "Base deployments are paid by token and cost nothing while they are idle"
    if student.sku.lower() == DEVELOPER_TIER.lower():
        return f"{base}; the student's costs nothing either, and is deleted after 24 h ({student.sku})."
    of_student = (one.price for one in prices if one.model == student.candidate.name)
    hosting = next((price.hosting for price in of_student), None)
    cost = "price unknown" if hosting is None else f"US$ {hosting:g}, {hosting * HOURS_A_MONTH:,.0f} a month"
    return f"{base}; the student's costs an hour, asked or not: {cost} ({student.sku})."
