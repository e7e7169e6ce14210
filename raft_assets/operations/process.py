"""How runs and commands find one another: the tags of a run, the name of the partition, the claim on a domain.

What belongs here: plain names and questions about processes. Dagster's runs are in `defs/runs`.
"""

import platform
from collections.abc import Mapping

import psutil

from raft_assets.core.ports import Claim, Coordination, Records
from raft_assets.settings.project import Project
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.lake import Lake
from raft_assets.storage.lake_records import LakeRecords, take_over
from raft_assets.storage.postgresql import PostgresCoordination
from raft_assets.storage.records import FileRecords

DOMAIN_PARTITIONS = "domain"  # name of the dynamic partitions definition
PARTITION_TAG = "dagster/partition"
COMMAND_TAG = "raft/command"
BACKFILL_TAG = "dagster/backfill"  # of every run of a backfill that the UI started
PROCESS_TAG = "raft/process"
BUDGET_TAG = "raft/budget"  # of a run: US dollars that its command or backfill may spend; RAFT_BUDGET_RUN holds as well
RESUMES_TAG = "raft/resumes"  # of a run that goes on with another one: the first of them, whose budget it shares
# likewise: the backfill of that first one. Not by Dagster's tag, with which a lost run isn't retried once the backfill
# has ended, as it has where its runs wait
RESUMED_BACKFILL_TAG = "raft/backfill"
COLLECTS_TAG = "raft/collects"  # of a run: the fine-tuning job whose result alone it asks for
WAITING_TAG = "raft/waiting"  # of a run: the assets, separated by commas, whose results are still to come
# a run computes on one core: several run at once, and threads that wait for one another take 3 times the processor time
WORKER_VARIABLES: Mapping[str, str] = {"OMP_NUM_THREADS": "1"}
# of this machine, when the lake becomes an address: how the names of all records begin
MOVED_RECORDS = (
    "calls/batches/",
    "calls/capabilities.",
    "calls/relearned.",
    "jobs/",
    "mlflow/",
    "purges/",
    "students/",
)
CLOCK_TOLERANCE_S = 2.0  # a process's start time is derived from the machine's, which is adjusted


def waiting_assets(tags: Mapping[str, str]) -> set[str]:
    """Return the names of the assets whose results are still to come, from the tags of a run."""
    return {name for name in tags.get(WAITING_TAG, "").split(",") if name}


def command_of(run: str, tags: Mapping[str, str]) -> str:
    """Return what counts as one run for a budget: the command, the backfill, or the run with those that resume it."""
    return tags.get(COMMAND_TAG) or backfill_of(tags) or tags.get(RESUMES_TAG) or run


def backfill_of(tags: Mapping[str, str]) -> str | None:
    """Return the backfill that a run belongs to, or that it goes on with."""
    return tags.get(BACKFILL_TAG) or tags.get(RESUMED_BACKFILL_TAG)


def current_process() -> str:
    """Return process id, start time and machine: an id alone may belong to another process by now."""
    return _identify(psutil.Process())


def process_of(pid: int) -> str | None:
    """Return the same of another process of this machine; None where it has ended."""
    try:
        return _identify(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return None


def _identify(process: psutil.Process) -> str:
    return f"{process.pid}@{process.create_time():.0f}@{platform.node()}"


def local_pid(process: str) -> int | None:
    """Return the id of the process of a run's tag, where it runs on this machine."""
    pid, _, machine = process.split("@", 2)
    return int(pid) if machine == platform.node() and is_process_alive(process) else None


def is_process_alive(process: str) -> bool:
    """Return whether the process of a run's tag still runs; processes of other machines count as alive."""
    pid, started, machine = process.split("@", 2)
    if machine != platform.node():
        return True
    try:
        running = psutil.Process(int(pid))
        same = abs(running.create_time() - float(started)) <= CLOCK_TOLERANCE_S
        return same and running.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_still_alive(pid: int, since: float) -> bool:
    """Return whether the process of this machine that had that id at a moment (s since 1970) still runs."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since + CLOCK_TOLERANCE_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def records_of(project: Project) -> Records:
    """Return the project's shared records: batches, jobs, students, and parameters that models refused.

    They are files of this machine, or lie in a lake that is an address, for the machines that share it. What this
    machine kept before is moved there.
    """
    here, lake = FileRecords(project.home), Lake.of(project)
    if lake.is_local:
        return here
    records = LakeRecords(lake)
    take_over(here, records, MOVED_RECORDS)
    return records


def coordination_of(project: Project) -> Coordination:
    """Return what the project's running processes share: budgets, limits, claims.

    It is in files of this machine, or in the database of `RAFT_COORDINATION` for those of many.
    """
    return PostgresCoordination(project.coordination) if project.coordination else machine_coordination(project)


def check_coordination(project: Project) -> None:
    """Raise RaftError where what running processes share can't be reached."""
    coordination_of(project).is_claimed("check")


def machine_coordination(project: Project) -> Coordination:
    """Return what processes of this machine share that is about this machine alone, such as its one UI."""
    return FileCoordination(project.home)


def claim_domain(project: Project, domain: str) -> Claim | None:
    """Claim a domain for this process until it ends; None where another process works on it."""
    return coordination_of(project).claim(f"locks/{domain}")


def is_domain_busy(project: Project, domain: str) -> bool:
    """Return whether a command works on the domain right now."""
    return coordination_of(project).is_claimed(f"locks/{domain}")
