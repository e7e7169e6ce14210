"""Asking before calls that may cost money, alike in every command that makes them outside a run."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console


def confirm_paid(console: Console, paid: Sequence[str], *, confirmed: bool) -> None:
    """Print what may cost money and ask whether to go on; nothing where nothing does.

    Raises UsageError where there is no terminal to ask on, and Abort at a no.
    """
    if not paid:
        return
    console.print("This may cost money:")
    for sentence in paid:
        console.print(f"  {sentence}")
    if not confirmed and not sys.stdin.isatty():
        raise click.UsageError("No call was made. Pass --yes to continue without confirmation.")
    if not confirmed:
        click.confirm("Continue?", abort=True)
