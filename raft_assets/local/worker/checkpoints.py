"""Checkpoints: an adapter as PEFT and vLLM load it, and what a worker needs to go on as if it had never stopped.

Trainer's own checkpoints keep optimizer and random numbers as pickles; here everything is safetensors and JSON, and
nothing else is ever opened. A folder appears under its name when it is complete.
"""

import json
import random
import shutil
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers.trainer_callback import TrainerState

from .job import write_json

ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TRAINER_STATE = "trainer_state.json"  # where Trainer looks for it
RESUME = "resume"


def save_checkpoint(target: Path, *, model: Any, optimizer: Any, scheduler: Any, state: TrainerState) -> None:
    """Write a checkpoint; a crash on the way leaves none, and other checkpoints lose their `resume` afterwards."""
    draft = target.with_name(f".{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / RESUME).mkdir(parents=True)
    save_file(
        {
            name: tensor.contiguous()
            for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
        },
        draft / ADAPTER,
    )
    config = copy(model.peft_config["default"])
    config.inference_mode = True
    config.save_pretrained(str(draft))
    written = json.loads((draft / CONFIG).read_bytes())  # a set, in another order in every process
    write_json(draft / CONFIG, written | {"target_modules": sorted(written["target_modules"])})
    _save_optimizer(draft / RESUME, optimizer, scheduler)
    _save_random_state(draft / RESUME)
    state.save_to_json(str(draft / RESUME / TRAINER_STATE))
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that a worker can go on from."""
    found = [path for path in folder.glob("step-*") if (path / RESUME / TRAINER_STATE).is_file()]
    return max(found, key=step_of, default=None)


def drop_older(folder: Path, *, kept: set[int]) -> None:
    """Remove what only the newest checkpoint needs from the others, and all of those that are no model of the job."""
    newest = newest_checkpoint(folder)
    for path in folder.glob("step-*"):
        if path == newest:
            continue
        shutil.rmtree(path / RESUME if step_of(path) in kept else path, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint's folder."""
    return int(checkpoint.name.removeprefix("step-"))


def load_adapter(checkpoint: Path, model: Any) -> None:
    """Give the model a checkpoint's adapter."""
    set_peft_model_state_dict(model, load_file(checkpoint / ADAPTER))


def load_optimizer(checkpoint: Path, optimizer: Any, scheduler: Any) -> None:
    """Put optimizer and schedule where they were."""
    kept = json.loads((checkpoint / RESUME / "optimizer.json").read_bytes())
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in load_file(checkpoint / RESUME / "optimizer.safetensors").items():
        place, _, part = name.partition(".")
        state.setdefault(int(place), {})[part] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": kept["param_groups"]})
    scheduler.load_state_dict(kept["scheduler"])


def load_random_state(checkpoint: Path) -> None:
    """Put the random numbers of Python, NumPy and PyTorch where they were."""
    tensors = load_file(checkpoint / RESUME / "random.safetensors")
    kept = json.loads((checkpoint / RESUME / "random.json").read_bytes())
    version, state, gauss = kept["python"]
    random.setstate((version, tuple(state), gauss))
    name, *rest = kept["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))  # noqa: NPY002 - Trainer's are global
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available() and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"])


def _save_optimizer(folder: Path, optimizer: Any, scheduler: Any) -> None:
    state = optimizer.state_dict()
    tensors = {
        f"{place}.{part}": torch.as_tensor(value).contiguous()
        for place, parts in state["state"].items()
        for part, value in parts.items()
    }
    save_file(tensors, folder / "optimizer.safetensors")
    write_json(folder / "optimizer.json", {"param_groups": state["param_groups"], "scheduler": scheduler.state_dict()})


def _save_random_state(folder: Path) -> None:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - Trainer's are global
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    save_file(tensors, folder / "random.safetensors")
    write_json(folder / "random.json", {"python": random.getstate(), "numpy": [name, *rest]})
