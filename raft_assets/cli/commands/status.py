"""`raft status`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per domain.")
@click.option(
    "--exit-code",
    "tells_by_code",
    is_flag=True,
    help="End with 1 where `raft run` has something to do, with 3 where everything else waits for a service, else 0.",
)
def status(domain: tuple[str, ...], *, as_json: bool, tells_by_code: bool) -> None:
    """Show the state of each asset, with the reason, and the latest verdicts.

    A state is one of: fresh, stale (something that it reads has changed), will follow (something before it is not
    fresh), missing (never made, or gone), failed, waiting (for a batch or a job). Ends with 0 whatever the states are,
    unless --exit-code asks for more: then with 2 where a domain can't be looked at.

    \b
    Examples:
      raft status
      raft status bats --json
      raft status --exit-code > /dev/null || raft run --all
    """
    from raft_assets.cli.status import print_status

    print_status(domain, as_json=as_json, tells_by_code=tells_by_code)
