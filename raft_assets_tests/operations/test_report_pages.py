"""Where a browser finds the pages of a report; an fsspec file system in memory stands for a lake in a cloud."""

from pathlib import Path

import pytest

from raft_assets.operations.report_pages import copies_of, openable_path
from raft_assets.storage.lake import Lake
from raft_assets_tests.harness import ProjectHarness

REPORT, ANSWERS, COMPARISON = "eval_report/bats.html", "eval_answers/bats.html", "comparison/bats.html"


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    return ProjectHarness(tmp_path)


def filled(lake: Lake) -> Lake:
    for table in ("eval_report", "eval_answers"):
        for domain in ("bats", "bats.answers"):
            lake.write_text(table, domain, ".html", f"{table} of {domain}")
    lake.write_index("the index")
    return lake


def test_pages_of_a_lake_on_this_machine_are_opened_where_they_are(project: ProjectHarness) -> None:
    lake = filled(project.lake)
    assert openable_path(project.opened, lake, "bats") == Path(lake.root) / REPORT
    assert openable_path(project.opened, lake, None) == Path(lake.root) / "index.html"
    assert not (project.opened.home / "reports").exists()


def test_pages_of_a_lake_in_a_cloud_are_copied_with_what_they_link_to(project: ProjectHarness) -> None:
    lake, copies = filled(Lake("memory://cloud/lake")), project.opened.home / "reports"
    opened = openable_path(project.opened, lake, "bats")
    assert opened == copies / REPORT
    assert opened.read_text("utf-8") == "eval_report of bats"
    assert (copies / ANSWERS).read_text("utf-8") == "eval_answers of bats"
    assert not (copies / "index.html").exists()
    assert openable_path(project.opened, lake, None) == copies / "index.html"
    assert len(list(copies.rglob("*.html"))) == 5
    known = {copies / page for page in (REPORT, ANSWERS, COMPARISON, "bats.html")}
    assert known == set(copies_of(project.opened, "bats"))
