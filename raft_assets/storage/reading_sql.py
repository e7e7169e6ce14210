"""Decides whether a person's SQL only reads. Nothing here opens a file or runs the statement."""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from raft_assets.core.errors import DataError

REFUSAL = (
    "Only one query that reads is allowed (SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, or EXPLAIN of these; PIVOT "
    "with the values IN which it pivots)."
)
_SPACE = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_EXPLAIN = re.compile(
    rf"{_SPACE}explain\b{_SPACE}(?:\([^()]*\){_SPACE})?(?:analyze\b{_SPACE})?", re.IGNORECASE | re.DOTALL
)
_END = re.compile(rf"(?:;{_SPACE})+\Z", re.DOTALL)
# what a query that reads is made of; a WITH can also hold INSERT, UPDATE, DELETE, and COPY, which writes a file
_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}


def only_reading(sql: str) -> str:
    """Return the one query of a text, which reads in every part, by DuckDB's own parser.

    Of an EXPLAIN, what it explains must be such a query: EXPLAIN ANALYZE runs it. What stands behind the query, a
    semicolon with a comment, is left out. Raises DataError for any other text, and duckdb.Error for one that can't be
    parsed.
    """
    statements = duckdb.extract_statements(sql)
    if [statement.type for statement in statements] == [duckdb.StatementType.EXPLAIN]:
        explained = _EXPLAIN.match(statements[0].query)
        statements = duckdb.extract_statements(statements[0].query[explained.end() :]) if explained else []
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise DataError(REFUSAL)
    if not _READING_NODES.issuperset(_nodes(_parse(statements[0].query))):
        raise DataError(REFUSAL)
    alone = _END.sub("", sql)
    try:  # what looks like an end may be in a string
        is_same = alone != sql and _parse(alone) == _parse(sql)
    except (DataError, duckdb.Error):
        is_same = False
    return alone if is_same else sql


def _parse(query: str) -> Any:
    with duckdb.connect() as connection:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    parsed = json.loads(row[0] if row else "{}")
    if parsed.get("error", True):
        raise DataError(REFUSAL)
    return parsed


def _nodes(part: Any) -> Iterator[str]:
    """Yield the kinds of the queries in a parsed query, at every depth."""
    if isinstance(part, dict):
        if str(part.get("type")).endswith("_NODE"):
            yield part["type"]
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        yield from _nodes(inner)
