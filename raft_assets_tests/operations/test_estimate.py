"""What a run will cost, before it starts: counted from the documents, the settings and what is stored."""

import json
from pathlib import Path

import pytest

from raft_assets.core.tables import Chunk, QAPair
from raft_assets.operations.estimate import ASSUMED_ANSWER_TOKENS, CallEstimate, estimate_calls
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

TEACHER = ("qa_pairs", Role.TEACHER)
PAID = """
TEACHER_OPENAI_BASE_URL=https://llm.invalid/v1
TEACHER_OPENAI_DEPLOYMENT=some-model
TEACHER_OPENAI_API_KEY=none
"""  # where nobody listens: an estimate asks nobody
PRICES = '- {model: some-model, input: 2.0, output: 8.0, source: "a contract", date: 2026-11-26}'


def forecasts(project: ProjectHarness) -> dict[tuple[str, Role], CallEstimate]:
    found = estimate_calls(ModelClients(Project.load(project.folder)), SMALL)
    return {(one.asset, one.role): one for one in found}


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectHarness:
    """Two documents and a teacher that costs money."""
    monkeypatch.delenv("RAFT_PROVIDER", raising=False)
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", SMALL, documents=2)
    project.write(".env", PAID)
    return project


def test_what_is_stored_is_not_estimated_again(copied: ProjectHarness) -> None:
    found = forecasts(copied)
    pairs = list(copied.lake.rows(QAPair, SMALL))
    made = {key for pair in pairs for key in (pair.question_call, pair.answer_call) if key}
    assert (found[TEACHER].calls, found[TEACHER].stored) == (0, len(made))
    assert found[TEACHER].assumed == ()
    assert found["chunk_embeddings", Role.EMBEDDING].calls == 0
    copied.write(f"data/{SMALL}/more.md", "# Roosts\n\nThe roost at Alba mill was found in 1931 by Ann Bell.\n")
    again = forecasts(copied)
    assert again[TEACHER].stored == len(made)
    assert 2 <= again[TEACHER].calls <= 5  # one call that asks, and one for every question
    assert again["chunk_embeddings", Role.EMBEDDING].calls == 1


def test_the_training_is_estimated_by_its_file(copied: ProjectHarness) -> None:
    """Nothing that only validates is trained on, and nothing that a golden question holds out."""
    copied.write(f"data/{SMALL}/domain.yaml", "training: {n_epochs: 2}\n")
    counted = copied.lake.read_record("training_files", SMALL)["train"]
    before = forecasts(copied)["finetuned_model", Role.STUDENT].usage.input_tokens
    assert before == pytest.approx(2 * counted["tokens"], rel=0.35)  # of few documents, without a golden question
    chunks = list(copied.lake.rows(Chunk, SMALL))
    golden = [
        {"id": chunk.chunk_id, "question": "What is it?", "answers": ["it"], "evidence": [chunk.text]}
        for chunk in chunks[: len(chunks) // 2]
    ]
    copied.write(f"data/{SMALL}/questions.jsonl", "".join(f"{json.dumps(one)}\n" for one in golden))
    held_out = forecasts(copied)["finetuned_model", Role.STUDENT].usage.input_tokens
    assert held_out == pytest.approx(before * (1 - len(golden) / len(chunks)), rel=0.01)


def test_a_project_that_is_fresh_will_ask_nothing(finished: ProjectHarness) -> None:
    told = finished.raft_here("estimate", SMALL)
    assert told.returncode == 0, told.stderr
    assert f"{SMALL}: everything is fresh, no calls are needed." in told.stdout


def test_a_document_that_came_since_is_estimated_and_a_domain_without_one_is_told(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/more.md", "# Roosts\n\nThe roost at Alba mill was found in 1931 by Ann Bell.\n")
    (copied.folder / "data" / "void").mkdir()
    copied.write("data/void/a.txt", "   ")
    told = copied.raft_here("estimate", SMALL, "void", "--json")
    assert told.returncode == 1
    assert "void: No document of 'void' could be read" in told.stderr
    asked = {(line["asset"], line["role"]): line["calls"] for line in map(json.loads, told.stdout.splitlines())}
    assert 2 <= asked["qa_pairs", "TEACHER"] <= 5


def test_money_is_tokens_times_price_and_an_unknown_price_is_told(paid: ProjectHarness) -> None:
    assert forecasts(paid)[TEACHER].dollars is None
    paid.write("prices.yaml", PRICES)
    teacher = forecasts(paid)[TEACHER]
    assert teacher.calls > 0
    assert teacher.usage.output_tokens > teacher.calls / 2 * ASSUMED_ANSWER_TOKENS
    tokens = teacher.usage
    assert teacher.dollars == pytest.approx((2 * tokens.input_tokens + 8 * tokens.output_tokens) / 1e6)
    assert set(teacher.assumed) == {"questions per call", "length of answers"}
    (line, *_) = [
        one
        for one in map(
            json.loads, paid.raft_here("estimate", SMALL, "--json", variables={"RAFT_PROVIDER": ""}).stdout.splitlines()
        )
        if (one["asset"], one["role"]) == ("qa_pairs", "TEACHER")
    ]
    assert (line["calls"], line["dollars"]) == (teacher.calls, teacher.dollars)
    with open_call_store(paid.opened) as store:
        assert store.stats().calls == 0


def test_fewer_questions_cost_less(paid: ProjectHarness) -> None:
    most = forecasts(paid)[TEACHER]
    paid.write(f"data/{SMALL}/domain.yaml", "questions: {questions_per_chunk: 1}\nevaluation: {arms: [main]}")
    least = forecasts(paid)[TEACHER]
    assert least.calls < most.calls / 2
    assert least.usage.input_tokens < most.usage.input_tokens
