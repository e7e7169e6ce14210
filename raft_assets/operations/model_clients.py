"""Clients and callers of the five roles: where the rooms of the lineage meet the services that answer.

What belongs here: which client, limiter, store and budget a call of a role goes through. What is asked, and how an
answer is read, is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from raft_assets.documents.chunking import token_count
from raft_assets.embedded.provider import SHARED_NAMES, EmbeddedProvider
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.batches import BatchClient
from raft_assets.llm.budget import Budget
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client, open_uploads_client
from raft_assets.llm.limits import Limiter
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import NO_REQUESTER, Origin, Progress
from raft_assets.llm.store import CallStore
from raft_assets.operations.hosting import endpoint_of
from raft_assets.operations.money import open_budget, price_list
from raft_assets.operations.process import coordination_of, records_of
from raft_assets.settings.domain import Tokenizer
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.lake_folder import LakeFolder
from raft_assets.student.deployment import StudentDeployment
from raft_assets.student.licences import ACCEPT_VARIABLE, check_licence

if TYPE_CHECKING:
    import openai


def embedded_provider(project: Project) -> EmbeddedProvider:
    """Return the project's embedded provider; its files, jobs and students are shared by a lake that is an address."""
    folder, lake = project.embedded_folder, Lake.of(project)
    provider = EmbeddedProvider(folder, project.encoder_folder, project.huggingface_home)
    return provider if lake.is_local else replace(provider, shared=LakeFolder(lake, "embedded", folder, SHARED_NAMES))


def resolved_model(endpoint: Endpoint, project: Project) -> str:
    """Return what answers for the role: the service and the model.

    For the embedded provider it includes the version of its rules and weights.
    """
    is_embedded = endpoint.provider == "embedded"
    version = f" {embedded_provider(project).model_version(endpoint.model)}" if is_embedded else ""
    return f"{endpoint.service}: {endpoint.model}{version}"


def check_project_licence(project: Project) -> None:
    """Raise SettingsError for a teacher whose terms forbid the student, unless that teacher was accepted."""
    check_licence(project.endpoints, project.environment.get(ACCEPT_VARIABLE))


def token_counter(project: Project, tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return a function that counts tokens by the tokenizer. Raises WeightsError if its vocabulary isn't found."""
    if tokenizer == "wordpiece":
        return embedded_provider(project).count_tokens
    return partial(token_count, tokenizer=tokenizer)


class ModelClients:
    """Opens clients and callers; `command` identifies the command that a budget per run belongs to."""

    def __init__(self, project: Project, *, command: str = "") -> None:
        self.project = project
        self.command = command

    @cached_property
    def prices(self) -> PriceList:
        """Prices of the models."""
        return price_list(self.project)

    @property
    def endpoints(self) -> dict[Role, Endpoint]:
        """Endpoint of every configured role."""
        return self.project.endpoints

    def client(self, role: Role) -> openai.AsyncOpenAI:
        """Open the OpenAI client of a role's service; the caller closes it."""
        return self._client(self.endpoints[role])

    def uploads_client(self, role: Role) -> openai.AsyncOpenAI:
        """Open the client of a role's service for uploads in parts; the caller closes it."""
        return open_uploads_client(self.endpoints[role], lambda: embedded_provider(self.project).app)

    @contextmanager
    def caller(
        self,
        role: Role,
        *,
        origin: Origin = NO_REQUESTER,
        deployed: StudentDeployment | None = None,
        live: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Caller]:
        """Open a caller for the role's model, or for the student that was fine-tuned from it.

        `origin`: the requesting asset, for the ledger. `live`: make calls at once even where the role uses batches.
        """
        project = self.project
        endpoint = endpoint_of(project, deployed) if deployed else self.endpoints[role]
        model, version = (deployed.name, deployed.training_hash) if deployed else (None, "")
        if endpoint.provider != "embedded":  # every call passes here: nothing is spent on what must not be trained
            check_project_licence(project)
        if endpoint.provider == "embedded":
            version = embedded_provider(project).model_version(model or endpoint.model)
        known = model or endpoint.model
        with (
            open_call_store(project) as store,
            closing(Limiter.of(coordination_of(project), endpoint, known)) as limiter,
            nullcontext() if endpoint.is_free else closing(self._budget(store)) as budget,
        ):
            client = self._client(endpoint)
            try:
                batches = self.batch_client(endpoint, known, client=client, store=store, origin=origin)
                yield Caller(
                    endpoint,
                    model=model,
                    model_version=version,
                    client=client,
                    store=store,
                    limiter=limiter,
                    price=self.prices.of(endpoint, model),
                    capabilities=Capabilities.of(records_of(project), endpoint, known),
                    origin=origin,
                    budget=budget,
                    count_tokens=token_counter(project, endpoint.tokenizer),
                    batches=batches if endpoint.batch and not live else None,
                    on_progress=on_progress,
                )
            finally:
                run_coroutine(client.close())

    def batch_client(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        client: openai.AsyncOpenAI,
        store: CallStore,
        origin: Origin = NO_REQUESTER,
    ) -> BatchClient:
        """Return the client for batches of a model, over an open client and an open store."""
        records = records_of(self.project)
        return BatchClient(
            endpoint,
            model,
            records=records,
            coordination=coordination_of(self.project),
            client=client,
            store=store,
            capabilities=Capabilities.of(records, endpoint, model),
            origin=origin,
        )

    def _budget(self, store: CallStore) -> Budget:
        return open_budget(self.project, store, self.prices, self.command)

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        return open_client(endpoint, lambda: embedded_provider(self.project).app)
