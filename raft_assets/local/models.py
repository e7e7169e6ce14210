"""The models of a server: its base model, and the adapters that jobs of this folder trained on it.

An adapter is a model of its own in the API. It is loaded from the store that jobs publish into and from nowhere else,
and only onto the weights that it was trained on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raft_assets.local.settings import LocalSettings
from raft_assets.provider.errors import ApiError, model_not_found
from raft_assets.provider.model_store import OWNER, FineTunedModel, ModelStore

WEIGHTS = "adapter"  # folder of an adapter's files in its model's own
ORIGIN = "raft.json"  # beside them: what the adapter was trained from, and how


def adapter_store(folder: Path) -> ModelStore:
    """Return the store of a state folder's adapters."""
    return ModelStore(folder, weights=WEIGHTS)


class LocalModels:
    """The models that one server answers for."""

    def __init__(self, settings: LocalSettings) -> None:
        self._store = adapter_store(settings.folder)
        self._base, self._base_sha256 = settings.model_id, settings.base_sha256
        self._name = settings.model.name
        self._created = int(settings.model.path.stat().st_mtime)
        length = settings.training.max_length or settings.loaded.context_length
        self._max_model_len = {} if length is None else {"max_model_len": length}

    @property
    def base(self) -> str:
        """Id of the base model."""
        return self._base

    def cards(self) -> list[dict[str, Any]]:
        """Return the `model` object of the base model and of every adapter of it."""
        tuned = [model for model in self._store.all() if self._is_of_this_base(model)]
        return [self.card(self._base), *(self._tuned_card(model) for model in tuned)]

    def card(self, model: str) -> dict[str, Any]:
        """Return the `model` object; raises ApiError (404)."""
        if model == self._base:
            return {"id": model, "object": "model", "created": self._created, "owned_by": OWNER} | self._max_model_len
        return self._tuned_card(self.find_adapter(model)[0])

    def delete(self, model: str) -> None:
        """Delete an adapter; raises ApiError (403, 404)."""
        if model == self._base:
            raise ApiError(403, f"The model `{model}` is the base model of this server and can't be deleted.")
        self._store.delete(model)

    def find_adapter(self, model: str) -> tuple[FineTunedModel, Path]:
        """Return an adapter and the folder of its files; raises ApiError (404)."""
        found = self._store.find(model)
        if found is None:
            if model.partition("@")[0] == self._name:
                raise ApiError(
                    404,
                    f"The model `{model}` is not served here: this server answers as `{self._base}`. The part behind @ "
                    "stands for weights, engine and versions of libraries.",
                    param="model",
                    code="model_not_found",
                )
            raise model_not_found(model)
        if not self._is_of_this_base(found):
            raise ApiError(
                404,
                f"The model `{model}` was trained on other weights than those of `{self._base}`: serve its own base.",
                param="model",
                code="model_not_found",
            )
        return found, self._store.weights_folder(found)

    def _tuned_card(self, model: FineTunedModel) -> dict[str, Any]:
        return {
            "id": model.id,
            "object": "model",
            "created": model.created_ns // 10**9,
            "owned_by": OWNER,
            "parent": self._base,
        } | self._max_model_len

    def _is_of_this_base(self, model: FineTunedModel) -> bool:
        return read_origin(self._store.weights_folder(model)).get("base_sha256") == self._base_sha256


def read_origin(adapter: Path) -> Mapping[str, Any]:
    """Return what an adapter was trained from; empty where nobody wrote it down."""
    try:
        content = json.loads((adapter / ORIGIN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
