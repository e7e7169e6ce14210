"""Fine-tuning through the OpenAI API: upload, submit once, find again, wait within bounds, read the loss curve.

The job carries the hash of everything that it was trained on, so that a run that died, or another machine, finds it
instead of paying again.
API: https://platform.openai.com/docs/api-reference/fine-tuning
"""

import asyncio
import base64
import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob, SupervisedHyperparametersParam

from raft_assets.errors import EndpointError
from raft_assets.raft.identity import digest

HASH_KEY = "raft_training_hash"
FIRST_POLL_S, LONGEST_POLL_S = 0.2, 30.0
POLL_RETRIES = 5  # of one request; a job that runs for hours must survive a dropped poll
FILE_PROCESSING_DEADLINE_S = 600
JOB_DEADLINE_S = 72 * 3600  # hosted services queue for up to a day


@dataclass(frozen=True)
class TrainingOrder:
    """What a student is trained on.

    `base_version` is what determines the student beside the base model's name: service, version of embedded weights.
    """

    base_model: str
    base_version: str
    train: bytes
    valid: bytes
    hyperparameters: SupervisedHyperparametersParam
    seed: int

    @property
    def training_hash(self) -> str:
        """SHA-256 over everything that determines the student, never a path or a name of ours."""
        settings = json.dumps(self.hyperparameters, sort_keys=True)
        return digest("training", self.base_model, self.base_version, self.train, self.valid, settings, self.seed)


@dataclass(frozen=True)
class LossStep:
    """One row of the service's loss curve."""

    step: int
    train_loss: float | None
    valid_loss: float | None


@dataclass(frozen=True)
class FineTuned:
    """A finished job."""

    job_id: str
    model: str
    base_model: str
    training_hash: str
    hyperparameters: dict[str, Any]
    trained_tokens: int | None
    loss: list[LossStep] = field(default_factory=list)
    reattached: bool = False


async def fine_tune(
    client: openai.AsyncOpenAI,
    order: TrainingOrder,
    *,
    on_event: Callable[[str], None],
    before_submission: Callable[[], None] = lambda: None,
) -> FineTuned:
    """Trains, or finds the job that already does, and waits for its end.

    `before_submission` is called where no job is found, before anything is uploaded: what it raises ends the call.
    Raises EndpointError for every end but success, with the service's reason, and when a deadline passes; the job then
    goes on and the next call finds it.
    """
    client = client.with_options(max_retries=POLL_RETRIES)
    try:
        return await _fine_tuned(client, order, on_event, before_submission)
    except openai.APIError as error:
        raise EndpointError(
            f"The fine-tuning service of {order.base_model} failed: {type(error).__name__}. "
            "Look at `raft doctor`, and materialize finetuned_model again: a job that was submitted is found."
        ) from None


async def _fine_tuned(
    client: openai.AsyncOpenAI,
    order: TrainingOrder,
    on_event: Callable[[str], None],
    before_submission: Callable[[], None],
) -> FineTuned:
    found = await _find(client, order.training_hash)
    if found is None:
        before_submission()
    job = found or await _submit(client, order)
    on_event(f"fine-tuning job {job.id} of {order.base_model}: {'found again' if found else 'submitted'}")
    job = await _wait(client, job, on_event)
    if job.status != "succeeded" or not job.fine_tuned_model:
        reason = job.error.message if job.error and job.error.message else "the service gives no reason"
        raise EndpointError(
            f"Fine-tuning job {job.id} of {order.base_model} ended as {job.status}: {reason}. "
            f"Mend it and materialize finetuned_model again."
        )
    return FineTuned(
        job_id=job.id,
        model=job.fine_tuned_model,
        base_model=order.base_model,
        training_hash=order.training_hash,
        hyperparameters={**order.hyperparameters, "seed": order.seed},
        trained_tokens=job.trained_tokens,
        loss=await _loss_curve(client, job),
        reattached=found is not None,
    )


async def _find(client: openai.AsyncOpenAI, training_hash: str) -> FineTuningJob | None:
    async for job in client.fine_tuning.jobs.list(limit=100):
        same = (job.metadata or {}).get(HASH_KEY) == training_hash and job.status not in ("failed", "cancelled")
        if same and await _still_answers(client, job):
            return job
    return None


async def _still_answers(client: openai.AsyncOpenAI, job: FineTuningJob) -> bool:
    """Whether the job's model is still there; one that is being trained will be."""
    if job.status != "succeeded" or not job.fine_tuned_model:
        return True
    try:
        await client.models.retrieve(job.fine_tuned_model)
    except openai.NotFoundError:
        return False
    return True


async def _submit(client: openai.AsyncOpenAI, order: TrainingOrder) -> FineTuningJob:
    train = await _upload(client, "train.jsonl", order.train)
    valid = await _upload(client, "valid.jsonl", order.valid) if order.valid.strip() else None
    return await client.fine_tuning.jobs.create(
        model=order.base_model,
        training_file=train,
        validation_file=valid or openai.omit,
        method={"type": "supervised", "supervised": {"hyperparameters": order.hyperparameters}},
        seed=order.seed,
        suffix=f"raft-{order.training_hash[:8]}",
        metadata={HASH_KEY: order.training_hash},
    )


async def _upload(client: openai.AsyncOpenAI, name: str, content: bytes) -> str:
    uploaded = await client.files.create(file=(name, content), purpose="fine-tune")
    deadline = time.monotonic() + FILE_PROCESSING_DEADLINE_S
    pause = FIRST_POLL_S
    while uploaded.status not in ("processed", "error"):
        if time.monotonic() > deadline:
            raise EndpointError(
                f"The service still processes the upload {uploaded.id} after {FILE_PROCESSING_DEADLINE_S} s. "
                f"Materialize finetuned_model again later."
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL_S)
        uploaded = await client.files.retrieve(uploaded.id)
    if uploaded.status == "error":
        raise EndpointError(f"The service refuses the training file: {uploaded.status_details or 'no reason given'}.")
    return uploaded.id


async def _wait(client: openai.AsyncOpenAI, job: FineTuningJob, on_event: Callable[[str], None]) -> FineTuningJob:
    deadline = time.monotonic() + JOB_DEADLINE_S
    pause, told = FIRST_POLL_S, set[str]()
    while True:
        job = await client.fine_tuning.jobs.retrieve(job.id)
        events = [event async for event in _newest_events(client, job.id)]
        for event_id, message in reversed(events):
            if event_id not in told:
                told.add(event_id)
                on_event(message)
        if job.status in ("succeeded", "failed", "cancelled"):
            return job
        if time.monotonic() > deadline:
            raise EndpointError(
                f"Fine-tuning job {job.id} is still {job.status} after {JOB_DEADLINE_S // 3600} h. "
                f"Materialize finetuned_model again: the job is found, not repeated."
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, LONGEST_POLL_S)


async def _newest_events(client: openai.AsyncOpenAI, job_id: str) -> Any:
    page = await client.fine_tuning.jobs.list_events(job_id, limit=50)
    for event in page.data:
        yield event.id, event.message


async def _loss_curve(client: openai.AsyncOpenAI, job: FineTuningJob) -> list[LossStep]:
    if not job.result_files:
        return []
    content = _csv_text((await client.files.content(job.result_files[0])).content)
    return [
        LossStep(int(float(row["step"])), _number(row.get("train_loss")), _number(row.get("valid_loss")))
        for row in csv.DictReader(io.StringIO(content))
        if row.get("step")
    ]


def _csv_text(content: bytes) -> str:
    """The results file as text; OpenAI serves it in base64, others as it is."""
    if not content.lstrip(b"\xef\xbb\xbf").startswith(b"step"):
        content = base64.b64decode(content)
    return content.decode("utf-8-sig")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
