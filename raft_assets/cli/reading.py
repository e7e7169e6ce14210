"""How far the reading of a domain's documents is, for commands that read them outside a run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from raft_assets.core.progress import shown_by

SHOWN_EVERY_S = 0.1


@contextmanager
def show_reading() -> Iterator[None]:
    """Show on stderr, on a terminal, what is done in this block and how many items of it are done."""
    shown_at = 0.0
    with Console(stderr=True, highlight=False, markup=False).status("reading the documents") as status:

        def show(what: str, done: int, total: int | None) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= SHOWN_EVERY_S:
                shown_at = time.monotonic()
                status.update(f"{what}: {done:,}" + (f" of {total:,}" if total else ""))

        with shown_by(show):
            yield
