"""`raft config` and `raft domains`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per domain.")
def config(domain: tuple[str, ...], *, as_json: bool) -> None:
    """Print a domain's resolved settings and the models of its roles, with the source of each value.

    \b
    Examples:
      raft config bats
      raft config bats --json
    """
    from raft_assets.cli.config import print_config

    print_config(domain, as_json=as_json)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per domain.")
@click.pass_context
def domains(context: click.Context, *, as_json: bool) -> None:
    """List the domains: the folders of data/ and their documents.

    \b
    Examples:
      raft domains
      raft domains --json
      raft domains forget bats
    """
    if context.invoked_subcommand is None:
        from raft_assets.cli.config import print_domains

        print_domains(as_json=as_json)


@domains.command()
@click.argument("domain", nargs=-1, required=True, shell_complete=complete_domains)
def forget(domain: tuple[str, ...]) -> None:
    """Unregister domains whose folders are gone, so that the UI no longer lists them.

    One that goes while others stay is unregistered by itself. While data/ holds no domain at all, none is: it may be a
    disk that is not mounted. Nothing else is deleted; `raft purge` deletes what was made from a domain.

    \b
    Examples:
      raft domains forget bats
    """
    from raft_assets.cli.config import forget_domains

    forget_domains(domain)
