"""Write a GGUF file's model as a folder of safetensors: `LOCAL_PYTHON unpack.py FILE FOLDER`."""

import sys

from worker_entry import run_worker  # started by its path, so this folder is on sys.path

if __name__ == "__main__":
    sys.exit(run_worker("unpacking"))
