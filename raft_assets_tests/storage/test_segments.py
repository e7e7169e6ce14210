"""Paid calls on object storage: durable here first, found by other machines, forgotten everywhere."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.core.errors import RaftError
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import StoredCall
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.segments import Segments
from raft_assets_tests.azure.blob import CONTAINER, storage_account


def call(key: str, payload: bytes = b'{"choices": [\xc3\xa4]}') -> StoredCall:
    return StoredCall(key, "http://service/v1", "model-1", "chat", "ok", Usage(10, 4, 3), 0.5, 1.8e9, payload)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture(params=["folder", "azure"])
def segments(request: pytest.FixtureRequest, tmp_path: Path) -> Segments:
    if request.param == "folder":
        return Segments(str(tmp_path / "remote"), {})
    options = {"connection_string": request.getfixturevalue("account")}
    return Segments(f"abfs://{CONTAINER}/{tmp_path.name}", options)


def test_another_machine_finds_what_was_paid(segments: Segments, tmp_path: Path) -> None:
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        store.put([call("a"), call("b", b"\x00\xff")])
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert store.get(["a", "b"]) == {"a": call("a"), "b": call("b", b"\x00\xff")}
        store.put([call("c")])
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        assert set(store.get(["a", "b", "c"])) == {"a", "b", "c"}
    assert len(segments.names()) == 2  # what came from others is not written again


def test_an_answer_outlives_the_machine_that_paid_it(segments: Segments, tmp_path: Path) -> None:
    """It is killed as soon as it has the answer, and its disk is gone."""
    program = (
        "import os, sys; from pathlib import Path; from raft_assets.storage.segments import Segments; "
        "from raft_assets.storage.call_store import SqliteCallStore; "
        "from raft_assets_tests.storage.test_segments import call; "
        f"remote = Segments(sys.argv[2], {dict(segments._root.storage_options)!r}); "
        "SqliteCallStore(Path(sys.argv[1]), remote).put([call('a')]); "
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "here.sqlite", segments.address], check=False)
    assert killed.returncode == -9
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert store.get(["a"]) == {"a": call("a")}


def test_many_small_segments_become_one_and_what_was_deleted_elsewhere_does_not_come_back(
    segments: Segments, tmp_path: Path
) -> None:
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        for key in "abc":
            store.put([call(key)])
        assert len(segments.names()) == 3
        with SqliteCallStore(tmp_path / "there.sqlite", segments) as other:
            other.forget(lambda one: one.key == "a")
    (name,) = segments.names()
    assert sorted(row[0] for row in segments.read(name)) == ["b", "c"]
    for machine in ("here", "there"):
        with SqliteCallStore(tmp_path / f"{machine}.sqlite", segments) as store:
            assert store.get("abc").keys() == {"b", "c"}


def test_a_store_that_was_local_brings_everything_along(segments: Segments, tmp_path: Path) -> None:
    with SqliteCallStore(tmp_path / "here.sqlite") as store:
        store.put([call("a")])
    with SqliteCallStore(tmp_path / "here.sqlite", segments):
        pass
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert set(store.get(["a"])) == {"a"}


def test_segments_of_the_version_before_are_read_and_it_reads_what_is_not_estimated(
    segments: Segments, tmp_path: Path
) -> None:
    counted = replace(call("b"), usage=Usage(10, 4, 3, estimated=1))
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        store.put([call("a"), counted])
    (name,) = segments.names()
    rows = segments.read(name)
    assert sorted(len(row) for row in rows) == [18, 19]  # 18 columns, and a mark where tokens are estimated
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert store.get(["a", "b"]) == {"a": call("a"), "b": counted}
        (used,) = store.usage()
        assert (used.calls, used.usage.estimated) == (2, 1)


def test_what_is_forgotten_here_is_forgotten_there(segments: Segments, tmp_path: Path) -> None:
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        store.put([call("a"), call("b")])
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert len(store.get(["a", "b"])) == 2
    with SqliteCallStore(tmp_path / "here.sqlite", segments) as store:
        assert store.forget(lambda one: one.key == "a") == 1
    assert [row[0] for name in segments.names() for row in segments.read(name)] == ["b"]
    with SqliteCallStore(tmp_path / "there.sqlite", segments) as store:
        assert set(store.get(["a", "b"])) == {"b"}


def test_segments_that_cannot_be_written_lose_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "remote").write_text("a file where a folder should be")
    with SqliteCallStore(tmp_path / "here.sqlite", Segments(str(tmp_path / "remote"), {})) as store:
        store.put([call("a")])
    assert "1 answers could not be written" in caplog.text
    (tmp_path / "remote").unlink()
    with SqliteCallStore(tmp_path / "here.sqlite", Segments(str(tmp_path / "remote"), {})):
        pass
    with SqliteCallStore(tmp_path / "there.sqlite", Segments(str(tmp_path / "remote"), {})) as store:
        assert set(store.get(["a"])) == {"a"}


def test_segments_that_cannot_be_read_stop_before_anything_is_paid_again(account: str, tmp_path: Path) -> None:
    missing = Segments("abfs://nowhere/calls", {"connection_string": account.replace("AccountKey=", "AccountKey=AA")})
    with pytest.raises(RaftError, match=r"abfs://nowhere/calls can't be read .* the calls would be paid for again"):
        SqliteCallStore(tmp_path / "here.sqlite", missing)
