"""Retrieval over a domain's own chunks: exact, and by clusters where they are many."""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pytest

from raft_assets.core.sentences import split_sentences
from raft_assets.core.vectors import Embedding, NoVector
from raft_assets.documents import clusters, retrieval
from raft_assets.documents.clusters import VectorClusters, assign_clusters
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.documents.retrieval import RetrievalRanks, VectorIndex, Vectors, normalize_vectors
from raft_assets.embedded.encoder import Encoder
from raft_assets.settings.domains import domain_names, list_documents
from raft_assets_tests.harness import SHIPPED

TOP_K = 5
MIN_RECALL = 0.99


def drawn(count: int, *, seed: int = 0, centres: int = 40, spread: float = 0.6) -> Vectors:
    """Unit vectors around some directions, as texts about some subjects have."""
    draw = np.random.default_rng(seed)
    middle = normalize_vectors(draw.standard_normal((centres, 64), np.float32))
    around = spread * normalize_vectors(draw.standard_normal((count, 64), np.float32))
    return normalize_vectors(middle[draw.integers(centres, size=count)] + around).astype(np.float32)


def names_of(vectors: Vectors) -> list[str]:
    return [f"c{number:06}" for number in range(len(vectors))]


def clustered(vectors: Vectors, names: list[str]) -> VectorIndex:
    assignment = assign_clusters(vectors)
    order = np.argsort(assignment, kind="stable")
    ordered = np.ascontiguousarray(vectors[order])
    found = VectorClusters(ordered, assignment[order])
    return VectorIndex([names[place] for place in order], ordered, clusters=found, is_normalized=True)


@cache
def sentences_of_shipped_domains() -> list[str]:
    """Some sentences of every shipped document."""
    found = dict[str, None]()
    for domain in domain_names(SHIPPED):
        for document in read_documents(list_documents(SHIPPED / domain)):
            if isinstance(document, ReadDocument):
                found.update(dict.fromkeys(split_sentences(document.document_text)))
    return [sentence for sentence in found if 30 < len(sentence) < 120][::8]


def test_ranks_in_blocks_are_those_of_comparing_one_question_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = drawn(700)
    vectors[100:140] = vectors[100]  # equal texts: rounding must not decide which comes first
    index, names = VectorIndex(names_of(vectors), vectors), names_of(vectors)
    questions = normalize_vectors(vectors + 1.5 * drawn(700, seed=1)) * 3  # of whatever length a model gives
    expected = [index.rank(vector, name) for vector, name in zip(questions, names, strict=True)]
    monkeypatch.setattr(retrieval, "BLOCK_CELLS", 10_000)
    ranks = index.ranks(questions, names, TOP_K)
    assert ranks == [rank if rank <= TOP_K else None for rank in expected]
    assert len(set(ranks)) > TOP_K - 1


def test_clusters_find_the_nearest_texts_of_our_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CLUSTER_VECTORS", 10)  # so many clusters that few of them are searched
    vectors = Encoder.load().encode(sentences_of_shipped_domains())
    assert len(vectors) > 200
    names = names_of(vectors)
    exact, approximate = VectorIndex(names, vectors), clustered(normalize_vectors(vectors), names)
    assert approximate.clusters is not None
    found = [len({*exact.nearest(vector, 10)} & {*approximate.nearest(vector, 10)}) / 10 for vector in exact.vectors]
    assert np.mean(found) >= MIN_RECALL


def test_clusters_give_the_same_ranks_twice_and_hardly_other_ones_than_comparing_all() -> None:
    vectors = drawn(6_000, centres=100)
    names = names_of(vectors)
    questions = normalize_vectors(vectors[::10] + 2 * drawn(600, seed=1))
    asked = names[::10]
    exact = VectorIndex(names, vectors).ranks(questions, asked, TOP_K)
    once, twice = (clustered(vectors, names).ranks(questions, asked, TOP_K) for _ in range(2))
    assert once == twice
    assert np.mean([one == other for one, other in zip(once, exact, strict=True)]) >= MIN_RECALL
    assert 0.1 < np.mean([rank is None for rank in exact]) < 0.9  # both verdicts are compared


class Encoding:
    """Embeds questions that are numbers of vectors, and refuses some."""

    def __init__(self, vectors: Vectors, refused: Iterable[str] = ()) -> None:
        self.vectors, self.refused = vectors, set(refused)
        self.embedded = list[str]()

    def embed(self, texts: Iterable[str]) -> Iterator[Embedding]:
        for text in texts:
            self.embedded.append(text)
            yield NoVector("it refuses the text.") if text in self.refused else self.vectors[int(text)]


@pytest.fixture
def encoding() -> Encoding:
    return Encoding(drawn(50), refused=["7"])


def test_a_question_has_a_rank_for_each_chunk_that_it_was_looked_up_with(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "QUESTIONS_AT_ONCE", 3)
    names = names_of(encoding.vectors)
    ranks = RetrievalRanks(VectorIndex(names, encoding.vectors, {"gone": "too long."}), encoding.embed, TOP_K)
    far = names[int(np.argmin(encoding.vectors @ encoding.vectors[3]))]
    ranks.look_up([*((str(number), name) for number, name in enumerate(names)), ("3", far), ("4", ""), ("5", "gone")])
    assert [ranks.rank_of(str(number), names[number]) for number in range(7)] == [1] * 7
    assert ranks.rank_of("3", far) is None
    assert ranks.rank_of("4", "") is None
    assert (ranks.rank_of("7", names[7]), ranks.reason_without("7", names[7])) == (None, "it refuses the text.")
    assert (ranks.rank_of("5", "gone"), ranks.reason_without("5", "gone")) == (None, "too long.")


def test_what_was_looked_up_is_not_embedded_again(encoding: Encoding) -> None:
    names = names_of(encoding.vectors)
    ranks = RetrievalRanks(VectorIndex(names, encoding.vectors), encoding.embed, TOP_K)
    ranks.look_up([("1", names[1]), ("7", names[7])])
    ranks.look_up([("1", names[1]), ("2", names[2]), ("7", names[7])])
    assert encoding.embedded == ["1", "7", "2"]
