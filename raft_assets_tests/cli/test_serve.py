"""`raft serve`: the students of a project by the OpenAI API, over a real socket with the official client."""

import html
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest

from raft_assets.core.prompt_contract import parse_answer, render_messages
from raft_assets.core.tables import StudentAnswer
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.defs.test_ui import wait_until
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.processes import free_port


@pytest.fixture(scope="module")
def client(finished: ProjectHarness) -> Iterator[openai.OpenAI]:
    port = free_port()
    process = finished.start("serve", "--port", str(port))
    try:
        wait_until(lambda: listens(port), "the server", process)
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
            yield client
    finally:
        finished.interrupt(process)
        process.communicate(timeout=180)


def test_the_student_answers_over_the_wire_as_it_did_in_the_evaluation(
    finished: ProjectHarness, client: openai.OpenAI
) -> None:
    model = finished.lake.read_record("deployment", SMALL)["model"]
    assert model in {listed.id for listed in client.models.list()}
    rows = [row for row in finished.lake.rows(StudentAnswer, SMALL) if row.arm == "main"][:5]
    for row in rows:
        told = client.chat.completions.create(model=model, messages=render_messages(row.question, row.documents))  # type: ignore[arg-type]
        assert parse_answer(told.choices[0].message.content or "").final_answer == row.final_answer


def test_the_reports_examples_are_answered_as_they_stand(finished: ProjectHarness, client: openai.OpenAI) -> None:
    page = finished.lake.path("eval_report", SMALL, ".html").read_text("utf-8")
    curl, python, answer = (
        html.unescape(text) for text in re.findall(r"<pre><code><bdi>(.*?)</bdi></code></pre>", page, re.DOTALL)
    )
    port = str(client.base_url.port)
    assert "http://127.0.0.1:8321/v1" in curl
    assert "http://127.0.0.1:8321/v1" in python
    asked = {"python": [sys.executable, "-c", python.replace("8321", port)]}
    if shutil.which("curl"):
        asked["curl"] = ["bash", "-c", curl.replace("8321", port)]
    for name, command in asked.items():
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        reply = done.stdout if name == "python" else json.loads(done.stdout)["choices"][0]["message"]["content"]
        assert reply.strip() == answer.strip()


def test_an_unknown_model_is_the_clients_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hello?"}])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_fault_that_is_none_is_told_before_anything_is_served(finished: ProjectHarness) -> None:
    told = finished.raft("serve", "--simulate", "--fault", "bad_luck=0.1")
    assert told.returncode == 2
    assert told.stderr.startswith("Error: There is no fault 'bad_luck': choose from rate_limit, ")
