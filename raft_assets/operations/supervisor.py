"""Keep programs running: start them in order, restart what ends, replace what has read old files, end all of them.

What belongs here: processes, and nothing of what they serve. The programs of the UI are in `cli/ui`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before a program that ended is started again; doubled each time
STABLE_S = 60.0  # a program that ran for so long doesn't keep failing
RETIRE_AFTER_S = 5.0  # calls that were under way when the successor took over reach the process before it
LOOK_S = 0.1  # between two looks at processes that are ending


@dataclass(frozen=True)
class Service:
    """A program that is kept running, by one process after the other; the number of a process tells them apart.

    `inputs` is the present state of what the program reads when it starts; when it changes, the program is replaced.
    With `publish` the successor starts first, `publish` makes it the one that is used, and the process before it is
    asked to end when its work is done. Without, it ends first.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    answers: Callable[[int], bool]
    inputs: Callable[[], object]
    publish: Callable[[int], None] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    end_s: float = 20.0  # how long it may take to end when it is interrupted


@dataclass
class _Process:
    """A process of a service, with a process group of its own."""

    service: Service
    number: int
    popen: subprocess.Popen[bytes]
    inputs: object
    started: float = field(default_factory=time.monotonic)
    answered: bool = False
    asked_to_end: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def ask_to_end(self) -> None:
        """Ask the process alone: what it has started goes on until it is done."""
        if self.asked_to_end is None:
            self.asked_to_end = time.monotonic()
            self.popen.terminate()


class Supervisor:
    """Keeps services running while `tick` is called about once a second, and ends them with `end`."""

    def __init__(self, services: Callable[[], Sequence[Service]], *, folder: Path, say: Callable[[str], None]) -> None:
        """`services` are asked for at every tick, in the order of their start; their processes run in `folder`."""
        self._services, self._folder, self._say = services, folder, say
        self._current: dict[str, _Process] = {}
        self._successors: dict[str, _Process] = {}
        self._retired: list[_Process] = []
        self._groups: dict[int, float] = {}  # of every process that was started, with how long it may take to end
        self._seen: dict[str, object] = {}
        self._pauses: dict[str, float] = {}
        self._resume: dict[str, float] = {}
        self._started = 0

    def tick(self) -> bool:
        """Look once at every service; return whether all of them answered."""
        for process in self._retired:
            if time.monotonic() - process.started > RETIRE_AFTER_S:
                process.ask_to_end()
        self._retired = [process for process in self._retired if not process.has_ended]
        services = self._services()
        for name in self._current.keys() - {service.name for service in services}:
            self._retire(self._current.pop(name))
        return all(self._tend(service) for service in services)  # those after one that doesn't answer wait for it

    def processes(self) -> list[int]:
        """Return the ids of the processes that run for a service, those that are about to end included."""
        every = [*self._current.values(), *self._successors.values(), *self._retired]
        return [process.popen.pid for process in every if not process.has_ended]

    def end(self) -> None:
        """Interrupt every process with what it has started, the last service first; kill what doesn't end."""
        ordered = sorted(self._groups.items(), reverse=True)
        try:
            end_groups([(group, end_s) for group, end_s in ordered if _has_members(group)], self._reap)
        except KeyboardInterrupt:  # somebody is in a hurry
            end_groups([(group, 0.0) for group, _ in ordered if _has_members(group)], self._reap)

    def _tend(self, service: Service) -> bool:
        """Start, restart or replace the service's process; return whether it answered."""
        current = self._current.get(service.name)
        if current is None:
            if time.monotonic() >= self._resume.get(service.name, 0.0):
                self._current[service.name] = self._start(service)
            return False
        if current.has_ended:
            self._note_end(current)
            return False
        if current.asked_to_end is not None:
            if time.monotonic() - current.asked_to_end > service.end_s:
                _signal_group(current.popen.pid, signal.SIGKILL)
            return False
        if not current.answered:
            if service.answers(current.number):
                self._publish(current)
            return current.answered
        self._renew(service, current)
        return True

    def _renew(self, service: Service, current: _Process) -> None:
        """Replace the process where what it read has changed, and has stopped changing."""
        successor = self._successors.get(service.name)
        if successor is None:
            inputs = service.inputs()
            settled = self._seen.get(service.name) == inputs
            self._seen[service.name] = inputs
            if inputs == current.inputs or not settled:
                return
            self._say(f"{service.name}: what it reads has changed, it is started anew")
            if service.publish is None:
                current.ask_to_end()
            else:
                self._successors[service.name] = self._start(service)
        elif successor.has_ended:
            self._say(f"{service.name}: the new process ended at once, the one before goes on until something changes")
            current.inputs = successor.inputs
            del self._successors[service.name]
        elif service.answers(successor.number):
            self._current[service.name] = self._successors.pop(service.name)
            self._publish(successor)
            self._retire(current)

    def _start(self, service: Service) -> _Process:
        self._started += 1
        inputs = service.inputs()
        popen = subprocess.Popen(
            service.command(self._started),
            cwd=self._folder,
            env={**os.environ, **service.variables},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal reaches the supervisor alone, which ends all in order
        )
        self._groups[popen.pid] = service.end_s
        return _Process(service, self._started, popen, inputs)

    def _publish(self, process: _Process) -> None:
        process.answered = True
        if process.service.publish is not None:
            process.service.publish(process.number)

    def _retire(self, process: _Process) -> None:
        process.started = time.monotonic()
        self._retired.append(process)

    def _note_end(self, process: _Process) -> None:
        """Take out a process that ended; its successor follows at once, or a new one after a pause."""
        name = process.service.name
        del self._current[name]
        if (successor := self._successors.pop(name, None)) is not None:
            self._current[name] = successor
        elif process.asked_to_end is None:
            stable = time.monotonic() - process.started > STABLE_S
            pause = FIRST_PAUSE_S if stable else self._pauses.get(name, FIRST_PAUSE_S)
            self._pauses[name] = min(LONGEST_PAUSE_S, 2 * pause)
            self._resume[name] = time.monotonic() + pause
            self._say(f"{name}: the process ended ({_describe_exit(process.popen.returncode)}), it is started again")

    def _reap(self) -> None:
        """Collect the exit codes of children: until then an ended child is still a member of its group."""
        for process in [*self._current.values(), *self._successors.values(), *self._retired]:
            process.popen.poll()


def end_groups(groups: Sequence[tuple[int, float]], reap: Callable[[], None] = lambda: None) -> None:
    """Interrupt process groups, each given with the seconds that it may take to end, and kill what is left of them."""
    started = time.monotonic()
    for group, end_s in groups:
        if end_s:
            _signal_group(group, signal.SIGINT)
    left = dict(groups)
    while left:
        reap()
        left = {group: end_s for group, end_s in left.items() if _has_members(group)}
        for group, end_s in left.items():
            if time.monotonic() - started >= end_s:
                _signal_group(group, signal.SIGKILL)
        if left:
            time.sleep(LOOK_S)


def _describe_exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _has_members(group: int) -> bool:
    """Return whether a process of the group runs; one that ended and wasn't collected doesn't count."""
    return any(_runs_in(group, process) for process in psutil.process_iter())


def _runs_in(group: int, process: psutil.Process) -> bool:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False
