"""The provider's models: which exist, what determines their answers, and where their answers are computed.

`embedded-teacher` writes questions and answers by rules, `embedded-encoder` embeds, `embedded-reader` is the
baseline, and `ft:embedded-reader:...` are readers that were fine-tuned. None of them is a language model.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from raft_assets.core.errors import EndpointError
from raft_assets.core.identity import digest
from raft_assets.core.ports import SharedFiles
from raft_assets.embedded import answers
from raft_assets.embedded.encoder import Encoder, Floats
from raft_assets.embedded.reader.model import Model, save_model
from raft_assets.embedded.reader.passages import Analyst
from raft_assets.embedded.reader.read import Reader
from raft_assets.embedded.teacher.ask import TEACHER_VERSION, GeneratedQuestion, generate_questions
from raft_assets.embedded.weights import MODEL_SHA256
from raft_assets.provider.errors import ApiError, bad_request, model_not_found
from raft_assets.provider.model_store import OWNER, FineTunedModel, ModelStore, hash_saved_model
from raft_assets.provider.unshared import UNSHARED

T = TypeVar("T")

TEACHER, ENCODER, READER = "embedded-teacher", "embedded-encoder", "embedded-reader"
WEIGHTS = "reader"  # folder of a fine-tuned model's weights in its own
PROVIDER_VERSION = "1"  # of `answers`: raise it when an unchanged model gives another answer
ALL_QUESTIONS = 1000  # more than the rules ever ask about a chunk
MAX_CACHED_DOCUMENTS, MAX_CACHED_READERS = 4096, 8

_RELEASED_AT = 1_793_491_200  # 2026-11-01, when the built-in models appeared
_BUILT_IN = (TEACHER, ENCODER, READER)


def model_version(model: str, folder: Path, shared: SharedFiles = UNSHARED) -> str:
    """Return what determines the model's answers, as a hash: equal version and equal request mean equal answer.

    Raises EndpointError for a model that is neither in the state folder nor shared by another machine.
    """
    return digest("embedded", PROVIDER_VERSION, *_version_parts(model, folder, shared))


def _version_parts(model: str, folder: Path, shared: SharedFiles) -> tuple[str, ...]:
    if model == TEACHER:
        return TEACHER_VERSION, _initial_reader_sha256()
    if model == ENCODER:
        return (MODEL_SHA256,)
    if model == READER:
        return (_initial_reader_sha256(),)
    found = ModelStore(folder, weights=WEIGHTS, shared=shared).find(model)
    if found is None:
        raise EndpointError(
            f"The embedded provider in {folder} has no model {model!r}. Materialize finetuned_model again."
        )
    return (found.sha256,)


@lru_cache(maxsize=1)
def _initial_reader_sha256() -> str:
    """Return the hash that the untrained reader would be published under.

    It is of the reader's format, features, encoder and weights.
    """
    return hash_saved_model(partial(save_model, Model.initial(), encoder_sha256=MODEL_SHA256))


class EmbeddedModels:
    """The models of one state folder. The encoder is loaded when the first request needs it.

    Rules and numerical work have a thread each: the event loop stays free, nothing waits in a shared pool, and memory
    is that of one request of each kind.
    """

    def __init__(self, folder: Path, load_encoder: Callable[[], Encoder], shared: SharedFiles = UNSHARED) -> None:
        self.folder = folder
        self._store = ModelStore(folder, weights=WEIGHTS, shared=shared)
        self._load_encoder = load_encoder
        self._rules = ThreadPoolExecutor(1, thread_name_prefix="embedded-rules")
        self._numbers = ThreadPoolExecutor(1, thread_name_prefix="embedded-numbers")
        self._ask = lru_cache(MAX_CACHED_DOCUMENTS)(all_questions)
        self._tuned_reader = lru_cache(MAX_CACHED_READERS)(self._load_reader)

    def cards(self) -> list[dict[str, Any]]:
        """Return OpenAI's `model` object of every model."""
        return [_card(model, _RELEASED_AT) for model in _BUILT_IN] + [
            _card(model.id, model.created_ns // 10**9) for model in self._store.all()
        ]

    def card(self, model: str) -> dict[str, Any]:
        """Return OpenAI's `model` object; raises ApiError (404)."""
        if model in _BUILT_IN:
            return _card(model, _RELEASED_AT)
        return _card(model, self._find_tuned(model).created_ns // 10**9)

    def share(self, model: str) -> None:
        """Give the other machines a fine-tuned model that is here."""
        self._store.share(model)

    def delete(self, model: str) -> None:
        """Delete a fine-tuned model; raises ApiError (404, 403)."""
        if model in _BUILT_IN:
            raise ApiError(403, f"The model `{model}` is built in and cannot be deleted.", param="model")
        self._store.delete(model)

    async def answer(self, model: str, prompt: str) -> str:
        """Return the model's answer to a prompt; raises ApiError (400, 404)."""
        if model == ENCODER:
            raise _unsupported_task(model, "completions", f"{TEACHER}, {READER} or a model fine-tuned from it")
        if model == TEACHER:
            taught = await _run(self._rules, answers.answer_as_teacher, prompt, self._ask)
            return taught if taught is not None else await _run(self._numbers, self._read, None, prompt)
        return await _run(self._numbers, self._read, None if model == READER else self._find_tuned(model), prompt)

    async def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Return unit vectors (texts, 384); raises ApiError (400, 404)."""
        if model != ENCODER:
            self.card(model)
            raise _unsupported_task(model, "embeddings", ENCODER)
        return await _run(self._numbers, lambda: self._encoder.encode(texts))

    def _read(self, model: FineTunedModel | None, prompt: str) -> str:
        return answers.answer_as_reader(prompt, self._tuned_reader(model) if model else self._initial_reader)

    def _find_tuned(self, model: str) -> FineTunedModel:
        found = self._store.find(model)
        if found is None:
            raise model_not_found(model)
        return found

    @cached_property
    def _encoder(self) -> Encoder:
        return self._load_encoder()

    @cached_property
    def _analyst(self) -> Analyst:
        return Analyst(self._encoder)

    @cached_property
    def _initial_reader(self) -> Reader:
        return Reader.initial(self._encoder, analyst=self._analyst)

    def _load_reader(self, model: FineTunedModel) -> Reader:
        return Reader.load(self._encoder, self._store.weights_folder(model), analyst=self._analyst)


async def _run(executor: ThreadPoolExecutor, work: Callable[..., T], *arguments: object) -> T:
    """Run the work in the executor, from any event loop: a client in process may bring a new one with every asset."""
    return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)


def all_questions(document: str) -> list[GeneratedQuestion]:
    """Return every question that the teacher asks about a document."""
    return generate_questions(document, count=ALL_QUESTIONS)


def _card(model: str, created: int) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": created, "owned_by": OWNER}


def _unsupported_task(model: str, task: str, instead: str) -> ApiError:
    return bad_request(
        f"The model `{model}` does not do {task}; use {instead}.", param="model", code="model_not_supported"
    )
