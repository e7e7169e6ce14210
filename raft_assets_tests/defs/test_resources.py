"""What a run's resources are made of: here, what counts as one run for a budget."""

from pathlib import Path

import dagster as dg
import pytest

from raft_assets.defs.resources import ModelsResource, ProjectResource
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import BACKFILL_TAG, BUDGET_TAG, COMMAND_TAG, RESUMED_BACKFILL_TAG, RESUMES_TAG


@pytest.mark.parametrize(
    ("tags", "counts_as"),
    [
        ({BACKFILL_TAG: "abcd", COMMAND_TAG: "of a command"}, "of a command"),
        ({RESUMED_BACKFILL_TAG: "abcd", RESUMES_TAG: "first"}, "abcd"),  # what a sensor goes on with
        ({BACKFILL_TAG: "abcd"}, "abcd"),  # every partition of a backfill that the UI started
        ({}, None),  # the run by itself
    ],
)
def test_the_runs_of_a_backfill_share_a_budget_as_those_of_a_command_do(
    tmp_path: Path, tags: dict[str, str], counts_as: str | None
) -> None:
    seen = list[tuple[str, str]]()

    @dg.asset
    def spends(context: dg.AssetExecutionContext, models: dg.ResourceParam[ModelClients]) -> None:
        seen.append((models.command, context.run.run_id))

    with dg.DagsterInstance.ephemeral() as instance:
        models = ModelsResource(project=ProjectResource(folder=str(tmp_path)))
        for _ in range(2):
            assert dg.materialize([spends], resources={"models": models}, instance=instance, tags=tags).success
    (first, first_run), (second, second_run) = seen
    assert first_run != second_run
    assert (first, second) == ((counts_as, counts_as) if counts_as else (first_run, second_run))


def test_the_tag_is_the_one_that_dagster_gives_the_runs_of_a_backfill() -> None:
    assert BACKFILL_TAG in dg.DagsterRun.tags_for_backfill_id("abcd")


@pytest.mark.parametrize(("asked", "holds"), [("2", 2.0), ("5", 3.0), (None, 3.0), ("much", None)])
def test_a_run_may_lower_its_budget_and_not_raise_it(tmp_path: Path, asked: str | None, holds: float | None) -> None:
    (tmp_path / ".env").write_text("RAFT_BUDGET_RUN=3\n", "utf-8")
    seen = list[float | None]()

    @dg.asset
    def spends(models: dg.ResourceParam[ModelClients]) -> None:
        seen.append(models.project.budget.run)

    with dg.DagsterInstance.ephemeral() as instance:
        models = ModelsResource(project=ProjectResource(folder=str(tmp_path)))
        tags = {BUDGET_TAG: asked} if asked else {}
        dg.materialize([spends], resources={"models": models}, instance=instance, tags=tags, raise_on_error=False)
    assert seen == ([holds] if holds else [])
