"""Downloading a model, from a double of the Hub's endpoints, by the Hub's own library."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from raft_assets.local.base_model import find_base_model
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.local.worker_process import local_python

COMMIT = "c" * 40
FILES = {
    "model.safetensors": b"weights",
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "LICENSE": b"Apache License",
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"import os",
    "onnx/model.onnx": b"another form",
}


class Hub:
    """The Hub's endpoints of one model: https://huggingface.co/docs/hub/api"""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        routes = [
            Route("/api/models/Org/Tiny/revision/{revision}", self._describe),
            Route("/api/models/Org/Tiny/tree/{revision}", self._list),
            Route("/Org/Tiny/resolve/{revision}/{file:path}", self._resolve, methods=["GET", "HEAD"]),
        ]
        self._server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _describe(self, _: Request) -> Response:
        siblings = [{"rfilename": name, "size": len(sent), "blobId": _sha1(sent)} for name, sent in FILES.items()]
        told = {"id": "Org/Tiny", "sha": COMMIT, "siblings": siblings, "gated": False, "private": False, "tags": []}
        return JSONResponse(told | {"cardData": {"license": "apache-2.0"}})

    def _list(self, _: Request) -> Response:
        return JSONResponse(
            [{"type": "file", "path": name, "size": len(sent), "oid": _sha1(sent)} for name, sent in FILES.items()]
        )

    def _resolve(self, request: Request) -> Response:
        name = request.path_params["file"]
        content = FILES[name]
        headers = {"etag": f'"{_sha1(content)}"', "x-repo-commit": COMMIT}
        if request.method == "HEAD":
            return Response(headers=headers | {"content-length": str(len(content))})
        self.sent.append(name)
        return Response(content, headers=headers)


def _sha1(content: bytes) -> str:
    """As git names a content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.stop()


def test_size_and_licence_are_said_before_a_model_is_downloaded_without_pickles_and_code(
    hub: Hub, tmp_path: Path
) -> None:
    project = ProjectHarness(tmp_path / "project")
    home = tmp_path / "home"
    project.own_variables = {"RAFT_LOCAL_PYTHON": local_python(), "HF_ENDPOINT": hub.url, "HF_HOME": str(home)}
    asked = project.raft("local", "pull", "Org/Tiny")
    assert "Licence: apache-2.0" in asked.stdout
    assert hub.sent == []  # nobody has said yes
    done = project.raft("local", "pull", "Org/Tiny", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    found = find_base_model("Org/Tiny", home)
    assert found.path.name == COMMIT
    assert {file.name for file in found.path.iterdir()} == set(list(FILES)[:4])
    assert {file.name for file in found.licence_files} == {"LICENSE"}
