"""What `raft student`, `raft jobs` and `raft teardown` do.

They print the model card, and see to fine-tuning jobs at the student's service and deployments on Azure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from raft_assets.cli.output import iso_time, print_json
from raft_assets.cli.project import select_domains
from raft_assets.core.errors import EndpointError, SettingsError
from raft_assets.llm.background import run_coroutine
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.model_card import write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.money import monthly_hosting_cost
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.student.finetuning import is_own_job
from raft_assets.student.hosting import HostedDeployment

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

MAX_JOBS = 50


def print_model_card(domain: str, *, as_json: bool) -> None:
    """Print the model card of a domain's student, after writing it with what is known now.

    Raises DataError if the domain has no student.
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    written = write_model_card(ModelClients(project), Lake.of(project), name)
    if as_json:
        print_json({"domain": name, "path": written.address, "card": written.text})
        return
    click.echo(written.text, nl=False)
    click.echo(written.address, err=True)


def print_jobs(*, cancelled: str | None, resumed: str | None, as_json: bool) -> None:
    """Print the fine-tuning jobs of raft-assets, after cancelling or resuming one of them where its id is given.

    Raises EndpointError where the service refuses or doesn't answer.
    """
    import openai

    models = ModelClients(Project.load())

    async def work() -> list[FineTuningJob]:
        async with models.client(Role.STUDENT) as client:
            if cancelled:
                return [await client.fine_tuning.jobs.cancel(cancelled)]
            if resumed:
                return [await client.fine_tuning.jobs.resume(resumed)]
            page = await client.fine_tuning.jobs.list(limit=MAX_JOBS)
            return [job for job in page.data if is_own_job(job)]

    try:
        listed = run_coroutine(work())
    except openai.APIStatusError as error:
        raise EndpointError(
            f"The service of STUDENT refuses ({error.status_code}) for {cancelled or resumed or 'a list of jobs'}. "
            "See `raft jobs` for the ids, and `raft doctor` for the sign-in."
        ) from None
    except openai.APIError as error:
        raise EndpointError(f"The service of STUDENT doesn't answer ({type(error).__name__}): `raft doctor`.") from None
    if as_json:
        for job in listed:
            print_json(
                {
                    "job": job.id,
                    "status": job.status,
                    "created": iso_time(job.created_at),
                    "model": job.model,
                    "fine_tuned_model": job.fine_tuned_model,
                    "trained_tokens": job.trained_tokens,
                    "error": job.error.message if job.error else None,
                }
            )
        return
    if not listed:
        click.echo("raft-assets has no jobs at this service.")
    for job in listed:
        reason = f": {job.error.message}" if job.error and job.error.message else ""
        since = datetime.fromtimestamp(job.created_at, UTC)
        click.echo(f"{job.id}  {job.status:<12} {since:%Y-%m-%d %H:%M}  {job.fine_tuned_model or job.model}{reason}")


def delete_deployments(
    domains: Sequence[str], *, everything: bool, expired: bool, idle: float | None, dry_run: bool, as_json: bool
) -> None:
    """Delete and print deployments on Azure: those of `domains`, all, the expired, or those idle for so many hours."""
    project = Project.load()
    names = select_domains(project, domains, everything=False) if domains else []
    models = ModelClients(project)
    with open_hosting(models.project) as hosting:
        if hosting is None:
            click.echo("Nothing to delete: this service serves a model by its id, without a deployment.", err=as_json)
            return
        now = datetime.now(UTC)
        deployments = hosting.all()
        hours_idle = {} if idle is None else idle_hours(models, deployments, now)
        chosen = [
            hosted
            for hosted in deployments
            if everything
            or hosted.domain in names
            or (expired and hosted.is_expired(now))
            or (idle is not None and hours_idle[hosted.name] >= idle)
        ]
        for hosted in chosen:
            if not dry_run:
                hosting.delete(hosted.name)
            if as_json:
                print_json({"deployment": hosted.name, "domain": hosted.domain, "deleted": not dry_run})
            else:
                click.echo(f"{hosted.name} ({hosted.domain}): {'would be deleted' if dry_run else 'deleted'}")
        if not chosen:
            click.echo("No deployment matches.", err=as_json)


def idle_hours(models: ModelClients, deployments: Iterable[HostedDeployment], now: datetime) -> dict[str, float]:
    """Return for how long this project has not called each deployment, or since its creation if it never did."""
    service, hours = models.endpoints[Role.STUDENT].service, dict[str, float]()
    with open_call_store(models.project) as store:
        for hosted in deployments:
            last_call = store.last_asked(hosted.address or service, hosted.name)
            since = datetime.fromtimestamp(last_call, UTC) if last_call else hosted.created
            hours[hosted.name] = (now - since).total_seconds() / 3600 if since else 0.0
    return hours


def print_deployments(console: Console, models: ModelClients) -> None:
    """Print what is deployed on Azure and what it costs a month when idle; nothing where Azure isn't used."""
    if not models.endpoints[Role.STUDENT].is_deployed_on_azure:
        return
    try:
        with open_hosting(models.project) as hosting:
            console.print(_deployments_table(hosting.all() if hosting else [], models))
    except (EndpointError, SettingsError) as error:
        console.print(f"deployments: {error}", style="yellow", markup=False)


def _deployments_table(deployments: Sequence[HostedDeployment], models: ModelClients) -> Table:
    table = Table(title="deployed on Azure", title_justify="left", box=None, pad_edge=False)
    for column in ("deployment", "domain", "state", "SKU", "ends", "US$ a month, idle"):
        table.add_column(column)
    for hosted in deployments:
        month = monthly_hosting_cost(models.project, hosted.sku)
        table.add_row(
            hosted.name,
            hosted.domain,
            hosted.state,
            f"{hosted.sku}, {hosted.capacity}",
            f"{hosted.expires:%Y-%m-%d %H:%M}" if hosted.expires else "never",
            "unknown" if month is None else f"{month:,.2f}",
        )
    return table
