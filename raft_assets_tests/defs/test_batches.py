"""Calls in batches, all the way: the asset submits and ends, a sensor collects and asks it again, nothing twice."""

import json
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.cli.worker import WAITS
from raft_assets.core.ports import VersionedRecord
from raft_assets.core.prompt_contract import render_messages
from raft_assets.core.tables import QAPair
from raft_assets.defs.automation import batch_run_requests
from raft_assets.llm.batches import BatchPendingError, BatchRecord, read_batch_records
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import Request
from raft_assets.operations.batches import collect_batches
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import BACKFILL_TAG, RESUMED_BACKFILL_TAG, RESUMES_TAG
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.records import FileRecords
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "harbor"
TEXT = """# The harbour of Marrow Bay

The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance. Its captain was Edith Farrow, who had
learned her trade in Leith. The work took eleven months, and it cost forty thousand pounds.

The lighthouse on Gull Point was built in 1871. Its lamp is lit by the keeper at dusk, because ships pass the point by
night. In 1902 the tower was painted red and white.
"""


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path)
    found.own_variables = {"RAFT_PROVIDER": "embedded", "TEACHER_BATCH": "1"}
    found.write(f"data/{DOMAIN}/a.md", TEXT)
    return found


def records(project: ProjectHarness) -> list[BatchRecord]:
    return read_batch_records(FileRecords(project.opened.home))


def requests_of_sensor(project: ProjectHarness) -> list[dg.RunRequest]:
    """What the sensor requests once every batch that was open is over."""
    with project.instance() as instance:
        models = ModelClients(Project.load(project.folder))
        while any(record.is_open for record in records(project)):
            requested = list(batch_run_requests(instance, project.graph, models))
        return requested


def tick(project: ProjectHarness) -> list[list[str]]:
    """The assets of each request."""
    return [[key.to_user_string() for key in one.asset_selection or ()] for one in requests_of_sensor(project)]


def test_questions_and_then_answers_come_in_batches_and_nothing_is_asked_twice(project: ProjectHarness) -> None:
    ended = project.raft("run", DOMAIN, "--select", "qa_pairs")
    assert ended.returncode == WAITS, ended.stdout
    assert "harbor: waiting: qa_pairs: " in ended.stdout
    assert project.not_fresh(DOMAIN)["qa_pairs"] == "waiting"
    told = project.raft_here("batches").stdout
    assert "calls to embedded-teacher for qa_pairs of harbor" in told
    assert tick(project) == [["qa_pairs"]]
    assert "completed" in project.raft_here("batches").stdout
    assert not project.materialize_only(DOMAIN, "qa_pairs")  # the answers' turn
    assert len(records(project)) == 2
    assert tick(project) == [["qa_pairs"]]
    assert project.materialize_only(DOMAIN, "qa_pairs")
    pairs = list(project.lake.rows(QAPair, DOMAIN))
    assert any(pair.accepted for pair in pairs)
    with SqliteCallStore(project.opened.calls) as store:
        kinds = {row.kind for row in ledger(store, PriceList(project.folder)) if row.role == "TEACHER"}
        asked = [row.call for row in ledger(store, PriceList(project.folder)) if row.role == "TEACHER"]
    assert kinds == {"chat, batch"}
    assert sorted(asked) == sorted(key for record in records(project) for key in record.keys)
    live = ProjectHarness(project.folder.parent / "live")
    live.write(f"data/{DOMAIN}/a.md", TEXT)
    live.materialize(DOMAIN, "qa_pairs")
    assert live.lake.digest("qa_pairs", DOMAIN) == project.lake.digest("qa_pairs", DOMAIN)


def test_a_run_that_no_command_follows_goes_on_with_all_that_it_was_to_make(project: ProjectHarness) -> None:
    assert project.materialize(DOMAIN, "chunk_embeddings", "golden_questions")
    before = project.launch(DOMAIN, "qa_pairs", "qa_dataset", tags={BACKFILL_TAG: "abcd"})
    assert before.is_success  # what waits is no failure, and what lies behind it is skipped
    assert (project.not_fresh(DOMAIN)["qa_pairs"], project.not_fresh(DOMAIN)["qa_dataset"]) == ("waiting", "missing")
    (request,) = requests_of_sensor(project)
    assert [key.to_user_string() for key in request.asset_selection or ()] == ["qa_pairs", "qa_dataset"]
    assert request.tags == {RESUMED_BACKFILL_TAG: "abcd", RESUMES_TAG: before.run_id}


def test_a_submission_that_was_killed_is_found_by_the_next_process(project: ProjectHarness) -> None:
    assert not project.materialize(DOMAIN, "qa_pairs")
    (record,) = records(project)
    cut_off = record.model_copy(update={"batch": "", "status": "submitted"})  # as if killed
    document = VersionedRecord(FileRecords(project.opened.home), f"calls/batches/{record.name}")
    document.change(lambda _: cut_off.model_dump_json().encode())
    assert not project.materialize(DOMAIN, "qa_pairs")  # nothing is submitted for it again
    assert [one.batch for one in records(project) if one.keys == record.keys] == [record.batch]


def test_a_batch_that_was_cancelled_is_asked_live(project: ProjectHarness) -> None:
    assert not project.materialize(DOMAIN, "qa_pairs")
    (record,) = records(project)
    batch = project.opened.embedded_folder / "batches" / f"{record.batch}.json"
    batch.write_text(batch.read_text().replace('"in_progress"', '"cancelled"'))
    assert not project.materialize(DOMAIN, "qa_pairs")  # questions live, answers in a batch
    assert records(project)[0].status == "cancelled"
    with SqliteCallStore(project.opened.calls) as store:
        assert [row.kind for row in ledger(store, PriceList(project.folder)) if row.role == "TEACHER"] == [
            "chat"
        ] * len(record.keys)


def test_an_answer_that_a_batch_cut_off_is_asked_live_with_more_room_and_both_are_paid_once(
    project: ProjectHarness,
) -> None:
    messages = render_messages("Who built the mill?", ["The mill at Alba was built by Ann Bell in 1893."])
    request = Request("chat", {"messages": messages, "max_completion_tokens": 20})
    project.write(".env", "RAFT_PROVIDER=embedded\nTEACHER_BATCH=1\n")
    models = ModelClients(Project.load(project.folder))
    with models.caller(Role.TEACHER) as caller, pytest.raises(BatchPendingError):
        list(caller.ask([request]))
    while any(record.is_open for record in records(project)):
        collect_batches(models)
    for calls in (1, 0):
        with models.caller(Role.TEACHER) as caller:
            (answer,) = caller.ask([request])
        assert (answer.status, "Ann Bell" in answer.text, caller.usage_stats.calls) == ("ok", True, calls)
    with SqliteCallStore(project.opened.calls) as store:
        paid = {(call.kind, call.status): call.usage.output_tokens for call in store.calls()}
    assert paid == {("chat, batch", "truncated"): 20, ("chat", "ok"): answer.usage.output_tokens}


def test_a_line_that_the_content_filter_refused_is_a_filtered_row_and_is_not_asked_again(
    project: ProjectHarness,
) -> None:
    messages = render_messages("Who built the mill?", ["The mill at Alba was built by Ann Bell in 1893."])
    requests = [Request("chat", {"messages": messages, "max_completion_tokens": 900}, sample=n) for n in range(2)]
    project.write(".env", "RAFT_PROVIDER=embedded\nTEACHER_BATCH=1\n")
    models = ModelClients(Project.load(project.folder))
    with models.caller(Role.TEACHER) as caller, pytest.raises(BatchPendingError):
        list(caller.ask(requests))
    (record,) = records(project)
    said = {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}
    line = {"custom_id": record.keys[0], "response": {"status_code": 400, "body": said}, "error": None}
    # as the service leaves it in the batch's file of errors
    (project.opened.embedded_folder / "batches" / f"{record.batch}.error.jsonl").write_text(json.dumps(line) + "\n")
    while any(record.is_open for record in records(project)):
        collect_batches(models)
    with models.caller(Role.TEACHER) as caller:
        answers = list(caller.ask(requests))
    assert [answer.status for answer in answers] == ["filtered", "ok"]
    assert "Input data may contain inappropriate content." in answers[0].detail
    assert caller.usage_stats.calls == 0


def test_embeddings_are_not_asked_in_batches(project: ProjectHarness) -> None:
    project.own_variables = {"RAFT_PROVIDER": "embedded", "EMBEDDING_BATCH": "1"}
    said = project.raft_here("run", DOMAIN)
    assert said.returncode == 2
    assert "EMBEDDING_BATCH is set, but embeddings can't be requested in batches" in said.stderr
