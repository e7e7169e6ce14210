"""Where the subject of a text changes."""

from collections.abc import Iterable

import numpy as np
import pytest

from raft_assets.documents.semantic_boundaries import embedding_similarity

BATS, WAVES, NOTHING = (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)
VECTORS = {"bats": BATS, "waves": WAVES, "nothing": NOTHING, "many bats": (3.0, 0.0), "less": (0.6, 0.8)}


def embed(texts: Iterable[str]) -> list[np.ndarray]:
    return [np.array(VECTORS[text], np.float32) for text in texts]


def test_likeness_is_lowest_where_the_subject_changes() -> None:
    likeness = embedding_similarity(embed)(["bats", "bats", "bats", "waves", "waves", "waves"])
    half = 1 / np.sqrt(2)
    assert likeness == pytest.approx([1, half, 0, half, 1])


def test_two_sentences_on_either_side_are_compared_and_fewer_at_the_ends() -> None:
    likeness = embedding_similarity(embed)(["waves", "bats", "bats", "bats", "bats", "waves"])
    half = 1 / np.sqrt(2)
    # the third gap doesn't reach the waves at either end
    assert likeness == pytest.approx([0, half, 1, half, 0])


def test_longer_vectors_weigh_more_and_likeness_has_no_length() -> None:
    assert embedding_similarity(embed)(["many bats", "waves", "bats"])[1] == pytest.approx(3 / np.sqrt(10))
    assert embedding_similarity(embed)(["many bats", "less"]) == pytest.approx([0.6])


def test_a_sentence_that_says_nothing_is_like_nothing() -> None:
    assert embedding_similarity(embed)(["nothing", "bats"]) == [0.0]


@pytest.mark.parametrize("texts", [[], ["bats"]])
def test_fewer_than_two_texts_have_no_gap(texts: list[str]) -> None:
    assert embedding_similarity(embed)(texts) == []
