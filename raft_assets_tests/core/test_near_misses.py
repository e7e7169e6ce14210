"""What is offered to somebody who mistyped a name."""

import pytest

from raft_assets.core.near_misses import did_you_mean

KNOWN = ["bats", "harbor handbook", "Übersicht", "chunk_embeddings"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("bat", " Did you mean 'bats'?"),
        ("BATS", " Did you mean 'bats'?"),
        ("harbour handbook", " Did you mean 'harbor handbook'?"),
        ("u\u0308bersicht", " Did you mean 'Übersicht'?"),
        ("embeddings", " Did you mean 'chunk_embeddings'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_what_is_like_it_is_named(typed: str, offered: str) -> None:
    assert did_you_mean(typed, KNOWN) == offered
