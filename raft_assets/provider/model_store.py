"""Fine-tuned models on disk.

`models/<hash of the name>/` contains a card and a folder of weights, and never changes once it exists. Machines that
share the folder have the same models: one is fetched when it is asked for.
"""

import hashlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from raft_assets.core.atomic import write_text
from raft_assets.core.identity import digest, short_digest
from raft_assets.core.ports import SharedFiles
from raft_assets.provider.errors import model_not_found
from raft_assets.provider.stored import list_shared, parse_stored
from raft_assets.provider.unshared import UNSHARED

OWNER = "raft-assets"
_CARD = "model.json"


class FineTunedModel(BaseModel):
    """The card of a model: `sha256` is that of its weights, hence of its answers."""

    model_config = ConfigDict(frozen=True)

    id: str
    sha256: str
    created_ns: int


class ModelStore:
    """Publishes, lists, finds and deletes fine-tuned models; several processes may do so at the same time."""

    def __init__(self, folder: Path, *, weights: str, shared: SharedFiles = UNSHARED) -> None:
        """Create the store; `weights` names the folder of a model's weights, such as `reader`."""
        self._folder, self._weights, self._shared = folder / "models", weights, shared

    def publish(self, save: Callable[[Path], None], *, base: str, suffix: str | None) -> FineTunedModel:
        """Keep what `save` writes into a folder.

        Equal weights under an equal suffix are one model: publishing twice is harmless.
        """
        draft = self._folder / f".{secrets.token_hex(12)}"
        try:
            save(draft / self._weights)
            sha256 = _hash_of_files(draft / self._weights)
            model = FineTunedModel(
                id=f"ft:{base}:{OWNER}:{suffix or ''}:{sha256[:8]}", sha256=sha256, created_ns=time.time_ns()
            )
            write_text(draft / _CARD, model.model_dump_json())
            return self._find_or_move(model, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def share(self, model: str) -> None:
        """Give the other machines a model that is here; its card last, by which it is found."""
        if self._read(self._model_folder(model)):
            self._shared.publish(f"{_shared_name(model)}/{self._weights}")
            self._shared.publish(f"{_shared_name(model)}/{_CARD}")

    def find(self, model: str) -> FineTunedModel | None:
        """Return the model of this name, fetched where another machine made it, or None."""
        card = self._read(self._model_folder(model))
        if card is None and self._shared.read([f"{_shared_name(model)}/{_CARD}"]):
            self._shared.fetch(_shared_name(model))
            card = self._read(self._model_folder(model))
        return card if card and card.id == model else None

    def weights_folder(self, model: FineTunedModel) -> Path:
        """Return the folder of the model's weights."""
        return self._model_folder(model.id) / self._weights

    def all(self) -> list[FineTunedModel]:
        """Return every model, oldest first."""
        here = [card for path in self._folder.glob(f"*/{_CARD}") if (card := self._read(path.parent))]
        known = {f"{_shared_name(card.id)}/{_CARD}" for card in here}
        elsewhere = list_shared(
            FineTunedModel, self._shared, "models", lambda name: name.endswith(f"/{_CARD}") and name not in known
        )
        return sorted([*here, *elsewhere], key=lambda card: (card.created_ns, card.id))

    def delete(self, model: str) -> None:
        """Remove the model; raises ApiError (404)."""
        if self.find(model) is None:
            raise model_not_found(model)
        self._shared.forget(_shared_name(model))
        trash = self._folder / f".{secrets.token_hex(12)}"
        self._model_folder(model).rename(trash)
        shutil.rmtree(trash)

    def _find_or_move(self, model: FineTunedModel, draft: Path) -> FineTunedModel:
        try:
            draft.rename(self._model_folder(model.id))
        except OSError:  # another process has published it before
            found = self.find(model.id)
            if found is None or found.sha256 != model.sha256:
                raise
            return found
        return model

    def _model_folder(self, model: str) -> Path:
        return self._folder.parent / _shared_name(model)

    def _read(self, place: Path) -> FineTunedModel | None:
        try:
            return parse_stored(FineTunedModel, (place / _CARD).read_bytes())
        except OSError:
            return None


def _shared_name(model: str) -> str:
    return f"models/{short_digest('model', model)}"


def hash_saved_model(save: Callable[[Path], None]) -> str:
    """Return the hash that `publish` would give to what `save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        return _hash_of_files(Path(folder))


def _hash_of_files(folder: Path) -> str:
    parts = [
        part for path in sorted(folder.iterdir()) for part in (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    ]
    return digest("weights", *parts)
