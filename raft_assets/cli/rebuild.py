"""`raft rebuild`: the same data set again, from the manifest of an export."""

import sys
from pathlib import Path

import click

from raft_assets.cli.project import select_domains
from raft_assets.cli.run import run
from raft_assets.dataset.manifest import read_manifest
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


@click.command()
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--domain", metavar="NAME", help="The domain that holds the documents.  [default: the manifest's]")
@click.pass_context
def rebuild(context: click.Context, manifest: Path, domain: str | None) -> None:
    """Build the dataset of MANIFEST again and compare the rows.

    Exit code 0: the same rows, 1: other rows or a failed run, 2: refused.

    The domain must hold the manifest's documents. Code and models must be the same; settings are written to domain.yaml
    where there is none, and the register of splits is restored. Stored answers are used, what is not stored is asked
    again.

    \b
    Examples:
      raft rebuild out/bats/manifest.json
      cp -r /archive/bats data/again && raft rebuild out/bats/manifest.json --domain again
    """
    from raft_assets.operations.rebuild import DATASET, package_notes, restore_inputs, table_differences

    project, wanted = Project.load(), read_manifest(manifest)
    (name,) = select_domains(project, [domain or wanted.domain], everything=False)
    lake = Lake.of(project)
    restore_inputs(project, lake, wanted, name)
    try:
        context.invoke(run, domain=(name,), everything=False, selected=(DATASET,), preset=None, force=True)
    except SystemExit as ended:
        if ended.code:
            raise
    differences = table_differences(lake, wanted, name)
    if differences:
        for line in [*differences, *package_notes(wanted)]:
            click.echo(line, err=True)
        sys.exit(1)
    click.echo(f"The same data set: {DATASET} of {name!r} is {wanted.digests[DATASET]}.")
