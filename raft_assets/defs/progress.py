"""Progress of long work: a small file per run for the live view of `raft run`, and now and then a line in its log."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from raft_assets.core.atomic import write_text
from raft_assets.core.progress import Show
from raft_assets.evaluation.wording import format_duration, format_rate
from raft_assets.llm.requests import Progress
from raft_assets.settings.project import Project

SHOW_EVERY_S = 0.5  # in the file, which a live view reads twice a second
LOG_EVERY_S = 10.0  # in the run's log, for people


def progress_file(project: Project, run_id: str) -> Path:
    """Where a run says how far it is; gone when it has ended."""
    return project.progress / f"{run_id}.json"


def read_progress(project: Project, run_id: str) -> str:
    """How far the run's present step is, in words; empty where it doesn't say."""
    try:
        return str(json.loads(progress_file(project, run_id).read_text("utf-8"))["progress"])
    except FileNotFoundError:
        return ""


def log_events(context: dg.AssetExecutionContext, project: Project) -> Callable[[str], None]:
    """Return a callback that logs what happens at a service, such as the states of a job."""

    def log(message: str) -> None:
        _show(context, project, message)
        context.log.info("%s", message)

    return log


def log_metrics(context: dg.AssetExecutionContext) -> Callable[[dict[str, float]], None]:
    """Return a callback that observes figures of the running asset: the UI plots them while it runs."""

    def observe(figures: dict[str, float]) -> None:
        context.log_event(
            dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=dict(figures))
        )

    return observe


def log_progress(
    context: dg.AssetExecutionContext, project: Project, *, total: int | None = None
) -> Callable[[Progress], None]:
    """Return a callback that shows counts, rate and time left of the running asset.

    Without `total`, the requests that are waiting are what is known of the work.
    """
    started = shown = logged = time.monotonic()
    before = 0

    def show(progress: Progress) -> None:
        nonlocal started, shown, logged, before
        now = time.monotonic()
        if progress.answered < before:
            started = now  # the asset asks a second stream, such as answers after questions
        before = progress.answered
        if now - shown < SHOW_EVERY_S or now == started:
            return
        shown = now
        message = _message(progress, now - started, total)
        _show(context, project, message)
        if now - logged >= LOG_EVERY_S:
            logged = now
            context.log.info("%s", message)

    return show


def log_steps(context: dg.AssetExecutionContext, project: Project) -> Show:
    """Return a callback that shows how far the running asset is with what it works through without calls."""
    shown = logged = time.monotonic()
    started: dict[str, float] = {}

    def show(what: str, count: int, total: int | None) -> None:
        nonlocal shown, logged
        now = time.monotonic()
        if count == 1 or what not in started:
            started[what] = now
        if now - shown < SHOW_EVERY_S:
            return
        shown = now
        message = _step_message(what, count, total, now - started[what])
        _show(context, project, message)
        if now - logged >= LOG_EVERY_S:
            logged = now
            context.log.info("%s", message)

    return show


def _step_message(what: str, count: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{what}: {count:,}"
    of_total = f"{what}: {count:,} of {total:,}"
    if not seconds:
        return of_total
    return f"{of_total}, {format_rate(count / seconds)}, {format_duration((total - count) * seconds / count)} left"


def _message(progress: Progress, seconds: float, total: int | None) -> str:
    rate = progress.answered / seconds
    expected = total or progress.answered + progress.waiting
    left = max(expected - progress.answered, 0) / rate if rate else 0.0
    of_total = f" of {total:,}" if total else ""
    calls = f"{progress.answered:,}{of_total} calls ({progress.usage_stats.from_store:,} from store)"
    return f"{calls}, {format_rate(rate)}, {format_duration(left)} left"


def _show(context: dg.AssetExecutionContext, project: Project, message: str) -> None:
    record = {"asset": context.asset_key.to_user_string(), "progress": message}
    write_text(progress_file(project, context.run.run_id), json.dumps(record, ensure_ascii=False))
