"""Progress of long work as log lines of the run: the UI shows them, and `raft run` reads its live view from them."""

import time
from collections.abc import Callable

import dagster as dg

from raft_assets.llm.requests import Progress

SAY_EVERY_S = 2.0
PREFIX = "progress:"


def log_events(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    """A callback that logs what happens at a service, such as the states of a job."""
    return lambda message: context.log.info("%s %s", PREFIX, message)


def log_metrics(context: dg.AssetExecutionContext) -> Callable[[dict[str, float]], None]:
    """A callback that observes figures of the running asset: the UI plots them while it runs."""

    def observe(figures: dict[str, float]) -> None:
        context.log_event(
            dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=dict(figures))
        )

    return observe


def log_progress(context: dg.AssetExecutionContext, *, total: int | None = None) -> Callable[[Progress], None]:
    """A callback that logs counts, rate and time left of the running asset, at most every `SAY_EVERY_S`.

    Without `total`, the requests that are waiting are what is known of the work.
    """
    started = last = time.monotonic()
    before = 0

    def say(progress: Progress) -> None:
        nonlocal started, last, before
        now = time.monotonic()
        if progress.answered < before:
            started = now  # the asset asks a second stream, such as answers after questions
        before = progress.answered
        if now - last < SAY_EVERY_S or now == started:
            return
        last = now
        rate = progress.answered / (now - started)
        expected = total or progress.answered + progress.waiting
        left = max(expected - progress.answered, 0) / rate
        of_total = f" of {total}" if total else ""
        stored = progress.tally.from_store
        context.log.info(
            "%s %d%s calls (%d from store), %.0f/s, %.0f s left",
            PREFIX,
            progress.answered,
            of_total,
            stored,
            rate,
            left,
        )

    return say
