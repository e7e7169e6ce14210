"""`raft ask`: a question of a person's own, answered as the evaluation's retrieved arm answers it."""

import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from raft_assets.core.tables import Chunk, SourceDocument, StudentAnswer
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import PriceList
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.cli.test_serve import listens
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.defs.test_ui import wait_until
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat
from raft_assets_tests.processes import free_port

QUESTION = "Where does the <b>Mexican</b> free-tailed bat spend the winter?"
ANSWER = "##begin_quote##Bats fly.##end_quote##\n<ANSWER>: <script>alert(1)</script>"


def retrieved_rows(project: ProjectHarness) -> list[StudentAnswer]:
    return [row for row in project.lake.rows(StudentAnswer, SMALL) if row.arm == "retrieved" and row.status == "ok"]


def test_a_question_of_the_evaluation_is_answered_as_it_was_there_and_costs_no_call(copied: ProjectHarness) -> None:
    row = next(row for row in retrieved_rows(copied) if row.quotes)
    asked = copied.raft_here("ask", SMALL, row.question, "--json")
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    (answer,) = told["answers"]
    assert answer["evaluated"] == "student"
    assert (answer["call"], answer["final_answer"], answer["from_store"]) == (row.call, row.final_answer, True)
    assert [passage["chunk_id"] for passage in told["passages"]] == row.document_chunk_ids
    chunks = {chunk.chunk_id: chunk for chunk in copied.lake.rows(Chunk, SMALL)}
    kinds = {page.path: page.kind for page in copied.lake.rows(SourceDocument, SMALL)}
    for passage in told["passages"]:
        chunk = chunks[passage["chunk_id"]]
        noun = "page" if kinds[chunk.path] == "pdf" else "section"
        assert passage["document"] == chunk.path
        assert passage["place"].startswith(f"{noun} {chunk.page_from}") or passage["place"].startswith(f"{noun}s ")


def test_people_see_the_final_answer_the_quotes_and_the_document_one_question_after_the_other(
    copied: ProjectHarness,
) -> None:
    row = next(row for row in retrieved_rows(copied) if row.quotes)
    typed = copied.raft_here("ask", SMALL, "--model", "both", typed=f"{row.question}\n{row.question}\n")
    assert typed.returncode == 0, typed.stderr
    assert typed.stdout.count("passages, nearest first") == 2
    assert f"student  {row.final_answer}" in typed.stdout
    assert "baseline  " in typed.stdout
    shown = " ".join(typed.stdout.split())
    assert f"“{' '.join(row.quotes[0].split())}”" in shown
    (first,) = (chunk.path for chunk in copied.lake.rows(Chunk, SMALL) if chunk.chunk_id == row.document_chunk_ids[0])
    assert f"1 {first}, " in shown


def test_before_training_the_baseline_answers_and_says_so(copied: ProjectHarness) -> None:
    copied.lake.path("deployment", SMALL, ".json").unlink()
    asked = copied.raft_here("ask", SMALL, "What", "do", "bats", "eat?", "--json")
    assert asked.returncode == 0, asked.stderr
    assert "has no student yet: the baseline answers" in asked.stderr
    assert [answer["evaluated"] for answer in json.loads(asked.stdout)["answers"]] == ["baseline"]
    refused = copied.raft_here("ask", SMALL, "What do bats eat?", "--model", "student")
    assert refused.returncode == 2
    assert f"raft run '{SMALL}' trains one" in refused.stderr

    copied.lake.path("chunk_embeddings", SMALL).unlink()
    early = copied.raft_here("ask", SMALL, "What do bats eat?")
    assert early.returncode == 2
    assert "--select chunk_embeddings" in early.stderr


@pytest.fixture
def model() -> Iterator[Service]:
    service = Service()

    def answers(seen: Seen) -> Reply | None:
        return chat(ANSWER) if "messages" in seen.body else None

    service.rule = answers
    yield service
    service.stop()


def with_paid_baseline(project: ProjectHarness, model: Service) -> ProjectHarness:
    project.own_variables.clear()
    project.write(".env", f"BASELINE_OPENAI_BASE_URL={model.url}\nBASELINE_OPENAI_DEPLOYMENT=m\nRAFT_BUDGET_MONTH=5\n")
    project.write("prices.yaml", "- {model: m, input: 10, output: 20, source: ours, date: 2026-11-28}")
    return project


def test_a_paid_question_is_asked_for_first_counted_and_paid_once(copied: ProjectHarness, model: Service) -> None:
    project = with_paid_baseline(copied, model)
    asking = ("ask", SMALL, QUESTION, "--model", "baseline", "--json")
    refused = project.raft_here(*asking)
    assert refused.returncode == 2
    told = " ".join(refused.stderr.split())
    assert "BASELINE (m at http" in told
    assert "a call for each new question, at most US$ 0." in told
    assert model.seen == []

    first, second = (json.loads(project.raft_here(*asking, "--yes").stdout) for _ in range(2))
    assert first["answers"][0]["dollars"] == pytest.approx((10 * 10 + 3 * 20) / 1e6)
    assert (second["answers"][0]["dollars"], second["dollars"], second["answers"][0]["from_store"]) == (0, 0, True)
    assert len(model.seen) == 1
    assert "<DOCUMENT>" in model.questions[0]
    with open_call_store(project.opened) as store:
        rows = [
            row for row in ledger(store, PriceList(project.folder, project.opened.endpoints.values())) if row.dollars
        ]
    assert [(row.asset, row.domain, row.model) for row in rows] == [("ask", SMALL, "m")]
    assert project.raft_here("purge", SMALL, "--yes").returncode == 0
    with open_call_store(project.opened) as store:
        assert "ask" not in {call.origin.asset for call in store.calls()}


def test_what_is_shown_for_use_elsewhere_asks_no_model_and_holds_the_passages(
    copied: ProjectHarness, model: Service
) -> None:
    project = with_paid_baseline(copied, model)
    shown = project.raft_here("ask", SMALL, QUESTION, "--model", "baseline", "--show", "curl")
    assert shown.returncode == 0, shown.stderr
    assert f"curl -sS {model.url}/chat/completions" in shown.stdout
    assert shown.stdout.count("<DOCUMENT>") == project.opened.settings(SMALL).values.evaluation.top_k
    assert model.seen == []


@dataclass(frozen=True)
class Page:
    """The page as a browser, or somebody else, reaches it."""

    port: int

    def request(self, method: str, question: str = "", **headers: str) -> tuple[int, str, str]:
        """Status, content security policy and text of what comes back."""
        body = urllib.parse.urlencode({"question": question}) if method == "POST" else None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, "/", body, sent)
            told = connection.getresponse()
            return told.status, told.headers.get("Content-Security-Policy", ""), told.read().decode()


def test_the_page_answers_its_own_form_alone_and_escapes_what_documents_and_models_say(
    copied: ProjectHarness, model: Service
) -> None:
    project = with_paid_baseline(copied, model)
    port = free_port()
    process = project.start("ask", SMALL, "--serve", "--port", str(port), "--yes")
    try:
        wait_until(lambda: listens(port), "the page", process)
        page, here = Page(port), f"http://127.0.0.1:{port}"
        assert page.request("GET", Host="bank.example")[0] == 400
        assert page.request("POST", QUESTION)[0] == 403
        assert page.request("POST", QUESTION, Origin="http://bank.example")[0] == 403
        assert page.request("POST", QUESTION, Origin="null")[0] == 403
        assert page.request("POST", QUESTION, Origin=f"http://localhost:{port}")[0] == 403
        assert page.request("POST", QUESTION, Origin=here, Sec_Fetch_Site="cross-site")[0] == 403
        assert page.request("POST", "x" * 100_000, Origin=here)[0] == 400
        assert page.request("POST", " ", Origin=here)[0] == 422
        assert model.seen == []

        _, policy, opened = page.request("GET")
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src" not in policy
        assert "BASELINE (m at http" in opened  # what it costs
        status, _, shown = page.request("POST", QUESTION, Origin=here)
    finally:
        project.interrupt(process)
        process.communicate(timeout=180)
    assert status == 200
    assert len(model.seen) == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "&lt;b&gt;Mexican&lt;/b&gt;" in shown
    assert "<script" not in shown
    assert shown.count('<article class="') == 2
    assert '<mark class="quote">Bats fly.</mark>' in shown
