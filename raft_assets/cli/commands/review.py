"""`raft review`."""

from pathlib import Path

import click

from raft_assets.cli.commands.completion import complete_domains


@click.group()
def review() -> None:
    """Review QA pairs: export pairs to a file, fill in verdicts, import them again.

    \b
    Examples:
      raft review export bats --to review.csv --sample 50
      raft review import bats review.csv && raft run bats
    """


@review.command("export")
@click.argument("domain", shell_complete=complete_domains)
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.csv or FILE.jsonl."
)
@click.option("--sample", type=click.IntRange(min=1), help="Only a sample of this size; the same pairs every time.")
@click.option("--rejected", is_flag=True, help="Also pairs that the gates rejected, with the reason.")
def export(domain: str, *, target: Path, sample: int | None, rejected: bool) -> None:
    """Write the pairs of a domain for a reviewer: a row per pair, with its passage. CSV opens in a spreadsheet.

    Write accept or reject into the column verdict, and what you like into note; leave the other columns as they are.
    An apostrophe before a cell keeps a spreadsheet from computing it.

    \b
    Examples:
      raft review export bats --to review.csv
      raft review export bats --to review.jsonl --sample 50 --rejected
    """
    from raft_assets.cli.review import export_pairs

    export_pairs(domain, target, sample=sample, rejected=rejected)


@review.command("import")
@click.argument("domain", shell_complete=complete_domains)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(domain: str, file: Path) -> None:
    """Read the verdicts of a file that `raft review export` wrote, and keep them in the domain's reviews.jsonl.

    A reject removes the pair from the dataset. An accept overrides the gates that judge content (answer not supported,
    the judge, question points at a text, retrieval, near-duplicate), never those of form. Earlier verdicts on other
    pairs stay.

    \b
    Examples:
      raft review import bats review.csv
    """
    from raft_assets.cli.review import import_verdicts

    import_verdicts(domain, file)
