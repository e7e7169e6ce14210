"""The fine-tuned student and where it answers."""

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict

import dagster as dg

from raft_assets.core.errors import DataError
from raft_assets.core.identity import digest
from raft_assets.defs.dataset.assets import training_files
from raft_assets.defs.describe import inert, loss_plot
from raft_assets.defs.observation import ROLES, resolved_model, settings_key
from raft_assets.defs.partitions import domains
from raft_assets.defs.progress import log_events, log_metrics
from raft_assets.llm.background import run
from raft_assets.llm.prices import PRICES_FILE
from raft_assets.operations.models import Models
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.student.approval import APPROVAL_TAG, APPROVAL_VARIABLE, TRAINING, TrainingBill
from raft_assets.student.azure_ml import Serverless
from raft_assets.student.deployment import READY_WITHIN_S, deploy, smoke_test
from raft_assets.student.finetuning import LEAST_ROWS, FineTuned, TrainingOrder, fine_tune, own_model

PRICE_UNKNOWN = f"nobody knows; put it into {PRICES_FILE}"
SHOWN_OF_ROW = 2000  # characters, of a training file that waits for a yes
SMOKE_SPEC = dg.AssetCheckSpec(
    "student_keeps_the_contract",
    asset="deployment",
    description="The deployed student answers the smoke test in RAFT's form.",
)


@dg.asset(
    partitions_def=domains,
    group_name="student",
    kinds={"openai"},
    owners=["team:raft"],
    tags={"stage": "student"},
    metadata={ROLES: "STUDENT"},
    code_version="1",
    deps=[training_files, settings_key("training"), settings_key("student")],
)
def finetuned_model(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The student's weights at the service that trained them, with job, loss curve and the hash of what they were
    trained on.
    """
    domain = context.partition_key
    student, own = models.endpoints[Role.STUDENT], models.settings(domain).values.student.finetuned_model
    tuned = own_model(student.model, student.service, own) if own else _trained(context, lake, models)
    dollars = models.keep_training(tuned)
    loss = [(step.step, step.train_loss, step.valid_loss) for step in tuned.loss]
    record = {
        "job": tuned.job_id,
        "model": tuned.model,
        "base_model": tuned.base_model,
        "training_hash": tuned.training_hash,
        "hyperparameters": tuned.hyperparameters,
        "trained_tokens": tuned.trained_tokens,
        "loss": loss,
        "checkpoints": [asdict(point) for point in tuned.checkpoints],
    }
    address = lake.write_record("finetuned_model", domain, record)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(tuned.training_hash, tuned.model)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: record[name] for name in ("job", "model", "base_model", "training_hash")},
            "hyperparameters": dg.MetadataValue.json(tuned.hyperparameters),
            "trained_tokens": tuned.trained_tokens or "the service doesn't tell",
            "dollars": PRICE_UNKNOWN if dollars is None else round(dollars, 6),
            "found_again": tuned.reattached,
            "checkpoints": dg.MetadataValue.json([asdict(point) for point in tuned.checkpoints]),
            "loss": loss_plot(loss) if loss else "the service gave no loss curve",
        },
    )


def _trained(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> FineTuned:
    """The model of the job that this very training has, which is submitted where there is none."""
    domain, student = context.partition_key, models.endpoints[Role.STUDENT]
    settings, hosting = models.settings(domain).values.training, models.workplace.environment.hosting()
    order = TrainingOrder(
        base_model=student.model,
        base_version=resolved_model(student, models.workplace),
        train=lake.read_lines("training_files", domain, "train.jsonl"),
        valid=lake.read_lines("training_files", domain, "valid.jsonl"),
        hyperparameters={
            "n_epochs": settings.n_epochs,
            "batch_size": settings.batch_size,
            "learning_rate_multiplier": settings.learning_rate_multiplier,
        },
        seed=settings.seed,
        checkpoint=settings.checkpoint,
        training_type=hosting.training_type if student.provider == "azure" else None,
    )

    def check() -> None:
        _check_approval(context, lake, models, order)

    with models.hosting() if student.provider == "azureml" else nullcontext() as workspace:
        if isinstance(workspace, Serverless):
            form = models.settings(domain).values.student.format
            return workspace.fine_tune(order, form, on_event=log_events(context), before_submission=check)
    return run(_fine_tune(models, order, context, check))


@dg.asset(
    partitions_def=domains,
    group_name="student",
    kinds={"openai"},
    owners=["team:raft"],
    tags={"stage": "student"},
    metadata={ROLES: "STUDENT"},
    code_version="2",
    deps=[finetuned_model, settings_key("student"), settings_key("prompt")],
    check_specs=[SMOKE_SPEC],
)
def deployment(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Where the student answers, proved by a question put to it."""
    domain = context.partition_key
    settings = models.settings(domain).values
    tuned = lake.read_record("finetuned_model", domain)
    with models.hosting() if settings.student.finetuned_model is None else nullcontext() as hosting:
        deployed = deploy(
            models.endpoints[Role.STUDENT],
            hosting,
            domain,
            tuned["model"],
            tuned["training_hash"],
            on_event=log_events(context),
        )
    with models.caller(Role.STUDENT, deployed=deployed, live=True) as student:
        test = smoke_test(
            student,
            settings.student,
            settings.evaluation.max_answer_tokens,
            settings.prompt.instructions,
            ready_within_s=READY_WITHIN_S if hosting else 0.0,
        )
    month = models.hosting_a_month(deployed.sku) if hosting else 0.0
    shown = {"question": test.question, "answer": test.answer, "well_formed": test.well_formed}
    address = lake.write_record("deployment", domain, {**deployed.record, "smoke_test": shown})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(deployed.service, deployed.name, deployed.model, deployed.training_hash)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: str(value) for name, value in deployed.record.items()},
            "hosting_us_dollars_a_month": PRICE_UNKNOWN if month is None else month,
            "smoke_test": dg.MetadataValue.md(f"**{inert(test.question)}**\n\n{inert(test.answer)}"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=SMOKE_SPEC.name, passed=test.well_formed, severity=dg.AssetCheckSeverity.WARN
            )
        ],
    )


async def _fine_tune(
    models: Models, order: TrainingOrder, context: dg.AssetExecutionContext, before_submission: Callable[[], None]
) -> FineTuned:
    async with models.client(Role.STUDENT) as client:
        return await fine_tune(
            client,
            order,
            records=models.records,
            on_event=log_events(context),
            on_metrics=log_metrics(context),
            before_submission=before_submission,
        )


def _check_approval(context: dg.AssetExecutionContext, lake: Lake, models: Models, order: TrainingOrder) -> None:
    """Stops before a job that the service would refuse, that nobody said yes to, or that a budget forbids."""
    endpoint, domain = models.endpoints[Role.STUDENT], context.partition_key
    if endpoint.is_free:
        return
    models.check_licence()
    if order.rows < LEAST_ROWS:
        raise DataError(
            f"{order.rows} training rows of {domain!r} are fewer than the {LEAST_ROWS} that services train on. Add "
            "documents, or ask more of every chunk (questions.questions_per_chunk)."
        )
    with models.hosting():  # where the student can't be deployed, it isn't trained either
        pass
    counts = lake.read_record("training_files", domain)
    bill = TrainingBill(
        rows=counts["train"]["rows"],
        valid_rows=counts["valid"]["rows"],
        tokens=counts["train"]["tokens"],
        epochs=models.settings(domain).values.training.n_epochs,
        price=models.prices.of(endpoint).training,
    )
    bill.check_budget(models.workplace.budget)
    if TRAINING in (context.run.tags.get(APPROVAL_TAG), models.workplace.environment.get(APPROVAL_VARIABLE)):
        models.reserve_training(bill.dollars or 0.0)
        return
    raise dg.Failure(
        f"Fine-tuning {endpoint.model} waits for a yes: {bill.told}. Look at the rows (`raft preview {domain}`), then "
        f"`raft run {shlex.quote(domain)} --yes`, or launch the run with the tag {APPROVAL_TAG} = {TRAINING}.",
        metadata={"rows": bill.rows, "first_row": dg.MetadataValue.text(_first_line(lake, domain))},
        allow_retries=False,
    )


def _first_line(lake: Lake, domain: str) -> str:
    line = lake.read_lines("training_files", domain, "train.jsonl").decode("utf-8-sig").partition("\n")[0]
    return line[:SHOWN_OF_ROW]
