"""How `train.py`, `serve.py` and others start, by path, in an interpreter that doesn't have the product.

Their folder becomes a package by its own name. Nothing else is put on `sys.path`: beside an installed product lie its
packages, in other versions than the worker's.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

PACKAGE = "raft_local_worker"


def run_worker(module: str) -> int:
    """Run `main` of a module of this folder, offline, and return its exit code."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded, whatever a configuration names
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # equal runs are equal, PyTorch's note on randomness
    # one GPU: Trainer would spread a model over all that it sees, which TRL refuses
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    # threads that wait for one another spin for about a millisecond and then sleep: sleeping at once costs a third of
    # the speed on a free machine, and spinning for longer takes the cores from whom they wait for on a busy one
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    folder = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    return int(importlib.import_module(f"{PACKAGE}.{module}").main(sys.argv[1:]))
