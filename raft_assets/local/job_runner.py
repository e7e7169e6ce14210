"""The process beside a job: `python -m raft_assets.local.job_runner <job folder>`, one per job, started by `jobs`.

It writes the worker's order, keeps the worker going, tells its news as the job's, and publishes what came out. The
worker itself runs in another interpreter, a container or a cluster, and knows the job's folder alone: what goes in is
`worker/job.json`; `worker/state.json`, `worker/events.jsonl`, checkpoints and `worker/result.json` come out. Killed at
any moment, the next one goes on where this one was: what is published is named after its content.
"""

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from raft_assets.core.atomic import write_text
from raft_assets.core.identity import digest
from raft_assets.core.languages import LANGUAGES
from raft_assets.core.locks import try_lock
from raft_assets.core.prompt_contract import ANSWER_TAG, BEGIN_QUOTE, END_QUOTE, abstention_in
from raft_assets.local.interpreter import offline_environment
from raft_assets.local.models import ORIGIN, adapter_store
from raft_assets.provider.bodies import Hyperparameters
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_process import (
    JobFailedError,
    content_of,
    fail,
    failures_end,
    invalid_file,
    job_parser,
    run_alone,
)
from raft_assets.provider.job_results import store_results
from raft_assets.provider.job_state import Job, JobCheckpoint, JobError, JobFolder, NewEvents, now, read_events
from raft_assets.provider.training_files import InvalidFileError, check_validation_file, count_training_tokens

log = logging.getLogger(__name__)

TRAIN_SCRIPT = Path(__file__).parent / "worker" / "train.py"
MAX_STARTS = 3  # of a worker that dies every time, such as by want of memory
LOOK_S = 0.5  # between two looks at what the worker wrote
CANCEL_S = 60.0  # until a worker that doesn't end by itself is ended
MAX_ANSWER_TOKENS, BYTES_PER_TOKEN, SPARE_TOKENS = 512, 2, 64  # of an answer that is generated to a validation row
WORKER_ENDS = ("succeeded", "failed", "cancelled")
KEPT_FILES = ("adapter_model.safetensors", "adapter_config.json")  # of a checkpoint; the rest is for resuming


class JobRunner:
    """Brings one job to its end; `order` is what the server adds to `worker/job.json`."""

    def __init__(self, folder: JobFolder, *, worker: Sequence[str], base_sha256: str, order: Mapping[str, Any]) -> None:
        state = folder.path.parents[1]
        self._folder, self._files, self._models = folder, FileStore(state), adapter_store(state)
        self._command, self._base_sha256, self._order = [*worker, str(TRAIN_SCRIPT)], base_sha256, order
        self._worker = folder.path / "worker"
        self._told = {event["id"] for event in folder.events()}
        self._news = NewEvents(self._worker / "events.jsonl")
        self._seen: tuple[tuple[int, int], Job] | None = None  # the record, and the state of its file then

    def run(self) -> None:
        """Check, train and publish; every way out but being killed leaves the job ended."""
        job = self._folder.read()
        with failures_end(self._folder):
            if not (self._worker / "job.json").is_file():
                self._write_order(job)
            ended = self._train()
            if ended["status"] == "succeeded":
                self._succeed(ended)
            elif ended["status"] == "cancelled":
                self._folder.finish("cancelled", "The job was cancelled.")
            else:
                reason = ended.get("error") or {"code": "server_error", "message": "unknown"}
                fail(self._folder, JobError.model_validate(reason))
        self._tidy_up()

    def _tidy_up(self) -> None:
        """Remove what only a job that goes on needs: copies of its files, and checkpoints, which are published."""
        for name in ("files", "checkpoints"):
            shutil.rmtree(self._worker / name, ignore_errors=True)

    def _write_order(self, job: Job) -> None:
        """Check the files as OpenAI does, put them into the job's folder, and write the order."""
        self._folder.update(status="validating_files")
        names = {"training_file": job.training_file, "validation_file": job.validation_file}
        placed = {param: self._place(param, name) for param, name in names.items() if name}
        order = {
            "format": 1,
            **self._order,
            "base_sha256": self._base_sha256,
            "training_file": placed["training_file"],
            "training_name": job.training_file,
            "validation_file": placed.get("validation_file"),
            "validation_name": job.validation_file,
            "hyperparameters": job.hyperparameters.model_dump(),
            "seed": job.seed,
            "max_answer_tokens": _answer_limit(self._worker / "files" / "validation_file.jsonl"),
            "contract": {
                "begin_quote": BEGIN_QUOTE,
                "end_quote": END_QUOTE,
                "answer_tag": ANSWER_TAG,
                "abstentions": sorted(map(abstention_in, LANGUAGES)),
            },
        }
        write_text(self._worker / "job.json", json.dumps(order, ensure_ascii=False, indent=1))

    def _place(self, param: str, file_id: str) -> str:
        """Put a file into the job's folder, where a worker on another machine finds it; return its path there."""
        content = content_of(self._files, param, file_id)
        try:
            if param == "training_file":
                count_training_tokens(content, len)
            else:
                check_validation_file(content)
        except InvalidFileError as error:
            raise invalid_file(param, error) from error
        target = self._worker / "files" / f"{param}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(content, target)
        return target.relative_to(self._folder.path).as_posix()

    def _train(self) -> Mapping[str, Any]:
        """Keep a worker going until the job has ended, and return its last state. Raises JobFailedError."""
        crashes = 0
        while (state := self._read_state()).get("status") not in WORKER_ENDS:
            if crashes == MAX_STARTS:
                raise JobFailedError(
                    "server_error", f"The worker died {crashes} times; its log is {self._folder.worker_log}."
                )
            if crashes:
                self._folder.tell("The worker died; it goes on at its newest checkpoint.", level="warn")
            crashes += self._run_worker()
        self._tell_news(state)
        return state

    def _run_worker(self) -> bool:
        """Run a worker to its end, telling its news; return whether it crashed."""
        process = subprocess.Popen(
            [*self._command, str(self._folder.path)],
            env=offline_environment(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        cancelled_at = math.inf
        while process.poll() is None or self._is_taken():
            self._tell_news(self._read_state())
            if self._read_job().finished:
                (self._worker / "cancel").touch()
                cancelled_at = min(cancelled_at, time.monotonic())
            if time.monotonic() > cancelled_at + CANCEL_S:
                process.kill()
            time.sleep(LOOK_S)
        return process.returncode != 0

    def _is_taken(self) -> bool:
        """Return whether a worker lives, ours or that of a runner that was killed."""
        lock = try_lock(self._worker / "lock")
        if lock is not None:
            os.close(lock)
        return lock is None

    def _tell_news(self, state: Mapping[str, Any]) -> None:
        """Bring the worker's events and figures into the job's record."""
        for event in self._news.read():
            if event["id"] not in self._told:
                self._folder.append(event)
        news: dict[str, Any] = {}
        if state.get("status") in ("validating_files", "running"):
            news["status"] = state["status"]
        if state.get("hyperparameters"):
            resolved = {name: state["hyperparameters"].get(name) for name in Hyperparameters.model_fields}
            news["hyperparameters"] = Hyperparameters.model_validate(
                {name: value for name, value in resolved.items() if value is not None}
            )
        if state.get("estimated_finish"):
            news["estimated_finish"] = int(state["estimated_finish"])
        job = self._read_job()
        if any(getattr(job, name) != value for name, value in news.items()):
            self._folder.update(**news)

    def _succeed(self, state: Mapping[str, Any]) -> None:
        """Publish the adapters and the results and end the job, all or nothing."""
        result = json.loads((self._worker / "result.json").read_text("utf-8"))
        with self._folder.locked() as job:
            if job.finished:
                return
            origin = {"base_sha256": self._base_sha256, **_part(result, "student", "student_sha256")}
            published = {point["folder"]: self._publish(job, point["folder"], origin) for point in state["checkpoints"]}
            checkpoints = [
                JobCheckpoint(
                    id=f"ftckpt_{digest(job.id, point['step'])[:24]}",
                    created_at=now(),
                    model=published[point["folder"]],
                    step=point["step"],
                    metrics={name: value for name, value in point["metrics"].items() if value is not None},
                )
                for point in state["checkpoints"]
            ]
            model = published[result["model"]]
            self._folder.tell(f"New fine-tuned model created: {model}")
            ended = {
                "status": "succeeded",
                "finished_at": now(),
                "estimated_finish": None,
                "fine_tuned_model": model,
                "trained_tokens": result.get("trained_tokens"),
                "result_files": (store_results(self._files, job.id, self._curve()).id,),
                "checkpoints": tuple(checkpoints),
            }
            self._folder.tell("The job has successfully completed")
            self._folder.save(job.model_copy(update=ended))

    def _publish(self, job: Job, checkpoint: str, origin: Mapping[str, Any]) -> str:
        source = self._folder.path / checkpoint

        def save(target: Path) -> None:
            target.mkdir(parents=True)
            for name in KEPT_FILES:
                shutil.copyfile(source / name, target / name)
            write_text(target / ORIGIN, json.dumps(origin, ensure_ascii=False, sort_keys=True, indent=1))

        return self._models.publish(save, base=job.model, suffix=job.suffix).id

    def _curve(self) -> list[dict[str, float]]:
        """Return the metrics of every step; of one that was repeated after a kill, the last."""
        steps: dict[int, dict[str, float]] = {}
        for event in read_events(self._worker / "events.jsonl"):
            data = event.get("data") or {}
            if event.get("type") == "metrics" and "step" in data:
                steps[int(data["step"])] = steps.get(int(data["step"]), {}) | data
        return [steps[step] for step in sorted(steps)]

    def _read_job(self) -> Job:
        """Return the job's record, which is read again only when it was replaced."""
        state = self._folder.record_state
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, self._folder.read())
        return self._seen[1]

    def _read_state(self) -> Mapping[str, Any]:
        with suppress(OSError, ValueError):
            state = json.loads((self._worker / "state.json").read_text("utf-8"))
            if isinstance(state, dict):
                return state
        return {}


def _answer_limit(validation: Path) -> int:
    """Return how many tokens a generated answer to a validation row may have, by the longest that is expected.

    No vocabulary takes more than a token for two bytes of a text that it was made for. What goes on beyond that doesn't
    end by itself, and would take as long as all training.
    """
    longest = 0
    for line in validation.read_text("utf-8-sig").splitlines() if validation.is_file() else ():
        if line.strip():
            row = json.loads(line)
            answer = row["messages"][-1]["content"] if "messages" in row else row["completion"]
            longest = max(longest, len(answer.encode()))
    return min(MAX_ANSWER_TOKENS, longest // BYTES_PER_TOKEN + SPARE_TOKENS)


def _part(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names if name in record}


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the job to its end unless another process does; return 0 if there is nothing left to do."""
    parser = job_parser("raft_assets.local.job_runner", "Brings a local fine-tuning job to its end.")
    parser.add_argument("--worker", type=json.loads, required=True, help="JSON list: what runs the worker's script")
    parser.add_argument("--base-sha256", required=True, help="hash of the base model")
    parser.add_argument("--order", type=json.loads, required=True, help="JSON that the worker's order begins with")
    options = parser.parse_args(arguments)
    given = {"worker": options.worker, "base_sha256": options.base_sha256, "order": options.order}
    return run_alone(options, lambda folder: JobRunner(folder, **given).run())


if __name__ == "__main__":
    sys.exit(main())
