"""What is loaded of a base model: its own folder, or the safetensors that a GGUF file is unpacked into, once.

Unpacked, a model takes 4 bytes a parameter on a machine without a GPU, 2 on one with: the type it is computed with.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from raft_assets.core.errors import SettingsError
from raft_assets.local.base_model import BaseModel
from raft_assets.local.interpreter import WorkerInterpreter

UNPACK_SCRIPT = Path(__file__).parent / "worker" / "unpack.py"
SOURCE = "source.json"  # in the folder: the hash of the file that it was unpacked from

DRAFT = ".unpacked-"  # of one process; what a killed one left is removed


def loaded_model(model: BaseModel, folder: Path) -> BaseModel:
    """Return the folder of safetensors that engine and worker load; for a GGUF file it is in a server's `folder`."""
    return BaseModel(model.name, folder / "unpacked") if model.is_gguf else model


def unpack(
    model: BaseModel, folder: Path, *, sha256: str, interpreter: WorkerInterpreter, tell: Callable[[str], None]
) -> None:
    """Unpack a GGUF file unless that very file was unpacked before; raises SettingsError where it can't be read."""
    target = loaded_model(model, folder).path
    if not model.is_gguf or _source(target) == sha256:
        return
    tell(f"Unpacking {model.path.name} into {target}, once (minutes)")
    for old in (target, *folder.glob(f"{DRAFT}*")):
        shutil.rmtree(old, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
    code, reason = interpreter.run_script(UNPACK_SCRIPT, model.path, draft)
    if code:
        shutil.rmtree(draft, ignore_errors=True)
        raise SettingsError(f"{model.path} can't be unpacked: {reason}")
    (draft / SOURCE).write_text(json.dumps({"sha256": sha256}), "utf-8")
    draft.rename(target)


def _source(target: Path) -> str | None:
    try:
        return str(json.loads((target / SOURCE).read_text("utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
