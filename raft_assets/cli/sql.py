"""`raft sql`: questions to the results in DuckDB, which answers and changes nothing."""

import sys

import click
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


@click.command()
@click.argument("query", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets, every row.")
@click.option("--json", "as_json", is_flag=True, help="For scripts, one object per line, every row.")
def sql(query: str | None, as_csv: bool, as_json: bool) -> None:
    """Query the results and the lake with SQL (DuckDB); without a query, list the tables and views with their columns.

    It reads the results' file and the lake's tables (with a column `domain`), wherever they are, and writes nothing.

    \b
    Examples:
      raft sql
      raft sql "SELECT domain, sentence FROM current_verdicts"
      raft sql "SELECT * FROM metric_history WHERE metric = 'token_f1'" --csv > history.csv
      raft sql "SELECT question, final_answer, golden_answers FROM worst_rows LIMIT 10"
      raft sql "SELECT part, student, low, high FROM slices WHERE cut = 'distractors' AND metric = 'token_f1'"
      raft sql "SELECT domain, question, final_answer FROM qa_pairs WHERE reason = 'duplicate_question'"
      raft sql "SELECT path, page_from, teacher_call FROM score_origins WHERE question_id = '...'"
      raft sql "SELECT asset, sum(dollars) AS dollars FROM costs GROUP BY asset"
    """
    project = Project.load()
    store, lake = ResultsStore.of(project), Lake.of(project)
    try:
        found = store.query(query, lake) if query else store.columns(lake)
    except duckdb.Error as error:
        first, *_ = str(error).splitlines() or [""]
        raise DataError(f"DuckDB rejected the query: {first} Run `raft sql` for the tables and columns.") from error
    if as_csv:
        found.to_csv(sys.stdout, index=False)
    elif as_json:
        found.to_json(sys.stdout, orient="records", lines=True, date_format="iso", force_ascii=False)
    else:
        _print(found)


def _print(found: pd.DataFrame) -> None:
    table = Table(box=None, pad_edge=False)
    for name in found.columns:
        table.add_column(str(name), justify="right" if pd.api.types.is_numeric_dtype(found[name]) else "left")
    for row in found.head(MAX_ROWS).itertuples(index=False):
        table.add_row(*(Text(_format_value(value)) for value in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(table)
    if len(found) > MAX_ROWS:
        console.print(f"{MAX_ROWS} of {len(found):,} rows; --csv and --json give all of them")


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split())
