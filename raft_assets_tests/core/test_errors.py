"""What an error comes to in a sentence."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import sqlalchemy

from raft_assets.core.errors import DISK_FULL, describe_error, is_disk_full

BLOB = "x" * 100_000


def fill_file() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        stream.write(BLOB)


def fill_database() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rows (text TEXT)")
        connection.execute("PRAGMA max_page_count = 3")
        connection.execute("INSERT INTO rows VALUES (?)", [BLOB])


def fill_run_history() -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE rows (text TEXT)"))
        connection.execute(sqlalchemy.text("PRAGMA max_page_count = 3"))
        connection.execute(sqlalchemy.text("INSERT INTO rows VALUES (:text)"), {"text": BLOB})


def fill_results() -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT '{BLOB}') TO '/dev/full' (USE_TMP_FILE false)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("fill", [fill_file, fill_database, fill_run_history, fill_results])
def test_a_full_disk_is_told_as_one_whichever_library_met_it(fill: Callable[[], None]) -> None:
    with pytest.raises(Exception, match=r"No space left|is full") as met:
        fill()
    assert is_disk_full(met.value)
    assert describe_error(met.value) == DISK_FULL


def test_another_error_of_a_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as met:
        (tmp_path / "gone").read_bytes()
    assert not is_disk_full(met.value)
    assert describe_error(met.value) == f"{tmp_path / 'gone'}: No such file or directory."
