"""A purge leaves no text behind, and touches nothing else."""

import json
from pathlib import Path

import pandas as pd
import pytest

from raft_assets.core.tables import Chunk
from raft_assets.operations.process import records_of
from raft_assets.operations.trained import keep_submission, trained_students
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.builders import an_answer
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness


def test_a_purged_document_leaves_no_text_behind(copied: ProjectHarness) -> None:
    secret = "The vault of the Heligoland bat museum opens with the code 4711 on Sundays in winter."
    copied.write(f"data/{SMALL}/secret.txt", f"# Secret\n\n{secret} The vault was built by Anna Petersen in 1903.\n")
    assert copied.materialize(SMALL, "data_card")
    assert holders(copied.folder / ".raft", "Heligoland")
    refused = copied.raft_here("purge", SMALL, "--document", "secret.txt", "--yes")
    assert refused.returncode == 2
    assert "delete it there first" in refused.stderr
    (copied.folder / "data" / SMALL / "secret.txt").unlink()
    purged = copied.raft_here("purge", SMALL, "--document", "secret.txt", "--yes")
    assert purged.returncode == 0, purged.stderr
    assert holders(copied.folder / ".raft", "Heligoland") == []
    assert not copied.lake.path("data_card", SMALL, "").exists()
    assert copied.materialize(SMALL, "qa_pairs")
    assert copied.metadata("qa_pairs", SMALL)["calls_made"] == 0


def test_a_document_that_was_deleted_and_run_without_is_purged_as_well(copied: ProjectHarness) -> None:
    secret = "The vault of the Heligoland bat museum opens with the code 4711 on Sundays in winter."
    copied.write(f"data/{SMALL}/secret.txt", f"# Secret\n\n{secret} The vault was built by Anna Petersen in 1903.\n")
    assert copied.materialize(SMALL, "training_files")
    (copied.folder / "data" / SMALL / "secret.txt").unlink()
    assert copied.materialize(SMALL, "training_files")
    assert copied.raft_here("purge", SMALL, "--yes").returncode == 0
    assert holders(copied.folder / ".raft", "Heligoland") == []


def test_purged_imported_pairs_leave_no_text_behind_and_a_copy_in_them_is_told(copied: ProjectHarness) -> None:
    chunk = next(iter(copied.lake.rows(Chunk, SMALL)))
    answer = an_answer(chunk.text, "Heligoland, said the keeper of the old lighthouse on the cliff by the sea")
    pair = {"question": "Which island does the keeper of Heligoland name here?", "answer": answer, "oracle": chunk.text}
    file = copied.write(f"data/{SMALL}/pairs.jsonl", json.dumps(pair) + "\n")
    assert copied.materialize(SMALL, "data_card")
    assert holders(copied.folder / ".raft", "Heligoland")
    file.unlink()
    assert copied.raft_here("purge", SMALL, "--document", "pairs.jsonl", "--yes").returncode == 0
    assert holders(copied.folder / ".raft", "Heligoland") == []
    file.write_text(f"\n{json.dumps(pair)}\n", "utf-8")
    assert copied.materialize(SMALL, "source_documents")
    (copied.folder / "data" / SMALL / chunk.path).unlink()
    told = copied.raft_here("purge", SMALL, "--document", chunk.path, "--yes").stdout
    assert "lines 2 contain the text, delete them yourself" in told


@pytest.mark.parametrize("name", ["..", "/etc", "nowhere", "a/b", "."])
def test_purge_refuses_what_is_no_domain(copied: ProjectHarness, name: str) -> None:
    ended = copied.raft_here("purge", name, "--yes")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert copied.not_fresh(SMALL) == {}


def test_a_lake_that_is_away_is_told_before_anything_is_forgotten(copied: ProjectHarness) -> None:
    with SqliteCallStore(copied.opened.calls) as store:
        calls = store.stats().calls
    away = copied.raft_here("purge", SMALL, "--yes", variables={"RAFT_LAKE": "/proc/nowhere"})
    assert (away.returncode, "/proc/nowhere" in away.stderr) == (2, True)
    with SqliteCallStore(copied.opened.calls) as store:
        assert store.stats().calls == calls > 0
    assert SMALL in copied.results.verdicts()


def test_a_student_of_equal_text_in_another_domain_stays_until_that_one_is_purged(copied: ProjectHarness) -> None:
    records, models = records_of(copied.opened), copied.folder / ".raft" / "embedded" / "models"
    (student,) = trained_students(records)
    keep_submission(records, student.training_hash, student.service, "twin", student.documents[SMALL])
    told = copied.raft_here("purge", SMALL, "--students", "--yes")
    assert (told.returncode, "stays: it is of 'twin' as well" in told.stdout) == (0, True), told.stderr
    assert len(list(models.glob("*/"))) == 1
    assert [set(one.documents) for one in trained_students(records)] == [{"twin"}]
    assert copied.raft_here("purge", "twin", "--students", "--yes").returncode == 0
    assert list(models.glob("*/")) == []


def test_a_purged_domain_is_gone_but_for_the_numbers_of_its_evaluations(copied: ProjectHarness) -> None:
    verdicts = copied.results.verdicts()
    for file in (copied.folder / "data" / SMALL).iterdir():
        file.unlink()
    (copied.folder / "data" / SMALL).rmdir()
    assert copied.raft_here("purge", SMALL, "--yes").returncode == 0
    assert copied.look() == []
    assert copied.results.verdicts() == verdicts
    assert holders(copied.folder / ".raft", "Spallanzani") == []


def holders(folder: Path, word: str) -> list[str]:
    """Files that hold the word as plain bytes, or as rows of a table."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [str(file) for file in files if word.encode() in file.read_bytes() or _holds_row(file, word)]


def _holds_row(file: Path, word: str) -> bool:
    if file.suffix == ".parquet":
        return bool(pd.read_parquet(file).astype(str).apply(lambda column: column.str.contains(word)).any().any())
    if file.name != "calls.sqlite":
        return False
    with SqliteCallStore(file) as store:  # payloads are compressed
        return any(word.encode() in call.payload for call in store.calls())
