"""Runs that are killed, interrupted, or started twice."""

import random
import time
from pathlib import Path

import dagster as dg

from raft_assets.operations.process import claim_domain
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def test_a_run_that_was_killed_at_random_moments_ends_as_an_undisturbed_one(
    finished: ProjectHarness, tmp_path: Path
) -> None:
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", SMALL, documents=4)
    moments = sorted(random.sample(range(1, 9), 3))
    print(f"killed after {moments} assets")
    for finished_assets in moments:
        process = project.start("run", "--all")
        wait_for_assets(project, finished_assets)
        project.kill(process)
    again = project.raft("run", "--all")
    assert again.returncode == 0, again.stdout + again.stderr
    assert project.digests(SMALL) == finished.digests(SMALL)
    with project.instance() as instance:
        ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
        assert {run.status for run in instance.get_runs()} == ended


def test_an_interrupted_run_says_so_and_leaves_no_open_run(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", SMALL, documents=4)
    process = project.start("run", "--all")
    wait_for_assets(project, 2)
    project.interrupt(process)
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "run the same command again to continue" in said
    with project.instance() as instance:
        assert not instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))


def test_a_second_command_on_the_same_domain_is_refused(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "chunks: {chunk_size: 100}")
    claimed = claim_domain(copied.opened, SMALL)
    assert claimed is not None
    ended = copied.raft("run", SMALL)
    claimed.close()
    assert ended.returncode == 1
    assert "another command is working on this domain" in ended.stdout


def wait_for_assets(project: ProjectHarness, count: int) -> None:
    """Returns once so many assets of the domain are in the lake."""
    deadline = time.monotonic() + 600
    tables = (
        "source_documents",
        "chunks",
        "chunk_embeddings",
        "golden_questions",
        "qa_pairs",
        "qa_dataset",
        "baseline_answers",
        "training_files",
    )
    while sum(project.lake.exists(table, SMALL) or project.lake.exists(table, SMALL, "") for table in tables) < count:
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.05)


def test_a_step_may_take_as_long_as_its_kind_does_and_what_a_person_limits_stays(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.write("data/harbor/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    project.look()

    def limit(asset: str, **tags: str) -> int:
        run = project.launch("harbor", asset, tags=tags)
        assert run.is_success
        return round(float(run.tags["dagster/max_runtime"]) / 3600)  # hours

    computing, asking = limit("source_documents"), limit("chunks")
    assert 1 < computing < asking
    assert limit("chunks", **{"dagster/max_runtime": "7200"}) == 2
    retried = {"dagster/max_runtime": "7200", "raft/max_runtime": "7200"}  # a retry has the tags of the run before
    assert limit("chunks", **retried) == asking
