"""Facts that `defs/dagster_internals` relies on: the test that fails after an upgrade of Dagster names what broke."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, EngineEventData

from raft_assets.core.errors import SettingsError
from raft_assets.defs import dagster_internals
from raft_assets.defs.dagster_internals import (
    DATA_VERSION_TAG,
    CachingStaleStatusResolver,
    SerializableErrorInfo,
    StaleResolver,
    UiRun,
    _Loading,
    code_locations,
    code_server_command,
    daemon_command,
    delete_partition_events,
    execute_job,
    job_origin,
    last_attempts,
    last_data_versions,
    point_at_inputs,
    report_events,
    restore_last_materialization,
    ui_run,
    unusable_databases,
)
from raft_assets.defs.runs import close_killed_runs
from raft_assets.operations.process import is_still_alive
from raft_assets_tests.postgresql import PASSWORD, ROLE

PARTITIONS = dg.DynamicPartitionsDefinition(name="domain")
KEY = dg.AssetKey("table")
SIGNED_IN = f"postgresql+psycopg2://{ROLE}:{PASSWORD}"
WORKSPACE = """load_from:
  - python_module:
      module_name: somewhere.definitions
      location_name: somewhere
"""


@dg.asset(partitions_def=PARTITIONS, code_version="1", output_required=False)
def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Fails in one partition, and says what the other holds."""
    if context.partition_key == "broken":
        raise dg.Failure("on purpose")
    return dg.MaterializeResult(data_version=dg.DataVersion(f"of {context.partition_key}"))


SEEN = dg.AssetSpec("folder", partitions_def=PARTITIONS)  # an external asset, of which only observations tell


@dg.asset(partitions_def=PARTITIONS, code_version="1", deps=[SEEN.key, table])
def reader() -> dg.MaterializeResult[None]:
    """Reads an external asset and one that is made here."""
    return dg.MaterializeResult(data_version=dg.DataVersion("of what was read"))


DEFS = dg.Definitions(
    assets=[SEEN, table, reader], jobs=[dg.define_asset_job("lineage")], executor=dg.in_process_executor
)


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    found = dg.DagsterInstance.local_temp(str(tmp_path))
    found.add_dynamic_partitions("domain", ["bats", "broken"])
    return found


def run(instance: dg.DagsterInstance, partition: str, workspace: Path | None = None) -> dg.DagsterRun:
    origin = job_origin(workspace, "lineage") if workspace else None
    job = DEFS.resolve_job_def("lineage")
    return execute_job(instance, job, partition=partition, assets=[KEY], tags={"raft/command": "c"}, origin=origin)


def test_a_run_in_this_process_carries_its_tags_its_partition_and_where_the_ui_finds_its_job(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(WORKSPACE, "utf-8")
    ended = run(instance, "bats", workspace)
    assert ended.is_success
    assert (ended.tags["dagster/partition"], ended.tags["raft/command"]) == ("bats", "c")
    assert ended.remote_job_origin is not None
    assert ended.remote_job_origin.location_name == "somewhere"
    # by which the UI's timeline and the pages of jobs look for runs
    of_location = dg.RunsFilter(tags={".dagster/repository": "__repository__@somewhere"})
    assert [found.run_id for found in instance.get_runs(filters=of_location)] == [ended.run_id]


def test_a_workspace_that_is_absent_gives_no_origin(tmp_path: Path) -> None:
    assert job_origin(tmp_path / "workspace.yaml", "lineage") is None


def test_a_run_that_fails_ends_as_failed_and_raises_nothing(instance: dg.DagsterInstance) -> None:
    assert run(instance, "broken").is_failure


def test_the_last_data_version_of_every_partition_comes_by_one_query(instance: dg.DagsterInstance) -> None:
    run(instance, "bats")
    assert last_data_versions(instance, KEY) == {"bats": "of bats"}
    event = dg.AssetMaterialization(KEY, partition="bats", tags={DATA_VERSION_TAG: "reported"})
    instance.report_runless_asset_event(event)
    assert last_data_versions(instance, KEY) == {"bats": "reported"}


def known_events(instance: dg.DagsterInstance) -> object:
    """What Dagster knows of the asset by events, without their times."""
    by_kind = [
        [
            (record.event_log_entry.run_id, record.partition_key, event.metadata, event.tags)
            for record in fetch(KEY, limit=100).records
            if (event := record.asset_materialization or record.event_log_entry.asset_observation)
        ]
        for fetch in (instance.fetch_materializations, instance.fetch_observations)
    ]
    (of_asset,) = instance.get_asset_records([KEY])
    newest = of_asset.asset_entry.last_materialization
    return by_kind, last_data_versions(instance, KEY), newest and newest.get_dagster_event().partition


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_events_that_are_reported_together_are_known_as_those_that_are_reported_one_by_one(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_internals, "EVENTS_AT_ONCE", 2)
    known = []
    for is_together in (True, False):
        storage = {}
        if database == "postgresql":
            address = request.getfixturevalue("postgresql").new_database().rpartition("@")[2]
            storage = {"storage": {"postgres": {"postgres_url": f"{SIGNED_IN}@{address}"}}}
        folder = tmp_path / str(is_together)
        folder.mkdir()
        with dg.DagsterInstance.local_temp(str(folder), overrides=storage) as instance:
            for event in (dg.AssetObservation, dg.AssetMaterialization):
                events = [
                    event(KEY, partition=name, metadata={"bytes": 3}, tags={DATA_VERSION_TAG: f"of {name}"})
                    for name in ("bats", "caves", "owls", "bats", "voles")
                ]
                if is_together:
                    report_events(instance, events)
                else:
                    for one in events:
                        instance.report_runless_asset_event(one)
            known.append(known_events(instance))
            assert delete_partition_events(instance, "voles") == {KEY}
            assert last_data_versions(instance, KEY).keys() == {"bats", "caves", "owls"}
    assert known[0] == known[1]


def test_an_attempt_that_materialized_nothing_is_known_by_its_run_until_one_succeeds(
    instance: dg.DagsterInstance,
) -> None:
    failed = run(instance, "broken")
    assert last_attempts(instance, KEY) == {"broken": failed.run_id}
    run(instance, "bats")
    assert last_attempts(instance, KEY).keys() == {"broken"}


def test_the_resolver_tells_missing_from_fresh(instance: dg.DagsterInstance) -> None:
    run(instance, "bats")
    resolver = StaleResolver(instance, DEFS.resolve_asset_graph())
    assert {partition: resolver.get_status(KEY, partition).value for partition in ("bats", "broken")} == {
        "bats": "FRESH",
        "broken": "MISSING",
    }


def test_the_resolver_answers_as_dagsters_own_does_for_inputs_that_changed_and_inputs_that_did_not(
    instance: dg.DagsterInstance,
) -> None:
    graph, names = DEFS.resolve_asset_graph(), ("as it was", "seen anew", "seen changed", "made changed")
    instance.add_dynamic_partitions("domain", list(names))

    def report(event: type[dg.AssetObservation | dg.AssetMaterialization], key: str, name: str, version: str) -> None:
        instance.report_runless_asset_event(event(key, partition=name, tags={DATA_VERSION_TAG: version}))

    for name in names:
        report(dg.AssetObservation, "folder", name, "1")
        job = DEFS.resolve_job_def("lineage")
        execute_job(instance, job, partition=name, assets=[KEY, reader.key], tags={}, origin=None)
    report(dg.AssetObservation, "folder", "seen anew", "1")
    report(dg.AssetObservation, "folder", "seen changed", "2")
    report(dg.AssetMaterialization, "table", "made changed", "another")
    ours, theirs = StaleResolver(instance, graph), CachingStaleStatusResolver(instance, graph, _Loading(instance))
    expected = {name: "STALE" if name.endswith("changed") else "FRESH" for name in names}
    assert {name: ours.get_status(reader.key, name).value for name in names} == expected
    assert {name: ours.get_stale_causes(reader.key, name) for name in names} == {
        name: theirs.get_stale_causes(reader.key, name) for name in names
    }


@dg.asset(partitions_def=PARTITIONS, code_version="1", deps=[SEEN.key, table], name="reader")
def pointing_reader(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """The same, with the pointers set right."""
    point_at_inputs(context)
    return dg.MaterializeResult(data_version=dg.DataVersion("of what was read"))


@pytest.mark.parametrize(("one", "is_stale"), [(reader, True), (pointing_reader, False)])
def test_what_is_made_while_other_partitions_are_points_at_the_inputs_that_it_read(
    instance: dg.DagsterInstance, one: dg.AssetsDefinition, is_stale: bool
) -> None:
    defs = dg.Definitions([SEEN, table, one], jobs=[dg.define_asset_job("lineage")], executor=dg.in_process_executor)
    job, graph = defs.resolve_job_def("lineage"), defs.resolve_asset_graph()
    instance.add_dynamic_partitions("domain", ["owls"])

    def has_changed(version: str) -> bool:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(KEY, partition="owls", tags={DATA_VERSION_TAG: version})
        )
        resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))
        return resolver.get_status(one.key, "owls").value == "STALE"

    for partition in ("bats", "owls"):
        execute_job(instance, job, partition=partition, assets=[KEY], tags={}, origin=None)
    (first,) = instance.fetch_materializations(dg.AssetRecordsFilter(KEY, asset_partitions=["bats"]), limit=1).records
    # two runs stored an event each, and the one that was first keeps its copy last
    instance.event_log_storage.store_asset_event(first.event_log_entry, first.storage_id)
    assert execute_job(instance, job, partition="owls", assets=[one.key], tags={}, origin=None).is_success
    assert has_changed("of owls") is is_stale
    assert has_changed("another")


def test_the_copy_of_the_last_materialization_follows_what_is_left(instance: dg.DagsterInstance) -> None:
    first, second = run(instance, "bats"), run(instance, "bats")
    instance.delete_run(second.run_id)
    restore_last_materialization(instance, KEY)
    (record,) = instance.get_asset_records([KEY])
    assert record.asset_entry.last_materialization is not None
    assert record.asset_entry.last_materialization.run_id == first.run_id


def test_an_error_of_a_step_keeps_its_class_message_and_cause() -> None:
    error = SerializableErrorInfo("message", [], "Error", SerializableErrorInfo("cause", [], "Cause"))
    assert (error.message, error.cls_name, error.cause.message if error.cause else "") == ("message", "Error", "cause")


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"])
def test_a_database_that_two_processes_created_is_known_and_dagster_refuses_it(tmp_path: Path, name: str) -> None:
    dg.DagsterInstance.local_temp(str(tmp_path)).dispose()
    assert unusable_databases(tmp_path) == []
    with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")
    assert unusable_databases(tmp_path) == [tmp_path / name]
    with pytest.raises(Exception, match="more than one head"):
        dg.DagsterInstance.local_temp(str(tmp_path)).get_dynamic_partitions("domain")


def started_by_the_ui(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, pid: int | None) -> dg.DagsterRun:
    """A run as a code server leaves it in the instance, with the event by which its process says that it started."""
    tags = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": "/tmp/0.sock"})}
    run = instance.add_run(dg.DagsterRun(job_name="lineage", status=status, tags=tags))
    if pid is not None:
        told = f"Started process for run (pid: {pid})."
        instance.report_engine_event(told, run, EngineEventData.in_process(pid))
    return run


def test_a_run_of_the_ui_is_closed_when_its_process_is_gone_and_not_before(instance: dg.DagsterInstance) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    started, starting = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING
    runs = {
        "runs": started_by_the_ui(instance, started, os.getpid()),
        "killed": started_by_the_ui(instance, started, ended.pid),
        "about to start": started_by_the_ui(instance, starting, None),
        "canceled": started_by_the_ui(instance, dg.DagsterRunStatus.CANCELING, ended.pid),
        "of another launcher": instance.add_run(dg.DagsterRun(job_name="lineage", status=started)),
        "queued again after a sleep": started_by_the_ui(instance, starting, ended.pid),
    }
    queued_again = runs["queued again after a sleep"]
    taken = DagsterEvent(dg.DagsterEventType.PIPELINE_STARTING.value, queued_again.job_name)
    instance.report_dagster_event(taken, queued_again.run_id)
    found = ui_run(instance, runs["runs"])
    assert found is not None
    assert found.pid == os.getpid()
    assert abs(found.at - time.time()) < 600
    assert ui_run(instance, runs["about to start"]) == UiRun(None, 0.0)
    assert ui_run(instance, runs["of another launcher"]) is None

    def closed(*, without_ui: bool) -> set[str]:
        ids = close_killed_runs(instance, without_ui=without_ui)
        return {name for name, run in runs.items() if run.run_id in ids}

    assert closed(without_ui=False) == {"killed", "canceled"}
    assert closed(without_ui=True) == {"about to start", "queued again after a sleep"}
    told = {name: instance.get_run_by_id(run.run_id) for name, run in runs.items()}
    assert {name: run.status.value for name, run in told.items() if run and run.is_finished} == {
        "killed": "FAILURE",
        "about to start": "FAILURE",
        "canceled": "CANCELED",
        "queued again after a sleep": "FAILURE",
    }


def test_a_process_that_got_the_id_of_a_killed_run_later_does_not_keep_it_open(instance: dg.DagsterInstance) -> None:
    run = started_by_the_ui(instance, dg.DagsterRunStatus.STARTED, os.getpid())
    found = ui_run(instance, run)
    assert found is not None
    assert is_still_alive(os.getpid(), found.at)
    assert not is_still_alive(os.getpid(), 0.0)  # it started after that


def test_a_workspace_names_what_its_code_servers_load_and_those_that_the_user_runs(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace.yaml"
    own = "  - grpc_server:\n      location_name: theirs\n      host: 127.0.0.1\n      port: 4000\n"
    workspace.write_text(WORKSPACE + own, "utf-8")
    ours, theirs = code_locations(workspace)
    assert (ours.name, ours.target) == ("somewhere", ["-m", "somewhere.definitions"])
    assert (theirs.name, theirs.target) == ("theirs", None)
    assert theirs.address == {"host": "127.0.0.1", "port": 4000}
    command = code_server_command(ours, tmp_path / "a.sock")
    assert "--heartbeat" not in command
    assert subprocess.run([*command[:5], "--help"], check=True, capture_output=True, text=True).stdout.count("--socket")


@pytest.mark.parametrize("text", [None, "", "- a", "load_from: [", "load_from: 3"])
def test_a_workspace_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str | None) -> None:
    workspace = tmp_path / "workspace.yaml"
    if text is not None:
        workspace.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=r"workspace\.yaml can't be used: "):
        code_locations(workspace)


def test_the_daemon_is_a_program_of_its_own() -> None:
    module = daemon_command(Path("workspace.yaml"))[2]
    assert importlib.util.find_spec(f"{module}.__main__") is not None
