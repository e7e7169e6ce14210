"""What the project spends in addition to its model calls, and the budgets over all of it."""

import json
import time
from contextlib import closing

from raft_assets.llm.budget import Budget
from raft_assets.llm.keys import TRAINING_KIND, training_key
from raft_assets.llm.prices import HOURS_A_MONTH, PriceList
from raft_assets.llm.requests import Origin, Usage
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.operations.process import coordination_of
from raft_assets.settings.endpoints import DEVELOPER_TIER, Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.student.finetuning import FineTuningResult


def price_list(project: Project) -> PriceList:
    """Return the prices of the project's models."""
    return PriceList(project.folder, project.endpoints.values())


def open_budget(project: Project, store: CallStore, prices: PriceList, command: str) -> Budget:
    """Return the budgets of the command and of the month."""
    return Budget(coordination_of(project), project.budget, run=command, store=store, prices=prices)


def record_training(project: Project, tuned: FineTuningResult, origin: Origin) -> float | None:
    """Record a fine-tuning job that cost money among the paid calls: once, however often it is found again.

    Returns its cost in US dollars; None where the price is unknown.
    """
    endpoint = project.endpoints[Role.STUDENT]
    if not tuned.job_id or endpoint.is_free:
        return 0.0
    if tuned.trained_tokens is None:
        return None
    job = StoredCall(
        *(training_key(endpoint.service, tuned.job_id), endpoint.service, endpoint.model, TRAINING_KIND, "ok"),
        Usage(input_tokens=tuned.trained_tokens),
        latency_s=0.0,
        created=time.time(),
        payload=json.dumps({"job": tuned.job_id, "model": tuned.model}).encode(),
        role=Role.STUDENT.value,
        origin=origin,
    )
    with open_call_store(project) as store:
        store.put([job])
    return price_list(project).of(endpoint).training_cost(tuned.trained_tokens)


def reserve_training(project: Project, dollars: float, command: str) -> None:
    """Reserve a job's expected cost in the budgets of run and month.

    Raises BudgetReachedError before they are exceeded.
    """
    with (
        open_call_store(project) as store,
        closing(open_budget(project, store, price_list(project), command)) as budget,
    ):
        budget.spend(dollars)


def monthly_hosting_cost(project: Project, sku: str) -> float | None:
    """Return the US dollars a month of an idle deployment of the student; None where the price is unknown."""
    if sku.lower() == DEVELOPER_TIER.lower():
        return 0.0
    per_hour = price_list(project).of(project.endpoints[Role.STUDENT]).hosting
    return None if per_hour is None else per_hour * HOURS_A_MONTH
