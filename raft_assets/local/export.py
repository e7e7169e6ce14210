"""What leaves the house: an adapter, the merged model, a GGUF file, and a Modelfile for Ollama.

Weights are computed by the interpreter of local models, a GGUF by the converter of llama.cpp itself, from a checkout
that the user names: https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from raft_assets.core.errors import DataError, SettingsError
from raft_assets.local.base_model import BaseModel
from raft_assets.local.interpreter import WorkerInterpreter
from raft_assets.local.models import adapter_store
from raft_assets.local.settings import BASE_FILE
from raft_assets.local.unpacked import loaded_model
from raft_assets.local.worker.chat import PLAIN_OLLAMA_TEMPLATE

MERGE_SCRIPT = Path(__file__).parent / "worker" / "merge.py"
CONVERTER = "convert_hf_to_gguf.py"
ADAPTER, MERGED, MODELFILE = "adapter", "merged", "Modelfile"


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter with the base model that it belongs to, and the folder of safetensors that this is loaded from."""

    model: str
    folder: Path
    base: BaseModel
    loaded: BaseModel

    def copy(self, target: Path) -> Path:
        """Copy the adapter's files; return their folder."""
        return Path(shutil.copytree(self.folder, target / ADAPTER, dirs_exist_ok=True))

    def copy_licence(self, target: Path) -> list[Path]:
        """Copy the base's licence, as its publisher wrote it, and what belongs to it."""
        return [Path(shutil.copy(file, target / file.name)) for file in self.base.licence_files]

    def merge(self, interpreter: WorkerInterpreter, target: Path) -> Path:
        """Write base and adapter as one model; return its folder. Raises SettingsError where that fails."""
        merged = target / MERGED
        _run(interpreter, MERGE_SCRIPT, self.loaded.path, self.folder, merged)
        return merged


def find_adapter(state: Path, model: str) -> StoredAdapter:
    """Return a fine-tuned model of any base in the state folder. Raises DataError where there is none."""
    for folder in sorted(path.parent for path in state.glob(f"*/{BASE_FILE}")):
        store = adapter_store(folder)
        if found := store.find(model):
            told = json.loads((folder / BASE_FILE).read_text("utf-8"))
            base = BaseModel(told["name"], Path(told["path"]))
            if not base.path.exists() or base.sha256(folder / "hashes.json") != told["sha256"]:
                raise DataError(f"{model} was trained on {base.path}, which is gone or has changed.")
            return StoredAdapter(model, store.weights_folder(found), base, loaded_model(base, folder))
    raise DataError(
        f"{model} is not among the models that were trained on this machine ({state}): export it where its server runs."
    )


def write_gguf(
    interpreter: WorkerInterpreter, merged: Path, target: Path, *, kind: str, llama_cpp: str | None
) -> tuple[Path, str]:
    """Convert a merged model; return the file, and a sentence about what converted it. Raises SettingsError."""
    converter = Path(llama_cpp or "") / CONVERTER
    if not llama_cpp or not converter.is_file():
        raise SettingsError(
            f"--gguf needs llama.cpp's own converter: set RAFT_LLAMA_CPP to a checkout of llama.cpp, in which "
            f"{CONVERTER} is."
        )
    file = target / f"model-{kind}.gguf"
    _run(interpreter, converter, merged, "--outfile", file, "--outtype", kind)
    return file, f"`{file.name}` was written by llama.cpp's own converter ({_version(converter.parent)})."


def write_modelfile(target: Path, weights: Path, base: BaseModel) -> Path:
    """Write what `ollama create` reads: the weights, and answers that don't vary.

    The chat template is the base's own, which Ollama knows by what is in the weights. A base without one was trained
    with a template that it can't know: https://docs.ollama.com/modelfile
    """
    file = target / MODELFILE
    lines = [f"FROM ./{weights.relative_to(target).as_posix()}", "PARAMETER temperature 0", "PARAMETER num_ctx 8192"]
    if not base.has_chat_template:
        lines.append(f'TEMPLATE """{PLAIN_OLLAMA_TEMPLATE}"""')
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def _version(checkout: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), "describe", "--always", "--tags"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "of an unknown version"


def _run(interpreter: WorkerInterpreter, script: Path, *arguments: str | Path) -> None:
    code, reason = interpreter.run_script(script, *arguments)
    if code:
        command = " ".join(map(str, (interpreter.python, script, *arguments)))
        raise SettingsError(f"`{command}` failed ({code}): {reason}")
