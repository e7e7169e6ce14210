"""The published figures, measured on a copy of the shipped domains and printed beside what they should be.

    python benchmarks/lineage.py

Runs `raft run --all` from nothing, again with nothing changed, and after an edit of one document per domain.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from project import copied

from raft_assets.core.tables import Chunk
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.lake import Lake

LOOK_EVERY_S = 0.5
EDITED = {"bats": "vampire-bats.md", "harbor handbook": "staff-handbook.txt"}


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copied(project)
        place = Project.load(project, {"RAFT_PROJECT": folder})
        seconds, memory = run(project)
        tell("all domains from nothing, s", seconds, 180)
        tell("memory of all processes at once, MB", memory, 2000)
        calls = stored(place)
        seconds, _ = run(project)
        tell("again with nothing changed, s", seconds, 15)
        tell("model calls of that", stored(place) - calls, 0)
        known = {row.chunk_id for name in EDITED for row in rows(place, name)}
        for name, document in EDITED.items():
            with (project / "data" / name / document).open("a", encoding="utf-8") as file:
                file.write("\n\nThe lamp of the old museum was repaired by Ada Quill in 1912.\n")
        calls = stored(place)
        run(project, "--select", "qa_pairs")
        new = {row.chunk_id for name in EDITED for row in rows(place, name)} - known
        print(
            f"after an edit of one document in {len(EDITED)} domains: "
            f"{len(new)} new chunks, {stored(place) - calls} model calls"
        )


def run(project: Path, *arguments: str) -> tuple[float, float]:
    """Seconds and the peak of proportional memory (MB) over the command's processes."""
    variables = os.environ | {"RAFT_PROJECT": str(project), "RAFT_PROVIDER": "embedded"}
    command = [sys.executable, "-m", "raft_assets.cli.main", "run", "--all", *arguments]
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, env=variables, cwd=project, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(LOOK_EVERY_S)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - started, peak


def memory_of(pid: int) -> float:
    """MB of a process and its children, shared pages counted once."""
    total = 0.0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += process.memory_full_info().pss / 1e6
    except psutil.NoSuchProcess:
        pass  # it ended while we looked
    return total


def rows(place: Project, domain: str) -> list[Chunk]:
    """The domain's chunks."""
    return list(Lake(root=place.lake).rows(Chunk, domain))


def stored(place: Project) -> int:
    """Calls in the store."""
    with SqliteCallStore(place.calls) as store:
        return store.stats().calls


def tell(what: str, value: float, target: float) -> None:
    """A line with the figure, what it should be at most, and their ratio."""
    ratio = f"{value / target:.2f} of it" if target else "none allowed"
    print(f"{what}: {value:.0f}; at most {target:.0f} ({ratio})")


if __name__ == "__main__":
    main()
