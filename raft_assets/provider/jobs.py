"""Fine-tuning jobs as the service sees them: creating, listing, cancelling, and keeping each unfinished one running.

Training runs in a worker, a process of its own that outlives the process that started it. The starter takes the job's
lock and hands it down, so there is one process per job at any time; when it dies, the kernel frees the lock, and the
next request for the job starts it again. See `shared_jobs` for jobs that several machines share.
"""

import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from raft_assets.core.locks import try_lock
from raft_assets.provider.bodies import JobRequest
from raft_assets.provider.errors import ApiError, bad_request, not_found
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_state import Job, JobError, JobFolder, job_folders, read_job
from raft_assets.provider.shared_jobs import SharedJobs

MAX_STARTS = 3  # a process that dies every time (out of memory) ends the job instead of starting for ever
_ID = re.compile(r"ftjob-[0-9a-f]{24}")


class JobService:
    """The jobs of one state folder; several services, in several processes, may share it."""

    def __init__(
        self,
        folder: Path,
        files: FileStore,
        *,
        trainable: Sequence[str],
        worker: Sequence[str],
        may_start: Callable[[str], bool] = lambda _: True,
        shared: SharedJobs | None = None,
    ) -> None:
        """Create the service of the models that are `trainable`.

        `worker`: the command that works on a job; it is given the job's folder and `--lock` with the descriptor that
        holds its lock. `may_start`: whether the job of that id may have a worker now; otherwise it waits in the queue.
        `shared`: the jobs of other machines, where there are any.
        """
        self._folder = folder
        self._files = files
        self._trainable, self._worker, self._may_start = tuple(trainable), list(worker), may_start
        self._shared = shared or SharedJobs()
        self._ended = set[str]()  # ids; a job that has ended never changes again, and isn't read again to see that

    def create(self, request: JobRequest) -> Job:
        """Create a job and start it; raises ApiError (400)."""
        if request.model not in self._trainable:
            known = ", ".join(self._trainable)
            message = f"Model {request.model} is not available for fine-tuning or does not exist; {known} is."
            raise bad_request(message, param="model", code="model_not_available")
        for param in ("training_file", "validation_file"):
            self._check_file(param, getattr(request, param))
        job = Job(
            id=f"ftjob-{secrets.token_hex(12)}",
            created_ns=time.time_ns(),
            model=request.model,
            training_file=request.training_file,
            validation_file=request.validation_file,
            hyperparameters=request.resolved_hyperparameters,
            seed=request.seed,
            suffix=request.suffix,
            metadata=request.metadata,
        )
        folder = JobFolder(self._folder / "jobs" / job.id)
        folder.save(job)
        folder.tell(f"Created fine-tuning job: {job.id}")
        self._shared.give(job)
        return self._ensure_worker(folder)

    def get(self, job_id: str) -> Job:
        """Return the job, with a process that works on it; raises ApiError (404)."""
        return self._ensure_worker(self.folder(job_id))

    def list_jobs(self, metadata: Mapping[str, str] | None) -> list[Job]:
        """Return jobs whose metadata contain all of `metadata` (None: that have none), newest first."""
        here = {job.id: (folder, job) for folder in job_folders(self._folder) if (job := read_job(folder))}
        found = [self._ensure_worker(folder) for folder, job in here.values() if _matches(job, metadata)]
        found += [job for job in self._shared.others(set(here)) if _matches(job, metadata)]
        return sorted(found, key=lambda job: (job.created_ns, job.id), reverse=True)

    def unfinished(self) -> list[str]:
        """Return the ids of jobs that have not ended, oldest first."""
        unread = (path for path in (self._folder / "jobs").glob("ftjob-*") if path.name not in self._ended)
        known = [job for path in unread if (job := read_job(JobFolder(path)))]
        self._ended |= {job.id for job in known if job.finished}
        found = [job for job in known if not job.finished]
        return [job.id for job in sorted(found, key=lambda job: (job.created_ns, job.id))]

    def is_worked_on(self, job_id: str) -> bool:
        """Return whether a process works on the job, which is started if the job has not ended and has none."""
        if not self.get(job_id).finished:
            return True
        lock = try_lock(self.folder(job_id).worker_lock)
        if lock is not None:
            os.close(lock)
        return lock is None

    def cancel(self, job_id: str) -> Job:
        """End the job at once; its process notices it and stops. Raises ApiError (400, 404)."""
        folder = self.folder(job_id)
        self._shared.in_step(folder)  # which may have ended at another machine
        folder.finish("cancelled", "The job was cancelled by the user.")
        job = self._shared.in_step(folder)
        if job.status != "cancelled":
            raise bad_request(f"Job has already {job.status}: {job_id}.", code="job_already_finished")
        return job

    def folder(self, job_id: str) -> JobFolder:
        """Return the job's folder; raises ApiError (404)."""
        folder = JobFolder(self._folder / "jobs" / job_id)
        if _ID.fullmatch(job_id) and not folder.exists:
            self._shared.fetch(job_id)
        if not _ID.fullmatch(job_id) or not folder.exists:
            raise not_found("fine-tuning job", job_id, param="fine_tuning_job_id")
        return folder

    def _check_file(self, param: str, file_id: str | None) -> None:
        if file_id is None:
            return
        try:
            purpose = self._files.get(file_id).purpose
        except ApiError as error:
            raise bad_request(
                f"Invalid {param}: there is no file {file_id}.", param=param, code="file_not_found"
            ) from error
        if purpose != "fine-tune":
            raise bad_request(
                f"Invalid {param}: the purpose of {file_id} is '{purpose}', not 'fine-tune'.",
                param=param,
                code="invalid_file_purpose",
            )

    def _ensure_worker(self, folder: JobFolder) -> Job:
        """Start the job's process if it has none, and return the job."""
        job = self._shared.in_step(folder)
        if job.finished or not self._may_start(job.id) or self._shared.is_elsewhere(folder):
            return job
        lock = try_lock(folder.worker_lock)
        if lock is None:
            return job
        try:
            return self._start(folder, lock)
        finally:
            os.close(lock)

    def _start(self, folder: JobFolder, lock: int) -> Job:
        with folder.locked() as found:
            if found.finished:
                return found
            job = folder.save(found.model_copy(update={"starts": found.starts + 1, "estimated_finish": None}))
        if job.starts > MAX_STARTS:
            error = JobError(
                code="server_error",
                message=f"The training process died {MAX_STARTS} times; its log is {folder.worker_log}.",
            )
            return folder.finish("failed", error.message, level="error", error=error)
        if job.starts > 1:
            folder.tell("The training process ended unexpectedly; the job was started again.", level="warn")
        self._shared.give(job)
        for file in filter(None, (job.training_file, job.validation_file)):
            with suppress(ApiError):  # the process says that it was deleted
                self._files.content(file)  # which is here then
        self._start_worker(folder, lock)
        return job

    def _start_worker(self, folder: JobFolder, lock: int) -> None:
        command: list[Any] = [*self._worker, folder.path, "--lock", str(lock)]
        with folder.worker_log.open("ab") as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.path,
                start_new_session=True,
                pass_fds=[lock],
            )
        threading.Thread(target=worker.wait, daemon=True).start()  # an ended child that nobody waits for stays a zombie


def _matches(job: Job, metadata: Mapping[str, str] | None) -> bool:
    if metadata is None:
        return not job.metadata
    return metadata.items() <= (job.metadata or {}).items()
