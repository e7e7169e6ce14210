"""The `raft` command: its groups and how errors end. What a command does stands in the module of its subject."""

import sys

import click

from raft_assets.cli.data import export, import_, purge, report
from raft_assets.cli.doctor import doctor
from raft_assets.cli.estimate import estimate
from raft_assets.cli.look import config, domains, status
from raft_assets.cli.money import batches, calls, costs
from raft_assets.cli.preview import preview
from raft_assets.cli.rebuild import rebuild
from raft_assets.cli.review import review
from raft_assets.cli.run import run
from raft_assets.cli.servers import serve, ui
from raft_assets.cli.sql import sql
from raft_assets.cli.student import jobs, teardown
from raft_assets.errors import RaftError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="raft-assets")
def raft() -> None:
    """Turns folders of documents into fine-tuned, evaluated students.

    \b
    Examples:
      raft run --all            materialize the lineage of every domain in data/
      raft status               what is fresh, stale, missing or failed, and the last verdicts
      raft report bats --open   open the eval report of a domain
      raft ui                   the Dagster UI on 127.0.0.1
    """


LOOKING = (status, config, domains, doctor, report, estimate, costs, calls, batches, jobs, sql)
DATA = (preview, review, export, import_, rebuild, purge, teardown)
for command in (run, serve, ui, *LOOKING, *DATA):
    raft.add_command(command)


def main() -> None:
    """Entry point: 0 done, 1 something failed, 2 wrong usage or settings, 130 interrupted."""
    try:
        sys.exit(raft.main(standalone_mode=False))
    except RaftError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"Error: {error.filename or 'a file'}: {error.strerror or error}.", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept; the same command goes on from there.", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
