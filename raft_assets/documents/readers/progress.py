"""How a reader says that it gets on, so that a long document isn't taken for one that never ends."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Part = TypeVar("Part")

_LISTENER: ContextVar[Callable[[], None]] = ContextVar("_LISTENER", default=lambda: None)


def told(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the pages of a document, or lines that OCR reads, and say so before each."""
    for part in parts:
        _LISTENER.get()()
        yield part


@contextmanager
def on_progress(tell: Callable[[], None]) -> Iterator[None]:
    """Have `tell` called for every part that a reader begins, as long as the context lasts."""
    token = _LISTENER.set(tell)
    try:
        yield
    finally:
        _LISTENER.reset(token)
