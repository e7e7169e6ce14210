"""Which sections of a domain keep the cuts that a version before gave them."""

from pathlib import Path

import pytest

from raft_assets.core.tables import Chunk
from raft_assets.dataset.manifest import Manifest
from raft_assets.documents.chunking import EVEN, STEADY
from raft_assets.llm.ledger import ledger
from raft_assets.llm.prices import PriceList
from raft_assets.operations.chunk_form import chunk_form_record, recorded_chunk_form, restore_chunk_form
from raft_assets.operations.rebuild import collect_inputs, restore_inputs
from raft_assets.settings.domain import ChunkSettings
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.documents.test_steady_cuts import prose, sentence
from raft_assets_tests.harness import ProjectHarness

DOMAIN, RECORD = "port", "chunk_form"
MAX_CALLS = 4  # about a chunk of which one question is asked: for questions and for answers, each once again
CRANES, LOCKS = ("\n\n".join(prose(start, 14)) for start in (1, 5000))
TEXT = f"## Cranes\n\n{CRANES}\n\n## Locks\n\n{LOCKS}"


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    project.write(f"data/{DOMAIN}/port.md", TEXT)
    return project


@pytest.fixture
def old(project: ProjectHarness) -> ProjectHarness:
    """A project whose chunks were cut by a version before, which wrote nothing down."""
    restore_chunk_form(project.lake, DOMAIN, {})
    assert project.materialize(DOMAIN, "chunks")
    project.lake.path(RECORD, DOMAIN, ".json").unlink()
    return project


def texts(project: ProjectHarness) -> list[str]:
    return [chunk.text for chunk in project.lake.rows(Chunk, DOMAIN)]


def teacher_calls(project: ProjectHarness) -> set[str]:
    with open_call_store(project.opened) as store:
        return {row.call for row in ledger(store, PriceList(project.folder)) if row.role == "TEACHER"}


def test_appending_to_a_text_asks_about_its_last_chunks_only(project: ProjectHarness) -> None:
    project.write(f"data/{DOMAIN}/port.md", CRANES)
    project.write(f"data/{DOMAIN}/domain.yaml", "questions: {questions_per_chunk: 1}\n")
    assert project.materialize(DOMAIN, "qa_pairs")
    before, calls = texts(project), teacher_calls(project)
    assert len(before) >= 7
    project.write(f"data/{DOMAIN}/port.md", f"{CRANES}\n\n{sentence(9999)} {sentence(9998)}")
    assert project.materialize(DOMAIN, "qa_pairs")
    new = set(texts(project)) - set(before)
    assert texts(project)[: len(before) - 2] == before[:-2]
    assert 1 <= len(new) <= 3
    assert len(teacher_calls(project) - calls) <= len(new) * MAX_CALLS


def test_a_new_domain_is_cut_steadily_throughout(project: ProjectHarness) -> None:
    assert recorded_chunk_form(project.lake, DOMAIN, ChunkSettings()) == STEADY
    assert project.materialize(DOMAIN, "chunks")
    assert chunk_form_record(project.lake, DOMAIN) == {"steady": True, "evenly": []}


def test_text_that_does_not_change_keeps_the_chunks_of_a_version_before(old: ProjectHarness) -> None:
    before, digest = texts(old), old.lake.digest("chunks", DOMAIN)
    assert old.materialize(DOMAIN, "chunks", force=True)
    assert old.lake.digest("chunks", DOMAIN) == digest
    assert chunk_form_record(old.lake, DOMAIN)["evenly"]

    added = f"{TEXT}\n\n{sentence(9999)}"
    old.write(f"data/{DOMAIN}/port.md", added)
    assert old.materialize(DOMAIN, "chunks")
    cranes = [text for text in before if text in f"## Cranes\n\n{CRANES}"]
    assert texts(old)[: len(cranes)] == cranes
    assert texts(old)[len(cranes) :] != before[len(cranes) :]

    old.write(f"data/{DOMAIN}/port.md", TEXT)  # the edit is taken back
    assert old.materialize(DOMAIN, "chunks")
    assert texts(old) == before


def test_a_project_that_is_previewed_before_it_runs_shows_the_chunks_of_the_run(old: ProjectHarness) -> None:
    before = recorded_chunk_form(old.lake, DOMAIN, ChunkSettings())
    assert not old.lake.exists(RECORD, DOMAIN, ".json")
    assert old.materialize(DOMAIN, "chunks", force=True)
    assert recorded_chunk_form(old.lake, DOMAIN, ChunkSettings()) == before != STEADY


def test_with_other_settings_all_is_cut_anew(old: ProjectHarness) -> None:
    old.write(f"data/{DOMAIN}/domain.yaml", "chunks: {chunk_size: 240}\n")
    assert old.materialize(DOMAIN, "chunks")
    assert chunk_form_record(old.lake, DOMAIN)["evenly"] == []


def test_a_manifest_restores_the_form_and_one_of_a_version_before_divides_evenly(old: ProjectHarness) -> None:
    assert old.materialize(DOMAIN, "chunks", force=True)
    inputs = collect_inputs(old.opened, DOMAIN).model_dump() | {"chunk_form": chunk_form_record(old.lake, DOMAIN)}
    manifest = Manifest(**inputs, domain=DOMAIN, splits={}, digests={"qa_dataset": "0"})
    assert Manifest.model_validate_json(manifest.model_dump_json()).chunk_form["evenly"]
    old.lake.path(RECORD, DOMAIN, ".json").unlink()
    restore_inputs(old.opened, old.lake, manifest, DOMAIN)
    assert chunk_form_record(old.lake, DOMAIN) == manifest.chunk_form

    of_before = manifest.model_copy(update={"chunk_form": {}})
    assert "chunk_form" not in of_before.model_dump_json()
    restore_inputs(old.opened, old.lake, of_before, DOMAIN)
    assert recorded_chunk_form(old.lake, DOMAIN, ChunkSettings()) == EVEN
