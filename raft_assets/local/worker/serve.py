"""Serve a base model and adapters: `RAFT_ENGINE_KEY=... LOCAL_PYTHON serve.py --base FOLDER [--port PORT]`."""

import sys

from worker_entry import run_worker  # started by its path, so this folder is on sys.path

if __name__ == "__main__":
    sys.exit(run_worker("serving"))
