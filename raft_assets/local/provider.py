"""The public module of the local provider: what commands need to serve, install, download and export open models.

Other rooms import this module and nothing else of the room. What it names is imported when it is used.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raft_assets.local.base_model import BaseModel, find_base_model
from raft_assets.local.interpreter import PYTHON_VARIABLE, Engines, WorkerInterpreter, find_interpreter
from raft_assets.local.training_settings import MAX_LORA_RANK, LoraLayers, Quantisation, TrainingSettings

if TYPE_CHECKING:
    from raft_assets.local.export import StoredAdapter
    from raft_assets.local.hub import Offer
    from raft_assets.local.settings import LocalSettings

WORKER_VARIABLE = "RAFT_LOCAL_WORKER"  # a command that runs the worker's script, in a container or on a cluster
CONVERTER_VARIABLE = "RAFT_LLAMA_CPP"  # names the checkout that converts to GGUF

__all__ = [
    "CONVERTER_VARIABLE",
    "MAX_LORA_RANK",
    "PYTHON_VARIABLE",
    "WORKER_VARIABLE",
    "BaseModel",
    "Engines",
    "LocalProvider",
    "LoraLayers",
    "Quantisation",
    "TrainingSettings",
    "WorkerInterpreter",
]


@dataclass(frozen=True)
class LocalProvider:
    """Where the local provider keeps what it makes, and where it finds what it needs.

    `state`: a folder for each base model that is served; `environment`: the interpreter that `raft local install`
    makes; `python`: another one, by `RAFT_LOCAL_PYTHON`; `worker`: a command that runs the worker's script instead, by
    `RAFT_LOCAL_WORKER`; `converter`: a checkout of llama.cpp, by `RAFT_LLAMA_CPP`; `training`: how adapters are
    trained, by `RAFT_LORA_*`; `gpu_percent`: how much of the GPU's memory vLLM takes, by `RAFT_LOCAL_GPU_PERCENT`.
    """

    state: Path
    environment: Path
    huggingface_home: Path
    python: str | None = None
    worker: str | None = None
    converter: str | None = None
    training: TrainingSettings = field(default_factory=TrainingSettings)
    gpu_percent: int | None = None

    @cached_property
    def interpreter(self) -> WorkerInterpreter:
        """The interpreter of worker and engines. Raises SettingsError where there is none."""
        return find_interpreter(self.python, self.environment)

    def find(self, model: str) -> BaseModel:
        """Return the base model in a folder, or of that name in the cache. Raises SettingsError."""
        return find_base_model(model, self.huggingface_home)

    def settings(self, model: str, engine: Engines = "auto", *, context: int | None = None) -> "LocalSettings":
        """Return what a server of the model is started with; `context`: tokens that it takes at most.

        Raises SettingsError where model, interpreter or engine is missing.
        """
        from raft_assets.local.settings import LocalSettings

        found, interpreter = self.find(model), self.interpreter
        interpreter.check()
        kind = interpreter.choose_engine(engine)
        return LocalSettings(
            self._folder(found),
            found,
            interpreter,
            kind,
            tuple(shlex.split(self.worker or "")),
            replace(self.training, max_length=context),
            self._folder(found) / "chat_template.jinja" if kind == "vllm" else None,
            self.gpu_percent,
        )

    def is_served(self, model: str) -> bool:
        """Return whether a server of these folders serves the model, on whatever port. Raises SettingsError."""
        from raft_assets.local.server import is_owned

        return is_owned(self._folder(self.find(model)))

    def install(self, build: str, tell: Callable[[str], None]) -> WorkerInterpreter:
        """Make the interpreter, with torch for `cpu` or `cuda`. Raises SettingsError."""
        from raft_assets.local.install import install

        return install(self.environment, build, tell)

    def offer(self, name: str, revision: str, token: str | None) -> "Offer":
        """Return what the Hugging Face Hub has under that name, which can be fetched. Raises SettingsError."""
        from raft_assets.local.hub import find_offer

        return find_offer(self.interpreter, name, revision, huggingface_home=self.huggingface_home, token=token)

    def adapter(self, model: str) -> "StoredAdapter":
        """Return a model that was fine-tuned here, with its base. Raises DataError where it wasn't."""
        from raft_assets.local.export import find_adapter

        return find_adapter(self.state, model)

    def gguf(self, merged: Path, target: Path, kind: str) -> tuple[Path, str]:
        """Convert a merged model; return the file, and a sentence about what converted it. Raises SettingsError."""
        from raft_assets.local.export import write_gguf

        return write_gguf(self.interpreter, merged, target, kind=kind, llama_cpp=self.converter)

    @staticmethod
    def modelfile(target: Path, weights: Path, adapter: "StoredAdapter") -> Path:
        """Write the file that `ollama create` reads, for what the adapter became with its base."""
        from raft_assets.local.export import write_modelfile

        return write_modelfile(target, weights, adapter.loaded)

    def serve(
        self,
        settings: "LocalSettings",
        *,
        host: str,
        port: int,
        key: str,
        names: Sequence[str] = (),
        tell: Callable[[str], None] = lambda _: None,
        on_start: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Serve until interrupted, as `local.server.serve` does."""
        from raft_assets.local.server import serve

        serve(settings, host=host, port=port, key=key, names=names, tell=tell, on_start=on_start)

    def _folder(self, model: BaseModel) -> Path:
        return (self.state / model.name.replace("/", "--")).resolve()
