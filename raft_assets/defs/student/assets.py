"""The fine-tuned student and where it answers."""

from dataclasses import asdict

import dagster as dg

from raft_assets.core.identity import digest
from raft_assets.defs.dataset.assets import training_files
from raft_assets.defs.describe import escape_markdown, loss_plot
from raft_assets.defs.lineage_asset import check_result, check_spec, lineage_asset, origin_of
from raft_assets.defs.progress import log_events, log_metrics
from raft_assets.operations.data_links import data_links
from raft_assets.operations.deploying import deploy_student
from raft_assets.operations.languages import check_languages_in_lake
from raft_assets.operations.model_card import write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.money import monthly_hosting_cost, record_training
from raft_assets.operations.process import COLLECTS_TAG
from raft_assets.operations.training import ApprovalNeededError, TrainingWatch, job_wait_s, train
from raft_assets.settings.endpoints import Role
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.storage.lake import Lake
from raft_assets.student.approval import APPROVAL_TAG

PRICE_UNKNOWN = f"unknown: add it to {PRICES_FILE}"
SMOKE_SPEC = check_spec(
    "student_keeps_the_contract",
    "deployment",
    "The deployed student's answer to the smoke test keeps the prompt contract.",
)


@lineage_asset(
    stage="student",
    kinds={"openai"},
    code_version="1",
    deps=[training_files],
    roles=[Role.STUDENT],
)
def finetuned_model(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """The student's weights at the service that trained them.

    With the job, its loss curve and the hash of what they were trained on. A run that no command follows ends while a
    long job goes on, and is resumed when it has ended.
    """
    domain = context.partition_key
    check_languages_in_lake(models.project, lake, domain, [Role.STUDENT])
    watch = TrainingWatch(
        log_events(context, models.project),
        log_metrics(context),
        wait_s=job_wait_s(models.project, context.run.tags),
        collects=context.run.tags.get(COLLECTS_TAG, ""),
    )
    try:
        tuned = train(models, lake, domain, watch, approved=context.run.tags.get(APPROVAL_TAG))
    except ApprovalNeededError as error:
        shown: dict[str, int | dg.MetadataValue[str]] = {
            "rows": error.rows,
            "first_row": dg.MetadataValue.text(error.first_row),
        }
        raise dg.Failure(str(error), metadata=shown, allow_retries=False) from error
    dollars = record_training(models.project, tuned, origin_of(context))
    links = data_links(models.project, lake, domain).record if tuned.job_id else {}
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
        **links,
    }
    address = lake.write_record("finetuned_model", domain, record)
    card = write_model_card(models, lake, domain)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(tuned.training_hash, tuned.model)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: record[name] for name in ("job", "model", "base_model", "training_hash")},
            **links,
            "hyperparameters": dg.MetadataValue.json(tuned.hyperparameters),
            # numbers where they are known, which the UI plots; a figure that nobody tells is absent, never zero
            **({} if tuned.trained_tokens is None else {"trained_tokens": tuned.trained_tokens}),
            **({"price": PRICE_UNKNOWN} if dollars is None else {"us_dollars": round(dollars, 6)}),
            "found_again": tuned.reattached,
            "model_card": dg.MetadataValue.path(card.address),
            "checkpoints": dg.MetadataValue.json([asdict(point) for point in tuned.checkpoints]),
            "loss": loss_plot(loss) if loss else "not reported by the service",
        },
    )


@lineage_asset(
    stage="student",
    kinds={"openai"},
    code_version="2",
    deps=[finetuned_model],
    roles=[Role.STUDENT],
    checks=[SMOKE_SPEC],
)
def deployment(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """Where the student is deployed, verified by a test question."""
    domain = context.partition_key
    deployed, test = deploy_student(
        models,
        domain,
        lake.read_record("finetuned_model", domain),
        origin=origin_of(context),
        on_event=log_events(context, models.project),
    )
    month = monthly_hosting_cost(models.project, deployed.sku) if deployed.is_hosted else 0.0
    shown = {"question": test.question, "answer": test.answer, "well_formed": test.well_formed}
    address = lake.write_record("deployment", domain, {**deployed.record, "smoke_test": shown})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(deployed.service, deployed.name, deployed.model, deployed.training_hash)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **{name: str(value) for name, value in deployed.record.items()},
            **({"hosting_price": PRICE_UNKNOWN} if month is None else {"hosting_us_dollars_a_month": month}),
            "smoke_test": dg.MetadataValue.md(
                f"**{escape_markdown(test.question)}**\n\n{escape_markdown(test.answer)}"
            ),
        },
        check_results=[check_result(SMOKE_SPEC, passed=test.well_formed)],
    )
