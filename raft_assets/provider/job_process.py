"""How the process of a fine-tuning job begins, whichever provider trains: its command line, and the job's one lock."""

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path

from raft_assets.core.locks import try_lock
from raft_assets.provider.job_state import JobFolder

log = logging.getLogger(__name__)


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
