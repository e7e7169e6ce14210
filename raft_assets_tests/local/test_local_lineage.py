"""A language model with random weights through the whole product: trained, served, asked and judged on this machine.

Everything dies once on the way: the worker, the run and the server.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from raft_assets.core.prompt_contract import render_messages
from raft_assets.core.tables import StudentAnswer
from raft_assets.operations.local_models import ADDRESS
from raft_assets.settings.endpoints import Role
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.local.worker_process import local_python

MAKE_MODEL = Path(__file__).with_name("make_tiny_model.py")
TRAINED_S = 300.0  # until a checkpoint is there, on a machine that others use
SETTINGS = """
chunks: {chunk_size: 64, min_chunk_tokens: 16}
questions: {questions_per_chunk: 2, target_pairs: 24}
dataset: {distractors: 1}
training_files: {context_tokens: 1000, too_long: drop}
training: {n_epochs: 2, batch_size: 2}
evaluation: {arms: [main], robustness_rows: 0, max_answer_tokens: 64}
"""


class Machine:
    """The machine with the model, by the project that uses it."""

    def __init__(self, project: ProjectHarness, model: Path) -> None:
        self.project, self.model = project, model

    def worker(self) -> dict[str, Any]:
        """What the worker of the only job wrote last; empty before it did."""
        found = list(self.project.opened.local_folder.glob("*/jobs/ftjob-*/worker/state.json"))
        return json.loads(found[0].read_text()) if found else {}

    @property
    def base(self) -> str:
        """Id of the base model."""
        return self.project.opened.endpoints[Role.STUDENT].model

    @contextmanager
    def served(self) -> Iterator[openai.OpenAI]:
        """The API, by the command that a user types."""
        command = self.project.command("serve", "--model", str(self.model))
        process = subprocess.Popen(command, cwd=self.project.folder, env=self.project.variables)
        try:
            until(lambda: process.poll() is not None or _is_up(f"{ADDRESS}/models"))
            with openai.OpenAI(base_url=ADDRESS, api_key="any", max_retries=0) as client:
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def texts_as_chats(project: ProjectHarness) -> str:
    """Texts of the domain, for a tokenizer to be trained on."""
    texts = [path.read_text("utf-8") for path in sorted((project.folder / "data" / SMALL).glob("*.txt"))]
    return "\n".join(json.dumps({"messages": render_messages("What is it?", [text])}) for text in texts)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A project whose student was trained on a machine on which everything was killed on the way."""
    python = local_python()
    project, models = ProjectHarness(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("models")
    project.copy_domain("bats", SMALL, documents=1)
    project.write(f"data/{SMALL}/domain.yaml", SETTINGS)
    (models / "rows.jsonl").write_text(texts_as_chats(project), "utf-8")
    subprocess.run([python, MAKE_MODEL, models / "rows.jsonl", models], check=True)
    machine = Machine(project, models / "system")
    project.own_variables = {
        "RAFT_LOCAL_PYTHON": python,
        "RAFT_LOCAL_WORKER": f"env IN_A_CONTAINER=1 {python}",
        "STUDENT_LOCAL_MODEL": str(machine.model),
        "STUDENT_TOKENIZER": str(machine.model),
    }
    run = project.start("run", SMALL)
    try:
        until(lambda: run.poll() is not None or machine.worker().get("step", 0) > 0, TRAINED_S)
        assert run.poll() is None, run.communicate()[0]
        os.kill(machine.worker()["pid"], signal.SIGKILL)
        until(lambda: run.poll() is not None or machine.worker().get("checkpoints"), TRAINED_S)
        assert run.poll() is None, run.communicate()[0]
    finally:
        if run.poll() is None:
            project.kill(run)  # the run, its server, the engine, the job's runner and its worker
    done = project.raft("run", SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return machine


def test_one_job_goes_on_whatever_dies(machine: Machine) -> None:
    with machine.served() as client:
        (job,) = client.fine_tuning.jobs.list()
        assert (job.status, job.model) == ("succeeded", machine.base)
        said = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=200)]
        assert sum("goes on" in message or "started again" in message for message in said) >= 1
        curve = client.files.content(job.result_files[0]).text
        assert curve.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
        steps = [int(line.split(",")[0]) for line in curve.splitlines()[1:]]
        assert steps == list(range(1, len(steps) + 1))  # none is missing, none is told twice
        points = list(client.fine_tuning.jobs.checkpoints.list(job.id))
        assert len(points) == 2
        assert points[0].metrics.valid_loss is not None


def test_base_and_student_of_one_machine_are_judged_by_the_ordinary_lineage(machine: Machine) -> None:
    project = machine.project
    assert project.not_fresh(SMALL) == {}
    tuned = project.lake.read_record("finetuned_model", SMALL)
    assert (tuned["base_model"], tuned["model"].startswith(f"ft:{machine.base}:")) == (machine.base, True)
    assert project.lake.read_record("deployment", SMALL)["name"] == tuned["model"]
    answers = list(project.lake.rows(StudentAnswer, SMALL))
    assert answers
    assert {answer.status for answer in answers} <= {"ok", "truncated", "looping"}  # a random model says anything
    assert project.results.verdicts()[SMALL]["student_model"].endswith(tuned["model"])
    counted = project.lake.read_record("training_files", SMALL)
    assert counted["tokenizer"].startswith("tokenizer.json ")


def test_a_student_is_exported_with_its_card_and_its_bases_licence(machine: Machine, tmp_path: Path) -> None:
    (machine.model / "LICENSE").write_text("of the base model")
    done = machine.project.raft("export", SMALL, "--format", "model", "--to", str(tmp_path), "--merged")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in (tmp_path / "adapter").iterdir()} >= {
        "adapter_model.safetensors",
        "adapter_config.json",
    }
    assert (tmp_path / "LICENSE").read_text() == "of the base model"
    assert list((tmp_path / "merged").glob("*.safetensors"))
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    assert (tmp_path / "Modelfile").read_text().startswith("FROM ./merged\n")
    assert SMALL in (tmp_path / "README.md").read_text()


def test_another_projects_server_is_named_and_not_used(machine: Machine, tmp_path: Path) -> None:
    other = ProjectHarness(tmp_path)
    other.copy_domain("bats", SMALL, documents=1)
    other.own_variables = machine.project.own_variables
    with machine.served():
        ended = other.raft("run", SMALL)
    assert ended.returncode != 0
    said = " ".join((ended.stdout + ended.stderr).split())
    assert f" in {machine.project.folder}" in said
    assert f"raft serve --model {machine.model} --port 8322" in said
    assert not other.opened.local_folder.exists() or not list(other.opened.local_folder.glob("*/jobs"))


def test_a_model_that_runs_serve_is_no_problem_while_none_runs(machine: Machine, tmp_path: Path) -> None:
    def finding(project: ProjectHarness, subject: str) -> dict[str, str]:
        told = project.raft("doctor", "--json").stdout.splitlines()
        return next(one for line in told if (one := json.loads(line))["subject"] == subject)

    student = finding(machine.project, "role STUDENT")
    assert (student["level"], "is served by `raft run`" in student["message"]) == ("ok", True)
    first = ProjectHarness(tmp_path)
    first.copy_domain("bats", SMALL, documents=1)
    first.own_variables = machine.project.own_variables
    roles = finding(first, "roles")
    assert (roles["level"], "was not served yet. `raft run` serves it" in roles["message"]) == ("ok", True)


def test_the_products_own_environment_holds_no_torch() -> None:
    import importlib.metadata

    installed = {name for dist in importlib.metadata.distributions() if (name := dist.metadata["Name"])}
    assert not {"torch", "transformers", "peft", "trl", "vllm"} & installed
