"""The platform of `infra/hosted` on a real PostgreSQL server: one run per domain, and what happens to killed ones."""

import os
import platform as machine
import signal
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.defs.runs import close_killed_runs
from raft_assets.operations.process import PROCESS_TAG
from raft_assets_tests.hosted.platform import platform, platform_instance
from raft_assets_tests.postgresql import PostgresServer


def test_a_run_whose_machine_died_is_closed_and_goes_on_elsewhere_without_paying_twice(
    tmp_path: Path, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with platform(tmp_path, postgresql, monkeypatch.setenv) as found:
        with found.code_server():
            first, second, other, broken = (found.submit(domain) for domain in ("bats", "bats", "surfing", "broken"))
            found.tick()
            found.wait((tmp_path / f"{first}.pid").exists, "the first run works")
            found.wait((tmp_path / f"{other}.pid").exists, "a run of another domain works beside it")
            found.wait(lambda: found.status(broken) == "FAILURE", "the run that fails by itself ended")
            found.tick()
            assert [found.status(run) for run in (first, second, other)] == ["STARTED", "QUEUED", "STARTED"]
            os.kill(int((tmp_path / f"{other}.pid").read_text()), signal.SIGKILL)  # a worker alone
            found.wait(lambda: found.status(other) == "FAILURE", "its code server noticed")
            found.tick()
            once_more = found.last(other)
            found.wait((tmp_path / f"{once_more}.pid").exists, "it works again")
        found.tick()  # nobody answers: that says nothing about a run
        assert [found.status(run) for run in (first, once_more)] == ["STARTED", "STARTED"]
        (tmp_path / "go").touch()
        with found.code_server():  # another machine at the same address
            found.tick()
            assert [found.status(run) for run in (first, once_more)] == ["FAILURE", "FAILURE"]
            for _ in range(2):
                found.wait(lambda: not _running(found.instance), "what was started ended")
                found.tick()
            found.wait(lambda: not _running(found.instance), "what was started ended")
            assert [found.status(found.last(run)) for run in (first, other, second)] == ["SUCCESS"] * 3
        assert found.last(broken) == broken  # what failed by itself is for a person
        assert (tmp_path / "bats.paid").read_text().split() == [first, second]
        assert (tmp_path / "surfing.paid").read_text().split() == [other]


def _running(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    statuses = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=statuses)))


def test_a_backfill_goes_on_with_a_code_server_that_starts_after_the_daemon_or_is_replaced_in_the_middle(
    tmp_path: Path, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with platform(tmp_path, postgresql, monkeypatch.setenv) as before:
        with before.code_server():
            backfill = before.launch_backfill("bats", "surfing")
        with before.another_daemon() as found:
            for _ in range(3):  # nobody has answered this daemon yet
                found.tick()
                assert found.backfill_status(backfill) == "REQUESTED"
            assert found.instance.get_runs_count() == 0
            with found.code_server():
                found.tick()
                found.wait(lambda: len(list(tmp_path.glob("*.pid"))) == 2, "both runs work")
            for _ in range(3):  # the server and its runs are gone
                found.tick()
                assert found.backfill_status(backfill) == "REQUESTED"
            with found.code_server():
                found.tick()
                found.wait(lambda: len(list(tmp_path.glob("*.pid"))) == 4, "both work again")
                # not while the daemon looks: Dagster then counts what the runs made too early, and tells failed
                (tmp_path / "go").touch()
                found.wait(lambda: not _running(found.instance), "they end")
                found.tick()
            assert found.backfill_status(backfill) == "COMPLETED_SUCCESS"


def test_no_process_id_of_another_container_says_that_a_run_ended(
    tmp_path: Path, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with platform_instance(tmp_path, postgresql, monkeypatch.setenv) as instance:
        run = instance.create_run_for_job(
            dg.JobDefinition(graph_def=dg.GraphDefinition("empty"), name="empty"),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: f"999999999@1@{machine.node()}"},  # as of a container of the same host name
        )
        assert close_killed_runs(instance) == []
        ended = instance.get_run_by_id(run.run_id)
        assert ended
        assert ended.status is dg.DagsterRunStatus.STARTED
