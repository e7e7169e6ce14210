"""What is requested without being asked: what is stale, free, and not failed; nothing that is paid, nothing twice."""

import time

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from raft_assets.definitions import definitions
from raft_assets.defs.automation import lost_run_requests, nightly, observe_domains, stale_run_requests
from raft_assets.defs.dagster_internals import last_data_versions
from raft_assets.defs.observation import DOCUMENTS
from raft_assets.defs.runs import LINEAGE_JOB
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import (
    BACKFILL_TAG,
    BUDGET_TAG,
    DOMAIN_PARTITIONS,
    PARTITION_TAG,
    RESUMED_BACKFILL_TAG,
    RESUMES_TAG,
)
from raft_assets.settings.project import Project
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def requested(project: ProjectHarness) -> dict[str, set[str]]:
    """Assets that the requesting sensor asks for, by domain."""
    graph = project.graph
    with project.instance() as instance:
        found = list(stale_run_requests(instance, graph, ModelClients(Project.load(project.folder))))
    return {
        str(request.partition_key): {key.to_user_string() for key in request.asset_selection or []} for request in found
    }


def test_nothing_is_requested_while_everything_is_fresh(copied: ProjectHarness) -> None:
    assert requested(copied) == {}


def test_a_stale_asset_is_requested_and_what_lies_behind_waits(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    assert requested(copied) == {SMALL: {"qa_dataset", "baseline_answers"}}


def test_a_new_domain_is_requested_from_end_to_end(copied: ProjectHarness) -> None:
    copied.write("data/new/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    assert len(requested(copied)["new"]) == 15


def test_what_a_paid_role_answers_is_never_requested(copied: ProjectHarness) -> None:
    copied.own_variables = {"TEACHER_OPENAI_BASE_URL": "https://llm.invalid/v1", "TEACHER_OPENAI_DEPLOYMENT": "dear"}
    copied.write("data/new/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    found = requested(copied)
    assert SMALL not in found  # only its qa_pairs are stale
    free = {"source_documents", "chunks", "chunk_embeddings", "golden_questions"}
    assert found["new"] == free
    assert copied.materialize("new", *free)
    assert requested(copied) == {}  # what lies behind the paid asset waits for it


def test_a_domain_with_an_open_run_is_left_alone(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    copied.look()
    with copied.instance() as instance:
        instance.add_run(
            dg.DagsterRun(job_name="lineage", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": SMALL})
        )
    assert requested(copied) == {}


def test_a_failed_asset_is_left_to_people(copied: ProjectHarness) -> None:
    copied.write("data/broken/a.pdf", "no PDF")
    copied.raft("run", "broken")
    assert "broken" not in requested(copied)


def test_a_tick_registers_a_new_domain_and_reports_it_with_what_changed_in_others(copied: ProjectHarness) -> None:
    copied.look()
    copied.write("data/new/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    copied.write(f"data/{SMALL}/added.txt", "The dredger was called Constance.\n")
    with copied.instance() as instance:
        before = last_data_versions(instance, DOCUMENTS)
        told = tick(copied, instance)
        after = last_data_versions(instance, DOCUMENTS)
        assert set(instance.get_dynamic_partitions(DOMAIN_PARTITIONS)) == {SMALL, "new"}
        assert "1 domains added" in str(told)
        assert (set(before), set(after)) == ({SMALL}, {SMALL, "new"})
        assert before[SMALL] != after[SMALL]
        assert "Nothing changed in 2 domains" in str(tick(copied, instance))


def test_a_tick_that_sees_nothing_new_says_so_and_reports_nothing(copied: ProjectHarness) -> None:
    copied.look()
    with copied.instance() as instance:
        seen = tick(copied, instance)
    assert isinstance(seen, dg.SkipReason)
    assert SMALL in str(seen.skip_message)


def tick(project: ProjectHarness, instance: dg.DagsterInstance) -> object:
    """One evaluation of the observing sensor, as Dagster calls it."""
    return observe_domains(dg.build_sensor_context(instance=instance, resources={"project": project.opened}))


def test_the_schedule_runs_at_night() -> None:
    assert nightly.cron_schedule == "0 3 * * *"


def test_a_lost_run_that_dagster_does_not_retry_because_its_backfill_has_ended_goes_on(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/new.md", "The lamp of the old museum was repaired by Ada Quill in 1912.\n")
    copied.look()
    with copied.instance() as instance:
        wanted = [dg.AssetKey(name) for name in ("source_documents", "chunks", "golden_questions")]
        job = definitions().resolve_job_def(LINEAGE_JOB).get_subset(asset_selection=set(wanted))

        def lost(backfill: str, status: BulkActionStatus, domain: str = SMALL) -> dg.DagsterRun:
            began = time.time()
            instance.add_backfill(PartitionBackfill(backfill, status, False, {}, began))
            tags = {PARTITION_TAG: domain, BACKFILL_TAG: backfill, BUDGET_TAG: "2", "dagster/will_retry": "true"}
            run = instance.create_run_for_job(job, tags=tags, asset_selection=frozenset(wanted))
            instance.report_run_failed(run, "host one has no process of this run")
            return run

        def requested() -> list[dg.RunRequest]:
            return list(lost_run_requests(instance, copied.graph, ModelClients(copied.opened)))

        lost("cancelled", BulkActionStatus.CANCELED)
        lost("goes on", BulkActionStatus.REQUESTED)  # Dagster retries it
        lost("of another", BulkActionStatus.COMPLETED_FAILED, "gone")
        assert requested() == []
        run = lost("ended", BulkActionStatus.COMPLETED_FAILED)
        (request,) = requested()
        assert request.run_key == run.run_id  # Dagster starts it once
        assert request.tags == {RESUMED_BACKFILL_TAG: "ended", RESUMES_TAG: run.run_id, BUDGET_TAG: "2"}
        assert set(request.asset_selection or ()) == set(wanted)  # what lies behind what is stale is to be made as well
        assert copied.launch_requested(request).is_success
