"""A stored call leads back to what was asked: every request is made again from the lake, and is that of its key."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from raft_assets.core.prompt_contract import WORKED_EXAMPLES
from raft_assets.core.tables import BaselineAnswer, QAPair, StudentAnswer
from raft_assets.llm.keys import call_key
from raft_assets.llm.requests import Request
from raft_assets.llm.store import StoredCall
from raft_assets.operations.process import records_of
from raft_assets.operations.rebuilt_requests import rebuild_request
from raft_assets.operations.trained import keep_submission
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def test_every_kind_of_call_is_shown_with_its_request(finished: ProjectHarness) -> None:
    with open_call_store(finished.opened) as store:
        calls = list(store.calls())
    shown = Counter[tuple[str, str]]()
    for call in calls:
        group = (call.role, call.origin.asset)
        if shown[group] < 3:  # of each kind
            shown[group] += 1
            assert rebuild_request(finished.opened, call), (group, call.key)
    assert {role for role, _ in shown} == {"TEACHER", "EMBEDDING", "BASELINE", "STUDENT"}


def test_the_request_holds_what_the_model_was_shown(finished: ProjectHarness) -> None:
    pair = next(pair for pair in finished.lake.rows(QAPair, SMALL) if pair.answer_call)
    shown = json.loads(finished.raft_here("calls", "show", pair.answer_call).stdout)
    assert shown["asked_for"] == [{"domain": SMALL, "document": pair.path}]
    assert pair.question in shown["request"]["messages"][-1]["content"]
    answer = next(row for row in finished.lake.rows(StudentAnswer, SMALL) if row.arm == "main")
    shown = json.loads(finished.raft_here("calls", "show", answer.call).stdout)
    assert all(text in shown["request"]["messages"][-1]["content"] for text in (answer.question, *answer.documents))


def test_a_request_of_other_settings_is_not_guessed(copied: ProjectHarness) -> None:
    answer = next(row for row in copied.lake.rows(StudentAnswer, SMALL) if row.arm == "main")
    copied.write(f"data/{SMALL}/domain.yaml", "evaluation: {max_answer_tokens: 100}")
    shown = json.loads(copied.raft_here("calls", "show", answer.call).stdout)
    assert shown["request"] is None
    assert "have changed since" in shown["request_detail"]
    assert shown["answer"]


def test_what_a_preview_asked_is_shown_before_anything_is_made(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", SMALL, documents=1)
    assert project.raft_here("preview", SMALL, "-n", "3").returncode == 0
    with open_call_store(project.opened) as store:
        calls = list(store.calls())
    assert {call.role for call in calls} == {"TEACHER", "EMBEDDING"}
    for call in calls:
        assert rebuild_request(project.opened, call), (call.role, call.key)


def test_the_request_of_a_completion_student_shows_its_worked_examples(copied: ProjectHarness) -> None:
    copied.write(
        f"data/{SMALL}/domain.yaml",
        "student: {format: completion, examples: always}\nevaluation: {arms: [main], robustness_rows: 0}\n",
    )
    assert copied.materialize(SMALL, "baseline_answers")
    answer = next(iter(copied.lake.rows(BaselineAnswer, SMALL)))
    shown = json.loads(copied.raft_here("calls", "show", answer.call).stdout)
    assert all(text in shown["request"]["prompt"] for text in (WORKED_EXAMPLES[0][0], answer.question))


def test_a_call_to_a_student_of_before_is_shown(copied: ProjectHarness) -> None:
    answer = next(row for row in copied.lake.rows(StudentAnswer, SMALL) if row.arm == "main")
    request = rebuild_request(copied.opened, stored(copied, answer.call))
    assert request is not None
    endpoint = Endpoint(Role.STUDENT, "openai", "ft:small", "https://llm.invalid/v1")
    keep_submission(records_of(copied.opened), "before", endpoint.service, SMALL, [])
    key = call_key(endpoint, Request("chat", request), model="ft:small", model_version="before")
    call = replace(stored(copied, answer.call), key=key, service=endpoint.service, model="ft:small")
    assert rebuild_request(copied.opened, call) == request


def stored(project: ProjectHarness, key: str) -> StoredCall:
    with open_call_store(project.opened) as store:
        return store.get([key])[key]
