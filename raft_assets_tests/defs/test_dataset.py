"""RAFT rows as the lineage makes them: what a leak stops, and what stays where it is from run to run."""

import dagster as dg

from raft_assets.raft.tables import Chunk, QAPair, RaftRow
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import Project

AFTER_ROWS = ("training_files", "data_card", "finetuned_model", "baseline_answers", "student_answers", "eval_report")


def rows_of(project: Project) -> list[RaftRow]:
    return list(project.lake.rows("qa_dataset", SMALL, RaftRow))


def splits_of_units(project: Project) -> dict[str, str]:
    return {row.unit: row.split for row in rows_of(project)}


def test_a_question_on_both_sides_stops_the_run_before_anything_is_written(copied: Project) -> None:
    rows = rows_of(copied)
    trained, evaluated = (next(row for row in rows if row.split == split) for split in ("train", "eval"))
    pairs = [
        pair.model_copy(update={"question": f'"{trained.question.upper().rstrip("?")}" ...!'})
        if pair.question_id == evaluated.question_id
        else pair
        for pair in copied.lake.rows("qa_pairs", SMALL, QAPair)
    ]
    copied.lake.write("qa_pairs", SMALL, pairs)
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}")
    before = {name: copied.runs_of(name, SMALL) for name in AFTER_ROWS}
    files = {path: path.read_bytes() for path in copied.lake.path("qa_dataset", SMALL).parent.iterdir()}
    register = copied.lake.read_record("splits", SMALL)
    assert not copied.materialize(SMALL)
    assert {path: path.read_bytes() for path in copied.lake.path("qa_dataset", SMALL).parent.iterdir()} == files
    assert copied.lake.read_record("splits", SMALL) == register
    assert {name: copied.runs_of(name, SMALL) for name in AFTER_ROWS} == before
    assert copied.states(SMALL)["qa_dataset"].state == "failed"
    check = dg.AssetCheckKey(dg.AssetKey("qa_dataset"), "splits_share_nothing")
    with copied.instance() as instance:
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    assert found.event is not None
    evaluation = found.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert (evaluation.passed, evaluation.blocking) == (False, True)
    said = {kind: str(value.value) for kind, value in evaluation.metadata.items()}
    assert said.pop("question_in_several_splits").startswith("1 ")
    assert set(said.values()) == {"0 "}


def test_documents_stay_where_they_are_until_other_shares_are_asked_for(copied: Project) -> None:
    before = splits_of_units(copied)
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2, p: 0.5, min_eval_rows: 3}")
    assert copied.materialize(SMALL, "qa_dataset")
    assert splits_of_units(copied) == before
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2, p: 0.5, min_eval_rows: 3, eval_share: 0.6}")
    assert copied.materialize(SMALL, "qa_dataset")
    after = splits_of_units(copied)
    assert after != before
    assert sum(split == "eval" for split in after.values()) > sum(split == "eval" for split in before.values())


def test_a_deleted_document_is_in_no_row_and_the_others_stay_where_they_are(copied: Project) -> None:
    before = {row.question_id: row.split for row in rows_of(copied)}
    document = sorted((copied.folder / "data" / SMALL).glob("*.txt"))[0]
    gone = {chunk.chunk_id for chunk in copied.lake.rows("chunks", SMALL, Chunk) if chunk.path == document.name}
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


def test_a_corpus_too_small_for_its_distractors_says_so(copied: Project) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 50}")
    assert copied.materialize(SMALL, "qa_dataset")
    told, rows = copied.metadata("qa_dataset", SMALL), rows_of(copied)
    missing = [50 + (not row.has_oracle) - (len(row.documents) - row.has_oracle) for row in rows]
    assert told["distractors_asked"] - told["distractors_given"] == sum(missing)  # type: ignore[operator]
    assert told["rows_with_fewer_distractors"] == sum(map(bool, missing)) > 0
