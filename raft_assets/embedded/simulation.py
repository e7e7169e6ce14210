"""The embedded provider as a hosted one behaves: slow, limited, at times faulty. For rehearsals, benchmarks and tests.

An ASGI layer around the application: it delays, rejects and spoils requests to models, with the status codes, headers
and bodies of OpenAI and Azure OpenAI; requests for files and jobs pass unchanged. Failures are drawn by seed, request
and try, so that equal runs meet equal faults.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raft_assets.core.errors import SettingsError

SIMULATED_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
CHARACTERS_PER_TOKEN = 4  # as a service estimates before it counts
HOSTED_HEADER = "x-raft-hosted"  # `llm.limits` treats a service that sends it as a hosted one
CONCURRENCY_RETRY_S = 0.25  # what a rejection for too many calls at once asks to wait
FAULTS = {
    "rate_limit": "429 without a reason in the limits",
    "server_error": "500",
    "unavailable": "503",
    "timeout": "408",
    "reset": "the connection breaks in mid-answer",
    "malformed": "200 with half a JSON text",
    "empty": "an answer without text",
    "length": "an answer that was cut off",
    "content_filter": "400 with Azure's content filter result",
}
_ERRORS = {
    "rate_limit": (429, "rate_limit_exceeded"),
    "server_error": (500, "server_error"),
    "unavailable": (503, "service_unavailable"),
    "timeout": (408, "timeout"),
}


@dataclass(frozen=True)
class Simulation:
    """How the service behaves; limits that are None don't exist. `faults`: kind (see `FAULTS`) to share of requests.

    `queue`: calls beyond `concurrency` (one, if it is None) wait for their turn instead of being rejected, as servers
    that people run themselves do. `remote`: clients are to treat the service as a hosted one, although it is on this
    machine.

    Raises SettingsError for an unknown kind and for shares that are not between 0 and 1.
    """

    latency_s: float = 0.3
    seconds_per_token: float = 0.01
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    queue: bool = False
    remote: bool = False

    def __post_init__(self) -> None:
        for kind in self.faults.keys() - FAULTS.keys():
            raise SettingsError(f"There is no fault {kind!r}: choose from {', '.join(FAULTS)}.")
        if min(self.faults.values(), default=0) < 0 or sum(self.faults.values()) > 1:
            raise SettingsError("The shares of faults are from 0 to 1, and at most 1 together.")

    @property
    def at_once(self) -> int | None:
        """Calls that are worked on at once."""
        return 1 if self.queue and self.concurrency is None else self.concurrency

    def bound_s(self, calls: int, answer_tokens: float) -> float:
        """Return the seconds that so many calls take at least, without faults."""
        call_s = self.latency_s + answer_tokens * self.seconds_per_token
        at_once, per_minute = self.at_once, self.requests_per_minute
        return max(call_s, calls * call_s / at_once if at_once else 0.0, calls * 60 / per_minute if per_minute else 0.0)


class _Bucket:
    """Units a minute, replenished all the time; a second's worth may be taken at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._most = self.left = max(per_minute / 60, 1.0)
        self._at = clock()

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` is available, 0 if it is.

        A larger request than the bucket waits for a full one.
        """
        now = self._clock()
        self.left = min(self._most, self.left + (now - self._at) * self.per_minute / 60)
        self._at = now
        return max(0.0, min(amount, self._most) - self.left) * 60 / self.per_minute

    def take(self, amount: float) -> None:
        self.left -= amount


class SimulatedService:
    """The application behind the service that is simulated."""

    def __init__(self, app: ASGIApp, simulation: Simulation, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._simulation = simulation
        self.in_flight = 0
        rates = {"requests": simulation.requests_per_minute, "tokens": simulation.tokens_per_minute}
        self._buckets = {name: _Bucket(rate, clock) for name, rate in rates.items() if rate}
        self._slots = asyncio.Semaphore(simulation.at_once or 1) if simulation.queue else contextlib.nullcontext()
        self._tries: Counter[bytes] = Counter()
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, delayed, rejected or spoiled as the simulation says."""
        if scope["type"] != "http" or scope["path"] not in SIMULATED_PATHS:
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        rejection = self._rejection(body)
        self.counts["rejected" if rejection else "taken"] += 1
        if rejection:
            await rejection(scope, receive, send)
            return
        self.in_flight += 1
        answering = asyncio.ensure_future(self._wait_and_answer(scope, body, send))
        leaving = asyncio.ensure_future(_until_client_leaves(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
            else:
                self.counts["dropped"] += 1  # nobody waits for the answer any more
        finally:
            for task in (answering, leaving):
                task.cancel()
            self.in_flight -= 1

    async def _wait_and_answer(self, scope: Scope, body: bytes, send: Send) -> None:
        """Answer when it is the call's turn; faults don't wait, because they don't depend on the load."""
        fault = self._fault(body)
        if fault in _ERRORS or fault == "content_filter":
            await self._answer(scope, body, send, fault)
            return
        async with self._slots:
            await self._answer(scope, body, send, fault)

    def _rejection(self, body: bytes) -> Response | None:
        """Return a 429 if the limits are exceeded."""
        at_once = None if self._simulation.queue else self._simulation.concurrency
        if at_once is not None and self.in_flight >= at_once:
            return _error_response(
                429,
                "rate_limit_exceeded",
                "Too many requests at once.",
                self._remote() | _retry_headers(CONCURRENCY_RETRY_S),
            )
        amounts = {"requests": 1.0, "tokens": float(_estimate_tokens(body))}
        waits = {name: bucket.wait_s(amounts[name]) for name, bucket in self._buckets.items()}
        if any(waits.values()):
            name = max(waits, key=lambda name: waits[name])
            message = f"Rate limit reached on {name} per min: limit {self._buckets[name].per_minute}."
            return _error_response(429, "rate_limit_exceeded", message, self._rates() | _retry_headers(waits[name]))
        for name, bucket in self._buckets.items():
            bucket.take(amounts[name])
        return None

    def _remote(self) -> dict[str, str]:
        return {HOSTED_HEADER: "1"} if self._simulation.remote else {}

    def _rates(self) -> dict[str, str]:
        headers = self._remote()
        for name, bucket in self._buckets.items():
            headers[f"x-ratelimit-limit-{name}"] = str(bucket.per_minute)
            headers[f"x-ratelimit-remaining-{name}"] = str(int(max(bucket.left, 0)))
        return headers

    async def _answer(self, scope: Scope, body: bytes, send: Send, fault: str) -> None:
        """Send the answer when latency and tokens say, including the time that it takes to make it."""
        started = time.monotonic()
        if fault in _ERRORS:
            await asyncio.sleep(self._simulation.latency_s)
            await _error_response(*_ERRORS[fault], "Simulated.", self._rates())(scope, _nothing_more, send)
            return
        if fault == "content_filter":
            await asyncio.sleep(self._simulation.latency_s)
            await JSONResponse(CONTENT_FILTER_BODY, 400, self._rates())(scope, _nothing_more, send)
            return
        status, payload = await self._forward(scope, body)
        tokens = payload.get("usage", {}).get("completion_tokens", 0)
        due_s = self._simulation.latency_s + tokens * self._simulation.seconds_per_token
        await asyncio.sleep(due_s - (time.monotonic() - started))
        content = json.dumps(_spoil(payload, fault), ensure_ascii=False).encode()
        headers = self._rates()
        if fault == "reset":
            headers["content-length"] = str(len(content) + 1000)  # never comes: the server hangs up
        if fault in ("reset", "malformed"):
            content = content[: len(content) // 2]
        await Response(content, status, headers, "application/json")(scope, _nothing_more, send)

    def _fault(self, body: bytes) -> str:
        """Return what goes wrong with this try, usually nothing."""
        name = hashlib.sha256(body).digest()
        self._tries[name] += 1
        drawn = hashlib.sha256(b"%d %d " % (self._simulation.seed, self._tries[name]) + name).digest()
        chance = int.from_bytes(drawn[:8], "big") / 2**64
        for kind, share in self._simulation.faults.items():
            if chance < share:
                self.counts[kind] += 1
                return kind
            chance -= share
        return ""

    async def _forward(self, scope: Scope, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of the application's own answer."""
        status, parts = 500, list[bytes]()

        async def keep(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return given.pop() if given else {"type": "http.disconnect"}

        await self._app(scope, receive, keep)
        payload: dict[str, Any] = json.loads(b"".join(parts))
        return status, payload


CONTENT_FILTER_BODY = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                name: {"filtered": name == "violence", "severity": "medium" if name == "violence" else "safe"}
                for name in ("hate", "self_harm", "sexual", "violence")
            },
        },
    }
}


def _spoil(payload: Mapping[str, Any], fault: str) -> Mapping[str, Any]:
    """Return an answer that is empty or truncated, in the form of the others."""
    if fault not in ("empty", "length") or "choices" not in payload:
        return payload
    reason = "length" if fault == "length" else "stop"

    def spoilt(text: str) -> str:
        return text[: len(text) // 2] if fault == "length" else ""

    def choice(given: Mapping[str, Any]) -> dict[str, Any]:
        changed = {**given, "finish_reason": reason}
        if "message" in given:
            changed["message"] = {**given["message"], "content": spoilt(given["message"]["content"])}
        else:
            changed["text"] = spoilt(given["text"])
        return changed

    return {**payload, "choices": [choice(given) for given in payload["choices"]]}


def _estimate_tokens(body: bytes) -> int:
    """Estimate what a service counts against a rate: the prompt and the maximum answer."""
    try:
        asked = json.loads(body)
        room = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 0)
    except (ValueError, TypeError, AttributeError):
        room = 0
    return len(body) // CHARACTERS_PER_TOKEN + room


def _error_response(status: int, code: str, message: str, headers: Mapping[str, str]) -> Response:
    error = {"message": message, "type": "requests" if status == 429 else "server_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


def _retry_headers(seconds: float) -> dict[str, str]:
    return {"retry-after": str(int(seconds) + 1), "retry-after-ms": str(int(seconds * 1000) + 1)}


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
