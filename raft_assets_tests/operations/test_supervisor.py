"""Programs that are kept running: real processes, each a line of Python."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from raft_assets.operations.supervisor import Service, Supervisor

PATIENCE_S = 60.0
SERVE = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
STUBBORN = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
)
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


class Programs:
    """A supervisor with programs that touch a file when they serve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: list[Service] = []
        self.said: list[str] = []
        self.published: list[int] = []
        self.inputs = "first"
        self.supervisor = Supervisor(lambda: self.services, folder=folder, say=self.said.append)

    def add(self, name: str, code: str = SERVE, *, overlaps: bool = False, end_s: float = PATIENCE_S) -> None:
        self.services.append(
            Service(
                name,
                command=lambda number: [sys.executable, "-c", code, str(self._served(name, number))],
                answers=lambda number: self._served(name, number).exists(),
                inputs=lambda: self.inputs,
                publish=self.published.append if overlaps else None,
                end_s=end_s,
            )
        )

    def replace(self, code: str) -> None:
        """Let the only service run another program from now on."""
        (service,) = self.services
        self.services = []
        self.add(service.name, code, overlaps=service.publish is not None)

    def tick_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, self.said
            self.supervisor.tick()
            time.sleep(0.02)

    def run(self) -> list[int]:
        """Tick until every program serves; returns the ids of their processes."""
        self.tick_until(self.supervisor.tick)
        return self.supervisor.processes()

    def _served(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-{number}"


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.supervisor.end()


def started_in_order(folder: Path) -> list[str]:
    return [file.name.split("-")[0] for file in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)]


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_program_starts_when_the_one_before_it_answers(programs: Programs) -> None:
    programs.add("silent", "import time; time.sleep(600)")
    programs.add("next")
    programs.tick_until(lambda: bool(programs.supervisor.processes()))
    for _ in range(5):
        assert not programs.supervisor.tick()
    assert len(programs.supervisor.processes()) == 1
    programs.services = []
    for name in ("one", "two", "three"):
        programs.add(name)
    programs.run()
    assert started_in_order(programs.folder) == ["one", "two", "three"]


def test_a_program_that_dies_is_started_again_and_the_others_stay(programs: Programs) -> None:
    programs.add("one")
    programs.add("two")
    one, two = programs.run()
    psutil.Process(one).kill()
    programs.tick_until(lambda: one not in programs.supervisor.processes())
    again = programs.run()
    assert two in again
    assert len(again) == 2
    assert any("SIGKILL" in line for line in programs.said)


def test_a_changed_input_replaces_a_program_without_a_gap_and_without_killing_its_work(programs: Programs) -> None:
    """As a code server's, which may take hours to finish the runs that it started."""
    programs.add("server", STUBBORN + SERVE, overlaps=True, end_s=0.5)
    (first,) = programs.run()
    programs.inputs = "second"
    programs.tick_until(lambda: len(programs.published) == 2)
    assert alive([first]) == [first]
    assert len(alive(programs.supervisor.processes())) == 2


def test_a_changed_input_restarts_a_program_that_cannot_be_there_twice(programs: Programs) -> None:
    programs.add("server")
    (first,) = programs.run()
    programs.inputs = "second"
    programs.tick_until(lambda: first not in programs.supervisor.processes())
    (second,) = programs.run()
    assert second != first
    assert not any("ended" in line for line in programs.said)


def test_a_successor_that_fails_leaves_the_program_before_it_in_place(programs: Programs) -> None:
    programs.add("server", overlaps=True)
    (first,) = programs.run()
    programs.replace("raise SystemExit(1)")
    programs.inputs = "broken"
    programs.tick_until(lambda: any("goes on" in line for line in programs.said))
    for _ in range(5):
        programs.supervisor.tick()
    assert programs.supervisor.processes() == [first]
    programs.replace(SERVE)
    programs.inputs = "mended"
    programs.tick_until(lambda: len(programs.published) == 2)


def test_the_end_leaves_no_process_not_even_one_that_a_dead_program_left(programs: Programs) -> None:
    programs.add("parent", PARENT + SERVE)
    programs.add("stubborn", STUBBORN + SERVE, end_s=0.5)
    parent, stubborn = programs.run()
    (orphan,) = (child.pid for child in psutil.Process(parent).children())
    psutil.Process(parent).kill()
    programs.tick_until(lambda: parent not in programs.supervisor.processes())
    programs.run()
    every = [*programs.supervisor.processes(), stubborn, orphan]
    assert orphan in alive(every)
    programs.supervisor.end()
    assert alive(every) == []


def test_a_program_is_out_of_reach_of_the_terminals_interrupt(programs: Programs) -> None:
    programs.add("server")
    (server,) = programs.run()
    assert os.getpgid(server) != os.getpgid(0)
