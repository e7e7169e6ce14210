"""The documents' assets: what a chunk's boundaries rest on."""

from pathlib import Path

import pytest

from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.defs.lineage_asset import settings_key
from raft_assets.defs.observation import observe_domain
from raft_assets.settings.project import Project
from raft_assets_tests.harness import ProjectHarness

BATS = "The noctule leaves its roost early in the evening and hunts high above the lake for beetles and moths. "
CRANES = "The harbour crane lifts steel containers onto ships, and its driver is paid by the authority every month. "


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    project = ProjectHarness(tmp_path)
    project.write("data/mine/one.txt", BATS * 3 + CRANES * 3)
    return project


def versions(project: ProjectHarness, **variables: str) -> dict[str, str]:
    """Data versions of the external assets by group."""
    place = Project.load(project.folder, {"RAFT_PROJECT": str(project.folder), **variables})
    return {seen.key.to_user_string(): seen.data_version for seen in observe_domain(place, "mine")}


def test_chunks_end_where_the_embedding_model_sees_another_subject(project: ProjectHarness) -> None:
    assert project.materialize("mine", "chunks")
    assert len(list(project.lake.rows(Chunk, "mine"))) == 1
    project.write("data/mine/domain.yaml", "chunks: {boundaries: semantic}")
    assert project.materialize("mine", "chunks")
    texts = [chunk.text for chunk in project.lake.rows(Chunk, "mine")]
    assert texts == [(BATS * 3).strip(), (CRANES * 3).strip()]


def test_the_embedding_model_matters_to_chunks_only_where_it_cuts_them(project: ProjectHarness) -> None:
    service = {"EMBEDDING_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    key = settings_key("chunks").to_user_string()

    def of_model(name: str) -> str:
        return versions(project, **service, EMBEDDING_OPENAI_DEPLOYMENT=name)[key]

    assert of_model("one") == of_model("other")
    project.write("data/mine/domain.yaml", "chunks: {boundaries: semantic}")
    assert of_model("one") != of_model("other")


def test_the_catalog_says_what_documents_leave_out_and_warns_of_unusual_shares(project: ProjectHarness) -> None:
    menu = "<nav><a href=/>Home of the harbour board</a></nav>"
    project.write("data/mine/usual.html", f"<body>{menu}<main><p>{BATS}</p></main>")
    project.write("data/mine/lost.html", f"<body><main><p>{BATS}</p></main><div><p>{CRANES * 4}</p></div>")
    assert project.materialize("mine", "source_documents")
    metadata = project.metadata("source_documents", "mine")
    lost = 4 * len(CRANES.split())
    assert (metadata["words_left_out"], metadata["unusual_losses"]) == (5 + lost, 1)
    assert f"| outside main | {lost} |" in metadata["left_out"]
    assert "| navigation | 5 |" in metadata["left_out"]
    rows = [line for line in metadata["left_out_by_document"].split("\n") if ".html" in line]
    assert ["lost.html" in rows[0], rows[0].endswith("| outside main |")] == [True, True]
    assert rows[1].endswith("|  |")
    left_out = {page.path: page.left_out for page in project.lake.rows(SourceDocument, "mine")}
    assert left_out == {"one.txt": {}, "usual.html": {"navigation": 5}, "lost.html": {"outside_main": lost}}


def test_what_a_document_leaves_out_is_no_part_of_its_digest(project: ProjectHarness) -> None:
    assert project.materialize("mine", "source_documents")
    before = project.lake.digest("source_documents", "mine")
    (page,) = project.lake.rows(SourceDocument, "mine")
    written = project.lake.write(SourceDocument, "mine", [page.model_copy(update={"left_out": {"navigation": 7}})])
    assert written.digest == before
