"""The whole lineage over a small domain: one command, nothing twice, and only what changed."""

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from raft_assets.core.tables import BaselineAnswer, Chunk, QAPair, RaftRow, StudentAnswer
from raft_assets.defs.observation import DOCUMENTS
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

EVERY_ASSET = {
    "source_documents", "chunks", "chunk_embeddings", "golden_questions", "qa_pairs", "qa_dataset", "training_files",
    "data_card", "finetuned_model", "deployment", "baseline_answers", "student_answers",
    "judged_answers", "eval_scores", "eval_report",
}  # fmt: skip
ANSWERS = {"baseline_answers", "student_answers"}


def test_one_command_materializes_every_asset_and_tells_the_verdict(finished: ProjectHarness) -> None:
    assert set(finished.states(SMALL)) == EVERY_ASSET
    assert finished.not_fresh(SMALL) == {}
    said = " ".join((finished.folder / "stdout.txt").read_text("utf-8").split())
    assert finished.results.verdicts()[SMALL]["sentence"] in said
    assert "no language model" in said
    report = finished.lake.path("eval_report", SMALL, ".html")
    assert finished.results.verdicts()[SMALL]["sentence"] in report.read_text("utf-8")
    assert SMALL in finished.lake.index_path.read_text("utf-8")


def test_the_student_learned_something(finished: ProjectHarness) -> None:
    summary = finished.results.history(SMALL, "token_f1")
    main = summary[(summary["arm"] == "main") & (summary["source"] == "generated")].iloc[0]
    assert main["student"] > main["baseline"]
    tuned = finished.lake.read_record("finetuned_model", SMALL)
    losses = [train for _, train, _ in tuned["loss"] if train is not None]
    assert losses[-1] < losses[0]


def test_the_run_shows_in_dagster_with_its_metadata(finished: ProjectHarness) -> None:
    with finished.instance() as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(tags={"dagster/partition": SMALL}))
        assert {run.job_name for run in runs} == {"lineage"}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    rows = len(list(finished.lake.rows(Chunk, SMALL)))
    assert finished.metadata("chunks", SMALL)["dagster/row_count"] == rows
    for asset in EVERY_ASSET:
        values = finished.metadata(asset, SMALL).values()
        assert max(len(str(value)) for value in values) < 10_000, f"{asset} weighs on the event log"


def test_every_row_can_be_traced_to_its_chunk_and_its_calls(finished: ProjectHarness) -> None:
    chunks = {chunk.chunk_id: chunk for chunk in finished.lake.rows(Chunk, SMALL)}
    pairs = {pair.question_id: pair for pair in finished.lake.rows(QAPair, SMALL)}
    for row in finished.lake.rows(RaftRow, SMALL):
        pair = pairs[row.question_id]
        assert pair.accepted
        assert pair.final_answer in " ".join(chunks[pair.chunk_id].text.split())
        assert row.has_oracle == (row.chunk_id in row.document_chunk_ids)
        assert row.split != "eval" or row.has_oracle
    for model in (BaselineAnswer, StudentAnswer):
        assert all(answer.call for answer in finished.lake.rows(model, SMALL))


def test_a_second_run_does_nothing(copied: ProjectHarness) -> None:
    before = calls_stored(copied)
    again = copied.raft("run", "--all")
    assert again.returncode == 0
    assert "everything is fresh" in again.stdout
    assert calls_stored(copied) == before
    assert copied.runs_of("chunks", SMALL) == 1


def test_force_materializes_again_and_asks_no_model_twice(copied: ProjectHarness) -> None:
    before, digests_before = calls_stored(copied), copied.digests(SMALL)
    assert copied.materialize(SMALL, force=True)
    assert copied.runs_of("eval_report", SMALL) == 2
    assert calls_stored(copied) == before
    assert copied.digests(SMALL) == digests_before


def test_an_edited_document_asks_only_about_its_own_chunks(copied: ProjectHarness) -> None:
    before = {pair.chunk_id for pair in copied.lake.rows(QAPair, SMALL)}
    document = min((copied.folder / "data" / SMALL).glob("*.txt"))
    document.write_text(
        document.read_text("utf-8")
        + "\n\nThe brown long-eared bat is called the whispering bat by keepers in Leeds.\n",
        "utf-8",
    )
    assert copied.not_fresh(SMALL) == {"source_documents": "stale", "data_card": "stale"}
    assert copied.states(SMALL)["source_documents"].reasons == (f"{DOCUMENTS.to_user_string()} changed",)
    assert copied.materialize(SMALL, "qa_pairs")
    new = [pair for pair in copied.lake.rows(QAPair, SMALL) if pair.chunk_id not in before]
    asked = {pair.question_call for pair in new} | {pair.answer_call for pair in new if pair.answer_call}
    assert 0 < len({pair.chunk_id for pair in new}) <= 2
    assert copied.metadata("qa_pairs", SMALL)["calls_made"] == len(asked)
    assert copied.metadata("chunk_embeddings", SMALL)["calls_made"] == 1


def test_a_white_space_edit_stops_where_the_data_is_equal_again(copied: ProjectHarness) -> None:
    document = min((copied.folder / "data" / SMALL).glob("*.txt"))
    document.write_text(document.read_text("utf-8") + "\n\n   \n", "utf-8")
    assert copied.materialize(SMALL)
    assert copied.runs_of("chunks", SMALL) == 2
    assert copied.runs_of("qa_pairs", SMALL) == 1
    assert copied.not_fresh(SMALL) == {}


@pytest.mark.parametrize(
    ("settings", "stale"),
    [
        ("chunks: {chunk_size: 100}", {"chunks", "data_card"}),
        ("questions: {questions_per_chunk: 2}", {"qa_pairs", "data_card"}),
        ("dataset: {distractors: 2}", {"qa_dataset", "data_card", *ANSWERS}),
        ("prompt: {instructions: null}", set()),  # what holds anyway
        ("student: {format: completion}", {"training_files", "finetuned_model", "deployment", *ANSWERS}),
        ("training: {n_epochs: 2}", {"finetuned_model"}),
        ("evaluation: {top_k: 2}", ANSWERS),
        ("verdict: {bootstrap_draws: 2000}", {"eval_scores", "eval_report"}),
    ],
)
def test_a_setting_makes_exactly_what_reads_it_stale(copied: ProjectHarness, settings: str, stale: set[str]) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", settings)
    assert set(copied.not_fresh(SMALL)) == stale


def test_golden_questions_reach_evaluation_and_hold_their_chunks_out_of_training(copied: ProjectHarness) -> None:
    chunk = next(row.chunk_id for row in copied.lake.rows(RaftRow, SMALL) if row.split == "train")
    text = next(chunk_.text for chunk_ in copied.lake.rows(Chunk, SMALL) if chunk_.chunk_id == chunk)
    evidence = text.split(". ")[0].split("\n")[-1]
    question = {
        "id": "g1",
        "question": "What is it about?",
        "answers": [evidence],
        "answerable": True,
        "evidence": [evidence],
    }
    copied.write(f"data/{SMALL}/questions.jsonl", json.dumps(question) + "\n")
    assert set(copied.not_fresh(SMALL)) == {"golden_questions", "data_card"}
    assert copied.materialize(SMALL, "qa_dataset")
    rows = list(copied.lake.rows(RaftRow, SMALL))
    assert not any(chunk in (row.chunk_id, *row.document_chunk_ids) for row in rows if row.split != "eval")


def test_an_unreadable_file_reaches_the_report(copied: ProjectHarness) -> None:
    (copied.folder / "data" / SMALL / "scan.pdf").write_bytes(b"%PDF-1.7 cut off")
    assert copied.materialize(SMALL)
    assert copied.metadata("source_documents", SMALL)["quarantined"] == 1
    assert copied.runs_of("qa_pairs", SMALL) == 1
    assert "scan.pdf" in copied.lake.path("eval_report", SMALL, ".html").read_text("utf-8")


def test_a_renamed_domain_costs_no_call(copied: ProjectHarness) -> None:
    shutil.move(copied.folder / "data" / SMALL, copied.folder / "data" / "Größe 2")
    assert copied.materialize("Größe 2", "qa_pairs")
    assert copied.metadata("qa_pairs", "Größe 2")["calls_made"] == 0
    with copied.instance() as instance:
        assert instance.get_dynamic_partitions("domain") == ["Größe 2"]


def test_a_renamed_document_asks_nothing_and_trains_nothing(copied: ProjectHarness) -> None:
    before, calls = copied.digests(SMALL), calls_stored(copied)
    trained = copied.lake.read_record("finetuned_model", SMALL)
    rows = list(copied.lake.rows(RaftRow, SMALL))
    first, *_, last = sorted((copied.folder / "data" / SMALL).iterdir())
    first.rename(first.with_name(f"zz {first.name}"))
    (last.parent / "moved").mkdir()
    last.rename(last.parent / "moved" / last.name)
    assert copied.raft("run", SMALL).returncode == 0
    assert calls_stored(copied) == calls
    assert copied.runs_of("training_files", SMALL) == 2
    assert copied.runs_of("finetuned_model", SMALL) == 1
    assert copied.lake.read_record("finetuned_model", SMALL) == trained
    after = list(copied.lake.rows(RaftRow, SMALL))
    assert [row.model_dump(exclude={"path"}) for row in after] == [row.model_dump(exclude={"path"}) for row in rows]
    assert {row.path for row in after} - {row.path for row in rows}
    assert copied.digests(SMALL)["baseline_answers"] == before["baseline_answers"]
    assert len(copied.results.history(SMALL, "token_f1").drop_duplicates("recorded_at")) == 1
    assert copied.not_fresh(SMALL) == {}


def test_a_domain_without_a_readable_document_fails_with_a_sentence_and_the_others_go_on(
    copied: ProjectHarness,
) -> None:
    copied.write("data/broken/a.pdf", "this is no PDF")
    (copied.folder / "data" / "broken" / "a.pdf").write_bytes(b"%PDF-1.7\nnothing")
    copied.write(f"data/{SMALL}/domain.yaml", "evaluation: {top_k: 2}")
    ran = copied.raft("run", "--all")
    assert ran.returncode == 1
    assert (
        "broken: failed: source_documents: No document of 'broken' could be read (1 quarantined; a.pdf: corrupt)."
        in ran.stdout
    )
    assert "Traceback" not in ran.stdout + ran.stderr
    assert copied.not_fresh(SMALL) == {}
    assert copied.states("broken")["source_documents"].state == "failed"


def calls_stored(project: ProjectHarness) -> int:
    with open_call_store(project.opened) as store:
        return store.stats().calls


def test_an_asset_is_fresh_though_a_run_of_another_domain_kept_the_copy_of_its_event_last(tmp_path: Path) -> None:
    project, key = ProjectHarness(tmp_path), dg.AssetKey("source_documents")
    for domain in ("first", "second"):
        project.copy_domain("bats", domain, documents=1)
        assert project.materialize(domain, "source_documents")
    with project.instance() as instance:
        of_first = dg.AssetRecordsFilter(key, asset_partitions=["first"])
        (made,) = instance.fetch_materializations(of_first, limit=1).records
        instance.event_log_storage.store_asset_event(made.event_log_entry, made.storage_id)
    project.launch("second", "chunks")
    assert project.states("second")["chunks"].state == "fresh"
