"""A student that somebody fine-tuned elsewhere: named, asked and evaluated, and neither trained nor deployed."""

from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def test_a_model_of_ones_own_is_evaluated_and_nothing_is_trained(copied: ProjectHarness) -> None:
    jobs = list((copied.opened.embedded_folder / "jobs").iterdir())
    copied.write(f"data/{SMALL}/domain.yaml", "student: {finetuned_model: embedded-reader}\n")
    assert copied.materialize(SMALL, "eval_scores")
    assert list((copied.opened.embedded_folder / "jobs").iterdir()) == jobs
    tuned = copied.lake.read_record("finetuned_model", SMALL)
    assert (tuned["job"], tuned["model"]) == ("", "embedded-reader")
    assert copied.lake.read_record("deployment", SMALL)["name"] == "embedded-reader"
    # it is the baseline itself, asked the same: no difference, and nobody says that there is one
    verdict = copied.results.verdicts()[SMALL]
    assert (verdict["decision"], verdict["baseline"]) == ("cannot tell", verdict["student"])
