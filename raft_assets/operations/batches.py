"""Bringing what batches of calls have answered into the store of paid calls."""

from raft_assets.llm.background import run
from raft_assets.llm.batches import BatchDesk, read_records
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.requests import NOBODY
from raft_assets.llm.store import CallStore
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Role


def collect_batches(models: ModelClients) -> None:
    """Brings into the store what open batches have brought, of every model that is still configured.

    Raises EndpointError.
    """
    open_records = [record for record in read_records(models.project.batches) if record.is_open]
    for role, model in dict.fromkeys((record.role, record.model) for record in open_records):
        if role in models.endpoints:
            _collect(models, role, model)


def _collect(models: ModelClients, role: Role, model: str) -> None:
    endpoint = models.endpoints[role]
    with CallStore.of(models.project) as store:
        client = models.client(role)
        try:
            desk = BatchDesk(
                models.project.batches,
                endpoint,
                model,
                client=client,
                store=store,
                capabilities=Capabilities.of(store.path.parent, endpoint, model),
                origin=NOBODY,
            )
            run(desk.collect())
        finally:
            run(client.close())
