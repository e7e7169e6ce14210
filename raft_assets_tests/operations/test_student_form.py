"""Worked examples of completion prompts: new domains show them, and those of a version before go on without."""

from pathlib import Path

import pytest

from raft_assets.core.tables import BaselineAnswer
from raft_assets.evaluation.arms import EvaluationItem, to_model_answer
from raft_assets.llm.requests import NO_USAGE, Answer
from raft_assets.llm.store import StoredCall
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "mills"
ITEM = EvaluationItem("q1", "generated", "main", "Who?", ("Text.",), ("c1",), ("c1",), ("Ann",), True, "who", "c1")


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    project.write(f"data/{DOMAIN}/a.md", "# Mills\n\nThe mill was built by Ann Bell.\n")
    project.write(f"data/{DOMAIN}/domain.yaml", "student: {format: completion}\n")
    return project


def examples(project: ProjectHarness) -> str:
    return resolve_student_form(project.opened, project.lake, DOMAIN).student.examples


def train_file(project: ProjectHarness, line: str) -> None:
    project.lake.write_lines("training_files", DOMAIN, "train.jsonl", [line])


def answered(project: ProjectHarness, kind: str) -> None:
    """Leaves the answer of the baseline to a question, asked in a call of the kind."""
    answer = Answer("key", "Ann", "ok", "", NO_USAGE, 0.1, from_store=False)
    row = to_model_answer(ITEM, answer, evaluated="baseline", model="m")
    project.lake.write(BaselineAnswer, DOMAIN, [row])  # type: ignore[list-item]
    with open_call_store(project.opened) as store:
        store.put([StoredCall("key", "http://s/v1", "m", kind, "ok", NO_USAGE, 0.1, 1.0, b"{}")])


def test_a_new_domain_shows_examples_and_goes_on_so_when_it_has_rows(project: ProjectHarness) -> None:
    assert examples(project) == "always"
    train_file(project, '{"prompt": "Task:", "completion": "Ann"}')
    answered(project, "completion")
    assert examples(project) == "always"


def test_a_domain_whose_training_files_have_none_goes_on_without(project: ProjectHarness) -> None:
    train_file(project, '\ufeff{"prompt": "Who?", "completion": "Ann"}')
    assert examples(project) == "never"
    train_file(project, '{"prompt": "Whom?", "completion": "Ann"}')
    assert examples(project) == "never"


def test_a_domain_whose_questions_were_answered_without_goes_on_without(project: ProjectHarness) -> None:
    answered(project, "completion")
    assert examples(project) == "never"


def test_a_domain_that_was_a_chat_before_shows_examples(project: ProjectHarness) -> None:
    train_file(project, '{"messages": []}')
    answered(project, "chat")
    assert examples(project) == "always"


@pytest.mark.parametrize("value", ["always", "never"])
def test_what_a_person_sets_holds(project: ProjectHarness, value: str) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", f"student: {{format: completion, examples: {value}}}\n")
    assert examples(project) == value
    assert not project.lake.exists("student_form", DOMAIN, ".json")


def test_a_chat_student_has_none_to_decide_on(project: ProjectHarness) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", "student: {format: chat}\n")
    assert examples(project) == "auto"
    assert not project.lake.exists("student_form", DOMAIN, ".json")
