"""Fine-tuning through the OpenAI API: upload, submit once, find again, wait within limits, read the loss curve.

The job carries the hash of everything that it was trained on, so that a later run, on this or another machine, finds it
instead of paying again. API: https://platform.openai.com/docs/api-reference/fine-tuning
"""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from raft_assets.core.errors import DataError, EndpointError, WaitingError
from raft_assets.core.identity import digest
from raft_assets.core.ports import Records, VersionedRecord
from raft_assets.llm.answers import abbreviate
from raft_assets.student.uploads import DEFAULT_UPLOADS, FileTooLargeError, UploadPolicy, fit_rows, upload_file

if TYPE_CHECKING:
    import openai
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent, SupervisedHyperparametersParam

Upload = Callable[[str, bytes], Awaitable[str]]  # of a file of that name and content; returns its id
FOLDER = "jobs"  # of the records
TRAINING_HASH_KEY = "raft_training_hash"
SUFFIX_HASH_DIGITS = (
    12  # hexadecimal digits of the training hash in the job's suffix, of which Azure takes 18 characters
)
MIN_ROWS = 10  # that OpenAI and Azure OpenAI train on
POLL_RETRIES = 5  # of one request; a job that runs for hours must survive a dropped poll
FINAL_STATUSES = ("succeeded", "failed", "cancelled")


class JobPendingError(WaitingError):
    """The job goes on, or is paused, beyond the time that a run waits for it."""


@dataclass(frozen=True)
class PollingPolicy:
    """How long to wait for a job, in seconds. A paused job may continue by itself (Azure's developer tier does that).

    `job_timeout_s`: how long the process waits that asks; the job goes on without it. `listing_delay_s`: how late a
    service may list a job that it accepted; `naming_timeout_s`: how late it may name the model of a job that has
    succeeded.
    """

    initial_poll_s: float = 0.2
    max_poll_s: float = 30.0
    naming_timeout_s: float = 600.0
    paused_timeout_s: float = 1800.0
    job_timeout_s: float = 72 * 3600.0  # hosted services queue for up to a day
    listing_delay_s: float = 20.0


DEFAULT_POLLING = PollingPolicy()


@dataclass(frozen=True)
class FineTuningSpec:
    """What a student is trained on.

    `base_version` determines the student in addition to the base model's name: the service, or the version of embedded
    weights. `checkpoint` chooses among the job's models; `training_type` is Azure's `trainingType`. Neither is part of
    the hash: the job is the same.
    """

    base_model: str
    base_version: str
    train: bytes
    valid: bytes
    hyperparameters: SupervisedHyperparametersParam
    seed: int
    checkpoint: Literal["last", "best"] = "last"
    training_type: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows of the training file."""
        return sum(bool(line.strip()) for line in self.train.splitlines())

    @property
    def suffix(self) -> str:
        """Suffix of the job's model at the service; it contains the hash, for services that keep no metadata."""
        return f"raft-{self.training_hash[:SUFFIX_HASH_DIGITS]}"

    @property
    def training_hash(self) -> str:
        """SHA-256 over everything that determines the student, never over a path or a name chosen here."""
        settings = json.dumps(self.hyperparameters, sort_keys=True)
        return digest("training", self.base_model, self.base_version, self.train, self.valid, settings, self.seed)


@dataclass(frozen=True)
class LossStep:
    """One row of the service's loss curve."""

    step: int
    train_loss: float | None
    valid_loss: float | None


@dataclass(frozen=True)
class Checkpoint:
    """A model that the job kept on its way; the metrics are None where the service doesn't report them.

    `valid_usable` is the share of answers to validation rows that keep the contract, which `raft serve` generates.
    """

    step: int
    model: str
    valid_loss: float | None
    valid_usable: float | None = None


@dataclass(frozen=True)
class FineTuningResult:
    """A finished job."""

    job_id: str
    model: str
    base_model: str
    training_hash: str
    hyperparameters: dict[str, Any]
    trained_tokens: int | None
    loss: list[LossStep] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    reattached: bool = False


def user_model(base_model: str, service: str, model: str) -> FineTuningResult:
    """Return the result for a model that the user fine-tuned elsewhere: of its training only the name is known."""
    return FineTuningResult("", model, base_model, digest("own model", service, model), {}, None)


async def fine_tune(
    client: openai.AsyncOpenAI,
    order: FineTuningSpec,
    *,
    records: Records,
    on_event: Callable[[str], None],
    on_metrics: Callable[[dict[str, float]], None] = lambda _: None,
    before_submission: Callable[[], None] = lambda: None,
    collects: str = "",
    patience: PollingPolicy = DEFAULT_POLLING,
    uploads: UploadPolicy = DEFAULT_UPLOADS,
    open_uploads: Callable[[], openai.AsyncOpenAI] | None = None,
) -> FineTuningResult:
    """Train the student, or find the job that already does, and wait until it ends.

    `records` are where the project keeps what it submitted. `on_event` gets the service's messages during training,
    `on_metrics` the newest metrics at each poll (`step`, `train_loss`, ...). `before_submission` is called where no job
    is found, before anything is uploaded: an exception of it ends the call. `collects` is the id of a job whose result
    alone is asked for: nothing is submitted in its place. `open_uploads` opens the client for files in parts where it
    is another one. A file that the service calls too large is cut to the size that it names. Raises
    EndpointError for every end but success, with the service's reason, and when a deadline passes; the job then
    continues and the next call finds it.
    """
    import openai

    client = client.with_options(max_retries=POLL_RETRIES)

    async def upload(name: str, content: bytes) -> str:
        return await upload_file(client, name, content, policy=uploads, open_uploads=open_uploads)

    async def run(order: FineTuningSpec, before_submission: Callable[[], None]) -> FineTuningResult:
        return await _run_job(
            client,
            order,
            SubmissionRecord(records, order),
            upload=upload,
            on_event=on_event,
            on_metrics=on_metrics,
            before_submission=before_submission,
            collects=collects,
            patience=patience,
        )

    try:
        while True:
            try:
                return await run(order, before_submission)
            except FileTooLargeError as error:
                order, told = cut_to_size(order, error.max_bytes)
                on_event(told)
                before_submission = _nothing  # what was approved and reserved is more than what is left
    except openai.APIStatusError as error:
        message = error.body.get("message") if isinstance(error.body, dict) else None
        told = f": {abbreviate(str(message))}" if message and error.status_code not in (401, 403) else ""
        raise EndpointError(
            f"The fine-tuning service of {order.base_model} rejected the request ({error.status_code}{told}). "
            f"{_remedy(error)} A job that was submitted is found again."
        ) from None
    except openai.APIError as error:
        raise EndpointError(
            f"The fine-tuning service of {order.base_model} failed: {type(error).__name__}. "
            "Run `raft doctor`, and materialize finetuned_model again: a job that was submitted is found."
        ) from None


class SubmissionRecord:
    """The project's record of a submission: first that it was tried, then the job's id.

    A service may list a job late, and may keep no metadata: without a record, a process that is killed between
    submission and the next poll could lead to paying twice.
    """

    def __init__(self, records: Records, order: FineTuningSpec) -> None:
        self._record = VersionedRecord(records, f"{FOLDER}/{order.training_hash}")

    @property
    def job_id(self) -> str | None:
        """The job's id; empty where submission was tried with an unknown outcome, None where it never was."""
        content = self._record.read()
        return None if content is None else str(json.loads(content)["job"])

    def write(self, job_id: str) -> None:
        """Store the job's id durably."""
        self._record.change(lambda _: json.dumps({"job": job_id}).encode())

    def forget(self) -> None:
        """Delete the record, because the service refused the submission."""
        self._record.delete()


def _remedy(error: openai.APIStatusError) -> str:
    if error.status_code in (401, 403):
        return "Sign in, or set a key, that may fine-tune: `raft doctor` says for which role."
    if error.status_code == 404:
        return "Set STUDENT to a base model that the service fine-tunes."
    return "Fix the cause and materialize finetuned_model again."


def cut_to_size(order: FineTuningSpec, max_bytes: int) -> tuple[FineTuningSpec, str]:
    """Return the order with files of at most that size, and a sentence about it, which is empty if nothing was cut.

    Raises DataError if fewer rows are left than services train on.
    """
    train, left_out = fit_rows(order.train, max_bytes)
    valid, left_out_of_valid = fit_rows(order.valid, max_bytes)
    if not left_out and not left_out_of_valid:
        return order, ""
    fitted = replace(order, train=train, valid=valid)
    if fitted.rows < MIN_ROWS:
        raise DataError(
            f"The service takes training files of {max_bytes:,} bytes, which hold {fitted.rows} of {order.rows} rows, "
            f"fewer than the {MIN_ROWS} that services train on. Lower chunks.chunk_size or dataset.distractors."
        )
    of_valid = f", and {left_out_of_valid:,} rows to validate on" if left_out_of_valid else ""
    return fitted, (
        f"The service takes training files of {max_bytes:,} bytes: {left_out:,} of {order.rows:,} rows are left out"
        f"{of_valid}. Lower questions.target_pairs, chunks.chunk_size or dataset.distractors to train on all of them"
    )


def _nothing() -> None:
    """Check nothing."""


async def _run_job(
    client: openai.AsyncOpenAI,
    order: FineTuningSpec,
    record: SubmissionRecord,
    *,
    upload: Upload,
    on_event: Callable[[str], None],
    on_metrics: Callable[[dict[str, float]], None],
    before_submission: Callable[[], None],
    collects: str,
    patience: PollingPolicy,
) -> FineTuningResult:
    if collects:
        found: FineTuningJob | None = await _collected_job(client, order, collects)
    else:
        found = await _find_job(client, order, record, on_event, patience)
    if found is None:
        before_submission()
    job = found or await _submit_job(client, order, record, upload)
    record.write(job.id)
    on_event(
        f"fine-tuning job {job.id} of {order.base_model}: {'found again' if found else 'submitted'}; "
        f"`raft jobs --cancel {job.id}` cancels it; ending this run doesn't"
    )
    job = await _wait_for_job(client, job, on_event, on_metrics, patience)
    if job.status == "succeeded" and not job.fine_tuned_model:
        raise JobPendingError(
            f"Fine-tuning job {job.id} of {order.base_model} has succeeded, and the service has not named its model "
            f"within {patience.naming_timeout_s:.0f} s. Materialize finetuned_model again: the job is found again and "
            "not repeated.",
            job=job.id,
        )
    if job.status != "succeeded" or not job.fine_tuned_model:
        told = job.error.message if job.error and job.error.message else None
        if job.status == "cancelled":
            raise EndpointError(
                f"Fine-tuning job {job.id} of {order.base_model} was cancelled{f' ({told})' if told else ''}. "
                "Materialize finetuned_model again to submit another."
            )
        reason = told or "the service gives no reason"
        raise EndpointError(
            f"Fine-tuning job {job.id} of {order.base_model} ended as {job.status}: {reason}. "
            f"Fix the cause and materialize finetuned_model again."
        )
    checkpoints = await _list_checkpoints(client, job)
    return FineTuningResult(
        job_id=job.id,
        model=select_checkpoint(job.fine_tuned_model, checkpoints, order.checkpoint),
        base_model=order.base_model,
        training_hash=order.training_hash,
        hyperparameters={**order.hyperparameters, "seed": order.seed},
        trained_tokens=job.trained_tokens,
        loss=await _read_loss_curve(client, job),
        checkpoints=checkpoints,
        reattached=found is not None,
    )


def select_checkpoint(last: str, checkpoints: Sequence[Checkpoint], choice: Literal["last", "best"]) -> str:
    """Return the job's last model, or the checkpoint of the least validation loss if the service reports any.

    Of checkpoints whose generated answers were measured, those with the most usable ones come first: a student that
    abstains everywhere, or never ends, may have the least loss.
    """
    measured = [
        (-(point.valid_usable or 0.0), point.valid_loss, point.model)
        for point in checkpoints
        if point.valid_loss is not None
    ]
    return min(measured)[2] if choice == "best" and measured else last


async def _find_job(
    client: openai.AsyncOpenAI,
    order: FineTuningSpec,
    record: SubmissionRecord,
    on_event: Callable[[str], None],
    patience: PollingPolicy,
) -> FineTuningJob | None:
    """Return the job of this very order, by the project's record, else by what the service kept of it."""
    import openai

    if record.job_id:
        try:
            job = await client.fine_tuning.jobs.retrieve(record.job_id)
        except openai.NotFoundError:
            on_event(f"fine-tuning job {record.job_id} no longer exists at the service")
        else:
            return job if await _is_model_available(client, job) else None
    found = await _find_listed_job(client, order)
    if found is None and record.job_id == "":  # a submission was interrupted: the service may list it late
        await asyncio.sleep(patience.listing_delay_s)
        found = await _find_listed_job(client, order)
    return found


async def _collected_job(client: openai.AsyncOpenAI, order: FineTuningSpec, job_id: str) -> FineTuningJob:
    """Return a job that was submitted before; raises EndpointError if it is gone, DataError if it is of other rows."""
    import openai

    try:
        job = await client.fine_tuning.jobs.retrieve(job_id)
    except openai.NotFoundError:
        raise EndpointError(job_is_gone(job_id)) from None
    if not await _matches_spec(client, job, order):
        raise DataError(job_is_outdated(job_id))
    return job


async def _find_listed_job(client: openai.AsyncOpenAI, order: FineTuningSpec) -> FineTuningJob | None:
    async for job in client.fine_tuning.jobs.list(limit=100):
        if await _matches_spec(client, job, order) and await _is_model_available(client, job):
            return job
    return None


async def has_job_ended(client: openai.AsyncOpenAI, job_id: str) -> bool:
    """Return whether a job has ended, however it did; one that the service doesn't know has.

    Raises openai.APIError where the service doesn't answer.
    """
    import openai

    try:
        return (await client.fine_tuning.jobs.retrieve(job_id)).status in FINAL_STATUSES
    except openai.NotFoundError:
        return True


def job_is_gone(job_id: str) -> str:
    """Return the sentence about a job that its service no longer knows."""
    return (
        f"Fine-tuning job {job_id} no longer exists at the service, probably because it was deleted; "
        "materialize finetuned_model again for a new one."
    )


def job_is_outdated(job_id: str) -> str:
    """Return the sentence about a job whose training files are not those of now."""
    return (
        f"Fine-tuning job {job_id} was submitted for training files, a base model or settings that have changed "
        "since. Materialize finetuned_model again: without a job of the present ones it submits one."
    )


def job_goes_on(job_id: str, base_model: str, status: str, since: datetime | None) -> str:
    """Return the sentence about a job that nobody waits for any longer. `since`: when it was submitted."""
    submitted = f", submitted {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return (
        f"Fine-tuning job {job_id} of {base_model} is {status}{submitted}. It goes on by itself, and when it has ended "
        "the sensor collect_jobs goes on with the rest of this run. Without Dagster's daemon, materialize "
        "finetuned_model again: the job is found again and not repeated."
    )


def is_own_job(job: FineTuningJob) -> bool:
    """Return whether raft-assets submitted a job, for whatever domain."""
    return TRAINING_HASH_KEY in (job.metadata or {}) or str((job.model_extra or {}).get("suffix", "")).startswith(
        "raft-"
    )


async def _matches_spec(client: openai.AsyncOpenAI, job: FineTuningJob, order: FineTuningSpec) -> bool:
    """Compare by the metadata, else by the name of the training file, which contains the hash as well."""
    import openai

    kept = (job.metadata or {}).get(TRAINING_HASH_KEY)
    if kept is not None:
        return kept == order.training_hash
    if (job.model_extra or {}).get("suffix") != order.suffix and order.suffix not in (job.fine_tuned_model or ""):
        return False
    try:
        return order.training_hash in (await client.files.retrieve(job.training_file)).filename
    except openai.NotFoundError:
        return False


async def _is_model_available(client: openai.AsyncOpenAI, job: FineTuningJob) -> bool:
    """Return whether the job's model exists, or will."""
    import openai

    if job.status in ("failed", "cancelled"):
        return False
    if job.status != "succeeded" or not job.fine_tuned_model:
        return True
    try:
        await client.models.retrieve(job.fine_tuned_model)
    except openai.NotFoundError:
        return False
    return True


async def _submit_job(
    client: openai.AsyncOpenAI, order: FineTuningSpec, record: SubmissionRecord, upload: Upload
) -> FineTuningJob:
    import openai

    name = order.training_hash
    train = await upload(f"train-{name}.jsonl", order.train)
    valid = await upload(f"valid-{name}.jsonl", order.valid) if order.valid.strip() else None
    record.write("")
    try:
        # never retried by itself: what the service did before its answer got lost is looked up first
        return await client.with_options(max_retries=0).fine_tuning.jobs.create(
            model=order.base_model,
            training_file=train,
            validation_file=valid or openai.omit,
            method={"type": "supervised", "supervised": {"hyperparameters": order.hyperparameters}},
            seed=order.seed,
            suffix=order.suffix,
            metadata={TRAINING_HASH_KEY: name},
            extra_body={"trainingType": order.training_type} if order.training_type else None,
        )
    except openai.APIStatusError as error:
        if error.status_code < 500:
            record.forget()
        raise


async def _wait_for_job(
    client: openai.AsyncOpenAI,
    job: FineTuningJob,
    on_event: Callable[[str], None],
    on_metrics: Callable[[dict[str, float]], None],
    patience: PollingPolicy,
) -> FineTuningJob:
    import openai

    started, pause, told = time.monotonic(), patience.initial_poll_s, set[str]()
    paused_since: float | None = None
    unnamed_since: float | None = None
    while True:
        try:
            job = await client.fine_tuning.jobs.retrieve(job.id)
        except openai.NotFoundError:
            raise EndpointError(job_is_gone(job.id)) from None
        events = [event for event in reversed(await _list_newest_events(client, job.id)) if event.id not in told]
        told.update(event.id for event in events)
        for event in events:
            on_event(event.message)
        if told_figures := [figures for event in events if (figures := _numeric_metrics(event))]:
            on_metrics(told_figures[-1])
        now = time.monotonic()
        unnamed_since = (unnamed_since or now) if job.status == "succeeded" and not job.fine_tuned_model else None
        is_to_be_named = unnamed_since is not None and now - unnamed_since < patience.naming_timeout_s
        if job.status in FINAL_STATUSES and not is_to_be_named:
            return job
        paused_since = (paused_since or now) if str(job.status) == "paused" else None
        is_over = now - started >= patience.job_timeout_s
        if paused_since is not None and (is_over or now - paused_since >= patience.paused_timeout_s):
            raise JobPendingError(
                f"Fine-tuning job {job.id} is paused. `raft jobs --resume {job.id}` resumes it; then materialize "
                "finetuned_model again: the job is found again and not repeated.",
                job=job.id,
            )
        if is_over and job.status != "succeeded":
            since = datetime.fromtimestamp(job.created_at, UTC)
            raise JobPendingError(job_goes_on(job.id, job.model, str(job.status), since), job=job.id)
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, patience.max_poll_s)


async def _list_newest_events(client: openai.AsyncOpenAI, job_id: str) -> list[FineTuningJobEvent]:
    return (await client.fine_tuning.jobs.list_events(job_id, limit=50)).data


def _numeric_metrics(event: FineTuningJobEvent) -> dict[str, float]:
    """Return the numbers in an event's data; empty where the event is not about metrics."""
    if event.type != "metrics" or not isinstance(event.data, dict):
        return {}
    return {name: value for name, value in event.data.items() if isinstance(value, int | float)}


async def _list_checkpoints(client: openai.AsyncOpenAI, job: FineTuningJob) -> list[Checkpoint]:
    """List the checkpoints in the order of their steps; none where the service has no such list."""
    import openai

    try:
        found = [point async for point in client.fine_tuning.jobs.checkpoints.list(job.id, limit=100)]
    except openai.NotFoundError:
        return []
    losses = {point.id: (point.metrics.full_valid_loss, point.metrics.valid_loss) for point in found}
    return sorted(
        (
            Checkpoint(
                point.step_number,
                point.fine_tuned_model_checkpoint,
                next((loss for loss in losses[point.id] if loss is not None), None),
                getattr(point.metrics, "valid_usable", None),
            )
            for point in found
        ),
        key=lambda point: point.step,
    )


async def _read_loss_curve(client: openai.AsyncOpenAI, job: FineTuningJob) -> list[LossStep]:
    if not job.result_files:
        return []
    content = _decode_csv((await client.files.content(job.result_files[0])).content)
    return [
        LossStep(int(float(row["step"])), _parse_number(row.get("train_loss")), _parse_number(row.get("valid_loss")))
        for row in csv.DictReader(io.StringIO(content))
        if row.get("step")
    ]


def _decode_csv(content: bytes) -> str:
    """Decode the results file; OpenAI serves it in base64, others as plain text."""
    if not content.lstrip(b"\xef\xbb\xbf").startswith(b"step"):
        content = base64.b64decode(content)
    return content.decode("utf-8-sig")


def _parse_number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
