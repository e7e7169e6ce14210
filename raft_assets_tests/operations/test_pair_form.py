"""Whether a teacher is asked by JSON schemas, and which gates pairs pass: resolved once per domain, and kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raft_assets.core.tables import Chunk, QAPair
from raft_assets.dataset.manifest import Manifest
from raft_assets.llm.relearning import count_relearning
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.estimate import estimate_calls
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import PairForm, recorded_form, resolve_form, restore_form
from raft_assets.operations.process import records_of
from raft_assets.operations.rebuild import build_manifest
from raft_assets.pairs.gates import FIRST_GATE_SET, GATE_SET
from raft_assets.settings.endpoints import Role
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.builders import a_chunk
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat, error

DOMAIN = "port"
TEXT = (
    "# The port\n\nThe crane on quay 2 lifts 42 tonnes. It was built in 1907 by the firm of Anna Lowe.\n\n"
    "# The ferry\n\nThe ferry to Skerrow leaves at nine. Its captain is Ben Cole, who came from Halden in 1998.\n"
)
QUESTIONS = {
    "42 tonnes": "How much does the crane on quay 2 lift?",
    "Skerrow": "Who is the captain of the ferry to Skerrow?",
}
FINAL = {"crane": "42 tonnes", "captain": "Ben Cole"}


def text_reply(seen: Seen) -> Reply:
    """Answers of a service without JSON schemas."""
    if seen.path.endswith("/embeddings"):
        return None  # type: ignore[return-value]
    if "Write" in seen.question:
        return chat("\n".join(asked for word, asked in QUESTIONS.items() if word in seen.question))
    if "<DOCUMENT>" not in seen.question:
        return chat("The first lamp and the second one are named.")
    final, quote = next(
        (final, sentence)
        for word, final in FINAL.items()
        if word in seen.question.rsplit("\n", 1)[-1]
        for sentence in TEXT.replace("\n", ". ").split(". ")
        if final in sentence
    )
    return chat(f"It says ##begin_quote##{quote}##end_quote##\n<ANSWER>: {final}")


def structured_reply(seen: Seen) -> Reply:
    """Answers of a service that constrains its output where a schema is asked for."""
    schema = seen.body.get("response_format")
    if not schema:
        return text_reply(seen)
    if schema["json_schema"]["name"] == "questions":
        return chat(json.dumps({"questions": [asked for word, asked in QUESTIONS.items() if word in seen.question]}))
    if "<DOCUMENT>" not in seen.question:
        return chat(json.dumps({"reasoning": "Both.", "quotes": ["2", "3"], "final_answer": "two"}))
    final = next(final for word, final in FINAL.items() if word in seen.question.rsplit("\n", 1)[-1])
    numbers = [before.split("[")[-1] for before in seen.question.split(final)[0].split("] ")[:-1]]
    return chat(json.dumps({"reasoning": "It names it.", "quotes": numbers[-1:], "final_answer": final}))


def without_schemas(seen: Seen) -> Reply:
    if "response_format" in seen.body:
        return error(400, code="unsupported_parameter", param="response_format", message="no response_format")
    return text_reply(seen)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def service(running: Service) -> Service:
    running.forget()
    running.rule = structured_reply
    return running


@pytest.fixture
def project(service: Service, tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path)
    found.write(f"data/{DOMAIN}/port.md", TEXT)
    found.own_variables = {
        "TEACHER_OPENAI_BASE_URL": service.url,
        "TEACHER_OPENAI_DEPLOYMENT": "small",
        "TEACHER_OPENAI_API_KEY": "sk-test-1234567890",
    }
    return found


def probes(service: Service) -> int:
    """How often it was found out whether the service takes a schema."""
    return sum(
        "lighthouse has three lamps" in seen.question and "response_format" in seen.body for seen in service.seen
    )


def pairs_of(project: ProjectHarness) -> list[QAPair]:
    return list(project.lake.rows(QAPair, DOMAIN))


def form_of(project: ProjectHarness, **settings: Any) -> PairForm:
    models = ModelClients(project.opened)
    values = project.opened.settings(DOMAIN).values
    chosen = values.model_copy(update={"questions": values.questions.model_copy(update=settings)})
    chunks: list[Chunk] = [a_chunk("c", TEXT)]
    return resolve_form(models, project.lake, DOMAIN, chosen, chunks)


def test_where_the_service_takes_a_schema_pairs_are_asked_by_it_and_every_pair_says_so(
    project: ProjectHarness, service: Service
) -> None:
    assert project.materialize(DOMAIN, "qa_pairs")
    pairs = pairs_of(project)
    assert {pair.final_answer for pair in pairs} == set(FINAL.values())
    assert all(pair.structured and pair.accepted and pair.quotes for pair in pairs), pairs
    assert probes(service) == 1
    teacher_calls = [seen for seen in service.seen if seen.path.endswith("/chat/completions")]
    assert all(seen.body["response_format"]["json_schema"]["strict"] for seen in teacher_calls)
    assert "JSON schema" in str(project.metadata("qa_pairs", DOMAIN)["form"])
    assert project.not_fresh(DOMAIN).get("qa_pairs") is None, "finding it out makes nothing stale"
    manifest = (
        build_manifest(project.opened, project.lake, DOMAIN) if project.materialize(DOMAIN, "qa_dataset") else None
    )
    assert manifest is not None
    assert manifest.pair_form == {"structured": True, "gate_set": GATE_SET}

    asked = len(service.seen)
    service.rule = without_schemas  # what the service says later changes nothing
    assert project.materialize(DOMAIN, "qa_pairs", force=True)
    assert (pairs_of(project), len(service.seen)) == (pairs, asked)

    count_relearning(records_of(project.opened))
    assert project.not_fresh(DOMAIN)["qa_pairs"] == "stale"
    assert project.materialize(DOMAIN, "qa_pairs")
    assert {pair.structured for pair in pairs_of(project)} == {False}
    assert project.not_fresh(DOMAIN).get("qa_pairs") is None


def test_where_the_service_takes_none_pairs_are_asked_in_text(project: ProjectHarness, service: Service) -> None:
    service.rule = without_schemas
    assert project.materialize(DOMAIN, "qa_pairs")
    assert {(pair.structured, pair.accepted) for pair in pairs_of(project)} == {(False, True)}
    assert probes(service) == 1
    assert "text" in str(project.metadata("qa_pairs", DOMAIN)["form"])


def test_a_service_that_ignores_the_schema_is_asked_in_text(project: ProjectHarness, service: Service) -> None:
    service.rule = text_reply
    assert form_of(project) == PairForm(structured=False, gate_set=GATE_SET)


def test_off_asks_nothing_and_stays_in_text(project: ProjectHarness, service: Service) -> None:
    assert form_of(project, structured="off") == PairForm(structured=False, gate_set=GATE_SET)
    assert service.seen == []
    project.write(f"data/{DOMAIN}/domain.yaml", "questions: {structured: off}\n")
    assert project.materialize(DOMAIN, "qa_pairs")
    assert {pair.structured for pair in pairs_of(project)} == {False}
    assert probes(service) == 0


def test_a_domain_with_pairs_of_the_version_before_keeps_their_form_and_their_gates(
    project: ProjectHarness, service: Service
) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", "questions: {structured: off}\n")
    assert project.materialize(DOMAIN, "qa_pairs")
    project.lake.path("pair_form", DOMAIN, ".json").unlink()  # as the version before left it
    (project.folder / "data" / DOMAIN / "domain.yaml").unlink()
    asked = len(service.seen)
    assert form_of(project) == PairForm(structured=False, gate_set=FIRST_GATE_SET)
    assert form_of(project).record == {}
    assert len(service.seen) == asked


def test_questions_that_were_answered_in_text_are_not_asked_again(project: ProjectHarness, service: Service) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", "questions: {structured: off}\n")
    assert project.materialize(DOMAIN, "qa_pairs")
    project.lake.purge(
        DOMAIN, keep=("source_documents", "chunks", "chunk_embeddings")
    )  # as if it had been killed before
    (project.folder / "data" / DOMAIN / "domain.yaml").unlink()
    asked = len(service.seen)
    assert project.materialize(DOMAIN, "qa_pairs")
    assert {pair.structured for pair in pairs_of(project)} == {False}
    assert len(service.seen) == asked


def test_another_teacher_is_found_out_anew(project: ProjectHarness, service: Service) -> None:
    service.rule = without_schemas
    assert form_of(project).structured is False
    service.rule = structured_reply
    assert form_of(project).structured is False
    project.own_variables["TEACHER_OPENAI_DEPLOYMENT"] = "large"
    assert form_of(project).structured is True
    assert recorded_form(ModelClients(project.opened), project.lake, DOMAIN).structured is True


def test_the_embedded_teacher_is_asked_in_text_without_a_call(project: ProjectHarness, service: Service) -> None:
    project.own_variables = {"RAFT_PROVIDER": "embedded"}
    assert form_of(project) == PairForm(structured=False, gate_set=GATE_SET)
    with open_call_store(project.opened) as store:
        assert list(store.calls()) == []


def test_a_manifest_carries_the_form_and_one_of_an_earlier_version_the_first(
    project: ProjectHarness, service: Service
) -> None:
    models, lake = ModelClients(project.opened), project.lake
    restore_form(models, lake, DOMAIN, {"structured": True, "gate_set": GATE_SET})
    assert form_of(project) == PairForm(structured=True, gate_set=GATE_SET)
    restore_form(models, lake, DOMAIN, {})
    assert form_of(project) == PairForm()
    assert service.seen == []
    content = {
        "files": {},
        "settings": {},
        "versions": {},
        "models": {},
        "packages": {},
        "domain": DOMAIN,
        "splits": {},
    }
    manifest = Manifest.model_validate({**content, "digests": {"qa_dataset": "0"}})
    assert "pair_form" not in manifest.model_dump_json(), "it stays as the version before wrote it"


def test_what_a_preview_found_out_is_known_to_an_estimate(project: ProjectHarness, service: Service) -> None:
    assert project.raft_here("preview", DOMAIN).returncode == 0
    asked = len(service.seen)
    models = ModelClients(project.opened)
    teacher = next(
        one for one in estimate_calls(models, DOMAIN, read_corpus(models, DOMAIN)) if one.role is Role.TEACHER
    )
    assert (teacher.calls, teacher.stored) == (0, asked - 1)  # the probe is of no pair
    assert len(service.seen) == asked
