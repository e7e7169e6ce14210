"""The base model's folder: what may be in it, its hash, loading it. Weights are safetensors or GGUF, never pickles.

Code that comes with a model is never run (`trust_remote_code` is off), and nothing is downloaded.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .chat import ChatForm, end_ids_of
from .job import RefusedError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HASHED = (
    "*.safetensors",
    "*.gguf",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "*.model",
    "chat_template*",
    "vocab.*",
    "merges.txt",
)


@dataclass(frozen=True)
class BaseModel:
    """A base model on disk: a folder of safetensors, or one GGUF file."""

    folder: Path
    gguf: str | None

    @property
    def name(self) -> str:
        """What the model is called: its folder's name, or its file's."""
        return Path(self.gguf).stem if self.gguf else self.folder.name

    @cached_property
    def config(self) -> Any:
        """The model's configuration; raises RefusedError."""
        from transformers import AutoConfig

        return _refuse_errors(self, lambda: AutoConfig.from_pretrained(self.folder, **self._loading))

    def tokenizer(self) -> Any:
        """Load the tokenizer; raises RefusedError."""
        from transformers import AutoTokenizer

        tokenizer = _refuse_errors(self, lambda: AutoTokenizer.from_pretrained(self.folder, **self._loading))
        if tokenizer.eos_token_id is None:
            raise RefusedError(
                "invalid_model",
                f"The tokenizer of {self.folder} has no end token (eos), so no answer would end.",
                param="model",
            )
        return tokenizer

    def chat_form(self, tokenizer: Any) -> ChatForm:
        """Return how the model is spoken to."""
        file = self.folder / "generation_config.json"
        generation = json.loads(file.read_bytes()) if file.is_file() else {}
        return ChatForm(tokenizer, end_ids=end_ids_of([generation, self.config.to_dict()]))

    @property
    def context_length(self) -> int:
        """The tokens that the model was made for."""
        return int(self.config.get_text_config().max_position_embeddings)

    @property
    def sha256(self) -> str:
        """Hash of all that makes the model: weights, configuration, tokenizer."""
        files = (
            [self.folder / self.gguf]
            if self.gguf
            else sorted({file for kind in HASHED for file in self.folder.glob(kind)})
        )
        state = hashlib.sha256()
        for file in files:
            with file.open("rb") as stream:
                state.update(f"{file.name}\n{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        return state.hexdigest()

    def load(self, *, dtype: str, device: str, quantisation: str = "none") -> Any:
        """Load the weights; raises RefusedError."""
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
        if quantisation == "nf4":
            options |= {"quantization_config": _nf4(), "device_map": {"": 0}}
        if not self.gguf:
            options["use_safetensors"] = True
        model = _refuse_errors(
            self, lambda: AutoModelForCausalLM.from_pretrained(self.folder, **options, **self._loading)
        )
        model.generation_config = GenerationConfig()  # a model's own penalties and draws are nobody's request here
        return model if quantisation == "nf4" else model.to(device)

    @property
    def _loading(self) -> dict[str, Any]:
        gguf = {"gguf_file": self.gguf} if self.gguf else {}
        return {"trust_remote_code": False, "local_files_only": True} | gguf


def find_base(path: Path) -> BaseModel:
    """Return the model at a path; raises RefusedError."""
    if path.suffix == ".gguf" and path.is_file():
        return BaseModel(path.parent, path.name)
    if list(path.glob("*.safetensors")) and (path / "config.json").is_file():
        return BaseModel(path, None)
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return BaseModel(path, ggufs[0].name)
    pickles = [file.name for kind in PICKLES for file in path.glob(kind)]
    reason = (
        f"its weights are pickles ({', '.join(pickles[:3])}), which can run code when they are opened; "
        "convert them to safetensors"
        if pickles
        else f"it holds {len(ggufs)} GGUF files; name one of them"
        if ggufs
        else "it holds neither config.json with *.safetensors nor a .gguf file"
    )
    raise RefusedError("invalid_model", f"{path} can't be used as a base model: {reason}.", param="model")


def choose_device(wanted: str) -> str:
    """Return "cuda" or "cpu"; raises RefusedError where CUDA was ordered and isn't there."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise RefusedError("no_device", "The order names CUDA, and this machine or this build of PyTorch has none.")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def choose_dtype(wanted: str, device: str) -> str:
    """Return the type of weights: on a GPU bfloat16; on a CPU float32, which most of them compute faster."""
    return wanted if wanted != "auto" else "bfloat16" if device == "cuda" else "float32"


def _nf4() -> Any:
    """QLoRA's quantisation (arXiv 2305.14314, section 3)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _refuse_errors(base: BaseModel, load: Any) -> Any:
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:400]
        raise RefusedError(
            "invalid_model", f"{base.folder} can't be loaded: {type(error).__name__}: {reason}", param="model"
        ) from error
