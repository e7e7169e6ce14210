"""What `raft azure configure` does: it asks for models and a region, and writes the choice into the azd environment."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.cli.confirming import confirm
from raft_assets.cli.output import table_console
from raft_assets.core.errors import SettingsError
from raft_assets.core.near_misses import did_you_mean
from raft_assets.provisioning.azd import NAME_VARIABLE, AzdEnvironment, AzdError, read_environment, set_values
from raft_assets.provisioning.catalogue import Catalogue, shipped_catalogue
from raft_assets.provisioning.choice import Candidate, Choice, Market, not_offered, pick, settle
from raft_assets.provisioning.configuration import (
    ModelPrice,
    check_capacity,
    describe_idle_cost,
    model_prices,
    open_market,
    to_values,
)
from raft_assets.provisioning.provisioned import LAKE, LOCATION, SUBSCRIPTION
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project

if TYPE_CHECKING:
    from raft_assets.provisioning.arm import Arm

NONE = "none"  # the judge that is no model
MAX_SHOWN = 20  # of the models that a region offers: Azure lists hundreds
ORDER = (Role.STUDENT, Role.TEACHER, Role.BASELINE, Role.EMBEDDING, Role.JUDGE)  # what narrows the rest comes first
QUESTIONS = {
    Role.STUDENT: "Which model is fine-tuned (student)?",
    Role.TEACHER: "Which writes questions and answers (teacher)?",
    Role.BASELINE: "Which is it compared with (baseline)?",
    Role.EMBEDDING: "Which embeds passages (embedding)?",
    Role.JUDGE: "Which rates answers (judge)?",
}


@dataclass(frozen=True)
class Wishes:
    """What the command line names. `models` are by role; `capacities` are `N` or `ROLE=N`."""

    region: str | None
    models: Mapping[str, str | None]
    capacities: Sequence[str]
    lake: str | None
    environment: str | None


def configure_models(wishes: Wishes, *, asks: bool, offline: bool, dry_run: bool) -> None:
    """Choose models and region, print the choice with its cost, and write it unless it is a dry run.

    Raises SettingsError for a choice that is impossible, with the reason, AzdError where azd fails, and ArmError where
    Azure refuses.
    """
    if asks and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: add --yes to take the best for what no option names.")
    project, today = Project.load(), datetime.now(UTC).date()
    catalogue, capacities = shipped_catalogue(), _read_capacities(wishes.capacities)
    environment = _open_environment(project, wishes.environment, is_needed=not dry_run)
    click.echo(environment.told if environment else "no azd environment: nothing can be written")
    console = table_console()
    region = _choose_region(catalogue, wishes.region, environment, asks=asks)
    arm, reason = (None, "") if offline else _open_arm(environment)
    with closing(arm) if arm else nullcontext():
        market = open_market(arm, catalogue, region, today, reason=reason)
        for warning in market.warnings:
            click.echo(f"Warning: {warning}", err=True)
        choice = settle(market, _choose_models(console, market, wishes.models, asks=asks), capacities)
        if arm is not None and market.is_complete:
            check_capacity(arm, choice)
    _print_choice(console, choice, model_prices(choice, project.folder))
    lake_on_azure = _wants_lake(wishes.lake, environment)
    values = to_values(choice, lake_on_azure=lake_on_azure)
    if dry_run or environment is None:
        for name, value in values.items():
            click.echo(f"{name}={value}")
        return
    if asks:
        confirm(f"Write this into the azd environment {environment.name}?", default=True)
    set_values(project.folder, environment.name, values)
    click.echo(f"Written into {environment.name}: {', '.join(values)}. Next: `azd up`.")


def _open_environment(project: Project, name: str | None, *, is_needed: bool) -> AzdEnvironment | None:
    try:
        return read_environment(project.folder, name or project.environment.get(NAME_VARIABLE))
    except AzdError as error:
        if is_needed or name:
            raise
        click.echo(f"Warning: {error}", err=True)
        return None


def _open_arm(environment: AzdEnvironment | None) -> "tuple[Arm | None, str]":
    """Return the management plane of the environment's subscription, or why it isn't asked."""
    subscription = environment.get(SUBSCRIPTION) if environment else None
    if subscription is None:
        return None, (
            f"Azure isn't asked, because the azd environment has no {SUBSCRIPTION}: `azd env set {SUBSCRIPTION} ...`."
        )
    from raft_assets.provisioning.arm import Arm, ArmError

    try:
        return Arm(subscription), ""
    except ArmError as error:
        return None, str(error)


def _choose_region(catalogue: Catalogue, wished: str | None, environment: AzdEnvironment | None, *, asks: bool) -> str:
    """Return the region, by option, by the azd environment, by asking, or the first that has every model."""
    default = (environment.get(LOCATION) if environment else None) or catalogue.regions.complete[0]
    region = wished
    if region is None and asks:
        click.echo(f"Regions that have every model: {', '.join(catalogue.regions.complete)}.")
        region = str(click.prompt("Which region?", default=default))
    region = (region or default).lower().replace(" ", "")
    known = catalogue.regions.training
    if region not in known:
        raise SettingsError(
            f"No student is trained in {region!r}.{did_you_mean(region, known)} Regions that train: {', '.join(known)}."
        )
    return region


def _choose_models(
    console: Console, market: Market, wished: Mapping[str, str | None], *, asks: bool
) -> dict[Role, Candidate]:
    """Return a model per role: first those that options name, then what is asked for or best beside them."""
    chosen = dict[Role, Candidate]()
    for role in ORDER:
        name = wished[role]
        if name and not (role is Role.JUDGE and name == NONE):
            chosen[role] = pick(market, role, chosen, name)
    for role in ORDER:
        if role in chosen or wished[role]:
            continue
        default = _default_name(market, role, chosen)
        name = _ask(console, market, role, chosen, default) if asks else default
        if name != NONE:
            chosen[role] = pick(market, role, chosen, name)
    return chosen


def _default_name(market: Market, role: Role, chosen: Mapping[Role, Candidate]) -> str:
    """Return what a role has where nobody chooses: no judge, the student's base model as baseline, else the best."""
    if role is Role.JUDGE:
        return NONE
    candidate = chosen[Role.STUDENT] if role is Role.BASELINE else pick(market, role, chosen, None)
    return _full_name(candidate)


def _full_name(candidate: Candidate) -> str:
    return f"{candidate.name}-{candidate.model.version}" if candidate.model.version else candidate.name


def _ask(console: Console, market: Market, role: Role, chosen: Mapping[Role, Candidate], default: str) -> str:
    """Show what is offered and what isn't, and return the name that is typed, or the number of a line."""
    offered = market.offered(role, chosen)
    console.print()
    console.print(_offer_table(QUESTIONS[role], offered[:MAX_SHOWN]))
    if len(offered) > MAX_SHOWN:
        console.print(Text(f"  and {len(offered) - MAX_SHOWN} more, by name", style="bright_black"))
    for candidate, reason in not_offered(market, role, chosen):
        console.print(Text(f"  not offered: {candidate.name}: {reason}", style="bright_black"))

    def read(typed: str) -> str:
        name = _full_name(offered[int(typed) - 1]) if typed.isdigit() and 0 < int(typed) <= len(offered) else typed
        if name != NONE or role is not Role.JUDGE:
            try:
                pick(market, role, chosen, name)
            except SettingsError as error:
                raise click.UsageError(str(error)) from None
        return name

    return str(click.prompt(f"{role.value.lower()}: name or number", default=default, value_proc=read))


def _offer_table(title: str, offered: Sequence[Candidate]) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)
    for column in ("", "model", "version", "made by", "until", "deployed as"):
        table.add_column(column)
    for number, one in enumerate(offered, start=1):
        skus = ", ".join(f"{sku.name}{'' if sku.most is None else f' (at most {sku.most:,})'}" for sku in one.skus)
        until = str(one.model.retires or "no end known")
        table.add_row(str(number), Text(one.name), Text(one.model.version), Text(one.model.format), until, Text(skus))
    return table


def _print_choice(console: Console, choice: Choice, prices: Sequence[ModelPrice]) -> None:
    table = Table(
        title=Text(f"{choice.market.region}, by {choice.market.told}", style="bold"), title_justify="left", box=None
    )
    for column in ("model", "version", "roles", "deployed as"):
        table.add_column(column)
    table.add_column("capacity", justify="right")
    for deployment in choice.deployments:
        model, roles = deployment.candidate.model, ", ".join(role.value.lower() for role in deployment.roles)
        table.add_row(Text(model.name), Text(model.version), roles, deployment.sku.name, f"{deployment.capacity:,}")
    student = choice.student
    how = f"{student.sku} after training ({student.training_type or 'default type'})"
    model = student.candidate.model
    table.add_row(Text(model.name), Text(model.version), "student", how, f"{student.capacity:,}")
    console.print(table)
    console.print(_price_table(prices))
    console.print(Text(describe_idle_cost(choice, prices)))
    for note in choice.notes:
        console.print(Text(f"Note: {note}", style="yellow"))


def _price_table(prices: Sequence[ModelPrice]) -> Table:
    table = Table(title="US$ a million tokens", title_justify="left", title_style="bold", box=None)
    table.add_column("model")
    parts: dict[str, Callable[[ModelPrice], float | None]] = {
        "input": lambda one: one.price.input,
        "output": lambda one: one.price.output,
        "training": lambda one: one.price.training,
    }
    for part in parts:
        table.add_column(part, justify="right")
    table.add_column("source")
    for one in prices:
        shown = [_show_price(part, read(one), one.roles) for part, read in parts.items()]
        table.add_row(Text(one.model), *shown, Text(one.price.source))
    return table


def _show_price(part: str, dollars: float | None, roles: Sequence[Role]) -> str:
    """Return a price; of a part that a model isn't used for, nothing."""
    unused = (part == "training" and Role.STUDENT not in roles) or (part == "output" and set(roles) == {Role.EMBEDDING})
    return "" if unused else "price unknown" if dollars is None else f"{dollars:g}"


def _read_capacities(wished: Sequence[str]) -> dict[Role, int]:
    """Return the capacity per role that somebody asked for. Raises click.UsageError for what is none."""
    found = dict[Role, int]()
    for text in sorted(wished, key=lambda one: "=" in one):  # those of a role come last, and count
        name, _, number = text.rpartition("=")
        roles = [role for role in Role if not name or role.value.lower() == name.lower()]
        if not roles or not number.isdigit() or not int(number):
            names = ", ".join(role.value.lower() for role in Role)
            raise click.UsageError(f"--capacity {text} is no capacity: write N or ROLE=N, with a role of {names}.")
        found |= dict.fromkeys(roles, int(number))
    return found


def _wants_lake(wished: str | None, environment: AzdEnvironment | None) -> bool:
    """Return whether tables and calls are kept on Azure: by option, else as the environment has it already."""
    if wished is not None:
        return wished == "azure"
    return bool(environment and environment.get(LAKE) == "true")
