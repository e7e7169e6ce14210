"""Assets that ask one machine take turns at it."""

import platform
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.definitions import definitions
from raft_assets.defs.pools import limit_pools
from raft_assets.defs.runs import close_killed_runs
from raft_assets.operations.process import PROCESS_TAG
from raft_assets.settings.project import Project

POOL = "127_0_0_1_8321_v1"
MACHINE = {
    "STUDENT_OPENAI_BASE_URL": "http://127.0.0.1:8321/v1",
    "STUDENT_OPENAI_DEPLOYMENT": "qwen3-4b@0123456789ab",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "workspace.yaml").touch()
    monkeypatch.setenv("RAFT_PROJECT", str(tmp_path))
    for name, value in MACHINE.items():
        monkeypatch.setenv(name, value)
    return Project.load()


def pooled() -> dict[str, str | None]:
    """The pool of every executable asset."""
    made = definitions()
    assert isinstance(made, dg.Definitions)
    assets = [asset for asset in made.assets or [] if isinstance(asset, dg.AssetsDefinition) and asset.is_executable]
    return {asset.key.to_user_string(): asset.op.pool for asset in assets}


def test_training_and_answers_of_one_machine_are_in_its_pool(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pooled()
    held = {name for name, pool in found.items() if pool == POOL}
    assert held == {"finetuned_model", "deployment", "baseline_answers", "student_answers"}
    monkeypatch.setenv("TEACHER_OPENAI_BASE_URL", MACHINE["STUDENT_OPENAI_BASE_URL"])
    monkeypatch.setenv("TEACHER_OPENAI_DEPLOYMENT", MACHINE["STUDENT_OPENAI_DEPLOYMENT"])
    assert pooled()["qa_pairs"] == POOL
    monkeypatch.setenv("RAFT_PROVIDER", "embedded")
    assert set(pooled().values()) == {None}  # services that others run answer everybody at once


def test_the_environment_says_how_many_runs_may_call_a_paid_role_at_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_OPENAI_API_KEY", "key")
    monkeypatch.setenv("TEACHER_OPENAI_DEPLOYMENT", "gpt-5-mini")
    assert pooled()["qa_pairs"] is None
    monkeypatch.setenv("RAFT_POOL_TEACHER", "3")
    monkeypatch.setenv("RAFT_POOL_STUDENT", "3")  # on one machine, which stays one
    found = pooled()
    assert found["qa_pairs"] == "teacher"
    assert found["finetuned_model"] == POOL
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        storage = instance.event_log_storage
        for slots in ("3", "2"):
            monkeypatch.setenv("RAFT_POOL_TEACHER", slots)
            limit_pools(instance, Project.load())
            assert storage.get_concurrency_info("teacher").slot_count == int(slots)
        assert storage.get_concurrency_info(POOL).slot_count == 1
        storage.set_concurrency_slots(POOL, 2)  # by hand
        limit_pools(instance, Project.load())
        assert storage.get_concurrency_info(POOL).slot_count == 2


def test_a_pool_has_one_slot_and_a_killed_run_gives_it_back(project: Project, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        limit_pools(instance, project)
        limit_pools(instance, project)
        storage = instance.event_log_storage
        assert storage.get_concurrency_info(POOL).slot_count == 1
        run = instance.create_run_for_job(
            dg.JobDefinition(graph_def=dg.GraphDefinition("empty"), name="empty"),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: f"999999999@1@{platform.node()}"},
        )
        assert storage.claim_concurrency_slot(POOL, run.run_id, "finetuned_model").is_claimed
        assert not storage.claim_concurrency_slot(POOL, "another", "student_answers").is_claimed
        assert close_killed_runs(instance) == [run.run_id]
        assert storage.claim_concurrency_slot(POOL, "another", "student_answers").is_claimed
