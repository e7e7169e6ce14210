"""What processes of fine-tuning jobs have in common, whichever provider trains: how they begin and how they fail."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raft_assets.core.errors import RaftError
from raft_assets.core.locks import try_lock
from raft_assets.provider.errors import ApiError
from raft_assets.provider.files import FileStore
from raft_assets.provider.job_state import JobError, JobFolder
from raft_assets.provider.training_files import InvalidFileError

log = logging.getLogger(__name__)


class JobFailedError(Exception):
    """The job can't be done; the reason is for the user."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.error = JobError(code=code, message=message, param=param)


def invalid_file(param: str, error: InvalidFileError) -> JobFailedError:
    """Return the failure of a job whose file holds what can't be trained on."""
    return JobFailedError(
        error.code, f"The job failed due to an invalid {param.replace('_', ' ')}. {error.message}", param=param
    )


def content_of(files: FileStore, param: str, file_id: str) -> Path:
    """Return the path of a file of the job. Raises JobFailedError where it was deleted meanwhile."""
    try:
        return files.content(file_id)
    except ApiError as error:
        message = f"The {param.replace('_', ' ')} {file_id} was deleted before the job used it."
        raise JobFailedError("file_not_found", message, param=param) from error


@contextmanager
def failures_end(folder: JobFolder) -> Iterator[None]:
    """End the job, with its reason, where the block raises; nothing is raised further."""
    try:
        yield
    except JobFailedError as failure:
        fail(folder, failure.error)
    except RaftError as error:
        fail(folder, JobError(code="server_error", message=str(error)))
    except Exception as error:
        log.exception("%s failed", folder.path.name)
        reason = f"an internal error ({type(error).__name__}); {folder.worker_log} contains the details."
        fail(folder, JobError(code="server_error", message=f"The job failed due to {reason}"))


def fail(folder: JobFolder, error: JobError) -> None:
    """End the job as failed, and say why."""
    folder.finish("failed", error.message, level="error", error=error)


def job_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of what `JobService` starts such a process with; a provider adds options of its own."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("folder", type=Path, help="folder of the job")
    parser.add_argument("--lock", type=int, help="inherited descriptor that holds the job's lock")
    return parser


def run_alone(options: argparse.Namespace, run: Callable[[JobFolder], None]) -> int:
    """Run the job unless it has ended or another process works on it; return 0, as nothing is left to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = JobFolder(options.folder.resolve())
    lock = try_lock(folder.worker_lock) if options.lock is None else options.lock
    if lock is None:
        log.info("another process works on %s", folder.path.name)
        return 0
    os.pwrite(lock, f"{os.getpid():<20}\n".encode(), 0)  # for a person who reads the file
    if not folder.read().finished:
        run(folder)
    return 0
