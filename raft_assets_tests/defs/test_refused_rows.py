"""Rows that a service refuses, all the way: they are lost with the service's words, and the assets are made."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raft_assets.core.tables import BaselineAnswer, Chunk, ChunkEmbedding, QAPair, RefusedChunk
from raft_assets.embedded.app import create_app
from raft_assets.llm.serve_app import serve_in_background
from raft_assets_tests.embedded.provider import settings_of
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "harbor"
REFUSED = "Gull Point"
TEXTS = {
    "harbour": "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance. Its captain was "
    "Edith Farrow, who had learned her trade in Leith. The work took eleven months, and it cost forty thousand pounds.",
    "lighthouse": "The lighthouse on Gull Point was built in 1871. Its lamp is lit by the keeper at dusk, because "
    "ships pass Gull Point by night. In 1902 the tower of Gull Point was painted red.",
    "mill": "The mill at Alba was built by Ann Bell in 1893. It ground barley for the villages of the valley. Its "
    "wheel was made of oak from the forest of Tarn, and it broke in the flood of 1921.",
}


class Refusing:
    """The embedded provider behind a gateway that refuses a word, in words that nobody knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []
        body, more = b"", scope["type"] == "http"
        while more:
            messages.append(await receive())
            body += messages[-1].get("body", b"")
            more = messages[-1].get("more_body", False)
        if REFUSED.encode() in body:
            self.refused += 1
            await JSONResponse({"detail": [{"loc": ["body", "messages"], "msg": "Zounds"}]}, 403)(scope, receive, send)
            return

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, again, send)


@contextlib.contextmanager
def refusing_service(folder: Path) -> Iterator[tuple[str, Refusing]]:
    app = Refusing(create_app(settings_of(folder)))
    with serve_in_background(app) as address:
        yield f"{address}/v1", app


GOLDEN = [
    {"id": "g1", "question": "When was the tower painted red?", "answers": ["1902"], "answerable": True},
    {"id": "g2", "question": "What is on Gull Point?", "answers": ["a lighthouse"], "answerable": True},
    {"id": "g3", "question": "Who built the mill?", "answers": ["Ann Bell"], "answerable": True},
]
EVIDENCE = {
    "g1": ["In 1902 the tower of Gull Point was painted red."],
    "g2": ["The lighthouse on Gull Point was built in 1871."],
    "g3": [],
}


def refusing_to_embed(project: ProjectHarness, url: str) -> None:
    for name, text in TEXTS.items():
        project.write(f"data/{DOMAIN}/{name}.md", f"# About the {name}\n\n{text}\n")
    project.own_variables = {
        "EMBEDDING_OPENAI_BASE_URL": url,
        "EMBEDDING_OPENAI_API_KEY": "x",
        "EMBEDDING_OPENAI_DEPLOYMENT": "embedded-encoder",
    }


def test_a_chunk_and_a_question_that_the_encoder_refuses_are_left_out_of_retrieval_alone(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    lines = [json.dumps(row | {"document": None, "evidence": EVIDENCE[str(row["id"])]}) for row in GOLDEN]
    project.write(f"data/{DOMAIN}/questions.jsonl", "\n".join(lines) + "\n")
    project.write(f"data/{DOMAIN}/domain.yaml", "dataset: {distractor_kind: hard, distractors: 1}\n")
    with refusing_service(tmp_path / "provider") as (url, _):
        refusing_to_embed(project, url)
        assert project.materialize(DOMAIN, "baseline_answers", "data_card"), project.last_failure()
    said = "EMBEDDING gave no vector: it refuses the text (messages: Zounds)."
    chunks = {chunk.chunk_id: chunk for chunk in project.lake.rows(Chunk, DOMAIN)}
    refused = list(project.lake.rows(RefusedChunk, DOMAIN))
    assert {REFUSED in chunks[row.chunk_id].text for row in refused} == {True}
    assert {row.reason for row in refused} == {said}
    embedded = {row.chunk_id for row in project.lake.rows(ChunkEmbedding, DOMAIN)}
    assert embedded | {row.chunk_id for row in refused} == chunks.keys()
    assert project.metadata("chunk_embeddings", DOMAIN)["without_vector"] == len(refused) == 1
    # no pair of it was asked for, because retrieval is a gate
    assert {pair.chunk_id for pair in project.lake.rows(QAPair, DOMAIN)} <= embedded
    assert any(pair.accepted for pair in project.lake.rows(QAPair, DOMAIN))
    answers = list(project.lake.rows(BaselineAnswer, DOMAIN))
    assert {answer.status for answer in answers} == {"ok"}
    arms = {name: {answer.arm for answer in answers if answer.question_id == name} for name in ("g1", "g2", "g3")}
    assert "retrieved" in arms["g1"] & arms["g3"]  # its chunk isn't found, and the question is asked all the same
    assert "main" in arms["g2"]
    assert "retrieved" not in arms["g2"]  # the service refuses the question
    retrieved = [answer for answer in answers if answer.arm == "retrieved"]
    assert refused[0].chunk_id not in {chunk for answer in retrieved for chunk in answer.document_chunk_ids}
    assert project.metadata("baseline_answers", DOMAIN)["questions_without_vector"] == 1
    card = (project.lake.read_lines("data_card", DOMAIN, "DATA_CARD.md")).decode()
    assert "1 chunks have no vector" in card
    assert said in card
    status = project.raft_here("status", DOMAIN, variables={"COLUMNS": "200"})
    assert f"chunks without a vector: 1, 1 of them because: {said}" in status.stdout
    assert json.loads(project.raft_here("status", DOMAIN, "--json").stdout)["chunks_without_vector"] == 1


def test_a_preview_shows_the_rows_of_the_chunks_that_have_a_vector(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    with refusing_service(tmp_path / "provider") as (url, _):
        refusing_to_embed(project, url)
        done = project.raft_here("preview", DOMAIN, "-n", "3", "--yes", variables={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert "row 1 of " in done.stdout
    assert "without a vector: 1 chunk: EMBEDDING gave no vector: it refuses the text" in done.stdout


def test_questions_answers_and_evaluation_go_on_without_the_rows_that_a_service_refuses(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path / "project")
    for name, text in TEXTS.items():
        project.write(f"data/{DOMAIN}/{name}.md", f"# About the {name}\n\n{text}\n")
    with refusing_service(tmp_path / "provider") as (url, service):
        project.own_variables = {
            **{f"{role}_OPENAI_BASE_URL": url for role in ("TEACHER", "BASELINE")},
            **{f"{role}_OPENAI_API_KEY": "x" for role in ("TEACHER", "BASELINE")},
            "TEACHER_OPENAI_DEPLOYMENT": "embedded-teacher",
            "BASELINE_OPENAI_DEPLOYMENT": "embedded-reader",
        }
        assert project.materialize(DOMAIN, "baseline_answers"), project.last_failure()
        assert service.refused
    pairs = list(project.lake.rows(QAPair, DOMAIN))
    lost = [pair for pair in pairs if pair.reason == "call_failed"]
    assert lost
    assert all("it refuses this request (403: messages: Zounds)" in pair.call_detail for pair in lost)
    assert any(pair.accepted for pair in pairs)
    answers = list(project.lake.rows(BaselineAnswer, DOMAIN))
    assert "ok" in {answer.status for answer in answers}
    assert all("messages: Zounds" in answer.detail for answer in answers if answer.status == "failed")
