"""What `eval_scores` makes of answers whose truth is known: the same model twice, a spoilt one, one that fell."""

from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.core.prompt_contract import render_answer
from raft_assets.core.tables import BaselineAnswer, JudgedAnswer, ModelAnswer, StudentAnswer
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.evaluation.builders import model_answer
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat

QUESTIONS = 60


def answers_of(evaluated: str, said: list[str]) -> list[ModelAnswer]:
    """A model's final answers to questions about as many passages; that of question n is "nt"."""
    return [
        model_answer(
            answer=render_answer("It says so.", text),
            evaluated=evaluated,
            question_id=f"q{number}",
            cluster=f"c{number}",
            golden_answers=[f"{number}t"],
        )
        for number, text in enumerate(said)
    ]


HALF_RIGHT = [f"{number}t" if number % 2 else "eight hours" for number in range(QUESTIONS)]
RIGHT = [f"{number}t" for number in range(QUESTIONS)]
SHUFFLED = [*RIGHT[7:], *RIGHT[:7]]


def evaluated(project: ProjectHarness, baseline: list[str], student: list[str], model: str = "ft:1") -> dict[str, str]:
    """Materializes the scores of such answers; the severity of each check that didn't pass, by its name."""
    project.lake.write(BaselineAnswer, SMALL, answers_of("baseline", baseline))
    project.lake.write(StudentAnswer, SMALL, answers_of("student", student))
    deployed = project.lake.read_record("deployment", SMALL)
    project.lake.write_record("deployment", SMALL, deployed | {"model": model, "name": model})
    assert project.materialize_only(SMALL, "eval_scores")
    return failed_checks(project)


def failed_checks(project: ProjectHarness) -> dict[str, str]:
    names = ("student_beats_baseline", "student_keeps_its_level")
    keys = [dg.AssetCheckKey(dg.AssetKey("eval_scores"), name) for name in names]
    with project.instance() as instance:
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = {key.name: record.event.dagster_event.asset_check_evaluation_data for key, record in found.items()}  # type: ignore[union-attr]
    return {name: str(one.severity.value) for name, one in evaluations.items() if not one.passed}


@pytest.mark.parametrize(
    ("student", "decision", "failed"),
    [
        (HALF_RIGHT, "cannot tell", {"student_beats_baseline": "WARN"}),  # the baseline itself
        (SHUFFLED, "worse", {"student_beats_baseline": "ERROR"}),  # right answers, each to another question
        (RIGHT, "better", {}),
    ],
    ids=["the same model twice", "a sabotaged student", "a student that learned"],
)
def test_the_verdict_is_the_truth_about_models_that_are_known(
    student: list[str], decision: str, failed: dict[str, str], copied: ProjectHarness
) -> None:
    Path(copied.results.path).unlink()  # the student that the project has is not the one before
    assert evaluated(copied, HALF_RIGHT, student) == failed
    assert copied.results.verdicts()[SMALL]["decision"] == decision
    sentence = str(copied.metadata("eval_scores", SMALL)["verdict"])
    assert {"cannot tell": "not clear"}.get(decision, decision) in sentence


def test_a_judge_rates_both_models_and_its_failures_are_counted(copied: ProjectHarness) -> None:
    def rate(seen: Seen) -> Reply:
        refuses = "the language of an answer" in str(seen.body)
        return chat("I'd rather not" if refuses else '{"score": 4, "reason": "so"}')

    service = Service()
    service.rule = rate
    try:
        copied.own_variables = {"JUDGE_OPENAI_BASE_URL": service.url, "JUDGE_OPENAI_DEPLOYMENT": "stern"}
        assert copied.materialize_only(SMALL, "judged_answers")
    finally:
        service.stop()
    rows = list(copied.lake.rows(JudgedAnswer, SMALL))
    assert {row.status for row in rows if row.metric == "fluency"} == {"unreadable"}
    assert {row.score for row in rows if row.metric != "fluency"} == {4}
    assert len(service.seen) == len({row.call for row in rows}) < len(rows)  # equal answers are judged once
    agreed = copied.metadata("judged_answers", SMALL)["agreement_groundedness"]
    assert str(agreed).startswith("100% the same, 0.00 points apart (n = ")
    assert copied.materialize_only(SMALL, "eval_scores")
    assert copied.materialize_only(SMALL, "eval_report")
    page = copied.lake.path("eval_report", SMALL, ".html").read_text("utf-8")
    assert "Groundedness, judged" in page
    assert "without a score: unreadable" in page


def test_a_student_that_is_worse_than_the_one_before_fails_its_check_though_it_beats_the_baseline(
    copied: ProjectHarness,
) -> None:
    nearly = [text if number % 5 else "eight hours" for number, text in enumerate(RIGHT)]
    Path(copied.results.path).unlink()
    assert evaluated(copied, ["eight hours"] * QUESTIONS, RIGHT, "ft:1") == {}
    assert evaluated(copied, ["eight hours"] * QUESTIONS, nearly, "ft:2") == {"student_keeps_its_level": "ERROR"}
    said = str(copied.metadata("eval_scores", SMALL)["against_previous_student"])
    assert said.startswith(
        "The student is worse than the previous one on questions that its own teacher wrote: token F1 on 60 "
    )
    assert copied.materialize_only(SMALL, "eval_report")
    assert said in copied.lake.path("eval_report", SMALL, ".html").read_text("utf-8")
    assert said in " ".join(copied.raft_here("status", SMALL).stdout.split())


def test_a_run_names_its_data_and_a_score_its_teachers_model(finished: ProjectHarness) -> None:
    files = [("training_files", "train.jsonl"), ("training_files", "valid.jsonl"), ("data_card", "manifest.json")]
    links = {
        "qa_dataset_digest": finished.lake.digest("qa_dataset", SMALL),
        **{
            name: sha256((finished.lake.path(table, SMALL, "") / file).read_bytes()).hexdigest()
            for name, (table, file) in zip(("train_file_hash", "valid_file_hash", "manifest_hash"), files, strict=True)
        },
    }
    (run,) = finished.results.query(f"SELECT {', '.join(links)} FROM runs").to_dict("records")
    assert run == links
    shown = finished.metadata("finetuned_model", SMALL)
    assert {name: shown[name] for name in links} == links

    found = finished.results.query("SELECT * FROM score_origins WHERE source = 'generated'")  # `raft costs` never ran
    assert found["teacher_model"].unique().tolist() == ["embedded-teacher"]
    assert found["section_from"].notna().all()  # the documents are text files
    assert found["page_from"].isna().all()
