"""Two hosts with nothing in common but PostgreSQL and Blob storage: what one made the other uses, and ends."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.operations.platform import ENDED_BACKFILLS, PlatformRun
from raft_assets.storage.lake import TABLES, Lake
from raft_assets_tests.embedded.provider import until
from raft_assets_tests.harness import SHIPPED, ProjectHarness
from raft_assets_tests.hosted.cluster import DEADLINE_S, HOSTS, Cluster, cluster
from raft_assets_tests.hosted.hosts import HOST_TAG
from raft_assets_tests.hosted.watched_provider import ASKING, Posted
from raft_assets_tests.postgresql import PostgresServer

DOMAINS = ("flight", "people", "echoes", "fruit")  # of one document each, the first ones of a shipped domain
SETTINGS = b"""
questions: {questions_per_chunk: 3}
dataset: {eval_share: 0.5, min_eval_rows: 5, min_valid_rows: 5}
evaluation: {arms: [main], max_rows: 12}
"""
BATCHES = {"TEACHER_BATCH": "1"}


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


def not_fresh(hosts: Cluster, *domains: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """By domain, the assets that the platform's pages don't show as fresh, with the reasons."""
    platform = hosts.platform
    states = platform.states(list(platform.assets()), domains)
    return {
        domain: {name: (state.status, *state.causes) for name, state in of_domain.items() if state.status != "FRESH"}
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


def lose_host(hosts: Cluster, domain: str) -> list[Posted]:
    """Replace the host that works on a domain by an empty one; return what the service had held back."""
    (running,) = [run for run in hosts.platform.open_runs() if run.domain == domain]
    hosts.lose(running.tags[HOST_TAG])
    hosts.start_host(running.tags[HOST_TAG], **BATCHES)
    return hosts.service.release()


def test_a_lost_host_costs_nothing_but_the_calls_under_way(hosts: Cluster, tmp_path: Path) -> None:
    domain, service = "other", hosts.service
    files = document(len(DOMAINS)) | document(len(DOMAINS) + 1)
    hosts.upload(domain, files)
    for name in HOSTS:
        hosts.lose(name)
        hosts.start_host(name, **BATCHES)
    hosts.wait_until_known(domain)
    before = len(service.posted())

    service.hold("/v1/batches", answered=True)
    every = {asset: [domain] for asset in hosts.platform.assets()}
    hosts.platform.launch(every, tags={}, title="a host is lost three times")
    until(lambda: service.held, DEADLINE_S)  # the service has the batch, and its id is nowhere else
    lose_host(hosts, domain)

    service.hold("/v1/fine_tuning/jobs", answered=True)
    until(lambda: service.held, DEADLINE_S)  # likewise the job
    lose_host(hosts, domain)

    service.hold(*ASKING, passing=3)
    stored = hosts.stored_calls()
    until(lambda: service.held and hosts.stored_calls() == stored + 3, DEADLINE_S)
    under_way = lose_host(hosts, domain)
    until(lambda: not not_fresh(hosts, domain)[domain], DEADLINE_S)

    ends = Counter(run.status for run in hosts.platform.runs_of_domain(domain))
    assert (ends["FAILURE"], ends.keys()) == (3, {"FAILURE", "SUCCESS"})  # the lost ones, closed
    asked_twice = {call for call, times in service.calls(before).items() if times > 1}
    assert asked_twice == {call for posted in under_way for call in posted.calls}
    assert len(service.posted("/v1/batches", before)) == 2  # the questions, and the answers to them
    assert len(service.posted("/v1/fine_tuning/jobs", before)) == 1

    undisturbed = ProjectHarness(tmp_path)
    undisturbed.own_variables = {name: value for name, value in hosts.shared.items() if "_OPENAI_" in name}
    for name, content in files.items():
        undisturbed.write(f"data/{domain}/{name}", "").write_bytes(content)
    assert undisturbed.materialize(domain)
    assert undisturbed.digests(domain) == digests(hosts.lake, domain)
    assert undisturbed.results.verdicts()[domain]["sentence"] == hosts.results.verdicts()[domain]["sentence"]
    assert len(service.posted("/v1/fine_tuning/jobs", before)) == 1  # of the same training files it is the same job


def digests(lake: Lake, domain: str) -> dict[str, str]:
    return {table: lake.digest(table, domain) for table in TABLES if lake.exists(table, domain)}
