"""RAFT rows and the check for leaks."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import ABSTENTION, ABSTENTION_ANSWER
from raft_assets.core.similarity import contains_phrase
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, RaftRow
from raft_assets.dataset.leakage import LeakageCheck, LeakageError, check_leakage
from raft_assets.dataset.rows import Assembly, assemble_rows
from raft_assets.documents.chunking import chunk_document
from raft_assets.settings.domain import ChunkSettings, DatasetSettings
from raft_assets_tests.builders import a_chunk, a_corpus, a_golden_question, a_pair, pairs_of, prose
from raft_assets_tests.documents.test_chunking import markdown

SMALL = DatasetSettings(min_eval_rows=4, min_valid_rows=2)
CORPUS = a_corpus(30)


def assembled(
    chunks: list[Chunk],
    pairs: list[QAPair] | None = None,
    *golden: str,
    register: Mapping[str, str] | None = None,
    **changed: object,
) -> Assembly:
    vectors = {chunk.chunk_id: np.eye(1, 1000, number, dtype=np.float32).ravel() for number, chunk in enumerate(chunks)}
    configured = SMALL.model_copy(update=changed)
    return assemble_rows(
        pairs_of(chunks) if pairs is None else pairs,
        chunks,
        vectors,
        [a_golden_question(*golden)],
        configured,
        register or {},
    )


def leaks(rows: list[RaftRow], golden: list[GoldenQuestion], chunks: list[Chunk]) -> dict[str, list[str]]:
    check = LeakageCheck(golden)
    for row in rows:
        check.add(row)
    return check.findings(check.exposed({chunk.chunk_id: chunk for chunk in chunks}))


@pytest.fixture(scope="module")
def rows() -> list[RaftRow]:
    return list(assembled(CORPUS).rows())


def test_rows_are_those_of_the_accepted_pairs_sorted(rows: list[RaftRow]) -> None:
    pairs = pairs_of(CORPUS)
    rejected = [a_pair(CORPUS[0], 9, accepted=False)]
    again = list(assembled(CORPUS, pairs[::-1] + rejected).rows())
    assert again == rows
    assert [row.question_id for row in rows] == sorted(pair.question_id for pair in pairs)


def test_a_row_shows_its_oracle_among_the_distractors_in_an_order_by_draw(rows: list[RaftRow]) -> None:
    texts = {chunk.chunk_id: chunk.text for chunk in CORPUS}
    for row in rows:
        assert row.documents == [texts[name] for name in row.document_chunk_ids]
        assert len(set(row.document_chunk_ids)) == 1 + SMALL.distractors
        assert row.has_oracle == (row.chunk_id in row.document_chunk_ids) == (row.oracle_index is not None)
        assert row.oracle_index is None or row.document_chunk_ids[row.oracle_index] == row.chunk_id
    assert {row.oracle_index for row in rows if row.has_oracle} == {0, 1, 2, 3}


@pytest.mark.parametrize("p", [0.0, 0.5, 0.8, 1.0])
def test_p_is_the_share_of_train_and_valid_rows_with_their_oracle_and_evaluation_always_has_it(p: float) -> None:
    made = list(assembled(CORPUS, pairs_of(CORPUS, each=20), p=p).rows())
    learned = [row.has_oracle for row in made if row.split != "eval"]
    # four standard deviations of a share of 1500 draws
    assert np.mean(learned) == pytest.approx(p, abs=4 * (p * (1 - p) / len(learned)) ** 0.5)
    assert all(row.has_oracle for row in made if row.split == "eval")


def test_a_row_without_its_oracle_abstains_and_no_document_holds_the_answer(rows: list[RaftRow]) -> None:
    finals = {pair.question_id: pair.final_answer for pair in pairs_of(CORPUS)}
    without = [row for row in rows if not row.has_oracle]
    assert without
    for row in without:
        assert (row.answer, row.final_answer) == (ABSTENTION_ANSWER, ABSTENTION)
        assert not any(contains_phrase(document, finals[row.question_id]) for document in row.documents)


def test_a_row_without_its_oracle_keeps_its_answer_where_the_setting_says_so() -> None:
    answers = {pair.question_id: (pair.answer, pair.final_answer) for pair in pairs_of(CORPUS)}
    made = list(assembled(CORPUS, without_oracle="answer").rows())
    assert not all(row.has_oracle for row in made)
    assert all((row.answer, row.final_answer) == answers[row.question_id] for row in made)


def test_a_row_for_which_there_is_no_distractor_keeps_its_oracle() -> None:
    chunks = [a_chunk(name, f"The old tower stands {name}.") for name in ("here", "there")]
    pairs = [a_pair(chunk) for chunk in chunks]  # "The old" stands in both
    assert [row.has_oracle for row in assembled(chunks, pairs, p=0.0).rows()] == [True, True]


def test_a_small_corpus_gives_fewer_distractors_and_says_so() -> None:
    assembly = assembled(a_corpus(1, chunks=3), p=1.0)
    made = list(assembly.rows())
    assert max(len(row.documents) for row in made) <= 3
    assert assembly.summary["distractors_asked"] == 3 * len(made)
    assert assembly.summary["distractors_given"] == sum(len(row.documents) - 1 for row in made)
    assert assembly.summary["rows_with_fewer_distractors"] == len(made)


def test_the_summary_counts_what_the_rows_hold(rows: list[RaftRow]) -> None:
    assembly = assembled(CORPUS)
    assert list(assembly.rows()) == list(assembly.rows()) == rows
    summary = assembly.summary
    assert [summary[f"{split}_rows"] for split in ("train", "valid", "eval")] == [
        sum(row.split == split for row in rows) for split in ("train", "valid", "eval")
    ]
    learned = [row for row in rows if row.split != "eval"]
    assert summary["share_without_oracle"] == sum(not row.has_oracle for row in learned) / len(learned)
    assert (summary["unit"], summary["dropped"]) == ("document", {})
    json.dumps(summary)


def test_hard_distractors_are_the_nearest_chunks() -> None:
    chunks = a_corpus(30)
    angles = {chunk.chunk_id: number * 0.02 for number, chunk in enumerate(chunks)}
    vectors = {name: np.array([np.cos(angle), np.sin(angle)]) for name, angle in angles.items()}
    configured = SMALL.model_copy(update={"distractor_kind": "hard", "p": 1.0})
    for row in assemble_rows(pairs_of(chunks), chunks, vectors, [], configured, {}).rows():
        distances = [
            abs(angles[name] - angles[row.chunk_id]) for name in row.document_chunk_ids if name != row.chunk_id
        ]
        assert len(distances) == 3
        assert min(distances) > 0.31  # cosine below 0.95
        assert row.split != "eval" or max(distances) < 0.37


def test_too_few_pairs_are_an_error() -> None:
    with pytest.raises(DataError):
        assembled(CORPUS, [])


def a_document(name: str) -> list[Chunk]:
    """The chunks of a document of some sections, cut as the lineage cuts them."""
    sentences = [prose(f"{name} {number}", length=12).capitalize() + "." for number in range(60)]
    sections = [f"## Part {start}\n\n" + " ".join(sentences[start : start + 10]) for start in range(0, 60, 10)]
    read = markdown("\n\n".join(sections))
    placed = [page.model_copy(update={"doc_id": name, "path": f"{name}.md"}) for page in read.pages]
    return chunk_document(replace(read, pages=tuple(placed)), ChunkSettings(chunk_size=60, min_chunk_tokens=8))


FOLDER = [a_document(f"d{number}") for number in range(30)]


def rows_of_folder(
    documents: list[list[Chunk]], kind: str, register: Mapping[str, str]
) -> tuple[dict[str, RaftRow], Mapping[str, str]]:
    """The rows by question, and the register for the next time."""
    chunks = [chunk for document in documents for chunk in document]
    drawn = {chunk.chunk_id: np.random.default_rng(list(chunk.text.encode())).normal(size=32) for chunk in chunks}
    vectors = {name: vector / np.linalg.norm(vector) for name, vector in drawn.items()}
    configured = SMALL.model_copy(update={"distractor_kind": kind})
    assembly = assemble_rows(pairs_of(chunks), chunks, vectors, [], configured, register)
    return {row.question_id: row for row in assembly.rows()}, assembly.plan.register


@pytest.mark.parametrize("kind", ["random", "hard"])
@pytest.mark.parametrize("place", [0, 29])
def test_a_document_that_comes_or_goes_changes_at_most_its_share_of_rows(kind: str, place: int) -> None:
    own = {chunk.chunk_id for chunk in FOLDER[place]}
    finals = {pair.question_id: pair.final_answer for document in FOLDER for pair in pairs_of(document)}
    without, register = rows_of_folder(FOLDER[:place] + FOLDER[place + 1 :], kind, {})
    added, register = rows_of_folder(FOLDER, kind, register)
    deleted, _ = rows_of_folder(FOLDER[:place] + FOLDER[place + 1 :], kind, register)
    assert deleted == without
    changed = [name for name, row in without.items() if added[name] != row]
    shown = [name for row in added.values() if row.chunk_id not in own for name in row.document_chunk_ids]
    # each of the others' places is the document's as often as any other chunk's, give or take
    share = len(own) / len({chunk.chunk_id for document in FOLDER for chunk in document})
    assert 0 < sum(name in own for name in shown) / len(shown) < 2 * share
    assert 0 < len(changed) / len(without) < 2 * share * (SMALL.distractors + 1)
    for name, before in without.items():
        after = added[name]
        assert (after.split, after.unit, after.has_oracle, after.answer) == (
            before.split,
            before.unit,
            before.has_oracle,
            before.answer,
        )
        # a new chunk that is drawn and refused, because it holds the answer, uses up its draw
        refused = any(contains_phrase(chunk.text, finals[name]) for chunk in FOLDER[place])
        assert after == before or own & set(after.document_chunk_ids) or refused
        stayed = set(after.document_chunk_ids) & set(before.document_chunk_ids)
        assert [chunk for chunk in after.document_chunk_ids if chunk in stayed] == [
            chunk for chunk in before.document_chunk_ids if chunk in stayed
        ]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Chunk], list[QAPair], list[str]]:
    """Chunks that share texts and near-duplicates across documents, pairs of most of them, and golden evidence."""
    texts = [prose(str(number)) for number in range(12)]
    places = st.tuples(st.integers(0, 11), st.sampled_from(["", "", " and more", "\n"]), st.integers(0, 6))
    chunks = [
        a_chunk(f"c{number}", texts[text] + suffix, document=f"d{document}", heading=f"h{document % 2}")
        for number, (text, suffix, document) in enumerate(draw(st.lists(places, min_size=6, max_size=24)))
    ]
    kinds = st.lists(st.sampled_from(["what", "what", "cloze"]), max_size=3)
    pairs = [a_pair(chunk, place, kind=kind) for chunk in chunks for place, kind in enumerate(draw(kinds))]
    golden = draw(st.sets(st.sampled_from([chunk.chunk_id for chunk in chunks]), max_size=3))
    return chunks, pairs, sorted(golden)


@settings(deadline=None)
@given(
    corpus=corpora(),
    seed=st.integers(0, 3),
    minimum=st.integers(1, 4),
    p=st.sampled_from([0.0, 0.5, 1.0]),
    register=st.dictionaries(
        st.integers(0, 6).map("document:d{}".format), st.sampled_from(["train", "valid", "eval"]), max_size=4
    ),
)
def test_nothing_ever_leaks(
    corpus: tuple[list[Chunk], list[QAPair], list[str]], seed: int, minimum: int, p: float, register: dict[str, str]
) -> None:
    chunks, pairs, golden = corpus
    changed = {"seed": seed, "min_eval_rows": minimum, "min_valid_rows": minimum, "p": p}
    try:
        assembly = assembled(chunks, pairs, *golden, register=register, **changed)
    except DataError:
        return
    made = list(assembly.rows())
    found = leaks(made, [a_golden_question(*golden)], chunks)
    assert not any(found.values()), found
    assert not any(row.kind == "cloze" for row in made if row.split == "eval")
    assert len(made) + sum(assembly.plan.dropped.values()) == len(pairs)


def trained(rows: list[RaftRow]) -> RaftRow:
    return next(row for row in rows if row.split == "train" and row.has_oracle)


def evaluated(rows: list[RaftRow]) -> RaftRow:
    return next(row for row in rows if row.split == "eval")


def showing(row: RaftRow, chunk_id: str) -> RaftRow:
    """The row with its first distractor replaced."""
    names = list(row.document_chunk_ids)
    names[next(place for place in range(len(names)) if place != row.oracle_index)] = chunk_id
    return row.model_copy(update={"document_chunk_ids": names})


PLANTS: dict[str, Callable[[list[RaftRow]], RaftRow]] = {
    "unit_in_several_splits": lambda rows: trained(rows).model_copy(update={"unit": evaluated(rows).unit}),
    "question_in_several_splits": lambda rows: trained(rows).model_copy(
        update={"question": evaluated(rows).question.upper()}
    ),
    "kin_in_several_splits": lambda rows: trained(rows).model_copy(update={"chunk_id": evaluated(rows).chunk_id}),
    "eval_oracle_in_training": lambda rows: showing(trained(rows), evaluated(rows).chunk_id),
    "golden_evidence_in_training": lambda rows: showing(trained(rows), "golden"),
}
OTHERS = [a_chunk("golden"), a_chunk("golden copy", a_chunk("golden").text + " or so")]


def test_clean_rows_have_no_leak_of_any_kind(rows: list[RaftRow]) -> None:
    kinds = {*PLANTS, "golden_question_in_training"}
    assert leaks(rows, [a_golden_question("golden")], CORPUS + OTHERS) == {kind: [] for kind in kinds}


def test_passages_of_golden_questions_train_where_the_protocol_says_so_with_other_questions_only() -> None:
    pairs = pairs_of(CORPUS, each=6)
    drawn = assemble_rows(pairs, CORPUS, None, [], SMALL, {})
    evidence = next(chunk_id for chunk_id, split in drawn.plan.splits.items() if split == "train")
    golden = GoldenQuestion.model_validate(
        a_golden_question(evidence).model_dump() | {"question": f"What does {evidence} hold at place 0?"}
    )
    asked_again = [pair for pair in pairs if pair.chunk_id == evidence]
    others = [pair for pair in pairs if pair.chunk_id != evidence]
    alike = asked_again[1].model_copy(update={"question": f"At place 0, what does {evidence.upper()} hold"})
    different = asked_again[2].model_copy(update={"question": "Which wave meets the crane behind the moth?"})

    def made(protocol: str) -> tuple[Assembly, list[RaftRow]]:
        configured = SMALL.model_copy(update={"protocol": protocol, "distractor_kind": "random"})
        assembly = assemble_rows(
            [asked_again[0], alike, different, *others], CORPUS, None, [golden], configured, drawn.plan.register
        )
        return assembly, list(check_leakage(assembly.rows(), [golden], assembly.chunks, configured.protocol))

    unseen, held_out = made("unseen_passages")
    assert not any(evidence in row.document_chunk_ids for row in held_out if row.split != "eval")
    seen, shown = made("seen_passages")
    assert seen.summary["dropped"]["like_golden_question"] == 2
    assert [row.question for row in shown if row.chunk_id == evidence] == [different.question]
    assert any(evidence in row.document_chunk_ids for row in shown if row.split != "eval")
    assert "like_golden_question" not in unseen.summary["dropped"]


def test_a_golden_question_that_trains_is_a_leak_where_its_passage_may(rows: list[RaftRow]) -> None:
    planted = trained(rows).model_copy(update={"question": "what would a person ask"})
    by_id = {chunk.chunk_id: chunk for chunk in CORPUS + OTHERS}
    passing = check_leakage([*rows, planted], [a_golden_question("golden")], by_id, "seen_passages")
    with pytest.raises(LeakageError, match=r"\(golden_question_in_training\)"):
        list(passing)


@pytest.mark.parametrize(("kind", "plant"), PLANTS.items(), ids=PLANTS.keys())
def test_a_planted_leak_is_found(kind: str, plant: Callable[[list[RaftRow]], RaftRow], rows: list[RaftRow]) -> None:
    found = leaks([*rows, plant(rows)], [a_golden_question("golden")], CORPUS + OTHERS)
    assert len(found[kind]) == 1


def test_rows_pass_as_they_come_and_a_leak_is_an_error_behind_the_last(rows: list[RaftRow]) -> None:
    by_id = {chunk.chunk_id: chunk for chunk in CORPUS}
    assert list(check_leakage(rows, [], by_id)) == rows
    planted = PLANTS["eval_oracle_in_training"](rows)
    passing = check_leakage([*rows, planted], [], by_id)
    assert [next(passing) for _ in range(len(rows) + 1)] == [*rows, planted]
    with pytest.raises(LeakageError, match=r"leaks into training \(eval_oracle_in_training\): nothing was written"):
        next(passing)


def test_a_near_duplicate_across_splits_is_found(rows: list[RaftRow]) -> None:
    copy = a_chunk("copy", evaluated(rows).documents[evaluated(rows).oracle_index or 0] + " or so")
    planted = trained(rows).model_copy(update={"chunk_id": "copy"})
    found = leaks([*rows, planted], [], [*CORPUS, copy])
    assert {kind for kind, finds in found.items() if finds} == {
        "kin_in_several_splits",
        "eval_oracle_in_training",
    }


def test_a_near_duplicate_of_golden_evidence_in_training_is_found(rows: list[RaftRow]) -> None:
    planted = showing(trained(rows), "golden copy")
    found = leaks([*rows, planted], [a_golden_question("golden")], CORPUS + OTHERS)
    assert [kind for kind, finds in found.items() if finds] == ["golden_evidence_in_training"]
    assert "golden copy" in found["golden_evidence_in_training"][0]


def test_evaluation_rows_may_show_what_training_rows_show(rows: list[RaftRow]) -> None:
    found = leaks([*rows, showing(evaluated(rows), trained(rows).chunk_id)], [], CORPUS)
    assert not any(found.values())


def test_text_that_two_chunks_share_stays_on_one_side_of_the_splits() -> None:
    sentences = [" ".join(prose(f"{number}", length=12).split()).capitalize() + "." for number in range(240)]
    sections = [
        f"## Part {number // 12}\n\n" + " ".join(sentences[number : number + 12]) for number in range(0, 240, 12)
    ]
    how = ChunkSettings(chunk_size=100, chunk_overlap=50, min_chunk_tokens=8)
    chunks = chunk_document(markdown("\n\n".join(sections)), how)
    assert sum(later.start < earlier.end for earlier, later in pairwise(chunks)) > 20
    made = list(assembled(chunks).rows())
    spans = {chunk.chunk_id: range(chunk.start, chunk.end) for chunk in chunks}
    evaluated = [spans[row.chunk_id] for row in made if row.split == "eval"]
    learned = [spans[name] for row in made if row.split != "eval" for name in (row.chunk_id, *row.document_chunk_ids)]
    assert evaluated
    assert learned
    assert not any(one.start < other.stop and other.start < one.stop for one in evaluated for other in learned)
    for row in made:
        oracle = spans[row.chunk_id]
        others = [spans[name] for name in row.document_chunk_ids if name != row.chunk_id]
        assert not any(oracle.start < other.stop and other.start < oracle.stop for other in others)
    assert not any(leaks(made, [], chunks).values())


def test_overlapping_text_across_splits_is_found(rows: list[RaftRow]) -> None:
    oracle = next(chunk for chunk in CORPUS if chunk.chunk_id == evaluated(rows).chunk_id)
    other = a_chunk("other").model_copy(
        update={"doc_id": oracle.doc_id, "start": oracle.end - 5, "end": oracle.end + 99}
    )
    planted = trained(rows).model_copy(update={"chunk_id": "other"})
    found = leaks([*rows, planted], [], [*CORPUS, other])
    assert {kind for kind, finds in found.items() if finds} == {"kin_in_several_splits", "eval_oracle_in_training"}
