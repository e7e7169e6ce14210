"""Making the interpreter of local models: a virtual environment of its own, with pinned versions.

The package index is whatever pip is configured to ask (`PIP_INDEX_URL`): which build of torch comes from it is checked
afterwards, because indexes differ in that.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from raft_assets.core.errors import SettingsError
from raft_assets.local.interpreter import WorkerInterpreter, interpreter_of

REQUIREMENTS = Path(__file__).parent / "worker" / "requirements.txt"
CUDA_REQUIREMENTS = REQUIREMENTS.with_name("requirements-cuda.txt")
_HAS_CUDA = "import torch; print(torch.version.cuda or '')"


def install(environment: Path, build: str, tell: Callable[[str], None]) -> WorkerInterpreter:
    """Make or complete the environment; `build` is `cpu` or `cuda`. Raises SettingsError where pip fails."""
    python = interpreter_of(environment)
    if not python.is_file():
        tell(f"Making {environment}")
        _run([sys.executable, "-m", "venv", str(environment)], "The environment could not be made")
        python = interpreter_of(environment)
    files = [REQUIREMENTS, *([CUDA_REQUIREMENTS] if build == "cuda" else [])]
    wanted = [part for file in files for part in ("--requirement", str(file))]
    tell("Installing torch, transformers, peft, trl (some minutes)")
    _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", *wanted], "pip could not install them")
    cuda = _run([str(python), "-I", "-c", _HAS_CUDA], "torch can't be imported").strip()
    if build == "cpu" and cuda:
        tell(f"Note: the index gave a torch for CUDA {cuda}; PIP_INDEX_URL can name one with smaller CPU builds.")
    if build == "cuda" and not cuda:
        tell("Warning: the package index gave a torch without CUDA: set PIP_INDEX_URL to one with CUDA builds.")
    return WorkerInterpreter(python)


def _run(command: list[str], failure: str) -> str:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingsError(f"{failure}: `{' '.join(command)}` ended with {error}.") from None
