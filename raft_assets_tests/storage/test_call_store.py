"""The store on real files: durable, shared, and clear about what is wrong with a disk."""

import contextlib
import os
import random
import resource
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raft_assets.core.errors import RaftError
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.requests import Origin, Usage
from raft_assets.llm.store import CallSource, ModelUsage, StoredCall
from raft_assets.storage.call_store import TIMED_CALLS, SqliteCallStore

NOBODY = 65534


def stored(key: str = "k", **values: Any) -> StoredCall:
    call = StoredCall(
        key, "http://service/v1", "model-1", "chat", "ok", Usage(10, 4, 3), 0.5, 1.8e9, b'{"choices": []}'
    )
    return replace(call, **values)


def damage(path: Path, column: str, value: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE calls SET {column} = ?", (value,))


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk is to a process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCallStore]:
    with SqliteCallStore(tmp_path / "calls.sqlite") as store:
        yield store


# no deadline: a commit is synced to a disk that others use as well
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    call=st.builds(
        StoredCall,
        # hypothesis repeats what `random` gives
        key=st.builds(lambda: uuid.uuid4().hex),
        service=st.text(),
        model=st.text(),
        kind=st.sampled_from(["chat", "completion", EMBEDDING]),
        status=st.just("ok"),
        usage=st.builds(Usage, *[st.integers(0, 2**40)] * 3),
        latency_s=st.floats(0, 1e10),
        created=st.floats(0, 1e10),
        payload=st.binary(),
    )
)
def test_what_is_put_is_got(store: SqliteCallStore, call: StoredCall) -> None:
    store.put([call])
    assert store.get([call.key]) == {call.key: call}


def test_keys_that_are_not_there_are_absent_and_any_number_may_be_asked(store: SqliteCallStore) -> None:
    store.put([stored(f"key {number}") for number in range(1500)])
    assert len(store.get(f"key {number}" for number in range(100_000))) == 1500
    assert store.get([]) == {}


def test_the_first_answer_to_a_call_stays(store: SqliteCallStore) -> None:
    """Two processes may pay one call at the same time; every table must then refer to one answer."""
    first, second = stored(payload=b"first"), stored(payload=b"second")
    assert store.put([first]) == {"k": first}
    assert store.put([second, stored("other")])["k"] == first
    assert store.get(["k"]) == {"k": first}


def test_the_store_is_there_again_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "calls.sqlite"
    with SqliteCallStore(path) as store:
        store.put([stored()])
    with SqliteCallStore(path) as store:
        assert store.get(["k"]) == {"k": stored()}
    assert [file.name for file in path.parent.iterdir()] == ["calls.sqlite"]


def test_a_copy_of_the_open_files_holds_every_commit(store: SqliteCallStore, tmp_path: Path) -> None:
    """What stands on the disk at any moment is whole: the log is part of the store."""
    store.put([stored()])
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("calls.sqlite", "calls.sqlite-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    with SqliteCallStore(copy / "calls.sqlite") as found:
        assert found.get(["k"]) == {"k": stored()}


def test_totals_are_counted(store: SqliteCallStore) -> None:
    store.put([stored("a"), stored("b")])
    stats = store.stats()
    assert (stats.calls, stats.usage) == (2, Usage(20, 8, 6))
    assert stats.size > 0


def test_sums_by_month_follow_every_change(store: SqliteCallStore, tmp_path: Path) -> None:
    july, august = (datetime(2026, month, 31, 23, 59, tzinfo=UTC).timestamp() for month in (7, 8))
    other = Usage(1, 0, 2, estimated=1)
    store.put([stored("a", created=july), stored("b", created=august), stored("c", created=august, usage=other)])
    assert store.usage("2026-08") == [used(2, Usage(11, 4, 5, estimated=1))]
    store.put([stored("b", created=august)])  # it is there already
    assert store.usage("2026-08") == [used(2, Usage(11, 4, 5, estimated=1))]
    assert store.usage() == [used(3, Usage(21, 8, 8, estimated=1))]
    assert store.forget(lambda call: call.key == "c") == 1
    assert (store.usage("2026-08"), store.usage("2026-09")) == ([used(1, Usage(10, 4, 3))], [])
    damage(tmp_path / "calls.sqlite", "checksum", "wrong")
    store.put([stored("b", created=august)])  # replaces the damaged entry
    assert store.usage("2026-08") == [used(1, Usage(10, 4, 3))]
    store.forget(lambda _: True)
    assert (store.usage(), store.stats().calls) == ([], 0)  # no domain's name stays


def test_a_file_of_the_version_before_is_summed_up_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with SqliteCallStore(path) as store:
        store.put([stored("a"), stored("b", usage=Usage(1, 0, 2))])
    as_before_0_3(path)
    with SqliteCallStore(path) as store:
        assert store.get(["a"]) == {"a": stored("a")}
        assert store.usage() == [used(2, Usage(11, 4, 5))]
        store.put([stored("c", usage=Usage(5, 0, 5, estimated=1))])
    with SqliteCallStore(path) as store:
        assert store.get(["c"])["c"].usage.estimated == 1
        assert store.usage() == [used(3, Usage(16, 4, 10, estimated=1))]


def test_what_the_version_before_writes_into_a_file_of_this_one_is_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with SqliteCallStore(path) as store:
        store.put([stored("a")])
        with contextlib.closing(sqlite3.connect(path)) as before, before:
            columns = "service, model, kind, status, input_tokens, cached_tokens, output_tokens, reasoning_tokens, "
            columns += "latency_s, tries, created, role, asset, domain, run, payload, checksum"
            copy = f"INSERT OR REPLACE INTO calls (key, {columns}) SELECT 'b', {columns} FROM calls WHERE key = 'a'"
            before.execute(copy)
        assert store.usage() == [used(2, Usage(20, 8, 6))]


def used(calls: int, usage: Usage) -> ModelUsage:
    return ModelUsage("", "http://service/v1", "model-1", "chat", calls, usage)


def as_before_0_3(path: Path) -> None:
    """Takes away what the version before doesn't have."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for trigger in ("sums_after_insert", "sums_after_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DROP TABLE sums")
        connection.execute("ALTER TABLE calls DROP COLUMN estimated")


def test_threads_may_share_a_store(store: SqliteCallStore) -> None:
    def work(name: int) -> None:
        for number in range(20):
            store.put([stored(f"{name} {number}")])
            assert store.get([f"{name} {number}"])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.stats().calls == 120


def test_a_store_that_another_process_is_writing_is_waited_for(store: SqliteCallStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "calls.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = threading.Thread(target=store.put, args=([stored()],))
    writing.start()
    assert store.get(["k"]) == {}  # readers don't wait
    other.execute("COMMIT")
    other.close()
    writing.join()
    assert store.get(["k"]) == {"k": stored()}


def test_what_is_forgotten_leaves_no_byte_behind(store: SqliteCallStore, tmp_path: Path) -> None:
    secret = uuid.uuid4().bytes * 1000
    store.put([stored("keep"), stored("go", kind=EMBEDDING, payload=secret)])
    assert store.forget(lambda call: call.kind == EMBEDDING) == 1
    assert store.get(["keep", "go"]).keys() == {"keep"}
    assert not any(secret[:16] in file.read_bytes() for file in tmp_path.iterdir())


# ---------------------------------------------------------------- damage


def test_a_call_remembers_every_domain_and_document_that_it_was_asked_for(store: SqliteCallStore) -> None:
    asked = stored("a", origin=Origin("qa_pairs", "bats", "run"), documents=("b.md", "a.md"))
    store.put([asked, stored("unknown")])
    store.put([replace(asked, origin=Origin("qa_pairs", "harbor", "run"), documents=())])  # its answer was there
    store.add_sources([CallSource("a", "bats", "c.md"), CallSource("a", "bats", "a.md")])
    documents = ["a.md", "b.md", "c.md"]
    expected = [*(CallSource("a", "bats", document) for document in documents), CallSource("a", "harbor", "")]
    assert list(store.sources()) == expected
    assert store.get(["a"])["a"] == replace(asked, documents=())  # the entry itself is as it always was
    store.forget_sources("bats", "b.md")
    assert [source.document for source in store.sources()] == ["a.md", "c.md", ""]
    store.forget_sources("bats", None)
    assert list(store.sources()) == [CallSource("a", "harbor", "")]


def test_sources_are_read_a_few_at_a_time_and_none_is_missed(store: SqliteCallStore) -> None:
    expected = [CallSource(f"{n % 7}", f"domain {n % 3}", f"{n:05}.md") for n in range(1_700)]
    store.add_sources(expected)
    assert sorted(store.sources(), key=astuple) == sorted(expected, key=astuple)


def test_of_a_file_of_the_version_before_the_domains_of_first_requesters_are_known(tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite"
    with SqliteCallStore(file) as store:
        store.put([stored("a", origin=Origin("qa_pairs", "bats", "run")), stored("nobody's")])
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DROP TABLE sources")
    with SqliteCallStore(file) as store:
        assert list(store.sources()) == [CallSource("a", "bats", "")]


def test_forgetting_says_when_the_bytes_can_not_be_overwritten(
    store: SqliteCallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([stored()])
    monkeypatch.setattr("raft_assets.storage.call_store.LOCK_TIMEOUT_S", 0.0)
    with contextlib.closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM calls").fetchone()
        with pytest.raises(RaftError, match="has been locked by another process"):
            store.forget(lambda _: True)
    assert store.forget(lambda _: True) == 0
    assert store.path.with_name("calls.sqlite-wal").stat().st_size == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", b"not what it was"),
        ("payload", "text where bytes were"),
        ("status", "filtered"),
        ("output_tokens", 4),
        ("latency_s", 0.25),
        ("model", b"\xff\xfe"),  # not even text
        ("checksum", "0" * 20),
    ],
)
def test_a_damaged_entry_counts_as_absent_and_is_replaced(
    store: SqliteCallStore, tmp_path: Path, column: str, value: object
) -> None:
    store.put([stored(), stored("other")])
    damage(tmp_path / "calls.sqlite", column, value)
    assert store.get(["k", "other"]) == {}
    store.put([stored()])
    assert store.get(["k", "other"]) == {"k": stored()}


def test_a_file_that_is_no_store_is_one_sentence_about_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"this is not a database, and it is long enough to be sure " * 100)
    with pytest.raises(RaftError, match=r"calls\.sqlite is damaged .*move it away"):
        SqliteCallStore(path)


def test_a_damaged_file_is_one_sentence_about_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    keys = [f"key {number}" for number in range(500)]
    with SqliteCallStore(path) as store:
        store.put([stored(key, payload=random.randbytes(500)) for key in keys])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * len(content[4096:])
    path.write_bytes(content)
    with pytest.raises(RaftError, match=r"calls\.sqlite is damaged .*move it away"), SqliteCallStore(path) as store:
        store.get(keys)


def test_a_store_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(RaftError, match="has format 99"):
        SqliteCallStore(path)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_cannot_be_written_is_one_sentence_about_what_to_do(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        if exists:
            SqliteCallStore(path).close()
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        with without_privileges(), pytest.raises(RaftError, match=r"calls\.sqlite cannot be written .*RAFT_HOME"):
            SqliteCallStore(path)
        Path(folder).chmod(0o755)


def test_a_folder_that_cannot_be_made_is_one_sentence_about_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RaftError, match=r"cannot be written .*RAFT_HOME"):
        SqliteCallStore(tmp_path / "file" / "calls.sqlite")


def test_a_full_disk_is_one_sentence_and_loses_nothing_that_was_stored(store: SqliteCallStore) -> None:
    store.put([stored()])
    big = stored("big", payload=random.randbytes(4_000_000))
    with files_of_at_most(1_000_000), pytest.raises(RaftError, match=r"could not be written .*Free disk space"):
        store.put([big])
    assert store.get(["k", "big"]) == {"k": stored()}
    store.put([big])
    assert store.get(["k", "big"]) == {"k": stored(), "big": big}


def test_how_long_a_model_takes_is_told_by_its_newest_answers(store: SqliteCallStore) -> None:
    assert store.recent_latency("http://service/v1", "model-1") is None
    newest = [stored(f"new {number}", latency_s=2.0, created=1.9e9 + number) for number in range(TIMED_CALLS)]
    store.put([stored("old", latency_s=90.0), *newest])
    store.put([stored("failed", latency_s=90.0, status="failed", created=2e9), stored("other", model="model-2")])
    assert store.recent_latency("http://service/v1", "model-1") == 2.0
