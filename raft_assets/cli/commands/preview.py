"""`raft preview`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option("-n", "count", type=click.IntRange(1, 100), default=5, show_default=True, help="Chunks to ask about.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation before paid calls.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def preview(domain: str, *, count: int, yes: bool, as_json: bool) -> None:
    """Show finished RAFT rows for a few chunks before processing a whole corpus, with rejected pairs and the reasons.

    Reads and cuts the documents, asks about the chunks that a run asks first, applies every gate and adds distractors.
    Only the answers are stored, so the next run doesn't pay for them again. With a paid teacher this costs money; the
    number of calls is shown first. Ends with 1 where no row came, and says why.

    \b
    Examples:
      raft preview bats
      raft preview bats -n 2
      raft preview bats -n 10 --yes --json      with a paid teacher, in a script
    """
    from raft_assets.cli.preview import print_preview

    print_preview(domain, count=count, confirmed=yes, as_json=as_json)
