"""Which assets of a domain are fresh, stale, missing or failed, and what has to run next.

The answers are Dagster's own (the UI asks the same resolver), so `raft status` and the UI agree. What is gone from the
lake or the results store is missing besides, which Dagster can't know. Staleness doesn't
travel down a graph by itself: an asset is stale once what it read has changed, so equal data stops a change where it
became equal. Work is therefore done in waves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import dagster as dg

from raft_assets.defs.dagster_internals import (
    AssetGraph,
    SerializableErrorInfo,
    StaleCause,
    StaleCauseCategory,
    StaleResolver,
    StaleStatus,
    last_attempts,
)
from raft_assets.defs.lineage_asset import WAITING, WAITING_JOB
from raft_assets.operations.losses import Losses
from raft_assets.operations.process import waiting_assets

State = Literal["fresh", "stale", "missing", "waiting", "failed"]
ShownState = Literal[State, "will follow"]
Graph: TypeAlias = AssetGraph


@dataclass(frozen=True)
class AssetState:
    """State of one asset in one domain, and why it is not fresh."""

    key: dg.AssetKey
    state: State
    reasons: tuple[str, ...] = ()

    @property
    def shown(self) -> ShownState:
        """The state in the words of `raft status`: a fresh asset behind one that is not will follow it."""
        return "will follow" if self.state == "fresh" and self.reasons else self.state


@dataclass(frozen=True)
class WaitingJob:
    """A run that ended before a fine-tuning job of its did, and the job's id at its service."""

    run: dg.DagsterRun
    job: str


def waiting_jobs(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, WaitingJob]:
    """By domain, the job that an asset waits for, where its last attempt ended with waiting for one."""
    attempts = {run: domain for domain, run in last_attempts(instance, key).items()}
    found = dict[str, WaitingJob]()
    for run in instance.get_runs(filters=dg.RunsFilter(run_ids=list(attempts))) if attempts else ():
        if key.to_user_string() in waiting_assets(run.tags):
            for metadata in _waits(instance, run.run_id, key):
                if job := metadata.get(WAITING_JOB):
                    found[attempts[run.run_id]] = WaitingJob(run, str(job.value))
    return found


def assets_in_order(graph: Graph) -> list[dg.AssetKey]:
    """Return the assets that can be materialized, upstream first."""
    return [
        key
        for level in graph.toposorted_asset_keys_by_level
        for key in sorted(level)
        if key in graph.materializable_asset_keys
    ]


def asset_states(
    instance: dg.DagsterInstance,
    graph: Graph,
    domain: str,
    losses: Losses,
    resolver: StaleResolver | None = None,
) -> dict[dg.AssetKey, AssetState]:
    """State of every asset of the domain, upstream first.

    What was made and is gone (`losses`) is missing, whatever Dagster remembers of it.

    A fresh asset behind one that is not says so in its reasons: it may turn out to be stale, or not. Who asks for many
    domains passes one `resolver` (`StaleResolver`), which answers as of its making and reads the event log once.
    """
    resolver = resolver or StaleResolver(instance, graph)
    found: dict[dg.AssetKey, AssetState] = {}
    lost = losses.of(domain)
    for key in assets_in_order(graph):
        found[key] = _asset_state(instance, resolver, key, domain, lost.get(key.to_user_string()))
    tell_unsettled(found, {key: graph.get(key).parent_keys for key in found})
    return found


def tell_unsettled(states: dict[dg.AssetKey, AssetState], parents: Mapping[dg.AssetKey, Iterable[dg.AssetKey]]) -> None:
    """Say of fresh assets behind those that are not, upstream first, that they may follow."""
    for key, state in states.items():
        behind = [parent for parent in sorted(parents[key]) if parent in states and states[parent].reasons]
        if state.state == "fresh" and behind:
            reasons = tuple(f"upstream {parent.to_user_string()} is not settled" for parent in behind)
            states[key] = AssetState(key, "fresh", reasons)


def failure_message(error: SerializableErrorInfo) -> str:
    """Return what an asset's failure means to a person: the message of the error that the asset raised."""
    cause = error.cause if error.cause and error.cls_name == "DagsterExecutionStepExecutionError" else error
    message = cause.message.strip()
    return message.partition(": ")[2] or message


def next_wave(
    graph: Graph, states: Mapping[dg.AssetKey, AssetState], wanted: Iterable[dg.AssetKey]
) -> list[dg.AssetKey]:
    """Return what can run now, upstream first: due assets whose inputs are final or run in the same wave.

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
    """Return the keys and everything that they need, upstream first."""
    needed, queue = set(keys), list(keys)
    while queue:
        for parent in graph.get(queue.pop()).parent_keys - needed:
            needed.add(parent)
            queue.append(parent)
    return [key for key in assets_in_order(graph) if key in needed]


def _asset_state(
    instance: dg.DagsterInstance,
    resolver: StaleResolver,
    key: dg.AssetKey,
    domain: str,
    lost: str | None,
) -> AssetState:
    status = resolver.get_status(key, domain)
    if status == StaleStatus.FRESH and lost is None:
        return AssetState(key, "fresh")
    if (attempt := _last_attempt(instance, resolver, key, domain)) is not None:
        return attempt
    if status == StaleStatus.MISSING:
        return AssetState(key, "missing")
    if lost is not None:
        return AssetState(key, "missing", (lost,))
    causes = resolver.get_stale_causes(key, domain)
    return AssetState(key, "stale", tuple(dict.fromkeys(_stale_reason(cause) for cause in causes)))


def _stale_reason(cause: StaleCause) -> str:
    if cause.category == StaleCauseCategory.CODE:
        return "its code changed"
    if cause.dependency is None:
        return cause.reason
    happened = "changed" if cause.category == StaleCauseCategory.DATA else "is a new or removed input"
    return f"{cause.dependency.asset_key.to_user_string()} {happened}"


def _last_attempt(
    instance: dg.DagsterInstance, resolver: StaleResolver, key: dg.AssetKey, domain: str
) -> AssetState | None:
    """Return what the last attempt says that made nothing: that it waits, or why its own step failed."""
    run = resolver.last_attempt(key, domain)
    if run is None:
        return None
    if key.to_user_string() in waiting_assets(run.tags):
        return AssetState(key, "waiting", _waits_for(instance, run.run_id, key))
    if run.status != dg.DagsterRunStatus.FAILURE:
        return None
    failures = instance.get_records_for_run(run.run_id, of_type={dg.DagsterEventType.STEP_FAILURE}).records
    events = [record.event_log_entry.get_dagster_event() for record in failures]
    own = [event.step_failure_data.error for event in events if event.step_key == key.to_python_identifier()]
    return AssetState(key, "failed", (failure_message(own[0]) if own[0] else "it failed",)) if own else None


def _waits_for(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> tuple[str, ...]:
    """Return what the asset said that it waits for."""
    return tuple(str(metadata[WAITING].value) for metadata in _waits(instance, run_id, key))


def _waits(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> list[Mapping[str, dg.MetadataValue[Any]]]:
    """Return the observations of a run by which an asset said that it waits."""
    records = instance.get_records_for_run(run_id, of_type={dg.DagsterEventType.ASSET_OBSERVATION}).records
    events = [record.event_log_entry.asset_observation for record in records]
    return [event.metadata for event in events if event and event.asset_key == key and WAITING in event.metadata]
