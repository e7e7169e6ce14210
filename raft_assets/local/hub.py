"""Downloading a model from the Hugging Face Hub: what it is, how large, under which licence; then its files.

Only weights without pickles are fetched, with what a model needs beside them and its licence.
"""

import json
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from raft_assets.core.errors import SettingsError
from raft_assets.local.base_model import LICENCE
from raft_assets.local.interpreter import WorkerInterpreter

SCRIPT = Path(__file__).with_name("hub_script.py")
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt", "README.md")
SUBFOLDERS = "*/*"  # other formats of the same weights
NO_LICENCE = "none is named, which permits nothing"


@dataclass(frozen=True)
class Offer:
    """A model that can be downloaded: `files` with their sizes in bytes."""

    name: str
    commit: str
    licence: str
    files: dict[str, int]
    target: Path
    interpreter: WorkerInterpreter
    token: str | None

    @property
    def bytes(self) -> int:
        """Size of the download."""
        return sum(self.files.values())

    @property
    def page(self) -> str:
        """Where people read about the model."""
        return f"https://huggingface.co/{self.name}"

    def fetch(self) -> Path:
        """Download the files; return their folder. Raises SettingsError."""
        asked = {"name": self.name, "revision": self.commit, "files": sorted(self.files), "cache": str(self.target)}
        return Path(_ask(self.interpreter, "fetch", {**asked, "token": self.token})["folder"])


def find_offer(
    interpreter: WorkerInterpreter, name: str, revision: str, *, huggingface_home: Path, token: str | None
) -> Offer:
    """Return what the Hub has under that name. Raises SettingsError where it has no weights that are safe to open."""
    told = _ask(interpreter, "describe", {"name": name, "revision": revision, "token": token})
    files = {file: size for file, size in told["files"].items() if _is_wanted(file)}
    if not any(fnmatchcase(file, WANTED[0]) for file in files):
        raise SettingsError(f"{name} has no safetensors on the Hub: take a model that has, or a GGUF file by hand.")
    return Offer(
        name, told["commit"], told["licence"] or NO_LICENCE, files, huggingface_home / "hub", interpreter, token
    )


def _is_wanted(file: str) -> bool:
    is_wanted = any(fnmatchcase(file, kind) for kind in WANTED) or LICENCE.fullmatch(file) is not None
    return is_wanted and not fnmatchcase(file, SUBFOLDERS)


def _ask(interpreter: WorkerInterpreter, step: str, asked: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [interpreter.python, SCRIPT, step], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SettingsError(f"The Hub could not be asked about {asked['name']}: see the line above.") from None
    return found
