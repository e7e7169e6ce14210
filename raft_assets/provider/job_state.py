"""A fine-tuning job on disk: its record, its events, and the locks of the processes that share it.

`jobs/<id>/job.json` is the record, replaced atomically; `events.jsonl` only grows; `worker.lock` is held by the
process that trains, for as long as it lives; `state.lock` is held for the moment of a change. A finished job never
changes again.
"""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from raft_assets.core.atomic import write_text
from raft_assets.core.locks import exclusive_lock
from raft_assets.provider.bodies import Hyperparameters

ORGANIZATION = "raft-assets"
Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
Level = Literal["info", "warn", "error"]


class JobError(BaseModel):
    """Why a job failed, in OpenAI's form."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    param: str | None = None


class JobCheckpoint(BaseModel):
    """A model that came out of a job, and how far training was."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_at: int
    model: str
    step: int
    metrics: dict[str, float]

    def as_api(self, job_id: str) -> dict[str, Any]:
        """Return OpenAI's `fine_tuning.job.checkpoint` object."""
        return {
            "object": "fine_tuning.job.checkpoint",
            "id": self.id,
            "created_at": self.created_at,
            "fine_tuning_job_id": job_id,
            "fine_tuned_model_checkpoint": self.model,
            "step_number": self.step,
            "metrics": self.metrics,
        }


class Job(BaseModel):
    """A fine-tuning job. `starts` counts the processes that were started for it."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_ns: int
    model: str
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    seed: int
    suffix: str | None
    metadata: dict[str, str] | None
    status: Status = "validating_files"
    starts: int = 0
    error: JobError | None = None
    fine_tuned_model: str | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    checkpoints: tuple[JobCheckpoint, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("succeeded", "failed", "cancelled")

    def as_api(self) -> dict[str, Any]:
        """Return OpenAI's `fine_tuning.job` object."""
        shown = self.model_dump(mode="json", exclude={"created_ns", "suffix", "starts", "checkpoints"})
        return shown | {
            "object": "fine_tuning.job",
            "created_at": self.created_ns // 10**9,
            "organization_id": ORGANIZATION,
            "integrations": [],
            "method": {"type": "supervised", "supervised": {"hyperparameters": shown["hyperparameters"]}},
        }


class JobFolder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker_lock = path / "worker.lock"
        self.worker_log = path / "worker.log"
        self._record, self._events, self._state_lock = path / "job.json", path / "events.jsonl", path / "state.lock"

    @property
    def exists(self) -> bool:
        """Whether the job was created."""
        return self._record.is_file()

    @property
    def record_state(self) -> tuple[int, int]:
        """What is another after every change of the record: its file's number and time, in nanoseconds."""
        found = self._record.stat()
        return found.st_ino, found.st_mtime_ns

    def read(self) -> Job:
        """Return the record as it is."""
        return Job.model_validate_json(self._record.read_bytes())

    @contextmanager
    def locked(self) -> Iterator[Job]:
        """Lock the record: no other process changes it meanwhile."""
        with exclusive_lock(self._state_lock):
            yield self.read()

    def save(self, job: Job) -> Job:
        """Replace the record; only inside `locked`, or of a job that is not published yet."""
        write_text(self._record, job.model_dump_json())
        return job

    def update(self, **changes: Any) -> Job:
        """Change the record and return it; a finished job is returned unchanged."""
        with self.locked() as job:
            return job if job.finished else self.save(job.model_copy(update=changes))

    def finish(self, status: Status, message: str, *, level: Level = "info", **changes: Any) -> Job:
        """End the job, once, and append the event; a job that has already ended keeps its end."""
        with self.locked() as job:
            if job.finished:
                return job
            self.tell(message, level=level)
            return self.save(
                job.model_copy(update={"status": status, "finished_at": now(), "estimated_finish": None} | changes)
            )

    def tell(self, message: str, *, level: Level = "info", metrics: Mapping[str, float] | None = None) -> None:
        """Append an event."""
        event = {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{secrets.token_hex(12)}",
            "created_at": now(),
            "level": level,
            "message": message,
            "type": "message" if metrics is None else "metrics",
            "data": dict(metrics or {}),
        }
        self.append(event)

    def append(self, event: Mapping[str, Any]) -> None:
        """Append an event in its API form, in one write; what a killed process left half written stays a line."""
        with self._events.open("a+b", buffering=0) as stream:
            torn = stream.seek(0, 2) > 0 and _last_byte(stream) != b"\n"
            stream.write((b"\n" if torn else b"") + json.dumps(event, ensure_ascii=False).encode() + b"\n")

    def events(self) -> list[dict[str, Any]]:
        """Return every event, newest first."""
        return read_events(self._events)[::-1]


def read_events(file: Path) -> list[dict[str, Any]]:
    """Return the events of a file that grows, oldest first; lines that are torn are none."""
    lines = file.read_text("utf-8", errors="replace").split("\n") if file.is_file() else []
    return [event for line in lines if (event := _event(line))]


class NewEvents:
    """The events of a file that grows, each once: what was read isn't read again."""

    def __init__(self, file: Path) -> None:
        self._file, self._at = file, 0

    def read(self) -> list[dict[str, Any]]:
        """Return what was appended since, oldest first; a line that is being written is for the next time."""
        if not self._file.is_file():
            return []
        with self._file.open("rb") as stream:
            stream.seek(self._at)
            whole = stream.read().rpartition(b"\n")[0]
        self._at += len(whole) + 1 if whole else 0
        return [event for line in whole.decode("utf-8", "replace").split("\n") if (event := _event(line))]


def job_folders(folder: Path) -> Iterator[JobFolder]:
    """Yield every job of a state folder, in no order."""
    return (job for path in (folder / "jobs").glob("ftjob-*") if (job := JobFolder(path)).exists)


def read_job(folder: JobFolder) -> Job | None:
    """Return the record; None if it is not one (of another version, or damaged)."""
    try:
        return folder.read()
    except (OSError, ValidationError):
        return None


def now() -> int:
    """Return the seconds since 1970, as the API counts."""
    return int(time.time())


def _last_byte(stream: Any) -> bytes:
    stream.seek(-1, 2)
    return bytes(stream.read(1))


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "id" in event else None
