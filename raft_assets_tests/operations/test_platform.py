"""A platform that can't be used from here says in a sentence why; a token goes to it and nowhere else.

The service is a server of this machine. What a real webserver answers is tried in `defs/test_ui.py`.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from raft_assets.operations.platform import Platform, PlatformAsset, PlatformError, PlatformState, due_domains
from raft_assets.settings.hosted import HostedPlatform

OTHER_VERSION = {"name": "raft-assets", "version": "0.0.1"}


class Service(ThreadingHTTPServer):
    """Answers every question the same way, and keeps the headers of those who asked."""

    def __init__(self) -> None:
        self.status, self.body, self.location = 200, b"", ""
        self.seen: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """An answer of the service."""

    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def complaint(address: str, token: str = "s3cret") -> str:
    hosted = HostedPlatform(address, SecretStr(token) if token else None)
    with closing(Platform(hosted)) as platform, pytest.raises(PlatformError) as refused:
        platform.check()
    assert "s3cret" not in str(refused.value)
    return str(refused.value)


def located(**location: object) -> bytes:
    entry = {"name": "raft_assets", "locationOrLoadError": location}
    return json.dumps({"data": {"workspaceOrError": {"__typename": "Workspace", "locationEntries": [entry]}}}).encode()


def test_whatever_is_wrong_with_a_platform_is_said_in_a_sentence(service: Service) -> None:
    service.status = 401
    assert "refuses (401): renew RAFT_HOSTED_TOKEN" in complaint(service.address)
    assert "set RAFT_AUTH_CLIENT_ID to sign in with Entra ID" in complaint(service.address, token="")
    service.status, service.location = 302, "https://login.example.com/"
    assert "refuses (302)" in complaint(service.address)  # a page to sign in, where nobody can
    service.status, service.location, service.body = 200, "", b"<html>Welcome</html>"
    assert "is no Dagster webserver: check RAFT_HOSTED_URL" in complaint(service.address)
    service.body = json.dumps({"errors": [{"message": "Cannot query field 'x'\x1b[2J"}]}).encode()
    assert "doesn't understand raft-assets" in (said := complaint(service.address))
    assert "\x1b" not in said
    service.body = json.dumps({"data": None, "errors": [{"message": "database is locked", "path": ["runs"]}]}).encode()
    assert "failed: database is locked" in complaint(service.address)
    service.body = located(__typename="RepositoryLocation", dagsterLibraryVersions=[OTHER_VERSION])
    assert "runs raft-assets 0.0.1" in (said := complaint(service.address))
    assert "pip install raft-assets==0.0.1" in said
    service.body = located(__typename="PythonError", message="SettingsError: STUDENT is half configured\nmore")
    assert "can't load its code (raft_assets: SettingsError: STUDENT is half configured)" in complaint(service.address)
    service.body = located(__typename="RepositoryLocation", dagsterLibraryVersions=[])
    assert "No code location of the webserver" in complaint(service.address)
    assert {path for path, _ in service.seen} == {"/graphql"}  # no redirect is followed, token or not
    assert {token for _, token in service.seen} == {"Bearer s3cret", None}
    service.server_close()
    assert "can't be reached" in complaint(service.address)


def test_what_lies_behind_something_due_is_submitted_with_it_domain_by_domain() -> None:
    assets = {
        "chunks": PlatformAsset("chunks", frozenset()),
        "qa_pairs": PlatformAsset("qa_pairs", frozenset({"chunks"})),
        "baseline_answers": PlatformAsset("baseline_answers", frozenset()),
    }
    fresh = dict.fromkeys(assets, PlatformState("FRESH"))
    states = {
        "changed": fresh | {"chunks": PlatformState("STALE")},
        "new": dict.fromkeys(assets, PlatformState("MISSING")),
        "fresh": fresh,
    }
    due = due_domains(assets, list(assets), states, force=False)
    assert due == {"chunks": ["changed", "new"], "qa_pairs": ["changed", "new"], "baseline_answers": ["new"]}
    assert due_domains(assets, ["chunks"], states, force=True) == {"chunks": ["changed", "new", "fresh"]}
