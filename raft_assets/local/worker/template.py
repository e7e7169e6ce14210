"""Write the chat template of a model for an engine that renders it by itself: `LOCAL_PYTHON template.py MODEL FILE`."""

import sys

from worker_entry import run_worker  # started by its path, so this folder is on sys.path

if __name__ == "__main__":
    sys.exit(run_worker("templating"))
