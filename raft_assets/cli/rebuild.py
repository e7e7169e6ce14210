"""What `raft rebuild` does: it builds a dataset again from the manifest of an export."""

import sys
from pathlib import Path

import click

from raft_assets.cli.project import select_domains
from raft_assets.cli.run import materialize_domains
from raft_assets.dataset.manifest import read_manifest
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


def rebuild_dataset(manifest: Path, domain: str | None) -> None:
    """Build the dataset of a manifest again and compare the rows; exits with 1 where they differ or the run failed."""
    from raft_assets.operations.rebuild import DATASET, package_notes, restore_inputs, table_differences

    project, wanted = Project.load(), read_manifest(manifest)
    (name,) = select_domains(project, [domain or wanted.domain], everything=False)
    lake = Lake.of(project)
    restore_inputs(project, lake, wanted, name)
    try:
        materialize_domains([name], selected=[DATASET], force=True)
    except SystemExit as ended:
        if ended.code:
            raise
    differences = table_differences(lake, wanted, name)
    if differences:
        for line in [*differences, *package_notes(wanted)]:
            click.echo(line, err=True)
        sys.exit(1)
    click.echo(f"The same data set: {DATASET} of {name!r} is {wanted.digests[DATASET]}.")
