"""What would fail minutes after `azd provision` began, found before: values, a deleted account, quota, rights.

Without a sign-in, or where Azure refuses to tell, a warning says what could not be checked; azd goes on.
"""

import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.provisioning.arm import Arm, ArmError
from raft_assets.provisioning.azd import AzdEnvironment
from raft_assets.provisioning.configuration import KINDS, RETIRED, lifecycle_status
from raft_assets.provisioning.provisioned import (
    CLASSIC,
    EXISTING_ACCOUNT,
    EXISTING_GROUP,
    GROUP,
    LAKE,
    LOCATION,
    SUBSCRIPTION,
    AccountId,
    PlannedDeployment,
    account_of,
    group_of,
    is_on,
    planned_deployments,
)
from raft_assets.student.azure_openai import allows

ACCOUNT_VERSION, GROUP_VERSION, PERMISSIONS_VERSION = "2025-06-01", "2021-04-01", "2022-04-01"
ASSIGN_ROLES = "Microsoft.Authorization/roleAssignments/write"
DEPLOY_TEMPLATES = "Microsoft.Resources/deployments/write"
DERIVED_NAME = "aif-"  # with which infra/resources.bicep names an account, where nobody does
RESTORE, ACCOUNT_NAME = "RAFT_RESTORE_ACCOUNT", "RAFT_ACCOUNT_NAME"
SWITCHES = ("RAFT_MONITORING", "RAFT_HOSTED", CLASSIC, EXISTING_GROUP, LAKE, RESTORE)
REMEDY = "sign in (`az login`) and run `raft azure preflight` to check before azd does"


@dataclass(frozen=True)
class PreflightFinding:
    """A check's outcome; a problem says what to do and keeps azd from beginning."""

    subject: str
    message: str
    level: Literal["ok", "warning", "problem"] = "ok"


class PreflightWarningError(RaftError):
    """Something that doesn't keep azd from beginning."""


def check_before_provisioning(
    environment: AzdEnvironment, open_arm: Callable[[str, str], Arm] = Arm
) -> Iterator[PreflightFinding]:
    """Yield what each check found. `open_arm` opens a subscription's management plane, with a remedy for its errors."""
    local: dict[str, Callable[[], str]] = {
        "models": lambda: _describe(planned_deployments(environment)),
        "values": lambda: _check_values(environment),
    }
    findings = [_finding(subject, check) for subject, check in local.items()]
    yield from findings
    subscription, region = environment.get(SUBSCRIPTION), environment.get(LOCATION)
    if any(finding.level == "problem" for finding in findings):
        return  # what follows depends on them
    if subscription is None or region is None:
        yield PreflightFinding(
            "azure",
            f"{SUBSCRIPTION} and {LOCATION} aren't both set, so Azure was not asked: azd will ask for them",
            "warning",
        )
        return
    try:
        arm = open_arm(subscription, REMEDY)
    except ArmError as error:
        yield PreflightFinding("azure", str(error), "warning")
        return
    with arm:
        checks: dict[str, Callable[[], str]] = {
            "account": lambda: _check_account(environment, arm),
            "quota": lambda: _check_quota(environment, arm, region, open_arm),
            "rights": lambda: _check_rights(environment, arm),
        }
        for subject, check in checks.items():
            yield _finding(subject, check)


def _finding(subject: str, check: Callable[[], str]) -> PreflightFinding:
    try:
        return PreflightFinding(subject, check())
    except (ArmError, PreflightWarningError) as error:
        return PreflightFinding(subject, str(error), "warning")
    except RaftError as error:
        return PreflightFinding(subject, str(error), "problem")


def _describe(deployments: list[PlannedDeployment]) -> str:
    return ", ".join(
        f"{planned.name} ({planned.sku}, {planned.capacity:,}) for {' and '.join(planned.roles)}"
        for planned in deployments
    )


def _check_values(environment: AzdEnvironment) -> str:
    """Check what azd would hand to the template as it is. Raises SettingsError for what the template refuses."""
    for switch in SWITCHES:
        is_on(environment, switch)
    if not (environment.get("RAFT_BUDGET") or "0").isdigit():
        raise SettingsError("RAFT_BUDGET is not a whole number of US dollars a month: `azd env set RAFT_BUDGET 50`.")
    ranges = environment.get("RAFT_IP_RANGES") or "[]"
    try:
        for text in json.loads(ranges):
            _check_range(text)
    except (TypeError, ValueError):
        raise SettingsError(
            f"RAFT_IP_RANGES is {ranges!r}; it must be a JSON list of public IPv4 addresses and ranges of at least "
            """four (a single address without /32): `azd env set RAFT_IP_RANGES '["203.0.113.7"]'`."""
        ) from None
    return "switches, budget and addresses can be read"


def _check_range(text: str) -> None:
    """Raise ValueError for what storage refuses: IPv6, private networks, and /31 and /32."""
    network = ipaddress.IPv4Network(text, strict=False)
    if not network.is_global or ("/" in text and network.prefixlen > 30):
        raise ValueError(text)


def _check_account(environment: AzdEnvironment, arm: Arm) -> str:
    """Check that the account can be made, or the existing one used."""
    existing = environment.get(EXISTING_ACCOUNT)
    if existing is not None:
        return _check_existing(arm, AccountId.parse(EXISTING_ACCOUNT, existing))
    name, group = environment.get(ACCOUNT_NAME), group_of(environment)
    deleted = [account for account in arm.deleted_accounts() if _is_ours(account, name, group)]
    restores = is_on(environment, RESTORE)
    if restores and not deleted:
        raise SettingsError(
            f"{RESTORE} is true, and no account of this environment was deleted: `azd env set {RESTORE} false`."
        )
    if deleted and not restores:
        account = deleted[0]
        place = _group_of_deleted(account) or group
        raise SettingsError(
            f"The account {account.name} was deleted and not purged, so its name and quota are still taken: purge it "
            f"(`az cognitiveservices account purge --location {account.location} --resource-group {place} --name "
            f"{account.name}`), or recover it with what it held (`azd env set {RESTORE} true`)."
        )
    return f"{deleted[0].name} will be recovered" if deleted else "no deleted account holds its name"


def _is_ours(deleted: Any, name: str | None, group: str) -> bool:
    if name is not None:
        return str(deleted.name).lower() == name.lower()
    return str(deleted.name).startswith(DERIVED_NAME) and _group_of_deleted(deleted).lower() == group.lower()


def _group_of_deleted(deleted: Any) -> str:
    """Return the group in which an account was: `.../locations/L/resourceGroups/GROUP/deletedAccounts/NAME`."""
    parts = str(deleted.id or "").split("/")
    lower = [part.lower() for part in parts]
    return parts[lower.index("resourcegroups") + 1] if "resourcegroups" in lower[:-1] else ""


def _check_existing(arm: Arm, account: AccountId) -> str:
    try:
        response = arm.read(account.path, ACCOUNT_VERSION)
    except ArmError as error:
        if error.status == 404:
            raise SettingsError(f"{EXISTING_ACCOUNT}: there is no account {account.name} in {account.group}.") from None
        raise
    if not (response.get("properties") or {}).get("customSubDomainName"):
        raise SettingsError(
            f"{EXISTING_ACCOUNT}: {account.name} has no subdomain of its own, without which it takes no sign-in: set "
            "one in the portal (it can't be undone)."
        )
    return f"{account.name} in {account.group} is used, and its deployments are added to"


def _check_quota(environment: AzdEnvironment, arm: Arm, location: str, open_arm: Callable[[str, str], Arm]) -> str:
    """Check that every model is still offered, in its SKU, with as much quota as is asked for."""
    with _quota_place(environment, arm, location, open_arm) as (theirs, region):
        return _check_quota_of(environment, theirs, region)


@contextmanager
def _quota_place(
    environment: AzdEnvironment, arm: Arm, location: str, open_arm: Callable[[str, str], Arm]
) -> Iterator[tuple[Arm, str]]:
    """Yield the subscription and the region whose quota is used: an existing account's own, else those of azd."""
    existing = environment.get(EXISTING_ACCOUNT)
    if existing is None:
        yield arm, location
        return
    account = AccountId.parse(EXISTING_ACCOUNT, existing)
    region = str(arm.read(account.path, ACCOUNT_VERSION).get("location") or location)
    if account.subscription.lower() == arm.subscription.lower():
        yield arm, region
        return
    with open_arm(account.subscription, REMEDY) as theirs:
        yield theirs, region


def _check_quota_of(environment: AzdEnvironment, arm: Arm, region: str) -> str:
    account = account_of(environment)
    current, without_quota = (_read_capacities(arm, account) if account else {}), list[str]()
    offered = _offered(arm, region)
    free = {
        str(usage.name.value): (usage.limit or 0) - (usage.current_value or 0)
        for usage in arm.usages(region)
        if usage.name
    }
    for deployment in planned_deployments(environment):
        model = offered.get((deployment.format, deployment.model, deployment.version))
        if model is None or lifecycle_status(model) == RETIRED:
            why = "is retired" if model else "is not offered any more"
            raise SettingsError(
                f"{deployment.model} {deployment.version} {why} in {region}: choose again with `raft azure configure`."
            )
        sku = next((sku for sku in model.skus or () if sku.name == deployment.sku), None)
        if sku is None:
            raise SettingsError(
                f"{deployment.model} can't be deployed as {deployment.sku} in {region}: choose again with "
                "`raft azure configure`."
            )
        # what is there already is counted in the use, and isn't asked for twice
        wanted = deployment.capacity - current.get(deployment.name.lower(), 0)
        left = free.get(str(sku.usage_name))
        if left is None:
            without_quota.append(deployment.model)
            continue
        if wanted > left:
            raise SettingsError(
                f"{deployment.model} asks for {wanted:,} thousand tokens a minute ({deployment.sku}) and {left:,.0f} "
                f"are left in {region}: lower it (`raft azure configure --capacity`), purge what was deleted, or ask "
                "for quota at https://aka.ms/oai/stuquotarequest."
            )
        free[str(sku.usage_name)] = left - max(wanted, 0)
    if without_quota:
        raise PreflightWarningError(
            f"the quota of {', '.join(without_quota)} in {region} is unknown; all models are offered"
        )
    return f"every model is offered in {region} within what is left of the quota"


def _offered(arm: Arm, region: str) -> Mapping[tuple[str, str, str], Any]:
    """Return the models of a region by format, name and version; of one that is listed for two kinds, with its SKUs."""
    found = dict[tuple[str, str, str], Any]()
    for entry in arm.models(region):
        model = entry.model
        if model is None or entry.kind not in (*KINDS, None):
            continue
        key = (str(model.format), str(model.name), str(model.version))
        if key not in found or len(model.skus or ()) > len(found[key].skus or ()):
            found[key] = model
    return found


def _read_capacities(arm: Arm, account: AccountId) -> Mapping[str, int]:
    """Return the capacity of every deployment of an account; none where there is no account yet."""
    try:
        deployments = list(arm.read_all(f"{account.path}/deployments", ACCOUNT_VERSION))
    except ArmError as error:
        if error.status == 404:
            return {}
        raise
    return {
        str(deployment["name"]).lower(): int((deployment.get("sku") or {}).get("capacity") or 0)
        for deployment in deployments
    }


def _check_rights(environment: AzdEnvironment, arm: Arm) -> str:
    """Check the right to deploy and to assign roles: where everything is made, and where an existing account lies."""
    places = [_place_of_group(environment, arm)]
    if existing := environment.get(EXISTING_ACCOUNT):
        account = AccountId.parse(EXISTING_ACCOUNT, existing)
        theirs = f"/subscriptions/{account.subscription}/resourceGroups/{account.group}"
        if theirs.lower() != places[0][0].lower():
            places.append((theirs, f"the resource group {account.group} of {account.name}"))
    for scope, where in places:
        _check_rights_on(arm, scope, where)
    return f"you may deploy and assign roles on {' and '.join(where for _, where in places)}"


def _place_of_group(environment: AzdEnvironment, arm: Arm) -> tuple[str, str]:
    """Return the group's path where it exists, else the subscription's, and what a person calls it."""
    group = f"/subscriptions/{arm.subscription}/resourceGroups/{group_of(environment)}"
    try:
        arm.read(group, GROUP_VERSION)
    except ArmError as error:
        if error.status != 404:
            raise
        if is_on(environment, EXISTING_GROUP):
            raise SettingsError(
                f"{EXISTING_GROUP} is true, and there is no resource group {group_of(environment)}: set {GROUP}."
            ) from None
        return f"/subscriptions/{arm.subscription}", "the subscription"
    return group, f"the resource group {group_of(environment)}"


def _check_rights_on(arm: Arm, scope: str, where: str) -> None:
    granted = list(arm.read_all(f"{scope}/providers/Microsoft.Authorization/permissions", PERMISSIONS_VERSION))
    for action, remedy in (
        (DEPLOY_TEMPLATES, "Contributor"),
        (ASSIGN_ROLES, "Role Based Access Control Administrator"),
    ):
        if not any(allows(role, action) for role in granted):
            raise SettingsError(f"You may not do {action} on {where}: ask for the role {remedy} there.")
