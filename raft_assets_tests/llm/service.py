"""A model service for tests: the OpenAI protocol over a real socket, failures on demand, a record of what came."""

import asyncio
import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

PATIENCE_S = 60.0  # a failsafe: nothing here takes so long
DIMENSIONS = 8


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    method: str = "POST"

    @property
    def model(self) -> str:
        """The model that is asked, by which tests tell roles apart."""
        return str(self.body.get("model", ""))

    @property
    def question(self) -> str:
        """What is asked, whatever kind of call asks it."""
        messages = self.body.get("messages")
        return str(messages[-1]["content"] if messages else self.body.get("prompt", self.body.get("input")))


@dataclass(frozen=True)
class Reply:
    """What the service answers instead of the usual; `cut`: it promises more bytes than it sends."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def error(
    status: int, *, code: str | None = None, param: str | None = None, message: str = "no", **headers: str
) -> Reply:
    """An error in OpenAI's form; `retry_after="1"` becomes a header."""
    body = {"error": {"message": message, "type": "error", "code": code, "param": param}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def chat(text: str | None, *, finish: str = "stop", **message: Any) -> Reply:
    """A chat response."""
    content = {"role": "assistant", "content": text, **message}
    return Reply(body={"choices": [{"index": 0, "message": content, "finish_reason": finish}], "usage": USAGE})


def completion(text: str, *, finish: str = "stop") -> Reply:
    """A completion response."""
    return Reply(body={"choices": [{"index": 0, "text": text, "finish_reason": finish}], "usage": USAGE})


NOT_FOUND = Reply(404, {"detail": "Not Found"})  # as vLLM says it, of everything that is read here
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 4}}


def vector(text: str) -> np.ndarray:
    """The vector that this service gives a text."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:DIMENSIONS], dtype=np.uint8).astype("<f4") / 255


class Service:
    """Answers `answer to <question>`; `replies` are used first, `rule` (where it gives a reply) next.

    Requests that `holds` names wait for `release`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        app = Starlette(routes=[Route("/{path:path}", self._handle, methods=["GET", "POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        self._test = 0
        self.forget()

    def forget(self) -> None:
        """Back to the beginning, at another address: calls of the test before may still be on their way."""
        self._test += 1
        self.seen: list[Seen] = []
        self.replies: list[Reply] = []
        self.rule: Callable[[Seen], Reply | None] = lambda _: None
        self.holds: Callable[[Seen], bool] = lambda _: False
        self.held = self.hung_up = self.most_at_once = self._at_once = 0
        self._gate = asyncio.Event()

    @property
    def url(self) -> str:
        """Base URL of the API."""
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}/test-{self._test}/v1"

    @property
    def questions(self) -> list[str]:
        """What was asked, in order of arrival."""
        return [seen.question for seen in self.seen]

    def hold_from(self, number: int) -> None:
        """Holds `question <number>` and all later ones."""
        self.holds = lambda seen: int(seen.question.split()[-1]) >= number

    def wait_until(self, condition: Callable[["Service"], bool]) -> None:
        """Waits for the service to have seen something."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), PATIENCE_S), (
                f"seen {len(self.seen)}, held {self.held}"
            )

    def release(self) -> None:
        """Answers what is held and whatever comes."""
        self.holds = lambda _: False
        if self._loop:
            self._loop.call_soon_threadsafe(self._gate.set)

    def stop(self) -> None:
        """Ends the service."""
        self.release()
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)

    async def _handle(self, request: Request) -> Response:
        self._loop = asyncio.get_running_loop()
        try:
            raw = await request.body()
        except ClientDisconnect:  # cancelled or killed in the middle of sending
            return Response(status_code=499)
        _, test, path = request.url.path.split("/", 2)
        if test != f"test-{self._test}":
            return Response(status_code=410)
        # files come in parts of a form, which the rule of a test needs not read
        body = json.loads(raw or b"{}") if not raw.startswith(b"--") else {}
        seen = Seen(f"/{path}", request.url.query, dict(request.headers), body, request.method)
        with self._changed:
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            reply = self.replies.pop(0) if self.replies else self.rule(seen)
            self._changed.notify_all()
        if self.holds(seen):
            await self._hold(request)
        with self._changed:
            self._at_once -= test == f"test-{self._test}"
        return _response(reply or (_usual(seen) if request.method == "POST" else NOT_FOUND))

    async def _hold(self, request: Request) -> None:
        test, gate = self._test, self._gate
        self._count(held=1)
        waits = [asyncio.ensure_future(gate.wait()), asyncio.ensure_future(request.receive())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if test == self._test:  # else it was held for the test before
            self._count(held=-1, hung_up=0 if gate.is_set() else 1)
        for wait in waits:
            wait.cancel()

    def _count(self, *, held: int = 0, hung_up: int = 0) -> None:
        with self._changed:
            self.held += held
            self.hung_up += hung_up
            self._changed.notify_all()


def _usual(seen: Seen) -> Reply:
    if seen.path.endswith("/embeddings"):
        return embeddings(seen.body)
    text = f"answer to {seen.question}"
    return completion(text) if "prompt" in seen.body else chat(text)


def embeddings(body: Mapping[str, Any], vector_of: Callable[[str], np.ndarray] = vector) -> Reply:
    """A response with the vectors of the texts, in the encoding that is asked for."""

    def encoded(text: str) -> Any:
        found = vector_of(text)
        return base64.b64encode(found.tobytes()).decode() if body.get("encoding_format") == "base64" else found.tolist()

    data = [{"index": index, "embedding": encoded(text)} for index, text in enumerate(body["input"])]
    words = sum(len(text.split()) for text in body["input"])
    # the protocol doesn't promise an order
    return Reply(body={"data": data[::-1], "usage": {"prompt_tokens": words, "total_tokens": words}})


def _response(reply: Reply) -> Response:
    content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    if not reply.cut:
        return Response(content, reply.status, dict(reply.headers), media_type="application/json")

    async def half() -> Any:
        yield content[: len(content) // 2]

    return StreamingResponse(half(), reply.status, {"content-length": str(len(content))}, media_type="application/json")
