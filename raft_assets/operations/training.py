"""Fine-tuning a domain's student: its training files, the approval, and the job."""

import shlex
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from raft_assets.core.errors import DataError, EndpointError, RaftError
from raft_assets.llm.background import run_coroutine
from raft_assets.operations.expected_epochs import are_epochs_chosen, known_epochs
from raft_assets.operations.hosting import hosting_settings, open_hosting
from raft_assets.operations.life_cycles import check_student_model
from raft_assets.operations.model_clients import ModelClients, check_project_licence, resolved_model
from raft_assets.operations.money import reserve_training
from raft_assets.operations.process import COMMAND_TAG, records_of
from raft_assets.operations.trained import keep_student, keep_submission, trained_documents
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.student.approval import (
    APPROVAL_TAG,
    APPROVAL_VARIABLE,
    APPROVE_FINE_TUNING,
    TrainingCost,
    auto_epochs,
)
from raft_assets.student.azure_ml import AzureMLHosting
from raft_assets.student.finetuning import (
    DEFAULT_POLLING,
    MIN_ROWS,
    FineTuningResult,
    FineTuningSpec,
    cut_to_size,
    fine_tune,
    has_job_ended,
    user_model,
)
from raft_assets.student.uploads import MAX_FILE_BYTES

MAX_ROW_CHARACTERS = 2000  # characters, of a training file that waits for approval


class ApprovalNeededError(RaftError):
    """A fine-tuning job that may cost money waits for approval; `first_row` is the first row of its training file."""

    def __init__(self, sentence: str, *, rows: int, first_row: str) -> None:
        super().__init__(sentence)
        self.rows, self.first_row = rows, first_row


@dataclass(frozen=True)
class _Submission:
    """What is to be trained on: `order` is `whole`, or what is left of it by the sentence `cut`."""

    whole: FineTuningSpec
    order: FineTuningSpec
    cut: str


@dataclass(frozen=True)
class TrainingWatch:
    """How a training is followed.

    `on_event` gets the service's messages, `on_metrics` the newest metrics at each poll. `wait_s`: how long this
    process waits for the job, which goes on without it. `collects`: the id of a job whose result alone is asked for.
    """

    on_event: Callable[[str], None]
    on_metrics: Callable[[dict[str, float]], None]
    wait_s: float = DEFAULT_POLLING.job_timeout_s
    collects: str = ""


def train(
    models: ModelClients, lake: Lake, domain: str, watch: TrainingWatch, *, approved: str | None
) -> FineTuningResult:
    """Return the model of the domain's fine-tuning job, which is submitted if there is none.

    `approved`: what the user has approved. Raises ApprovalNeededError before a job that may cost money and is not
    approved, and SettingsError, DataError or EndpointError for one that can't be submitted.
    """
    project, student = models.project, models.endpoints[Role.STUDENT]
    settings = project.settings(domain).values
    if settings.student.finetuned_model:
        return user_model(student.model, student.service, settings.student.finetuned_model)
    whole = _order(models, lake, domain)
    order, cut = (whole, "") if student.provider == "azureml" else cut_to_size(whole, MAX_FILE_BYTES)
    if cut:
        watch.on_event(cut)

    def keep(training_hash: str) -> None:
        documents = trained_documents(lake, domain)
        keep_submission(records_of(project), training_hash, student.service, domain, documents)

    def check() -> None:
        _check(models, lake, domain, _Submission(whole, order, cut), approved)
        keep(order.training_hash)

    tuned = _train(models, domain, order, watch, check)
    keep(tuned.training_hash)  # of a job that was found, or of a file that the service took in part only
    keep_student(records_of(project), tuned)
    return tuned


def job_wait_s(project: Project, tags: Mapping[str, str]) -> float:
    """Return how long a run with these tags waits for its fine-tuning job, in seconds.

    A command follows it to its end, and so does every run with the embedded provider, whose jobs compute on the run's
    own machine. Other runs wait as long as `RAFT_JOB_WAIT_MINUTES` says.
    """
    if COMMAND_TAG in tags or project.endpoints[Role.STUDENT].provider == "embedded":
        return DEFAULT_POLLING.job_timeout_s
    return project.job_wait_s


def ended_jobs(models: ModelClients, jobs: Collection[str]) -> set[str]:
    """Return which fine-tuning jobs have ended at the student's service, however they did.

    Raises EndpointError where the service doesn't answer.
    """
    import openai

    if models.endpoints[Role.STUDENT].provider == "azureml":
        with open_hosting(models.project) as workspace:
            assert isinstance(workspace, AzureMLHosting)
            return {job for job in jobs if workspace.has_job_ended(job)}

    async def look() -> set[str]:
        async with models.client(Role.STUDENT) as client:
            return {job for job in jobs if await has_job_ended(client, job)}

    try:
        return run_coroutine(look())
    except openai.APIError as error:
        raise EndpointError(
            f"The service of STUDENT doesn't say how its fine-tuning jobs are ({type(error).__name__}): `raft doctor`."
        ) from None


def _train(
    models: ModelClients, domain: str, order: FineTuningSpec, watch: TrainingWatch, check: Callable[[], None]
) -> FineTuningResult:
    project, student = models.project, models.endpoints[Role.STUDENT]
    with open_hosting(project) if student.provider == "azureml" else nullcontext() as workspace:
        if isinstance(workspace, AzureMLHosting):
            form = project.settings(domain).values.student.format
            return workspace.fine_tune(
                order,
                form,
                on_event=watch.on_event,
                before_submission=check,
                collects=watch.collects,
                job_timeout_s=watch.wait_s,
            )
    return run_coroutine(_fine_tune(models, order, watch, check))


def _order(models: ModelClients, lake: Lake, domain: str) -> FineTuningSpec:
    project, student = models.project, models.endpoints[Role.STUDENT]
    settings = project.settings(domain).values.training
    return FineTuningSpec(
        base_model=student.model,
        base_version=resolved_model(student, project),
        train=lake.read_lines("training_files", domain, "train.jsonl"),
        valid=lake.read_lines("training_files", domain, "valid.jsonl"),
        hyperparameters={
            "n_epochs": settings.n_epochs,
            "batch_size": settings.batch_size,
            "learning_rate_multiplier": settings.learning_rate_multiplier,
        },
        seed=settings.seed,
        checkpoint=settings.checkpoint,
        training_type=hosting_settings(project).training_type if student.is_azure_openai else None,
    )


async def _fine_tune(
    models: ModelClients, order: FineTuningSpec, watch: TrainingWatch, before_submission: Callable[[], None]
) -> FineTuningResult:
    async with models.client(Role.STUDENT) as client:
        return await fine_tune(
            client,
            order,
            records=records_of(models.project),
            on_event=watch.on_event,
            on_metrics=watch.on_metrics,
            before_submission=before_submission,
            collects=watch.collects,
            patience=replace(DEFAULT_POLLING, job_timeout_s=watch.wait_s),
            open_uploads=lambda: models.uploads_client(Role.STUDENT),
        )


def _cost(models: ModelClients, lake: Lake, domain: str, submission: _Submission) -> TrainingCost:
    """Return what the job may cost: by the counts of the whole files, or by the share of them that was not cut."""
    counts = lake.read_record("training_files", domain)
    whole, order = submission.whole, submission.order

    def left(count: int, part: bytes, of: bytes) -> int:
        return count if part is of else round(count * len(part) / len(of))

    training = models.project.settings(domain).values.training
    rows = counts["train"]["rows"] if order is whole else order.rows
    known = known_epochs(models, training)
    return TrainingCost(
        rows=rows,
        valid_rows=left(counts["valid"]["rows"], order.valid, whole.valid),
        tokens=left(counts["train"]["tokens"], order.train, whole.train),
        epochs=known[1] if known else auto_epochs(rows),
        price=models.prices.of(models.endpoints[Role.STUDENT]).training,
        is_chosen=are_epochs_chosen(models, training),
    )


def _check(models: ModelClients, lake: Lake, domain: str, submission: _Submission, approved: str | None) -> None:
    """Stop before a job that the service would refuse, that is not approved, or that a budget forbids."""
    project, endpoint = models.project, models.endpoints[Role.STUDENT]
    if endpoint.provider == "embedded":
        return
    check_project_licence(project)
    check_student_model(project, datetime.now(UTC).date())
    order, cut = submission.order, f"{submission.cut}. " if submission.cut else ""
    if order.rows < MIN_ROWS:
        raise DataError(
            f"{order.rows} training rows of {domain!r} are fewer than the {MIN_ROWS} that services train on. Add "
            "documents, or ask more questions per chunk (questions.questions_per_chunk)."
        )
    with open_hosting(project):  # where the student can't be deployed, it isn't trained either
        pass
    if endpoint.is_free:
        return
    bill = _cost(models, lake, domain, submission)
    bill.check_budget(project.budget)
    if APPROVE_FINE_TUNING in (approved, project.environment.get(APPROVAL_VARIABLE)):
        reserve_training(project, bill.dollars or 0.0, models.command)
        return
    raise ApprovalNeededError(
        f"Fine-tuning {endpoint.model} needs your approval: {bill.told}. {cut}Inspect the rows "
        f"(`raft preview {domain}`), then `raft run {shlex.quote(domain)} --yes`, or launch the run with the tag "
        f"{APPROVAL_TAG} = {APPROVE_FINE_TUNING}.",
        rows=bill.rows,
        first_row=_read_first_line(order.train),
    )


def _read_first_line(train: bytes) -> str:
    return train.decode("utf-8-sig").partition("\n")[0][:MAX_ROW_CHARACTERS]
