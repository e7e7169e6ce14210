"""Machines that share what they pay for: processes with folders of their own, and a database in common."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from raft_assets.settings.prices import PRICES_FILE
from raft_assets_tests.llm.service import Reply, Seen, Service, error
from raft_assets_tests.postgresql import PASSWORD, PostgresServer

PER_ANSWER, PER_SECOND = 0.003, 10  # US dollars of 3 tokens; requests that the service takes
TENTH = 1.1

Share = tuple[str, int, int]  # name of a host, first question, number of questions


@dataclass
class Hosts:
    """Starts hosts whose teacher is the service; `shared` are the variables that all of them have."""

    folder: Path
    shared: dict[str, str]

    @contextlib.contextmanager
    def host(self, share: Share, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start a host that asks so many questions once a line is written to it."""
        name, first, count = share
        home = self.folder / name
        home.mkdir(exist_ok=True)
        price = f"- {{model: model-1, input: 0, output: {PER_ANSWER / 3 * 1e6}, source: a test, date: 2026-11-01}}"
        (home / PRICES_FILE).write_text(price, "utf-8")
        command = [sys.executable, "-m", "raft_assets_tests.llm.host", str(home), str(first), str(count)]
        with subprocess.Popen(
            command,
            env=os.environ | self.shared | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ask(self, *shares: Share, **variables: str) -> list[list[str]]:
        """Let hosts ask at the same moment, and return what each printed."""
        with contextlib.ExitStack() as stack:
            hosts = [stack.enter_context(self.host(share, **variables)) for share in shares]
            wait_for(*hosts)
            let_go(*hosts)
            return [host.stdout.read().split("\n")[:-1] for host in hosts if host.stdout]


def wait_for(*hosts: subprocess.Popen[str]) -> None:
    """Wait until the hosts are about to ask."""
    for host in hosts:
        assert host.stdout
        assert host.stdout.readline() == "ready\n"


def let_go(*hosts: subprocess.Popen[str]) -> None:
    """Let hosts that wait ask."""
    for host in hosts:
        assert host.stdin
        host.stdin.write("\n")
        host.stdin.flush()


@pytest.fixture
def hosts(service: Service, postgresql: PostgresServer, tmp_path: Path) -> Hosts:
    teacher = {"TEACHER_OPENAI_BASE_URL": service.url, "TEACHER_OPENAI_DEPLOYMENT": "model-1"}
    database = {"RAFT_COORDINATION": postgresql.new_database(), "RAFT_COORDINATION_PASSWORD": PASSWORD}
    return Hosts(tmp_path, teacher | database | {"RAFT_CALLS": str(tmp_path / "calls")})


@pytest.mark.parametrize("names", [("one", "one"), ("one", "other")], ids=["of one machine", "of two machines"])
def test_equal_calls_at_the_same_moment_are_paid_once(service: Service, hosts: Hosts, names: tuple[str, str]) -> None:
    if len(set(names)) == 1:
        hosts.shared |= {"RAFT_COORDINATION": "", "RAFT_CALLS": ""}
    service.hold_from(0)
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(hosts.host((name, 0, 40), TEACHER_MAX_CONCURRENT_CALLS="4")) for name in names]
        wait_for(*asking)
        let_go(*asking)
        service.wait_until(lambda service: service.held == 4)
        service.release()
        printed = [process.communicate()[0].split("\n")[:-1] for process in asking]
    assert [lines[:-1] for lines in printed] == [["ok"] * 40] * 2
    assert sorted(service.questions) == sorted(f"question {number}" for number in range(40))
    paid, found, _ = (sum(numbers) for numbers in zip(*(map(int, lines[-1].split()) for lines in printed), strict=True))
    assert (paid, found) == (40, 40)


def test_two_hosts_do_not_pass_the_budget_of_a_month(service: Service, hosts: Hosts) -> None:
    printed = hosts.ask(("one", 0, 100), ("other", 100, 100), RAFT_BUDGET_MONTH="0.20")
    assert [lines[-2] for lines in printed] == ["BudgetReachedError"] * 2
    assert 0.15 <= len(service.seen) * PER_ANSWER <= 0.20  # a call may cost 5 cents


def test_two_hosts_that_share_a_rate_are_turned_away_no_more_often_than_one(service: Service, hosts: Hosts) -> None:
    turned_away = []
    for shares in ([("one", 0, 40)], [("first", 100, 20), ("second", 200, 20)]):
        service.rule = at_a_rate()
        printed = hosts.ask(*shares, TEACHER_REQUESTS_PER_MINUTE=str(PER_SECOND * 60))
        assert all(lines[:-1] == ["ok"] * share[2] for lines, share in zip(printed, shares, strict=True))
        turned_away.append(sum(int(lines[-1].split()[2]) for lines in printed))
    of_one, of_two = turned_away
    assert of_two <= of_one * TENTH


def at_a_rate() -> Callable[[Seen], Reply | None]:
    """Take as many requests a second as the service does, one second's at once, and turn the others away."""
    level, at = float(PER_SECOND), time.monotonic()

    def rule(_: Seen) -> Reply | None:
        nonlocal level, at
        now = time.monotonic()
        level, at = min(PER_SECOND, level + (now - at) * PER_SECOND), now
        if level < 1:
            return error(429, retry_after="1")
        level -= 1
        return None

    return rule


def test_what_a_killed_host_with_a_lost_disk_paid_is_not_paid_again(service: Service, hosts: Hosts) -> None:
    service.hold_from(6)
    with hosts.host(("one", 0, 12)) as killed:
        wait_for(killed)
        let_go(killed)
        assert killed.stdout
        assert [killed.stdout.readline() for _ in range(6)] == ["ok\n"] * 6
        service.wait_until(lambda service: service.held == 6)
        killed.kill()
    shutil.rmtree(hosts.folder / "one")
    service.release()
    (printed,) = hosts.ask(("other", 0, 12))
    assert printed == [*["ok"] * 12, "6 6 0"]  # it made the 6 calls that were under way
    assert sorted(service.questions) == sorted(f"question {number}" for number in [*range(12), *range(6, 12)])


def test_without_the_database_stored_answers_are_used_and_a_call_is_not_made(
    service: Service, hosts: Hosts, postgresql: PostgresServer
) -> None:
    hosts.ask(("one", 0, 3))
    for count, expected in ((3, [*["ok"] * 3, "0 3 0"]), (4, ["CoordinationError", "0 0 0"])):
        with hosts.host(("one", 0, count)) as host:
            wait_for(host)
            postgresql.stop()
            try:
                let_go(host)
                assert host.stdout
                assert host.stdout.read().split("\n")[:-1] == expected
            finally:
                postgresql.start()
    assert len(service.seen) == 3
