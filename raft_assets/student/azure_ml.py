"""Fine-tuning and serverless endpoints of an Azure ML workspace ("MaaS", the classic way to tune Llama and others).

Every name follows from what it names: data assets are named by their content, the job and the registered model by the
training hash, the endpoint by the domain. A run that died is therefore continued from any machine. API:
https://learn.microsoft.com/azure/machine-learning/how-to-fine-tune-serverless
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raft_assets.core.errors import DataError, EndpointError, SettingsError
from raft_assets.core.identity import digest
from raft_assets.llm.answers import abbreviate
from raft_assets.llm.azure_sign_in import INSTALL_HINT, AzureCredential
from raft_assets.settings.endpoints import AzureMLWorkspace, Endpoint, HostingSettings
from raft_assets.student.finetuning import (
    FineTuningResult,
    FineTuningSpec,
    JobPendingError,
    job_goes_on,
    job_is_gone,
    job_is_outdated,
)
from raft_assets.student.hosting import (
    HASH_TAG,
    READY_TIMEOUT_S,
    HostedDeployment,
    HostingService,
    OnEvent,
    build_tags,
    error_code_and_message,
    fields_from_tags,
    poll_until,
    slug,
)

SKU = "serverless"
NAME_HASH = 20  # hexadecimal digits of a hash in a name
TASKS = {"chat": "ChatCompletion", "completion": "TextCompletion"}
JOB_TIMEOUT_S = 72 * 3600.0
NAMING_TIMEOUT_S = 600.0  # how late the model of a completed job may be listed
FAILED_JOB_STATES = frozenset(("Failed", "Canceled", "NotResponding"))
_MODEL_VERSION = re.compile(r"/versions/[^/]+$")  # an endpoint is of a model, not of a version
DEVELOPER_ROLE = "AzureML Data Scientist"  # may submit jobs, and make endpoints


class AzureMLHosting(HostingService):
    """The workspace that tunes and serves the student; `hosting.hours` limits how long an endpoint may exist.

    Every method raises EndpointError with the service's reason and what to do.
    """

    kind = "endpoint"
    portal = "the studio"

    def __init__(self, endpoint: Endpoint, place: AzureMLWorkspace, hosting: HostingSettings) -> None:
        try:
            from azure.ai.ml import MLClient
        except ImportError as error:
            raise EndpointError(f"Azure ML needs azure-ai-ml: {INSTALL_HINT}.") from error
        self._base_model, self._hosting = endpoint.model, hosting
        sign_in = AzureCredential("Azure ML", "name a model of yours in student.finetuned_model")
        self._client = MLClient(
            sign_in, place.subscription, place.resource_group, place.name, enable_telemetry=False, show_progress=False
        )

    def check_permission(self) -> str:
        """Return a sentence if the workspace answers with the current sign-in.

        Whether it may be written shows only in use.
        """
        with _translate_errors("find the workspace"):
            workspace = self._client.workspaces.get(self._client.workspace_name)
        return f"the workspace {workspace.name} in {workspace.location} answers"

    # ------------------------------------------------------------ fine-tuning

    def fine_tune(
        self,
        order: FineTuningSpec,
        form: str,
        *,
        on_event: OnEvent,
        before_submission: Callable[[], None],
        collects: str = "",
        job_timeout_s: float = JOB_TIMEOUT_S,
    ) -> FineTuningResult:
        """Train the student, or find the job that already does, and wait until it ends.

        `form`: chat or completion. `before_submission` is called where no job is found, before anything is uploaded.
        `collects`: the name of a job whose result alone is asked for. `job_timeout_s`: how long this process waits.
        """
        hyperparameters = _to_service_hyperparameters(order.hyperparameters)
        name, found = self._collected_job(order, collects) if collects else self._job_name(order)
        if not found:
            before_submission()
            self._submit(name, order, form, hyperparameters)
        on_event(f"fine-tuning job {name} of {order.base_model}: {'found again' if found else 'submitted'}")
        self._wait_for_job(name, on_event, job_timeout_s)
        return FineTuningResult(
            job_id=name,
            model=self._registered_model(order),
            base_model=order.base_model,
            training_hash=order.training_hash,
            hyperparameters={**order.hyperparameters, "seed": order.seed},
            trained_tokens=None,
            reattached=found,
        )

    def has_job_ended(self, name: str) -> bool:
        """Return whether a job has ended, however it did; one that the workspace doesn't know has."""
        job = self._job(name)
        return job is None or _status(job) in {"Completed", *FAILED_JOB_STATES}

    def _collected_job(self, order: FineTuningSpec, name: str) -> tuple[str, bool]:
        """Return the name of a job that was submitted before, and that it exists."""
        job = self._job(name)
        if job is None:
            raise EndpointError(job_is_gone(name))
        if (job.tags or {}).get(HASH_TAG) != order.training_hash:
            raise DataError(job_is_outdated(name))
        return name, True

    def _job_name(self, order: FineTuningSpec) -> tuple[str, bool]:
        """Return the name of the order's job, and whether the job exists.

        A failed job keeps its name; the next one has a number.
        """
        name = tried = f"raft-{order.training_hash[:NAME_HASH]}"
        number = 1
        while (job := self._job(tried)) is not None and _status(job) in FAILED_JOB_STATES:
            number += 1
            tried = f"{name}-{number}"
        return tried, job is not None

    def _job(self, name: str) -> Any | None:
        from azure.core.exceptions import ResourceNotFoundError

        with _translate_errors(f"find the job {name}"):
            try:
                return self._client.jobs.get(name)
            except ResourceNotFoundError:
                return None

    def _submit(self, name: str, order: FineTuningSpec, form: str, hyperparameters: dict[str, str]) -> None:
        from azure.ai.ml import Input, Output
        from azure.ai.ml.entities._job.finetuning.custom_model_finetuning_job import CustomModelFineTuningJob

        # the library's helper insists on validation data; a set may be too small to have any
        valid = self._upload_data("valid", order.valid) if order.valid.strip() else None
        train = self._upload_data("train", order.train)
        job = CustomModelFineTuningJob(
            name=name,
            task=TASKS[form],
            model=Input(type="mlflow_model", path=order.base_model),
            training_data=Input(type="uri_file", path=train),
            validation_data=valid and Input(type="uri_file", path=valid),
            hyperparameters=hyperparameters,
            outputs={"registered_model": Output(type="mlflow_model", name=_model_name(order))},
            experiment_name="raft-assets",
            display_name=name,
            tags={HASH_TAG: order.training_hash},
            properties={},
        )
        with _translate_errors(f"submit the job {name}"):
            self._client.jobs.create_or_update(job)

    def _upload_data(self, name: str, content: bytes) -> str:
        """Return the id of the data asset with this content, creating it if necessary.

        Its name is its content's hash.
        """
        from azure.ai.ml.entities import Data
        from azure.core.exceptions import ResourceNotFoundError

        asset = f"raft-{name}-{digest(name, content)[:NAME_HASH]}"
        with _translate_errors(f"upload {name}.jsonl"):
            try:
                return str(self._client.data.get(asset, version="1").id)
            except ResourceNotFoundError:
                pass
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{name}.jsonl"
                file.write_bytes(content)
                made = Data(name=asset, version="1", type="uri_file", path=str(file))
                return str(self._client.data.create_or_update(made).id)

    def _wait_for_job(self, name: str, on_event: OnEvent, job_timeout_s: float) -> None:
        told, since = "", None
        for _ in poll_until(job_timeout_s):
            job = self._job(name)
            if job is None:
                raise EndpointError(job_is_gone(name))
            if _status(job) != told:
                on_event(f"fine-tuning job {name}: {_status(job)}")
            told, since = _status(job), getattr(job.creation_context, "created_at", None)
            if told == "Completed":
                return
            if told == "Paused":
                raise JobPendingError(
                    f"Fine-tuning job {name} is paused: resume it in the studio, then run again.", job=name
                )
            if told in FAILED_JOB_STATES:
                reason = abbreviate(str((job.properties or {}).get("error") or "the studio shows the reason"))
                raise EndpointError(
                    f"Fine-tuning job {name} of {self._base_model} ended with the status {told}: {reason}. Fix the "
                    "cause and materialize finetuned_model again."
                )
        submitted = since.astimezone(UTC) if since else None
        raise JobPendingError(job_goes_on(name, self._base_model, told, submitted), job=name)

    def _registered_model(self, order: FineTuningSpec) -> str:
        """Return the id of the model that the job registered, which the workspace may list late."""
        for _ in poll_until(NAMING_TIMEOUT_S):
            with _translate_errors("find the registered model"):
                versions = list(self._client.models.list(name=_model_name(order)))
            if versions:
                return str(max(versions, key=lambda model: int(model.version)).id)
        raise EndpointError(
            f"The job did not register a model {_model_name(order)}. Check its outputs in the studio and materialize "
            "finetuned_model again."
        )

    # ------------------------------------------------------------ endpoints

    def find(self, name: str) -> HostedDeployment | None:
        """Return the endpoint of that name, or None."""
        from azure.core.exceptions import ResourceNotFoundError

        with _translate_errors(f"find the endpoint {name}"):
            try:
                return _to_hosted_deployment(self._client.serverless_endpoints.get(name))
            except ResourceNotFoundError:
                return None

    def all(self) -> list[HostedDeployment]:
        """Return every endpoint in the workspace that raft-assets made."""
        with _translate_errors("list the endpoints"):
            endpoints = [_to_hosted_deployment(endpoint) for endpoint in self._client.serverless_endpoints.list()]
        return [hosted for hosted in endpoints if hosted.training_hash]

    def deploy(
        self, domain: str, model: str, training_hash: str, *, on_event: OnEvent, now: datetime
    ) -> HostedDeployment:
        """Return the domain's endpoint of this very model: an existing one that serves it, else a new one.

        An endpoint of an older model is replaced.
        """
        name = endpoint_name(domain)
        existing = self.find(name)
        right = existing is not None and existing.training_hash == training_hash
        if existing is not None and not right:
            if not existing.training_hash:
                raise EndpointError(
                    f"The endpoint {name} was not created by raft-assets and is not touched: delete it yourself."
                )
            on_event(f"endpoint {name} of an older student: deleted")
            self.delete(name)  # an endpoint's model can't be changed
        if existing is None or not right:
            self._subscribe(on_event)
            on_event(f"endpoint {name}: made of {model}")
            self._create_endpoint(name, domain, model, training_hash, now)
        return self._wait_until_ready(name, on_event)

    def key(self, name: str) -> str:
        """Return the endpoint's key, which is read when it is needed and never written down."""
        with _translate_errors(f"read the key of the endpoint {name}"):
            return str(self._client.serverless_endpoints.get_keys(name).primary_key)

    def close(self) -> None:
        """Do nothing: no connection is kept open."""

    def _begin_delete(self, name: str) -> None:
        with _translate_errors(f"delete the endpoint {name}"):
            self._client.serverless_endpoints.begin_delete(name, polling=False)

    def _subscribe(self, on_event: OnEvent) -> None:
        """Subscribe the workspace to the base model's offer, which its publisher requires."""
        from azure.ai.ml.entities import MarketplaceSubscription
        from azure.core.exceptions import ResourceNotFoundError

        model = _MODEL_VERSION.sub("", self._base_model)
        name = slug(model.rpartition("/")[2])
        with _translate_errors(f"subscribe to {model}"):
            try:
                self._client.marketplace_subscriptions.get(name)
            except ResourceNotFoundError:
                on_event(f"marketplace subscription {name} to {model}")
                wanted = MarketplaceSubscription(name=name, model_id=model)
                self._client.marketplace_subscriptions.begin_create_or_update(wanted).result(READY_TIMEOUT_S)

    def _create_endpoint(self, name: str, domain: str, model: str, training_hash: str, now: datetime) -> None:
        from azure.ai.ml.entities import ServerlessEndpoint

        with _translate_errors(f"make the endpoint {name}"):
            wanted = ServerlessEndpoint(
                name=name,
                model_id=_MODEL_VERSION.sub("", model),
                tags=build_tags(domain, training_hash, hours=self._hosting.hours, now=now),
            )
            self._client.serverless_endpoints.begin_create_or_update(wanted, polling=False)


def endpoint_name(domain: str) -> str:
    """Return the name of a domain's endpoint, a host name of at most 32 letters, digits and hyphens."""
    return f"raft-{slug(domain)[:18].strip('-')}-{digest('endpoint', domain)[:6]}".replace("--", "-")


def _status(job: Any) -> str:
    """Return the state in the service's own word, whether the library knows it or not."""
    return str(getattr(job.status, "value", job.status))


def _model_name(order: FineTuningSpec) -> str:
    return f"raft-{order.training_hash[:NAME_HASH]}"


def _to_service_hyperparameters(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the hyperparameters as the service's models expect them.

    The texts and names are those of Microsoft's example of a job for azure-ai-ml. There is no "auto": what isn't set is
    left to the service.

    Raises SettingsError for a learning rate multiplier: the service takes a learning rate, and doesn't publish the rate
    that would be multiplied.
    """
    chosen = {name: str(value) for name, value in hyperparameters.items() if value != "auto"}
    if "learning_rate_multiplier" in chosen:
        raise SettingsError(
            "training.learning_rate_multiplier is set, but models in an Azure ML workspace have no multiplier: leave "
            "it at auto."
        )
    names = {"n_epochs": "num_train_epochs", "batch_size": "per_device_train_batch_size"}
    return {names[name]: value for name, value in chosen.items()}


def _to_hosted_deployment(endpoint: Any) -> HostedDeployment:
    return HostedDeployment(
        name=endpoint.name,
        model=endpoint.model_id or "",
        state=str(endpoint.provisioning_state or "").title(),
        sku=SKU,
        capacity=0,
        **fields_from_tags(endpoint.tags, endpoint.system_data),
        address=f"{endpoint.scoring_uri.rstrip('/')}/v1" if endpoint.scoring_uri else "",
    )


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Turn errors of Azure's libraries into one sentence that says what to do."""
    from azure.ai.ml.exceptions import MlException
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        code, message = error_code_and_message(error)
        remedy = (
            f"ask for the role {DEVELOPER_ROLE} on the workspace"
            if error.status_code in (401, 403)
            else "check AZUREML_WORKSPACE, AZURE_RESOURCE_GROUP and AZURE_SUBSCRIPTION_ID, or fix the cause and "
            "run again"
        )
        raise EndpointError(f"Azure ML could not {what} ({code}: {message}): {remedy}.") from None
    except (AzureError, MlException) as error:
        raise EndpointError(f"Azure ML could not {what}: {abbreviate(str(error))}") from None
