"""What the local provider is started with; the server's process, its jobs and the engine read it from here alone."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from raft_assets.core.atomic import write_text
from raft_assets.core.identity import digest
from raft_assets.local.base_model import VERSION_DIGITS, BaseModel
from raft_assets.local.interpreter import EngineKind, WorkerInterpreter
from raft_assets.local.training_settings import TrainingSettings
from raft_assets.local.unpacked import loaded_model

PROVIDER_VERSION = "1"  # of the way from an uploaded file to an adapter: raise it when equal input trains another one
MIN_KEY_CHARACTERS = 32
BASE_FILE = "base.json"  # of a state folder: which base model its adapters belong to, and where that is


@dataclass(frozen=True)
class LocalSettings:
    """One server of one base model; `folder` contains files, jobs and adapters, and belongs to one server at a time.

    `worker`: a command that runs the worker's script in place of the interpreter, such as in a container.
    `chat_template`: a file, for an engine that renders prompts by itself. `gpu_percent`: of the GPU's memory, for an
    engine that reserves it; None for what that takes by itself.
    """

    folder: Path
    model: BaseModel
    interpreter: WorkerInterpreter
    engine: EngineKind
    worker: tuple[str, ...] = ()
    training: TrainingSettings = field(default_factory=TrainingSettings)
    chat_template: Path | None = None
    gpu_percent: int | None = None

    def write_base(self) -> None:
        """Write down which base model the folder belongs to, for whoever hands its adapters on."""
        told = {"name": self.model.name, "path": str(self.model.path), "sha256": self.base_sha256}
        write_text(self.folder / BASE_FILE, json.dumps(told, ensure_ascii=False))

    @property
    def loaded(self) -> BaseModel:
        """The base model as engine and worker load it."""
        return loaded_model(self.model, self.folder)

    @property
    def base_sha256(self) -> str:
        """Hash of the base model's weights, configuration, tokenizer and template."""
        return self.model.sha256(self.folder / "hashes.json")

    @property
    def model_id(self) -> str:
        """The name that the base model answers to: it says everything that determines an answer and an adapter.

        Equal ids therefore mean: equal request, equal answer; and what a client calls a model is part of the hash that
        its students are known by.
        """
        libraries = [part for named in sorted(self.interpreter.library_versions.items()) for part in named]
        order = [str(part) for part in sorted(self.training.as_order().items())]
        version = digest("local model", PROVIDER_VERSION, self.base_sha256, self.engine, *order, *libraries)
        return f"{self.model.name}@{version[:VERSION_DIGITS]}"
