"""Bring a training job to its end: `LOCAL_PYTHON train.py JOB_FOLDER`."""

import sys

from worker_entry import run_worker  # started by its path, so this folder is on sys.path

if __name__ == "__main__":
    sys.exit(run_worker("training"))
