"""Which assets of a domain are fresh, stale, missing or failed, and what has to run next.

The answers are Dagster's own (the UI asks the same resolver), so `raft status` and the UI agree. Staleness doesn't
travel down a graph by
itself: an asset is stale once what it read has changed, so equal data stops a change where it became equal. Work is
therefore done in waves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleCause,
    StaleCauseCategory,
    StaleStatus,
)
from dagster._core.loader import LoadingContextForTest

State = Literal["fresh", "stale", "missing", "failed"]
Graph: TypeAlias = AssetGraph


@dataclass(frozen=True)
class AssetState:
    """State of one asset in one domain, and why it is not fresh."""

    key: dg.AssetKey
    state: State
    reasons: tuple[str, ...] = ()


def assets_in_order(graph: Graph) -> list[dg.AssetKey]:
    """The assets that can be materialized, upstream first."""
    return [
        key
        for level in graph.toposorted_asset_keys_by_level
        for key in sorted(level)
        if key in graph.materializable_asset_keys
    ]


def states(instance: dg.DagsterInstance, graph: Graph, domain: str) -> dict[dg.AssetKey, AssetState]:
    """State of every asset of the domain, upstream first."""
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {key: _state(instance, resolver, key, domain) for key in assets_in_order(graph)}


def next_wave(
    graph: Graph, states: Mapping[dg.AssetKey, AssetState], wanted: Iterable[dg.AssetKey]
) -> list[dg.AssetKey]:
    """What can run now, upstream first: assets that are not fresh and whose inputs are final or run in the same wave.

    An asset behind a fresh one that is itself behind a stale one waits: what lies between may turn out to be stale or
    not.
    """
    wanted = set(wanted)
    wave: list[dg.AssetKey] = []
    unsettled: set[dg.AssetKey] = set()
    for key, state in states.items():
        parents = [parent for parent in graph.get(key).parent_keys if parent in states]
        due = key in wanted and state.state != "fresh"
        if any(parent in unsettled for parent in parents) or (not due and any(parent in wave for parent in parents)):
            unsettled.add(key)
        elif due:
            wave.append(key)
        elif state.state != "fresh":
            unsettled.add(key)  # nobody makes it now, and what reads it can't run on what it was
    return wave


def with_upstream(graph: Graph, keys: Sequence[dg.AssetKey]) -> list[dg.AssetKey]:
    """The keys and everything that they need, upstream first."""
    needed, queue = set(keys), list(keys)
    while queue:
        for parent in graph.get(queue.pop()).parent_keys - needed:
            needed.add(parent)
            queue.append(parent)
    return [key for key in assets_in_order(graph) if key in needed]


def _state(
    instance: dg.DagsterInstance, resolver: CachingStaleStatusResolver, key: dg.AssetKey, domain: str
) -> AssetState:
    if _last_attempt_failed(instance, key, domain):
        return AssetState(key, "failed", ("its last materialization failed",))
    status = resolver.get_status(key, domain)
    if status == StaleStatus.MISSING:
        return AssetState(key, "missing")
    if status == StaleStatus.FRESH:
        return AssetState(key, "fresh")
    return AssetState(
        key, "stale", tuple(dict.fromkeys(_reason(cause) for cause in resolver.get_stale_causes(key, domain)))
    )


def _reason(cause: StaleCause) -> str:
    if cause.category == StaleCauseCategory.CODE:
        return "its code changed"
    if cause.dependency is None:
        return cause.reason
    happened = "changed" if cause.category == StaleCauseCategory.DATA else "is a new or removed input"
    return f"{cause.dependency.asset_key.to_user_string()} {happened}"


def _last_attempt_failed(instance: dg.DagsterInstance, key: dg.AssetKey, domain: str) -> bool:
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        key
    )
    if domain not in attempts:
        return False
    run = instance.get_run_by_id(attempts[domain][0])
    return run is not None and run.status == dg.DagsterRunStatus.FAILURE
