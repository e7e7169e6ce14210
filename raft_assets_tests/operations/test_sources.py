"""What reading, cutting and embedding of a domain tell about a text that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.sources import embed_chunks
from raft_assets.settings.endpoints import Role
from raft_assets_tests.builders import a_chunk
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Service, error, vector


@pytest.fixture
def encoder() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


def test_a_chunk_that_the_embedding_model_does_not_take_is_named(tmp_path: Path, encoder: Service) -> None:
    project = ProjectHarness(tmp_path)
    project.own_variables = {"EMBEDDING_OPENAI_BASE_URL": encoder.url, "EMBEDDING_OPENAI_DEPLOYMENT": "small"}
    encoder.rule = lambda seen: (
        error(400, message="This model's maximum context length is 256 tokens, however you requested 700 tokens")
        if any(len(text) > 2000 for text in seen.body["input"])
        else None
    )
    chunks = [a_chunk("first", "Short."), a_chunk("second", "word " * 500, document="manual")]
    with ModelClients(project.opened).caller(Role.EMBEDDING) as caller:
        assert [one.tolist() for one in embed_chunks(caller, chunks[:1])] == [vector("Short.").tolist()]
        with pytest.raises(EndpointError) as raised:
            list(embed_chunks(caller, chunks))
    told = str(raised.value)
    place = f"manual.md, characters {chunks[1].start:,} to {chunks[1].end:,}"
    assert told.startswith(f"Chunk second ({place}) has no vector. EMBEDDING (model small at http://127.0.0.1:")
    assert "takes at most 256 tokens a text" in told
    assert "lower chunks.chunk_size" in told
