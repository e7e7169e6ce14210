"""An older student is asked what the newest one was, for a price that is shown first, and both are compared."""

import json
from collections.abc import Iterator

import pytest

from raft_assets.core.prompt_contract import render_answer
from raft_assets.core.tables import StudentAnswer
from raft_assets.evaluation.evaluate import evaluate_student
from raft_assets.storage.results import RunRecord
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.evaluation.builders import model_answer
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Service, chat
from raft_assets_tests.storage.test_results import STARTED

OLDER = "ft:gpt-4.1-nano:me::1"
HASH = "5eed" * 16


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    service.rule = lambda _: chat(render_answer("It says so.", "a wrong answer"))
    yield service
    service.stop()


@pytest.fixture
def older(copied: ProjectHarness, service: Service) -> ProjectHarness:
    """The finished project, whose results know a student at a paid service that was asked one other question."""
    answer = model_answer(model=OLDER, question_id="of yesterday")
    run = RunRecord(
        domain=SMALL,
        baseline_model="",
        student_model=f"{service.url}: {OLDER}",
        training_hash=HASH,
        dataset_hash="d",
        settings={},
        dagster_run="",
        recorded_at=STARTED,
    )
    copied.results.record(run, evaluate_student([answer], []))
    prices = "{model: 'gpt-4.1-nano*', input: 10, output: 20, training: 5, source: ours, date: 2026-11-28}"
    copied.write("prices.yaml", f"- {prices}\n")
    return copied


def test_an_older_student_is_asked_once_for_a_price_shown_first_and_then_compared(
    older: ProjectHarness, service: Service
) -> None:
    at_service = {
        "RAFT_PROVIDER": "",
        "STUDENT_OPENAI_BASE_URL": service.url,
        "STUDENT_OPENAI_DEPLOYMENT": "gpt-4.1-nano",
    }
    before = older.results.verdicts(), len(older.results.history(SMALL, "token_f1"))
    newest = before[0][SMALL]["student_model"].partition(": ")[2]
    asked = list(older.lake.rows(StudentAnswer, SMALL))

    nothing = json.loads(older.raft_here("compare", SMALL, "--json").stdout)
    assert (nothing["questions"], nothing["decision"]) == (0, "cannot tell")
    (step,) = nothing["next_steps"]
    command = "raft evaluate small --student 5eed5eed"
    assert step.endswith(f"(the price is shown first): {command}")

    elsewhere = older.raft_here(*command.split()[1:])
    assert (elsewhere.returncode, f"is at {service.url}, and STUDENT is" in elsewhere.stderr) == (2, True)
    unasked = older.raft_here(*command.split()[1:], variables=at_service)
    assert (unasked.returncode, "No call was made. Pass --yes" in unasked.stderr) == (2, True)
    prompts = {(answer.question, *answer.documents) for answer in asked}  # equal ones of two arms are one call
    assert f"{len(prompts)} prompts of the latest evaluation: {len(prompts)} calls to make" in unasked.stdout
    assert "US$ " in unasked.stdout
    assert service.seen == []

    done = older.raft_here(*command.split()[1:], "--yes", variables=at_service)
    assert done.returncode == 0, done.stderr
    assert {seen.model for seen in service.seen} == {OLDER}
    assert len(service.seen) == len(prompts)
    again = older.raft_here(*command.split()[1:], variables=at_service)  # nothing to pay, so nothing to confirm
    assert (again.returncode, len(service.seen)) == (0, len(prompts))

    compared = older.raft_here("compare", SMALL, "5eed", newest, "--json", variables=at_service)
    told = json.loads(compared.stdout)
    main = {answer.question for answer in asked if answer.arm == "main"}
    assert (told["source"], told["arm"], told["questions"]) == ("generated", "main", len(main))
    by_id = {student["id"]: student for student in told["students"]}
    assert by_id["5eed5eed"]["base_model"] == "gpt-4.1-nano"
    assert by_id["5eed5eed"]["dollars_per_1000_answers"] == pytest.approx(1000 * (10 * 10 + 3 * 20) / 1e6, rel=0.5)
    (difference,) = told["differences"]
    assert difference["low"] > 0  # it is clear, but about too few passages
    assert (told["passages"] < 20, told["decision"], difference["decision"]) == (True, "cannot tell", "cannot tell")
    assert told["next_steps"][0].startswith(f"Write questions about {20 - told['passages']} more passage")
    page = older.lake.path("comparison", SMALL, ".html").read_text("utf-8")
    assert told["page"].endswith("comparison/small.html")
    assert "5eed5eed (gpt-4.1-nano)" in page

    assert (older.results.verdicts(), len(older.results.history(SMALL, "token_f1"))) == before
    assert older.not_fresh(SMALL) == {}


def test_a_domain_with_one_student_says_what_makes_another(finished: ProjectHarness) -> None:
    alone = finished.raft_here("compare", SMALL)
    assert alone.returncode == 2
    assert "has 1 evaluated student, and a comparison needs two. Choose another base model" in alone.stderr
    unknown = finished.raft_here("compare", SMALL, "nobody")
    assert (unknown.returncode, "'small' has no student 'nobody'. Its students: " in unknown.stderr) == (2, True)
