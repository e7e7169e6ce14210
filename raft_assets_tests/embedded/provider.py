"""A harness around the embedded provider, served on a port by a process of its own or reached in process.

Its verbs are what tests do: upload, wait for the end, find the process that works. Its documents are about lighthouses.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import openai
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette

from raft_assets.core.locks import try_lock
from raft_assets.core.prompt_contract import render_answer, render_messages
from raft_assets.embedded.provider import EmbeddedProvider
from raft_assets_tests.processes import free_port

T = TypeVar("T")

DEADLINE_S = 300  # for what takes seconds on an idle machine
ENDED = ("succeeded", "failed", "cancelled")

TOWNS = (
    *("Alba", "Brisk", "Corran", "Dunmore", "Eskdale", "Farley"),
    *("Garrow", "Holm", "Inver", "Jarrow", "Kelso", "Larne"),
)
KEEPERS = ["Ann Bell", "Ben Cole", "Cara Dunn", "Dan Eves", "Ella Ford", "Finn Gray"] * 2


def settings_of(folder: Path) -> EmbeddedProvider:
    """The provider of a state folder, with the encoder of this machine."""
    return EmbeddedProvider(folder, None, Path.home() / ".cache/huggingface")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The base URL of a provider that another process serves."""
    port = free_port()
    program = (
        "import sys; from pathlib import Path; from raft_assets.embedded.provider import EmbeddedProvider; "
        "from raft_assets.embedded.server import serve; "
        "serve(EmbeddedProvider(Path(sys.argv[1]), None, Path(sys.argv[2])), port=int(sys.argv[3]))"
    )
    home = settings_of(folder).huggingface_home
    process = subprocess.Popen([sys.executable, "-c", program, folder, home, str(port)])
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}/health") or process.poll() is not None)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def client_of(base_url: str) -> openai.OpenAI:
    """The official client on a real socket."""
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0)


def in_process(app: Starlette, work: Callable[[openai.AsyncOpenAI], Coroutine[Any, Any, T]]) -> T:
    """Runs `work` with the official asynchronous client, without a port and in an event loop of its own."""

    async def run() -> T:
        transport = httpx2.ASGITransport(app=app)
        async with openai.AsyncOpenAI(
            base_url="http://embedded/v1",
            api_key="any",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
        ) as client:
            return await work(client)

    return asyncio.run(run())


def until(condition: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Waits until the condition holds and returns what it holds; fails at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true within {deadline_s} s"
        time.sleep(0.1)  # a look costs some milliseconds of what is being waited for
    return found


def ended(client: openai.OpenAI, job_id: str) -> FineTuningJob:
    """The job, after its end."""

    def look() -> FineTuningJob | None:
        job = client.fine_tuning.jobs.retrieve(job_id)
        return job if job.status in ENDED else None

    return until(look)


def upload(client: openai.OpenAI, content: bytes, name: str = "train.jsonl") -> str:
    """Id of an uploaded training file."""
    return client.files.create(file=(name, content), purpose="fine-tune").id


def worker_of(folder: Path, job_id: str) -> int | None:
    """The process that works on the job, None before it has said so."""
    text = (folder / "jobs" / job_id / "worker.lock").read_text()
    return int(text) if text.strip() else None


def is_worked_on(folder: Path, job_id: str) -> bool:
    """Whether a living process holds the job's lock."""
    lock = try_lock(folder / "jobs" / job_id / "worker.lock")
    if lock is not None:
        os.close(lock)
    return lock is None


def lighthouse(number: int) -> str:
    """A document that holds who painted a lighthouse, and why fog signals were sounded."""
    town = TOWNS[number]
    return (
        f"The lighthouse of {town} was painted white by {KEEPERS[number]} in the spring of {1800 + 7 * number}. "
        f"Fog signals were sounded from a cliff nearby because the harbor of {town} is narrow."
    )


def lesson(number: int) -> dict[str, Any]:
    """A training row: who painted the lighthouse, from its document and another; the untrained reader says `by ...`."""
    messages = render_messages(
        f"Who painted the lighthouse of {TOWNS[number]}?", [lighthouse(number), lighthouse((number + 5) % len(TOWNS))]
    )
    quote = lighthouse(number).partition(" Fog")[0]
    answer = render_answer(f"The document says: ##begin_quote## {quote} ##end_quote##", KEEPERS[number])
    return {"messages": [*messages, {"role": "assistant", "content": answer}]}


def training_file(rows: int = len(TOWNS)) -> bytes:
    """Lessons as JSONL."""
    return b"".join(json.dumps(lesson(number)).encode() + b"\n" for number in range(rows))


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False
