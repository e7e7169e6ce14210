"""Requests as commands and scripts: what they send when they are run, and what is not in them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from raft_assets.llm.snippets import KEY_VARIABLE, to_curl, to_python
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets_tests.llm.service import Service

KEY = "sk-secret-of-nobody"
# what ends strings and commands, and what turns the direction of a line
TEXT = "It's \"50 $HOME\" `id` $(id) \\ END_OF_REQUEST\nEND_OF_REQUEST\n''' \u202e Wirtschaft 经济 \U0001f987\x07"
BODY = {"messages": [{"role": "user", "content": TEXT}], "max_completion_tokens": 64, "temperature": 0, "seed": None}


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.stop()


def endpoint(service: Service) -> Endpoint:
    return Endpoint(Role.STUDENT, "openai", "ft:m", service.url, SecretStr(KEY))


def run(command: list[str], text: str) -> str:
    done = subprocess.run(
        command,
        input=text,
        env={KEY_VARIABLE: KEY, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("form", ["curl", "python"])
def test_run_as_they_are_shown_they_send_the_very_request(service: Service, form: str) -> None:
    if form == "curl" and not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    shown = (to_curl if form == "curl" else to_python)(endpoint(service), "chat", BODY)
    assert KEY not in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    printed = run(["bash"] if form == "curl" else [sys.executable, "-"], shown)
    assert "answer to" in printed
    (seen,) = service.seen
    assert seen.path.endswith("/chat/completions")
    assert {**seen.body} == {"model": "ft:m", **BODY}
    assert seen.headers["authorization"] == f"Bearer {KEY}"


def test_a_completion_goes_to_its_own_address(service: Service) -> None:
    body = {"prompt": TEXT, "max_tokens": 5}
    assert f"curl -sS {service.url}/completions" in to_curl(endpoint(service), "completion", body)
    assert "client.completions.create(**request)" in to_python(endpoint(service), "completion", body)


def test_azure_is_addressed_with_a_key_or_signed_in_and_on_the_dated_api() -> None:
    keyed = Endpoint(Role.STUDENT, "azure", "raft-1", "https://us.openai.azure.com", SecretStr(KEY))
    assert "curl -sS https://us.openai.azure.com/openai/v1/chat/completions" in to_curl(keyed, "chat", BODY)
    keyless = replace(keyed, api_key=None)
    assert "az account get-access-token --scope https://cognitiveservices.azure.com/.default" in to_curl(
        keyless, "chat", BODY
    )
    dated = to_curl(replace(keyed, api_version="2025-01-01"), "chat", BODY)
    assert "/openai/deployments/raft-1/chat/completions?api-version=2025-01-01" in dated
    assert f'-H "api-key: ${KEY_VARIABLE}"' in dated
    assert "openai.AzureOpenAI(azure_endpoint=" in to_python(replace(keyed, api_version="2025-01-01"), "chat", BODY)


def test_the_embedded_provider_is_asked_where_it_is_served() -> None:
    shown = to_curl(Endpoint(Role.STUDENT, "embedded", "ft:reader"), "chat", BODY)
    assert shown.startswith("# first, in another shell: raft serve\n")
    assert KEY_VARIABLE not in shown
