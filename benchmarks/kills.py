"""A run that pays for its teacher, killed at random moments and started again: what was asked twice, and what came out.

    python benchmarks/kills.py [--kills N] [--seed N]

The teacher is the embedded one behind the simulated service (300 ms a call and 10 ms a token of output), asked over a
socket with a few calls at once. The data set of `bats` must be that of an undisturbed run byte for byte, and no more
calls repeated than were under way: sent, and their answer not stored yet.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
from project import REPOSITORY, copied

from raft_assets.embedded.provider import EmbeddedProvider
from raft_assets.embedded.simulation import SimulatedService, Simulation
from raft_assets.llm.serve_app import serve_in_background
from raft_assets.settings.project import Project

DOMAIN, ASSET = "bats", "qa_dataset"
AT_ONCE = 8  # calls of the teacher: few, so that the run is long enough to be killed so often
KILLED_WITHIN_S = (12.0, 50.0)  # of the start; a command needs 8 to 40 s until it asks, the first ones most


def main() -> None:
    """Measures and prints; ends with 1 where the result is another one or too much was asked twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve_in_background(service := _service(Path(folder))) as address:
        url = f"{address}/v1"
        undisturbed, asked = _finished(Path(folder) / "undisturbed", url), service.counts["taken"]
        project, kills, asking = Path(folder) / "killed", 0, 0
        draw = Random(chosen.seed)
        while kills < chosen.kills and (at_once := _killed(project, url, service, draw.uniform(*KILLED_WITHIN_S))) >= 0:
            kills, asking = kills + 1, asking + (at_once > 0)
            time.sleep(2)  # what the service was still computing for the dead ends
        killed = _finished(project, url)
        twice = service.counts["taken"] - 2 * asked
    same = killed == undisturbed
    print(f"{asked} calls undisturbed; {kills} kills, of which {asking} while the teacher was asked")
    print(f"asked twice: {twice} (at most {asking * AT_ONCE}); the data set is {'the same' if same else 'ANOTHER'}")
    sys.exit(0 if same and twice <= asking * AT_ONCE else 1)


def _service(folder: Path) -> SimulatedService:
    place = Project.load(REPOSITORY)
    provider = EmbeddedProvider(folder / "embedded", place.encoder_folder, place.huggingface_home)
    return SimulatedService(provider.app, Simulation())


def _start(project: Path, url: str) -> "subprocess.Popen[bytes]":
    if not project.exists():
        copied(project)
    variables = {
        "RAFT_PROJECT": str(project),
        "TEACHER_OPENAI_BASE_URL": url,
        "TEACHER_OPENAI_DEPLOYMENT": "embedded-teacher",
        "TEACHER_MAX_CONCURRENT_CALLS": str(AT_ONCE),
    }
    command = [sys.executable, "-m", "raft_assets.cli.main", "run", DOMAIN, "--select", ASSET]
    return subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)


def _finished(project: Path, url: str) -> bytes:
    """The data set's file after a run to the end."""
    if code := _start(project, url).wait():
        sys.exit(f"raft run ended with {code}")
    place = Project.load(project, {"RAFT_PROJECT": str(project)})
    return (Path(place.lake) / ASSET / f"{DOMAIN}.parquet").read_bytes()


def _killed(project: Path, url: str, service: SimulatedService, after_s: float) -> int:
    """Calls that were under way when the run was killed; -1 where it had ended before."""
    process = _start(project, url)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
        return -1
    before = service.in_flight
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()
    process.wait()
    return max(before, service.in_flight)  # the service may have noticed by now that its client is gone


if __name__ == "__main__":
    main()
