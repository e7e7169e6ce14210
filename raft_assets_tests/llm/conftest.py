"""A running model service, stores in fresh folders, and Callers whose clock is turned by hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from raft_assets.llm.attempts import RetryPolicy
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.requests import Request
from raft_assets.settings.endpoints import Endpoint, Limits, Role
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords
from raft_assets_tests.llm.service import Service

CANARY = "sk-canary-3f9a77c1"  # a key that must be seen by the service and nowhere else

MakeCaller = Callable[..., Caller]


@dataclass
class Clock:
    """Time that passes only while somebody sleeps; `slept` are the pauses in seconds."""

    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def patience(self, **settings: Any) -> RetryPolicy:
        """Six tries by this clock, without chance."""
        return RetryPolicy(sleep=self.sleep, clock=lambda: sum(self.slept), random=lambda: 1.0, **settings)


@pytest.fixture(scope="session")
def running_service() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def service(running_service: Service) -> Iterator[Service]:
    running_service.forget()
    yield running_service
    running_service.release()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCallStore]:
    with SqliteCallStore(tmp_path / "calls.sqlite") as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoint(service: Service) -> Endpoint:
    return Endpoint(Role.TEACHER, "openai", "model-1", service.url, SecretStr(CANARY))


@pytest.fixture
def caller(endpoint: Endpoint, store: SqliteCallStore, clock: Clock, tmp_path: Path) -> Iterator[MakeCaller]:
    """Makes Callers of the service; `caller()` is the usual one, with at most 8 calls at once."""
    client = open_client(endpoint, _no_embedded_app)

    def make(ceiling: int = 8, timeout_s: float | None = None, **settings: Any) -> Caller:
        patience = clock.patience()
        chosen: dict[str, Any] = {
            "model_version": "",
            "client": client,
            "store": store,
            "patience": patience,
        } | settings
        asked = replace(chosen.pop("endpoint", endpoint), limits=Limits(ceiling, timeout_s=timeout_s))
        return Caller(asked, **shared_in(tmp_path, asked, clock=patience.clock) | chosen)

    yield make
    run_coroutine(client.close())


def shared_in(folder: Path, endpoint: Endpoint, **limiter: Any) -> dict[str, Any]:
    """What the callers of an endpoint's model share, in files of the folder."""
    return {
        "limiter": Limiter(FileCoordination(folder), "limits", endpoint.limits, **limiter),
        "capabilities": Capabilities.of(FileRecords(folder), endpoint, endpoint.model),
    }


def ask_about(number: int, **body: Any) -> Request:
    """A chat request."""
    return Request(
        "chat", {"messages": [{"role": "user", "content": f"question {number}"}], "max_completion_tokens": 50, **body}
    )


def _no_embedded_app() -> Any:
    raise AssertionError("the embedded provider is not what is configured here")
