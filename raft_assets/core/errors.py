"""Errors that a user can act on.

Every message says in a sentence what happened, where, and what to do; the CLI prints it without a traceback.
"""

import errno

DISK_FULL = (
    "No space is left on the disk. Free some, then run the same command again: finished work is kept, and .raft/cache "
    "and .raft/logs may be deleted at any time."
)
# how the system, SQLite and DuckDB say it
_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_FULL_MESSAGES = ("No space left on device", "database or disk is full", "Disk quota exceeded")


class RaftError(Exception):
    """Base class of errors that the user can fix: settings, documents, endpoints, budget."""


class SettingsError(RaftError):
    """A preset, `domain.yaml`, environment variable or option is wrong.

    The message names field, value and what is allowed.
    """


class NotServedYetError(SettingsError):
    """Runs serve the student's model for themselves, and none has done so yet: nothing is wrong before the first."""


class DataError(RaftError):
    """A table or file violates its schema; the message names file, row and column."""


class EndpointError(RaftError):
    """A model endpoint rejects calls in a way that a retry can't fix (sign-in, unknown model, exhausted quota)."""


class WaitingError(RaftError):
    """A result was requested and is not available yet; nothing is wrong, and no process has to wait for it.

    `job`: the id of the fine-tuning job that is waited for, at its service; empty for anything else.
    """

    def __init__(self, sentence: str, *, job: str = "") -> None:
        super().__init__(sentence)
        self.job = job


class NotDeployedError(EndpointError):
    """The endpoint doesn't know the model or deployment: it was never created, has expired, or isn't ready yet."""


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether a full disk is behind an error, whichever library says so."""
    if error is None or isinstance(error, RaftError):
        return False
    is_full = isinstance(error, OSError) and error.errno in _FULL_ERRNOS
    is_full = is_full or any(message in str(error) for message in _FULL_MESSAGES)
    return is_full or is_disk_full(error.__cause__)


def describe_error(error: Exception) -> str:
    """Return an error as a sentence; of the operating system's, with the file that it is about."""
    if is_disk_full(error):
        return DISK_FULL
    return f"{error.filename or 'a file'}: {error.strerror or error}." if isinstance(error, OSError) else str(error)
