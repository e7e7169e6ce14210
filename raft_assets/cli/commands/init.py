"""`raft init`."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option(
    "--documents",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder of documents elsewhere, which becomes a domain; it is linked, not copied.",
)
@click.option("--example/--no-example", default=None, help="Copy a domain with golden questions to try raft with.")
def init(folder: Path, *, documents: Path | None, example: bool | None) -> None:
    """Make a folder a project: documents, settings, .env with comments, .gitignore, workspace.yaml.

    FOLDER is this one unless named. What is there stays as it is. If it holds documents, the project is its folder
    raft, to which they are one domain; nothing is moved. On a terminal it is asked whether you want the example.

    \b
    Examples:
      raft init my-project
      raft init my-project --example
      raft init my-project --documents ~/manuals
      cd ~/manuals && raft init
    """
    from raft_assets.cli.init import start_project

    start_project(folder, documents=documents, example=example)
