"""A harness around the local provider: a server in a process of its own, with vLLM's double or a real engine behind it.

Its verbs are what tests do: serve, ask, hold the machine as a job does.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import safetensors.numpy

from raft_assets.core.locks import try_lock
from raft_assets.local.base_model import BaseModel
from raft_assets.local.interpreter import WorkerInterpreter
from raft_assets.local.settings import LocalSettings
from raft_assets.provider.bodies import Hyperparameters
from raft_assets.provider.job_state import Job, JobFolder
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.processes import free_port

DOUBLE = Path(__file__).parent / "vllm_double"
SERVE = """
import sys, pickle, base64
from raft_assets.local.server import serve
settings, arguments = pickle.loads(base64.b64decode(sys.argv[1]))
serve(settings, **arguments)
"""


def tiny_model(folder: Path) -> BaseModel:
    """A folder that has the form of a model, with weights that nothing computes with."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"weight": np.ones(3, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 2048}))
    (folder / "tokenizer.json").write_text("{}")
    return BaseModel(folder.name, folder)


def settings_with_double(folder: Path) -> LocalSettings:
    """A server of a tiny model, whose engine is the double."""
    return LocalSettings(folder / "state", tiny_model(folder / "tiny"), WorkerInterpreter(Path(sys.executable)), "vllm")


class Server:
    """A server that runs."""

    def __init__(self, settings: LocalSettings, url: str, process: "subprocess.Popen[bytes]", key: str) -> None:
        self.settings, self.url, self.process = settings, url, process
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key or "any", max_retries=0)

    def answer(self, question: str, model: str | None = None) -> str:
        """What a model says, as soon as it is loaded."""

        def ask() -> str | None:
            try:
                return self.ask(question, model)
            except openai.InternalServerError as error:
                if error.code != "loading_model":
                    raise
                return None

        return until(ask)

    def ask(self, question: str, model: str | None = None) -> str:
        """What a model says now."""
        answered = self.client.chat.completions.create(
            model=model or self.settings.model_id, messages=[{"role": "user", "content": question}]
        )
        return answered.choices[0].message.content or ""

    def raw(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """A request with headers of the test's choice."""
        return httpx2.request(method, f"{self.url}{path}", headers=dict(headers or {}), timeout=60)

    def asked(self) -> list[dict[str, Any]]:
        """What the engine's double was asked, in order."""
        journal = self.settings.folder / "asked.jsonl"
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.is_file() else []

    def engine_pid(self) -> int:
        """The engine's process."""
        return int(json.loads((self.settings.folder / "engine.json").read_text())["pid"])


@contextlib.contextmanager
def serving(settings: LocalSettings, *, key: str = "", host: str = "127.0.0.1", **arguments: Any) -> Iterator[Server]:
    """A server, which is ended with its engine unless the test has killed it."""
    import base64
    import pickle

    port = free_port()
    told = base64.b64encode(pickle.dumps((settings, {"host": host, "port": port, "key": key, **arguments})))
    environment = os.environ | {"PYTHONPATH": f"{DOUBLE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen([sys.executable, "-c", SERVE, told], env=environment)
    url = f"http://127.0.0.1:{port}"
    server = Server(settings, url, process, key)
    try:
        until(lambda: process.poll() is not None or _is_up(url))
        assert process.poll() is None, "the server ended"
        yield server
    finally:
        server.client.close()
        process.terminate()
        process.wait()


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health").status_code == 200
    except httpx2.TransportError:
        return False


class HeldJob:
    """A job on which this test works, as a worker would: it holds the job's lock."""

    def __init__(self, settings: LocalSettings) -> None:
        self.id = f"ftjob-{secrets.token_hex(12)}"
        self._folder = JobFolder(settings.folder / "jobs" / self.id)
        lock = try_lock(self._folder.worker_lock)
        assert lock is not None
        self._lock = lock
        self._folder.save(
            Job(
                id=self.id,
                created_ns=time.time_ns(),
                model=settings.model_id,
                training_file="file-1",
                validation_file=None,
                hyperparameters=Hyperparameters(),
                seed=0,
                suffix=None,
                metadata=None,
            )
        )

    def end(self) -> None:
        """The worker ends well."""
        self._folder.finish("succeeded", "done")
        os.close(self._lock)
