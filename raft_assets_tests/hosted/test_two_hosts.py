"""Two hosts with nothing in common but PostgreSQL and Blob storage: what one made the other uses, and ends."""

import json
from collections.abc import Iterator

import pytest

from raft_assets.operations.platform import ENDED_BACKFILLS, PlatformRun
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.harness import SHIPPED
from raft_assets_tests.hosted.cluster import DEADLINE_S, HOSTS, Cluster, cluster
from raft_assets_tests.hosted.hosts import HOST_TAG
from raft_assets_tests.postgresql import PostgresServer

DOMAINS = ("flight", "people", "echoes", "fruit")  # of one document each, the first ones of a shipped domain
SETTINGS = b"""
questions: {questions_per_chunk: 3}
dataset: {eval_share: 0.5, min_eval_rows: 5, min_valid_rows: 5}
evaluation: {arms: [main], max_rows: 12}
"""


def document(number: int) -> dict[str, bytes]:
    """A document of a shipped domain, and settings that ask little about it."""
    files = sorted(file for file in (SHIPPED / "bats").iterdir() if file.suffix != ".jsonl")
    return {files[number].name: files[number].read_bytes(), "domain.yaml": SETTINGS}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresServer) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), postgresql) as found:
        yield found


def ended(hosts: Cluster, backfill: str) -> list[PlatformRun]:
    """The runs of a backfill, once it has ended."""
    until(lambda: hosts.platform.backfill_status(backfill)[0] in ENDED_BACKFILLS, DEADLINE_S)
    return hosts.platform.runs_of_backfill(backfill)


def not_fresh(hosts: Cluster, *domains: str) -> dict[str, dict[str, str]]:
    """By domain, the assets that the platform's pages don't show as fresh."""
    platform = hosts.platform
    states = platform.states(list(platform.assets()), domains)
    return {
        domain: {name: state.status for name, state in of_domain.items() if state.status != "FRESH"}
        for domain, of_domain in states.items()
    }


def test_what_one_host_made_the_other_one_uses_and_a_third_one_knows(hosts: Cluster) -> None:
    for number, domain in enumerate(DOMAINS):
        hosts.upload(domain, document(number))
    hosts.wait_until_known(*DOMAINS)
    done = hosts.run("laptop", "raft", "run", "--all", RAFT_HOSTED_URL=hosts.address)
    assert done.returncode == 0, done.stdout + done.stderr
    before = {domain: hosts.platform.runs_of_domain(domain)[0].tags[HOST_TAG] for domain in DOMAINS}
    assert not_fresh(hosts, *DOMAINS) == {domain: {} for domain in DOMAINS}
    assert set(before.values()) == set(HOSTS)

    asked = hosts.run("third", "raft", "sql", "SELECT domain FROM current_verdicts ORDER BY domain", "--json")
    assert [json.loads(line)["domain"] for line in asked.stdout.splitlines()] == sorted(DOMAINS), asked.stderr
    index = hosts.lake.index_path.read_text("utf-8")
    assert all(f"eval_report/{domain}.html" in index for domain in DOMAINS)

    count = len(hosts.service.posted())
    wanted = {key: list(DOMAINS) for key in ("student_answers", "eval_report")}
    again = hosts.platform.launch(wanted, tags={}, title="on the other host")
    runs = ended(hosts, again)
    assert {run.domain: run.status for run in runs} == dict.fromkeys(DOMAINS, "SUCCESS")
    assert all(run.tags[HOST_TAG] != before[run.domain] for run in runs)
    assert not hosts.service.calls(count)
