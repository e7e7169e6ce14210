"""What `raft azure export`, `preflight`, `predown` and `status` do; each names the azd environment first."""

import os
import re
import sys
from collections.abc import Collection
from dataclasses import asdict

import click
from rich.table import Table

from raft_assets.cli.output import print_json, table_console
from raft_assets.core.errors import RaftError
from raft_assets.operations.azure_teardown import check_groups, describe_losses
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.money import monthly_hosting_cost
from raft_assets.operations.probing import probe_roles
from raft_assets.provisioning.arm import Arm, ArmError
from raft_assets.provisioning.azd import NAME_VARIABLE, AzdEnvironment, read_environment
from raft_assets.provisioning.export import plan_export, write_export
from raft_assets.provisioning.inventory import AzureResource, idle_costs, list_resources
from raft_assets.provisioning.preflight import check_before_provisioning
from raft_assets.provisioning.provisioned import SUBSCRIPTION
from raft_assets.settings.endpoints import Role
from raft_assets.settings.env_file import read_env_file
from raft_assets.settings.project import Project
from raft_assets.student.hosting import poll_until

ROLES_TIMEOUT_S = 600.0  # Azure says that an assignment holds after ten minutes at most
REMEDY = "sign in (`az login`) and run the command again"


def export_state(name: str | None, *, check: bool) -> None:
    """Write `.env.state`, say what `.env` keeps, and with `check` go on as `raft doctor`, once roles hold.

    Raises AzdError and SettingsError where there is nothing to export.
    """
    project, environment = _open(name)
    export = plan_export(environment, read_env_file(project.folder / ".env"))
    for sentence in write_export(project.folder, export, environment.name):
        click.echo(sentence)
    for role in export.own:
        click.echo(f"{role} is configured in .env, and left out")
    for variable in export.overruled:
        click.echo(f"{variable} is set to something else in .env, which comes first")
    for variable in export.values:  # a hook has azd's values, which may name another group than the account's
        os.environ.pop(variable, None)
    if check:
        from raft_assets.cli.doctor import print_findings

        _wait_for_roles(ModelClients(Project.load()), without=export.own)
        print_findings()


def _wait_for_roles(models: ModelClients, *, without: Collection[Role]) -> None:
    """Wait while what was provisioned refuses the sign-in: an assigned role holds after minutes.

    `without`: roles that the user configured, which aren't asked: their refusal is none of time, and each test call may
    cost. Other faults are the doctor's.
    """
    is_announced = False
    for _ in poll_until(ROLES_TIMEOUT_S):
        refused = [probe.role for probe in probe_roles(models, without=without) if _is_forbidden(probe.outcome)]
        if not refused:
            return
        if not is_announced:
            click.echo(f"waiting until roles hold: {', '.join(dict.fromkeys(refused))} may not be asked yet")
        is_announced = True


def _is_forbidden(outcome: object) -> bool:
    return isinstance(outcome, RaftError) and re.search(r"\((401|403)\b", str(outcome)) is not None


def print_preflight(name: str | None) -> None:
    """Print a line per check, and exit with 1 where one of them is a problem."""
    _, environment = _open(name)
    failed = False
    for finding in check_before_provisioning(environment):
        click.echo(f"{finding.level:<8} {finding.subject}: {finding.message}")
        failed |= finding.level == "problem"
    sys.exit(1 if failed else 0)


def print_losses(name: str | None) -> None:
    """Print what `azd down` would delete for good. Raises SettingsError where a group is not azd's to delete."""
    project, environment = _open(name)
    arm = _open_arm(environment)
    try:
        check_groups(environment, arm)
        losses = list(describe_losses(environment, project, arm))
    finally:
        if arm is not None:
            arm.close()
    for loss in losses:
        click.echo(f"lost for good: {loss}")
    if not losses:
        click.echo("nothing that can't be made again at no cost is known")


def print_resources(name: str | None, *, as_json: bool) -> None:
    """Print a row per resource and deployment. Raises ArmError where Azure refuses to tell."""
    project, environment = _open(name, err=as_json)
    subscription = environment.get(SUBSCRIPTION)
    if subscription is None:
        click.echo("Nothing is provisioned yet: `azd provision`.", err=as_json)
        return
    try:
        with Arm(subscription, REMEDY) as arm:
            resources = list(list_resources(environment, arm))
    except ArmError as error:
        if error.status != 404:  # the resource group isn't made yet
            raise
        click.echo("Nothing is provisioned yet: `azd provision`.", err=as_json)
        return
    if as_json:
        for resource in resources:
            month, why = _idle_cost(project, resource)
            print_json(asdict(resource) | {"idle_dollars_a_month": month, "why": why})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "for", "SKU", "US$ a month, idle", ""):
        table.add_column(column)
    for resource in resources:
        month, why = _idle_cost(project, resource)
        kind = resource.kind.removeprefix("Microsoft.")
        table.add_row(
            resource.name, kind, resource.purpose, resource.sku, "unknown" if month is None else f"{month:,.2f}", why
        )
    console = table_console()
    console.print(table)
    console.print(f"list prices as of {idle_costs().read}; `raft status` shows students that are deployed")


def _idle_cost(project: Project, resource: AzureResource) -> tuple[float | None, str]:
    if resource.kind == "deployment":
        if not resource.is_student:
            return 0.0, "paid by token"
        return monthly_hosting_cost(project, resource.sku.partition(",")[0]), "paid by the hour"
    cost = idle_costs().of(resource.kind)
    return (cost.month, cost.why) if cost else (None, "")


def _open(name: str | None, *, err: bool = False) -> tuple[Project, AzdEnvironment]:
    project = Project.load()
    environment = read_environment(project.folder, name or project.environment.get(NAME_VARIABLE))
    click.echo(environment.told, err=err)
    return project, environment


def _open_arm(environment: AzdEnvironment) -> Arm | None:
    """Open the management plane; without it, say why, and go on with what the environment tells."""
    subscription = environment.get(SUBSCRIPTION)
    if subscription is None:
        return None
    try:
        return Arm(subscription, REMEDY)
    except ArmError as error:
        click.echo(f"Warning: {error}", err=True)
        return None
