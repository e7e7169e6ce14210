"""Jobs and the engine of the local worker, each in the worker's interpreter; skipped where there is none."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from raft_assets.core.prompt_contract import (
    ABSTENTION,
    ABSTENTION_ANSWER,
    ANSWER_TAG,
    BEGIN_QUOTE,
    END_QUOTE,
    render_messages,
    render_quoted_answer,
)
from raft_assets.provider.job_state import read_events
from raft_assets_tests.harness import REPOSITORY

KEY = "a-key-of-the-engine-for-tests-only-0"
CONTRACT: dict[str, Any] = {
    "begin_quote": BEGIN_QUOTE,
    "end_quote": END_QUOTE,
    "answer_tag": ANSWER_TAG,
    "abstentions": [ABSTENTION],
}
PARTS = ("pier", "crane", "wall", "bridge")
PLACES = [(place, part) for place in ("north", "south", "east", "west", "old", "new") for part in PARTS]
TRAINING_ROWS = 20


def local_python() -> str:
    """Return the worker's interpreter."""
    found = os.environ.get("RAFT_LOCAL_PYTHON")
    if found is None:
        if os.environ.get("RAFT_REQUIRE_LOCAL"):
            pytest.fail("RAFT_LOCAL_PYTHON names no interpreter, and RAFT_REQUIRE_LOCAL is set")
        pytest.skip("RAFT_LOCAL_PYTHON names no interpreter with the worker's packages")
    return found


def rows() -> list[dict[str, Any]]:
    """Return rows of the prompt contract; of every sixth the document doesn't hold the answer."""
    made = []
    for number, (place, part) in enumerate(PLACES):
        quote = f"Its {part} is {number} metres long."
        is_answered = number % 6 != 5
        question = f"How long is the {part} of the {place} harbor?" if is_answered else f"Who built the {place} harbor?"
        known = render_quoted_answer([quote], "So it follows.", f"{number} metres")
        messages = render_messages(question, [f"The {place} harbor was opened in {1900 + number}. {quote}"])
        made.append(
            {"messages": [*messages, {"role": "assistant", "content": known if is_answered else ABSTENTION_ANSWER}]}
        )
    return made


def write_rows(file: Path, lines: list[dict[str, Any]]) -> Path:
    """Write JSON Lines."""
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def make_models(folder: Path) -> Path:
    """Make the tiny models, their rows, and a copy of the worker, which needs no other file of the product."""
    shutil.copytree(REPOSITORY / "raft_assets" / "local" / "worker", folder / "worker")
    write_rows(folder / "train.jsonl", rows()[:TRAINING_ROWS])
    write_rows(folder / "valid.jsonl", rows()[TRAINING_ROWS:])
    script = Path(__file__).with_name("make_tiny_model.py")
    subprocess.run(
        [local_python(), script, folder / "train.jsonl", folder], check=True, capture_output=True, cwd=folder
    )
    return folder


@dataclass(frozen=True)
class TrainingJob:
    """A job's folder, and the folder of the worker that works on it."""

    folder: Path
    worker: Path

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start the worker."""
        command: list[str | Path] = [local_python(), self.worker / "train.py", self.folder]
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | variables)

    def run(self, **variables: str) -> dict[str, Any]:
        """Work on the job to its end and return its state."""
        assert self.start(**variables).wait(timeout=300) == 0, (self.folder / "worker.log").read_text()[-2000:]
        return self.state

    def wait(self, worker: subprocess.Popen[bytes], until: Callable[["TrainingJob"], bool]) -> None:
        """Wait until something is so."""
        while not until(self):
            assert worker.poll() is None, (self.folder / "worker.log").read_text()[-2000:]
            time.sleep(0.01)

    @property
    def state(self) -> dict[str, Any]:
        """What the worker says of it."""
        return dict(json.loads((self.folder / "worker" / "state.json").read_bytes()))

    @property
    def result(self) -> dict[str, Any]:
        """What came of it."""
        return dict(json.loads((self.folder / "worker" / "result.json").read_bytes()))

    @property
    def steps(self) -> list[dict[str, float]]:
        """The metrics of its steps so far."""
        events = read_events(self.folder / "worker" / "events.jsonl")  # its last line may be half written
        return [event["data"] for event in events if event["type"] == "metrics"]

    def adapter(self, step: int) -> list[bytes]:
        """The weights of a checkpoint, and what says how they are used."""
        folder = self.folder / "worker" / "checkpoints" / f"step-{step}"
        return [(folder / name).read_bytes() for name in ("adapter_model.safetensors", "adapter_config.json")]


def make_job(folder: Path, models: Path, base: str, **order: Any) -> TrainingJob:
    """Write a job's order as a server does."""
    (folder / "worker").mkdir(parents=True)
    given = {
        "format": 1,
        "base": str(models / base),
        "training_file": str(models / "train.jsonl"),
        "validation_file": str(models / "valid.jsonl"),
        "hyperparameters": {"n_epochs": 4, "batch_size": 4, "learning_rate_multiplier": 10},
        "max_answer_tokens": 8,
        "threads": 1,
        "contract": CONTRACT,
    }
    (folder / "worker" / "job.json").write_text(json.dumps(given | order), "utf-8")
    return TrainingJob(folder, models / "worker")


@dataclass(frozen=True)
class ServedEngine:
    """An engine that runs."""

    url: str
    client: openai.OpenAI

    def post(self, path: str, body: dict[str, Any] | None = None, *, key: str = KEY) -> tuple[int, Any]:
        """Post to an endpoint that OpenAI doesn't have; return status and body."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = json.dumps(body or {}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", data, headers)) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def ask(self, model: str, messages: list[dict[str, str]], **more: Any) -> Any:
        """Ask for twelve tokens, greedily."""
        options: dict[str, Any] = {"temperature": 0, "max_tokens": 12} | more
        return self.client.chat.completions.create(model=model, messages=messages, **options)  # type: ignore[arg-type]


@contextmanager
def serving(base: Path, adapters: Path, *, context: int) -> Iterator[ServedEngine]:
    """Serve a model of `make_models`; the engine ends with the pipe to its standard input."""
    command: list[str | Path] = [
        local_python(),
        base.parent / "worker" / "serve.py",
        "--base",
        base,
        "--threads",
        "1",
        "--context",
        str(context),
        "--adapters",
        adapters,
    ]
    engine = subprocess.Popen(
        [*command, "--exit-with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"RAFT_ENGINE_KEY": KEY},
    )
    assert engine.stdin
    assert engine.stdout
    with engine:
        url = json.loads(engine.stdout.readline())["url"]
        # it answers 503 while it loads the model
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=60) as client:
            client.models.list()
            yield ServedEngine(url, client)
        engine.stdin.close()
