"""`raft sql`."""

import click


@click.command()
@click.argument("query", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets, every row.")
@click.option("--json", "as_json", is_flag=True, help="For scripts, one object per line, every row.")
def sql(query: str | None, *, as_csv: bool, as_json: bool) -> None:
    """Query the results and the lake with SQL (DuckDB); without a query, list the tables and views with their columns.

    It reads the results store and the lake's tables (with a column `domain`), wherever they are, and writes nothing.

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
    from raft_assets.cli.sql import print_query

    print_query(query, as_csv=as_csv, as_json=as_json)
