"""A stored call leads back to what was asked: every request is made again from the lake, and is that of its key."""

import json
from collections import Counter

from raft_assets.core.tables import QAPair, StudentAnswer
from raft_assets.operations.rebuilt_requests import rebuild_request
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
