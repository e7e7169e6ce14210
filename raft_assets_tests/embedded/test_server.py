"""The provider on a port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.embedded.server import is_loopback, serve
from raft_assets.provider.bodies import limit_stream
from raft_assets.provider.errors import ApiError
from raft_assets_tests.embedded.provider import settings_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_an_address_that_others_can_reach_is_refused_unless_it_is_allowed(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="no authentication"):
        serve(settings_of(tmp_path), host=host, port=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_addresses_of_this_machine_are_known(host: str) -> None:
    assert is_loopback(host)


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SettingsError, match="Choose another port"):
        serve(settings_of(tmp_path), port=other.getsockname()[1])


def test_a_web_page_under_another_name_is_refused(base_url: str) -> None:
    assert httpx2.get(f"{base_url}/models", headers={"host": "rebound.example"}, timeout=60).status_code == 400
    assert httpx2.get(f"{base_url}/models", headers={"host": "localhost:1234"}, timeout=60).status_code == 200


def test_any_authorization_or_none_is_accepted(base_url: str) -> None:
    assert httpx2.get(f"{base_url}/models", timeout=60).status_code == 200
    assert httpx2.get(f"{base_url}/models", headers={"authorization": "Basic eDp5"}, timeout=60).status_code == 200


def test_a_body_without_a_length_is_stopped_at_the_limit() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    async def read() -> None:
        async for _ in limit_stream(blocks(), 1 << 20):
            pass

    with pytest.raises(ApiError) as refused:
        asyncio.run(read())
    assert refused.value.status == 413
