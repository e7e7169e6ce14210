"""The process that trains: `python -m raft_assets.embedded.job_worker <job folder>`, one per job, started by `jobs`.

It continues the job wherever a killed predecessor left it. Training itself starts again: it is deterministic and takes
seconds to minutes. Everything is published under the hash of its content, so publishing it twice is harmless.
"""

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raft_assets.core.errors import DataError
from raft_assets.core.identity import digest
from raft_assets.embedded.encoder import Encoder
from raft_assets.embedded.models import WEIGHTS
from raft_assets.embedded.reader import training
from raft_assets.embedded.weights import find_weights
from raft_assets.embedded.wordpiece import WordPiece
from raft_assets.provider.bodies import Hyperparameters
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_process import (
    JobFailedError,
    content_of,
    failures_end,
    invalid_file,
    job_parser,
    run_alone,
)
from raft_assets.provider.job_results import store_results
from raft_assets.provider.job_state import Job, JobCheckpoint, JobFolder, now
from raft_assets.provider.model_store import ModelStore
from raft_assets.provider.training_files import InvalidFileError, check_validation_file, count_training_tokens

log = logging.getLogger(__name__)

EVENT_EVERY_STEPS = 10
EXPECTED_SECONDS, EXPECTED_SECONDS_PER_KILOTOKEN = 5, 0.1  # on 2 cores, 164,000 tokens an epoch took 20 s


@dataclass(frozen=True)
class TrainingInput:
    """The paths of the job's files, and the tokens of one epoch."""

    train: Path
    valid: Path | None
    tokens: int


class JobWorker:
    """Works on one job until it ends."""

    def __init__(self, folder: JobFolder, *, encoder_folder: Path | None, huggingface_home: Path | None) -> None:
        state = folder.path.parents[1]
        self._folder, self._files, self._models = folder, FileStore(state), ModelStore(state, weights=WEIGHTS)
        self._encoder_folder, self._huggingface_home = encoder_folder, huggingface_home

    def run(self) -> None:
        """Validate, train and publish; every way out but being killed leaves the job ended."""
        job = self._folder.read()
        with failures_end(self._folder):
            try:
                self._train(job, self._validate(job))
            except training.TrainingCancelledError:
                log.info("%s was cancelled", job.id)

    def _validate(self, job: Job) -> TrainingInput:
        self._folder.update(status="validating_files")
        self._folder.tell(
            f"Validating training file: {job.training_file}"
            + (f" and validation file: {job.validation_file}" if job.validation_file else "")
        )
        train = content_of(self._files, "training_file", job.training_file)
        valid = content_of(self._files, "validation_file", job.validation_file) if job.validation_file else None
        try:
            vocabulary = find_weights(self._encoder_folder, hf_home=self._huggingface_home).vocabulary
            wordpiece = WordPiece(vocabulary)
            tokens = count_training_tokens(train, wordpiece.count)
        except InvalidFileError as error:
            raise invalid_file("training_file", error) from error
        try:
            if valid:
                check_validation_file(valid)
        except InvalidFileError as error:
            raise invalid_file("validation_file", error) from error
        self._folder.update(status="queued")
        self._folder.tell("Files validated, moving job to queued state")
        return TrainingInput(train, valid, tokens)

    def _train(self, job: Job, files: TrainingInput) -> None:
        encoder = Encoder.load(self._encoder_folder, hf_home=self._huggingface_home)
        chosen = training.TrainingHyperparameters(**job.hyperparameters.model_dump(), seed=job.seed)
        resolved = _resolve(chosen)
        seconds = EXPECTED_SECONDS + files.tokens / 1000 * EXPECTED_SECONDS_PER_KILOTOKEN
        self._folder.update(status="running", hyperparameters=resolved, estimated_finish=now() + math.ceil(seconds))
        self._folder.tell("Fine-tuning job started")
        curve: list[training.Step] = []

        def on_step(step: training.Step) -> None:
            curve.append(step)
            if step.step % EVENT_EVERY_STEPS == 1 or step.valid_loss is not None:
                self._folder.tell(f"Step {step.step}: training loss={step.train_loss:.4f}", metrics=_metrics(step))

        try:
            result = training.train(
                encoder,
                files.train,
                files.valid,
                hyperparameters=chosen,
                on_step=on_step,
                cancelled=lambda: self._folder.read().finished,
            )
        except DataError as error:
            raise JobFailedError(
                "invalid_training_file", str(error).replace(str(files.train), job.training_file), param="training_file"
            ) from error
        self._succeed(result, curve, trained_tokens=files.tokens * result.epochs)

    def _succeed(self, result: training.TrainingResult, curve: Sequence[training.Step], *, trained_tokens: int) -> None:
        """Publish model and results and end the job, all or nothing.

        A concurrent cancellation waits, or comes first.
        """
        with self._folder.locked() as job:
            if job.finished:
                return
            for message in _describe_skipped(result):
                self._folder.tell(message, level="warn")
            model = self._models.publish(result.reader.save, base=job.model, suffix=job.suffix)
            self._folder.tell(f"New fine-tuned model created: {model.id}")
            best = next(step for step in curve if step.step == result.best_step)
            checkpoint = JobCheckpoint(
                id=f"ftckpt_{digest(job.id)[:24]}",
                created_at=now(),
                model=model.id,
                step=best.step,
                metrics=_metrics(best),
            )
            ended = {
                "status": "succeeded",
                "finished_at": now(),
                "estimated_finish": None,
                "fine_tuned_model": model.id,
                "trained_tokens": trained_tokens,
                "result_files": (store_results(self._files, job.id, map(_metrics, curve)).id,),
                "checkpoints": (checkpoint,),
            }
            self._folder.tell("The job has successfully completed")
            self._folder.save(job.model_copy(update=ended))


def _resolve(chosen: training.TrainingHyperparameters) -> Hyperparameters:
    """Return the hyperparameters with the values chosen for `auto`."""
    schedule = chosen.schedule()
    multiplier = 1.0 if chosen.learning_rate_multiplier == "auto" else chosen.learning_rate_multiplier
    return Hyperparameters(
        n_epochs=schedule.epochs, batch_size=schedule.batch_size, learning_rate_multiplier=multiplier
    )


def _metrics(step: training.Step) -> dict[str, float]:
    found = {
        "step": step.step,
        "train_loss": step.train_loss,
        "train_mean_token_accuracy": step.train_accuracy,
        "valid_loss": step.valid_loss,
        "valid_mean_token_accuracy": step.valid_accuracy,
    }
    return {name: value for name, value in found.items() if value is not None}


def _describe_skipped(result: training.TrainingResult) -> list[str]:
    """Return a sentence per file with rows that taught nothing."""
    return [
        f"{sum(skipped.values())} of {used + sum(skipped.values())} {kind} rows could not be used: "
        + ", ".join(f"{reason} {rows}" for reason, rows in sorted(skipped.items()))
        for kind, used, skipped in (
            ("training", result.used_rows, result.skipped_rows),
            ("validation", result.valid_used_rows, result.valid_skipped_rows),
        )
        if skipped
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Work on the job unless another process does; return 0 if there is nothing left to do."""
    parser = job_parser("raft_assets.embedded.job_worker", "Brings an embedded fine-tuning job to its end.")
    parser.add_argument("--encoder-folder", type=Path, help="folder of model.safetensors and vocab.txt")
    parser.add_argument("--huggingface-home", type=Path, help="value of HF_HOME")
    options = parser.parse_args(arguments)
    where = {"encoder_folder": options.encoder_folder, "huggingface_home": options.huggingface_home}
    return run_alone(options, lambda folder: JobWorker(folder, **where).run())


if __name__ == "__main__":
    sys.exit(main())
