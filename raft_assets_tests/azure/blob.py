"""Blob storage on this machine: Microsoft's own emulator (`azurite`, an npm package)."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from raft_assets_tests.processes import free_port

REPOSITORY = Path(__file__).parents[2]
ACCOUNT, CONTAINER = "raftlake", "lake"
BLOB_HOST = f"{ACCOUNT}.blob.core.windows.net"
LAKE = f"abfs://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net/raft"
KEY = b64encode(b"canary-storage-key-" + secrets.token_bytes(16)).decode()
STARTED_WITHIN_S = 60


def connection_string(port: int) -> str:
    """For a storage account on a port of this machine."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def shared_access_signature() -> str:
    """A token that opens the account for an hour."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return generate_account_sas(
        ACCOUNT,
        KEY,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


@contextlib.contextmanager
def azurite(folder: Path, pem: Path | None = None) -> Iterator[int]:
    """The port of a storage account; with `pem` (key and certificate) it speaks TLS and takes tokens."""
    folder.mkdir(parents=True)
    port = free_port()
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", str(folder)]
    secure = ["--oauth", "basic", "--cert", str(pem), "--key", str(pem)] if pem else []
    process = subprocess.Popen(
        [_command(), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options, *secure],
        env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def storage_account(folder: Path) -> Iterator[str]:
    """The connection string of a storage account of its own, with an empty container."""
    blob = pytest.importorskip("azure.storage.blob", reason="the extra raft-assets[azure]")
    with azurite(folder / "azurite") as port:
        connection = connection_string(port)
        with blob.ContainerClient.from_connection_string(connection, CONTAINER) as container:
            container.create_container()
        yield connection


def make_container(variables: Mapping[str, str]) -> None:
    """Makes the lake's container, as whoever set up the account would."""
    from azure.identity import DefaultAzureCredential
    from azure.storage.blob import ContainerClient

    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with (
            DefaultAzureCredential() as credential,
            ContainerClient(f"https://{BLOB_HOST}", CONTAINER, credential=credential) as container,
        ):
            container.create_container()


def container_of(port: int, name: str) -> Any:
    """A container by the account's key, past TLS and names, as the owner of the emulator."""
    from azure.storage.blob import ContainerClient

    keyed = {"account_name": ACCOUNT, "account_key": KEY}
    return ContainerClient(f"https://127.0.0.1:{port}/{ACCOUNT}", name, credential=keyed, connection_verify=False)


def _command() -> str:
    local = REPOSITORY / "node_modules" / ".bin" / "azurite-blob"
    found = shutil.which("azurite-blob") or (str(local) if local.is_file() else None)
    if found is None:
        if os.environ.get("RAFT_REQUIRE_AZURITE"):
            pytest.fail("no azurite on this machine, and RAFT_REQUIRE_AZURITE is set")
        pytest.skip("no azurite on this machine: npm install azurite")
    return found


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "azurite ended"
        time.sleep(0.05)
    raise AssertionError(f"azurite doesn't listen after {STARTED_WITHIN_S} s")
