"""The management plane of Container Apps jobs on this machine, with a clock of its own.

Shapes: https://learn.microsoft.com/rest/api/containerapps/jobs. A job can't be started before it was created, which
takes `created_after_s`. Time passes only while the library waits for an operation, and no longer than it means to.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Jobs:
    """`jobs`: name to body; `executions`: name to states; `seen`: what was asked, with the moment."""

    created_after_s: float = 0.0
    now: float = 0.0
    is_silent: bool = False
    refused: set[tuple[str, str]] = field(default_factory=set)  # requests that get no answer but 503
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    ready_at: dict[str, float] = field(default_factory=dict)
    executions: dict[str, list[str]] = field(default_factory=dict)
    seen: list[tuple[float, str, str]] = field(default_factory=list)
    address: str = ""
    clock: threading.Condition = field(default_factory=threading.Condition)
    asleep: list[float] = field(default_factory=list)  # until when each thread sleeps

    def reset(self) -> None:
        """Forget everything but the clock."""
        self.created_after_s, self.is_silent = 0.0, False
        for one in (self.jobs, self.ready_at, self.executions, self.seen, self.refused):
            one.clear()

    def sleep(self, duration: float) -> None:
        """Let time pass: at once between two tries of a request, in the background when somebody waits for the work."""
        with self.clock:
            until = self.now + duration
            if threading.current_thread() is threading.main_thread():
                self.now = until
                return
            self.asleep.append(until)
            self.clock.notify_all()
            while until in self.asleep:
                self.clock.wait()

    def wait(self, is_done: Callable[[], bool], timeout: float) -> None:
        """Wait for the work of one operation, for so long at most."""
        with self.clock:
            give_up = self.now + timeout
            while not is_done():
                if not self.asleep:
                    self.clock.wait(0.01)  # a request is on its way
                    continue
                self.now = min(*self.asleep, give_up)
                if self.now >= give_up:
                    return
                self.asleep.remove(self.now)
                self.clock.notify_all()

    def answer(  # noqa: PLR0911 - a line per request
        self, method: str, path: str, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of a request."""
        parts = urlsplit(path).path.strip("/").split("/")
        rest = parts[parts.index("Microsoft.App") + 1 :] if "Microsoft.App" in parts else []
        self.seen.append((self.now, method, "/".join(rest)))
        if self.is_silent or (method, "/".join(rest)) in self.refused:
            return 503, _error("ServiceUnavailable", "Try again."), {"Retry-After": "1"}
        match method, rest:
            case "PUT", ["jobs", name]:
                self.jobs[name] = json.loads(body)
                self.ready_at[name] = self.now + self.created_after_s
                headers = {"Azure-AsyncOperation": f"{self.address}{urlsplit(path).path}/operation?api-version=1"}
                return 201, self._shown(name), headers | {"Retry-After": "5"}
            case "GET", ["jobs", name, "operation"]:
                state = "Succeeded" if self.now >= self.ready_at[name] else "InProgress"
                return 200, {"status": state}, {"Retry-After": "5"}
            case "GET", ["jobs"]:
                return 200, {"value": [self._shown(name) for name in self.jobs]}, {}
            case _, ["jobs", name, *_] if name not in self.jobs:
                return 404, _error("ResourceNotFound", f"The job {name} was not found."), {}
            case "GET", ["jobs", name]:
                return 200, self._shown(name), {}
            case "DELETE", ["jobs", name]:
                del self.jobs[name]
                return 200, {}, {}
            case "POST", ["jobs", name, "start"]:
                if self.now < self.ready_at[name]:
                    return 409, _error("ContainerAppOperationInProgress", f"{name} is being created."), {}
                self.executions.setdefault(name, []).append("Running")
                return 200, {"name": f"{name}-1", "id": f"/executions/{name}-1"}, {}
            case "POST", ["jobs", name, "stop"]:
                self.executions[name] = ["Stopped"] * len(self.executions.get(name, []))
                return 200, {"value": []}, {}
            case "GET", ["jobs", name, "executions"]:
                started = "2026-11-29T00:00:00Z"
                states = self.executions.get(name, [])
                shown = [
                    {"name": f"{name}-{number}", "properties": {"status": state, "startTime": started}}
                    for number, state in enumerate(states, 1)
                ]
                return 200, {"value": shown}, {}
        raise AssertionError((method, path))

    def _shown(self, name: str) -> dict[str, Any]:
        state = "Succeeded" if self.now >= self.ready_at[name] else "InProgress"
        body = self.jobs[name]
        return {"name": name, **body, "properties": {**body["properties"], "provisioningState": state}}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextlib.contextmanager
def serving(jobs: Jobs) -> Iterator[str]:
    """The address of the management plane until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, headers = jobs.answer(self.command, self.path, sent)
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(text)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        jobs.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield jobs.address
        finally:
            server.shutdown()
            thread.join()
