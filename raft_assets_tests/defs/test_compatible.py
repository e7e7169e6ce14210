"""The whole lineage with every role at an OpenAI-compatible service, over sockets, and a judge that is another one."""

from collections.abc import Iterator

import pytest

from raft_assets.core.tables import JudgedAnswer, QAPair
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import served
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat
from raft_assets_tests.openai_contract import request_breaches

CANARY = "sk-canary-of-a-compatible-service"
MODELS = {"TEACHER": "embedded-teacher", "EMBEDDING": "embedded-encoder", "STUDENT": "embedded-reader"}


def judged(seen: Seen) -> Reply:
    """Supports what a gate asks about, but for some; rates all answers alike."""
    assert request_breaches("/v1/chat/completions", seen.body) == []
    assert seen.body["response_format"] == {"type": "json_object"}
    assert seen.headers["authorization"] == f"Bearer {CANARY}"
    if "supported" in str(seen.body["messages"][0]):
        return chat(f'{{"supported": {str(len(seen.question) % 5 > 0).lower()}, "reason": "as it says"}}')
    return chat('{"reason": "as it says", "score": 3}')


@pytest.fixture(scope="module")
def judge() -> Iterator[Service]:
    service = Service()
    service.rule = judged
    yield service
    service.stop()


@pytest.fixture(scope="module")
def project(judge: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectHarness]:
    found = ProjectHarness(tmp_path_factory.mktemp("compatible"))
    found.copy_domain("bats", SMALL, documents=1)
    with served(tmp_path_factory.mktemp("service")) as address:
        places = {role: (address, model) for role, model in MODELS.items()} | {"JUDGE": (judge.url, "stern")}
        found.own_variables = {
            f"{role}_OPENAI_{name}": value
            for role, (url, model) in places.items()
            for name, value in {"BASE_URL": url, "DEPLOYMENT": model, "API_KEY": CANARY}.items()
        }
        done = found.raft("run", SMALL, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        yield found


def test_every_asset_is_fresh_and_every_call_was_asked_at_its_service(project: ProjectHarness, judge: Service) -> None:
    assert project.not_fresh(SMALL) == {}
    with SqliteCallStore(project.opened.calls) as store:
        services = {(call.role, call.service == judge.url) for call in store.calls()}
    roles = ("TEACHER", "EMBEDDING", "BASELINE", "STUDENT")
    assert services == {*((role, False) for role in roles), ("JUDGE", True)}
    tuned = project.lake.read_record("finetuned_model", SMALL)
    assert project.lake.read_record("deployment", SMALL)["name"] == tuned["model"]  # the id is the deployment


def test_a_body_that_breaks_the_contract_is_noticed() -> None:
    messages = [{"role": "user", "content": "Who?"}]
    assert request_breaches("/v1/chat/completions", {"model": "m", "messages": messages, "seed": 0}) == []
    for wrong in (
        {"messages": messages},
        {"model": "m", "messages": messages, "top_k": 3},
        {"model": "m", "seed": "x"},
    ):
        assert request_breaches("/v1/chat/completions", wrong) != []


def test_the_judge_gates_pairs_and_rates_answers(project: ProjectHarness) -> None:
    pairs = list(project.lake.rows(QAPair, SMALL))
    assert {pair.reason for pair in pairs if pair.judge_call and not pair.accepted} == {"judged_unsupported"}
    assert all(pair.judge_call for pair in pairs if pair.accepted)
    assert {row.score for row in project.lake.rows(JudgedAnswer, SMALL)} == {3}
    assert "Groundedness, judged" in project.lake.path("eval_report", SMALL, ".html").read_text("utf-8")


def test_a_second_run_asks_nothing_and_the_key_stands_nowhere(project: ProjectHarness, judge: Service) -> None:
    asked = len(judge.seen)
    again = project.raft("run", SMALL, "--yes")
    assert "small: everything is fresh" in again.stdout
    assert len(judge.seen) == asked
    files = [file for file in project.folder.rglob("*") if file.is_file()]
    assert any("train.jsonl" in file.name for file in files)
    assert [file for file in files if CANARY.encode() in file.read_bytes()] == []
