"""A fine-tuning job that may cost money waits for a yes, and for a budget that it fits into."""

import json
import re
from dataclasses import replace
from typing import Any

import openai
import pytest

from raft_assets.core.errors import DataError
from raft_assets.llm.keys import TRAINING_KIND
from raft_assets.settings.project import Budgets
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.student.approval import TrainingCost
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import served
from raft_assets_tests.harness import ProjectHarness

BILL = TrainingCost(rows=200, valid_rows=20, tokens=100_000, epochs=2, price=25.0)


def test_a_bill_tells_rows_tokens_and_cost() -> None:
    assert BILL.told == "200 rows, 20 to validate on, 100,000 tokens a pass, about US$ 5.00 for 2 passes"
    assert "about US$ 7.50 for 3 passes, which the service chooses" in replace(BILL, epochs=3, is_chosen=True).told
    assert "at an unknown price (add it to prices.yaml)" in replace(BILL, price=None).told


@pytest.mark.parametrize(("most", "change"), [(4.99, {}), (1000.0, {"price": None})])
def test_a_job_that_would_pass_a_budget_is_refused(most: float, change: dict[str, Any]) -> None:
    for budgets, name in ((Budgets(run=most), "this run"), (Budgets(month=most), "the month")):
        with pytest.raises(DataError, match=f"The budget of {name} is US"):
            replace(BILL, **change).check_budget(budgets)
    BILL.check_budget(Budgets(run=5.0, month=5.0))
    BILL.check_budget(Budgets())


def test_a_job_that_may_cost_money_is_submitted_on_yes_only(
    copied: ProjectHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = ("run", SMALL, "--select", "finetuned_model")
    with served(tmp_path_factory.mktemp("service")) as address:
        role = {"BASE_URL": address, "DEPLOYMENT": "embedded-reader", "API_KEY": "none"}
        copied.write(".env", "".join(f"STUDENT_OPENAI_{name}={value}\n" for name, value in role.items()))
        copied.write("prices.yaml", '- {model: embedded-reader, training: 25.0, source: "mine", date: 2026-11-26}')
        waits = copied.raft(*command, variables={"RAFT_PROVIDER": ""})
        told = " ".join(waits.stdout.split())
        assert waits.returncode == 1
        assert "Fine-tuning embedded-reader needs your approval:" in told
        assert re.search("tokens a pass, about US[$] [0-9.]+ for 8 passes. ", told)  # as the embedded reader trains
        assert f"`raft run {SMALL} --yes`, or launch the run with the tag raft/approve = fine-tuning" in told
        with openai.OpenAI(base_url=address, api_key="none") as client:
            assert (client.files.list().data, client.fine_tuning.jobs.list().data) == ([], [])
            spent = copied.raft(*command, "--yes", "--budget", "0.01", variables={"RAFT_PROVIDER": ""})
            assert "The budget of this run is US$ 0.01, but fine-tuning needs" in " ".join(spent.stdout.split())
            submitted = copied.raft(*command, "--yes", "--budget", "20", variables={"RAFT_PROVIDER": ""})
            assert submitted.returncode == 0, submitted.stdout
            (job,) = client.fine_tuning.jobs.list().data
        assert job.trained_tokens
        with SqliteCallStore(copied.opened.calls) as store:
            (kept,) = (call for call in store.calls() if call.kind == TRAINING_KIND)
        assert (kept.usage.input_tokens, kept.origin.asset) == (job.trained_tokens, "finetuned_model")
        sums = map(json.loads, copied.raft_here("costs", SMALL, "--by", "asset", "--json").stdout.splitlines())
        paid = {one["name"]: one["dollars"] for one in sums}
        assert paid["finetuned_model"] == pytest.approx(job.trained_tokens * 25e-6)
        assert copied.metadata("finetuned_model", SMALL)["us_dollars"] == pytest.approx(job.trained_tokens * 25e-6)
        held = json.loads(copied.opened.calls.with_name("budget.json").read_text())
        assert held["months"] > 0  # other runs of the month see it
        assert copied.lake.read_record("finetuned_model", SMALL)["job"] == job.id
        estimated = {(row["asset"], row["role"]) for row in copied.lake.read_record("estimate", SMALL)["rows"]}
        assert ("finetuned_model", "STUDENT") in estimated
