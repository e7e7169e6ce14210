"""A process that reads files one after another, so that none can take the reader's time or memory for good.

It is started for the first file that needs it. A file that takes too much ends it: that file is quarantined, and the
next one starts another. Files travel by their path, and what was read comes back as a line of JSON.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import psutil

from raft_assets.core.errors import RaftError
from raft_assets.core.progress import show, shown_by
from raft_assets.documents.parsing import Parsed, from_record, parse, read_bytes, to_record
from raft_assets.documents.readers.content import UnreadableError
from raft_assets.documents.readers.ocr import LINES_READ
from raft_assets.documents.readers.sniffing import is_plain_text
from raft_assets.settings.domains import DocumentFile

LIGHT_BYTES = 32_000  # no text of this size takes a second, whatever it holds; it needs no process
MAX_CPU_S = 25  # since the file was begun, or its last page or line for OCR ended, which take less than one
# and of a whole document, besides OCR, for each step on one of its pages, of which there are three, and by its size: a
# page of 5,000 characters takes 0.04 s in all, one of 20,000 half a second, and a MB of dense text 35 s
MAX_CPU_S_PER_STEP = 0.3
MAX_CPU_S_PER_MB = 100
MAX_IDLE_S = 25  # on the clock, without any work and any answer; on a busy machine it works at times
MAX_MEMORY_MB = 3_000  # a text of 50 MB takes one GB
POLL_S = 0.1
END_S = 5  # in which the process ends by itself

_READY = {"ready": True}


class ReadingProcess:
    """Reads files within bounds of time and memory. Use it in a `with` statement: the process ends with it."""

    def __init__(self, *, max_cpu_s: float = MAX_CPU_S, max_memory_mb: float = MAX_MEMORY_MB) -> None:
        self._max_cpu_s, self._max_memory_mb = max_cpu_s, max_memory_mb
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, file: DocumentFile) -> Parsed:
        """Return the content of a file, or why it can't be read. Small texts are read in this process.

        Raises RaftError where the process can't be started.
        """
        if file.size <= LIGHT_BYTES:
            try:
                data = read_bytes(file)
            except UnreadableError as error:
                return error
            if is_plain_text(data):
                return parse(file.path, data)
        if self._process is None:
            self._process = _Process()
        self._process.ask(file)
        try:
            return self._wait(self._process, file)
        except UnreadableError as error:
            self._end(kill=True)
            return error

    def _wait(self, process: "_Process", file: DocumentFile) -> Parsed:
        """Return the answer of the process, and show how far it is.

        Raises UnreadableError (too_costly, unreadable) where there will be none.
        """
        use = _Use(process.cpu_s(), self._max_cpu_s, MAX_CPU_S_PER_MB * file.size / 1e6)
        checked = time.monotonic()
        while True:
            try:
                answer = process.answers.get(timeout=POLL_S)
            except queue.Empty:
                answer = {}
            if answer is None:
                raise UnreadableError(
                    "unreadable", "Reading the file broke the process that read it; open it and save it again."
                )
            progress = answer.get("progress")
            if answer and not progress:
                return from_record(answer)
            if not progress or time.monotonic() - checked >= POLL_S:
                checked = time.monotonic()
                self._check(use.add(process.cpu_s()), process.memory_mb())
            if progress:
                use.begin_part(is_by_ocr=progress[0] == LINES_READ)
                if progress[0] != LINES_READ:  # pages say enough to people
                    show(f"{file.path}: {progress[0]}", *progress[1:])

    def _check(self, use: "_Use", memory_mb: float) -> None:
        if use.cpu_s > use.max_cpu_s:
            taken = f"{use.max_cpu_s:,.0f} seconds of a processor"
        elif memory_mb > self._max_memory_mb:
            taken = f"{self._max_memory_mb:,.0f} MB of memory"
        elif use.idle_s > MAX_IDLE_S:
            taken = f"{MAX_IDLE_S} seconds of waiting"
        else:
            return
        raise UnreadableError(
            "too_costly", f"Reading the file takes more than {taken}; split it, or save its text as a new document."
        )

    def _end(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.end(kill=kill)
            self._process = None


@dataclass
class _Use:
    """What a file took so far: the processor time for its present part and for all that OCR didn't read."""

    total_s: float  # of the process
    max_part_s: float
    max_more_s: float  # besides, of a file of which many parts are done
    part_s: float = 0.0
    file_s: float = 0.0
    steps: int = 0  # that are done, besides OCR
    worked: float = field(default_factory=time.monotonic)

    @property
    def cpu_s(self) -> float:
        """Of the part, or of the file where that took more than it may."""
        return self.part_s if self.file_s <= self.max_file_s else self.file_s

    @property
    def max_cpu_s(self) -> float:
        """What `cpu_s` may be."""
        return self.max_part_s if self.file_s <= self.max_file_s else self.max_file_s

    @property
    def max_file_s(self) -> float:
        """What the file may have taken by now: a part that takes all it may, and little for each of the others."""
        return self.max_part_s + min(self.max_more_s, MAX_CPU_S_PER_STEP * self.steps)

    @property
    def idle_s(self) -> float:
        """Seconds on the clock without any work."""
        return time.monotonic() - self.worked

    def add(self, total_s: float) -> "_Use":
        """Take the processor time of the process."""
        if total_s > self.total_s:
            self.part_s += total_s - self.total_s
            self.file_s += total_s - self.total_s
            self.total_s, self.worked = total_s, time.monotonic()
        return self

    def begin_part(self, *, is_by_ocr: bool) -> None:
        """Begin another part; one that OCR read counts for itself only."""
        if is_by_ocr:
            self.file_s -= self.part_s
        else:
            self.steps += 1
        self.part_s, self.worked = 0.0, time.monotonic()


class _Process:
    """The running process and what it answers."""

    def __init__(self) -> None:
        package = Path(__file__).parents[2]  # found from whatever folder this process was started in
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],  # -P: nothing in the current folder is imported
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._usage = psutil.Process(self._popen.pid)
        self.answers: queue.Queue[dict[str, Any] | None] = queue.Queue()  # None: there will be no more
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        if self.answers.get() is None:  # what it imports takes no part of a file's time
            self.end(kill=True)
            raise RaftError(
                "The process that reads documents can't be started; what it wrote to the error output says why. "
                "Install the package again."
            )

    def ask(self, file: DocumentFile) -> None:
        """Have a file read."""
        question = [file.path, str(file.absolute), file.size, file.content_hash]
        try:
            assert self._popen.stdin is not None
            self._popen.stdin.write(json.dumps(question).encode("ascii") + b"\n")
            self._popen.stdin.flush()
        except OSError:  # it ended before it could be asked: there will be no answer
            self.answers.put(None)

    def cpu_s(self) -> float:
        """Return the processor time that it took so far, seconds; 0 where it ended."""
        try:
            times = self._usage.cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Return the memory that it has; 0 where it ended."""
        try:
            return float(self._usage.memory_info().rss / 1e6)
        except psutil.Error:
            return 0.0

    def end(self, *, kill: bool) -> None:
        """End it; without `kill` it ends by itself, since there is nothing to read."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        if kill:
            self._popen.kill()
        with suppress(OSError):
            self._popen.stdin.close()
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._receiver.join()
        self._popen.stdout.close()

    def _receive(self) -> None:
        assert self._popen.stdout is not None
        try:
            for line in self._popen.stdout:
                self.answers.put(json.loads(line))
        except ValueError:  # a line that broke off
            pass
        self.answers.put(None)


def main() -> None:
    """Read the files that the standard input names, a line each, and write what they hold to the standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked, which then ends this one
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
        with shown_by(lambda *progress: _answer(answers, {"progress": progress})):
            _answer(answers, _READY)
            for line in sys.stdin.buffer:
                path, absolute, size, content_hash = json.loads(line)
                _answer(answers, to_record(_read(DocumentFile(path, Path(absolute), size, content_hash))))


def _read(file: DocumentFile) -> Parsed:
    try:
        return parse(file.path, read_bytes(file))
    except UnreadableError as error:
        return error
    except MemoryError:
        return UnreadableError("too_costly", "Reading the file takes more memory than there is; split it.")


def _answer(answers: BinaryIO, record: dict[str, Any]) -> None:
    answers.write(json.dumps(record).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
