"""Evaluations at a real MLflow server: what is there, what isn't, and that no server costs a run."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from raft_assets.operations import tracking
from raft_assets.operations.model_card import write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.tracking import log_evaluation
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.processes import free_port, kill_tree

# where `make test` puts the server, which needs an older pyarrow; elsewhere MLFLOW_SERVER_DIR names a folder with it
BESIDE = Path(os.environ.get("MLFLOW_SERVER_DIR") or Path(sys.prefix) / "mlflow-server")
WORD = "Spallanzani"  # in the documents, questions and answers of the domain


@dataclass(frozen=True)
class Server:
    """A running MLflow server and the folder of its artifacts."""

    address: str
    artifacts: Path

    def runs(self, *, deleted: bool = False) -> list[dict[str, Any]]:
        """The runs of the domain's experiment."""
        found = self._post("experiments/search", {"max_results": 10})["experiments"]
        ids = [one["experiment_id"] for one in found if one["name"] == f"raft-assets {SMALL}"]
        view = "DELETED_ONLY" if deleted else "ACTIVE_ONLY"
        return list(self._post("runs/search", {"experiment_ids": ids, "run_view_type": view}).get("runs", []))

    def files(self) -> set[str]:
        """The names of all artifacts."""
        return {file.name for file in self.artifacts.rglob("*") if file.is_file()}

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = Request(
            f"{self.address}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request) as answer:
            read: dict[str, Any] = json.load(answer)
        return read


@pytest.fixture(scope="module", autouse=True)
def client() -> None:
    pytest.importorskip("mlflow")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (BESIDE / "flask").is_dir():
        pytest.skip(f"no MLflow server in {BESIDE}: make .venv/mlflow-server")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHONPATH"))}
    store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, "--workers", "1", "--port", str(port)],
        cwd=folder,
        env=kept
        | {
            "PYTHONPATH": str(BESIDE),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # three processes more
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, is_up = list[str](), threading.Event()

    def read() -> None:  # to the end: no full pipe stops the server
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if "startup complete" in line:
                is_up.set()
        is_up.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        is_up.wait()
        assert process.poll() is None, "".join(said)
        yield Server(f"http://127.0.0.1:{port}", folder / "artifacts")
    finally:
        with process:  # closes the pipe
            kill_tree(process.pid)
            reader.join()


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def log_again(project: ProjectHarness) -> tracking.Logged:
    """What `eval_report` does at its end."""
    card = write_model_card(ModelClients(project.opened), project.lake, SMALL)
    return log_evaluation(project.opened, project.lake, SMALL, card)


def test_an_evaluation_is_logged_once_without_text_and_deleted_by_a_purge(
    copied: ProjectHarness, server: Server
) -> None:
    own = f"RAFT_MLFLOW_TRACKING_URI={server.address}\n"
    copied.write(".env", own)
    assert "ok       mlflow: evaluations are logged at" in copied.raft_here("doctor").stdout
    assert copied.materialize_only(SMALL, "eval_report"), copied.last_failure()
    verdict, (run,) = copied.results.verdict(SMALL), server.runs()
    assert str(copied.metadata("eval_report", SMALL)["mlflow"]).endswith(run["info"]["run_id"])

    assert run["info"]["status"] == "FINISHED"
    figures = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert verdict.interval is not None
    assert (figures["difference"], figures["low"]) == (verdict.interval.mean, verdict.interval.low)
    for row in copied.results.summary(SMALL).dropna(subset="student").to_dict("records"):
        name = f"{row['source']}/{row['arm']}/{row['metric']}/student".replace(" ", "_")
        assert figures[name] == row["student"]
    tags = {one["key"]: one["value"] for one in run["data"]["tags"]}
    tuned = copied.lake.read_record("finetuned_model", SMALL)
    assert {(tags["raft_assets.domain"], tags["raft_assets.evaluation"])} == copied.lake.evaluations()
    assert tags["raft_assets.training_hash"] == tuned["training_hash"]
    assert tags["raft_assets.qa_dataset_digest"] == copied.lake.digest("qa_dataset", SMALL)
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert params["chunks.chunk_size"] == str(copied.opened.settings(SMALL).values.chunks.chunk_size)
    assert server.files() == {"MODEL_CARD.md", "DATA_CARD.md"}
    assert WORD not in json.dumps(run)
    assert not [file for file in server.artifacts.rglob("*.*") if WORD.encode() in file.read_bytes()]

    assert log_again(copied).address
    copied.write(".env", f"{own}RAFT_MLFLOW_ARTIFACTS=1\n")
    assert log_again(copied).address
    assert [one["info"]["run_id"] for one in server.runs()] == [run["info"]["run_id"]]
    assert server.files() == {"MODEL_CARD.md", "DATA_CARD.md", "report.html", "answers.parquet"}

    copied.write(".env", "")  # the server is forgotten, what was logged there is not
    told = copied.raft_here("purge", SMALL, "--yes")
    assert told.returncode == 2
    assert f"MLflow at {server.address}: 1 evaluation" in told.stdout
    assert f"set RAFT_MLFLOW_TRACKING_URI={server.address} there again" in told.stderr
    assert f"mlflow runs delete --run-id {run['info']['run_id']}" in told.stderr
    copied.write(".env", own)
    ended = copied.raft_here("purge", SMALL, "--yes")
    assert ended.returncode == 0, ended.stderr
    assert f"mlflow gc --backend-store-uri STORE --run-ids {run['info']['run_id']}" in ended.stdout
    assert (server.runs(), server.files()) == ([], set())
    assert len(server.runs(deleted=True)) == 1


def test_a_server_that_is_down_costs_a_warning(copied: ProjectHarness) -> None:
    with socket.socket() as bound:  # nobody listens there, and nobody else can
        bound.bind(("127.0.0.1", 0))
        copied.write(".env", f"RAFT_MLFLOW_TRACKING_URI=http://127.0.0.1:{bound.getsockname()[1]}\n")
        assert copied.materialize_only(SMALL, "eval_report")
    warning = str(copied.metadata("eval_report", SMALL)["mlflow_warning"])
    assert "could not be used (it doesn't answer, ConnectionError)" in warning
    assert "--select eval_report --force" in warning
    assert copied.not_fresh(SMALL) == {}
    ended = copied.raft_here("purge", SMALL, "--yes")
    assert ended.returncode == 0, "nothing was logged, so nothing is left"


def test_a_server_that_does_not_answer_is_waited_for_within_a_bound(
    copied: ProjectHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "REQUEST_S", 1)
    with silent_server() as address:
        copied.write(".env", f"RAFT_MLFLOW_TRACKING_URI={address}\n")
        assert "it doesn't answer, " in log_again(copied).warning
        monkeypatch.setattr(tracking, "LOG_S", 0.1)
        assert "has not done it in" in log_again(copied).warning


def test_what_is_wrong_in_the_file_costs_a_warning_and_is_not_repeated(copied: ProjectHarness) -> None:
    copied.write(".env", "RAFT_MLFLOW_TRACKING_URI=http://me:hunter2@127.0.0.1:9\n")
    warning = log_again(copied).warning
    assert "put MLFLOW_TRACKING_USERNAME" in warning
    assert "hunter2" not in warning
    told = copied.raft_here("doctor")
    assert (told.returncode, "problem  mlflow: " in told.stdout, "hunter2" in told.stdout) == (1, True, False)


def test_an_exported_address_logs_nothing_and_the_doctor_says_so(copied: ProjectHarness) -> None:
    with silent_server() as address:
        told = copied.raft_here("doctor", variables={"RAFT_MLFLOW_TRACKING_URI": address})
        assert "warning  mlflow: RAFT_MLFLOW_TRACKING_URI is exported, which has no effect" in told.stdout
        copied.own_variables = copied.own_variables | {"RAFT_MLFLOW_TRACKING_URI": address}
        assert log_again(copied) == tracking.Logged()
