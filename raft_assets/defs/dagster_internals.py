"""The names of Dagster's that are not public, all of them, each behind a function of ours that says what it is for.

`raft_assets_tests/defs/test_dagster_internals.py` pins the facts that these functions stand on, so that an upgrade says
which one broke. Nothing else in the package imports `dagster._*` or `dagster_shared`.
"""

import hashlib
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
import yaml
from dagster._check import CheckError
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    CachingStaleStatusResolver,
    DataProvenance,
    StaleCause,
    StaleCauseCategory,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import AssetObservationData, DagsterEvent, StepMaterializationData
from dagster._core.execution.api import execute_run
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.instance.utils import RUNLESS_JOB_NAME
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.loader import LoadingContext
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.event_log.base import AssetRecord, EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs import InMemoryRunStorage, SqliteRunStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG, GRPC_INFO_TAG, WILL_RETRY_TAG
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster_shared.error import SerializableErrorInfo
from dagster_shared.libraries import DagsterLibraryRegistry
from dagster_shared.serdes import deserialize_value

from raft_assets.core.errors import SettingsError
from raft_assets.operations.process import PARTITION_TAG

__all__ = [
    "AssetGraph",
    "CachingStaleStatusResolver",
    "CheckRunHealthResult",
    "CodeLocation",
    "LaunchRunContext",
    "SerializableErrorInfo",
    "StaleCause",
    "StaleCauseCategory",
    "StaleResolver",
    "StaleStatus",
    "UiRun",
    "WorkerStatus",
    "code_locations",
    "code_server_answers",
    "code_server_command",
    "daemon_command",
    "delete_partition_events",
    "execute_job",
    "free_pools",
    "hold_in_pool",
    "is_of_one_machine",
    "is_run_of_code_server",
    "job_origin",
    "last_attempts",
    "last_data_versions",
    "limit_pool",
    "point_at_inputs",
    "register_version",
    "report_events",
    "restore_last_materialization",
    "runs_not_retried",
    "ui_run",
    "unusable_databases",
]

DATA_VERSION_TAG = "dagster/data_version"
EVENTS_AT_ONCE = 500  # some 2 kB each
# the databases that are created with a home; those of single runs are created in a way that several processes survive
_DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


class _Loading(LoadingContext):
    """Batches what the resolver of staleness loads from the instance, as a request of the webserver does."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._loaders: dict[type, Any] = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict[type, Any]:
        return self._loaders


@dataclass(frozen=True)
class _LastMaterialization:
    """What an asset's last materialization in a partition says of how it was made."""

    storage_id: int
    timestamp: float
    tags: Mapping[str, str]


class StaleResolver(CachingStaleStatusResolver):
    """Decides, for the UI as well, whether an asset is fresh, stale or missing, as of the moment of its making.

    Reads an asset's newest events once, where Dagster asks for each of its readers in each partition, and of those only
    the tags.
    """

    def __init__(self, instance: dg.DagsterInstance, graph: AssetGraph) -> None:
        loading = _Loading(instance)
        super().__init__(instance, graph, loading)
        AssetRecord.prepare(loading, graph.materializable_asset_keys)
        self._last_events: dict[dg.AssetKey, Mapping[str, int]] = {}
        self._last_materializations: dict[dg.AssetKey, Mapping[str, _LastMaterialization]] = {}
        self._last_attempts: dict[dg.AssetKey, Mapping[str, str]] = {}
        self._runs: dict[str, dg.DagsterRun | None] = {}

    def get_status(self, key: dg.AssetKey, partition_key: str | None = None) -> StaleStatus:
        """Return the asset's status. Where all is as it was when it was made, that takes no more than a comparison."""
        last = self._last_materialization(key, partition_key) if partition_key else None
        if last and partition_key and self._is_as_it_was(key, partition_key, last.tags):
            return StaleStatus.FRESH
        status: StaleStatus = super().get_status(key, partition_key)
        return status

    def _is_as_it_was(self, key: dg.AssetKey, partition: str, tags: Mapping[str, str]) -> bool:
        """Return whether the code is the same, the inputs are, and none of them has had an event since."""
        asset = self.asset_graph.get(key)
        versions, pointers = (
            {name.removeprefix(prefix): tags[name] for name in tags if name.startswith(prefix)}
            for prefix in (f"{INPUT_DATA_VERSION_TAG_PREFIX}/", f"{INPUT_EVENT_POINTER_TAG_PREFIX}/")
        )
        inputs = {parent.to_user_string(): parent for parent in asset.parent_keys}
        return (
            tags.get(CODE_VERSION_TAG) == asset.code_version
            and versions.keys() == pointers.keys() == inputs.keys()
            and all(
                read.isdecimal() and self._ids_of_last_events(inputs[name]).get(partition, 0) <= int(read)
                for name, read in pointers.items()
            )
        )

    def _last_materialization(self, key: dg.AssetKey, partition: str) -> _LastMaterialization | None:
        if self.asset_graph.get(key).is_external:
            return None
        if key not in self._last_materializations:
            ids = list(self._ids_of_last_events(key).values())
            self._last_materializations[key] = _materializations_of(self._instance.event_log_storage, ids)
        return self._last_materializations[key].get(partition)

    def _get_latest_data_version_record(self, key: AssetKeyPartitionKey) -> dg.EventLogRecord | None:
        partition = key.partition_key
        last = self._last_materialization(key.asset_key, partition) if partition else None
        if last is None:
            found: dg.EventLogRecord | None = super()._get_latest_data_version_record(key=key)
            return found
        entry = _runless_entry(dg.AssetMaterialization(key.asset_key, partition=partition, tags=last.tags))
        return dg.EventLogRecord(last.storage_id, entry._replace(timestamp=last.timestamp))

    def _is_dep_updated(self, provenance: DataProvenance, dep_key: AssetKeyPartitionKey) -> bool:
        read = provenance.input_storage_ids[dep_key.asset_key]
        if dep_key.partition_key is not None and read and self._last_event(dep_key) <= read:
            return False
        return super()._is_dep_updated(provenance, dep_key)

    def last_attempt(self, key: dg.AssetKey, partition: str) -> dg.DagsterRun | None:
        """Return the run that last meant to materialize the asset, where it did not."""
        if key not in self._last_attempts:
            self._last_attempts[key] = last_attempts(self._instance, key)
        run_id = self._last_attempts[key].get(partition)
        if run_id is not None and run_id not in self._runs:
            self._runs[run_id] = self._instance.get_run_by_id(run_id)
        return self._runs[run_id] if run_id else None

    def _last_event(self, key: AssetKeyPartitionKey) -> int:
        """Return the storage id of the last event that gave the asset's partition a data version, 0 without one."""
        return self._ids_of_last_events(key.asset_key).get(str(key.partition_key), 0)

    def _ids_of_last_events(self, asset: dg.AssetKey) -> Mapping[str, int]:
        if asset not in self._last_events:
            is_external = self.asset_graph.get(asset).is_external
            kind = dg.DagsterEventType.ASSET_OBSERVATION if is_external else dg.DagsterEventType.ASSET_MATERIALIZATION
            self._last_events[asset] = self._instance.event_log_storage.get_latest_storage_id_by_partition(asset, kind)
        return self._last_events[asset]


def _materializations_of(storage: EventLogStorage, ids: Sequence[int]) -> dict[str, _LastMaterialization]:
    """Return these materializations by partition, as far as they can be read.

    `DagsterInstance.fetch_materializations` makes objects of their samples and schemas too, at ten times the CPU time.
    """
    found = dict[str, _LastMaterialization]()
    if not isinstance(storage, SqlEventLogStorage):
        return found
    events = SqlEventLogStorageTable
    columns = db.select(events.c.id, events.c.partition, events.c.event)
    for start in range(0, len(ids), EVENTS_AT_ONCE):
        with storage.index_connection() as connection:
            rows = connection.execute(columns.where(events.c.id.in_(ids[start : start + EVENTS_AT_ONCE]))).fetchall()
        for storage_id, partition, text in rows:
            with suppress(ValueError, KeyError, TypeError):  # of another form: Dagster reads it by itself
                entry = json.loads(text)
                tags = entry["dagster_event"]["event_specific_data"]["materialization"]["tags"]
                found[partition] = _LastMaterialization(storage_id, entry["timestamp"], dict(tags))
    return found


def point_at_inputs(context: dg.AssetExecutionContext) -> None:
    """Have what the step makes point at the events of the inputs that it reads.

    Dagster lets it point at the last event of each input in any partition, by a copy beside the events which runs that
    go on at once overwrite in any order. So it may be an event before the one of its own partition, and then the asset
    would be stale as soon as it is made. Dagster reads the data version itself from the events: where it is the same,
    the step has read that event.
    """
    for key, read in (context.get_step_execution_context().input_asset_records or {}).items():
        if read is None or read.data_version is None:
            continue
        last = context.instance.get_latest_data_version_record(
            key, is_source=False, partition_key=context.partition_key, after_cursor=read.storage_id
        )
        version = extract_data_version_from_entry(last.event_log_entry) if last else None
        # of an input with partitions, Dagster keeps the hash of their data versions, here of one
        if last and version and hashlib.sha256(version.value.encode()).hexdigest() == read.data_version.value:
            read.storage_id = last.storage_id


def hold_in_pool(asset: dg.AssetsDefinition, pool: str | None) -> None:
    """Have every step of the asset take a slot of the pool, whose name is known when a location is loaded."""
    asset.op._pool = pool  # noqa: SLF001 - the constructor's argument, which is read at import


def limit_pool(instance: dg.DagsterInstance, pool: str, slots: int | None = None) -> None:
    """Give the pool so many slots; without a number one, unless somebody has given it slots."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    is_new = pool not in storage.get_concurrency_keys()
    if is_new or (slots is not None and storage.get_concurrency_info(pool).slot_count != slots):
        storage.set_concurrency_slots(pool, slots or 1)


def register_version(package: str) -> None:
    """Tell Dagster the package's version, which GraphQL names with the code location."""
    DagsterLibraryRegistry.register(package, version(package), is_dagster_package=False)


def free_pools(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free the slots that a run held whose process is gone."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def last_data_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    """Return the data version of the asset's last materialization in every partition, by one query."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {partition: found[DATA_VERSION_TAG] for partition, found in tags.items()}


def report_events(
    instance: dg.DagsterInstance, events: Sequence[dg.AssetObservation | dg.AssetMaterialization]
) -> None:
    """Report events of one kind about one asset that belong to no run, many at a time.

    `DagsterInstance.report_runless_asset_event` takes three transactions for each.
    """
    for start in range(0, len(events), EVENTS_AT_ONCE):
        entries = [_runless_entry(event) for event in events[start : start + EVENTS_AT_ONCE]]
        if isinstance(instance.event_log_storage, SqliteEventLogStorage):
            _store_in_sqlite(instance.event_log_storage, entries)
        else:
            instance.event_log_storage.store_event_batch(entries)


def _runless_entry(event: dg.AssetObservation | dg.AssetMaterialization) -> dg.EventLogEntry:
    is_observed = isinstance(event, dg.AssetObservation)
    kind = dg.DagsterEventType.ASSET_OBSERVATION if is_observed else dg.DagsterEventType.ASSET_MATERIALIZATION
    content = AssetObservationData(event) if isinstance(event, dg.AssetObservation) else StepMaterializationData(event)
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        user_message="",
        level=logging.INFO,
        job_name=RUNLESS_JOB_NAME,
        run_id=RUNLESS_RUN_ID,
        error_info=None,
        timestamp=time.time(),
        step_key=None,
        dagster_event=DagsterEvent(kind.value, RUNLESS_JOB_NAME, event_specific_data=content),
    )


def _store_in_sqlite(storage: SqliteEventLogStorage, entries: Sequence[dg.EventLogEntry]) -> None:
    """Store what `store_event` stores of each entry: this storage has no `store_event_batch` of its own."""
    rows = [storage._event_to_row(entry) for entry in entries]  # noqa: SLF001
    insertion = SqlEventLogStorageTable.insert()
    with storage.run_connection(RUNLESS_RUN_ID) as connection:
        connection.execute(insertion, rows)
    with storage.index_transaction() as connection:
        numbered = insertion.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
        ids = list(connection.execute(numbered, rows).scalars())
        storage._store_asset_event_tags(connection, entries, ids)  # noqa: SLF001
        storage._store_asset_event(connection, entries[-1], ids[-1])  # noqa: SLF001 - the asset's newest


def last_attempts(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    """By partition, the run that last meant to materialize the asset, where it did not."""
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        key
    )
    return {partition: run for partition, (run, _) in attempts.items()}


def restore_last_materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Replace the copy of the last materialization, kept beside the events, by the last one that is left."""
    left, storage = instance.fetch_materializations(key, limit=1).records, instance.event_log_storage
    if left and isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(left[0].event_log_entry, left[0].storage_id)
    else:
        instance.wipe_assets([key])


def delete_partition_events(instance: dg.DagsterInstance, partition: str) -> set[dg.AssetKey]:
    """Delete a partition's events that belong to no run, and the outcomes of its asset checks, of which no run knows.

    Returns the assets with such events. Nothing is deleted where the instance keeps its events in no SQL database.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return set()
    events, tags, checks = SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable
    assets = set[dg.AssetKey]()
    # SQLite keeps them twice: with their run, here none, and in an index over all runs
    for connecting in (storage.run_connection(RUNLESS_RUN_ID), storage.index_connection()):
        with connecting as connection:
            of_partition = (events.c.partition == partition) & (events.c.run_id == RUNLESS_RUN_ID)
            found = connection.execute(db.select(events.c.id, events.c.asset_key).where(of_partition)).fetchall()
            assets |= {key for _, name in found if (key := dg.AssetKey.from_db_string(name))}
            ids = db.select(events.c.id).where(of_partition)
            connection.execute(tags.delete().where(tags.c.event_id.in_(ids)))
            connection.execute(events.delete().where(of_partition))
    with storage.index_connection() as connection:
        connection.execute(checks.delete().where(checks.c.partition == partition))
    return assets


def unusable_databases(home: Path) -> list[Path]:
    """Return the SQLite databases of a `DAGSTER_HOME` that name several versions of their schema.

    Two processes that create one at the same moment leave it so, and from then on Dagster refuses to open it.
    """
    found = []
    for file in map(home.joinpath, _DATABASES):
        if not file.is_file():
            continue
        # of a file that is no database, Dagster says what is wrong
        with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.DatabaseError):
            (versions,) = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
            if versions > 1:
                found.append(file)
    return found


@dataclass(frozen=True)
class UiRun:
    """A run that a code server of this machine started: its process, and when that said so (s since 1970)."""

    pid: int | None  # None: it has not said so since the run was last taken from the queue
    at: float


def ui_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> UiRun | None:
    """Return what is known of the process of a run that the UI, a backfill or a sensor started; None for other runs."""
    if "socket" not in json.loads(run.tags.get(GRPC_INFO_TAG, "{}")):
        return None
    found = UiRun(None, 0.0)
    types = {dg.DagsterEventType.PIPELINE_STARTING, dg.DagsterEventType.ENGINE_EVENT}
    for record in instance.get_records_for_run(run.run_id, of_type=types).records:
        entry = record.event_log_entry
        event = entry.get_dagster_event()
        if event.event_type is dg.DagsterEventType.PIPELINE_STARTING:
            found = UiRun(None, 0.0)  # a code server that answered too late, as after a sleep, is asked again
        elif (event.message or "").startswith("Started process for run"):
            found = UiRun(int(str(event.engine_event_data.metadata["pid"].value)), entry.timestamp)
    return found


def is_of_one_machine(instance: dg.DagsterInstance) -> bool:
    """Return whether the runs are kept in files, so that all their processes run where these files lie."""
    return isinstance(instance.run_storage, (SqliteRunStorage, InMemoryRunStorage))


def runs_not_retried(instance: dg.DagsterInstance, since: datetime) -> list[dg.DagsterRun]:
    """Return the runs that were lost, that Dagster was to retry, and that it doesn't, as their backfill has ended.

    It stores that a run failed before it notes that the run is to be retried. A backfill that is looked at in between
    ends, and of an ended one no run is retried. `since`: when the runs were created, at the earliest.
    """
    lost = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], tags={WILL_RETRY_TAG: "true"}, created_after=since)
    return [
        run
        for run in instance.get_runs(lost)
        if run.is_complete_and_waiting_to_retry
        and (backfill := instance.get_backfill(run.tags.get(BACKFILL_ID_TAG, "")))
        and backfill.status in (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED)
    ]


def is_run_of_code_server(run: dg.DagsterRun) -> bool:
    """Return whether the code server that was handed the run has a process for it.

    Raises DagsterUserCodeUnreachableError where the code server doesn't answer.
    """
    address = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if not address:
        return False
    answer = DagsterGrpcClient(**address).can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel


@dataclass(frozen=True)
class CodeLocation:
    """A code location of a workspace file: `target` is what its code server loads, None where the user runs one."""

    name: str
    target: Sequence[str] | None
    python: str
    address: Mapping[str, object]


def code_locations(workspace: Path) -> list[CodeLocation]:
    """Return the code locations that a workspace file names; raises SettingsError for one that can't be used."""
    try:
        workspace.read_bytes()
        origins = WorkspaceFileTarget([str(workspace)]).create_origins()
    except (CheckError, dg.DagsterError, yaml.YAMLError, OSError) as error:
        raise SettingsError(f"{workspace} can't be used: {' '.join(str(error).split())}") from error
    found = []
    for origin in origins:
        if isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            loaded = origin.loadable_target_origin
            python = loaded.executable_path or sys.executable
            found.append(CodeLocation(origin.location_name, loaded.get_cli_args(), python, {}))
        elif isinstance(origin, GrpcServerCodeLocationOrigin):
            address = {"host": origin.host, "port": origin.port, "socket": origin.socket, "ssl": origin.use_ssl}
            set_parts = {name: value for name, value in address.items() if value is not None}
            found.append(CodeLocation(origin.location_name, None, sys.executable, set_parts))
    return found


def code_server_command(location: CodeLocation, socket: Path) -> list[str]:
    """Return the command of a code server that nothing ends but a signal: it waits for no heartbeat.

    A location that can't be loaded is shown in the UI with its error. The variables of `.env` reach the runs.
    """
    assert location.target is not None
    options = ["--socket", str(socket), "--location-name", location.name, "--log-level", "warning"]
    switches = ["--lazy-load-user-code", "--inject-env-vars-from-instance", "--use-python-environment-entry-point"]
    return [location.python, "-m", "dagster", "api", "grpc", *options, *switches, *location.target]


def code_server_answers(socket: Path) -> bool:
    """Return whether a code server answers at the socket."""
    try:
        return bool(DagsterGrpcClient(socket=str(socket)).get_server_id(timeout=2))
    except DagsterUserCodeUnreachableError:
        return False


def daemon_command(workspace: Path) -> list[str]:
    """Return the command of the daemon: sensors, schedules, backfills and the queue of runs."""
    return [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(workspace)]


def job_origin(workspace: Path, job: str) -> RemoteJobOrigin | None:
    """Where the UI finds a job: in the code location of a workspace file; None for a file that names none."""
    if not workspace.is_file():
        return None
    origins = WorkspaceFileTarget([str(workspace)]).create_origins()
    return RemoteJobOrigin(RemoteRepositoryOrigin(origins[0], SINGLETON_REPOSITORY_NAME), job) if origins else None


def execute_job(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    *,
    partition: str,
    assets: Sequence[dg.AssetKey],
    tags: Mapping[str, str],
    origin: RemoteJobOrigin | None,
) -> dg.DagsterRun:
    """Run some assets of a job in this process, as a run of its code location: the UI finds it where its own runs are.

    `JobDefinition.execute_in_process` makes runs without an origin, which no page of a job or location shows.
    """
    subset = job.get_subset(asset_selection=set(assets))
    run = instance.create_run_for_job(
        subset,
        tags={**subset.run_tags, PARTITION_TAG: partition, **tags},
        asset_selection=frozenset(assets),
        remote_job_origin=origin,
    )
    execute_run(InMemoryJob(job), run, instance)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended
