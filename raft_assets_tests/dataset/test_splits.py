"""Splits."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.dataset.related_chunks import find_related_chunks
from raft_assets.dataset.splits import SplitPlan, assign_splits, describe_shortage
from raft_assets.settings.domain import DatasetSettings
from raft_assets_tests.builders import a_chunk, a_corpus, a_pair, pairs_of, prose

SMALL = DatasetSettings(min_eval_rows=4, min_valid_rows=2)


def plan_of(
    chunks: list[Chunk],
    settings: DatasetSettings = SMALL,
    *,
    pairs: list[QAPair] | None = None,
    golden: frozenset[str] = frozenset(),
    register: dict[str, str] | None = None,
) -> SplitPlan:
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    return assign_splits(
        pairs_of(chunks) if pairs is None else pairs,
        by_id,
        related=find_related_chunks(by_id, settings.near_duplicate),
        golden_chunk_ids=golden,
        settings=settings,
        register=register or {},
    )


def rows_per_split(plan: SplitPlan, pairs: list[QAPair]) -> Counter[str | None]:
    return Counter(plan.split_of(pair) for pair in pairs)


def test_documents_are_the_unit_where_they_give_every_split_its_rows() -> None:
    chunks = a_corpus(20)
    plan = plan_of(chunks)
    assert plan.unit_name == "document"
    splits_of_document = {(chunk.doc_id, plan.splits[chunk.chunk_id]) for chunk in chunks}
    assert len(splits_of_document) == 20
    rows = rows_per_split(plan, pairs_of(chunks))
    assert (rows["eval"], rows["valid"], rows["train"]) == (40, 16, 104)


@pytest.mark.parametrize(("documents", "sections", "unit"), [(8, 2, "document"), (2, 8, "section"), (1, 1, "chunk")])
def test_the_unit_is_the_coarsest_that_gives_every_split_its_minimum(documents: int, sections: int, unit: str) -> None:
    assert plan_of(a_corpus(documents, chunks=16, sections=sections)).unit_name == unit


@pytest.mark.parametrize(
    ("least", "unit"),
    [
        ({"min_eval_rows": 40}, "document"),
        ({"min_eval_rows": 88}, "document"),  # beyond its share, and training keeps half of its own
        ({"min_eval_rows": 107}, "chunk"),  # no unit gives as many, and then the finest is taken
        ({"min_valid_rows": 16}, "document"),
        ({"min_valid_rows": 17}, "chunk"),
    ],
)
def test_exactly_the_minimum_of_rows_is_enough(least: dict[str, int], unit: str) -> None:
    assert plan_of(a_corpus(20), SMALL.model_copy(update=least)).unit_name == unit


@given(documents=st.integers(1, 12), each=st.integers(1, 4), least=st.integers(1, 60), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_evaluation_has_its_minimum_or_the_reason_is_told(documents: int, each: int, least: int, seed: int) -> None:
    chunks, wanted = a_corpus(documents), DatasetSettings(min_eval_rows=least, seed=seed)
    pairs = pairs_of(chunks, each=each)
    rows = rows_per_split(plan_of(chunks, wanted, pairs=pairs), pairs)
    counts = {f"{split}_rows": rows[split] for split in ("train", "valid", "eval")}
    told = describe_shortage(counts | {"dropped": {}, "eval_passages": 1}, wanted)
    if least <= len(pairs) // 3:  # a third is above the share, and leaves training more than half of its own
        assert rows["eval"] >= least
    assert bool(told) == (rows["eval"] < least)
    assert rows["train"] >= 1
    assert not told or f"({least})" in told


def test_validation_is_wanted_where_it_has_a_share_even_without_a_minimum() -> None:
    plan = plan_of(a_corpus(2), DatasetSettings(min_eval_rows=1, min_valid_rows=0))
    assert plan.unit_name == "section"  # two documents would be one to evaluate and one to train
    assert set(plan.splits.values()) == {"eval", "valid", "train"}


def test_a_unit_that_leaves_training_less_than_half_its_share_is_too_coarse() -> None:
    chunks = documents_of(49, 32, 19)
    units = set()
    for seed in range(30):
        plan = plan_of(chunks, SMALL.model_copy(update={"seed": seed}), pairs=pairs_of(chunks, each=1))
        rows = rows_per_split(plan, pairs_of(chunks, each=1))
        assert rows["train"] >= 0.5 * 0.65 * 100
        units.add(plan.unit_name)
    assert {"document"} < units  # by some draws, half of the rows would evaluate and a fifth validate


def documents_of(*sizes: int) -> list[Chunk]:
    return [a_chunk(f"d{size}.{number}", document=f"d{size}") for size in sizes for number in range(size)]


def test_what_evaluation_still_needs_comes_from_the_document_that_fits_best() -> None:
    # a tenth is wanted: 4 rows are too few, and either of the others is too much, the smaller one the less so
    chunks = documents_of(4, 48, 52)
    settings = DatasetSettings(min_eval_rows=10, eval_share=0.1, valid_share=0)
    for seed in range(12):
        plan = plan_of(chunks, settings.model_copy(update={"seed": seed}), pairs=pairs_of(chunks, each=1))
        assert rows_per_split(plan, pairs_of(chunks, each=1)) == {"eval": 52, "train": 52}


def test_something_is_left_to_train_on_however_large_the_other_shares_are() -> None:
    chunks = a_corpus(3)
    plan = plan_of(chunks, DatasetSettings(min_eval_rows=4, eval_share=0.9, valid_share=0))
    assert rows_per_split(plan, pairs_of(chunks)) == {"eval": 16, "train": 8}


def test_a_unit_that_overshoots_the_share_by_what_is_missing_is_taken() -> None:
    chunks = a_corpus(6, chunks=1)  # two rows each: a quarter of them is three
    settings = DatasetSettings(min_eval_rows=1, min_valid_rows=1, eval_share=0.25)
    assert rows_per_split(plan_of(chunks, settings), pairs_of(chunks))["eval"] == 4


def test_a_document_that_is_most_of_the_corpus_never_leaves_training_without_rows() -> None:
    chunks = a_corpus(5, chunks=2) + [a_chunk(f"big {number}", document="big") for number in range(40)]
    for seed in range(20):
        settings = SMALL.model_copy(update={"seed": seed})
        rows = rows_per_split(plan_of(chunks, settings), pairs_of(chunks))
        assert rows["train"] > rows["eval"] >= SMALL.min_eval_rows


def test_two_pairs_of_two_chunks_are_enough_and_none_is_validated() -> None:
    chunks = a_corpus(1, chunks=2)
    assert rows_per_split(plan_of(chunks), pairs_of(chunks, each=1)) == {"eval": 1, "train": 1}


def test_three_chunks_give_every_split_a_row() -> None:
    chunks = a_corpus(1, chunks=3)
    assert rows_per_split(plan_of(chunks), pairs_of(chunks, each=1)) == {"eval": 1, "valid": 1, "train": 1}


@pytest.mark.parametrize("accepted", [[], [True], [True, False]])
def test_too_few_pairs_are_an_error_that_counts_them_and_says_what_to_do(accepted: list[bool]) -> None:
    chunks = a_corpus(1, chunks=2)
    pairs = [a_pair(chunk, accepted=is_accepted) for chunk, is_accepted in zip(chunks, accepted, strict=False)]
    with pytest.raises(DataError, match=rf"{sum(accepted)} accepted question pairs .*add documents"):
        plan_of(chunks, pairs=pairs)


def test_rejected_pairs_count_for_nothing() -> None:
    chunks = a_corpus(20)
    rejected = [a_pair(chunk, 9, accepted=False) for chunk in chunks[:40]]
    assert plan_of(chunks, pairs=pairs_of(chunks) + rejected) == plan_of(chunks)


def test_no_validation_is_wanted_where_its_share_is_nought() -> None:
    chunks = a_corpus(20)
    plan = plan_of(chunks, SMALL.model_copy(update={"valid_share": 0.0}))
    assert plan.unit_name == "document"
    assert set(plan.splits.values()) == {"eval", "train"}


def test_documents_with_near_duplicate_chunks_share_a_unit_and_a_split() -> None:
    chunks = a_corpus(20)
    shared = prose("shared", length=100)
    chunks += [a_chunk(f"shared {number}", f"{shared} {number}", document=f"d{number}") for number in (3, 8, 13)]
    plan = plan_of(chunks)
    assert len({plan.units[f"c{document}.0"] for document in (3, 8, 13)}) == 1
    assert len({plan.splits[f"c{document}.0"] for document in (3, 8, 13)}) == 1
    assert not plan.dropped


def test_a_near_duplicate_that_nothing_was_asked_of_joins_no_documents() -> None:
    chunks = a_corpus(20)
    notice = [a_chunk(f"notice {number}", prose("notice"), document=f"d{number}") for number in range(20)]
    assert plan_of(chunks + notice, pairs=pairs_of(chunks)).splits == plan_of(chunks).splits


def test_cloze_questions_never_evaluate() -> None:
    chunks = a_corpus(20)
    pairs = pairs_of(chunks) + [a_pair(chunk, 7, kind="cloze") for chunk in chunks]
    plan = plan_of(chunks, pairs=pairs)
    kept = [pair for pair in pairs if plan.split_of(pair) == "eval"]
    assert kept
    assert {pair.kind for pair in kept} == {"what"}
    assert plan.dropped == {
        "cloze_in_eval": sum(plan.splits[pair.chunk_id] == "eval" for pair in pairs if pair.kind == "cloze")
    }


def test_a_chunk_of_cloze_questions_alone_may_stand_beside_a_training_question() -> None:
    chunks = a_corpus(20)
    cloze = {chunk.chunk_id for chunk in chunks[::4]}  # one of each document
    pairs = [a_pair(chunk, kind="cloze" if chunk.chunk_id in cloze else "what") for chunk in chunks]
    plan = plan_of(chunks, pairs=pairs)
    assert plan.held_out == {name for name, split in plan.splits.items() if split == "eval"} - cloze


def test_a_document_of_cloze_questions_alone_is_no_candidate_for_evaluation() -> None:
    chunks = a_corpus(20)
    pairs = [a_pair(chunk, kind="cloze" if number < 40 else "what") for number, chunk in enumerate(chunks)]
    for seed in range(5):
        plan = plan_of(chunks, SMALL.model_copy(update={"seed": seed}), pairs=pairs)
        assert plan.dropped == {}
        assert rows_per_split(plan, pairs)["eval"] == 12  # of the 40 that may evaluate, by documents of four


def test_rows_that_golden_questions_keep_from_learning_fill_no_validation() -> None:
    chunks = a_corpus(20)
    golden = frozenset(chunk.chunk_id for chunk in chunks[:40])
    for seed in range(5):
        plan = plan_of(chunks, SMALL.model_copy(update={"seed": seed}), golden=golden)
        assert rows_per_split(plan, pairs_of(chunks))["valid"] == 8  # a tenth of the 80 that may be learned from


def test_golden_evidence_and_what_resembles_it_is_not_trained_on_and_nothing_else_is_held_out() -> None:
    chunks = a_corpus(20)
    trained = next(
        chunk for chunk, split in zip(chunks, plan_of(chunks).splits.values(), strict=True) if split == "train"
    )
    copy = a_chunk("copy", trained.text + " or so", document=trained.doc_id)
    chunks.append(copy)
    pairs = pairs_of(chunks)
    plan = plan_of(chunks, golden=frozenset({trained.chunk_id}))
    assert {pair.chunk_id for pair in pairs if plan.split_of(pair) is None} == {trained.chunk_id, "copy"}
    assert plan.dropped == {"golden_evidence": 4}
    assert {trained.chunk_id, "copy"} <= plan.held_out


def test_reasons_to_drop_rows_are_counted_in_the_order_of_their_names() -> None:
    chunks = a_corpus(20)
    splits = plan_of(chunks).splits
    trained = next(name for name, split in splits.items() if split == "train")
    cloze = [a_pair(chunk, 7, kind="cloze") for chunk in chunks]
    pairs = sorted(pairs_of(chunks) + cloze, key=lambda pair: pair.chunk_id != trained)  # golden evidence comes first
    plan = plan_of(chunks, pairs=pairs, golden=frozenset({trained}))
    assert list(plan.dropped) == ["cloze_in_eval", "golden_evidence"]


def test_golden_evidence_stays_in_evaluation() -> None:
    chunks = a_corpus(20)
    evaluated = next(name for name, split in plan_of(chunks).splits.items() if split == "eval")
    assert plan_of(chunks, golden=frozenset({evaluated})).split_of(a_pair(a_chunk(evaluated))) == "eval"


def test_what_evaluates_and_what_resembles_it_is_withheld_from_training_rows() -> None:
    chunks = a_corpus(20)
    first = next(name for name, split in plan_of(chunks).splits.items() if split == "eval")
    original = next(chunk for chunk in chunks if chunk.chunk_id == first)
    unasked = [
        a_chunk("copy", f"{original.text} or so", document="another"),
        a_chunk("other", document=original.doc_id),
    ]
    plan = plan_of(chunks + unasked, pairs=pairs_of(chunks))
    evaluated = {name for name, split in plan.splits.items() if split == "eval"}
    assert plan.held_out == evaluated | {"copy"}


@settings(deadline=None)
@given(added=st.integers(1, 6), seed=st.integers(0, 5), documents=st.integers(4, 12))
def test_adding_documents_moves_nothing_that_is_registered(added: int, seed: int, documents: int) -> None:
    settings = SMALL.model_copy(update={"seed": seed})
    chunks = a_corpus(documents + added)
    before = plan_of(chunks[: documents * 4], settings)
    after = plan_of(chunks, settings, register=dict(before.register))
    assert {name: after.splits[name] for name in before.splits} == before.splits
    assert after.unit_name == before.unit_name
    assert before.register.items() <= after.register.items()


def test_a_deleted_document_that_comes_back_has_the_split_that_it_had() -> None:
    chunks = a_corpus(20)
    before = plan_of(chunks)
    without = plan_of(chunks[4:], register=dict(before.register))
    assert plan_of(chunks, register=dict(without.register)).splits == before.splits


def test_a_near_duplicate_between_registered_documents_drops_the_training_side() -> None:
    chunks = a_corpus(20)
    before = plan_of(chunks)
    document_of = {before.splits[chunk.chunk_id]: chunk.doc_id for chunk in chunks}
    shared = [a_chunk(f"shared {split}", prose("shared"), document=document) for split, document in document_of.items()]
    chunks += shared
    plan = plan_of(chunks, register=dict(before.register))
    assert [plan.split_of(a_pair(chunk)) for chunk in shared if chunk.doc_id != document_of["eval"]] == [None, None]
    assert plan.split_of(a_pair(next(chunk for chunk in shared if chunk.doc_id == document_of["eval"]))) == "eval"
    assert plan.dropped == {"near_duplicate_in_other_split": 4}
    assert {name: plan.splits[name] for name in before.splits} == before.splits
    splits_of_unit = {(plan.units[name], split) for name, split in plan.splits.items() if name not in plan.drop_reasons}
    assert len({unit for unit, _ in splits_of_unit}) == len(splits_of_unit)


def test_a_new_document_that_resembles_registered_ones_evaluates_where_one_of_them_does() -> None:
    chunks = a_corpus(20)
    before = plan_of(chunks)
    document_of = {before.splits[chunk.chunk_id]: chunk.doc_id for chunk in chunks}
    documents = [document_of["eval"], document_of["train"], "new"]
    shared = [a_chunk(f"shared {document}", prose("shared"), document=document) for document in documents]
    new = a_chunk("apart", document="new")
    plan = plan_of([*chunks, *shared, new], register=dict(before.register))
    assert plan.splits["apart"] == plan.splits["shared new"] == "eval"


def test_a_register_that_leaves_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="too few for training and evaluation"):
        plan_of(a_corpus(2), register={"document:d0": "eval", "document:d1": "valid"})


def test_a_finer_unit_keeps_what_its_document_was_registered_as() -> None:
    register = {"document:d0": "eval", "document:d1": "eval"}
    chunks = a_corpus(2)
    with pytest.raises(DataError):
        plan_of(chunks, register=register)
    chunks = a_corpus(3)
    plan = plan_of(chunks, register=register)
    assert {plan.splits[chunk.chunk_id] for chunk in chunks if chunk.doc_id != "d2"} == {"eval"}
    assert {plan.splits[chunk.chunk_id] for chunk in chunks if chunk.doc_id == "d2"} == {"valid", "train"}
    assert plan.unit_name != "document"
    assert not plan.register.keys() & register.keys()


def test_the_order_of_pairs_and_chunks_does_not_matter() -> None:
    chunks = a_corpus(10)
    assert plan_of(chunks[::-1], pairs=pairs_of(chunks)[::-1]).splits == plan_of(chunks).splits


def test_another_seed_makes_other_splits() -> None:
    chunks = a_corpus(20)
    assert plan_of(chunks, SMALL.model_copy(update={"seed": 1})).splits != plan_of(chunks).splits
