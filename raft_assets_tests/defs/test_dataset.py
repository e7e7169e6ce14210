"""RAFT rows as the lineage makes them: what a leak stops, and what stays where it is from run to run."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, RaftRow
from raft_assets_tests.builders import a_golden_question
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

AFTER_ROWS = ("training_files", "data_card", "finetuned_model", "baseline_answers", "student_answers", "eval_report")


def rows_of(project: ProjectHarness) -> list[RaftRow]:
    return list(project.lake.rows(RaftRow, SMALL))


def splits_of_units(project: ProjectHarness) -> dict[str, str]:
    return {row.unit: row.split for row in rows_of(project)}


def test_a_question_on_both_sides_stops_the_run_before_anything_is_written(copied: ProjectHarness) -> None:
    rows = rows_of(copied)
    trained, evaluated = (next(row for row in rows if row.split == split) for split in ("train", "eval"))
    pairs = [
        pair.model_copy(update={"question": f'"{trained.question.upper().rstrip("?")}" ...!'})
        if pair.question_id == evaluated.question_id
        else pair
        for pair in copied.lake.rows(QAPair, SMALL)
    ]
    copied.lake.write(QAPair, SMALL, pairs)
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    before = {name: copied.runs_of(name, SMALL) for name in AFTER_ROWS}
    files = {path: path.read_bytes() for path in copied.lake.path("qa_dataset", SMALL).parent.iterdir()}
    register = copied.lake.read_record("splits", SMALL)
    assert not copied.materialize(SMALL)
    assert {path: path.read_bytes() for path in copied.lake.path("qa_dataset", SMALL).parent.iterdir()} == files
    assert copied.lake.read_record("splits", SMALL) == register
    assert {name: copied.runs_of(name, SMALL) for name in AFTER_ROWS} == before
    assert copied.states(SMALL)["qa_dataset"].state == "failed"
    said = copied.failed_check("qa_dataset", "splits_share_nothing")
    assert said.pop("question_in_several_splits").startswith("1 ")
    assert set(said.values()) == {"0 "}


@dataclass
class Planted:
    """The domain's tables with a leak: one row of each side, and what is changed besides."""

    project: ProjectHarness

    def __post_init__(self) -> None:
        self.rows = rows_of(self.project)
        self.trained = next(row for row in self.rows if row.split == "train" and row.has_oracle)
        self.evaluated = next(row for row in self.rows if row.split == "eval")
        self.chunks = list(self.project.lake.rows(Chunk, SMALL))

    def change(self, **values: object) -> None:
        """Gives the training row other values."""
        self.rows[self.rows.index(self.trained)] = self.trained.model_copy(update=values)

    def show(self, chunk_id: str) -> None:
        """Puts the chunk in the place of the training row's first distractor."""
        shown = list(self.trained.document_chunk_ids)
        shown[0 if self.trained.oracle_index else 1] = chunk_id
        self.change(document_chunk_ids=shown)

    def copy_of_oracle(self) -> str:
        """A further chunk that says what the evaluation row's oracle says, in another document."""
        oracle = next(chunk for chunk in self.chunks if chunk.chunk_id == self.evaluated.chunk_id)
        copy = {"chunk_id": "copy", "doc_id": "other", "text": f"{oracle.text} Or so."}
        self.project.lake.write(Chunk, SMALL, [*self.chunks, oracle.model_copy(update=copy)])
        return "copy"

    def hold_out(self) -> None:
        """A golden question that came after the rows, about a chunk that is trained on."""
        golden = a_golden_question(self.trained.chunk_id)
        self.project.lake.write(GoldenQuestion, SMALL, [golden])


LEAKS: dict[str, tuple[str, Callable[[Planted], None]]] = {
    "the same document": ("unit_in_several_splits", lambda tables: tables.change(unit=tables.evaluated.unit)),
    "the same chunk": ("kin_in_several_splits", lambda tables: tables.change(chunk_id=tables.evaluated.chunk_id)),
    "a near-duplicate chunk": (
        "kin_in_several_splits", lambda tables: tables.change(chunk_id=tables.copy_of_oracle())
    ),
    "the same question": (
        "question_in_several_splits", lambda tables: tables.change(question=f"{tables.evaluated.question.upper()} ..."),
    ),
    "an oracle as distractor": ("eval_oracle_in_training", lambda tables: tables.show(tables.evaluated.chunk_id)),
    "a near-duplicate of an oracle as distractor": (
        "eval_oracle_in_training", lambda tables: tables.show(tables.copy_of_oracle()),
    ),
    "golden evidence": ("golden_evidence_in_training", Planted.hold_out),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "plant"), LEAKS.values(), ids=LEAKS.keys())
def test_rows_that_leak_by_whatever_way_are_never_trained_on(
    kind: str, plant: Callable[[Planted], None], copied: ProjectHarness
) -> None:
    tables = Planted(copied)
    plant(tables)
    copied.lake.write(RaftRow, SMALL, tables.rows)
    before = (copied.lake.path("training_files", SMALL, "") / "train.jsonl").read_bytes()
    assert not copied.materialize_only(SMALL, "training_files")
    said = copied.failed_check("training_files", "training_shares_nothing_with_evaluation")
    assert not said[kind].startswith("0 ")
    assert (copied.lake.path("training_files", SMALL, "") / "train.jsonl").read_bytes() == before


def test_documents_stay_where_they_are_until_other_shares_are_asked_for(copied: ProjectHarness) -> None:
    before = splits_of_units(copied)
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2, p: 0.5, min_eval_rows: 3}")
    assert copied.materialize(SMALL, "qa_dataset")
    assert splits_of_units(copied) == before
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2, p: 0.5, min_eval_rows: 3, eval_share: 0.6}")
    assert copied.materialize(SMALL, "qa_dataset")
    after = splits_of_units(copied)
    assert after != before
    assert sum(split == "eval" for split in after.values()) > sum(split == "eval" for split in before.values())


def test_a_deleted_document_is_in_no_row_and_the_others_stay_where_they_are(copied: ProjectHarness) -> None:
    before = {row.question_id: row.split for row in rows_of(copied)}
    document = min((copied.folder / "data" / SMALL).glob("*.txt"))
    gone = {chunk.chunk_id for chunk in copied.lake.rows(Chunk, SMALL) if chunk.path == document.name}
    assert any(gone & set(row.document_chunk_ids) for row in rows_of(copied))
    document.unlink()
    assert copied.materialize(SMALL, "qa_dataset")
    after = rows_of(copied)
    assert after
    assert not any(gone & {row.chunk_id, *row.document_chunk_ids} for row in after)
    # a question that was its duplicate may be a row now
    stayed = {row.question_id: row.split for row in after if row.question_id in before}
    assert len(stayed) > len(after) / 2
    assert stayed.items() <= before.items()


def test_a_corpus_too_small_for_its_distractors_says_so(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 50}")
    assert copied.materialize(SMALL, "qa_dataset")
    told, rows = copied.metadata("qa_dataset", SMALL), rows_of(copied)
    missing = [50 + (not row.has_oracle) - (len(row.documents) - row.has_oracle) for row in rows]
    assert told["distractors_asked"] - told["distractors_given"] == sum(missing)  # type: ignore[operator]
    assert told["rows_with_fewer_distractors"] == sum(map(bool, missing)) > 0
