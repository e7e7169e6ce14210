"""What `raft sql` does: it queries the results store and the lake, and writes nothing."""

import sys

import duckdb
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.core.errors import DataError
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

MAX_ROWS = 100  # in a terminal; --csv and --json give all
PLAIN_WIDTH = 200  # characters, where the output is no terminal


def print_query(query: str | None, *, as_csv: bool, as_json: bool) -> None:
    """Print the rows of a query, or the tables and their columns without one.

    Raises DataError where DuckDB rejects the query.
    """
    project = Project.load()
    store, lake = ResultsStore.of(project), Lake.of(project)
    try:
        rows = store.query(query, lake) if query else store.columns(lake)
    except duckdb.Error as error:
        first, *_ = str(error).splitlines() or [""]
        raise DataError(f"DuckDB rejected the query: {first} Run `raft sql` for the tables and columns.") from error
    if as_csv:
        rows.to_csv(sys.stdout, index=False)
    elif as_json:
        rows.to_json(sys.stdout, orient="records", lines=True, date_format="iso", force_ascii=False)
    else:
        _print(rows)


def _print(rows: pd.DataFrame) -> None:
    table = Table(box=None, pad_edge=False)
    for name in rows.columns:
        table.add_column(str(name), justify="right" if pd.api.types.is_numeric_dtype(rows[name]) else "left")
    for row in rows.head(MAX_ROWS).itertuples(index=False):
        table.add_row(*(Text(_format_value(value)) for value in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(table)
    if len(rows) > MAX_ROWS:
        console.print(f"{MAX_ROWS} of {len(rows):,} rows; --csv and --json give all of them")


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split())
