"""Records in files and in a shared lake: whole or not there, one writer wins, and no update is lost."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from raft_assets.core.ports import Records, VersionedRecord, newest_of_all
from raft_assets.operations.process import MOVED_RECORDS
from raft_assets.settings.environment import Environment
from raft_assets.storage.lake import Lake
from raft_assets.storage.lake_records import LakeRecords, take_over
from raft_assets.storage.records import FileRecords
from raft_assets_tests.azure.blob import CONTAINER, storage_account

PROCESSES, UPDATES = 3, 40


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with storage_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture(params=["files", "lake"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    if request.param == "files":
        return FileRecords(tmp_path)
    return LakeRecords(Lake(f"abfs://{CONTAINER}/{tmp_path.name}", signed_in(request.getfixturevalue("account"))))


def signed_in(connection: str) -> Environment:
    return Environment(process={"AZURE_STORAGE_CONNECTION_STRING": connection}, files={})


def test_what_is_put_is_read_and_listed_until_it_is_deleted(records: Records) -> None:
    assert records.put("batches/one.json", b"1")
    assert records.put("batches/two.json", b"2")
    assert records.put("batches-of-old/one.json", b"3")
    assert (records.read("batches/two.json"), records.read("batches/three.json")) == (b"2", None)
    assert records.names("batches/") == ["batches/one.json", "batches/two.json"]
    assert records.names("batches/t") == ["batches/two.json"]
    assert records.names("") == ["batches-of-old/one.json", "batches/one.json", "batches/two.json"]
    records.delete("batches/one.json")
    records.delete("batches/one.json")
    assert records.names("batches/") == ["batches/two.json"]


def test_what_is_there_is_not_replaced(records: Records) -> None:
    assert records.put("one", b"first")
    assert not records.put("one", b"second")
    assert records.read("one") == b"first"


def test_of_processes_that_put_at_once_one_wins(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    ready, won = processes.Barrier(PROCESSES), processes.Queue()
    started = [processes.Process(target=race, args=(tmp_path, name, ready, won)) for name in range(PROCESSES)]
    for process in started:
        process.start()
    claims = [won.get() for _ in range(PROCESSES)]
    for process in started:
        process.join()
    winners = {number: name for name, numbers in claims for number in numbers}
    assert sum(len(numbers) for _, numbers in claims) == len(winners) == UPDATES
    records = FileRecords(tmp_path)
    assert {number: int(records.read(f"race/{number}") or b"-1") for number in range(UPDATES)} == winners


def race(folder: Path, name: int, ready: Any, won: Any) -> None:
    """Puts every number, and tells which of them it was the first to put."""
    records = FileRecords(folder)
    ready.wait()
    won.put((name, [number for number in range(UPDATES) if records.put(f"race/{number}", str(name).encode())]))


def test_of_writers_of_a_shared_lake_one_wins(account: str, tmp_path: Path) -> None:
    lake = Lake(f"abfs://{CONTAINER}/{tmp_path.name}", signed_in(account))
    with ThreadPoolExecutor(8) as writers:
        won = list(writers.map(lambda name: LakeRecords(lake).put("jobs/one", str(name).encode()), range(24)))
    assert (won.count(True), LakeRecords(lake).read("jobs/one")) == (1, str(won.index(True)).encode())


def test_what_a_machine_kept_is_moved_and_what_the_lake_has_stays(tmp_path: Path) -> None:
    here, there = FileRecords(tmp_path), LakeRecords(Lake(f"memory://{tmp_path.name}"))
    others = ["calls/batches/one.lock", "calls/calls.sqlite"]
    for name in ("jobs/one.2.json", "jobs/two.json", "calls/capabilities.json", *others):
        here.put(name, b"here")
    there.put("jobs/two.7.json", b"there")
    take_over(here, there, MOVED_RECORDS)
    assert here.names("") == others
    found = {name: there.read(name) for name in there.names("")}
    assert found == {"calls/capabilities.json": b"here", "jobs/one.2.json": b"here", "jobs/two.7.json": b"there"}


def test_files_that_are_no_records_are_not_listed(tmp_path: Path) -> None:
    records = FileRecords(tmp_path)
    records.put("jobs/one.json", b"1")
    (tmp_path / "jobs" / ".half-written.part").write_text("")
    (tmp_path / "jobs" / "notes of mine.txt").write_text("")
    assert records.names("") == ["jobs/one.json"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../one", "a//b", "a/.hidden", "a/", "über", "a b", "a\\b", "a\n"])
def test_a_name_that_is_none_is_refused(records: Records, name: str) -> None:
    with pytest.raises(ValueError, match="can't be the name of a record"):
        records.put(name, b"")


def test_a_change_is_a_version_that_replaces_the_older_ones(records: Records) -> None:
    record = VersionedRecord(records, "jobs/one")
    assert record.read() is None
    for number in range(3):
        record.change(lambda found, number=number: (found or b"") + str(number).encode())
    record.change(lambda found: found or b"")  # which is none
    assert record.read() == b"012"
    assert records.names("jobs/") == ["jobs/one.2.json"]
    record.delete()
    assert (record.read(), records.names("")) == (None, [])


def test_the_newest_of_every_record_is_found(records: Records) -> None:
    records.put("jobs/one.json", b"old")  # a killed process put the newer one and could not delete this
    records.put("jobs/one.10.json", b"newest")
    records.put("jobs/one.9.json", b"older")
    records.put("jobs/two.json", b"two")
    records.put("jobs/one.lock", b"")
    assert newest_of_all(records, "jobs") == [b"newest", b"two"]
    VersionedRecord(records, "jobs/one").change(lambda _: b"changed")
    assert records.names("jobs/one.") == ["jobs/one.11.json", "jobs/one.lock"]


@pytest.mark.parametrize("others", [1, 2, 5])
def test_a_change_that_was_overtaken_is_made_to_what_the_others_wrote(records: Records, others: int) -> None:
    record = VersionedRecord(records, "jobs/one")
    add(record, "first")
    seen = []

    def slowly(found: bytes | None) -> bytes:
        seen.append(found)
        if len(seen) == 1:  # after two changes of others the number that this one takes next is free again
            for number in range(others):
                add(VersionedRecord(records, "jobs/one"), str(number))
        return added(found, "slow")

    record.change(slowly)
    assert json.loads(record.read() or b"") == ["first", *map(str, range(others)), "slow"]
    assert len(records.names("jobs/")) == 1


def test_processes_that_change_a_record_at_once_lose_no_change(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=add_many, args=(tmp_path, name)) for name in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    found = json.loads(VersionedRecord(FileRecords(tmp_path), "jobs/one").read() or b"[]")
    assert sorted(found) == sorted(f"{name}-{number}" for name in range(PROCESSES) for number in range(UPDATES))


def add_many(folder: Path, name: int) -> None:
    record = VersionedRecord(FileRecords(folder), "jobs/one")
    for number in range(UPDATES):
        add(record, f"{name}-{number}")


def add(record: VersionedRecord, item: str) -> None:
    record.change(lambda found: added(found, item))


def added(found: bytes | None, item: str) -> bytes:
    items = json.loads(found or b"[]")
    return json.dumps(items if item in items else [*items, item]).encode()
