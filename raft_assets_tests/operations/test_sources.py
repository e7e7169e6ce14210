"""What reading, cutting and embedding of a domain tell about a text that fails."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.core.tables import Chunk
from raft_assets.core.vectors import Embedding, NoVector
from raft_assets.documents.semantic_boundaries import embedding_similarity
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.sources import embed_chunks, to_refused_chunk
from raft_assets.settings.endpoints import Role
from raft_assets_tests.builders import a_chunk
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Service, error, vector


@pytest.fixture
def encoder() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


def embeddings(folder: Path, encoder: Service, chunks: list[Chunk]) -> dict[str, Embedding]:
    project = ProjectHarness(folder)
    project.own_variables = {"EMBEDDING_OPENAI_BASE_URL": encoder.url, "EMBEDDING_OPENAI_DEPLOYMENT": "small"}
    with ModelClients(project.opened).caller(Role.EMBEDDING) as caller:
        return {chunk.chunk_id: embedding for chunk, embedding in embed_chunks(caller, chunks)}


def test_a_chunk_that_the_embedding_model_does_not_take_goes_without_a_vector(tmp_path: Path, encoder: Service) -> None:
    encoder.rule = lambda seen: (
        error(400, message="This model's maximum context length is 256 tokens, however you requested 700 tokens")
        if any(len(text) > 2000 for text in seen.body["input"])
        else None
    )
    chunks = [a_chunk("first", "Short."), a_chunk("second", "word " * 500, document="manual")]
    made = embeddings(tmp_path, encoder, chunks)
    first, second = made["first"], made["second"]
    assert not isinstance(first, NoVector)
    assert first.tolist() == vector("Short.").tolist()
    assert isinstance(second, NoVector)
    assert "takes at most 256 tokens a text" in second.reason
    assert "lower chunks.chunk_size" in second.reason
    refused = to_refused_chunk(chunks[1], second)
    assert (refused.chunk_id, refused.path, refused.reason) == ("second", "manual.md", second.reason)


def test_a_domain_of_which_no_chunk_has_a_vector_stops_with_the_reason(tmp_path: Path, encoder: Service) -> None:
    encoder.rule = lambda _: error(400, code="content_filter", message="violence")
    with pytest.raises(EndpointError, match=r"No chunk has a vector.*refuses the text \(violence\)"):
        embeddings(tmp_path, encoder, [a_chunk("first", "Short."), a_chunk("second", "Long.")])


def test_semantic_boundaries_do_without_a_sentence_that_has_no_vector() -> None:
    vectors = {"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 1.0], "d": [0.0, 1.0]}

    def embed(texts: Iterable[str]) -> Iterator[Embedding]:
        for text in texts:
            yield np.array(vectors[text], np.float32) if text in vectors else NoVector("it refuses the text")

    likeness = embedding_similarity(embed)
    without = likeness(["a", "b", "refused", "c", "d"])
    assert without[1] == without[2] == 0
    assert without[0] == 1
    assert likeness(["refused", "also refused"]) == [0]
