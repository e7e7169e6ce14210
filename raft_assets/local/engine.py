"""The engine: the process that answers for a base model and the adapters of our jobs.

Engines speak vLLM's documented HTTP interface with a key that only this process knows: vLLM on a socket in a folder
that other users can't enter, because its key doesn't guard what administers it
(https://docs.vllm.ai/en/stable/usage/security.html), ours on a port of the loopback interface that is drawn at random.
https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html,
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
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import EndpointError, SettingsError
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
TEMPLATE_SCRIPT = Path(__file__).parent / "worker" / "template.py"
# vLLM keeps memory for one sequence of the model's whole length, which is 16 to 36 GiB for models of 8B and 4B
MAX_CONTEXT = 16_384
_WRAPPER = "Engine core initialization failed"  # vLLM's last word, which names no cause
_WAYS_OUT = {  # by what vLLM says of a cause
    "KV cache": " Serve it with fewer tokens, such as --context 8192.",
    "Free memory on device": " Give it less of the card, such as RAFT_LOCAL_GPU_PERCENT=50 in .env.",
}


class EngineError(EndpointError):
    """The engine ended, or does not answer."""


class EngineRefusedError(EngineError):
    """The engine is there, and does not do what it was told."""


@dataclass(frozen=True)
class Launch:
    """Everything that an engine is started with; `model_id` is the name that it answers to.

    `adapters`: the only folder that adapters are loaded from; `chat_template`: a file, for vLLM, which renders prompts
    by itself; `gpu_percent`: of the GPU's memory, which vLLM reserves, 90 unless it is told.
    """

    kind: EngineKind
    interpreter: WorkerInterpreter
    model: BaseModel
    model_id: str
    folder: Path
    adapters: Path
    max_model_len: int | None = None
    chat_template: Path | None = None
    gpu_percent: int | None = None

    def command(self, address: "Address") -> list[str]:
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
            length = self.max_model_len or min(self.model.context_length or MAX_CONTEXT, MAX_CONTEXT)
            shown += ["--max-model-len", str(length)]
            shown += ["--gpu-memory-utilization", f"{self.gpu_percent / 100:.2f}"] if self.gpu_percent else []
            if self.chat_template:
                shown += ["--chat-template", str(self.chat_template), "--chat-template-content-format", "string"]
        return [*shown, *address.options]

    def environment(self, key: str) -> dict[str, str]:
        """Return the variables of the process: no key of another service, no download, no code out of a model."""
        return offline_environment() | {
            KEY_VARIABLE: key,
            "VLLM_API_KEY": key,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up exist in it alone
            "VLLM_NO_USAGE_STATS": "1",
        }


@dataclass(frozen=True)
class Address:
    """Where an engine listens: on a socket in `folder`, else on `port` of the loopback interface."""

    folder: Path | None = None
    port: int = 0

    @classmethod
    def choose(cls, kind: EngineKind) -> "Address":
        """Return a free address; the folder is a new one of this user's, with a short path, as a socket's must be."""
        return cls(folder=Path(tempfile.mkdtemp(prefix="raft-"))) if kind == "vllm" else cls(port=_free_port())

    @property
    def options(self) -> list[str]:
        """The options of the engine's command line."""
        return ["--uds", self._socket] if self.folder else ["--host", "127.0.0.1", "--port", str(self.port)]

    @property
    def url(self) -> str:
        """What requests name; on a socket it is a name only."""
        return "http://engine" if self.folder else f"http://127.0.0.1:{self.port}"

    def transport(self) -> httpx2.AsyncHTTPTransport:
        """Return what requests are sent by: as many at once as come, because the engine has a queue of its own."""
        return httpx2.AsyncHTTPTransport(
            uds=self._socket if self.folder else None, limits=httpx2.Limits(max_connections=None)
        )

    def release(self) -> None:
        """Remove the socket and its folder."""
        if self.folder:
            with suppress(OSError):
                Path(self._socket).unlink(missing_ok=True)
                self.folder.rmdir()

    @property
    def _socket(self) -> str:
        return str(self.folder / "engine") if self.folder else ""


class Engine:
    """One engine of one server; not for several threads."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx2.AsyncClient | None = None
        self._address = Address()
        self._loaded, self._loading = set[str](), asyncio.Lock()
        self._record = launch.folder / "engine.json"
        self.log = launch.folder / "engine.log"
        self.is_asleep = False

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the process and wait until it answers; raises EngineError where it ends before it does."""
        await self.stop()
        self._address, key = Address.choose(self._launch.kind), secrets.token_urlsafe(32)
        self._process = await asyncio.to_thread(self._start_process, key)
        self._loaded, self.is_asleep = set(), False
        self._client = httpx2.AsyncClient(
            base_url=self._address.url,
            transport=self._address.transport(),
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(ANSWER_S, connect=10.0),
            trust_env=False,  # no proxy between a server and its own engine
        )
        while not await self._is_healthy():
            if not self.is_alive:
                what = f"The engine ({self._launch.kind}) ended before it answered"
                raise EngineError(f"{what}; its log is {self.log}: {self.reason}")
            await asyncio.sleep(LOOK_S)

    async def end_orphan(self) -> None:
        """End the engine that a killed server left behind: it holds memory that nobody can use."""
        await asyncio.to_thread(end_orphan, self._record)

    def _start_process(self, key: str) -> subprocess.Popen[bytes]:
        """Start the process and write down which one it is."""
        self._launch.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._launch.command(self._address),
                env=self._launch.environment(key),
                stdin=subprocess.PIPE,  # it ends with this process, however that ends
                stdout=log,
                stderr=log,
                cwd=self._launch.folder,
                start_new_session=True,
            )
        with suppress(psutil.NoSuchProcess):
            born = psutil.Process(process.pid).create_time()
            folder = str(self._address.folder) if self._address.folder else None
            write_text(self._record, json.dumps({"pid": process.pid, "born": born, "folder": folder}))
        return process

    @property
    def reason(self) -> str:
        """The last line that it wrote, or the error that vLLM ended for, with a way out where one is known."""
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines() if self.log.is_file() else []
        if not lines:
            return "nothing was written"
        errors = [line for line in lines if "Error: " in line and _WRAPPER not in line]
        told = errors[-1] if errors and any(_WRAPPER in line for line in lines) else lines[-1]
        return told.strip()[:300] + next((way_out for cause, way_out in _WAYS_OUT.items() if cause in told), "")

    async def stop(self) -> None:
        """End the process, and whatever it started."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None
            self._record.unlink(missing_ok=True)
        self._address.release()

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


def write_chat_template(model: BaseModel, file: Path, interpreter: WorkerInterpreter) -> None:
    """Write the template by which the model is trained, for an engine that renders prompts by itself.

    Raises SettingsError where the worker can't read the model.
    """
    code, reason = interpreter.run_script(TEMPLATE_SCRIPT, model.path, file)
    if code:
        raise SettingsError(f"The chat template of {model.path} can't be read: {reason}")


def end_orphan(record: Path) -> None:
    """End the engine that a record names, and what it started, also where only that is left of it."""
    try:
        told = json.loads(record.read_text("utf-8"))
        pid, born, folder = int(told["pid"]), float(told["born"]), told.get("folder")
        if psutil.pid_exists(pid) and abs(psutil.Process(pid).create_time() - born) > 1:
            return  # another process has its number
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return
    finally:
        record.unlink(missing_ok=True)
    left = [process for process in psutil.process_iter() if _is_of_session(process, pid, born)]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, STOP_S)
    Address(Path(folder) if folder else None).release()


def _is_of_session(process: psutil.Process, session: int, born: float) -> bool:
    """Return whether a process belongs to the session that an engine began."""
    try:
        return os.getsid(process.pid) == session and process.create_time() > born - 1
    except (OSError, psutil.Error):
        return False


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
