"""The results store: every evaluation that was ever made, in one DuckDB file that many partitions write at once.

DuckDB lets one process at a time into a file, and a process that merely retries can fail for a minute on a busy
machine. So our processes queue at a lock file, and the store opens late and closes early: nothing holds the file while
it computes. All SQL on results is here: parameters only, one function per statement.

The lake keeps every evaluation as well, as files that don't change: where this file is lost or damaged, it is made anew
from them. Of a lake that is an address, which several machines share, it is a cache: what other machines have recorded
or purged meanwhile is taken from there before anything is read.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import DataError
from raft_assets.core.identity import digest
from raft_assets.core.locks import exclusive_lock
from raft_assets.core.tables import ModelAnswer, QuestionProvenance, Row, Score
from raft_assets.evaluation.comparison import RenderedAnswer
from raft_assets.evaluation.evaluate import Evaluation, StudentEvaluation
from raft_assets.evaluation.slices import SLICE_COLUMNS
from raft_assets.evaluation.statistics import Interval
from raft_assets.evaluation.summary import SUMMARY_COLUMNS
from raft_assets.evaluation.verdict import Guard, Verdict
from raft_assets.llm.ledger import LedgerRow
from raft_assets.settings.environment import Environment, read_int
from raft_assets.settings.project import Project
from raft_assets.storage.lake import LAST_TABLE, Lake, arrow_schema
from raft_assets.storage.reading_sql import only_reading

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

QUERY_BATCH_ROWS = 10_000  # of a person's query, in memory at a time while it is read
OPEN_TIMEOUT_S = 60.0  # for the file, while a program outside of our queue holds it
RETRY_S = (0.02, 0.2)  # between two tries, drawn: waiters that keep step would collide again; a try costs 8 ms of CPU
# what a purge removes
TEXT_COLUMNS = {"answers": ("question", "documents", "golden_answers", "answer", "final_answer", "quotes", "detail")}
RUN_TABLES = ("answers", "scores", "questions", "aggregates", "slices", "verdicts", "runs")  # with rows of evaluations
TABLES = (*RUN_TABLES, "ledger")
# of the rows of an evaluation, raised with every table or column that one gets; rows of before have none
EVALUATION_SCHEMA = 1

# the file is data, not a program: nothing that is read from it, and no query, reaches other files or the network
_NO_EXTERNAL_ACCESS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_LOCKED_MESSAGES = (
    "Could not set lock",
    "different configuration",
    "being used by another process",
)  # how DuckDB says that another process has the file open
_DAMAGE_MESSAGES = (
    "not a valid DuckDB database file",
    "Corrupt database file",
    "Could not read enough bytes",
    "Failure while replaying WAL",
)  # how DuckDB says that a file isn't whole; one of a later version of DuckDB is none of these

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    domain VARCHAR, run VARCHAR, recorded_at TIMESTAMPTZ, baseline_model VARCHAR, student_model VARCHAR,
    training_hash VARCHAR, dataset_hash VARCHAR, settings JSON, dagster_run VARCHAR);
ALTER TABLE runs ADD COLUMN IF NOT EXISTS qa_dataset_digest VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS train_file_hash VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS valid_file_hash VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS manifest_hash VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS base_model VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS preset VARCHAR;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS schema_version BIGINT;
CREATE TABLE IF NOT EXISTS answers (
    domain VARCHAR, run VARCHAR, question_id VARCHAR, source VARCHAR, arm VARCHAR, evaluated VARCHAR, model VARCHAR,
    question VARCHAR, documents VARCHAR[], document_chunk_ids VARCHAR[], oracle_chunk_ids VARCHAR[],
    golden_answers VARCHAR[], answerable BOOLEAN, kind VARCHAR, cluster VARCHAR, answer VARCHAR, final_answer VARCHAR,
    quotes VARCHAR[], abstained BOOLEAN, well_formed BOOLEAN, status VARCHAR, detail VARCHAR, call VARCHAR);
ALTER TABLE answers ADD COLUMN IF NOT EXISTS detail VARCHAR;
ALTER TABLE answers ADD COLUMN IF NOT EXISTS language VARCHAR DEFAULT '';
CREATE TABLE IF NOT EXISTS scores (
    domain VARCHAR, run VARCHAR, question_id VARCHAR, source VARCHAR, arm VARCHAR, evaluated VARCHAR, cluster VARCHAR,
    metric VARCHAR, value DOUBLE);
CREATE TABLE IF NOT EXISTS questions (
    domain VARCHAR, run VARCHAR, question_id VARCHAR, source VARCHAR, chunk_id VARCHAR, path VARCHAR, page_from BIGINT,
    page_to BIGINT, first_character BIGINT, end_character BIGINT, question_call VARCHAR, teacher_call VARCHAR);
ALTER TABLE questions ADD COLUMN IF NOT EXISTS section_from BIGINT;
ALTER TABLE questions ADD COLUMN IF NOT EXISTS section_to BIGINT;
ALTER TABLE questions ADD COLUMN IF NOT EXISTS teacher_model VARCHAR;
CREATE TABLE IF NOT EXISTS slices (
    domain VARCHAR, run VARCHAR, cut VARCHAR, part VARCHAR, source VARCHAR, arm VARCHAR, metric VARCHAR, n BIGINT,
    clusters BIGINT, baseline DOUBLE, student DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE);
CREATE TABLE IF NOT EXISTS aggregates (
    domain VARCHAR, run VARCHAR, source VARCHAR, arm VARCHAR, metric VARCHAR, n BIGINT, clusters BIGINT,
    baseline DOUBLE, student DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE);
CREATE TABLE IF NOT EXISTS verdicts (
    domain VARCHAR, run VARCHAR, against VARCHAR, decision VARCHAR, sentence VARCHAR, slice VARCHAR, metric VARCHAR,
    baseline DOUBLE, student DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE, p_value DOUBLE,
    smallest_detectable DOUBLE, n BIGINT, clusters BIGINT, guards JSON, reasons VARCHAR[]);
ALTER TABLE verdicts ADD COLUMN IF NOT EXISTS against VARCHAR DEFAULT 'baseline';
ALTER TABLE verdicts ADD COLUMN IF NOT EXISTS documents BIGINT DEFAULT 0;
ALTER TABLE verdicts ADD COLUMN IF NOT EXISTS by_document JSON;
ALTER TABLE aggregates ADD COLUMN IF NOT EXISTS reference DOUBLE;
ALTER TABLE slices ADD COLUMN IF NOT EXISTS reference DOUBLE;
CREATE TABLE IF NOT EXISTS ledger (
    call VARCHAR, created TIMESTAMPTZ, role VARCHAR, service VARCHAR, model VARCHAR, kind VARCHAR, status VARCHAR,
    asset VARCHAR, domain VARCHAR, run VARCHAR, input_tokens BIGINT, cached_tokens BIGINT, output_tokens BIGINT,
    reasoning_tokens BIGINT, latency_s DOUBLE, tries BIGINT, dollars DOUBLE);
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS estimated BOOLEAN DEFAULT false;
CREATE OR REPLACE VIEW costs AS
    SELECT domain, asset, role, service, model, created::DATE AS day, count(*) AS calls,
        sum(input_tokens) AS input_tokens, sum(cached_tokens) AS cached_tokens, sum(output_tokens) AS output_tokens,
        sum(dollars) AS dollars, count(*) - count(dollars) AS unpriced, count_if(estimated) AS estimated,
        sum(tries - 1) AS retries,
        median(latency_s) AS median_latency_s
    FROM ledger GROUP BY ALL ORDER BY day, domain, asset;
CREATE OR REPLACE VIEW current_verdicts AS
    SELECT verdicts.*, recorded_at, baseline_model, student_model FROM verdicts JOIN runs USING (domain, run)
    WHERE against = 'baseline' QUALIFY row_number() OVER (PARTITION BY domain ORDER BY recorded_at DESC, run) = 1;
CREATE OR REPLACE VIEW students_compared AS
    SELECT verdicts.*, recorded_at, student_model FROM verdicts JOIN runs USING (domain, run)
    WHERE against = 'previous student' ORDER BY domain, recorded_at;
CREATE OR REPLACE VIEW score_origins AS
    SELECT domain, run, question_id, source, arm, evaluated, metric, value, question, golden_answers, final_answer,
        status, detail, call AS answer_call, chunk_id, path, page_from, page_to, first_character, end_character,
        question_call, teacher_call, coalesce(nullif(teacher_model, ''), teacher.model) AS teacher_model,
        section_from, section_to
    FROM scores JOIN answers USING (domain, run, question_id, source, arm, evaluated)
    LEFT JOIN questions USING (domain, run, question_id, source)
    LEFT JOIN (SELECT call AS teacher_call, any_value(model) AS model FROM ledger GROUP BY call) AS teacher
        USING (teacher_call)
    SEMI JOIN current_verdicts USING (domain, run);
CREATE OR REPLACE VIEW metric_history AS
    SELECT aggregates.*, recorded_at, baseline_model, student_model FROM aggregates JOIN runs USING (domain, run)
    ORDER BY domain, metric, source, arm, recorded_at;
CREATE OR REPLACE VIEW worst_rows AS
    SELECT domain, question_id, source, arm, student.value AS student, baseline.value AS baseline, answers.question,
        answers.golden_answers, answers.final_answer, answers.status
    FROM scores AS student
    JOIN scores AS baseline USING (domain, run, question_id, source, arm, metric)
    JOIN answers USING (domain, run, question_id, source, arm)
    SEMI JOIN current_verdicts USING (domain, run)
    WHERE metric = 'token_f1' AND student.evaluated = 'student' AND baseline.evaluated = 'baseline'
        AND answers.evaluated = 'student'
    ORDER BY student.value - baseline.value, student.value, question_id;
"""


@dataclass(frozen=True)
class QueryLimits:
    """What a person's query may take: seconds, and gigabytes of DuckDB's memory."""

    seconds: int = 60
    memory_gb: int = 2

    @classmethod
    def of(cls, environment: Environment) -> Self:
        """Return the limits that the environment sets; raises SettingsError."""
        return cls(
            read_int(environment, "RAFT_SQL_TIMEOUT_S", default=cls.seconds, low=1, high=86_400),
            read_int(environment, "RAFT_SQL_MEMORY_GB", default=cls.memory_gb, low=1, high=1_024),
        )


@dataclass(frozen=True)
class RunRecord:
    """What an evaluation was of. Equal models, data and settings are the same run, whenever it was made.

    `baseline_model` is empty where a student alone was asked. `base_model` is what the student was fine-tuned from and
    `preset` what its settings come from, both empty where that isn't known: they describe the run, and aren't part of
    its hash.
    """

    domain: str
    baseline_model: str
    student_model: str
    training_hash: str
    dataset_hash: str
    settings: Mapping[str, Any]
    dagster_run: str
    recorded_at: datetime
    links: Mapping[str, str] = field(default_factory=dict)  # to its data, by column of `runs`
    base_model: str = ""
    preset: str = ""

    @property
    def content_hash(self) -> str:
        """Hash of models, data and settings: with the domain, the run's key."""
        settings = json.dumps(self.settings, sort_keys=True, ensure_ascii=False, default=str)
        return digest("run", self.baseline_model, self.student_model, self.training_hash, self.dataset_hash, settings)


class ResultsStore:
    """Writes and reads evaluations; writing and reading at the same time is fine, from any number of processes.

    `lake`: where evaluations are kept as well, and from which a lost or damaged file is made anew.
    """

    def __init__(self, path: str, lake: Lake | None = None) -> None:
        self.path = path
        self._lake = lake
        self._is_shared = lake is not None and not lake.is_local
        self._is_current = not self._is_shared  # with what other machines have recorded

    @classmethod
    def of(cls, project: Project) -> Self:
        """Return the results store of a project."""
        return cls(str(project.results), Lake.of(project))

    def record(self, run: RunRecord, evaluation: Evaluation | StudentEvaluation) -> None:
        """Store an evaluation, in place of an earlier one of the same run; other runs stay as history.

        Called once per evaluation, and the only way into the tables of evaluations and their copy in the lake. One of a
        student alone has no verdict: it is never a domain's current one, nor that of its previous student.
        """
        domain, name = run.domain, run.content_hash
        with self._writing() as connection:
            _replace_run(connection, domain, name, _evaluation_rows(run, evaluation))
        if self._lake:
            self._lake.write_evaluation(domain, name, self._rows_of(domain, name))
            self.sync([domain])

    def runs(self, wait_s: float = OPEN_TIMEOUT_S) -> set[tuple[str, str]]:
        """Return domain and run of every evaluation; another program that holds the file is waited for so long."""
        with self._reading(wait_s) as connection:
            return _select_runs(connection)

    def refresh(self) -> None:
        """Take what other machines have recorded since the last look from the lake, when something is read next."""
        self._is_current = not self._is_shared

    def sync(self, domains: Collection[str]) -> None:
        """Keep in the lake what only this store has of the domains, and take from the lake what only that has.

        Versions before 0.3.0 kept evaluations here alone.
        """
        if self._lake is None:
            return
        here = {(domain, run) for domain, run in self.runs() if domain in domains}
        there = {(domain, run) for domain, run in self._lake.evaluations() if domain in domains}
        for domain, run in sorted(here - there):
            self._lake.write_evaluation(domain, run, self._rows_of(domain, run))
        if lost := sorted(there - here):
            with self._writing() as connection:
                _restore_runs(connection, self._lake, lost)
        if self._is_shared:
            self._note_versions(domains)

    def _take_from_others(self, wait_s: float = OPEN_TIMEOUT_S) -> None:
        """Take the evaluations from a shared lake that this file lacks, or has as they were before: one listing."""
        if self._is_current:
            return
        self._is_current = True
        try:
            self._take(self.runs(wait_s))
        except BaseException:
            self._is_current = False
            raise

    def _take(self, here: Collection[tuple[str, str]]) -> None:
        assert self._lake is not None
        there, known = self._lake.evaluation_versions(), self._versions()
        new = there.keys() - here
        changed = {run for run, version in there.items() if run in here and known.get(run) != version}
        if changed:  # recorded anew, or purged
            with self._rewriting() as (before, fresh):
                for table in TABLES:
                    _insert(fresh, table, _select_others(before, table, changed))
                _restore_runs(fresh, self._lake, sorted(new | changed))
        elif new:
            with self._writing() as connection:
                _restore_runs(connection, self._lake, sorted(new))
        if known != there:
            self._write_versions(there)

    def _note_versions(self, domains: Collection[str]) -> None:
        """Remember that what the lake has of the domains is here."""
        if self._lake:
            there = self._lake.evaluation_versions()
            own = {run: version for run, version in there.items() if run[0] in domains}
            self._write_versions(self._versions() | own)

    def _versions(self) -> dict[tuple[str, str], str]:
        """Return the versions, by domain and run, in which evaluations were taken from the lake or written to it."""
        file = self._versions_file
        found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        return {(domain, run): version for domain, run, version in found.get(self._lake and self._lake.root, ())}

    def _write_versions(self, versions: Mapping[tuple[str, str], str]) -> None:
        rows = [[*run, version] for run, version in sorted(versions.items())]
        write_text(self._versions_file, json.dumps({self._lake and self._lake.root: rows}))

    @property
    def _versions_file(self) -> Path:
        return Path(f"{self.path}.versions.json")

    def _rows_of(self, domain: str, run: str) -> dict[str, pa.Table]:
        with self._reading() as connection:
            return {table: _select_run(connection, table, domain, run) for table in RUN_TABLES}

    def replace_ledger(self, rows: Sequence[LedgerRow]) -> None:
        """Replace the table of paid calls by the ledger as it is now."""
        with self._writing() as connection:
            connection.execute("DELETE FROM ledger")
            _insert(connection, "ledger", _to_arrow(rows, LedgerRow))

    def verdict(self, domain: str) -> Verdict:
        """Return the domain's latest verdict. Raises DataError if there is none yet."""
        row = self.verdicts().get(domain)
        if row is None:
            raise DataError(f"{domain!r} has no verdict yet. Materialize it: raft run {domain!r} --select eval_scores")
        return _verdict_from_row(row)

    def summary(self, domain: str) -> pd.DataFrame:
        """Return means and intervals of the domain's latest run, with the columns of `summary.COLUMNS`."""
        with self._reading() as connection:
            return _current_summary(connection, domain)

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Return the latest verdict of every domain, with the columns of `current_verdicts`."""
        with self._reading() as connection:
            rows = _current_verdicts(connection)
        return {row["domain"]: row | {"guards": json.loads(row["guards"])} for row in rows}

    def latest_run(self, domain: str) -> dict[str, Any]:
        """Return the Dagster run that made the domain's latest evaluation, and when it was recorded.

        Keys: `dagster_run`, `recorded_at`. Raises DataError if there is no evaluation.
        """
        with self._reading() as connection:
            row = _latest_run(connection, domain)
        if row is None:
            raise DataError(f"{domain!r} was not evaluated. Materialize it: raft run {domain!r} --select eval_scores")
        return row

    def comparison(self, domain: str) -> dict[str, Any] | None:
        """Return how the student of the latest run compares with the previous one; None where there was none."""
        with self._reading() as connection:
            return _comparison(connection, domain)

    def slices(self, domain: str) -> pd.DataFrame:
        """Return the scores of the domain's latest run by slice: the columns of `SLICE_COLUMNS` and more."""
        with self._reading() as connection:
            return _current_slices(connection, domain)

    def previous_student_scores(self, run: RunRecord, answers: Iterable[ModelAnswer]) -> pd.DataFrame:
        """Return the scores of the domain's last other student where it was asked the same as now.

        That is the same question with the same documents in their order, instructions and right answers (`answers`:
        those of this run). They have the columns of `Score`; empty if there is no such student or question.
        """
        mine = _to_arrow([answer for answer in answers if answer.evaluated == "student"], ModelAnswer)
        with self._writing() as connection:  # a file of an earlier version gets its columns
            return _scores_of_previous_student(connection, run, mine)

    def evaluated_runs(self, domain: str) -> list[dict[str, Any]]:
        """Return the evaluations of a domain, oldest first: the columns of `runs`, and `has_verdict`."""
        with self._writing() as connection:  # a file of an earlier version gets its columns
            return _select_evaluated_runs(connection, domain)

    def rendered_answers(self, domain: str, run: str) -> list[RenderedAnswer]:
        """Return the student's answers of an evaluation, without the documents shown; none where they were purged."""
        with self._writing() as connection:  # as above
            return _select_rendered_answers(connection, domain, run)

    def history(self, domain: str, metric: str) -> pd.DataFrame:
        """Return the metric in every run of the domain, oldest first per source and arm."""
        with self._reading() as connection:
            return _metric_history(connection, domain, metric)

    def query(self, sql: str, lake: Lake | None = None, limits: QueryLimits | None = None) -> pd.DataFrame:
        """Run a person's query and return all of its rows; raises as `stream` does."""
        with self.stream(sql, lake, limits) as rows:
            found: pd.DataFrame = rows.read_all().to_pandas()
        return found

    @contextmanager
    def stream(
        self, sql: str, lake: Lake | None = None, limits: QueryLimits | None = None
    ) -> Iterator[pa.RecordBatchReader]:
        """Run a person's query over this store and the lake's tables, and read its rows batch by batch.

        It can't write: only what reads is run, on a copy of the file that nobody else has, with the lake's tables as
        they are handed over and no other file or network. So it holds nothing that a run waits for. Raises DataError
        for anything but a query that reads and for one that passes its limits, and duckdb.Error.
        """
        sql = only_reading(sql)
        limits = limits or QueryLimits()
        with self.open_copy(lake, limits, mentioned_in=sql.casefold()) as connection, _limited(connection, limits):
            relation = connection.sql(sql)
            yield relation.to_arrow_reader(QUERY_BATCH_ROWS) if relation else pa.table({}).to_reader()

    def columns(self, lake: Lake | None = None) -> pd.DataFrame:
        """Return every table and view with its columns, for a person's queries."""
        with self.open_copy(lake, QueryLimits()) as connection:
            return _columns(connection)

    @contextmanager
    def open_copy(
        self, lake: Lake | None, limits: QueryLimits, mentioned_in: str | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a copy of the file with the lake's tables, by which no statement can write what is kept.

        With a text, only the lake's tables that it mentions are there. The copy's texts are nowhere on disk once it is
        open, and nothing else waits for it.
        """
        config = {**_NO_EXTERNAL_ACCESS, "memory_limit": f"{limits.memory_gb}GB", "temp_directory": ""}
        with tempfile.TemporaryDirectory(prefix="raft-sql-") as folder:
            copy = Path(folder) / Path(self.path).name
            with self._reading():  # a shared lock on the file: no program changes it meanwhile
                shutil.copyfile(self.path, copy)
            connection = duckdb.connect(str(copy), read_only=True, config=config)
        with connection:
            connection.execute("SET python_enable_replacements = false")  # no variable of ours is a table
            for table, rows in lake.datasets(mentioned_in) if lake else ():
                connection.register(table, rows)
            connection.execute("SET lock_configuration = true")
            try:
                yield connection
            except duckdb.Error as error:
                if _is_damage(error):  # or a query that says so: only what this store finds itself counts
                    self._read_through()
                raise

    def count_texts(self, domain: str) -> int:
        """Return in how many evaluations of a domain texts are still kept."""
        with self._reading() as connection:
            return _count_texts(connection, domain)

    def document_paths(self, domain: str) -> set[str]:
        """Return the documents that questions of a domain's evaluations came from."""
        with self._reading() as connection:
            return _select_paths(connection, domain)

    def remove_texts(self, domain: str) -> int:
        """Remove questions, documents and answers from a domain's evaluations, which keep their numbers.

        Returns the number of evaluations. The file is replaced by a new one, because DuckDB keeps the bytes of what was
        changed. A waiting writer finds the new file, see `_open`.
        """
        self._delete_drafts()
        if Path(self.path).exists() or (self._lake and self._lake.evaluations()):
            self.sync([domain])  # which may set a damaged file aside, and give an evaluation up
        if self._lake:
            self._lake.delete_broken_evaluations(domain)
        if not Path(self.path).exists():
            return 0
        with self._rewriting() as (before, fresh):
            changed = _count_texts(before, domain)
            for table in TABLES:
                _insert(fresh, table, _select_without_texts(before, table, domain))
        self._delete_drafts()
        if self._lake:
            for kept, run in sorted(self.runs()):
                if kept == domain:
                    self._lake.write_evaluation(domain, run, self._rows_of(domain, run))
            if self._is_shared:
                self._note_versions([domain])
        return changed

    @contextmanager
    def _rewriting(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]]:
        """Open the file and an empty new one, which takes its place when the block ends: no byte stays as it was."""
        fresh_path = Path(f"{self.path}.purged")
        with self._open(read_only=False) as connection:
            connection.execute(_SCHEMA)
            with _new_file(fresh_path) as fresh:
                fresh.execute(_SCHEMA)
                yield connection, fresh
            connection.execute("CHECKPOINT")  # leaves no log behind that would be replayed into the new file
            fresh_path.replace(self.path)

    def _delete_drafts(self) -> None:
        """Delete damaged files that were set aside, and what killed processes left of new ones: they hold texts."""
        with exclusive_lock(Path(f"{self.path}.lock")):
            for kind in ("damaged-*", "new*", "purged*"):
                for file in Path(self.path).parent.glob(f"{Path(self.path).name}.{kind}"):
                    file.unlink()

    @contextmanager
    def _reading(self, wait_s: float = OPEN_TIMEOUT_S) -> Iterator[duckdb.DuckDBPyConnection]:
        self._take_from_others(wait_s)
        with self._open(read_only=True, wait_s=wait_s) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._take_from_others()
        with self._open(read_only=False) as connection, _transaction(connection):
            connection.execute(_SCHEMA)
            yield connection

    @contextmanager
    def _open(
        self,
        *,
        read_only: bool,
        config: Mapping[str, str | bool | int | float | list[str]] = _NO_EXTERNAL_ACCESS,
        wait_s: float = OPEN_TIMEOUT_S,
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a connection for as long as the block takes. Our processes queue, other holders are waited for.

        A file that is lost or damaged is made anew. Raises DataError where damage is found only in the block.
        """
        deadline = time.monotonic() + wait_s
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(Path(f"{self.path}.lock")):
            if not Path(self.path).exists():
                self._create()
            while (connection := self._try_to_open(read_only=read_only, config=config)) is None:
                if time.monotonic() > deadline:
                    raise DataError(
                        f"The results store {self.path} has been locked by another program for {wait_s:.0f} s. "
                        "Close that program (a DuckDB shell, a notebook) and try again."
                    )
                time.sleep(random.uniform(*RETRY_S))
            try:
                with connection:
                    yield connection
            except duckdb.Error as error:
                if self._lake is None or not _is_damage(error):
                    raise
                aside = self._set_aside()
                raise DataError(
                    f"The results store {self.path} is damaged ({_first_line(error)}). It was moved to {aside}; the "
                    "next command makes it anew from the evaluations in the lake. Run again."
                ) from error

    def _create(self) -> None:
        """Make the file anew with the evaluations that the lake keeps; it appears whole or not at all.

        An empty one has its tables and views, so that every query has its columns.
        """
        draft = Path(f"{self.path}.new")
        versions = self._lake.evaluation_versions() if self._lake and self._is_shared else {}
        runs = sorted(versions or (self._lake.evaluations() if self._lake else ()))
        with _new_file(draft) as connection:
            connection.execute(_SCHEMA)
            if self._lake and runs:
                restored = _restore_runs(connection, self._lake, runs)
                level = logging.INFO if self._is_shared else logging.WARNING  # of which it is a cache
                log.log(
                    level, "The results store %s was made anew from %d evaluations in the lake.", self.path, restored
                )
        draft.replace(self.path)
        if self._is_shared:
            self._write_versions(versions)

    def _set_aside(self) -> Path:
        """Move a damaged file, with its log, to a name that no other one has, and return that."""
        number = 1
        while (aside := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        log.warning(
            "The results store %s is damaged and was moved to %s. What it held of versions before 0.3.0 is not in the "
            "lake: `raft run` makes the present evaluations again, earlier ones are in the damaged file only.",
            *(self.path, aside),
        )
        Path(self.path).replace(aside)
        if (write_ahead_log := Path(f"{self.path}.wal")).exists():
            write_ahead_log.replace(f"{aside}.wal")
        return aside

    def _read_through(self) -> None:
        """Read every row. Raises DataError, and moves the file away, if it is damaged."""
        with self._reading() as connection:
            for table in TABLES:
                for _ in _select_all(connection, table):
                    pass

    def _try_to_open(
        self, *, read_only: bool, config: Mapping[str, str | bool | int | float | list[str]]
    ) -> duckdb.DuckDBPyConnection | None:
        """Return a connection, or None while another one holds the file."""
        before = _inode(self.path)
        try:
            connection = duckdb.connect(self.path, read_only=read_only, config=dict(config))
        except duckdb.Error as error:
            if any(sign in str(error) for sign in _LOCKED_MESSAGES):
                return None
            if self._lake and _is_damage(error):
                self._set_aside()
                self._create()
                return None
            raise DataError(
                f"The results store {self.path} cannot be opened ({error}). Move it away, or restore it."
            ) from error
        if before not in (None, _inode(self.path)):
            connection.close()  # a purge put a new file in place between finding the old one and locking it
            return None
        return connection


@contextmanager
def _new_file(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a new file that is on disk as a whole when the block ends. Raises DataError where it can't be written.

    Closing a connection says nothing of a disk that is full, and leaves a file without its tables.
    """
    for left in (path, Path(f"{path}.wal")):
        left.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(path), config=_NO_EXTERNAL_ACCESS) as connection:
            yield connection
            connection.execute("CHECKPOINT")
    except (duckdb.IOException, duckdb.FatalException) as error:
        raise DataError(
            f"{path} can't be written ({_first_line(error)}). Free disk space and run again; nothing was changed."
        ) from error


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _delete_run(connection: duckdb.DuckDBPyConnection, table: str, domain: str, run: str) -> None:
    statement = f"DELETE FROM {_checked_table_name(table)} WHERE domain = ? AND run = ?"  # noqa: S608 - a name of `TABLES`
    connection.execute(statement, [domain, run])


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    connection.register("incoming", rows)
    statement = f"INSERT INTO {_checked_table_name(table)} BY NAME SELECT * FROM incoming"  # noqa: S608 - a name of `TABLES`
    connection.execute(statement)
    connection.unregister("incoming")


def _select_runs(connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    return {(domain, run) for domain, run in connection.execute("SELECT domain, run FROM runs").fetchall()}


def _select_run(connection: duckdb.DuckDBPyConnection, table: str, domain: str, run: str) -> pa.Table:
    statement = f"SELECT * FROM {_checked_table_name(table)} WHERE domain = ? AND run = ? ORDER BY rowid"  # noqa: S608 - a name of `TABLES`
    rows: pa.Table = connection.sql(statement, params=[domain, run]).to_arrow_table()
    return rows


def _select_all(connection: duckdb.DuckDBPyConnection, table: str) -> pa.RecordBatchReader:
    statement = f"SELECT * FROM {_checked_table_name(table)}"  # noqa: S608 - a name of `TABLES`
    rows: pa.RecordBatchReader = connection.sql(statement).to_arrow_reader(QUERY_BATCH_ROWS)
    return rows


def _select_others(
    connection: duckdb.DuckDBPyConnection, table: str, runs: Collection[tuple[str, str]]
) -> pa.RecordBatchReader:
    """Return a table in the order of its rows, without those of the evaluations."""
    columns = {"domain": [domain for domain, _ in runs], "run": [run for _, run in runs]}
    connection.register("left_out", pa.table(columns))
    name = _checked_table_name(table)
    statement = f"SELECT * FROM {name} ANTI JOIN left_out USING (domain, run) ORDER BY {name}.rowid"  # noqa: S608 - a name of `TABLES`
    rows: pa.RecordBatchReader = connection.sql(statement).to_arrow_reader(QUERY_BATCH_ROWS)
    return rows


def _restore_runs(connection: duckdb.DuckDBPyConnection, lake: Lake, runs: Iterable[tuple[str, str]]) -> int:
    """Copy evaluations from the lake and return how many; one that isn't whole is given up with a warning."""
    restored = 0
    for domain, run in runs:
        try:
            content, damage = lake.read_evaluation(domain, run), ""
        except DataError as error:
            content, damage = {}, str(error)
        if gone := set(RUN_TABLES) - content.keys():
            if LAST_TABLE in gone and not damage:  # another machine writes it at this moment
                continue
            damage = damage or f"{', '.join(sorted(gone))} are not there."
            log.warning("The evaluation %s of %s in the lake is not whole and is left out: %s", run, domain, damage)
            lake.give_up_evaluation(domain, run)
            continue
        _replace_run(connection, domain, run, content)
        restored += 1
    return restored


def _replace_run(connection: duckdb.DuckDBPyConnection, domain: str, run: str, tables: Mapping[str, pa.Table]) -> None:
    """Put the rows of an evaluation, by table, in place of those that are there."""
    for table in RUN_TABLES:
        _delete_run(connection, table, domain, run)
        if table in tables:
            _insert(connection, table, tables[table])


def _select_evaluated_runs(connection: duckdb.DuckDBPyConnection, domain: str) -> list[dict[str, Any]]:
    # as microseconds: see `_current_verdicts`
    sql = """SELECT runs.* REPLACE (epoch_us(recorded_at) AS recorded_at), judged.run IS NOT NULL AS has_verdict
        FROM runs LEFT JOIN (SELECT DISTINCT domain, run FROM verdicts) AS judged USING (domain, run)
        WHERE domain = ? ORDER BY recorded_at, run"""
    rows: list[dict[str, Any]] = connection.sql(sql, params=[domain]).to_arrow_table().to_pylist()
    return [
        row
        | {
            "recorded_at": datetime.fromtimestamp(row["recorded_at"] / 1e6, UTC),
            "settings": json.loads(row["settings"]),
        }
        for row in rows
    ]


def _select_rendered_answers(connection: duckdb.DuckDBPyConnection, domain: str, run: str) -> list[RenderedAnswer]:
    names = [name for name in ModelAnswer.model_fields if name != "documents"]
    # as JSON, in which no two lists of texts are the same
    sql = f"""SELECT {", ".join(names)}, md5(to_json([
            question, to_json(documents)::VARCHAR, to_json(golden_answers)::VARCHAR, answerable::VARCHAR,
            coalesce(language, '')])::VARCHAR) AS rendering
        FROM answers WHERE domain = ? AND run = ? AND evaluated = 'student' AND question IS NOT NULL
        ORDER BY rowid"""  # noqa: S608 - names of columns
    rows = connection.sql(sql, params=[domain, run]).to_arrow_table().to_pylist()
    return [RenderedAnswer(row.pop("rendering"), ModelAnswer.model_construct(**row, documents=[])) for row in rows]


def _evaluation_rows(run: RunRecord, evaluation: Evaluation | StudentEvaluation) -> dict[str, pa.Table]:
    """Return the rows of an evaluation, by table of the store."""
    key = {"domain": run.domain, "run": run.content_hash}
    rows = {
        "runs": pa.Table.from_pylist([key | _run_row(run)]),
        "answers": _add_key_columns(_to_arrow(evaluation.answers, ModelAnswer), key),
        "scores": _add_key_columns(_to_arrow(evaluation.scores, Score), key),
        "questions": _add_key_columns(_to_arrow(evaluation.origins, QuestionProvenance), key),
    }
    if isinstance(evaluation, StudentEvaluation):
        return rows
    verdicts = [verdict for verdict in (evaluation.verdict, evaluation.against_previous) if verdict]
    return rows | {
        "aggregates": _add_key_columns(pa.Table.from_pandas(evaluation.summary, preserve_index=False), key),
        "slices": _add_key_columns(pa.Table.from_pandas(evaluation.slices, preserve_index=False), key),
        "verdicts": pa.Table.from_pylist([key | _verdict_row(verdict) for verdict in verdicts]),
    }


def _select_without_texts(connection: duckdb.DuckDBPyConnection, table: str, domain: str) -> pa.RecordBatchReader:
    """Return a table in the order of its rows, without the texts of a domain."""
    texts = TEXT_COLUMNS.get(_checked_table_name(table), ())
    removed = ", ".join(f"CASE WHEN domain = $domain THEN NULL ELSE {name} END AS {name}" for name in texts)
    columns = f"* REPLACE ({removed})" if texts else "*"
    statement = f"SELECT {columns} FROM {table} ORDER BY rowid"  # noqa: S608 - a name of `TABLES`, names of columns
    rows: pa.RecordBatchReader = connection.sql(
        statement, params={"domain": domain} if texts else None
    ).to_arrow_reader()
    return rows


def _count_texts(connection: duckdb.DuckDBPyConnection, domain: str) -> int:
    statement = "SELECT count(DISTINCT run) FROM answers WHERE domain = ? AND question IS NOT NULL"
    (count,) = connection.execute(statement, [domain]).fetchall()[0]
    return int(count)


def _select_paths(connection: duckdb.DuckDBPyConnection, domain: str) -> set[str]:
    rows = connection.execute("SELECT DISTINCT path FROM questions WHERE domain = ?", [domain]).fetchall()
    return {path for (path,) in rows if path}


def _current_verdicts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    # as microseconds: for a time, pyarrow imports pandas, half a second that no command needs to print a sentence
    sql = "SELECT * REPLACE (epoch_us(recorded_at) AS recorded_at) FROM current_verdicts ORDER BY domain"
    rows: list[dict[str, Any]] = connection.sql(sql).to_arrow_table().to_pylist()
    return [row | {"recorded_at": datetime.fromtimestamp(row["recorded_at"] / 1e6, UTC)} for row in rows]


def _current_summary(connection: duckdb.DuckDBPyConnection, domain: str) -> pd.DataFrame:
    sql = """SELECT * FROM aggregates SEMI JOIN current_verdicts USING (domain, run)
        WHERE domain = ? ORDER BY aggregates.rowid"""
    # a store that an earlier version wrote last has fewer columns
    return _frame(connection.sql(sql, params=[domain])).reindex(columns=SUMMARY_COLUMNS)


def _metric_history(connection: duckdb.DuckDBPyConnection, domain: str, metric: str) -> pd.DataFrame:
    sql = "SELECT * FROM metric_history WHERE domain = ? AND metric = ?"
    return _frame(connection.sql(sql, params=[domain, metric]))


def _latest_run(connection: duckdb.DuckDBPyConnection, domain: str) -> dict[str, Any] | None:
    sql = """SELECT dagster_run, epoch_us(runs.recorded_at) AS recorded_at FROM runs
        JOIN current_verdicts USING (domain, run) WHERE domain = ?"""
    rows: list[dict[str, Any]] = connection.sql(sql, params=[domain]).to_arrow_table().to_pylist()
    return {**rows[0], "recorded_at": datetime.fromtimestamp(rows[0]["recorded_at"] / 1e6, UTC)} if rows else None


def _comparison(connection: duckdb.DuckDBPyConnection, domain: str) -> dict[str, Any] | None:
    sql = "SELECT * FROM students_compared SEMI JOIN current_verdicts USING (domain, run) WHERE domain = ?"
    rows: list[dict[str, Any]] = connection.sql(sql, params=[domain]).to_arrow_table().to_pylist()
    return rows[0] if rows else None


def _current_slices(connection: duckdb.DuckDBPyConnection, domain: str) -> pd.DataFrame:
    sql = "SELECT * FROM slices SEMI JOIN current_verdicts USING (domain, run) WHERE domain = ? ORDER BY slices.rowid"
    return _frame(connection.sql(sql, params=[domain])).reindex(columns=SLICE_COLUMNS)


def _scores_of_previous_student(
    connection: duckdb.DuckDBPyConnection, run: RunRecord, answers: pa.Table
) -> pd.DataFrame:
    connection.register("asked_now", answers)
    # runs of versions before didn't keep their instructions
    sql = f"""WITH earlier AS (
            SELECT domain, run, settings ->> '$.prompt.instructions' AS instructions
            FROM runs SEMI JOIN verdicts USING (domain, run)
            WHERE domain = ? AND (student_model <> ? OR training_hash <> ?)
            ORDER BY recorded_at DESC, run LIMIT 1),
        same AS (
            SELECT domain, run, question_id, source, arm FROM answers JOIN earlier USING (domain, run)
            JOIN asked_now USING (question_id, source, arm, question, documents, golden_answers, answerable)
            WHERE answers.evaluated = 'student'
            AND coalesce(answers.language, '') = coalesce(asked_now.language, '')
            AND coalesce(instructions = ?, true))
        SELECT {", ".join(Score.model_fields)} FROM scores SEMI JOIN same USING (domain, run, question_id, source, arm)
        WHERE evaluated = 'student'"""  # noqa: S608 - names of columns
    instructions = (run.settings.get("prompt") or {}).get("instructions")
    parameters = [run.domain, run.student_model, run.training_hash, instructions]
    found = _frame(connection.sql(sql, params=parameters))
    connection.unregister("asked_now")
    return found


@contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, limits: QueryLimits) -> Iterator[None]:
    """Stop the connection's query after its time; raises DataError where it passes a limit."""
    timer = threading.Timer(limits.seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise DataError(
            f"The query took longer than {limits.seconds} s. Narrow it, or set RAFT_SQL_TIMEOUT_S to more seconds."
        ) from error
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise DataError(
            f"The query needs more than {limits.memory_gb} GB of memory. Narrow it, or set RAFT_SQL_MEMORY_GB to more."
        ) from error
    finally:
        timer.cancel()


def _columns(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    sql = """SELECT table_name AS name, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
        FROM information_schema.columns
        WHERE table_schema = 'main' AND table_catalog IN (current_database(), 'temp')
        GROUP BY table_name ORDER BY table_name"""
    return _frame(connection.sql(sql))


def _frame(relation: duckdb.DuckDBPyRelation | None) -> pd.DataFrame:
    """Return the rows of a relation; an empty frame for a statement that has none."""
    import pandas as pd

    frame: pd.DataFrame = relation.to_arrow_table().to_pandas() if relation else pd.DataFrame()
    return frame


def _checked_table_name(table: str) -> str:
    """Return a table's name, which can't be a parameter, if it is one of the store's; raises ValueError otherwise."""
    return TABLES[TABLES.index(table)]


def _to_arrow(rows: Sequence[Row], model: type[Row]) -> pa.Table:
    return pa.Table.from_pylist([row.model_dump() for row in rows], schema=arrow_schema(model))


def _add_key_columns(table: pa.Table, key: Mapping[str, str]) -> pa.Table:
    for name, value in key.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return table


def _run_row(run: RunRecord) -> dict[str, Any]:
    columns = {column.name: getattr(run, column.name) for column in fields(run) if column.name != "links"}
    settings = json.dumps(run.settings, sort_keys=True, ensure_ascii=False, default=str)
    described = {name: getattr(run, name) or None for name in ("base_model", "preset")}
    links = {name: link or None for name, link in run.links.items()}
    return columns | described | links | {"settings": settings, "schema_version": EVALUATION_SCHEMA}


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    interval = verdict.interval
    return {one.name: getattr(verdict, one.name) for one in fields(verdict) if one.name != "interval"} | {
        "difference": interval.mean if interval else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "guards": json.dumps([asdict(guard) for guard in verdict.guards]),
        "by_document": json.dumps(asdict(verdict.by_document)) if verdict.by_document else None,
        "reasons": list(verdict.reasons),
    }


def _verdict_from_row(row: Mapping[str, Any]) -> Verdict:
    """Rebuild the verdict that `_verdict_row` stored, with its guards already read."""
    values = {one.name: row[one.name] for one in fields(Verdict) if one.name in row}
    guards = [guard | {"interval": guard["interval"] and Interval(**guard["interval"])} for guard in row["guards"]]
    interval = None
    if row["difference"] is not None:
        interval = Interval(row["difference"], row["low"], row["high"], row["n"], row["clusters"])
    return Verdict(
        **values
        | {
            "interval": interval,
            "guards": tuple(Guard(**guard) for guard in guards),
            "reasons": tuple(row["reasons"]),
            "documents": row.get("documents") or 0,
            "by_document": Interval(**json.loads(by_document)) if (by_document := row.get("by_document")) else None,
        }
    )


def _is_damage(error: BaseException) -> bool:
    """Return whether DuckDB says that the file isn't whole, also where that made a rollback fail."""
    told = (error, error.__context__)
    return any(sign in str(one) for one in told for sign in _DAMAGE_MESSAGES)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _inode(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return None
