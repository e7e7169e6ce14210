"""The fine-tuned student and where it answers."""

import shlex
from collections.abc import Callable

import dagster as dg

from raft_assets.calls.background import run
from raft_assets.defs.dataset.assets import training_files
from raft_assets.defs.describe import inert, loss_plot
from raft_assets.observation import ROLES, resolved_model, settings_key
from raft_assets.partitions import domains
from raft_assets.progress import PREFIX
from raft_assets.raft.identity import digest
from raft_assets.resources.lake import Lake
from raft_assets.resources.models import Models
from raft_assets.settings import Role
from raft_assets.student.approval import APPROVAL_TAG, APPROVAL_VARIABLE, TRAINING, TrainingBill
from raft_assets.student.deployment import smoke_test
from raft_assets.student.finetuning import FineTuned, TrainingOrder, fine_tune

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
    deps=[training_files, settings_key("training")],
)
def finetuned_model(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The student's weights at the service that trained them, with job, loss curve and the hash of what they were
    trained on.
    """
    domain = context.partition_key
    settings = models.settings(domain).values.training
    order = TrainingOrder(
        base_model=models.endpoints[Role.STUDENT].model,
        base_version=resolved_model(models.endpoints[Role.STUDENT], models.workplace),
        train=lake.read_lines("training_files", domain, "train.jsonl"),
        valid=lake.read_lines("training_files", domain, "valid.jsonl"),
        hyperparameters={
            "n_epochs": settings.n_epochs,
            "batch_size": settings.batch_size,
            "learning_rate_multiplier": settings.learning_rate_multiplier,
        },
        seed=settings.seed,
    )
    tuned = run(_fine_tune(models, order, context, lambda: _check_approval(context, lake, models)))
    loss = [(step.step, step.train_loss, step.valid_loss) for step in tuned.loss]
    record = {
        "job": tuned.job_id,
        "model": tuned.model,
        "base_model": tuned.base_model,
        "training_hash": tuned.training_hash,
        "hyperparameters": tuned.hyperparameters,
        "trained_tokens": tuned.trained_tokens,
        "loss": loss,
    }
    address = lake.write_record("finetuned_model", domain, record)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(tuned.training_hash, tuned.model)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: record[name] for name in ("job", "model", "base_model", "training_hash")},
            "hyperparameters": dg.MetadataValue.json(tuned.hyperparameters),
            "trained_tokens": tuned.trained_tokens or 0,
            "found_again": tuned.reattached,
            "loss": loss_plot(loss) if loss else "the service gave no loss curve",
        },
    )


@dg.asset(
    partitions_def=domains,
    group_name="student",
    kinds={"openai"},
    owners=["team:raft"],
    tags={"stage": "student"},
    metadata={ROLES: "STUDENT"},
    code_version="1",
    deps=[finetuned_model, settings_key("student"), settings_key("prompt")],
    check_specs=[SMOKE_SPEC],
)
def deployment(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Where the student answers, proved by a question put to it."""
    domain = context.partition_key
    settings = models.settings(domain).values
    tuned = lake.read_record("finetuned_model", domain)
    with models.caller(Role.STUDENT, model=tuned["model"], training_hash=tuned["training_hash"]) as student:
        test = smoke_test(
            student, settings.student, settings.evaluation.max_answer_tokens, settings.prompt.instructions
        )
    endpoint = models.endpoints[Role.STUDENT]
    record = {
        "service": endpoint.service,
        "model": tuned["model"],
        "training_hash": tuned["training_hash"],
        "sku": "in process, `raft serve` for others"
        if endpoint.provider == "embedded"
        else "none needed: the model id is its deployment",
        "expires": None,
        "smoke_test": {"question": test.question, "answer": test.answer, "well_formed": test.well_formed},
    }
    address = lake.write_record("deployment", domain, record)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(record["service"], record["model"], record["training_hash"])),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: str(record[name]) for name in ("service", "model", "training_hash", "sku", "expires")},
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
            on_event=lambda message: context.log.info("%s %s", PREFIX, message),
            before_submission=before_submission,
        )


def _check_approval(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> None:
    """Stops before a job that may cost money and that nobody said yes to, or that a budget forbids."""
    endpoint, domain = models.endpoints[Role.STUDENT], context.partition_key
    if endpoint.is_free:
        return
    counts = lake.read_record("training_files", domain)
    bill = TrainingBill(
        rows=counts["train"]["rows"],
        valid_rows=counts["valid"]["rows"],
        tokens=counts["train"]["tokens"],
        epochs=models.settings(domain).values.training.n_epochs,
        price=models.prices.of(endpoint).training,
    )
    bill.check_budget(models.workplace.budget.run)
    if TRAINING in (context.run.tags.get(APPROVAL_TAG), models.workplace.environment.get(APPROVAL_VARIABLE)):
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
