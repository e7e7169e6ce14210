"""Fixtures that cost something, made once."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.tables import QuarantinedFile
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.settings.domains import domain_folder, domain_names, list_documents
from raft_assets_tests.harness import SHIPPED, ProjectHarness
from raft_assets_tests.postgresql import PostgresServer, postgres_server

SMALL = "small"  # the domain of `finished`: four documents of a shipped one
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


# files that take minutes are begun first, so that no worker ends with one of them alone
LONGEST = (
    "test_two_hosts.py",
    "test_runs.py",
    "test_ui.py",
    "test_ui_programs.py",
    "test_lineage.py",
    "test_serverless.py",
    "test_local_lineage.py",
    "test_compatible.py",
    "test_cli.py",
    "test_batches.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they come."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ProjectHarness:
    """A project whose one domain went through the whole lineage by `raft run`; tests look at it and change nothing."""
    project = ProjectHarness(tmp_path_factory.mktemp("finished"))
    project.copy_domain("bats", SMALL, documents=4)
    done = project.raft("run", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    (project.folder / "stdout.txt").write_text(done.stdout, "utf-8")
    return project


@pytest.fixture
def copied(finished: ProjectHarness, tmp_path: Path) -> ProjectHarness:
    """A copy of the finished project, to be changed."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return ProjectHarness(tmp_path)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; where there must be one (in CI), its absence fails."""
    if CHROMIUM is None:
        if os.environ.get("RAFT_REQUIRE_BROWSER"):
            pytest.fail("no chromium on this machine, and RAFT_REQUIRE_BROWSER is set")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return CHROMIUM


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server, which gives every test a database of its own."""
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="session")
def shipped() -> dict[str, list[ReadDocument | QuarantinedFile]]:
    """What reading the shipped domains gives, by domain."""
    return {name: list(read_documents(list_documents(domain_folder(SHIPPED, name)))) for name in domain_names(SHIPPED)}


@pytest.fixture(scope="session")
def shipped_documents(shipped: dict[str, list[ReadDocument | QuarantinedFile]]) -> dict[str, list[ReadDocument]]:
    """The documents of the shipped domains, by domain."""
    return {
        name: [result for result in results if isinstance(result, ReadDocument)] for name, results in shipped.items()
    }
