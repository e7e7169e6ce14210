"""`raft rebuild`."""

from pathlib import Path

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--domain",
    metavar="NAME",
    shell_complete=complete_domains,
    help="The domain that holds the documents.  [default: the manifest's]",
)
def rebuild(manifest: Path, *, domain: str | None) -> None:
    """Build the dataset of MANIFEST again and compare the rows.

    Exit code 0: the same rows, 1: other rows or a failed run, 2: refused.

    The domain must hold the manifest's documents. Code and models must be the same; settings are written to domain.yaml
    where there is none, and the register of splits is restored. Stored answers are used, and only those that are not
    stored are asked for again.

    \b
    Examples:
      raft rebuild out/bats/manifest.json
      cp -r /archive/bats data/again && raft rebuild out/bats/manifest.json --domain again
    """
    from raft_assets.cli.rebuild import rebuild_dataset

    rebuild_dataset(manifest, domain)
