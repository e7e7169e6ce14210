"""Fine-tuning jobs of machines that share them: who works on one, and what the others learn of it.

A job is worked on by the machine that it was created on. While anybody there asks for the job, this machine gives signs
of life; where they cease, the machine that asks next goes on with the job from its files. Training is deterministic
and its results are named by their content, so two machines that work on one job at once do no harm.
"""

import json
import secrets
import time
from collections.abc import Callable

from raft_assets.core.atomic import write_text
from raft_assets.core.ports import SharedFiles
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_state import Job, JobFolder
from raft_assets.provider.stored import list_shared, read_shared
from raft_assets.provider.unshared import UNSHARED

SIGN_EVERY_S = 30.0  # a client asks for its job at least as often
SILENT_S = 150.0  # after which a machine counts as gone; by the clock of the machine that listens
FOLDER = "jobs"
_RECORD, _EVENTS, _SIGN = "job.json", "events.jsonl", "sign.json"  # files of a job's folder


class SharedJobs:
    """What one machine knows of the jobs of all; `share_model` gives the others a model that a job made here."""

    def __init__(
        self,
        shared: SharedFiles = UNSHARED,
        *,
        files: FileStore | None = None,
        share_model: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared, self._files, self._share_model, self._clock = shared, files, share_model, clock
        self._ended = set[str]()  # jobs whose end every machine knows
        self._given = dict[str, float]()  # when this process gave its last sign for a job
        self._heard = dict[str, tuple[bytes, float]]()  # the last sign of another machine, and when it was new

    def fetch(self, job_id: str) -> None:
        """Bring a job of another machine here."""
        self._shared.fetch(_name(job_id))

    def others(self, known: set[str]) -> list[Job]:
        """Return the jobs that are not among those known here, as their machines last told of them."""
        return list_shared(
            Job,
            self._shared,
            FOLDER,
            lambda name: name.endswith(f"/{_RECORD}") and name.split("/")[1] not in known,
        )

    def in_step(self, folder: JobFolder) -> Job:
        """Return a job that is here; its end is given to the other machines, or taken from the one that was first."""
        job = folder.read()
        if not self._shared.machine or job.id in self._ended:
            return job
        told = read_shared(Job, self._shared, f"{_name(job.id)}/{_RECORD}")
        if told and told.finished and not job.finished:
            job = self._take_end(folder, told)
        elif job.finished and not (told and told.finished):
            self._give_end(job)
        if job.finished:
            self._ended.add(job.id)
        return job

    def give(self, job: Job) -> None:
        """Tell the other machines how a job is now that this one works on."""
        self._shared.publish(f"{_name(job.id)}/{_RECORD}")

    def is_elsewhere(self, folder: JobFolder) -> bool:
        """Return whether another machine works on a job that has not ended; if not, this one says that it does."""
        if not self._shared.machine:
            return False
        job_id, now = folder.path.name, self._clock()
        name = f"{_name(job_id)}/{_SIGN}"
        sign = self._shared.read([name]).get(name)
        if sign and json.loads(sign)["machine"] != self._shared.machine:
            before, since = self._heard.get(job_id, (None, now))
            self._heard[job_id] = (sign, since if sign == before else now)
            if before is None:
                folder.tell("Another machine works on this job; its end is waited for")
            if sign != before or now - since < SILENT_S:
                return True
        if now - self._given.get(job_id, -SIGN_EVERY_S) >= SIGN_EVERY_S:
            self._given[job_id] = now
            write_text(folder.path / _SIGN, json.dumps({"machine": self._shared.machine, "sign": secrets.token_hex(8)}))
            self._shared.publish(name)
        return False

    def _give_end(self, job: Job) -> None:
        for file in job.result_files:
            if self._files:
                self._files.share(file)
        models = {job.fine_tuned_model, *(checkpoint.model for checkpoint in job.checkpoints)}
        for model in sorted(filter(None, models)):
            self._share_model(model)
        self._shared.publish(f"{_name(job.id)}/{_EVENTS}")
        self._shared.publish(f"{_name(job.id)}/{_RECORD}")  # the last: now it has ended for all

    def _take_end(self, folder: JobFolder, told: Job) -> Job:
        with folder.locked() as job:
            if job.finished:
                return job
            self._shared.fetch(f"{_name(job.id)}/{_EVENTS}")
            return folder.save(told)


def _name(job_id: str) -> str:
    return f"{FOLDER}/{job_id}"
