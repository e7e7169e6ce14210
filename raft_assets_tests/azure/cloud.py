"""An Azure subscription on this machine: identity, management plane, an Azure OpenAI resource; by environment only."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp.connector

from raft_assets.embedded.app import create_app
from raft_assets.student.azure_ml import endpoint_name
from raft_assets_tests.azure.blob import ACCOUNT as STORAGE
from raft_assets_tests.azure.blob import BLOB_HOST, LAKE, azurite, container_of, make_container
from raft_assets_tests.azure.data_plane import DataPlane
from raft_assets_tests.azure.identity import Identity, serving
from raft_assets_tests.azure.internet import Authority, Internet, internet
from raft_assets_tests.azure.management import ACCOUNT, SUBSCRIPTION, Management
from raft_assets_tests.azure.ml import ML_CONTAINER, REGION, MachineLearning, ServerlessPlane
from raft_assets_tests.azure.resource_manager import ResourceManager
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.embedded.provider import settings_of

RESOURCE = f"https://{ACCOUNT}.openai.azure.com"
FOUNDRY_HOST = f"{ACCOUNT}.services.ai.azure.com"
PROJECT = f"https://{FOUNDRY_HOST}/api/projects/raft"  # in the same resource
KEY = "canary-azure-openai-key"
BASE = "gpt-4.1-mini-2025-04-14"


@dataclass
class Cloud:
    """What a test changes and looks at. `storage` is where the storage account keeps its blobs."""

    identity: Identity
    management: Management
    resource: DataPlane
    internet: Internet
    storage: Path
    studio: MachineLearning
    serverless: ServerlessPlane
    groups: ResourceManager
    lake: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a project that lives there: the teacher by key and dated API, the rest keyless."""
        roles = {"TEACHER": "teacher", "EMBEDDING": "embedding", "STUDENT": BASE}
        endpoints = {f"{role}_AZURE_OPENAI_ENDPOINT": RESOURCE for role in roles}
        models = {f"{role}_AZURE_OPENAI_DEPLOYMENT": name for role, name in roles.items()}
        return {
            **self.internet.variables,
            **self.identity.variables,
            **endpoints,
            **models,
            "TEACHER_AZURE_OPENAI_API_KEY": KEY,
            "TEACHER_OPENAI_API_VERSION": "2024-10-21",
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            **({"RAFT_LAKE": self.lake} if self.lake else {}),
        }


@contextlib.contextmanager
def cloud(*, with_storage: bool = False, within_process: bool = False) -> Iterator[Cloud]:
    """The subscription until the block ends, with a storage account where asked; another host fails the test.

    `within_process`: the tests' own process asks it, in which threads of libraries live on that other tests began: what
    they ask fails nobody.
    """
    folder = Path(tempfile.mkdtemp(prefix="raft-cloud-"))
    try:
        with serving() as identity:
            provider = create_app(settings_of(folder / "provider"))
            management = Management(identity.holds)
            resource = DataPlane(provider, management, identity.holds, {KEY})
            studio = MachineLearning(provider, lambda: container_of(port, ML_CONTAINER), STORAGE)
            groups = ResourceManager(management)
            management.app.router.routes += [*studio.routes, *groups.routes]
            serverless = ServerlessPlane(provider, studio)
            served = f"{endpoint_name(SMALL)}.{REGION}.models.ai.azure.com"
            apps = {
                "management.azure.com": management.app,
                f"{ACCOUNT}.openai.azure.com": resource,
                FOUNDRY_HOST: resource,
                served: serverless,
            }
            port = 0
            authority = Authority(folder)
            with contextlib.ExitStack() as stack:
                servers = {}
                if with_storage:
                    port = stack.enter_context(azurite(folder / "azurite", authority.pem(BLOB_HOST)))
                    servers[BLOB_HOST] = port
                    with container_of(port, ML_CONTAINER) as container:
                        container.create_container()
                net = stack.enter_context(internet(apps, authority, servers=servers))
                found = Cloud(identity, management, resource, net, folder / "azurite", studio, serverless, groups)
                if with_storage:
                    # aiohttp reads SSL_CERT_FILE when it is imported, which in this process may have happened before
                    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(authority.file)
                    make_container(found.variables)
                    found.lake = LAKE
                yield found
                assert within_process or not net.unknown, f"asked for other hosts: {net.unknown}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
