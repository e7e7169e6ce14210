"""How commands print: tables for people; for scripts (`--json`) an object a line on stdout, and nothing else there."""

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console

from raft_assets.core.terminal import escape_control_characters

PLAIN_WIDTH = 200  # characters, where the output is no terminal


def table_console() -> Console:
    """Return a console for tables, which takes text as it is: as wide as the terminal, else wide enough for a file."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def print_json(record: Mapping[str, Any]) -> None:
    """Print an object on a line; control characters in its strings are escaped, and what is no number is null."""
    click.echo(escape_control_characters(json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)))


def iso_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as scripts read it: ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _finite(value: Any) -> Any:
    """Return a value without NaN and infinity, which JSON doesn't have."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
