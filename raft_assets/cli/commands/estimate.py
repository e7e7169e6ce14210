"""`raft estimate`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option("--all", "everything", is_flag=True, help="Every domain.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def estimate(domain: tuple[str, ...], *, everything: bool, as_json: bool) -> None:
    """Estimate the calls, tokens, US dollars and time of the next `raft run`. Makes no calls.

    Fresh assets and stored answers cost nothing. The number of questions per call and the length of answers are
    measured on stored calls of the corpus: `raft preview DOMAIN -n 20` makes an even sample, which isn't paid again.

    \b
    Examples:
      raft estimate mine
      raft preview mine -n 20 && raft estimate mine
      raft estimate --all --json
    """
    from raft_assets.cli.estimate import print_estimates

    print_estimates(domain, everything=everything, as_json=as_json)
