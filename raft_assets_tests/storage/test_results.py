import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, ModelAnswer, QuestionProvenance
from raft_assets.evaluation.evaluate import evaluate, evaluate_student
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import (
    EVALUATION_SCHEMA,
    RUN_TABLES,
    TABLES,
    TEXT_COLUMNS,
    QueryLimits,
    ResultsStore,
    RunRecord,
)
from raft_assets_tests.builders import a_chunk
from raft_assets_tests.evaluation.builders import RIGHT, WRONG, both

WRITERS, RUNS_EACH = 16, 2
ORIGIN = QuestionProvenance(
    question_id="",
    source="generated",
    chunk_id="oracle",
    path="a.pdf",
    page_from=2,
    page_to=3,
    first_character=10,
    end_character=90,
    question_call="asked",
    teacher_call="answered",
)
ORIGINS = [ORIGIN.model_copy(update={"question_id": f"q{number}"}) for number in range(24)]
STARTED = datetime(2026, 11, 4, 9, 30, tzinfo=UTC)


def run_record(domain: str = "bats", student: str = "ft:1", *, after: int = 0) -> RunRecord:
    return RunRecord(
        domain=domain,
        baseline_model="embedded-reader",
        student_model=student,
        training_hash="t",
        dataset_hash="d",
        settings={"top_k": 4},
        dagster_run="r",
        recorded_at=STARTED + timedelta(hours=after),
    )


def record(store: ResultsStore, run: RunRecord, *, rises: int = 20, text: str = "How much?") -> list[ModelAnswer]:
    answers = [
        answer
        for number in range(24)
        for answer in both(f"q{number}", WRONG, RIGHT if number < rises else WRONG, question=text)
    ]
    earlier = store.previous_student_scores(run, answers)
    store.record(run, evaluate(answers, ORIGINS, draws=1000, guard_margin=0.1, scores_of_previous_student=earlier))
    return answers


def count(store: ResultsStore, table: str) -> int:
    return int(store.query(f"SELECT count(*) AS n FROM {table}")["n"][0])


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(path=str(tmp_path / "deep" / "results.duckdb"))


def test_an_evaluation_is_stored_whole_and_its_verdict_is_current(store: ResultsStore) -> None:
    record(store, run_record(student="ft:0", after=-1), rises=0)
    answers = record(store, run_record())
    found = evaluate(answers, ORIGINS, draws=1000, guard_margin=0.1)
    assert store.verdict("bats") == found.verdict
    assert (found.verdict.documents, found.verdict.by_document) == (1, None)  # an interval needs two
    pd.testing.assert_frame_equal(store.summary("bats"), found.summary)
    current = store.verdicts()["bats"]
    assert (current["decision"], current["slice"], current["n"], current["student_model"]) == (
        "better",
        "generated",
        24,
        "ft:1",
    )
    assert current["recorded_at"] == STARTED
    assert [guard["name"] for guard in current["guards"]] == ["format", "abstention"]
    assert "abstention could not be measured" in current["reasons"]
    assert count(store, "answers") == 3 * len(answers)  # two evaluations of two models, and of rules without one
    stored = store.query("SELECT documents, golden_answers FROM answers LIMIT 1").to_dict("records")[0]
    assert list(stored["documents"]) == answers[0].documents


def test_the_same_run_replaces_itself_and_another_one_is_history(store: ResultsStore) -> None:
    record(store, run_record(), rises=20)
    before = count(store, "scores")
    record(store, run_record(after=1), rises=22)
    assert count(store, "scores") == before
    record(store, run_record(student="ft:2", after=2), rises=0)
    assert count(store, "scores") == 2 * before
    current = store.verdicts()["bats"]
    assert (current["decision"], current["student_model"]) == ("cannot tell", "ft:2")
    history = store.history("bats", "token_f1")
    assert history["student"].tolist() == pytest.approx([22 / 24, 0])
    assert history["student_model"].tolist() == ["ft:1", "ft:2"]


def test_domains_do_not_touch_one_another(store: ResultsStore) -> None:
    record(store, run_record("bats"))
    record(store, run_record("it's; DROP TABLE runs --"), rises=0)
    verdicts = store.verdicts()
    assert {domain: verdict["decision"] for domain, verdict in verdicts.items()} == {
        "bats": "better",
        "it's; DROP TABLE runs --": "cannot tell",
    }
    assert store.history("bats", "token_f1")["domain"].unique().tolist() == ["bats"]


def test_an_interval_that_could_not_be_measured_is_null_and_not_nan(store: ResultsStore) -> None:
    answers = both("q", WRONG, RIGHT)
    store.record(run_record(), evaluate(answers, [], draws=1000, guard_margin=0.1))
    assert store.query("SELECT low FROM aggregates WHERE low IS NOT NULL").empty
    assert store.query("SELECT value FROM scores WHERE isnan(value)").empty
    current = store.verdicts()["bats"]
    assert current["low"] is None


def test_worst_rows_lead_with_what_the_student_lost(store: ResultsStore) -> None:
    answers = [*both("gain", WRONG, RIGHT), *both("loss", RIGHT, WRONG)]
    store.record(run_record(), evaluate(answers, [], draws=1000, guard_margin=0.1))
    worst = store.query("SELECT * FROM worst_rows")
    assert worst["question_id"].tolist() == ["loss", "gain"]
    assert worst["final_answer"].tolist() == [WRONG, RIGHT]


def test_a_score_leads_back_to_its_row_chunk_page_and_calls(store: ResultsStore) -> None:
    record(store, run_record())
    query = "SELECT * FROM score_origins WHERE evaluated = 'student' AND metric = 'token_f1' AND question_id = 'q7'"
    (row,) = store.query(query).to_dict("records")
    assert (row["value"], row["final_answer"], row["answer_call"]) == (1.0, RIGHT, "key")
    assert (row["chunk_id"], row["path"], row["page_from"], row["page_to"]) == ("oracle", "a.pdf", 2, 3)
    assert (row["first_character"], row["end_character"]) == (10, 90)
    assert (row["question_call"], row["teacher_call"]) == ("asked", "answered")
    assert len(store.query("SELECT * FROM score_origins")) == count(store, "scores")


def test_a_student_is_compared_with_the_last_other_one_and_a_regression_is_said(store: ResultsStore) -> None:
    record(store, run_record(student="ft:1"), rises=24)
    assert store.comparison("bats") is None
    record(store, run_record(student="ft:2", after=1), rises=2)
    record(store, run_record(student="ft:2", after=2), rises=2)  # not with itself
    compared = store.comparison("bats")
    assert compared is not None
    assert compared["sentence"].startswith(
        "The student is worse than the previous one on questions that its own teacher wrote: token F1 on 24 generated "
        "questions fell from 100.0 to 8.3"
    )
    assert store.verdicts()["bats"]["against"] == "baseline"
    record(store, run_record(student="ft:3", after=3), rises=23)
    assert store.query("SELECT decision FROM students_compared")["decision"].tolist() == ["worse", "better"]


def test_the_score_is_kept_taken_apart(store: ResultsStore) -> None:
    record(store, run_record())
    parts = store.slices("bats")
    of_document = parts[(parts["cut"] == "document") & (parts["metric"] == "token_f1")]
    assert of_document[["part", "n", "baseline"]].to_dict("records") == [{"part": "a.pdf", "n": 24, "baseline": 0.0}]


def test_a_store_of_an_earlier_version_takes_new_evaluations(store: ResultsStore) -> None:
    record(store, run_record())
    with duckdb.connect(store.path) as connection:
        for view in ("score_origins", "students_compared", "worst_rows", "metric_history", "current_verdicts"):
            connection.execute(f"DROP VIEW {view}")
        connection.execute("ALTER TABLE answers DROP COLUMN detail; ALTER TABLE verdicts DROP COLUMN against")
        connection.execute("DROP TABLE slices; DROP TABLE questions")
    record(store, run_record(student="ft:2", after=1))
    assert store.verdicts()["bats"]["student_model"] == "ft:2"
    assert store.query("SELECT * FROM verdicts WHERE against = 'baseline'")["student"].tolist() == [20 / 24] * 2


def test_a_student_is_compared_with_the_one_before_where_both_were_asked_the_same(store: ResultsStore) -> None:
    answers = record(store, run_record(student="ft:1"), rises=10)
    other: Mapping[str, Mapping[str, object]] = {
        "q0": {"question": "How many?"},
        "q1": {"documents": ["Another one.", *answers[0].documents[1:]]},
        "q2": {"golden_answers": ["Something else."]},
        "q3": {"language": "de"},
    }
    now = [answer.model_copy(update=dict(other.get(answer.question_id, {}))) for answer in answers]
    run = run_record(student="ft:2", after=1)
    found = store.previous_student_scores(run, now)
    assert set(found["question_id"]) == {f"q{number}" for number in range(4, 24)}
    assert set(found["evaluated"]) == {"student"}
    assert found[found["metric"] == "token_f1"]["value"].sum() == 6  # of the ten, q4 to q9
    told = replace(run, settings={"prompt": {"instructions": "brief"}})
    assert len(store.previous_student_scores(told, now)) == len(found)  # the one before didn't keep which it had
    store.record(told, evaluate(now, ORIGINS, draws=1000, guard_margin=0.1))
    later = replace(run_record(student="ft:3", after=2), settings={"prompt": {"instructions": "full"}})
    assert store.previous_student_scores(later, now).empty


def test_a_student_that_was_asked_alone_takes_no_other_ones_place(tmp_path: Path) -> None:
    store = ResultsStore(str(tmp_path / "results.duckdb"), Lake(str(tmp_path / "lake")))
    record(store, run_record(student="ft:1"), rises=2)
    answers = record(store, run_record(student="ft:2", after=1), rises=20)
    before = store.verdicts(), store.history("bats", "token_f1"), store.comparison("bats")
    alone = [answer for answer in answers if answer.evaluated == "student"]
    asked = replace(run_record(student="ft:1", after=2), baseline_model="", base_model="nano", preset="paper")
    for _ in range(2):  # the second time in place of the first
        store.record(asked, evaluate_student(alone, ORIGINS))

    assert (store.verdicts(), store.comparison("bats")) == (before[0], before[2])
    pd.testing.assert_frame_equal(store.history("bats", "token_f1"), before[1])
    newest = store.previous_student_scores(run_record(student="ft:3", after=3), answers)
    assert newest[newest["metric"] == "token_f1"]["value"].sum() == 20  # of ft:2, the last that was judged
    runs = store.evaluated_runs("bats")
    assert [(run["student_model"], run["has_verdict"]) for run in runs] == [
        ("ft:1", True),
        ("ft:2", True),
        ("ft:1", False),
    ]
    assert (runs[2]["base_model"], runs[2]["preset"], runs[2]["settings"]) == ("nano", "paper", {"top_k": 4})
    assert {run["schema_version"] for run in runs} == {EVALUATION_SCHEMA}
    given = [row.answer.final_answer for row in store.rendered_answers("bats", runs[2]["run"])]
    assert given == [answer.final_answer for answer in alone]

    Path(store.path).unlink()  # the lake has it as well
    assert store.evaluated_runs("bats") == runs
    assert store.remove_texts("bats") == 3
    assert store.rendered_answers("bats", runs[2]["run"]) == []


def test_equal_prompts_have_equal_renderings_and_no_others(store: ResultsStore) -> None:
    first = both("q1", WRONG, RIGHT, documents=["one", "two"], document_chunk_ids=["oracle", "distractor"])
    others = {
        "the same": {},
        "another order": {"documents": ["two", "one"]},
        "one document": {"documents": ["one two"], "document_chunk_ids": ["oracle"]},
        "another question": {"question": "How many?"},
        "another golden answer": {"golden_answers": ["42"]},
        "abstaining is right": {"golden_answers": [], "answerable": False},
    }
    answers = [*first] + [
        answer.model_copy(update=changes | {"question_id": name})
        for name, changes in others.items()
        for answer in first
    ]
    run = run_record()
    store.record(run, evaluate(answers, [], draws=1000, guard_margin=0.1))
    renderings = [row.rendering for row in store.rendered_answers("bats", run.content_hash)]
    assert renderings[0] == renderings[1]
    assert len(set(renderings)) == len(others)


def test_an_empty_store_answers_every_question(store: ResultsStore) -> None:
    assert store.verdicts() == {}
    with pytest.raises(DataError, match=r"'bats' has no verdict yet\. Materialize it: raft run 'bats'"):
        store.verdict("bats")
    assert store.summary("bats").empty
    assert store.history("bats", "token_f1").empty
    assert store.remove_texts("bats") == 0


WRITES = [  # statements that change a table or write a file, with `{}` for a file
    "DELETE FROM runs",
    "INSERT INTO runs (domain) VALUES ('x')",
    "UPDATE runs SET domain = 'x'",
    "TRUNCATE runs",
    "DROP TABLE runs",
    "CREATE TABLE mine AS SELECT 1",
    "CREATE OR REPLACE VIEW costs AS SELECT 1",
    "ALTER TABLE runs ADD COLUMN mine INTEGER",
    "COPY (SELECT 1) TO '{}' (FORMAT csv, USE_TMP_FILE false)",
    "COPY runs TO '{}'",
    "COPY runs FROM '{}'",
    "EXPORT DATABASE '{}'",
    "ATTACH '{}' AS other",
    "MERGE INTO runs USING verdicts USING (domain) WHEN MATCHED THEN DELETE",
    "VACUUM",
    "CHECKPOINT",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "PREPARE mine AS DELETE FROM runs",
    "BEGIN",
]
# ways to put a statement where a query is expected; that of EXPLAIN ANALYZE runs it
HIDING = [
    "{}",
    "-- SELECT 1\n{}",
    "/* SELECT */ {}",
    "SELECT 1; {}",
    "{}; SELECT 1",
    "EXPLAIN {}",
    "EXPLAIN ANALYZE {}",
    "explain\n/* (a) */ analyze -- b\n{}",
    "EXPLAIN (ANALYZE, FORMAT json) {}",
    "EXPLAIN (FORMAT json) {}",
]
# a WITH may hold statements that write
WRITING_PARTS = [
    "INSERT INTO runs (domain) VALUES ('x') RETURNING domain",
    "DELETE FROM runs RETURNING domain",
    "UPDATE runs SET domain = 'x' RETURNING domain",
    "COPY (SELECT 1) TO '{}' (FORMAT csv, USE_TMP_FILE false)",
]
AROUND = [
    "WITH a AS ({}) SELECT * FROM a",
    "WITH b AS (SELECT 1), a AS MATERIALIZED ({}) FROM a",
    "SELECT * FROM (WITH a AS ({}) SELECT * FROM a)",
    "SELECT 1 UNION ALL (WITH a AS ({}) SELECT 2)",
    "SELECT domain IN (WITH a AS ({}) SELECT * FROM a) FROM runs",
    "EXPLAIN ANALYZE WITH a AS ({}) SELECT * FROM a",
    "SUMMARIZE WITH a AS ({}) SELECT * FROM a",
]
FUZZED = [
    *(hidden.format(statement) for statement in WRITES for hidden in HIDING),
    *(around.format(part) for part in WRITING_PARTS for around in AROUND),
]


def test_no_statement_that_writes_passes_for_a_query_wherever_it_hides(store: ResultsStore, tmp_path: Path) -> None:
    record(store, run_record())
    lake = Lake(str(tmp_path / "lake"))
    table = lake.write(Chunk, "bats", [a_chunk("a", "Bats hang upside down.")]).address
    files = [Path(store.path), Path(table), tmp_path / "new.csv"]
    before = {file: file.read_bytes() if file.exists() else None for file in files}
    for sql in FUZZED:
        for file in files if "{}" in sql else files[:1]:
            with pytest.raises((duckdb.Error, DataError)):
                store.query(sql.replace("{}", str(file)), lake)
    assert {file: file.read_bytes() if file.exists() else None for file in files} == before


def test_a_statement_that_was_let_through_could_not_write_either(store: ResultsStore, tmp_path: Path) -> None:
    record(store, run_record())
    lake = Lake(str(tmp_path / "lake"))
    files = [Path(store.path), Path(lake.write(Chunk, "bats", [a_chunk("a", "Bats hang upside down.")]).address)]
    before = [file.read_bytes() for file in files]
    hidden = [form.format(statement) for statement in WRITES for form in ("{}", "EXPLAIN ANALYZE {}")]
    for sql in [*hidden, *(AROUND[0].format(part) for part in WRITING_PARTS)]:
        for file in files:
            with store.open_copy(lake, QueryLimits()) as connection, suppress(duckdb.Error):
                connection.execute(sql.replace("{}", str(file)))
        assert [file.read_bytes() for file in files] == before, sql
    assert list(tmp_path.rglob("*.csv")) == []


def test_queries_of_every_reading_form_are_answered(store: ResultsStore) -> None:
    record(store, run_record())
    for sql in (
        "FROM runs",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
        "SUMMARIZE runs",
        "DESCRIBE runs",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "EXPLAIN (ANALYZE) FROM runs",
        "SELECT 1 AS i -- a comment; DELETE FROM runs",
        "SELECT 'DELETE FROM runs; COPY x TO y' AS text;",
    ):
        assert len(store.query(sql)) > 0, sql


def test_a_query_that_takes_too_long_or_too_much_is_stopped_with_the_setting_to_raise(store: ResultsStore) -> None:
    with pytest.raises(DataError, match="RAFT_SQL_TIMEOUT_S"):
        store.query("SELECT count(*) FROM range(10000000000) a, range(1000) b", limits=QueryLimits(seconds=1))
    with pytest.raises(DataError, match="RAFT_SQL_MEMORY_GB"):
        store.query("SELECT list(i) FROM range(1000000000) t(i)", limits=QueryLimits(seconds=600, memory_gb=1))


@pytest.mark.parametrize(
    ("sql", "found"),
    [("SELECT 1 AS a; -- all", 1), ("SELECT 1 AS a; /* x */ ;", 1), ("SELECT 'a; -- b' AS a", "a; -- b")],
)
def test_what_stands_behind_a_query_is_left_out(sql: str, found: object, store: ResultsStore) -> None:
    assert store.query(sql)["a"].tolist() == [found]


def test_an_evaluation_is_recorded_while_a_query_is_read(store: ResultsStore) -> None:
    record(store, run_record("bats"))
    with store.stream("SELECT domain FROM runs") as rows:
        record(store, run_record("harbor"))
        assert rows.read_all().to_pylist() == [{"domain": "bats"}]
    assert count(store, "runs") == 2


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "CREATE TABLE mine (i INTEGER)",
        "COPY runs TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.duckdb' AS other",
        "SELECT * FROM read_text('{folder}/secret.txt')",
        "SET enable_external_access = true",
    ],
)
def test_a_query_neither_writes_nor_leaves_the_file(store: ResultsStore, tmp_path: Path, sql: str) -> None:
    record(store, run_record())
    (tmp_path / "secret.txt").write_text("secret")
    before = sorted(tmp_path.iterdir())
    with pytest.raises((duckdb.Error, DataError)):
        store.query(sql.format(folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    assert count(store, "runs") == 1


def test_a_purged_domain_keeps_its_numbers_without_a_text_and_the_others_stay(store: ResultsStore) -> None:
    record(store, run_record("bats"), text="A sentence that nobody may read any more")
    record(store, run_record("bats", "ft:2"))
    record(store, run_record("harbor"))
    assert b"nobody may read" in Path(store.path).read_bytes()
    for left in ("new", "new.wal", "purged.wal", "damaged-1.wal"):  # of processes that were killed
        shutil.copy(store.path, f"{store.path}.{left}")
    numbers = [table for table in TABLES if table not in ("answers", "ledger")]
    before = {table: store.query(f"SELECT * FROM {table} ORDER BY ALL") for table in numbers}
    others = store.query("SELECT * FROM answers WHERE domain = 'harbor' ORDER BY ALL")
    assert store.remove_texts("bats") == 2
    assert b"nobody may read" not in Path(store.path).read_bytes()
    for table in numbers:
        pd.testing.assert_frame_equal(store.query(f"SELECT * FROM {table} ORDER BY ALL"), before[table])
    kept = store.query("SELECT * FROM answers WHERE domain = 'bats'")
    assert len(kept) == 2 * len(others)
    assert kept[list(TEXT_COLUMNS["answers"])].isna().all(axis=None)
    assert kept[["call", "cluster", "model", "status"]].notna().all(axis=None)
    pd.testing.assert_frame_equal(store.query("SELECT * FROM answers WHERE domain = 'harbor' ORDER BY ALL"), others)
    assert store.remove_texts("bats") == 0
    assert sorted(file.name for file in Path(store.path).parent.iterdir()) == ["results.duckdb", "results.duckdb.lock"]


def write_runs(path: str, writer: int) -> None:
    store = ResultsStore(path=path)
    for number in range(RUNS_EACH):
        record(store, run_record(f"domain {writer}", f"ft:{number}", after=number), rises=number)


def test_sixteen_processes_write_at_once_while_another_one_reads_and_all_succeed(store: ResultsStore) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])  # sixteen times the imports would take a minute
    writers = [processes.Process(target=write_runs, args=(store.path, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    while any(writer.is_alive() for writer in writers):
        seen.append(count(store, "runs"))
        # a whole run or nothing: readers never see half of one
        assert store.query("SELECT run FROM runs ANTI JOIN verdicts USING (domain, run)").empty
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert count(store, "runs") == WRITERS * RUNS_EACH
    assert seen == sorted(seen)
    assert {verdict["student_model"] for verdict in store.verdicts().values()} == {f"ft:{RUNS_EACH - 1}"}


def test_a_file_that_is_no_database_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "results.duckdb").write_text("no database " * 1000)
    with pytest.raises(DataError, match=r"results\.duckdb cannot be opened .*Move it away"):
        ResultsStore(path=str(tmp_path / "results.duckdb")).verdicts()


def test_a_store_that_stays_locked_is_told_and_not_waited_for_for_ever(store: ResultsStore) -> None:
    record(store, run_record())
    hold = f"import duckdb\nc = duckdb.connect({store.path!r})\nprint('held', flush=True)\ninput()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(DataError, match="locked by another program"):
        store.runs(wait_s=0.1)
    holder.communicate(b"\n")
    assert store.verdicts().keys() == {"bats"}


def test_equal_models_data_and_settings_are_one_run_and_anything_else_another() -> None:
    run = run_record()
    assert replace(run, recorded_at=STARTED + timedelta(days=1), dagster_run="other").content_hash == run.content_hash
    for change in ({"student_model": "x"}, {"training_hash": "x"}, {"dataset_hash": "x"}, {"settings": {"top_k": 5}}):
        assert replace(run, **change).content_hash != run.content_hash


@pytest.fixture
def kept(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results.duckdb"), Lake(str(tmp_path / "lake")))


def everything(store: ResultsStore) -> dict[str, pd.DataFrame]:
    return {table: store.query(f"SELECT * FROM {table} ORDER BY ALL") for table in RUN_TABLES}


def fill(store: ResultsStore) -> dict[str, pd.DataFrame]:
    record(store, run_record(student="ft:0"), rises=0)
    record(store, run_record(after=1))
    record(store, run_record("harbor"), text="Überall?")
    return everything(store)


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for table, rows in expected.items():
        pd.testing.assert_frame_equal(found[table], rows)


def test_a_results_store_that_is_lost_is_made_anew_from_the_lake_with_its_history(
    kept: ResultsStore, caplog: pytest.LogCaptureFixture
) -> None:
    before, verdicts = fill(kept), kept.verdicts()
    Path(kept.path).unlink()
    assert kept.verdicts() == verdicts
    assert_same(everything(kept), before)
    assert "made anew from 3 evaluations" in caplog.text


def zero(content: bytes, *places: int) -> bytes:
    damaged = bytearray(content)
    for place in places:
        damaged[place : place + 64] = bytes(64)
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"4\n1,2",
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000],
        lambda content: zero(content, 20),
        lambda content: zero(content, 8200, 12300),
        lambda content: zero(content, *range(12288, len(content), 4096)),
    ],
    ids=["empty", "other content", "half", "head", "header", "headers", "blocks"],
)
def test_a_results_store_that_is_damaged_is_set_aside_and_made_anew_from_the_lake(
    kept: ResultsStore, damage: Callable[[bytes], bytes]
) -> None:
    before = fill(kept)
    content = damage(Path(kept.path).read_bytes())
    Path(kept.path).write_bytes(content)
    with suppress(DataError):  # damage that only shows when a row is read: it says to run again
        kept.verdicts()
    assert_same(everything(kept), before)
    assert Path(f"{kept.path}.damaged-1").read_bytes() == content


def test_what_only_the_store_or_only_the_lake_holds_is_kept_in_both(kept: ResultsStore, tmp_path: Path) -> None:
    alone = ResultsStore(kept.path)  # as a version before, which kept nothing in the lake
    record(alone, run_record(student="ft:0"), rises=0)
    record(kept, run_record(after=1))
    Path(kept.path).unlink()
    assert len(kept.runs()) == 2, "the first evaluation after an upgrade keeps those before"
    before = everything(kept)
    with duckdb.connect(kept.path) as connection:
        for table in RUN_TABLES:
            connection.execute(f"DELETE FROM {table} WHERE run IN (SELECT run FROM runs ORDER BY recorded_at LIMIT 1)")
    assert len(kept.runs()) == 1
    kept.sync(["other"])
    assert len(kept.runs()) == 1
    kept.sync(["bats"])
    assert_same(everything(kept), before)


def test_machines_that_share_a_lake_have_the_same_evaluations(tmp_path: Path) -> None:
    lake = f"memory://{tmp_path.name}"
    here, there = (tmp_path / name for name in ("here", "there"))

    def opened(machine: Path) -> ResultsStore:
        return ResultsStore(str(machine / "results.duckdb"), Lake(lake))

    record(opened(here), run_record(student="ft:0"), rises=0)
    assert_same(everything(opened(there)), everything(opened(here)))
    record(opened(there), run_record(after=1))
    record(opened(there), run_record("harbor"), text="Whose harbour?")
    assert_same(everything(opened(here)), everything(opened(there)))
    record(opened(here), run_record(after=2), rises=3)  # in place of the second one
    assert opened(there).verdicts() == opened(here).verdicts()
    assert_same(everything(opened(there)), everything(opened(here)))
    opened(here).remove_texts("harbor")
    assert opened(there).count_texts("harbor") == 0
    assert b"Whose harbour?" not in (there / "results.duckdb").read_bytes()
    assert opened(there).count_texts("bats") == 2


def test_an_evaluation_that_is_there_already_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(f"memory://{tmp_path.name}")
    store = ResultsStore(str(tmp_path / "results.duckdb"), lake)
    record(store, run_record())
    read = list[str]()
    whole = lake.filesystem.open
    monkeypatch.setattr(
        lake.filesystem, "open", lambda path, *given, **named: read.append(path) or whole(path, *given, **named)
    )
    assert ResultsStore(store.path, lake).verdicts()
    assert read == []


@pytest.mark.parametrize("content", [b"", None], ids=["damaged", "gone"])
def test_an_evaluation_of_which_the_lake_lost_a_part_is_left_out_and_missing(
    kept: ResultsStore, tmp_path: Path, content: bytes | None
) -> None:
    fill(kept)
    Path(kept.path).unlink()
    part = next(tmp_path.glob("lake/evaluations/harbor/*/answers.parquet"))
    if content is None:
        part.unlink()
    else:
        part.write_bytes(content)
    assert {domain for domain, _ in kept.runs()} == {"bats"}
    assert {domain for domain, _ in Lake(str(tmp_path / "lake")).evaluations()} == {"bats"}
    assert list(tmp_path.glob("lake/evaluations/harbor/*/*"))
    kept.remove_texts("harbor")
    assert not list(tmp_path.glob("lake/evaluations/harbor/*/*"))  # what is left of it may hold texts
    record(kept, run_record("harbor"))
    Path(kept.path).unlink()
    assert {domain for domain, _ in kept.runs()} == {"bats", "harbor"}


def test_a_query_that_only_says_that_the_file_is_damaged_changes_nothing(kept: ResultsStore) -> None:
    before = fill(kept)
    with pytest.raises(duckdb.Error, match="Corrupt database file"):
        kept.query("SELECT error('Corrupt database file')")
    assert_same(everything(kept), before)
    assert not Path(f"{kept.path}.damaged-1").exists()
