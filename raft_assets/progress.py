"""Progress of long work as log lines of the run: the UI shows them, and `raft run` reads its live view from them."""

import time
from collections.abc import Callable

import dagster as dg

from raft_assets.calls.requests import Progress

SAY_EVERY_S = 2.0
PREFIX = "progress:"


def log_progress(context: dg.AssetExecutionContext, *, total: int | None = None) -> Callable[[Progress], None]:
    """A callback that logs counts, rate and time left of the running asset, at most every `SAY_EVERY_S`."""
    started = last = time.monotonic()

    def say(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SAY_EVERY_S:
            return
        last = now
        rate = progress.answered / (now - started)
        of_total, left = "", ""
        if total and rate:
            of_total, left = f" of {total}", f", {max(total - progress.answered, 0) / rate:.0f} s left"
        context.log.info(
            "%s %d%s calls (%d from store), %.0f/s%s",
            PREFIX,
            progress.answered,
            of_total,
            progress.tally.from_store,
            rate,
            left,
        )

    return say
