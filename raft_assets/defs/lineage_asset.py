"""What every asset of the lineage shares, said once: partitions, owners, group, the settings that it reads, checks."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from raft_assets.defs.partitions import domains
from raft_assets.llm.requests import Origin
from raft_assets.settings.endpoints import Role
from raft_assets.settings.groups import groups_read_by

OWNERS = ["team:raft"]
ROLES = "roles"  # metadata of an asset: the roles that it calls, separated by spaces
SETTINGS = "domain_settings"


def settings_key(group: str) -> dg.AssetKey:
    """Key of the external asset that holds a group of settings."""
    return dg.AssetKey([SETTINGS, group])


def lineage_asset(
    *,
    stage: str,
    kinds: set[str],
    code_version: str,
    deps: Sequence[dg.AssetsDefinition | dg.AssetKey],
    roles: Sequence[Role] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an asset of the function: one partition per domain, named as the function is.

    `deps` are the assets and files that it reads; the groups of settings that it reads come from their table. `roles`
    are those whose models it calls: what is free, and what waits for a person, is decided by them.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        settings = [settings_key(group) for group in groups_read_by(function.__name__)]
        return dg.asset(
            partitions_def=domains,
            group_name=stage,
            kinds=kinds,
            owners=OWNERS,
            tags={"stage": stage},
            metadata={ROLES: " ".join(roles)} if roles else None,
            code_version=code_version,
            deps=[*deps, *settings],
            check_specs=list(checks),
        )(function)

    return decorate


def check_spec(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    """A check of an asset, of which each domain has its own result."""
    with warnings.catch_warnings():
        # `partitions_def` of a check is in preview; without it one domain's pass hides another's failure in the UI
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking, partitions_def=domains)


def check_result(
    spec: dg.AssetCheckSpec, *, passed: bool, metadata: Mapping[str, Any] | None = None
) -> dg.AssetCheckResult:
    """What a check that only warns has found."""
    return dg.AssetCheckResult(
        check_name=spec.name, passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=metadata
    )


def origin_of(context: dg.AssetExecutionContext) -> Origin:
    """Who asks, for the ledger of paid calls: asset, domain and run."""
    return Origin(context.asset_key.to_user_string(), context.partition_key, context.run.run_id)
