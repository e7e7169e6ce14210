"""How far long work is: what works through many items counts them, and whoever started the work may show the counts.

What belongs here: counting. Where counts are shown, and how often, is decided by the one who shows them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Show = Callable[[str, int, int | None], None]  # what is done, how many items are done, how many there are if known

_SHOW: ContextVar[Show | None] = ContextVar("raft_assets_show_progress", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Have `show` called for every item that is tracked in this block; it must be quick."""
    before = _SHOW.get()
    _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.set(before)


def show(what: str, count: int, total: int | None) -> None:
    """Show how far work is that another process counts."""
    if shown := _SHOW.get():
        shown(what, count, total)


def track(what: str, items: Iterable[T], total: int | None = None) -> Iterator[T]:
    """Yield the items, each counted when the next one is asked for.

    `what` is shown to people and names items in the plural, such as "pairs checked".
    """
    shown = _SHOW.get()
    if shown is None:
        yield from items
        return
    for count, item in enumerate(items, start=1):
        yield item
        shown(what, count, total)
