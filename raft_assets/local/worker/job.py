"""A training job on disk: what was ordered, how far it is, what happened. The worker has no other interface.

`worker/job.json` is the order, written by whoever starts the worker; `state.json` (replaced atomically), `events.jsonl`
(which only grows), `checkpoints/` and `result.json` are the worker's. `lock` is held for as long as it lives, and a
file `cancel` ends the job.
"""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

FORMAT = 1  # of job.json, state.json and result.json
Status = Literal["validating_files", "running", "succeeded", "failed", "cancelled"]


class RefusedError(Exception):
    """The job can't be done as it was ordered: a code for programs, a sentence for people, and what it is about."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class Cancelled(BaseException):
    """Someone ended the job. No `Exception`: nothing that catches errors on the way may swallow it."""


@dataclass(frozen=True)
class Hyperparameters:
    """OpenAI's three; "auto" leaves the choice to the plan."""

    n_epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    learning_rate_multiplier: float | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Lora:
    """What is trained: matrices of this rank beside the linear layers of all blocks, or of the upper half of them."""

    rank: int = 16
    alpha: int = 32
    layers: Literal["all", "upper_half"] = "all"


@dataclass(frozen=True)
class Contract:
    """The form of answers, for measuring those that a validation generates; abstentions in every language."""

    begin_quote: str
    end_quote: str
    answer_tag: str
    abstentions: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """`job.json`. Paths are absolute, or relative to the job's folder; lengths are in tokens."""

    base: Path
    training_file: Path
    training_name: str
    validation_file: Path | None = None
    validation_name: str = ""
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seed: int = 0
    lora: Lora = field(default_factory=Lora)
    quantisation: Literal["auto", "none", "nf4"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_length: int | None = None
    max_answer_tokens: int = 512
    generated_rows: int = 48  # as many as tell a share to some 7 points, in a fraction of an epoch's time
    checkpoint_every_steps: int | None = None  # beside those of every epoch and of every few minutes
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_gib: float | None = None  # a limit for what the plan may take, below what is free
    contract: Contract | None = None
    base_name: str | None = None  # by which others find the base; None: the name of its folder or file
    base_sha256: str | None = None  # what whoever ordered the job knows the base model by; None: it is hashed here

    @classmethod
    def read(cls, job: Path) -> "Order":
        """Read a job's order. Raises RefusedError."""
        try:
            given = json.loads((job / "worker" / "job.json").read_bytes())
            if given.pop("format", None) != FORMAT:
                raise RefusedError(
                    "invalid_job", f"{job}/worker/job.json is not of format {FORMAT}: its server is of another version."
                )
            training = job / given.pop("training_file")
            validation = given.pop("validation_file", None)
            contract = given.pop("contract", None)
            return cls(
                base=job / given.pop("base"),
                training_file=training,
                training_name=given.pop("training_name", None) or training.name,
                validation_file=job / validation if validation else None,
                validation_name=given.pop("validation_name", None) or Path(validation or "").name,
                hyperparameters=Hyperparameters(**given.pop("hyperparameters", {})),
                lora=Lora(**given.pop("lora", {})),
                contract=contract and Contract(**contract | {"abstentions": tuple(contract["abstentions"])}),
                **{name: value for name, value in given.items() if name != "base"},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(
                "invalid_job", f"{job}/worker/job.json can't be read: {type(error).__name__}: {error}."
            ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A model that the job made at the end of an epoch; `folder` is relative to the job's."""

    step: int
    epoch: int
    folder: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class State:
    """`state.json`. `estimated_finish` and `updated_at` are in seconds since 1970."""

    status: Status = "validating_files"
    step: int = 0
    total_steps: int | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    hyperparameters: dict[str, float] | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    best: int | None = None
    error: dict[str, str | None] | None = None

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("succeeded", "failed", "cancelled")


class JobFiles:
    """The files of one job."""

    def __init__(self, job: Path) -> None:
        self.job, self.folder = job, job / "worker"
        self.checkpoints = self.folder / "checkpoints"
        self.plan = self.folder / "plan.json"
        self.result = self.folder / "result.json"
        self._state, self._events, self._cancel = (
            self.folder / name for name in ("state.json", "events.jsonl", "cancel")
        )
        self.state = self._read_state()

    @property
    def told_steps(self) -> int:
        """The last step that the events have metrics of: a run that goes on repeats some, and tells none twice."""
        steps = [event["data"]["step"] for event in self.events() if event["type"] == "metrics"]
        return max(steps, default=0)

    def hold_lock(self) -> bool:
        """Take the job's lock until this process ends; False if another process works on it."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        return True

    def check_cancelled(self) -> None:
        """Raise Cancelled if someone has asked for the end of the job."""
        if self._cancel.exists():
            raise Cancelled

    def update(self, **changes: Any) -> None:
        """Change the state, on disk as well."""
        self.state = replace(self.state, **changes)
        about = {"format": FORMAT, "pid": os.getpid(), "host": socket.gethostname(), "updated_at": int(time.time())}
        write_json(self._state, about | asdict(self.state))

    def tell(
        self,
        message: str,
        *,
        level: Literal["info", "warn", "error"] = "info",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Append an event in OpenAI's form, in one write; what a killed worker wrote half stays a line of its own."""
        event = {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{secrets.token_hex(12)}",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "message" if metrics is None else "metrics",
            "data": dict(metrics or {}),
        }
        with self._events.open("a+b", buffering=0) as stream:
            torn = False
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                torn = stream.read(1) != b"\n"
            stream.write((b"\n" if torn else b"") + json.dumps(event, ensure_ascii=False).encode() + b"\n")

    def events(self) -> list[dict[str, Any]]:
        """Return the events, oldest first."""
        lines = self._events.read_bytes().split(b"\n") if self._events.is_file() else []
        return [event for line in lines if (event := _parse_event(line))]

    def _read_state(self) -> State:
        if not self._state.is_file():
            return State()
        known = State.__dataclass_fields__
        read = {name: value for name, value in json.loads(self._state.read_bytes()).items() if name in known}
        return State(**read | {"checkpoints": tuple(Checkpoint(**one) for one in read["checkpoints"])})


def write_json(file: Path, value: Any) -> None:
    """Replace a file: its readers see the old content or the new one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, ensure_ascii=False, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _parse_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "id" in event else None
