"""What `raft init` does: it asks for the example on a terminal, and says what was made and what to do next."""

import os
import shlex
import sys
from pathlib import Path

import click

from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.operations.model_clients import embedded_provider
from raft_assets.operations.new_project import Plan, count_documents, make_project, plan_project
from raft_assets.settings.project import Project
from raft_assets.settings.shipped import EXAMPLE

WHAT_THE_EXAMPLE_IS = f"Copy an example to try raft with: {EXAMPLE}, 10 articles and 103 questions?"


def start_project(folder: Path, *, documents: Path | None, example: bool | None) -> None:
    """Make the folder a project; without an answer to `example`, ask on a terminal where there is no domain yet."""
    plan = plan_project(folder.expanduser(), documents.expanduser() if documents else None)
    has_domain = bool(plan.documents or plan.domains)
    if example is None:
        asks = not has_domain and sys.stdin.isatty() and sys.stdout.isatty()
        example = asks and click.confirm(WHAT_THE_EXAMPLE_IS, default=True)
    parts = make_project(plan, example=example)
    click.echo(plan.folder)
    width = max(len(part.path) for part in parts)
    for part in parts:
        click.echo(f"  {'created' if part.is_new else 'kept   '}  {part.path:<{width}}  {part.what}")
    if plan.documents:
        count = count_documents(plan.documents)
        click.echo(f"{plan.documents} is the domain {plan.name}: {count:,} documents, none moved or changed.")
    if not any(part.is_new for part in parts):
        click.echo("Everything was there already, and nothing was changed.")
    _say_next(plan, EXAMPLE if example and not plan.documents else next(iter(plan.domains), ""))


def _say_next(plan: Plan, domain: str) -> None:
    """Print the commands that lead from here to a verdict."""
    steps: list[tuple[str, str]] = []
    if plan.folder != Path.cwd().resolve():
        steps.append((f"cd {shlex.quote(os.path.relpath(plan.folder))}", ""))
    if _lacks_encoder(plan.folder):
        steps.append(("raft embedded install", "once: the encoder of the embedded provider, 83 MB"))
    if not domain:
        domain = "mine"
        steps.append((f"mkdir data/{domain}", "and put documents there; the folder's name is the domain"))
    name = shlex.quote(domain)
    steps += [
        (f"raft doctor {name}", "time, money, whether a verdict is possible, and what is missing"),
        (f"raft run {name}", "from documents to a verdict; after Ctrl-C, run it again to continue"),
        (f"raft report {name} --open", "what was asked, and what either model answered"),
        ("raft ui", "the lineage in the browser"),
    ]
    width = max(len(command) for command, _ in steps)
    click.echo("\nNext:")
    for command, what in steps:
        click.echo(f"  {command:<{width}}  {what}".rstrip())
    if (other := os.environ.get("RAFT_PROJECT")) and Path(other).resolve() != plan.folder:
        click.echo(f"RAFT_PROJECT is {other}: raft works there, and not here, until you unset it.", err=True)


def _lacks_encoder(folder: Path) -> bool:
    try:
        provider = embedded_provider(Project.load(folder))
    except SettingsError:  # of the user's .env: `raft doctor` says what is wrong with it
        return False
    try:
        provider.find_weights()
    except RaftError:
        return True
    return False
