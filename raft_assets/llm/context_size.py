"""Read how many tokens a model takes, prompt and answer together, where its service reports it.

vLLM, SGLang, llama.cpp and most hosted services do in their list of models; older llama.cpp, Ollama, LM Studio and TGI
do under paths of their own. Nothing here asks a model.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx2

from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import openai

INFO_TIMEOUT_S = 5.0  # no model has to compute the answer

# of an entry in the list of models: vLLM and SGLang, llama.cpp (in `meta`), OpenRouter, Groq, Mistral
_LISTED = ("max_model_len", "n_ctx", "context_length", "context_window", "max_context_length")
# by the path below the address without /v1: llama.cpp, Ollama (models that are loaded), LM Studio, TGI
_NATIVE_PATHS = ("/props", "/api/ps", "/api/v0/models", "/info")
_TGI_FIELDS = ("max_total_tokens", "max_input_length")  # of language models, of encoders


async def reported_context(client: openai.AsyncOpenAI, endpoint: Endpoint, model: str) -> int | None:
    """Return how many tokens the service says that the model takes; None if it says nothing.

    Ask after a test call: some servers know it only while the model is loaded.
    """
    if listed := _listed_context(_entries(await _read(client, "/models")), model):
        return listed
    root = re.sub(r"/v\d+$", "", endpoint.service)
    props, loaded, studio, info = await asyncio.gather(*(_read(client, root + path) for path in _NATIVE_PATHS))
    candidates = (
        _mapping(_mapping(props).get("default_generation_settings")).get("n_ctx"),
        _entry(_entries(loaded), model).get("context_length"),
        _entry(_entries(studio), model).get("loaded_context_length"),
        *map(_mapping(info).get, _TGI_FIELDS),
    )
    return next(filter(_is_count, candidates), None)


async def _read(client: openai.AsyncOpenAI, address: str) -> Any:
    """Return the JSON at an address, None if there is none."""
    import openai

    try:
        async with asyncio.timeout(INFO_TIMEOUT_S):
            return (await client.get(address, cast_to=httpx2.Response)).json()
    except (openai.APIError, TimeoutError, ValueError):
        return None


def _listed_context(entries: Sequence[Mapping[str, Any]], model: str) -> int | None:
    """Return the context of a listed model; an adapter has that of the model it was trained from."""
    entry = _entry(entries, model)
    parent = _entry(entries, entry["parent"]) if entry.get("parent") else {}
    holders = (entry, _mapping(entry.get("meta")), parent)
    return next(filter(_is_count, (holder.get(name) for holder in holders for name in _LISTED)), None)


def _entries(payload: Any) -> list[Mapping[str, Any]]:
    """Return the models of a list: OpenAI's form, Ollama's, or bare."""
    entries = payload if isinstance(payload, list) else _mapping(payload).get("data") or _mapping(payload).get("models")
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _entry(entries: Sequence[Mapping[str, Any]], model: str) -> Mapping[str, Any]:
    """Return the model's entry; a server of one model may call it as it likes."""
    for entry in entries:
        names = [entry.get("id"), entry.get("name"), entry.get("model")]
        aliases = entry.get("aliases")
        names += aliases if isinstance(aliases, list) else []
        if model in names or f"{model}:latest" in names:
            return entry
    return entries[0] if len(entries) == 1 else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
