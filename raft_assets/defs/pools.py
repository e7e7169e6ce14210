"""Pools: assets that ask one machine take turns at it, whichever run, domain or process they belong to.

A machine that trains can't answer meanwhile. It says so to whoever asks, and they wait; in a pool they wait before they
begin, and Dagster shows for what. On a platform with many runs at a time `RAFT_POOL_<ROLE>` says how many of them may
call a role at once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from raft_assets.core.errors import SettingsError
from raft_assets.defs.dagster_internals import hold_in_pool, limit_pool
from raft_assets.defs.lineage_asset import ROLES_METADATA
from raft_assets.settings.environment import read_int
from raft_assets.settings.project import Project

MOST_SLOTS = 1000  # Dagster's own limit of a pool


@dataclass(frozen=True)
class _Pool:
    name: str
    slots: int | None = None  # None: one, unless somebody has given it others


def pool_assets(assets: Iterable[object], project: Project) -> None:
    """Put every asset that calls a role with a pool into it, and others into none.

    One that calls two of them is in the pool of the role that it names first.
    """
    pools = _pools_by_role(project)
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            roles = str(asset.metadata_by_key[asset.key].get(ROLES_METADATA, "")).split()
            hold_in_pool(asset, next((pools[role].name for role in roles if role in pools), None))


def limit_pools(instance: dg.DagsterInstance, project: Project) -> None:
    """See that every machine's pool has its one slot, and every role's pool the slots of its variable."""
    for pool in set(_pools_by_role(project).values()):
        limit_pool(instance, pool.name, pool.slots)


def _pools_by_role(project: Project) -> dict[str, _Pool]:
    """Return the pool of each role whose model is on one machine, or is paid for and has a limit.

    None where the settings can't be read.
    """
    environment, pools = project.environment, dict[str, _Pool]()
    try:
        for role, endpoint in environment.endpoints().items():
            slots = read_int(environment, f"RAFT_POOL_{role.value}", default=None, low=1, high=MOST_SLOTS)
            if endpoint.has_one_machine:
                pools[role.value] = _Pool(re.sub(r"\W+", "_", endpoint.service.partition("://")[2]).strip("_"))
            elif slots and not endpoint.is_free:
                pools[role.value] = _Pool(role.value.lower(), slots)
    except SettingsError:
        return {}  # the run says what is wrong
    return pools
