"""Domains in other languages than English, from their documents to accepted pairs, with the teacher over the wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.prompt_contract import INSTRUCTIONS, instructions_in
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, SourceDocument
from raft_assets.llm.relearning import count_relearning
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import tells_languages
from raft_assets.operations.process import records_of
from raft_assets.pairs.gates import OFF
from raft_assets.pairs.questions import question_request
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import an_answer
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat

ENGLISH = (
    "The lighthouse on the northern pier was lit for the first time in 1884, and it is still the tallest one here."
)
GERMAN = "Der Leuchtturm auf der Nordmole wurde im Jahr 1884 zum ersten Mal angezündet, und er ist noch in Betrieb."
CHINESE = "北码头的灯塔于1884年首次点亮。它是这座城市中最高的建筑，居民们常常在周末来到这里散步和聊天。"
ASKED = {
    ENGLISH: ("When was the lighthouse on the northern pier first lit?", "in 1884"),
    GERMAN: ("Wann wurde der Leuchtturm auf der Nordmole zum ersten Mal angezündet?", "im Jahr 1884"),
    CHINESE: ("北码头的灯塔于哪一年首次点亮？", "1884年"),
}


def teach(seen: Seen) -> Reply | None:
    if "embeddings" in seen.path:
        return None
    text, (question, answer) = next((text, asked) for text, asked in ASKED.items() if text[:9] in seen.question)
    return chat(question if "Write 4 questions" in seen.question else an_answer(text.split("。")[0], answer))


@pytest.fixture
def teacher() -> Iterator[Service]:
    service = Service()
    service.rule = teach
    yield service
    service.stop()


@pytest.fixture
def project(tmp_path: Path, teacher: Service) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    roles = ("TEACHER", "EMBEDDING")
    project.own_variables = {f"{role}_OPENAI_BASE_URL": teacher.url for role in roles}
    project.own_variables |= {f"{role}_OPENAI_DEPLOYMENT": "m" for role in roles}
    return project


def a_domain(project: ProjectHarness, settings: str = "", **documents: str) -> str:
    for name, text in documents.items():
        project.write(f"data/port/{name}.txt", text)
    project.write("data/port/domain.yaml", f"questions: {{retrieval_top_k: 0, structured: 'off'}}\n{settings}")
    return "port"


def systems_of(teacher: Service) -> set[str]:
    """The instructions with which answers were asked for."""
    messages = [seen.body["messages"] for seen in teacher.seen if "messages" in seen.body]
    return {asked[0]["content"] for asked in messages if "Write 4" not in asked[-1]["content"]}


def test_every_document_chunk_and_pair_has_its_language_in_which_the_teacher_is_asked(
    project: ProjectHarness, teacher: Service
) -> None:
    domain = a_domain(project, a=CHINESE, b=GERMAN, c=ENGLISH)
    assert project.materialize(domain, "qa_pairs")
    expected = {"a.txt": "zh", "b.txt": "de", "c.txt": "en"}
    for model in (SourceDocument, Chunk, QAPair):
        assert {row.path: row.language for row in project.lake.rows(model, domain)} == expected
    pairs = {pair.language: pair for pair in project.lake.rows(QAPair, domain)}
    assert {code: pair.reason for code, pair in pairs.items()} == {"zh": "", "de": "", "en": ""}
    assert pairs["zh"].gates["support"] == pairs["de"].gates["quoted_support"] == "pass"
    assert pairs["zh"].gates["own_words"] == pairs["de"].gates["named"] == OFF
    assert systems_of(teacher) == {INSTRUCTIONS, instructions_in("de"), instructions_in("zh")}
    asked = [seen.question for seen in teacher.seen if "Write 4" in seen.question]
    assert [text.rpartition("\n")[2] for text in asked if "灯塔" in text] == [
        "Write them in Chinese, the language of the document."
    ]
    (english,) = (seen for seen in teacher.seen if "Write 4" in seen.question and "lighthouse" in seen.question)
    chunk = next(chunk for chunk in project.lake.rows(Chunk, domain) if chunk.path == "c.txt")
    untold = question_request(chunk.model_copy(update={"language": ""}), 4, QuestionSettings())
    assert english.body["messages"] == untold.body["messages"]


def test_the_language_of_a_domain_can_be_set_and_its_main_language_is_that_of_scraps(project: ProjectHarness) -> None:
    domain = a_domain(project, a=GERMAN, b="42\n\n1884")
    assert project.materialize(domain, "chunks")
    assert {row.path: row.language for row in project.lake.rows(Chunk, domain)} == {"a.txt": "de", "b.txt": "de"}
    project.write("data/port/domain.yaml", "documents: {language: no}\n")
    assert project.materialize(domain, "chunks")
    assert {row.language for row in project.lake.rows(Chunk, domain)} == {"no"}


def test_a_golden_question_is_in_the_language_of_its_oracle(project: ProjectHarness) -> None:
    domain = a_domain(project, a=CHINESE, b=GERMAN)
    project.write(
        "data/port/questions.jsonl",
        '{"id": "1", "question": "灯塔何时点亮？", "answers": ["1884年"], "evidence": ["1884年首次点亮"]}\n'
        '{"id": "2", "question": "Wie hoch ist der Turm auf der Mole?", "answerable": false}\n',
    )
    assert project.materialize(domain, "golden_questions")
    golden = {row.question_id: row for row in project.lake.rows(GoldenQuestion, domain)}
    assert (golden["1"].status, golden["1"].language, golden["2"].language) == ("resolved", "zh", "de")


def test_a_domain_whose_pairs_were_made_before_languages_were_told_apart_goes_on_as_it_was(
    project: ProjectHarness, teacher: Service
) -> None:
    domain = a_domain(project, a=GERMAN)
    project.lake.write_record("pair_form", domain, {"gate_set": 3, "relearned": 0, "structured": {}})
    assert project.materialize(domain, "qa_pairs")
    assert {row.language for row in project.lake.rows(Chunk, domain)} == {""}
    assert systems_of(teacher) == {INSTRUCTIONS}
    assert not any("Write them in" in seen.question for seen in teacher.seen)
    (pair,) = project.lake.rows(QAPair, domain)
    assert "language" not in pair.gates
    assert pair.language == ""


def test_relearning_tells_the_languages_of_such_a_domain(project: ProjectHarness) -> None:
    domain = a_domain(project, a=GERMAN)
    project.lake.write_record("pair_form", domain, {"gate_set": 3, "relearned": 0, "structured": {}})
    models = ModelClients(project.opened)
    assert not tells_languages(models, project.lake, domain)
    count_relearning(records_of(project.opened))
    assert tells_languages(models, project.lake, domain)


def test_a_preview_names_the_languages_of_the_documents(project: ProjectHarness) -> None:
    domain = a_domain(project, a=CHINESE, b=GERMAN)
    done = project.raft_here("preview", domain, "--yes")
    assert "languages: German 1, Chinese 1" in done.stdout, done.stderr
