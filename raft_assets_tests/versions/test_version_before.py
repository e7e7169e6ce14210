"""A project made by the version before: its rows stay, and nothing that it paid for is paid again.

`project-0.1.0.tar.xz` is a project folder as version 0.1.0 (commit 994121b) left it after `raft run --all`: three
shipped documents of the harbor handbook with golden questions, and TEACHER, EMBEDDING and BASELINE at an
OpenAI-compatible service (`raft serve`) on a port where nothing listens any more. A call that is made again fails.
"""

import json
import tarfile
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from raft_assets.core.tables import GoldenQuestion
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import PriceList
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "marrow bay"
SERVICE = "http://127.0.0.1:8399/v1"


@pytest.fixture
def old(tmp_path: Path) -> ProjectHarness:
    with tarfile.open(Path(__file__).with_name("project-0.1.0.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    project = ProjectHarness(tmp_path / "project")
    project.own_variables = {}  # the roles of its own `.env`
    return project


def paid(project: ProjectHarness) -> set[str]:
    """Keys of the stored calls that a service answered."""
    with open_call_store(project.opened) as store:
        return {row.call for row in ledger(store, PriceList(project.folder)) if row.service == SERVICE}


# made in another way since; they are made again from what is stored
CHANGED_SINCE = {"golden_questions": "stale", "qa_dataset": "stale", "data_card": "stale", "eval_scores": "stale"}
CHANGED_SINCE |= {"eval_report": "missing"}  # its page of answers


def test_a_project_of_the_version_before_pays_for_no_call_again_and_keeps_its_rows(old: ProjectHarness) -> None:
    assert old.not_fresh(DOMAIN) == CHANGED_SINCE
    before, calls = old.digests(DOMAIN), paid(old)
    assert len(calls) > 300
    made_again = old.raft("run", "--all")  # nothing listens at the service's port
    assert made_again.returncode == 0, made_again.stdout + made_again.stderr
    assert old.not_fresh(DOMAIN) == {}
    assert old.digests(DOMAIN) == before
    fresh = old.raft("run", "--all")
    assert (fresh.returncode, f"{DOMAIN}: everything is fresh" in fresh.stdout) == (0, True), fresh.stdout

    forced = old.raft("run", "--all", "--force")
    assert forced.returncode == 0, forced.stdout + forced.stderr
    assert paid(old) == calls
    assert old.digests(DOMAIN) == before
    assert old.metadata("finetuned_model", DOMAIN)["found_again"] is True
    assert old.not_fresh(DOMAIN) == {}


def test_a_results_store_of_such_a_project_that_is_lost_is_made_again_without_a_call(old: ProjectHarness) -> None:
    before, calls = old.results.summary(DOMAIN), paid(old)
    old.opened.results.unlink()
    assert old.not_fresh(DOMAIN) == CHANGED_SINCE | {"eval_scores": "missing"}
    done = old.raft("run", "--all")  # nothing listens at the service's port
    assert done.returncode == 0, done.stdout + done.stderr
    now = old.results.summary(DOMAIN)
    assert (before["reference"].notna().any(), now["reference"].notna().any()) == (False, True)  # came with 0.3.0
    pd.testing.assert_frame_equal(now.drop(columns="reference"), before.drop(columns="reference"))
    assert paid(old) == calls
    assert old.not_fresh(DOMAIN) == {}
    assert old.lake.evaluations() == old.results.runs()


def test_students_that_such_a_project_evaluated_are_compared(old: ProjectHarness) -> None:
    alone = old.raft_here("compare", DOMAIN)
    assert (alone.returncode, "has 1 evaluated student, and a comparison needs two" in alone.stderr) == (2, True)
    with duckdb.connect(str(old.opened.results)) as results:  # a second one, as that version would have kept it
        for table in ("runs", "answers"):
            copied = "'again' AS run, " + (
                "'x: ft:2' AS student_model, 'beef' AS training_hash" if table == "runs" else ""
            )
            results.execute(f"INSERT INTO {table} BY NAME SELECT * REPLACE ({copied.rstrip(', ')}) FROM {table}")
    compared = old.raft_here("compare", DOMAIN, "beef", "--json")
    assert compared.returncode == 0, compared.stderr
    told = json.loads(compared.stdout)
    assert (told["source"], told["arm"], told["same_prompts"], told["questions"] > 0) == ("golden", "main", True, True)
    (difference,) = told["differences"]
    assert (difference["difference"], difference["decision"]) == (0.0, "cannot tell")


def test_a_renamed_document_of_such_a_project_asks_nothing_and_trains_nothing(old: ProjectHarness) -> None:
    calls, hash_before = paid(old), old.lake.read_record("finetuned_model", DOMAIN)["training_hash"]
    folder = old.folder / "data" / DOMAIN
    named = sorted(file for file in folder.iterdir() if file.suffix not in (".jsonl", ".yaml"))
    for number, file in enumerate(reversed(named)):  # nothing listens at the service's port
        file.rename(folder / f"{number} renamed{file.suffix}")
    done = old.raft("run", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert paid(old) == calls
    assert old.lake.read_record("finetuned_model", DOMAIN)["training_hash"] == hash_before
    assert old.runs_of("finetuned_model", DOMAIN) == 1
    assert {row.status for row in old.lake.rows(GoldenQuestion, DOMAIN)} == {"resolved"}
    assert old.not_fresh(DOMAIN) == {}
