"""The embedded provider's own application on a port, by a process that keeps what is asked and can hold it back.

`python -m raft_assets_tests.hosted.watched_provider FOLDER PORT` serves it; `WatchedProvider` is how a test sees it.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raft_assets_tests.embedded.provider import settings_of, until
from raft_assets_tests.processes import free_port

ASKING = ("/v1/chat/completions", "/v1/completions")
EMBEDDINGS = "/v1/embeddings"
WATCH = "/watch"


@dataclass(frozen=True)
class Posted:
    """A request as it arrived."""

    path: str
    body: Mapping[str, Any]

    @property
    def calls(self) -> list[str]:
        """What is paid for, each as its own text: embeddings are asked for many texts at a time."""
        if self.path not in (*ASKING, EMBEDDINGS):
            return []
        texts = self.body["input"] if self.path == EMBEDDINGS else [self.body]
        return [json.dumps([self.path, self.body["model"], text], sort_keys=True) for text in texts]


@dataclass
class Hold:
    """Which requests are held back: those to some paths after the first ones; `answered`: only their answers are."""

    paths: list[str] = field(default_factory=list)
    passing: int = 0
    answered: bool = False


class WatchedApplication:
    """What serves; `/watch` tells what was posted and what is held, and takes another `Hold`, which ends the last."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._hold, self._gate = app, Hold(), asyncio.Event()
        self._posted: list[Posted] = []
        self._held: list[Posted] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        if request.url.path == WATCH:
            await self._watch(raw)(scope, receive, send)
            return
        is_json = request.headers.get("content-type", "").startswith("application/json")
        posted = Posted(request.url.path, json.loads(raw) if is_json and raw else {})
        is_held = False
        if request.method == "POST":
            self._posted.append(posted)
            is_held = self._is_held(posted)
        hold = self._hold
        if is_held and not hold.answered:
            await self._wait(posted)
        pending: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        async def answer(message: Message) -> None:
            if is_held and hold.answered and message["type"] == "http.response.start":
                await self._wait(posted)
            await send(message)

        await self._app(scope, replay, answer)

    def _is_held(self, posted: Posted) -> bool:
        if posted.path not in self._hold.paths:
            return False
        self._hold.passing -= 1
        return self._hold.passing < 0

    async def _wait(self, posted: Posted) -> None:
        self._held.append(posted)
        await self._gate.wait()

    def _watch(self, raw: bytes) -> JSONResponse:
        told = {"posted": [asdict(one) for one in self._posted], "held": [asdict(one) for one in self._held]}
        if raw:
            self._hold, gate, self._gate = Hold(**json.loads(raw)), self._gate, asyncio.Event()
            self._held = []
            gate.set()
        return JSONResponse(told)


@dataclass(frozen=True)
class WatchedProvider:
    """The service as a test sees it."""

    port: int

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def posted(self, path: str = "", since: int = 0) -> list[Posted]:
        """What was posted, to a path or to any, from that request on."""
        return [one for one in self._watch()["posted"][since:] if path in ("", one.path)]

    def calls(self, since: int = 0) -> Counter[str]:
        """How often each call was asked for, from that request on."""
        return Counter(call for posted in self.posted(since=since) for call in posted.calls)

    @property
    def held(self) -> list[Posted]:
        """What is held at this moment."""
        return self._watch()["held"]

    def hold(self, *paths: str, passing: int = 0, answered: bool = False) -> None:
        """Hold back what is posted to some paths from now on, after the first ones, or only the answers to it."""
        self._watch(Hold(list(paths), passing, answered))

    def release(self) -> list[Posted]:
        """Let go what is held, and whatever comes; return what was held."""
        return self._watch(Hold())["held"]

    def _watch(self, hold: Hold | None = None) -> dict[str, list[Posted]]:
        address = self.url.removesuffix("/v1") + WATCH
        told = httpx2.post(address, json=asdict(hold), timeout=60) if hold else httpx2.get(address, timeout=60)
        return {name: [Posted(**one) for one in listed] for name, listed in told.json().items()}


@contextmanager
def watched_provider(folder: Path) -> Iterator[WatchedProvider]:
    """A provider with a state folder."""
    service = WatchedProvider(free_port())
    # several threads of one calculation wait for one another where others compute as well
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, folder, str(service.port)], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        until(lambda: _answers(service) or process.poll() is not None)
        yield service
    finally:
        process.terminate()
        process.wait()


def _answers(service: WatchedProvider) -> bool:
    try:
        return service.held == []
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    serving = WatchedApplication(settings_of(Path(sys.argv[1])).app)
    uvicorn.run(serving, port=int(sys.argv[2]), log_level="error", lifespan="off")  # type: ignore[arg-type]
