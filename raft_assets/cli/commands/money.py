"""`raft costs`, `raft calls` and `raft batches`."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from raft_assets.cli.commands.completion import complete_domains, complete_roles

if TYPE_CHECKING:
    from raft_assets.llm.ledger import Grouping


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option(
    "--by",
    type=click.Choice(["asset", "domain", "model", "role", "day", "run"]),
    default="asset",
    show_default=True,
    help="Group by this.",
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only calls from this day (UTC) on.")
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def costs(domain: tuple[str, ...], *, by: "Grouping", since: datetime | None, as_csv: bool, as_json: bool) -> None:
    """Show what was paid, derived from the stored calls: calls, tokens and US dollars.

    The same rows are in DuckDB as the table `ledger`. Calls without a known price are listed apart and never counted
    as zero: add the price to prices.yaml. Where the service didn't tell the tokens of some calls, they are counted
    here, and the sums are marked with ~.

    \b
    Examples:
      raft costs
      raft costs bats --by model
      raft costs --by day --since 2026-11-01 --csv > costs.csv
    """
    from raft_assets.cli.money import print_costs

    print_costs(domain, by=by, since=since, as_csv=as_csv, as_json=as_json)


@click.group()
def calls() -> None:
    """Inspect the call store: list, show, size, prune.

    \b
    Examples:
      raft calls list --domain bats --rejected
      raft calls show 3f9a77
      raft calls size
      raft calls prune --older-than 180
    """


@calls.command("list")
@click.option("--domain", shell_complete=complete_domains, help="Only calls that were first made for this domain.")
@click.option("--role", shell_complete=complete_roles, help="Only calls of this role, such as TEACHER.")
@click.option("--rejected", is_flag=True, help="Only answers that were filtered, truncated, looping or empty.")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="Show this many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def list_calls(*, domain: str | None, role: str | None, rejected: bool, count: int, as_json: bool) -> None:
    """List stored calls, the newest last.

    \b
    Examples:
      raft calls list
      raft calls list --role JUDGE --rejected -n 100
    """
    from raft_assets.cli.money import print_calls

    print_calls(domain=domain, role=role, rejected=rejected, count=count, as_json=as_json)


@calls.command("show")
@click.argument("key")
def show_call(key: str) -> None:
    """Print a stored call as JSON: who made it, its tokens, and the answer. The beginning of the key is enough.

    \b
    Examples:
      raft calls show 3f9a77c1b2d4
    """
    from raft_assets.cli.money import print_call

    print_call(key)


@calls.command("size")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def size_of_calls(*, as_json: bool) -> None:
    """Show the number and size of stored calls.

    \b
    Examples:
      raft calls size
    """
    from raft_assets.cli.money import print_size_of_calls

    print_size_of_calls(as_json=as_json)


@calls.command("prune")
@click.option("--older-than", "days", type=click.IntRange(1), help="Days since the answer came.")
@click.option("--model", help="Only calls of this model.")
@click.option("--rejected", is_flag=True, help="Only answers that were filtered, truncated, looping or empty.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
def prune_calls(*, days: int | None, model: str | None, rejected: bool, yes: bool) -> None:
    """Delete stored calls. A deleted call is made, and paid for, again when an asset needs it.

    \b
    Examples:
      raft calls prune --older-than 180
      raft calls prune --model gpt-4o-old --yes
    """
    if days is None and model is None and not rejected:
        raise click.UsageError("Choose calls by --older-than, --model or --rejected.")
    from raft_assets.cli.money import delete_calls

    delete_calls(days=days, model=model, rejected=rejected, confirmed=yes)


@click.command()
@click.option("--collect", is_flag=True, help="Fetch finished batches into the call store.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def batches(*, collect: bool, as_json: bool) -> None:
    """List batches of calls (`<ROLE>_BATCH=1`), oldest first, with model, asset and status.

    \b
    Examples:
      raft batches
      raft batches --collect
    """
    from raft_assets.cli.money import print_batches

    print_batches(collect=collect, as_json=as_json)
