"""`raft config` and `raft domains`."""

import click


@click.command()
@click.argument("domain", nargs=-1)
def config(domain: tuple[str, ...]) -> None:
    """Print a domain's resolved settings and the models of its roles, with the source of each value.

    \b
    Examples:
      raft config bats
    """
    from raft_assets.cli.config import print_config

    print_config(domain)


@click.group(invoke_without_command=True)
@click.pass_context
def domains(context: click.Context) -> None:
    """List the domains: the folders of data/ and their documents.

    \b
    Examples:
      raft domains
      raft domains forget bats
    """
    if context.invoked_subcommand is None:
        from raft_assets.cli.config import print_domains

        print_domains()


@domains.command()
@click.argument("domain", nargs=-1, required=True)
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
