"""The engine: the process that answers for a base model and the adapters of our jobs.

Engines speak vLLM's documented HTTP interface, on a port of the loopback interface that is drawn at random, with a key
that only this process knows: https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html,
https://docs.vllm.ai/en/stable/features/lora.html and https://docs.vllm.ai/en/stable/features/sleep_mode.html. What
belongs here: starting, asking and ending that process. Who may ask when is decided in `machine`.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import EndpointError
from raft_assets.local.base_model import BaseModel
from raft_assets.local.interpreter import EngineKind, WorkerInterpreter, offline_environment
from raft_assets.local.training_settings import MAX_LORA_RANK

KEY_VARIABLE = "RAFT_ENGINE_KEY"
SLEEP_LEVEL = 1  # weights move to the machine's memory, and come back within seconds
ADMINISTRATION_S = 600.0  # an adapter to load, gigabytes to move
ANSWER_S = 3600.0  # of one answer; who asked gives up earlier
LOOK_S = 0.25  # between two looks whether a starting engine answers
STOP_S = 10.0
SERVE_SCRIPT = Path(__file__).parent / "worker" / "serve.py"


class EngineError(EndpointError):
    """The engine ended, or does not answer."""


class EngineRefusedError(EngineError):
    """The engine is there, and does not do what it was told."""


@dataclass(frozen=True)
class Launch:
    """Everything that an engine is started with; `model_id` is the name that it answers to.

    `adapters`: the only folder that adapters are loaded from.
    """

    kind: EngineKind
    interpreter: WorkerInterpreter
    model: BaseModel
    model_id: str
    folder: Path
    adapters: Path
    max_model_len: int | None = None

    def command(self, port: int) -> list[str]:
        """Return the command line; keys are in the environment, where other users don't see them."""
        python, path = str(self.interpreter.python), str(self.model.path)
        if self.kind == "transformers":
            shown = [python, str(SERVE_SCRIPT), "--base", path, "--name", self.model_id, "--exit-with-parent"]
            shown += ["--adapters", str(self.adapters)]
            shown += ["--context", str(self.max_model_len)] if self.max_model_len else []
        else:
            shown = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", path]
            shown += ["--served-model-name", self.model_id, "--enable-lora", "--max-lora-rank", str(MAX_LORA_RANK)]
            shown += ["--enable-sleep-mode", "--generation-config", "vllm"]
            shown += ["--max-model-len", str(self.max_model_len)] if self.max_model_len else []
        return [*shown, "--host", "127.0.0.1", "--port", str(port)]

    def environment(self, key: str) -> dict[str, str]:
        """Return the variables of the process: no key of another service, no download, no code out of a model."""
        return offline_environment() | {
            KEY_VARIABLE: key,
            "VLLM_API_KEY": key,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up exist in it alone
            "VLLM_NO_USAGE_STATS": "1",
        }


class Engine:
    """One engine of one server; not for several threads."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx2.AsyncClient | None = None
        self._loaded, self._loading = set[str](), asyncio.Lock()
        self._record = launch.folder / "engine.json"
        self.log = launch.folder / "engine.log"
        self.is_asleep = False

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the process and wait until it answers; raises EngineError where it ends before it does.

        One that a killed server left behind is ended first: it holds memory that nobody can use.
        """
        await self.stop()
        port, key = _free_port(), secrets.token_urlsafe(32)
        self._process = await asyncio.to_thread(self._start_process, port, key)
        self._loaded, self.is_asleep = set(), False
        self._client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(ANSWER_S, connect=10.0),
            trust_env=False,  # no proxy between a server and its own engine
        )
        while not await self._is_healthy():
            if not self.is_alive:
                what = f"The engine ({self._launch.kind}) ended before it answered"
                raise EngineError(f"{what}; its log is {self.log}: {self.last_line}")
            await asyncio.sleep(LOOK_S)

    def _start_process(self, port: int, key: str) -> subprocess.Popen[bytes]:
        """Start the process and write down which one it is."""
        end_orphan(self._record)
        self._launch.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._launch.command(port),
                env=self._launch.environment(key),
                stdin=subprocess.PIPE,  # it ends with this process, however that ends
                stdout=log,
                stderr=log,
                cwd=self._launch.folder,
                start_new_session=True,
            )
        with suppress(psutil.NoSuchProcess):
            born = psutil.Process(process.pid).create_time()
            write_text(self._record, json.dumps({"pid": process.pid, "born": born}))
        return process

    @property
    def last_line(self) -> str:
        """The last line that it wrote, for a person who looks for the reason."""
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines() if self.log.is_file() else []
        return lines[-1][:300] if lines else "nothing was written"

    async def stop(self) -> None:
        """End the process, and whatever it started."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None
            self._record.unlink(missing_ok=True)

    async def sleep(self) -> None:
        """Give the accelerator's memory back; raises EngineError."""
        if self.is_alive and not self.is_asleep:
            await self._administer("/sleep", params={"level": str(SLEEP_LEVEL)})
            self.is_asleep = True

    async def wake_up(self) -> None:
        """Take the memory again; raises EngineError."""
        if self.is_asleep:
            await self._administer("/wake_up")
            self.is_asleep = False

    async def load(self, model_id: str, adapter: Path) -> None:
        """Load an adapter under its name, once; raises EngineError."""
        async with self._loading:
            if model_id not in self._loaded:
                await self._administer("/v1/load_lora_adapter", {"lora_name": model_id, "lora_path": str(adapter)})
                self._loaded.add(model_id)

    @asynccontextmanager
    async def ask(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """Post a request, and yield the response before its content is read; raises EngineError."""
        if self._client is None:
            raise EngineError("The engine is not running.")
        request = self._client.build_request("POST", path, json=body)
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.TransportError as error:
            raise EngineError(f"The engine does not answer ({type(error).__name__}).") from error
        try:
            yield response
        finally:
            await response.aclose()

    async def _administer(
        self, path: str, body: Mapping[str, Any] | None = None, *, params: Mapping[str, str] | None = None
    ) -> None:
        if self._client is None:
            raise EngineError("The engine is not running.")
        try:
            response = await self._client.post(
                path, json=body, params=dict(params or {}), timeout=httpx2.Timeout(ADMINISTRATION_S)
            )
        except httpx2.TransportError as error:
            raise EngineError(f"The engine does not answer {path} ({type(error).__name__}).") from error
        if response.status_code != 200:
            raise EngineRefusedError(f"The engine refuses {path} ({response.status_code}): {response.text[:300]}")

    async def _is_healthy(self) -> bool:
        assert self._client is not None
        try:
            return (await self._client.get("/health", timeout=httpx2.Timeout(5.0))).status_code == 200
        except httpx2.TransportError:
            return False


def end_orphan(record: Path) -> None:
    """End the engine that a record names, if that very process still lives."""
    try:
        told = json.loads(record.read_text("utf-8"))
        process = psutil.Process(int(told["pid"]))
        if abs(process.create_time() - float(told["born"])) < 1:
            for one in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            with suppress(psutil.TimeoutExpired):
                process.wait(STOP_S)
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return
    finally:
        record.unlink(missing_ok=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process group to end, and end it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what the engine started, and the engine where it hangs
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
