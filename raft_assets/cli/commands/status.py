"""`raft status`."""

import click


@click.command()
@click.argument("domain", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per domain.")
def status(domain: tuple[str, ...], *, as_json: bool) -> None:
    """Show whether each asset is fresh, stale (and why), missing, waiting or failed, and the latest verdicts.

    \b
    Examples:
      raft status
      raft status bats --json
    """
    from raft_assets.cli.status import print_status

    print_status(domain, as_json=as_json)
