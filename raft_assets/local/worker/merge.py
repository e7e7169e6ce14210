"""A step of `raft export --merged`: `LOCAL_PYTHON merge.py BASE ADAPTER TARGET` makes one model of two."""

import sys

from worker_entry import run_worker  # started by its path, so this folder is on sys.path

if __name__ == "__main__":
    sys.exit(run_worker("merging"))
