"""The Batch API of the embedded provider: many requests in a file, answers in another, half the price elsewhere.

A batch progresses while it is polled, a bounded slice at a time: nothing runs in the background, and an application in
process needs no thread. Every line's answer is on disk before the next request is answered, so that a provider that was
killed continues where it was. Machines that share the folder have the same batches: each works on those that it is
asked for, and their end is known to all. API: https://platform.openai.com/docs/api-reference/batch
"""

import hashlib
import io
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Literal

import httpx2
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp

from raft_assets.core.atomic import write_text
from raft_assets.core.locks import exclusive_lock, try_lock
from raft_assets.core.ports import SharedFiles
from raft_assets.provider.bodies import BatchRequest
from raft_assets.provider.errors import ApiError, bad_request, not_found
from raft_assets.provider.files import FileStore
from raft_assets.provider.stored import list_shared, parse_stored, read_shared
from raft_assets.provider.unshared import UNSHARED

MAX_LINES, MAX_BYTES = 50_000, 200 << 20  # OpenAI's
SLICE_S = 2.0  # of work per poll
EXPIRES_S = 24 * 3600
URL = "http://embedded"

Status = Literal["in_progress", "completed", "failed", "expired", "cancelled"]


class Batch(BaseModel):
    """A batch; `lines` counts the requests, `answered` and `failed` those that are done."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_ns: int
    input_file: str
    endpoint: str
    metadata: dict[str, str] | None
    status: Status = "in_progress"
    lines: int = 0
    answered: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = []
    output_file: str | None = None
    error_file: str | None = None
    ended_at: int | None = None

    def as_api(self) -> dict[str, Any]:
        """Return OpenAI's `batch` object."""
        created = self.created_ns // 10**9
        ended = {f"{self.status}_at": self.ended_at} if self.ended_at else {}
        errors = {"errors": {"object": "list", "data": self.errors}} if self.errors else {}
        files = {"output_file_id": self.output_file, "error_file_id": self.error_file}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "input_file_id": self.input_file,
            "completion_window": "24h",
            "status": self.status,
            "created_at": created,
            "in_progress_at": created,
            "expires_at": created + EXPIRES_S,
            "request_counts": {"total": self.lines, "completed": self.answered, "failed": self.failed},
            "metadata": self.metadata,
            **errors,
            **{name: file for name, file in files.items() if file},
            **ended,
        }


class BatchService:
    """Creates batches, works on them and lists them; `app` answers their lines."""

    def __init__(self, folder: Path, files: FileStore, app: ASGIApp, shared: SharedFiles = UNSHARED) -> None:
        self._folder, self._files, self._app, self._shared = folder / "batches", files, app, shared

    def create(self, request: BatchRequest) -> Batch:
        """Create a batch of the uploaded lines; one whose lines are wrong has failed. Raises ApiError (400, 404)."""
        file = self._files.get(request.input_file_id)
        if file.purpose != "batch":
            raise bad_request(
                f"The file {file.id} has the purpose '{file.purpose}': upload it with the purpose 'batch'.",
                param="input_file_id",
                code="invalid_value",
            )
        lines, errors = _check_lines(self._files.content(file.id), request.endpoint)
        now = time.time_ns()
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            created_ns=now,
            input_file=request.input_file_id,
            endpoint=request.endpoint,
            metadata=request.metadata,
            status="failed" if errors else "in_progress",
            lines=lines,
            errors=errors,
            ended_at=now // 10**9 if errors else None,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._share(self._save(batch))

    def all(self) -> list[Batch]:
        """Return every batch, newest first."""
        here = [batch for file in self._folder.glob("batch_*.json") if (batch := self._read(file))]
        known = {_record_name(batch.id) for batch in here}
        elsewhere = list_shared(Batch, self._shared, "batches", lambda name: name not in known)
        return sorted([*here, *elsewhere], key=lambda batch: (batch.created_ns, batch.id), reverse=True)

    def get(self, batch_id: str) -> Batch:
        """Return the batch; raises ApiError (404)."""
        found = self._find(batch_id) if batch_id.isidentifier() else None
        if found is None:
            raise not_found("batch", batch_id)
        return found

    def _find(self, batch_id: str) -> Batch | None:
        """Return the batch as it is here, or as another machine ended it."""
        found = self._read(self._folder / f"{batch_id}.json")
        if found and found.status != "in_progress":
            return found
        elsewhere = read_shared(Batch, self._shared, _record_name(batch_id))
        if elsewhere and (found is None or elsewhere.status != "in_progress"):
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._save(elsewhere)
        return found

    def cancel(self, batch_id: str) -> Batch:
        """End a batch; answers are kept. Raises ApiError (404, 409)."""
        with exclusive_lock(self._lock(batch_id)):
            batch = self.get(batch_id)
            if batch.status != "in_progress":
                raise ApiError(409, f"The batch {batch_id} is {batch.status} and can't be cancelled.")
            return self._end(batch, "cancelled")

    async def advance(self, batch_id: str) -> Batch:
        """Work on a slice of the batch and return it; unchanged while another process works on it.

        Raises ApiError (404).
        """
        self.get(batch_id)
        claimed = try_lock(self._lock(batch_id))
        if claimed is None:
            return self.get(batch_id)
        try:
            batch = self.get(batch_id)
            if batch.status != "in_progress":
                self._drop_parts(batch)
                return batch
            return await self._work_slice(batch)
        finally:
            os.close(claimed)

    async def _work_slice(self, batch: Batch) -> Batch:
        try:
            content = self._files.content(batch.input_file).read_bytes()
        except ApiError:
            return self._end(batch.model_copy(update={"errors": [_INPUT_GONE]}), "failed")
        done = _read_answered_ids(self._part(batch, "output")) | _read_answered_ids(self._part(batch, "error"))
        asked = [line for _, raw in _lines(content) if (line := json.loads(raw))["custom_id"] not in done]
        if time.time_ns() >= batch.created_ns + EXPIRES_S * 10**9:
            for line in asked:
                self._append_result(
                    batch, "error", {"custom_id": line["custom_id"], "response": None, "error": _EXPIRED}
                )
            return self._end(batch, "expired")
        deadline = time.monotonic() + SLICE_S
        transport = httpx2.ASGITransport(app=self._app, raise_app_exceptions=False)  # an error is that line's alone
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as client:
            while asked and time.monotonic() < deadline:
                await self._answer(client, batch, asked.pop(0))
        return self._save(self._with_counts(batch)) if asked else self._end(batch, "completed")

    def _with_counts(self, batch: Batch) -> Batch:
        """Return the batch with the counts of its parts; a line that a kill truncated is removed from them."""
        answered, failed = (len(_read_answered_ids(self._part(batch, kind))) for kind in ("output", "error"))
        return batch.model_copy(update={"answered": answered, "failed": failed})

    async def _answer(self, client: httpx2.AsyncClient, batch: Batch, line: dict[str, Any]) -> None:
        response = await client.post(line["url"], json=line["body"], timeout=None)
        told = {
            "custom_id": line["custom_id"],
            "response": {
                "status_code": response.status_code,
                "request_id": secrets.token_hex(12),
                "body": response.json(),
            },
            "error": None,
        }
        self._append_result(batch, "output" if response.status_code == 200 else "error", told)

    def _append_result(self, batch: Batch, kind: str, told: dict[str, Any]) -> None:
        with self._part(batch, kind).open("a", encoding="utf-8") as part:
            part.write(json.dumps({"id": f"batch_req_{secrets.token_hex(12)}", **told}) + "\n")

    def _end(self, batch: Batch, status: Status) -> Batch:
        names, batch = dict[str, str](), self._with_counts(batch)
        for kind in ("output", "error"):
            part = self._part(batch, kind)
            if part.is_file():
                content = io.BytesIO(part.read_bytes())
                # the same id after a kill: no second file stays behind
                file_id = f"file-{hashlib.sha256(f'{batch.id} {kind}'.encode()).hexdigest()[:24]}"
                name = f"{batch.id}_{kind}.jsonl"
                self._files.create(content, filename=name, purpose="batch_output", file_id=file_id)
                names[f"{kind}_file"] = file_id
        ended = self._save(batch.model_copy(update={**names, "status": status, "ended_at": int(time.time())}))
        self._share(ended)
        self._drop_parts(ended)
        return ended

    def _drop_parts(self, batch: Batch) -> None:
        """Delete what an ended batch's files were made of: whoever deletes the files, deletes the answers."""
        for kind in ("output", "error"):
            self._part(batch, kind).unlink(missing_ok=True)

    def _save(self, batch: Batch) -> Batch:
        write_text(self._folder / f"{batch.id}.json", batch.model_dump_json())
        return batch

    def _share(self, batch: Batch) -> Batch:
        self._shared.publish(_record_name(batch.id))
        return batch

    def _part(self, batch: Batch, kind: str) -> Path:
        return self._folder / f"{batch.id}.{kind}.jsonl"

    def _lock(self, batch_id: str) -> Path:
        return self._folder / f"{batch_id}.lock"

    @staticmethod
    def _read(file: Path) -> Batch | None:
        try:
            return parse_stored(Batch, file.read_bytes())
        except FileNotFoundError:
            return None


def _record_name(batch_id: str) -> str:
    return f"batches/{batch_id}.json"


def _read_answered_ids(part: Path) -> set[str]:
    """Return the ids of the answered lines; a line that a kill truncated is answered again."""
    if not part.is_file():
        return set()
    content = part.read_bytes()
    whole = content.rpartition(b"\n")[0]
    if len(whole) + 1 < len(content):
        part.write_bytes(whole + b"\n" if whole else b"")
    return {json.loads(line)["custom_id"] for line in whole.splitlines()}


def _lines(content: bytes) -> list[tuple[int, bytes]]:
    """Return number and content of the lines that aren't blank; only a line feed ends one, JSON may contain others."""
    return [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _check_lines(file: Path, endpoint: str) -> tuple[int, list[dict[str, Any]]]:
    """Return how many lines there are, and what is wrong with them in the form of OpenAI's `errors`."""
    if (size := file.stat().st_size) > MAX_BYTES:
        return 0, [_line_error("file_too_large", f"The file has {size:,} bytes: {MAX_BYTES:,} are allowed.")]
    lines = _lines(file.read_bytes())
    if not lines or len(lines) > MAX_LINES:
        return len(lines), [
            _line_error("too_many_tasks" if lines else "empty_file", f"The file has {len(lines)} requests.")
        ]
    errors, seen, models = list[dict[str, Any]](), set[str](), set[str]()
    for number, line in lines:
        code, message = _find_line_problem(line, endpoint, seen, models)
        if code:
            errors.append(_line_error(code, message, number))
    return len(lines), errors


def _line_error(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


_INPUT_GONE = _line_error("input_file_deleted", "The input file was deleted before every line was answered.")
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


def _find_line_problem(line: bytes, endpoint: str, seen: set[str], models: set[str]) -> tuple[str, str]:
    """Return code and message of what is wrong with a line; empty if nothing is."""
    try:
        request = json.loads(line)
    except ValueError:
        return "invalid_json_line", "This line is not parseable as valid JSON."
    if not isinstance(request, dict) or not isinstance(request.get("custom_id"), str):
        return "missing_required_parameter", "The line has no 'custom_id'."
    if request["custom_id"] in seen:
        return "duplicate_custom_id", f"The custom_id {request['custom_id'][:80]!r} is used twice."
    seen.add(request["custom_id"])
    if request.get("url") != endpoint or request.get("method") != "POST":
        return "mismatched_endpoint", f"The line must POST to {endpoint}."
    return _find_body_problem(request.get("body"), models)


def _find_body_problem(body: object, models: set[str]) -> tuple[str, str]:
    if not isinstance(body, dict):
        return "missing_required_parameter", "There is no 'body'."
    if body.get("stream"):
        return "unsupported_parameter", "A line of a batch can't be streamed: leave out 'stream'."
    models.add(str(body.get("model")))
    return ("mismatched_model", "Every line must ask the same model.") if len(models) > 1 else ("", "")
