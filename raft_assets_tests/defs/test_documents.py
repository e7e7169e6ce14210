"""The checks of the documents group."""

import pytest

from raft_assets.defs.documents.assets import chunks_keep_their_maximum
from raft_assets.raft.tables import Chunk
from raft_assets.settings import ChunkSettings


@pytest.mark.parametrize(
    ("signature", "words", "passed"),
    [
        ("", 16, True),
        ("", 17, False),
        ("api_call: f()", 15, False),  # the text alone keeps the maximum
    ],
)
def test_a_chunk_that_shows_more_than_the_maximum_fails_the_check(signature: str, words: int, passed: bool) -> None:
    planted = Chunk(
        chunk_id="c", doc_id="d", path="a.md", kind="api", page_from=1, page_to=1, start=0, end=1, heading="",
        signature=signature, text=" ".join(["bat"] * words), tokens=1,
    )  # fmt: skip
    assert chunks_keep_their_maximum([planted], ChunkSettings(chunk_size=16, min_chunk_tokens=1)).passed is passed


def test_a_table_without_chunks_passes_the_check() -> None:
    assert chunks_keep_their_maximum([], ChunkSettings()).passed
