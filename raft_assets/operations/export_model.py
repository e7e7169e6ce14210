"""Handing a student on: its weights, a card with verdict and interval, and the licences that travel with it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from raft_assets.core.errors import DataError
from raft_assets.dataset.card_head import README
from raft_assets.operations.local_models import local_provider
from raft_assets.operations.model_card import write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets.storage.lake import Lake

NO_LICENCE = (
    "note: the base model's folder holds no licence text. Put it there, or beside the exported files, before you hand "
    "the model on."
)


def export_model(
    models: ModelClients, lake: Lake, domain: str, target: Path, *, merged: bool, gguf: str | None
) -> Iterator[str]:
    """Write the domain's newest student into `target`; yield what was written, a line each.

    `merged`: base and adapter as one model as well, which `gguf` (a type of weights, such as q8_0) needs anyway. Raises
    DataError where the domain has no student of this machine, SettingsError for what a step lacks.
    """
    provider = local_provider(models.project)
    if not lake.exists("finetuned_model", domain, ".json"):
        raise DataError(f"{domain!r} has no student yet: raft run {domain!r}")
    adapter = provider.adapter(lake.read_record("finetuned_model", domain)["model"])
    target.mkdir(parents=True, exist_ok=True)
    yield str(adapter.copy(target))
    made = ""
    if merged or gguf:
        weights = adapter.merge(provider.interpreter, target)
        if gguf:
            file, told = provider.gguf(weights, target, gguf)
            made = f"\n{told}\n"
            yield str(file)
            if not merged:
                shutil.rmtree(weights)
            weights = file
        if merged:
            yield str(target / "merged")
        yield str(provider.modelfile(target, weights, adapter))
    licences = adapter.copy_licence(target)
    yield from map(str, licences)
    card = target / README
    card.write_text(write_model_card(models, lake, domain).text + made, "utf-8", newline="\n")
    yield str(card)
    if not licences:
        yield NO_LICENCE
