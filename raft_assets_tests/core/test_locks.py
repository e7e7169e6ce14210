"""Locks exclude processes and threads from one another, and end with their holder."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raft_assets.core.locks import exclusive_lock, try_lock
from raft_assets_tests.processes import printed_line, start_program

TIMES, WORKERS = 300, 3
HOLDS = """
import sys; from pathlib import Path
from raft_assets.core.locks import try_lock
print("held" if try_lock(Path(sys.argv[1])) is not None else "taken", flush=True)
sys.stdin.read()
"""


def count(file: Path) -> None:
    """Adds to the number in the file, under its lock."""
    for _ in range(TIMES):
        with exclusive_lock(file) as descriptor:
            number = int(os.read(descriptor, 20) or b"0")
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, str(number + 1).encode())


def test_processes_exclude_one_another(tmp_path: Path) -> None:
    file = tmp_path / "made" / "count"
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=count, args=(file,)) for _ in range(WORKERS)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert file.read_text() == str(TIMES * WORKERS)


def test_threads_exclude_one_another(tmp_path: Path) -> None:
    file = tmp_path / "count"
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(count, [file] * WORKERS))
    assert file.read_text() == str(TIMES * WORKERS)


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with start_program(HOLDS, file) as process:
        assert printed_line(process) == "held"
        assert try_lock(file) is None
        process.kill()
    descriptor = try_lock(file)
    assert descriptor is not None
    os.close(descriptor)


def test_a_lock_that_a_child_inherits_is_held_until_the_child_ends(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    descriptor = try_lock(file)
    assert descriptor is not None
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=[descriptor]) as child:
        os.close(descriptor)
        assert try_lock(file) is None
        child.kill()
    again = try_lock(file)
    assert again is not None
    os.close(again)


def test_a_holder_may_remove_the_file_and_the_next_one_locks_another(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    descriptor = try_lock(file)
    assert descriptor is not None
    file.unlink()
    with start_program(HOLDS, file) as process:
        assert printed_line(process) == "held"
        os.close(descriptor)
        assert try_lock(file) is None
        process.kill()
