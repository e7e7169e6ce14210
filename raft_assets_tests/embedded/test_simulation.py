"""The embedded provider as a hosted one behaves: over real sockets, with the real client and with the engine."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.core.prompt_contract import render_messages
from raft_assets.embedded.app import create_app
from raft_assets.embedded.simulation import FAULTS, SimulatedService, Simulation
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import HOSTED_HEADER, Limiter
from raft_assets.llm.requests import Answer, Request
from raft_assets.llm.serve_app import serve_in_background
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords
from raft_assets_tests.embedded.provider import settings_of

TEACHER = "embedded-teacher"
ASKED = render_messages("Who built the mill at Alba?", ["The mill at Alba was built by Ann Bell in 1893."])


@contextlib.contextmanager
def simulated(folder: Path, simulation: Simulation) -> Iterator[tuple[str, SimulatedService]]:
    """The base URL of the service, and the layer that counts."""
    app = SimulatedService(create_app(settings_of(folder)), simulation)
    with serve_in_background(app) as address:
        yield f"{address}/v1", app


async def asked(url: str, count: int) -> list[object]:
    """What came of so many calls at once: completions and errors."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        calls = [client.chat.completions.create(model=TEACHER, messages=ASKED) for _ in range(count)]  # type: ignore[arg-type]
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    ("limit", "headers"),
    [
        (Simulation(0.1, 0, concurrency=2), {"retry-after-ms"}),
        (Simulation(0, 0, requests_per_minute=120), {"retry-after", "x-ratelimit-limit-requests"}),
        (Simulation(0, 0, tokens_per_minute=6000), {"retry-after", "x-ratelimit-remaining-tokens"}),
    ],
    ids=["at once", "requests", "tokens"],
)
def test_what_passes_a_limit_is_rejected_as_hosted_services_do(
    limit: Simulation, headers: set[str], tmp_path: Path
) -> None:
    with simulated(tmp_path, limit) as (url, _):
        came = asyncio.run(asked(url, 6))
    rejected = [one for one in came if isinstance(one, openai.RateLimitError)]
    assert 1 <= len(rejected) <= 5
    assert len(rejected) + sum(not isinstance(one, BaseException) for one in came) == 6
    for one in rejected:
        assert headers <= one.response.headers.keys()
        assert one.code == "rate_limit_exceeded"


MEETS: dict[str, type[Exception]] = {
    "rate_limit": openai.RateLimitError,
    "server_error": openai.InternalServerError,
    "unavailable": openai.InternalServerError,
    "timeout": openai.APIStatusError,
    "reset": openai.APIConnectionError,
    "content_filter": openai.BadRequestError,
}


def test_every_fault_is_what_the_client_knows_it_for(tmp_path: Path) -> None:
    met: dict[str, object] = {}
    for kind in FAULTS:
        with simulated(tmp_path, Simulation(0, 0, faults={kind: 1.0})) as (url, _):
            (met[kind],) = asyncio.run(asked(url, 1))
    for kind, error in MEETS.items():
        assert isinstance(met[kind], error), (kind, met[kind])
    assert getattr(met["content_filter"], "code", "") == "content_filter"
    assert getattr(met["timeout"], "status_code", 0) == 408
    assert isinstance(met["malformed"], (ValueError, openai.APIError))
    empty, cut_off = met["empty"].choices[0], met["length"].choices[0]  # type: ignore[attr-defined]
    assert (empty.message.content, empty.finish_reason, cut_off.finish_reason) == ("", "stop", "length")


def ask_all(url: str, folder: Path, count: int) -> list[Answer]:
    """The engine's answers to so many questions."""
    endpoint = Endpoint(Role.TEACHER, "openai", TEACHER, url, limits=Limits(max_concurrency=64))
    client = open_client(endpoint, lambda: pytest.fail("not embedded"))
    limiter = Limiter.of(FileCoordination(folder), endpoint, TEACHER)
    takes = Capabilities.of(FileRecords(folder), endpoint, TEACHER)
    requests = (Request("chat", {"messages": ASKED, "max_completion_tokens": 100}, sample=n) for n in range(count))
    try:
        with SqliteCallStore(folder / "calls.sqlite") as store:
            caller = Caller(endpoint, model_version="", client=client, store=store, limiter=limiter, capabilities=takes)
            return list(caller.ask(requests))
    finally:
        limiter.close()
        run_coroutine(client.close())


def test_with_every_fault_at_once_each_answer_is_right_or_has_its_reason(tmp_path: Path) -> None:
    faults = dict.fromkeys(FAULTS, 0.1 / len(FAULTS) * 2)
    with simulated(tmp_path / "service", Simulation(0.02, 0, concurrency=16, faults=faults)) as (url, service):
        answers = ask_all(url, tmp_path, 150)
        (right,) = {answer.text for answer in answers if answer.status == "ok"}
        assert sum(answer.status == "ok" for answer in answers) > 120
        assert all(answer.detail for answer in answers if answer.status != "ok")
        assert {answer.status for answer in answers} <= {"ok", "truncated", "filtered", "empty", "failed"}
        assert "Ann Bell" in right
        assert sum(service.counts[kind] for kind in FAULTS) > 10


def test_equal_seeds_meet_equal_faults(tmp_path: Path) -> None:
    seen = []
    for seed in (1, 1, 2):
        with simulated(tmp_path, Simulation(0, 0, faults={"content_filter": 0.5}, seed=seed)) as (url, _):
            came = [one for _ in range(8) for one in asyncio.run(asked(url, 1))]
        seen.append([isinstance(one, openai.BadRequestError) for one in came])
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("faults", [{"bad_luck": 0.1}, {"reset": 0.6, "empty": 0.6}, {"reset": -0.1}])
def test_faults_that_are_none_are_refused(faults: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="fault"):
        Simulation(faults=faults)


def test_a_service_that_queues_rejects_nothing(tmp_path: Path) -> None:
    with simulated(tmp_path, Simulation(0.05, 0, concurrency=2, queue=True)) as (url, service):
        came = asyncio.run(asked(url, 12))
    assert not [one for one in came if isinstance(one, BaseException)]
    assert service.counts["rejected"] == 0


def test_a_call_whose_client_left_takes_no_slot(tmp_path: Path) -> None:
    with simulated(tmp_path, Simulation(3600, 0, queue=True)) as (url, service):

        async def leave() -> None:
            async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=0.5) as client:
                calls = [client.chat.completions.create(model=TEACHER, messages=ASKED) for _ in range(3)]  # type: ignore[arg-type]
                came = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(one, openai.APITimeoutError) for one in came)
            while service.counts["dropped"] < 3 or service.in_flight:  # noqa: ASYNC110 - another thread's loop
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(leave(), 60))
        assert service.counts["dropped"] == 3


def test_faults_do_not_wait_in_the_queue(tmp_path: Path) -> None:
    with simulated(tmp_path, Simulation(0, 0, queue=True, faults={"rate_limit": 1.0}, remote=True)) as (url, _):
        (error,) = asyncio.run(asked(url, 1))
    assert isinstance(error, openai.RateLimitError)
    assert error.response.headers[HOSTED_HEADER] == "1"


def test_the_bound_is_what_latency_and_limits_allow() -> None:
    assert Simulation(0.3, 0.01, concurrency=1, queue=True).bound_s(160, 170) == pytest.approx(320)
    assert Simulation(0.3, 0.01, queue=True).bound_s(160, 170) == pytest.approx(320)
    assert Simulation(0.3, 0.01, concurrency=128, requests_per_minute=600).bound_s(900, 170) == pytest.approx(90)
    assert Simulation(0.3, 0.01).bound_s(900, 170) == pytest.approx(2)
