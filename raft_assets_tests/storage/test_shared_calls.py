"""Paid calls in a database that machines share: found at once, in segments soon after, forgotten everywhere."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from raft_assets.llm.store import ClaimedCalls
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.postgresql import CoordinationError
from raft_assets.storage.segments import Segments
from raft_assets.storage.shared_calls import SharedCalls
from raft_assets_tests.postgresql import PostgresServer, database_at
from raft_assets_tests.storage.test_segments import call

Machine = Callable[..., SqliteCallStore]


@pytest.fixture
def address(postgresql: PostgresServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def machine(address: str, tmp_path: Path) -> Machine:
    """Opens the store of a machine, which has segments or only the database."""

    def opened(name: str, *, segments: bool = True) -> SqliteCallStore:
        remote = Segments(str(tmp_path / "remote"), {}) if segments else None
        return SqliteCallStore(tmp_path / name / "calls.sqlite", remote, SharedCalls(database_at(address)))

    return opened


def entries(postgresql: PostgresServer, address: str) -> list[str]:
    """Return the keys whose answers are in the database."""
    statement = "SELECT key FROM raft.calls WHERE entry IS NOT NULL ORDER BY key"
    return postgresql.sql(statement, address.rpartition("/")[2]).split()


@pytest.mark.parametrize("segments", [True, False], ids=["with segments", "by the database alone"])
def test_a_key_is_paid_by_one_machine_and_the_others_find_its_answer(
    machine: Machine, postgresql: PostgresServer, address: str, segments: bool
) -> None:
    with machine("2", segments=segments) as other, machine("3", segments=segments) as third:
        with machine("1", segments=segments) as one:
            assert one.claim(["a", "b"]).mine == {"a", "b"}
            assert other.claim(["a", "c"]) == ClaimedCalls(frozenset("c"), {})
            one.put([call("a")])
            one.release(["b"])
            assert other.claim(["a", "b"]) == ClaimedCalls(frozenset("b"), {"a": call("a")})
            assert entries(postgresql, address) == ["a"]
        assert entries(postgresql, address) == ([] if segments else ["a"])  # they hold it now
        assert third.claim(["a"]).stored == third.fetch(["a"]) == {"a": call("a")}


def test_of_two_machines_that_store_one_key_the_answer_of_the_first_stays(machine: Machine) -> None:
    with machine("1") as one, machine("2") as other:
        one.put([call("a")])
        kept = other.put([call("a", b"another answer"), call("b")])
        assert kept == {"a": call("a"), "b": call("b")}


def test_what_a_machine_that_is_gone_left_in_the_database_goes_into_a_segment(
    machine: Machine, postgresql: PostgresServer, address: str, tmp_path: Path
) -> None:
    with machine("alive", segments=False) as alive, machine("here") as here:
        alive.put([call("a")])
        with machine("gone", segments=False) as gone:
            gone.put([call("b")])
        assert here.claim(["z"]).mine == {"z"}
    names = Segments(str(tmp_path / "remote"), {}).names()
    assert [row[0] for name in names for row in Segments(str(tmp_path / "remote"), {}).read(name)] == ["b"]
    assert entries(postgresql, address) == ["a"]  # whose process lives


@pytest.mark.parametrize("segments", [True, False], ids=["with segments", "by the database alone"])
def test_what_is_forgotten_by_one_machine_is_forgotten_by_the_database_and_the_others(
    machine: Machine, postgresql: PostgresServer, address: str, tmp_path: Path, segments: bool
) -> None:
    with machine("1", segments=segments) as one, machine("2", segments=segments) as other:
        one.put([call("a"), call("b")])
        assert other.fetch(["a"]).keys() == {"a"}
        with machine("3", segments=segments) as third:  # which never asked for it
            third.gather()
            assert third.forget(lambda stored: stored.key == "a") == 1
        assert entries(postgresql, address) == ["b"]
    for name in ("1", "2", "3"):
        with machine(name, segments=segments) as store:
            assert store.claim(["a"]).mine == {"a"}
            assert store.get(["a"]) == {}
            store.release(["a"])
    with machine("1", segments=segments) as one, machine("2", segments=segments) as other:
        one.put([call("a", b"paid again")])
        assert other.fetch(["a"]) == {"a": call("a", b"paid again")}
    with machine("1", segments=segments) as one:
        one.claim(["z"])
        assert one.get(["a"]) == {"a": call("a", b"paid again")}  # it was forgotten before


def test_without_the_database_nothing_is_claimed_and_what_is_paid_and_known_stays(
    machine: Machine, postgresql: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    with machine("1", segments=False) as store:
        store.claim(["a"])
        postgresql.stop()
        try:
            with caplog.at_level(logging.WARNING):
                assert store.put([call("a")]) == {"a": call("a")}
            assert "1 answers are on this machine alone" in caplog.text
            assert store.get(["a"]) == {"a": call("a")}
            with pytest.raises(CoordinationError, match="no further call is sent"):
                store.claim(["b"])
        finally:
            postgresql.start()
    with machine("1", segments=False) as store, machine("2", segments=False) as other:
        assert store.claim(["b"]).mine == {"b"}
        assert other.claim(["a"]).stored == {"a": call("a")}


def test_an_answer_whose_segment_was_lost_is_paid_again(machine: Machine, tmp_path: Path) -> None:
    with machine("1") as store:
        store.put([call("a")])
    for segment in (tmp_path / "remote").iterdir():
        segment.unlink()
    with machine("3") as store:
        assert store.claim(["a"]).mine == {"a"}
        store.put([call("a")])
