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


@click.command()
def domains() -> None:
    """List the domains: the folders of data/ and their documents.

    \b
    Examples:
      raft domains
    """
    from raft_assets.cli.config import print_domains

    print_domains()
