"""Checks of assets: each domain has its own result, with its figures, and a step that waits has none yet."""

import dagster as dg
import pytest

from raft_assets.defs.lineage_asset import NOT_EVALUATED
from raft_assets.operations.process import WAITING_TAG
from raft_assets_tests.harness import ProjectHarness

TEXT = "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> ProjectHarness:
    return ProjectHarness(tmp_path_factory.mktemp("checks"))


def results_of(project: ProjectHarness, asset: str, check: str) -> dict[str | None, dg.AssetCheckEvaluation]:
    """The last evaluation of a check in every domain."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    with project.instance() as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    found: dict[str | None, dg.AssetCheckEvaluation] = {}
    for record in records:
        if record.event and record.event.dagster_event:
            evaluation = record.event.dagster_event.asset_check_evaluation_data
            found.setdefault(evaluation.partition, evaluation)
    return found


def test_the_pass_of_one_domain_does_not_hide_the_failure_of_another(project: ProjectHarness) -> None:
    project.write("data/broken/a.txt", TEXT)
    project.write("data/broken/b.pdf", "no PDF")
    project.write("data/whole/a.txt", TEXT)
    for domain in ("broken", "whole"):
        assert project.materialize(domain, "source_documents")
    found = results_of(project, "source_documents", "every_file_was_read")
    assert {domain: evaluation.passed for domain, evaluation in found.items()} == {"broken": False, "whole": True}
    assert found["broken"].metadata["quarantined"].value == 1
    assert found["whole"].metadata["quarantined"].value == 0


def test_a_step_whose_answers_are_in_a_batch_ends_without_a_failure_and_its_check_says_so(
    project: ProjectHarness,
) -> None:
    project.write("data/harbor/a.md", f"# The harbour\n\n{TEXT}")
    project.own_variables |= {"TEACHER_BATCH": "1"}
    assert not project.materialize("harbor", "qa_dataset")
    with project.instance() as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(tags={WAITING_TAG: "qa_pairs"}))
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]
        assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 0
    (evaluation,) = results_of(project, "qa_pairs", "half_of_the_pairs_are_accepted").values()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (evaluation.description or "").startswith(NOT_EVALUATED)
    state = project.states("harbor")["qa_pairs"]
    assert state.state == "waiting"
    assert "are in batches" in state.reasons[0]
    assert project.runs_of("qa_dataset", "harbor") == 0  # what lies behind was skipped
