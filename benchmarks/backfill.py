"""A backfill of many small domains on one machine, as the UI launches it: failures, peak of memory, and what it spent.

    python benchmarks/backfill.py [DOMAINS] [--select ASSET] [--stop SECONDS]      30 domains, up to eval_report

A project of its own, offline, with `raft ui`; `raft run` submits the backfill to it. `--stop`: everything is stopped by
SIGSTOP for so long once a third of the domains are done, as a laptop that sleeps. The domains are cuts of the shipped
documents in which every number is another one, so that no two domains make the same call. The memory is that of all
processes together (proportional set size, read twice a second).
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import psutil
from project import REPOSITORY, copied

from raft_assets.cli.project import open_instance
from raft_assets.defs.observation import observe
from raft_assets.operations.process import BACKFILL_TAG, command_of
from raft_assets.settings.project import Project

LOOK_S = 0.5
START_S = 120
PARAGRAPHS = 16  # of each document


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domains", type=int, nargs="?", default=30)
    parser.add_argument("--select", metavar="ASSET", default="eval_report")
    parser.add_argument("--stop", type=float, default=0.0, metavar="SECONDS")
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        measure(Path(folder), chosen.domains, chosen.select, chosen.stop)


def measure(folder: Path, count: int, asset: str, stop_s: float) -> None:
    """Runs the backfill and prints what became of it."""
    first = folder / "documents" / "domain 00"
    write_documents(first, 0)
    copied(folder, first)
    for number in range(1, count):
        write_documents(folder / "data" / f"domain {number:02}", number)
    variables = {"RAFT_PROJECT": str(folder), "RAFT_PROVIDER": "embedded"}
    project = Project.load(folder, os.environ | variables)
    with open_instance(project) as instance:
        observe(instance, project)
    address = f"http://127.0.0.1:{free_port()}"
    raft = [sys.executable, "-m", "raft_assets.cli.main"]
    log = (folder / "ui.log").open("wb")
    ui = subprocess.Popen(
        [*raft, "ui", "--port", address.rpartition(":")[2]], env=os.environ | variables, stdout=log, stderr=log
    )
    try:
        wait_for(address)
        idle = memory_of(ui.pid)
        started = time.monotonic()
        command = [*raft, "run", "--all", "--select", asset]
        run = subprocess.Popen(command, env=os.environ | variables | {"RAFT_HOSTED_URL": address}, text=True)
        peak, processes = follow(ui.pid, run, project, count, stop_s)
        took = time.monotonic() - started
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait()
    with open_instance(project) as instance:
        runs = instance.get_runs()
    ends = Counter(one.status.value for one in runs)
    budgets = {command_of(one.run_id, one.tags) for one in runs}
    backfills = {one.tags.get(BACKFILL_TAG) for one in runs}
    print(f"\n{count} domains: {took:.0f} s, `raft run` ended with {run.returncode}; runs: {dict(ends)}")
    print(f"memory: {idle:,.0f} MB before, at most {peak:,.0f} MB in {processes} processes")
    print(f"{len(backfills)} backfill, {len(budgets)} budget")


def follow(ui: int, run: "subprocess.Popen[str]", project: Project, count: int, stop_s: float) -> tuple[float, int]:
    """Return the peak of memory (MB) with the number of processes at that moment; stop everything once on the way."""
    peak, processes = 0.0, 0
    while run.poll() is None:
        family = [psutil.Process(ui), *psutil.Process(ui).children(recursive=True)]
        if (used := memory_of(ui)) > peak:
            peak, processes = used, len(family)
        if stop_s and done(project) * 3 >= count:
            everything = [*family, psutil.Process(run.pid)]
            for one in everything:
                with suppress(psutil.NoSuchProcess):
                    one.suspend()
            time.sleep(stop_s)
            for one in everything:
                with suppress(psutil.NoSuchProcess):
                    one.resume()
            print(f"stopped {len(everything)} processes for {stop_s:.0f} s")
            stop_s = 0.0
        time.sleep(LOOK_S)
    return peak, processes


def done(project: Project) -> int:
    """How many runs have succeeded."""
    with open_instance(project) as instance:
        return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))


def memory_of(pid: int) -> float:
    """MB of a process and all below it, what they share counted once."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += one.memory_full_info().pss
    return total / 1e6


def write_documents(folder: Path, number: int) -> None:
    """Cut every text of a shipped domain to some paragraphs, and add the domain's number to each number in them."""
    folder.mkdir(parents=True)
    shipped = REPOSITORY / "data" / ("bats", "harbor handbook")[number % 2]
    for file in sorted(file for file in shipped.iterdir() if file.suffix in {".md", ".txt"}):
        paragraphs = file.read_text("utf-8").split("\n\n")
        first = number % max(len(paragraphs) - PARAGRAPHS, 1)
        cut = "\n\n".join(paragraphs[first : first + PARAGRAPHS])
        (folder / file.name).write_text(re.sub(r"\d+", lambda found: str(int(found[0]) + number), cut), "utf-8")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{address}/server_info", timeout=5):
            return
        time.sleep(LOOK_S)
    sys.exit("the UI did not start")


if __name__ == "__main__":
    main()
