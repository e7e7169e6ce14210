"""The models of the five roles, as assets use them.

A caller that asks, a client for fine-tuning jobs, and what identifies a model.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

import dagster as dg
import openai
from pydantic import SecretStr
from starlette.applications import Starlette

from raft_assets.defs.runs import COMMAND_TAG, PROCESS_TAG, this_process
from raft_assets.documents.chunking import token_count
from raft_assets.embedded.app import EmbeddedSettings, create_app
from raft_assets.embedded.models import model_version
from raft_assets.embedded.weights import find_weights
from raft_assets.embedded.wordpiece import WordPiece
from raft_assets.llm.background import run
from raft_assets.llm.batches import BatchClient, read_records
from raft_assets.llm.budget import Budget
from raft_assets.llm.caller import Caller
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import open_client
from raft_assets.llm.keys import TRAINING, training_key
from raft_assets.llm.limits import Limiter
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import NOBODY, Origin, Progress, Usage
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.settings.domain import ResolvedSettings, Tokenizer
from raft_assets.settings.endpoints import DEVELOPER_TIER, Endpoint, Role
from raft_assets.settings.project import Workplace
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.records import FileRecords
from raft_assets.student.azure_ml import Serverless
from raft_assets.student.azure_openai import AzureHosting
from raft_assets.student.deployment import Deployed
from raft_assets.student.finetuning import FineTuned
from raft_assets.student.hosting import StudentHosting
from raft_assets.student.licences import ACCEPT_VARIABLE, check_licence

HOURS_A_MONTH = 730


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]  # the resource is its own value
    """Endpoints, callers and settings of the project."""

    project: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Names the process in its run, whoever started it, so that a killed one can be closed."""
        if context.instance and context.run:
            context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: this_process()})

    @cached_property
    def workplace(self) -> Workplace:
        """Folders and variables, read when they are first needed."""
        return Workplace.load(Path(self.project))

    @property
    def records(self) -> FileRecords:
        """What processes of the project remember together."""
        return FileRecords(self.workplace.home)

    @property
    def coordination(self) -> FileCoordination:
        """What processes of the project share while they run."""
        return FileCoordination(self.workplace.home)

    @cached_property
    def endpoints(self) -> dict[Role, Endpoint]:
        """Endpoint of every configured role."""
        return self.workplace.environment.endpoints()

    @cached_property
    def prices(self) -> PriceList:
        """What the models cost."""
        return PriceList(self.workplace.project, self.endpoints.values())

    def settings(self, domain: str) -> ResolvedSettings:
        """The domain's settings."""
        return self.workplace.settings(domain)

    def check_licence(self) -> None:
        """Raises SettingsError for a teacher whose terms forbid the student, unless that teacher was accepted."""
        check_licence(self.endpoints, self.workplace.environment.get(ACCEPT_VARIABLE))

    def token_counter(self, tokenizer: Tokenizer) -> Callable[[str], int]:
        """How many tokens a text has by the tokenizer. Raises WeightsError where its vocabulary isn't found."""
        if tokenizer != "wordpiece":
            return partial(token_count, tokenizer=tokenizer)
        place = self.workplace
        return WordPiece(find_weights(place.encoder_folder, hf_home=place.huggingface_home).vocabulary).count

    def client(self, role: Role) -> openai.AsyncOpenAI:
        """The OpenAI client of a role's service; whoever opens it closes it."""
        return self._client(self.endpoints[role])

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        place = self.workplace
        settings = EmbeddedSettings(place.embedded_folder, place.encoder_folder, place.huggingface_home)
        return open_client(endpoint, lambda: embedded_app(settings))

    @contextmanager
    def hosting(self) -> Iterator[StudentHosting | None]:
        """Where fine-tuned students are deployed; None where a model's id is its deployment.

        Raises SettingsError where Azure's subscription or workspace isn't known.
        """
        student, environment = self.endpoints[Role.STUDENT], self.workplace.environment
        if student.provider == "azure":
            with closing(AzureHosting(student, environment.hosting())) as hosting:
                yield hosting
        elif student.provider == "azureml":
            with closing(Serverless(student, environment.ml_workspace(), environment.hosting())) as serverless:
                yield serverless
        else:
            yield None

    def _deployed_endpoint(self, deployed: Deployed) -> Endpoint:
        """Where a deployed student is asked: the student's service, or its own with a key that is read now."""
        endpoint = self.endpoints[Role.STUDENT]
        if endpoint.provider != "azureml" or not deployed.is_hosted:
            return endpoint
        with self.hosting() as hosting:
            assert isinstance(hosting, Serverless)
            key = SecretStr(hosting.key(deployed.name))
        return replace(endpoint, provider="openai", base_url=deployed.service, api_key=key)

    def keep_training(self, tuned: FineTuned) -> float | None:
        """Puts a fine-tuning job that cost money beside the paid calls: once, however often it is found again.

        Returns what it cost, US dollars; None where nobody knows.
        """
        endpoint = self.endpoints[Role.STUDENT]
        if not tuned.job_id or endpoint.is_free:
            return 0.0
        if tuned.trained_tokens is None:
            return None
        usage = Usage(input_tokens=tuned.trained_tokens)
        job = StoredCall(
            *(training_key(endpoint.service, tuned.job_id), endpoint.service, endpoint.model, TRAINING, "ok", usage),
            latency_s=0.0,
            created=time.time(),
            payload=json.dumps({"job": tuned.job_id, "model": tuned.model}).encode(),
            role=Role.STUDENT.value,
            origin=_origin(),
        )
        with open_call_store(self.workplace) as store:
            store.put([job])
        return self.prices.of(endpoint).of_training(tuned.trained_tokens)

    def reserve_training(self, dollars: float) -> None:
        """Takes a job's expected cost from the budgets of run and month. Raises BudgetReachedError before they pass."""
        with open_call_store(self.workplace) as store, closing(self._budget(store)) as budget:
            budget.spend(dollars)

    def collect_batches(self) -> None:
        """Brings into the store what open batches have brought, of every model that is still configured.

        Raises EndpointError.
        """
        asked = (record for record in read_records(self.records) if record.is_open)
        for role, model in dict.fromkeys((record.role, record.model) for record in asked):
            if role in self.endpoints:
                self._collect_batches(role, model)

    def _collect_batches(self, role: Role, model: str) -> None:
        endpoint = self.endpoints[role]
        with open_call_store(self.workplace) as store:
            client = self.client(role)
            try:
                capabilities = Capabilities.of(self.records, endpoint, model)
                batches = self._batches(endpoint, model, client=client, store=store, capabilities=capabilities)
                run(batches.collect())
            finally:
                run(client.close())

    def _batches(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        client: openai.AsyncOpenAI,
        store: CallStore,
        capabilities: Capabilities,
        origin: Origin = NOBODY,
    ) -> BatchClient:
        return BatchClient(
            endpoint,
            model,
            records=self.records,
            coordination=self.coordination,
            client=client,
            store=store,
            capabilities=capabilities,
            origin=origin,
        )

    def hosting_a_month(self, sku: str) -> float | None:
        """US dollars a month that a deployment of the student costs when nobody asks; None: nobody knows."""
        if sku.lower() == DEVELOPER_TIER.lower():
            return 0.0
        per_hour = self.prices.of(self.endpoints[Role.STUDENT]).hosting
        return None if per_hour is None else per_hour * HOURS_A_MONTH

    def _budget(self, store: CallStore) -> Budget:
        return Budget(self.coordination, self.workplace.budget, run=_command(), store=store, prices=self.prices)

    @contextmanager
    def caller(
        self,
        role: Role,
        *,
        deployed: Deployed | None = None,
        live: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Caller]:
        """A caller for the role's model, or for the student that was fine-tuned from it.

        `live`: asks at once even where the role asks in batches.
        """
        endpoint = self._deployed_endpoint(deployed) if deployed else self.endpoints[role]
        model, training_hash = (deployed.name, deployed.training_hash) if deployed else (None, "")
        if not endpoint.is_free:  # every paid call comes by here: nothing is spent on what must not be trained
            self.check_licence()
        embedded = endpoint.provider == "embedded"
        version = model_version(model or endpoint.model, self.workplace.embedded_folder) if embedded else training_hash
        origin = _origin()
        with (
            open_call_store(self.workplace) as store,
            closing(Limiter.of(self.coordination, endpoint, model or endpoint.model)) as limiter,
            nullcontext() if endpoint.is_free else closing(self._budget(store)) as budget,
        ):
            client = self._client(endpoint)
            try:
                capabilities = Capabilities.of(self.records, endpoint, model or endpoint.model)
                batches = self._batches(
                    endpoint,
                    model or endpoint.model,
                    client=client,
                    store=store,
                    capabilities=capabilities,
                    origin=origin,
                )
                yield Caller(
                    endpoint,
                    model=model,
                    model_version=version,
                    client=client,
                    store=store,
                    limiter=limiter,
                    price=self.prices.of(endpoint, model),
                    capabilities=capabilities,
                    origin=origin,
                    budget=budget,
                    batches=batches if endpoint.batch and not live else None,
                    on_progress=on_progress,
                )
            finally:
                run(client.close())


def _origin() -> Origin:
    """The asset that is being computed, nobody outside of a run."""
    try:
        context = dg.AssetExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return NOBODY
    return Origin(context.asset_key.to_user_string(), context.partition_key, context.run.run_id)


def _command() -> str:
    """What a budget per run is for: the command that started the run, else the run."""
    try:
        run = dg.AssetExecutionContext.get().run
    except dg.DagsterInvariantViolationError:
        return ""
    return run.tags.get(COMMAND_TAG, run.run_id)


@cache
def embedded_app(settings: EmbeddedSettings) -> Starlette:
    """The embedded provider of this process: its encoder and what it has read are kept from run to run."""
    return create_app(settings)
