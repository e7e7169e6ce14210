"""A purge through the command line forgets a text wholly, whatever happened since, and takes nothing else."""

import json
import shutil
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.store import CallSource
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.shared_calls import SharedCalls
from raft_assets_tests.harness import SHIPPED, ProjectHarness
from raft_assets_tests.postgresql import PASSWORD, PostgresServer, database_at

DOMAIN, OTHER = "harbor", "inn"
KEEPERS = """# The keepers of Marrow Bay

The lighthouse on Gull Point was built in 1871. Its lamp is lit by Edith Farrow at dusk, because ships pass the point by
night. In 1902 the tower was painted red and white.

The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance. The work took eleven months, and it
cost forty thousand pounds.

The pilot station was founded by Jonas Kettering in 1844. It has three boats, and the oldest one is called Petrel.
"""
SECRET = """# The vault

The Quillfeather vault was opened by Orsolya Brindlewick in 1931. The vault holds forty silver plates, because the
Zanderloh bank was flooded in 1928.

The Quillfeather vault is guarded by Tamsin Vexlow, who carries two keys. The smaller key was forged by Ivor
Drumthwacket in 1912. The door of the vault weighs nine tons, and it was made in Leipzig.
"""
SETTINGS = "evaluation: {arms: [main], robustness_rows: 0}\nquestions: {questions_per_chunk: 2}\n"
CANARIES = ("quillfeather", "brindlewick", "zanderloh", "vexlow", "drumthwacket")
WAIT_S = 300.0  # a failsafe, for a machine that does much else


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path)
    found.write(f"data/{DOMAIN}/keepers.md", KEEPERS)
    found.write(f"data/{DOMAIN}/secret.md", SECRET)
    found.write(f"data/{DOMAIN}/domain.yaml", SETTINGS)
    return found


def test_a_document_is_forgotten_wholly_after_other_settings_batches_a_preview_an_edit_and_a_run_without_it(
    project: ProjectHarness, postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another machine takes part: it has what was paid, and forgets it when it next pays for something."""
    database, other = postgresql.new_database(), tmp_path_factory.mktemp("other")
    project.own_variables |= {"RAFT_COORDINATION": database, "RAFT_COORDINATION_PASSWORD": PASSWORD}
    shutil.copy(min((SHIPPED / "bats").glob("*.md")), project.folder / "data" / DOMAIN)  # too few rows train nothing
    assert project.materialize(DOMAIN)
    project.write(f"data/{DOMAIN}/domain.yaml", f"{SETTINGS}chunks: {{chunk_size: 120}}\n")
    previewed = project.raft_here("preview", DOMAIN, "--yes")
    assert previewed.returncode == 0, previewed.stderr
    project.write(f"data/{DOMAIN}/secret.md", SECRET.replace("Tamsin", "Old Tamsin"))
    project.own_variables["TEACHER_BATCH"] = "1"
    assert not project.materialize(DOMAIN, "qa_pairs")  # a batch is open
    del project.own_variables["TEACHER_BATCH"]
    secret = project.folder / "data" / DOMAIN / "secret.md"
    secret.unlink()
    assert project.materialize(DOMAIN, "qa_pairs")
    assert set(CANARIES) <= set(found_words(project.folder / ".raft"))
    gather(other, database)
    assert "quillfeather" in found_words(other)
    before = project.results.verdicts()[DOMAIN]

    asked = project.raft_here("purge", DOMAIN, "--document", "secret.md", "--yes")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "--students" in asked.stdout  # the student was trained on it, and stays until somebody says so
    assert found_words(project.folder) == {}
    gather(other, database)
    assert found_words(other) == {}
    assert project.results.verdicts()[DOMAIN] == before
    assert len(list((project.folder / ".raft" / "embedded" / "models").glob("*/"))) > 0
    again = project.raft_here("purge", DOMAIN, "--document", "secret.md", "--students", "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert list((project.folder / ".raft" / "embedded" / "models").glob("*/")) == []
    assert project.materialize(DOMAIN, "qa_pairs")
    assert project.metadata("qa_pairs", DOMAIN)["calls_made"] == 0  # those about the other document stayed

    purged = project.raft_here("purge", DOMAIN, "--yes")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert found_words(project.folder / ".raft", ("farrow", "kettering", "petrel", "dredge")) == {}
    assert project.results.verdicts()[DOMAIN] == before


def test_a_purge_takes_no_call_and_no_vector_of_another_domain_that_is_not_mounted(project: ProjectHarness) -> None:
    project.write(f"data/{OTHER}/copy.md", KEEPERS)
    project.write(f"data/{OTHER}/own.md", SECRET.replace("Quillfeather", "Marble").replace("Orsolya", "Anna"))
    for domain in (DOMAIN, OTHER):
        assert project.materialize(domain, "qa_pairs")
    mounted, away = project.folder / "data" / OTHER, project.folder / "away"
    shutil.move(mounted, away)
    (project.folder / "data" / DOMAIN / "secret.md").unlink()
    before = calls(project)
    of_other = {source.key for source in sources(project) if source.domain == OTHER}
    assert {kind for key, kind in before.items() if key in of_other} == {"chat", EMBEDDING}

    for wrong in ("Secret.md", "secrte.md", "SECRET.MD", "", " ", "../inn/own.md", "keepers", "own.md"):
        refused = project.raft_here("purge", DOMAIN, "--document", wrong, "--yes")
        assert refused.returncode == 2, (wrong, refused.stdout)
        assert "nothing was deleted" in refused.stderr
    assert "Did you mean 'secret.md'" in project.raft_here("purge", DOMAIN, "--document", "Secret.md").stderr
    assert calls(project) == before

    absolute = str(project.folder / "data" / DOMAIN / "secret.md")
    purged = project.raft_here("purge", DOMAIN, "--document", absolute, "--yes")
    assert purged.returncode == 0, purged.stderr
    about = {source.key for source in sources(project) if source.domain == DOMAIN} | of_other
    assert calls(project).keys() == before.keys() & about
    assert project.raft_here("purge", DOMAIN, "--yes").returncode == 0
    assert calls(project).keys() == of_other & before.keys()
    shutil.move(away, mounted)
    assert project.materialize(OTHER, "qa_pairs", force=True)
    assert project.metadata("qa_pairs", OTHER)["calls_made"] == 0


def test_a_purge_that_was_killed_or_whose_reader_left_goes_on_by_the_same_command(project: ProjectHarness) -> None:
    assert project.materialize(DOMAIN, "qa_pairs")
    (project.folder / "data" / DOMAIN / "secret.md").unlink()
    command = ("purge", DOMAIN, "--document", "./secret.md", "--yes")
    with closing(sqlite3.connect(project.opened.calls)) as reader:
        reader.execute("BEGIN")
        whole = count_calls(reader)  # while it reads the old state, the bytes can't be overwritten
        started = project.start(*command)
        with closing(sqlite3.connect(project.opened.calls)) as other:
            wait_until(lambda: count_calls(other) < whole or started.poll() is not None)
        project.kill(started)
    assert found_words(project.folder / ".raft")
    assert f"end it by: raft purge {DOMAIN} --document secret.md" in " ".join(
        project.raft_here("status").stdout.split()
    )
    shown = subprocess.run(
        ["/bin/sh", "-c", '"$@" | head -1', "sh", *project.command(*command)],
        cwd=project.folder,
        env=project.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a purge was begun and has not ended" in shown.stdout, shown.stderr
    assert found_words(project.folder) == {}
    assert list((project.folder / ".raft" / "purges").glob("*.json")) == []


def gather(machine: Path, database: str) -> None:
    """Copy what was paid elsewhere to a machine of its own."""
    with SqliteCallStore(machine / "calls.sqlite", shared=SharedCalls(database_at(database))) as store:
        store.gather()


def found_words(folder: Path, words: tuple[str, ...] = CANARIES) -> dict[str, list[str]]:
    """The words that any byte below a folder holds, as text or as a database packs it, with the files."""
    found: dict[str, list[str]] = {}
    for file in folder.rglob("*"):
        if file.is_file():
            content = b"\n".join(contents(file)).lower()
            for word in words:
                if word.encode() in content:
                    found.setdefault(word, []).append(str(file.relative_to(folder)))
    return found


def contents(file: Path) -> Iterator[bytes]:
    """A file as it is, and what is packed in it."""
    yield file.read_bytes()
    if file.suffix == ".parquet":
        yield json.dumps(pq.read_table(file).to_pylist(), ensure_ascii=False, default=str).encode()
    elif file.name == "calls.sqlite":
        with closing(sqlite3.connect(file)) as connection:
            for kind, payload in connection.execute("SELECT kind, payload FROM calls"):
                yield payload if kind == EMBEDDING else zlib.decompress(payload)
    elif file.name == "results.duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                yield repr(connection.execute(f'SELECT * FROM "{table}"').fetchall()).encode()


def calls(project: ProjectHarness) -> dict[str, str]:
    with SqliteCallStore(project.opened.calls) as store:
        return {call.key: call.kind for call in store.calls()}


def sources(project: ProjectHarness) -> list[CallSource]:
    with SqliteCallStore(project.opened.calls) as store:
        return list(store.sources())


def count_calls(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    return int(count)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
