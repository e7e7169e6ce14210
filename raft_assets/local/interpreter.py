"""The interpreter that trains and serves: where it is, what is installed in it, and whether its machine has a GPU.

torch never enters the product's environment, so everything is asked of another process.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from raft_assets.core.errors import SettingsError

PYTHON_VARIABLE = "RAFT_LOCAL_PYTHON"
INSTALL_COMMAND = "raft local install"
LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "safetensors",
    "tokenizers",
)  # that determine weights
OPTIONAL = ("vllm", "bitsandbytes", "gguf")
LOOK_TIMEOUT_S = 120.0  # the first look at a cold disk
SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CONNECTION_STRING")
EngineKind = Literal["vllm", "transformers"]
Engines = Literal["auto", "vllm", "transformers"]
# metadata alone: importing torch takes seconds
_VERSIONS = """
import importlib.metadata as m, json, sys
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class WorkerInterpreter:
    """The interpreter of the worker."""

    python: Path

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Version of Python and of every library that is installed. Raises SettingsError where it can't be run."""
        try:
            done = subprocess.run(
                [self.python, "-I", "-c", _VERSIONS, *LIBRARIES, *OPTIONAL],
                capture_output=True,
                text=True,
                timeout=LOOK_TIMEOUT_S,
                check=True,
            )
            found = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise SettingsError(
                f"{self.python} can't be run ({type(error).__name__}): `{INSTALL_COMMAND}` makes an interpreter for "
                f"local models, or set {PYTHON_VARIABLE} to one."
            ) from None
        return {str(name): str(version) for name, version in found.items()}

    @property
    def missing(self) -> list[str]:
        """Libraries that training needs and that aren't there."""
        return [name for name in LIBRARIES if name not in self.versions]

    def check(self) -> None:
        """Raise SettingsError where a library is missing."""
        if self.missing:
            raise SettingsError(
                f"{self.python} lacks {', '.join(self.missing)}: run `{INSTALL_COMMAND}`, or set {PYTHON_VARIABLE} to "
                "an interpreter that has them."
            )

    def choose_engine(self, wanted: Engines) -> EngineKind:
        """Return the engine: vLLM where it is installed, unless another is wanted. Raises SettingsError."""
        has_vllm = "vllm" in self.versions
        if wanted == "vllm" and not has_vllm:
            raise SettingsError(f"vLLM is not installed in {self.python}: install it there, or take another --engine.")
        return "transformers" if wanted == "transformers" or not has_vllm else "vllm"

    def run_script(self, script: Path, *arguments: str | Path) -> tuple[int, str]:
        """Run a script offline and without keys; return its exit code, and the last line of its errors."""
        done = subprocess.run(
            [self.python, script, *arguments],
            env=offline_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, next(reversed(done.stderr.strip().splitlines()), "it wrote no reason")[:500]

    @property
    def library_versions(self) -> Mapping[str, str]:
        """The versions that determine what is trained and answered."""
        return {name: version for name, version in self.versions.items() if name in (*LIBRARIES, "vllm")}


def find_interpreter(named: str | None, installed: Path) -> WorkerInterpreter:
    """Return the interpreter that `RAFT_LOCAL_PYTHON` names, else the installed one. Raises SettingsError."""
    python = Path(named).expanduser() if named else interpreter_of(installed)
    if not python.is_file():
        raise SettingsError(
            f"{PYTHON_VARIABLE} is {named}, which is no interpreter."
            if named
            else f"Local models need an interpreter of their own, with torch: `{INSTALL_COMMAND}` makes one in "
            f"{installed}, or set {PYTHON_VARIABLE} to one."
        )
    return WorkerInterpreter(python)


def offline_environment() -> dict[str, str]:
    """Return the variables of a process that computes: no key of any service, no download."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(SECRET_ENDINGS)}
    return kept | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}


def interpreter_of(environment: Path) -> Path:
    """Return the path of the interpreter in a virtual environment."""
    windows = environment / "Scripts" / "python.exe"
    return windows if windows.is_file() else environment / "bin" / "python"
