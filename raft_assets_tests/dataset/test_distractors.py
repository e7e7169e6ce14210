"""Picking distractors."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.tables import Chunk
from raft_assets.dataset import distractors
from raft_assets.dataset.distractors import DistractorKind, DistractorPool, pick_distractors
from raft_assets_tests.builders import a_chunk, prose

KINDS: tuple[DistractorKind, ...] = ("random", "hard")
MANY = [a_chunk(f"c{number}") for number in range(400)]


def vectors_of(chunks: Iterable[Chunk]) -> dict[str, np.ndarray]:
    drawn = {chunk.chunk_id: np.random.default_rng(list(chunk.chunk_id.encode())).normal(size=16) for chunk in chunks}
    return {name: vector / np.linalg.norm(vector) for name, vector in drawn.items()}


def picked(
    chunks: list[Chunk],
    *,
    count: int = 3,
    kind: DistractorKind = "random",
    question_id: str = "q",
    answer: str = "",
    **given: object,
) -> list[str]:
    vectors = given.pop("vectors", vectors_of(chunks))
    forbidden = given.pop("forbidden", frozenset())
    assert isinstance(vectors, Mapping)
    assert isinstance(forbidden, frozenset)
    pool = DistractorPool(chunks, vectors=vectors)
    return pick_distractors(
        chunks[0].chunk_id,
        pool=pool,
        count=count,
        kind=kind,
        seed=0,
        question_id=question_id,
        forbidden=forbidden,
        answer=answer,
    )


def test_a_chunk_without_a_vector_is_no_hard_negative_and_gets_random_ones() -> None:
    chunks = MANY[:300]
    without = {"c0", "c7", "c20"}
    vectors = {name: vector for name, vector in vectors_of(chunks).items() if name not in without}
    pool = DistractorPool(chunks, vectors=vectors)
    near = list(pool.near("c1"))
    assert len(near) > 200
    assert without.isdisjoint(near)
    assert list(pool.near("c0")) == []
    assert len(picked(chunks, kind="hard", vectors=vectors)) == 3  # the oracle c0 has none: random ones
    others = [chunk for chunk in chunks if chunk.chunk_id not in without]
    alone = DistractorPool(others, vectors=vectors)
    assert near == [name for name in alone.near("c1") if name in near][: len(near)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(size=st.integers(1, 12), count=st.integers(0, 6), banned=st.sets(st.integers(1, 11)))
def test_as_many_as_asked_for_are_picked_where_the_pool_holds_them(
    kind: DistractorKind, size: int, count: int, banned: set[int]
) -> None:
    chunks = MANY[:size]
    forbidden = frozenset(f"c{number}" for number in banned)
    got = picked(chunks, count=count, kind=kind, forbidden=forbidden)
    eligible = {chunk.chunk_id for chunk in chunks[1:]} - forbidden
    assert len(got) == len(set(got)) == min(count, len(eligible))
    assert set(got) <= eligible


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_near_duplicates_of_the_oracle_or_of_each_other_are_not_picked(kind: DistractorKind) -> None:
    oracle, other = prose("oracle", length=100), prose("other", length=100)
    texts = {
        "o": oracle,
        "copy": f" {oracle.upper()}",
        "near": f"{oracle} and more",
        "x": other,
        "x copy": other,
        "x near": f"so {other}",
    }
    got = picked([a_chunk(name, text) for name, text in texts.items()], count=5, kind=kind)
    assert len(got) == 1
    assert got[0].startswith("x")


@pytest.mark.parametrize("kind", KINDS)
def test_of_texts_that_resemble_one_another_in_a_row_the_ends_may_stand_together(kind: DistractorKind) -> None:
    words = prose("row", length=112).split()
    row = [a_chunk(name, " ".join(words[start : start + 100])) for name, start in (("o", 0), ("next", 6), ("end", 12))]
    assert picked(row, kind=kind) == ["end"]


def test_a_chunk_that_shares_text_with_the_oracle_or_another_one_picked_is_not_picked() -> None:
    spans = {"o": (0, 100), "shares": (99, 200), "touches": (100, 199), "elsewhere": (300, 400), "within": (310, 320)}
    chunks = [a_chunk(name).model_copy(update={"start": start, "end": end}) for name, (start, end) in spans.items()]
    got = picked(chunks, count=5)
    assert len(got) == 2
    assert set(got) in ({"touches", "elsewhere"}, {"touches", "within"})


def test_equal_texts_are_alike_even_where_nothing_less_is() -> None:
    chunks = [a_chunk("o", prose("text")), a_chunk("copy", prose("text").upper()), a_chunk("other")]
    pool = DistractorPool(chunks, near_duplicate=1.0)
    assert pool.are_near_duplicates("o", "copy")
    assert not pool.are_near_duplicates("o", "other")
    assert pool.group_of == {"copy": "copy", "o": "copy"}


def test_how_alike_the_same_text_must_be_is_a_setting() -> None:
    chunks = [a_chunk("o", prose("text", length=100)), a_chunk("longer", f"{prose('text', length=100)} and some more")]
    assert DistractorPool(chunks, near_duplicate=0.9).are_near_duplicates("o", "longer")
    assert not DistractorPool(chunks, near_duplicate=1.0).are_near_duplicates("o", "longer")
    half = [a_chunk("o", prose("text", length=100)), a_chunk("half", prose("text", length=50))]
    assert DistractorPool(half, near_duplicate=0.4).are_near_duplicates("o", "half")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["the Old Tower", "1926"])
def test_chunks_that_hold_the_answer_are_not_picked(kind: DistractorKind, answer: str) -> None:
    chunks = [
        a_chunk("o"),
        a_chunk("held", "In 1926 they built the old  tower."),
        a_chunk("apart", "The tower is old, of 19266 stones."),
    ]
    assert picked(chunks, kind=kind, answer=answer) == ["apart"]


def test_a_chunk_whose_signature_holds_the_answer_is_not_picked() -> None:
    # models are shown the signature of a description that continues in this chunk
    chunks = [a_chunk("o"), a_chunk("held").model_copy(update={"signature": "sha256(data)"}), a_chunk("apart")]
    assert picked(chunks, answer="sha256") == ["apart"]


def test_an_answer_of_stop_words_stands_everywhere_and_excludes_nothing() -> None:
    assert picked([a_chunk("o"), a_chunk("x", "No, there is none.")], answer="No.") == ["x"]


def test_hard_negatives_are_the_nearest_chunks_that_do_not_say_the_same() -> None:
    angles = {"o": 0, "same": 10, "near": 25, "nearer": 20, "far": 80}
    vectors = {name: np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) for name, angle in angles.items()}
    assert picked([a_chunk(name) for name in angles], count=2, kind="hard", vectors=vectors) == ["nearer", "near"]


def test_hard_negatives_come_nearest_first() -> None:
    angles = {"o": 0, "e": 80, "b": 30, "d": 60, "a": 20, "c": 45}
    vectors = {name: np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) for name, angle in angles.items()}
    assert picked([a_chunk(name) for name in angles], count=5, kind="hard", vectors=vectors) == list("abcde")


def test_neighbours_that_are_found_block_by_block_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = MANY[:30]
    oracles = [chunk.chunk_id for chunk in chunks]
    whole = DistractorPool(chunks, vectors=vectors_of(chunks))
    nearest = [list(whole.near(name)) for name in oracles]
    monkeypatch.setattr(distractors, "BLOCK_CELLS", 30 * 4)  # four chunks at a time
    in_blocks = DistractorPool(chunks, vectors=vectors_of(chunks))
    assert [list(in_blocks.near(name)) for name in oracles] == nearest


def test_all_of_a_larger_pool_can_be_picked() -> None:
    assert sorted(picked(MANY, count=len(MANY))) == sorted(chunk.chunk_id for chunk in MANY[1:])


def test_where_too_few_are_near_enough_to_be_hard_random_ones_follow() -> None:
    same = {name: np.array([1.0, 0.0]) for name in ("o", "a", "b")}
    assert sorted(picked([a_chunk(name) for name in same], count=2, kind="hard", vectors=same)) == ["a", "b"]


def test_hard_negatives_without_vectors_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="vectors"):
        pick_distractors(
            "c0", pool=DistractorPool(MANY), count=1, kind="hard", seed=0, question_id="q", forbidden=set(), answer=""
        )


def test_a_pool_of_nothing_gives_nothing() -> None:
    assert (
        pick_distractors(
            "o", pool=DistractorPool([]), count=3, kind="random", seed=0, question_id="q", forbidden=set(), answer=""
        )
        == []
    )


def picks_of(chunks: list[Chunk], questions: int, *, seed: int = 0) -> list[list[str]]:
    pool = DistractorPool(chunks)
    return [
        pick_distractors(
            "c0", pool=pool, count=3, kind="random", seed=seed, question_id=f"q{number}", forbidden=set(), answer=""
        )
        for number in range(questions)
    ]


def test_picks_do_not_depend_on_the_order_of_the_pool() -> None:
    assert picks_of(MANY[:50], 30) == picks_of(MANY[:50][::-1], 30)


def test_a_smaller_count_gives_the_first_of_a_larger() -> None:
    assert [picked(MANY, count=2, question_id=f"q{number}") for number in range(9)] == [
        picked(MANY, count=5, question_id=f"q{number}")[:2] for number in range(9)
    ]


@pytest.mark.parametrize("size", [20, 200])
def test_a_new_chunk_changes_about_its_share_of_picks_and_only_those_in_which_it_stands(size: int) -> None:
    before, after = picks_of(MANY[:size], 1000), picks_of(MANY[: size + 1], 1000)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert all(MANY[size].chunk_id in new for new in changed)
    # 3 of `size` on average; a chunk's four places on the ring make it up to about twice that
    assert 0 < len(changed) / 1000 < 3 / size * 2.5


def test_every_chunk_is_picked_and_none_much_more_often_than_others() -> None:
    counts = Counter(name for picks in picks_of(MANY[:50], 2000) for name in picks)
    assert len(counts) == 49
    assert max(counts.values()) < 4 * counts.total() / 49


def test_another_seed_or_question_picks_others() -> None:
    assert picks_of(MANY, 3) != picks_of(MANY, 3, seed=1)
    assert len(set(map(tuple, picks_of(MANY, 20)))) > 15
