"""What `raft sql` does: it queries the results store and the lake, and writes nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from raft_assets.cli.output import table_console
from raft_assets.cli.project import load_existing_project
from raft_assets.core.csv_cells import neutralize
from raft_assets.core.errors import DataError
from raft_assets.core.memory import limited_memory
from raft_assets.core.terminal import escape_control_characters, strip_control_characters
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import QueryLimits, ResultsStore

GRACE_S = 5  # for DuckDB to stop a query by itself, and to say so
SPARE_GB = 1  # for this process, beside what DuckDB counts
MAX_ROWS = 100  # in a terminal; --csv and --json give all


def print_query(query: str | None, *, as_csv: bool, as_json: bool) -> None:
    """Print the rows of a query, or the tables and their columns without one.

    Raises DataError where DuckDB rejects the query.
    """
    project = load_existing_project()
    limits = QueryLimits.of(project.environment)
    store, lake = ResultsStore.of(project), Lake.of(project)
    write = _write_csv if as_csv else _write_json if as_json else _write_table
    try:
        if query is None:
            write(iter([store.columns(lake)]))
            return
        with _held_to(limits), store.stream(query, lake, limits) as rows:
            batches = chain([rows.schema.empty_table()], (pa.Table.from_batches([batch]) for batch in rows))
            write(batch.to_pandas(integer_object_nulls=True) for batch in batches)
    except duckdb.Error as error:
        raise DataError(
            f"DuckDB rejected the query: {_first_line(error)} Run `raft sql` for the tables and columns."
        ) from error
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a union, an interval, a date that is infinite
        raise DataError(
            f"The query has a value that can't be written here ({_first_line(error)}). Write the column as text: "
            "CAST(name AS VARCHAR)."
        ) from error


@contextmanager
def _held_to(limits: QueryLimits) -> Iterator[None]:
    """Hold this process to the limits: a single function of DuckDB's asks nobody, however long or large it gets."""
    timer = threading.Timer(limits.seconds + GRACE_S, _give_up, (limits.seconds,))
    timer.daemon = True
    timer.start()
    try:
        with limited_memory(limits.memory_gb + SPARE_GB):
            yield
    finally:
        timer.cancel()


def _give_up(seconds: int) -> None:
    sys.stderr.write(
        f"Error: The query took longer than {seconds} s and could not be interrupted. Narrow it, or set "
        "RAFT_SQL_TIMEOUT_S to more seconds.\n"
    )
    sys.stderr.flush()
    os._exit(2)


def _first_line(error: Exception) -> str:
    first, *_ = str(error).splitlines() or [""]
    return strip_control_characters(first)


def _write_csv(batches: Iterator[pd.DataFrame]) -> None:
    """Write every row; line breaks inside a cell stay, and no cell is a formula."""
    for number, batch in enumerate(batches):
        cells = batch.map(_as_cell).rename(columns=_as_cell)
        cells.to_csv(sys.stdout, index=False, header=number == 0)


def _write_json(batches: Iterator[pd.DataFrame]) -> None:
    """Write an object a line, with controls as JSON escapes them; of columns with one name the later get a number."""
    for batch in batches:
        batch.columns = pd.Index(_distinct(batch.columns))
        lines = batch.to_json(orient="records", lines=True, date_format="iso", force_ascii=False) if len(batch) else ""
        sys.stdout.write(escape_control_characters(lines))


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names with a number after those that came before, as DuckDB names the columns of a subquery."""
    found = dict[str, None]()
    for name in names:
        others = (f"{name}_{number}" for number in count(1))
        found[name if name not in found else next(other for other in others if other not in found)] = None
    return list(found)


def _write_table(batches: Iterator[pd.DataFrame]) -> None:
    shown, total = next(batches), 0
    for batch in batches:
        total += len(batch)
        shown = pd.concat([shown, batch.head(MAX_ROWS - len(shown))]) if len(shown) < MAX_ROWS else shown
    table = Table(box=None, pad_edge=False)
    for name in shown.columns:
        table.add_column(Text(_format_value(name)), justify=_alignment(shown[name]))
    for row in shown.itertuples(index=False):
        table.add_row(*(Text(_format_value(value)) for value in row))
    console = table_console()
    console.print(table)
    if total > MAX_ROWS:
        console.print(f"{MAX_ROWS} of {total:,} rows; --csv and --json give all of them")


def _alignment(column: pd.Series[Any]) -> Literal["left", "right"]:
    return "right" if pd.api.types.is_numeric_dtype(column) else "left"


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(strip_control_characters(str(value)).split())


def _as_cell(value: object) -> object:
    return neutralize(strip_control_characters(value) if isinstance(value, str) else value)
