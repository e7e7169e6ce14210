"""Pools: assets that ask one machine take turns at it, whichever run, domain or process they belong to.

A machine that trains can't answer meanwhile. It says so to whoever asks, and they wait; in a pool they wait before they
begin, and Dagster shows for what.
"""

import re
from collections.abc import Iterable

import dagster as dg

from raft_assets.core.errors import SettingsError
from raft_assets.defs.dagster_internals import hold_in_pool, limit_pool
from raft_assets.defs.lineage_asset import ROLES_METADATA
from raft_assets.settings.project import Project


def pool_assets(assets: Iterable[object], project: Project) -> None:
    """Put every asset that calls a role of such a machine into the machine's pool, and others into none.

    One that calls two machines is in the pool of the role that it names first.
    """
    pools = _pools_by_role(project)
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            roles = str(asset.metadata_by_key[asset.key].get(ROLES_METADATA, "")).split()
            hold_in_pool(asset, next((pools[role] for role in roles if role in pools), None))


def limit_pools(instance: dg.DagsterInstance, project: Project) -> None:
    """See that every machine's pool has its one slot."""
    for pool in set(_pools_by_role(project).values()):
        limit_pool(instance, pool)


def _pools_by_role(project: Project) -> dict[str, str]:
    """Return the pool of each role whose model is on one machine; none where the settings can't be read."""
    try:
        endpoints = project.environment.endpoints()
    except SettingsError:
        return {}  # the run says what is wrong
    return {
        role.value: re.sub(r"\W+", "_", endpoint.service.partition("://")[2]).strip("_")
        for role, endpoint in endpoints.items()
        if endpoint.has_one_machine
    }
