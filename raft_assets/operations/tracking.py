"""Logging evaluations at the MLflow server that the project's `.env` names, and deleting what was logged.

Nothing here stops a run: what can't be logged ends in a sentence. MLflow's client works in a process of its own
(`operations/mlflow_worker`), within a bound of time. What was logged is on record, by which a purge finds it also when
the server is named no more.
"""

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raft_assets.core.errors import RaftError
from raft_assets.core.identity import digest
from raft_assets.core.ports import VersionedRecord, newest_of_all
from raft_assets.dataset.data_card import CARD_FILE
from raft_assets.evaluation.model_card import StudentCard, StudentEvaluation
from raft_assets.evaluation.wording import count_noun
from raft_assets.operations import mlflow_worker
from raft_assets.operations.mlflow_worker import DOMAIN_TAG, EVALUATION_TAG
from raft_assets.operations.model_card import WrittenCard
from raft_assets.operations.process import records_of
from raft_assets.settings.project import Project
from raft_assets.settings.tracking import ADDRESS_VARIABLE, Tracking
from raft_assets.storage.lake import Lake

RECORDS = "mlflow"  # folder of the records, one per server and domain
MODEL_CARD_FILE = "MODEL_CARD.md"
LOG_S = 120.0  # in which an evaluation is logged; on a busy machine the client alone takes 10 s to start
CHECK_S = 60.0
DELETE_S = 180.0
REQUEST_S = 10  # of one request to the server; it is tried once more
INSTALL = "install raft-assets[mlflow]"
MAX_REASON_CHARACTERS = 300
CLIENT_PREFIXES = ("MLFLOW_", "DATABRICKS_")  # of variables that change what MLflow's client does
SECRET_SUFFIXES = ("_USERNAME", "_PASSWORD", "_TOKEN")  # of variables that sign in
# of an evaluation, by which it is traced back
TRACED = ("training_hash", "dataset_hash", "qa_dataset_digest", "train_file_hash", "valid_file_hash", "manifest_hash")

_Logged = dict[str, str | None]  # evaluations and their runs; None for a run that isn't known


class TrackingError(RaftError):
    """The MLflow server could not be used."""


@dataclass(frozen=True)
class Logged:
    """What became of logging an evaluation: the address of its run, or a warning; both are empty without a server."""

    address: str = ""
    warning: str = ""


@dataclass(frozen=True)
class WorkerReply:
    """What the process reported, and why it did not end well; empty if it did."""

    events: list[dict[str, Any]]
    problem: str

    def check(self) -> None:
        """Raise TrackingError for a job that did not end well."""
        if self.problem:
            raise TrackingError(self.problem)


def log_evaluation(project: Project, lake: Lake, domain: str, card: WrittenCard) -> Logged:
    """Log the evaluation on a student's card, once however often it is asked for. Never raises RaftError or OSError."""
    try:
        tracking = Tracking.of(project.environment)
        if tracking is None or card.card.evaluation is None:
            return Logged()
        with tempfile.TemporaryDirectory(prefix="raft-mlflow-") as folder:
            _write_files(Path(folder), lake, domain, card, with_texts=tracking.with_texts)
            job = _describe(lake, card.card, card.card.evaluation)
            content = digest(json.dumps(job, sort_keys=True), *_contents(Path(folder)))
            address = _log(project, tracking, domain, job | {"content": content, "folder": folder})
    except (RaftError, OSError) as error:
        return Logged(
            warning=f"The evaluation was not logged: {str(error).rstrip('.')}. Everything else is done; log it later "
            f"with: raft run {domain!r} --select eval_report --force"
        )
    return Logged(address)


def check_tracking(project: Project) -> str:
    """Return where evaluations are logged; empty where they aren't. Raises SettingsError, and TrackingError."""
    tracking = Tracking.of(project.environment)
    if tracking is None:
        return ""
    _ask(project, tracking, {"do": "check"}, CHECK_S).check()
    texts = "with report and answers" if tracking.with_texts else "figures and cards, without report and answers"
    return f"evaluations are logged at {tracking.address}: {texts}"


class LoggedRuns:
    """The runs at MLflow servers that hold evaluations of a domain; `left` says what could not be deleted."""

    def __init__(self, project: Project, domain: str) -> None:
        self._project, self._domain = project, domain
        self.left: list[str] = []

    def listing(self) -> Iterator[str]:
        """Yield a line per server with what was logged there, without asking it."""
        for address, logged in self._by_server().items():
            yield f"MLflow at {address}: {count_noun(len(logged), 'evaluation')}"

    def delete(self) -> Iterator[str]:
        """Delete the runs with their artifacts; yield what was done, per server, and what only its owner can do."""
        for address, logged in self._by_server().items():
            job = {"do": "delete", "experiment": _experiment(self._domain), "logged": logged}
            reply = self._ask(address, job)
            problems = {event["run"]: event["problem"] for event in reply.events if event["problem"]}
            deleted = [event["run"] for event in reply.events if event["was_there"] and event["run"] not in problems]
            if deleted:
                yield (
                    f"MLflow at {address}: {count_noun(len(deleted), 'evaluation')} with what was logged of them; the "
                    f"server keeps their figures, as deleted, until its owner calls: {_collecting(deleted)}"
                )
            for run, problem in problems.items():
                self.left.append(
                    f"artifacts of run {run} at {address} ({problem[:MAX_REASON_CHARACTERS]}): delete the run with "
                    f"{_deleting(address, [run])}, then its artifacts on the server with {_collecting([run])}"
                )
            if reply.problem:
                remaining = [run for run in logged.values() if run and run not in deleted]
                command = f", or delete them with: {_deleting(address, remaining)}" if remaining else ""
                self.left.append(f"evaluations at MLflow: {reply.problem}{command}")
            elif not problems:
                _record(self._project, address, self._domain).delete()

    def _ask(self, address: str, job: Mapping[str, Any]) -> WorkerReply:
        try:
            tracking = Tracking.of(self._project.environment)
            if tracking is None or tracking.address != address:
                return WorkerReply(
                    [], f"{address} is not the server in .env: set {ADDRESS_VARIABLE}={address} there again"
                )
            return _ask(self._project, tracking, job, DELETE_S)
        except RaftError as error:
            return WorkerReply([], str(error))

    def _by_server(self) -> dict[str, _Logged]:
        """Return the evaluations that were logged with their runs, by server; None for a run that isn't known."""
        records = map(json.loads, newest_of_all(records_of(self._project), RECORDS))
        of_domain = (record for record in records if record["domain"] == self._domain)
        return {record["address"]: record["logged"] for record in of_domain if record["logged"]}


def _log(project: Project, tracking: Tracking, domain: str, job: Mapping[str, Any]) -> str:
    """Log it and return the address of its run. The evaluation is on record before, its run once it is known."""
    address, evaluation = tracking.address, job["tags"][EVALUATION_TAG]
    _keep(project, address, domain, evaluation)
    reply = _ask(project, tracking, job, LOG_S)
    runs = [event for event in reply.events if "run" in event]
    for run in runs:
        _keep(project, address, domain, evaluation, run["run"])
    if not reply.events:  # the server was never asked to make one
        _forget(project, address, domain, evaluation)
    reply.check()
    return f"{address}/#/experiments/{runs[0]['experiment']}/runs/{runs[0]['run']}"


def _keep(project: Project, address: str, domain: str, evaluation: str, run: str | None = None) -> None:
    """Keep on record that an evaluation of a domain is logged at a server, and by which run once that is known."""
    _change_record(project, address, domain, lambda logged: logged | {evaluation: run or logged.get(evaluation)})


def _forget(project: Project, address: str, domain: str, evaluation: str) -> None:
    """Take an evaluation off the record, unless a run of it is known."""
    _change_record(
        project,
        address,
        domain,
        lambda logged: {name: run for name, run in logged.items() if run or name != evaluation},
    )


def _change_record(project: Project, address: str, domain: str, changed: Callable[[_Logged], _Logged]) -> None:
    def write(content: bytes | None) -> bytes:
        logged = changed(json.loads(content)["logged"] if content else {})
        record = {"address": address, "domain": domain, "logged": logged}
        return json.dumps(record, ensure_ascii=False, sort_keys=True).encode()

    _record(project, address, domain).change(write)


def _describe(lake: Lake, card: StudentCard, evaluation: StudentEvaluation) -> dict[str, Any]:
    """Return what is logged besides files: parameters, figures, and tags that lead back to what it was made of."""
    (row,) = _evaluation_table(lake, card.domain, evaluation, "runs").to_pylist()
    verdict, settings = evaluation.verdict, json.loads(row["settings"])
    groups = {name: values for name, values in settings.items() if isinstance(values, dict)}
    groups["hyperparameters"] = dict(card.hyperparameters)
    params = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    tags = {
        DOMAIN_TAG: card.domain,
        EVALUATION_TAG: evaluation.run,
        "raft_assets.student": row["student_model"],
        "raft_assets.job": card.job,
        "raft_assets.dagster_run": row["dagster_run"],
        "raft_assets.verdict": verdict.decision,
        "mlflow.note.content": verdict.sentence,
        **{f"raft_assets.{name}": row[name] or "" for name in TRACED},
    }
    return {
        "do": "log",
        "experiment": _experiment(card.domain),
        "name": card.model,
        "time_ms": int(evaluation.recorded_at.timestamp() * 1000),
        "tags": tags,
        "params": {"student": row["student_model"], "baseline": row["baseline_model"], **params},
        "metrics": dict(_metrics(card, evaluation)),
    }


def _metrics(card: StudentCard, evaluation: StudentEvaluation) -> Iterator[tuple[str, float]]:
    """Yield the figures that are numbers: those of the verdict first, then `source/arm/metric/what`."""
    verdict = evaluation.verdict
    figures: dict[str, float | None] = {
        "baseline": verdict.baseline,
        "student": verdict.student,
        "difference": verdict.interval.mean if verdict.interval else None,
        "low": verdict.interval.low if verdict.interval else None,
        "high": verdict.interval.high if verdict.interval else None,
        "p_value": verdict.p_value,
        "questions": verdict.n,
        "passages": verdict.clusters,
        "documents": verdict.documents or None,
        "trained_tokens": card.trained_tokens,
    }
    for row in evaluation.summary.to_dict("records"):
        start = f"{row['source']}/{row['arm']}/{row['metric']}".replace(" ", "_")
        columns = ("baseline", "student", "difference", "low", "high", "reference", "n")
        figures |= {f"{start}/{column}": row[column] for column in columns}
    yield from ((name, float(value)) for name, value in figures.items() if value is not None and math.isfinite(value))


def _write_files(folder: Path, lake: Lake, domain: str, card: WrittenCard, *, with_texts: bool) -> None:
    """Write what is logged as files: the cards, and what holds text of documents only if that is wanted."""
    (folder / MODEL_CARD_FILE).write_text(card.text, "utf-8")
    if data_card := lake.read_lines("data_card", domain, CARD_FILE):
        (folder / CARD_FILE).write_bytes(data_card)
    if not with_texts or card.card.evaluation is None:
        return
    (folder / "report.html").write_bytes(lake.path("eval_report", domain, ".html").read_bytes())
    answers = _evaluation_table(lake, domain, card.card.evaluation, "answers")
    pq.write_table(answers, folder / "answers.parquet")


def _contents(folder: Path) -> Iterator[str]:
    for file in sorted(folder.iterdir()):
        yield file.name
        yield sha256(file.read_bytes()).hexdigest()


def _evaluation_table(lake: Lake, domain: str, evaluation: StudentEvaluation, table: str) -> pa.Table:
    """Return a table of an evaluation; raises TrackingError where a version before kept it in DuckDB alone."""
    tables = lake.read_evaluation(domain, evaluation.run)
    if table not in tables:
        raise TrackingError(f"the evaluation {evaluation.run} is not in the lake: materialize eval_scores again")
    return tables[table]


def _experiment(domain: str) -> str:
    return f"raft-assets {domain}"


def _record(project: Project, address: str, domain: str) -> VersionedRecord:
    return VersionedRecord(records_of(project), f"{RECORDS}/{digest('mlflow', address, domain)[:20]}")


def _deleting(address: str, runs: Sequence[str]) -> str:
    """Return the command that deletes runs at a server."""
    each = " && ".join(f"mlflow runs delete --run-id {run}" for run in runs)
    return f"export MLFLOW_TRACKING_URI={address} && {each}"


def _collecting(runs: Sequence[str]) -> str:
    """Return the command by which the owner of a server removes for good what was deleted there."""
    return f"mlflow gc --backend-store-uri STORE --run-ids {','.join(runs)}"


def _ask(project: Project, tracking: Tracking, job: Mapping[str, Any], within_s: float) -> WorkerReply:
    """Have the job done by MLflow's client, in a process that ends in time. Raises TrackingError if it can't begin."""
    if importlib.util.find_spec("mlflow") is None:
        raise TrackingError(f"{ADDRESS_VARIABLE} is set, but MLflow's client is not installed: {INSTALL}")
    try:
        ended = subprocess.run(
            [sys.executable, "-m", mlflow_worker.__name__],
            input=json.dumps(job).encode(),
            env=_client_environment(project, tracking),
            capture_output=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        events, _ = _parse(error.stdout or b"")
        return WorkerReply(events, f"the MLflow server {tracking.address} has not done it in {within_s:.0f} s")
    events, problem = _parse(ended.stdout)
    if not problem and ended.returncode:
        problem = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit code {ended.returncode}"
    if problem:
        problem = f"the MLflow server {tracking.address} could not be used ({_without_secrets(problem, tracking)})"
    return WorkerReply(events, problem)


def _parse(output: bytes) -> tuple[list[dict[str, Any]], str]:
    """Return what the process reported before it ended, and the error that it ended with; a line may be cut off."""
    events, problem = list[dict[str, Any]](), ""
    for line in output.decode("utf-8", "replace").splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if "error" in event:
                problem = event["error"]
            else:
                events.append(event)
    return events, problem


def _without_secrets(problem: str, tracking: Tracking) -> str:
    """Return the words of a server or its client, without what they may repeat of the sign-in."""
    for name, value in tracking.client_variables.items():
        if name.endswith(SECRET_SUFFIXES):
            problem = problem.replace(value, "***")
    return problem if len(problem) <= MAX_REASON_CHARACTERS else problem[: MAX_REASON_CHARACTERS - 1] + "…"


def _client_environment(project: Project, tracking: Tracking) -> dict[str, str]:
    """Return the variables of the process: none of MLflow's but those of the project's files and of this module."""
    kept = {name: value for name, value in project.environment.process.items() if not name.startswith(CLIENT_PREFIXES)}
    return kept | {
        **tracking.client_variables,
        "MLFLOW_TRACKING_URI": tracking.address,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_S),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONIOENCODING": "utf-8",
    }
