"""Coordination by files: what processes share is whole, and a claim ends with its holder."""

import multiprocessing
from pathlib import Path

import pytest

from raft_assets.storage.coordination import FileCoordination
from raft_assets_tests.processes import printed_line, start_program

PROCESSES, TIMES = 3, 200
CLAIMS = """
import sys; from pathlib import Path
from raft_assets.storage.coordination import FileCoordination
claim = FileCoordination(Path(sys.argv[1])).claim("locks/bats")
print("held" if claim else "taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def coordination(tmp_path: Path) -> FileCoordination:
    return FileCoordination(tmp_path)


def test_a_state_is_empty_at_first_and_then_what_the_last_holder_left(coordination: FileCoordination) -> None:
    for before, after in (("", "a long state"), ("a long state", "short"), ("short", ""), ("", "ü")):
        with coordination.shared("limits/one") as state:
            assert state.text == before
            state.text = after
    with coordination.shared("limits/two") as other:
        assert other.text == ""


def test_a_holder_that_raises_changes_nothing_and_keeps_nobody_waiting(coordination: FileCoordination) -> None:
    with coordination.shared("one") as state:
        state.text = "kept"
    with pytest.raises(ZeroDivisionError):
        fail_while_holding(coordination)
    with coordination.shared("one") as state:
        assert state.text == "kept"


def fail_while_holding(coordination: FileCoordination) -> None:
    with coordination.shared("one") as state:
        state.text = "half done"
        raise ZeroDivisionError


def test_bytes_that_are_no_text_are_read_as_some_text(coordination: FileCoordination, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(b"\xff\xfe")
    with coordination.shared("one") as state:
        assert state.text


def test_processes_take_turns_with_a_state(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=count, args=(tmp_path,)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    with FileCoordination(tmp_path).shared("count") as state:
        assert state.text == str(PROCESSES * TIMES)


def count(folder: Path) -> None:
    coordination = FileCoordination(folder)
    for _ in range(TIMES):
        with coordination.shared("count") as state:
            state.text = str(int(state.text or 0) + 1)


def test_a_claim_is_one_holders_until_it_is_closed(coordination: FileCoordination, tmp_path: Path) -> None:
    claim = coordination.claim("locks/bats")
    assert claim
    assert coordination.claim("locks/bats") is None
    assert coordination.is_claimed("locks/bats")
    assert not coordination.is_claimed("locks/birds")
    claim.close()
    claim.close()
    assert not coordination.is_claimed("locks/bats")
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_claim_ends_when_its_process_is_killed(coordination: FileCoordination, tmp_path: Path) -> None:
    with start_program(CLAIMS, tmp_path) as process:
        assert printed_line(process) == "held"
        assert coordination.is_claimed("locks/bats")
        assert coordination.claim("locks/bats") is None
        process.kill()
    claim = coordination.claim("locks/bats")
    assert claim
    claim.close()


def test_what_a_killed_process_left_is_removed_by_whoever_looks(coordination: FileCoordination, tmp_path: Path) -> None:
    with start_program(CLAIMS, tmp_path) as process:
        assert printed_line(process) == "held"
        process.kill()
    assert list((tmp_path / "locks").iterdir())
    assert not coordination.is_claimed("locks/bats")
    assert list((tmp_path / "locks").iterdir()) == []


def test_of_processes_that_claim_at_once_and_again_one_holds_it_at_a_time(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=count_claimed, args=(tmp_path,)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert (tmp_path / "count").read_text() == str(PROCESSES * TIMES)


def count_claimed(folder: Path) -> None:
    """Counts in a file that only the claim guards."""
    coordination, file = FileCoordination(folder), folder / "count"
    for _ in range(TIMES):
        while (claim := coordination.claim("count")) is None:
            pass
        file.write_text(str(int(file.read_text() if file.exists() else 0) + 1))
        claim.close()


@pytest.mark.parametrize("name", ["", "../one", "/one", "a/../../b"])
def test_a_name_that_leads_elsewhere_is_refused(coordination: FileCoordination, name: str) -> None:
    with pytest.raises(ValueError, match="can't be a name"):
        coordination.claim(name)
