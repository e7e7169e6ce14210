"""Base models on this machine: where one is, whether it is safe to load, and what identifies it.

A model is a folder of safetensors with a tokenizer, or a GGUF file. Pickles are never opened, so a folder that holds no
other weights is rejected. The cache of the Hugging Face Hub is read as
https://huggingface.co/docs/huggingface_hub/guides/manage-cache describes it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import SettingsError
from raft_assets.core.identity import digest

VERSION_DIGITS = 12  # hexadecimal, of a model's version in its id
BLOCK_BYTES = 1 << 22
SAFE_WEIGHTS, GGUF = "*.safetensors", "*.gguf"
UNSAFE_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# what determines answers besides weights; documentation and other frameworks' files don't
_FORM = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    r"|(merges|vocab)\.txt|chat_template\.(jinja|json)|.*\.(model|tiktoken)"
)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
LICENCE = re.compile(r"(licen[cs]e|use_policy|notice|gemma.*terms)[\w.-]*", re.IGNORECASE)


@dataclass(frozen=True)
class BaseModel:
    """A model that was found: its name for people, and the folder or the GGUF file."""

    name: str
    path: Path

    @property
    def folder(self) -> Path:
        """The folder of the model's files."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def is_gguf(self) -> bool:
        """Whether the model is one GGUF file."""
        return self.path.is_file()

    @property
    def weights(self) -> list[Path]:
        """Files of the weights, in order of their names."""
        return [self.path] if self.is_gguf else sorted(self.path.glob(SAFE_WEIGHTS))

    @property
    def bytes(self) -> int:
        """Size of the weights."""
        return sum(file.stat().st_size for file in self.weights)

    @property
    def licence_files(self) -> list[Path]:
        """The licence and its company, as the model's publisher wrote them."""
        return [file for file in sorted(self.folder.iterdir()) if file.is_file() and LICENCE.fullmatch(file.name)]

    @cached_property
    def config(self) -> dict[str, object]:
        """The model's `config.json`; empty where there is none."""
        file = self.folder / "config.json"
        content = json.loads(file.read_text("utf-8")) if file.is_file() and not self.is_gguf else {}
        return content if isinstance(content, dict) else {}

    @property
    def has_chat_template(self) -> bool:
        """Whether the folder says how the model is spoken to."""
        if (self.folder / "chat_template.jinja").is_file() or (self.folder / "chat_template.json").is_file():
            return True
        file = self.folder / "tokenizer_config.json"
        return file.is_file() and isinstance(json.loads(file.read_text("utf-8")).get("chat_template"), str)

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was made for; None where its configuration doesn't say."""
        text = self.config.get("text_config")
        length = (self.config | (text if isinstance(text, dict) else {})).get("max_position_embeddings")
        return length if isinstance(length, int) else None

    def sha256(self, cache: Path) -> str:
        """Return the hash of weights, configuration, tokenizer and template; `cache` keeps the hashes of large files.

        It takes a second for each gigabyte, once: a file of the same size and time isn't read again.
        """
        known = _read_cache(cache)
        hashes, parts = dict[str, str](), list[str]()
        for file in [*self.weights, *self._form_files()]:
            status = file.stat()
            key = f"{file.resolve()} {status.st_size} {status.st_mtime_ns}"
            hashes[key] = known.get(key) or _hash(file)
            parts += [file.name, hashes[key]]
        if hashes.keys() - known.keys():
            write_text(cache, json.dumps(known | hashes))
        return digest("base model", *parts)

    def _form_files(self) -> Iterator[Path]:
        if not self.is_gguf:
            yield from (file for file in sorted(self.path.iterdir()) if file.is_file() and _FORM.fullmatch(file.name))


def find_base_model(wanted: str, huggingface_home: Path) -> BaseModel:
    """Return the model in a folder, in a GGUF file, or of that name in the local cache of the Hugging Face Hub.

    Raises SettingsError where there is none, and for weights that only a pickle holds.
    """
    path = Path(wanted).expanduser()
    if path.exists():
        found = BaseModel(_clean_name(path.resolve().stem if path.is_file() else path.resolve().name), path.resolve())
    else:
        found = BaseModel(wanted, _cached_folder(wanted, huggingface_home))
    if found.is_gguf:
        if found.path.suffix != ".gguf":
            raise SettingsError(f"{found.path} is no model: name a folder of safetensors, or a .gguf file.")
        return found
    files = sorted(found.path.glob(GGUF))
    if not found.weights and len(files) == 1:
        return BaseModel(found.name, files[0])
    if not found.weights:
        pickled = next((file for kind in UNSAFE_WEIGHTS for file in found.path.glob(kind)), None)
        raise SettingsError(
            f"{found.path} holds weights as a pickle only ({pickled.name}), which can run any code when it is opened: "
            "take a model in safetensors or GGUF."
            if pickled
            else f"{found.path} holds no weights: a model is a folder of .safetensors and tokenizer, or a .gguf file."
        )
    if "auto_map" in found.config:
        raise SettingsError(
            f"{found.path} wants code of its own to be run (auto_map in config.json), which is never done: take a "
            "model that the libraries know by themselves."
        )
    return found


def _clean_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "model"


def _cached_folder(name: str, huggingface_home: Path) -> Path:
    place = huggingface_home / "hub" / f"models--{name.replace('/', '--')}"
    if not _HUB_NAME.fullmatch(name) or ".." in name or not place.is_dir():
        raise SettingsError(
            f"There is no folder {name!r}, and no model of that name in {huggingface_home / 'hub'}. "
            f"`raft local pull {name}` downloads it, after it has said size and licence."
            if _HUB_NAME.fullmatch(name)
            else f"There is no folder {name!r}, and it is no name of a model."
        )
    head = place / "refs" / "main"
    revisions = sorted((place / "snapshots").glob("*"))
    named = place / "snapshots" / head.read_text("utf-8").strip() if head.is_file() else None
    if named and named.is_dir():
        return named
    if len(revisions) == 1:
        return revisions[0]
    raise SettingsError(f"{place} holds {len(revisions)} versions of {name}: name the folder of one of them.")


def _read_cache(cache: Path) -> dict[str, str]:
    try:
        content = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


def _hash(file: Path) -> str:
    state = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()
