"""The Dagster home: who creates it, what is generated in it, and what is said of one that can't be opened."""

import os
import re
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from raft_assets.cli.project import FORMER_LIMIT, GENERATED_BELOW
from raft_assets_tests.harness import ProjectHarness

TEXT = "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"
COMMANDS = 5  # started at once; of two, one in three pairs spoilt the home when each of them created it


@pytest.fixture
def fresh(tmp_path: Path) -> ProjectHarness:
    """A project in which no command was ever run."""
    project = ProjectHarness(tmp_path)
    for name in ("one", "two"):
        project.write(f"data/{name}/a.txt", TEXT)
    return project


def databases(project: ProjectHarness) -> list[Path]:
    return sorted(project.opened.dagster_home.rglob("*.db"))


def schema_versions(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0])


def test_first_runs_of_two_domains_at_once_both_work(fresh: ProjectHarness) -> None:
    processes = [fresh.start("run", name, "--select", "source_documents") for name in ("one", "two")]
    said = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert {schema_versions(file) for file in databases(fresh)} == {1}
    assert fresh.raft("status").returncode == 0


def test_commands_that_find_no_home_create_one_together(fresh: ProjectHarness) -> None:
    processes = [fresh.start("status") for _ in range(COMMANDS)]
    said = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * COMMANDS, said
    assert {schema_versions(file) for file in databases(fresh)} == {1}


@pytest.mark.parametrize("spoilt", ["runs.db", "index.db", "schedules.db"])
def test_a_home_that_two_commands_created_is_told_with_a_repair_that_works(fresh: ProjectHarness, spoilt: str) -> None:
    assert fresh.raft_here("status").returncode == 0
    (database,) = (file for file in databases(fresh) if file.name == spoilt)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")
    for command in (("status",), ("run", "one", "--select", "source_documents"), ("ui", "--port", "1")):
        ended = fresh.raft_here(*command)
        assert ended.returncode == 2, ended.stdout
        assert str(database) in ended.stderr
        assert "Traceback" not in ended.stderr
    repair = re.search(r"\((rm -r .*?)\)", ended.stderr)
    assert repair is not None
    subprocess.run(shlex.split(repair[1]), check=True)
    assert fresh.raft_here("status").returncode == 0
    assert {schema_versions(file) for file in databases(fresh)} == {1}


def concurrent_runs(project: ProjectHarness) -> int:
    with project.instance() as instance:
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    return queue.max_concurrent_runs


def test_the_ui_runs_a_domain_per_core_and_another_number_where_it_is_set(fresh: ProjectHarness) -> None:
    assert concurrent_runs(fresh) == os.cpu_count()
    fresh.write(".env", "RAFT_MAX_CONCURRENT_RUNS=7\n")
    assert concurrent_runs(fresh) == 7


@pytest.mark.parametrize(
    ("own", "runs"),
    [
        (FORMER_LIMIT, 7),  # as 0.2.0 installed it: nobody chose that number
        (FORMER_LIMIT.replace("4", "2"), 2),
        ("run_queue:\n  max_concurrent_runs: 3\n", 3),
        ("concurrency:\n  pools:\n    default_limit: 1\n", 10),  # Dagster's own default
        (
            "run_coordinator:\n  module: dagster\n  class: QueuedRunCoordinator\n  config: {max_concurrent_runs: 5}\n",
            5,
        ),
    ],
)
def test_a_limit_that_the_user_set_in_dagster_yaml_stays(fresh: ProjectHarness, own: str, runs: int) -> None:
    fresh.own_variables["RAFT_MAX_CONCURRENT_RUNS"] = "7"
    file = fresh.opened.dagster_home / "dagster.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"telemetry:\n  enabled: false\n{own}{GENERATED_BELOW}", "utf-8")
    assert concurrent_runs(fresh) == runs
    written = file.read_text("utf-8")
    assert concurrent_runs(fresh) == runs
    assert file.read_text("utf-8") == written


def test_a_run_whose_code_server_is_away_stays_in_the_queue(fresh: ProjectHarness) -> None:
    """By the setting of Dagster's daemon, which fails a run for good without it."""
    with fresh.instance() as instance:
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay >= 600
