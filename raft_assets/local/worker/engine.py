"""The "transformers" engine: one base model and its adapters in one process and precision, asked by one thread.

Requests wait in a queue; those for the same model are answered together. Adapters, sleeping and waking go through the
same queue, so a model never changes under an answer. Meant for CPUs and for tests; on a GPU, vLLM serves the same
endpoints faster.
"""

import gc
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from .base_model import BaseModel, choose_device, choose_dtype
from .checkpoints import ADAPTER, CONFIG
from .generation import Answer, generate
from .job import RefusedError

log = logging.getLogger(__name__)


class Asked:
    """A request in the queue: the model's name, and the answer that grows. `on_token` is called while it does."""

    def __init__(self, model: str, answer: Answer, on_token: Callable[[], None] = lambda: None) -> None:
        self.model, self.answer, self.on_token = model, answer, on_token
        self.done: Future[None] = Future()


class Engine:
    """Answers with a base model, or with one of its adapters."""

    def __init__(
        self,
        base: BaseModel,
        *,
        name: str,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        context: int | None = None,
        at_once: int = 8,
        adapter_folders: Sequence[Path] = (),
    ) -> None:
        self.name, self.base = name, base
        self.tokenizer = base.tokenizer()
        self.form = base.chat_form(self.tokenizer)
        self.context_length = min(context or base.context_length, base.context_length)
        self.adapters: dict[str, Path] = {}
        self._device, self._at_once = choose_device(device), at_once
        self._dtype = choose_dtype(dtype, self._device)
        self._folders = [folder.resolve() for folder in adapter_folders]
        self._threads = threads
        self._model: Any = None
        self._queue: queue.Queue[Asked | tuple[Callable[[], None], Future[None]]] = queue.Queue()
        self._held: list[Asked] = []  # taken from the queue, for another model than the one that answers

    @property
    def is_sleeping(self) -> bool:
        """Whether the weights are out of memory."""
        return self._model is None

    @property
    def models(self) -> list[str]:
        """The names that can be asked."""
        return [self.name, *self.adapters]

    def start(self) -> None:
        """Load the model and answer from a thread of its own. Raises RefusedError."""
        threading.Thread(target=self._work, name="engine", daemon=True).start()
        self.wake()

    def ask(self, asked: Asked) -> None:
        """Queue a request; its `done` tells the end, or the error."""
        self._queue.put(asked)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter from one of the allowed folders under a name. Raises RefusedError."""
        path = folder.resolve()
        if not any(path.is_relative_to(allowed) for allowed in self._folders):
            raise RefusedError("invalid_adapter", f"{folder} is in no folder from which adapters may be loaded.")
        if not (path / ADAPTER).is_file() or not (path / CONFIG).is_file():
            raise RefusedError("invalid_adapter", f"{folder} holds no adapter: {ADAPTER} or {CONFIG} is missing.")
        if name in self.models:
            raise RefusedError("invalid_adapter", f"A model named {name} is loaded already.")
        self._do(lambda: self._load_adapter(name, path))

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter. Raises RefusedError."""
        if name not in self.adapters:
            raise RefusedError("unknown_adapter", f"No adapter named {name} is loaded.")
        self._do(lambda: self._unload_adapter(name))

    def sleep(self) -> None:
        """Take the weights out of memory, after the answers under way."""
        self._do(self._sleep)

    def wake(self) -> None:
        """Load the weights and adapters again."""
        self._do(self._wake)

    def _do(self, change: Callable[[], None]) -> None:
        done: Future[None] = Future()
        self._queue.put((change, done))
        done.result()

    def _work(self) -> None:
        torch.set_num_threads(self._threads or torch.get_num_threads())
        while True:
            job = self._held.pop(0) if self._held else self._queue.get()
            if isinstance(job, Asked):
                self._answer([job, *self._take_like(job)])
                continue
            change, done = job
            try:
                change()
                done.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                done.set_exception(error)

    def _take_like(self, first: Asked) -> list[Asked]:
        """Return waiting requests for the same model, up to the first change of models."""
        found = [one for one in self._held if one.model == first.model][: self._at_once - 1]
        self._held = [one for one in self._held if one not in found]
        while len(found) < self._at_once - 1:
            with self._queue.mutex:
                is_request = bool(self._queue.queue) and isinstance(self._queue.queue[0], Asked)
            if not is_request:
                break
            one = self._queue.get()
            assert isinstance(one, Asked)
            (found if one.model == first.model else self._held).append(one)
        return found

    def _answer(self, asked: Sequence[Asked]) -> None:
        try:
            self._choose(asked[0].model)

            def on_token() -> None:
                for one in asked:
                    one.on_token()

            generate(
                self._model,
                self.tokenizer,
                [one.answer for one in asked],
                end_ids=self.form.end_ids,
                on_token=on_token,
            )
        except Exception as error:
            log.exception("an answer failed")
            for one in asked:
                one.done.set_exception(error)
            return
        for one in asked:
            one.done.set_result(None)

    def _choose(self, model: str) -> None:
        if self._model is None:
            raise RefusedError("asleep", "The engine is asleep.")
        if model in self.adapters:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(model)
        elif model != self.name:
            raise RefusedError("model_not_found", f"The model {model} was unloaded.")
        elif isinstance(self._model, PeftModel):
            self._model.base_model.disable_adapter_layers()

    def _load_adapter(self, name: str, folder: Path) -> None:
        if self._model is not None:
            self._attach(name, folder)
        self.adapters[name] = folder

    def _attach(self, name: str, folder: Path) -> None:
        try:
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(str(folder), adapter_name=name, torch_device=self._device)
            else:
                self._model = PeftModel.from_pretrained(self._model, str(folder), adapter_name=name)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:400]
            raise RefusedError("invalid_adapter", f"{folder} doesn't fit {self.name}: {reason}") from error
        self._model.eval()

    def _unload_adapter(self, name: str) -> None:
        del self.adapters[name]
        if self._model is None:
            return
        if self.adapters:
            self._model.set_adapter(next(iter(self.adapters)))
            self._model.delete_adapter(name)
        else:
            self._model = self._model.unload()  # the base model alone, as it was loaded

    def _sleep(self) -> None:
        self._model = None
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _wake(self) -> None:
        if self._model is not None:
            return
        self._model = self.base.load(dtype=self._dtype, device=self._device).eval()
        for name, folder in self.adapters.items():
            self._attach(name, folder)
