"""Collecting the answers of batches into the call store."""

from raft_assets.llm.background import run_coroutine
from raft_assets.llm.batches import read_batch_records
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import records_of
from raft_assets.settings.endpoints import Role
from raft_assets.storage.call_store import open_call_store


def collect_batches(models: ModelClients) -> None:
    """Store the answers of open batches, of every model that is still configured.

    Raises EndpointError.
    """
    open_records = [record for record in read_batch_records(records_of(models.project)) if record.is_open]
    for role, model in dict.fromkeys((record.role, record.model) for record in open_records):
        if role in models.endpoints:
            collect_batches_of(models, role, model)


def collect_batches_of(models: ModelClients, role: Role, model: str) -> None:
    """Store the answers of open batches of one model. Raises EndpointError."""
    endpoint = models.endpoints[role]
    with open_call_store(models.project) as store:
        client = models.client(role)
        try:
            run_coroutine(models.batch_client(endpoint, model, client=client, store=store).collect())
        finally:
            run_coroutine(client.close())
