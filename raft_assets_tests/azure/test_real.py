"""The lineage on a real Azure account: `pytest -m azure`, with the variables of docs/azure.md set. It costs money."""

import os
from pathlib import Path

import pytest

from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

NEEDED = ("TEACHER_AZURE_OPENAI_ENDPOINT", "STUDENT_AZURE_OPENAI_ENDPOINT", "AZURE_SUBSCRIPTION_ID")
BUDGET = "10"  # US dollars, of the calls; fine-tuning has to fit into it by itself


@pytest.mark.azure
def test_the_lineage_runs_on_a_real_account_and_leaves_nothing_deployed(tmp_path: Path) -> None:
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        pytest.skip(f"not set: {', '.join(missing)}")
    project = ProjectHarness(tmp_path)
    project.own_variables = {name: value for name, value in os.environ.items() if "OPENAI" in name or "RAFT_" in name}
    project.copy_domain("bats", SMALL)
    doctor = project.raft("doctor")
    assert doctor.returncode == 0, doctor.stdout
    try:
        done = project.raft("run", SMALL, "--yes", "--budget", BUDGET)
        assert done.returncode == 0, done.stdout
        assert project.not_fresh(SMALL) == {}
        assert project.results.verdicts()[SMALL]["sentence"]
    finally:
        gone = project.raft("teardown", SMALL)
    assert gone.returncode == 0, gone.stdout
