"""A project that shares with other machines by a PostgreSQL database: two hosts with folders of their own."""

import contextlib
import shutil
from pathlib import Path

import pytest

from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.postgresql import PASSWORD, PostgresServer, opened


@pytest.fixture
def address(postgresql: PostgresServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def host(copied: ProjectHarness, address: str) -> ProjectHarness:
    copied.own_variables |= {"RAFT_COORDINATION": address, "RAFT_COORDINATION_PASSWORD": PASSWORD}
    return copied


def test_a_domain_that_one_host_works_on_is_taken_for_the_other(
    host: ProjectHarness, address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = ProjectHarness(tmp_path_factory.mktemp("other"))
    shutil.copytree(host.folder / "data", other.folder / "data", dirs_exist_ok=True)
    other.own_variables |= host.own_variables
    claim = opened(address).claim(f"locks/{SMALL}")
    assert claim
    with contextlib.closing(claim):
        assert (
            "another command is working on this domain"
            in other.raft("run", SMALL, "--select", "source_documents").stdout
        )
    done = other.raft("run", SMALL, "--select", "source_documents")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (other.folder / ".raft" / "locks").exists()


def test_without_the_database_paid_work_stops_and_looking_goes_on(host: ProjectHarness, tmp_path: Path) -> None:
    host.own_variables["RAFT_COORDINATION"] = "postgresql://raft@127.0.0.1:1/raft"
    for command in (["status"], ["report", SMALL], ["sql", "select 1"], ["config"]):
        looked = host.raft_here(*command)
        assert (looked.returncode, "can't be reached" in looked.stderr) == (0, False), (command, looked.stderr)
    stopped = host.raft("run", SMALL, "--force", "--select", "chunk_embeddings")
    assert stopped.returncode == 2
    assert "can't be reached" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert PASSWORD not in stopped.stdout + stopped.stderr
    doctor = host.raft_here("doctor")
    assert "problem  coordination: The database of RAFT_COORDINATION can't be reached" in doctor.stdout
    assert PASSWORD not in doctor.stdout + doctor.stderr


def test_doctor_says_that_the_database_is_shared(host: ProjectHarness) -> None:
    assert "ok       coordination: shared with other machines" in host.raft_here("doctor").stdout
