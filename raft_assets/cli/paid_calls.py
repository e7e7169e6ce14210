"""What commands with paid calls of their own have in common: asking before them, and showing how far they are."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console

from raft_assets.cli.confirming import confirm
from raft_assets.evaluation.wording import format_duration, format_rate
from raft_assets.llm.requests import Progress

PROGRESS_LINE_S = 10.0  # between two lines of progress where there is no terminal, on which one line changes


@contextmanager
def show_progress() -> Iterator[Callable[[str], Callable[[Progress], None]]]:
    """Show on stderr what is done and how far it is: one line that changes, or further lines without a terminal."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with console.status("") as status:
        printed = -math.inf

        def show(text: str, *, now: bool) -> None:
            nonlocal printed
            status.update(text)
            if not console.is_terminal and (now or time.monotonic() - printed >= PROGRESS_LINE_S):
                printed = time.monotonic()
                console.print(text, soft_wrap=True)

        def progress_of(stage: str) -> Callable[[Progress], None]:
            show(stage, now=True)
            began = time.monotonic()
            return lambda progress: show(
                f"{stage}: {_describe_progress(progress, time.monotonic() - began)}", now=False
            )

        yield progress_of


def _describe_progress(progress: Progress, seconds: float) -> str:
    failures = progress.usage_stats.failures
    failed = f", {failures:,} failed" if failures else ""
    rate = progress.answered / seconds if seconds else 0.0
    pace = f", {format_rate(rate)}, {format_duration(progress.waiting / rate)} left" if rate else ""
    return f"{progress.answered:,} answered, {progress.waiting:,} to come{failed}{pace}"


def confirm_paid_calls(console: Console, paid: Sequence[str], *, confirmed: bool) -> None:
    """Ask before calls that may cost money, described in sentences; nothing is asked where there are none.

    `confirmed`: by an option. Raises UsageError where nobody can be asked, and DeclinedError for a no.
    """
    if not paid:
        return
    console.print("This may cost money:")
    for sentence in paid:
        console.print(f"  {sentence}")
    if not confirmed and not sys.stdin.isatty():
        raise click.UsageError("No call was made. Pass --yes to continue without confirmation.")
    if not confirmed:
        confirm("Continue?")
