"""The `raft` command: its commands and how errors end.

`commands/` declares what is typed (arguments, options, help) and imports nothing but click; what a command does is in
the module of the same name in this package, which is imported when the command runs, because that takes seconds.
"""

import atexit
import gc
import sys

import click

from raft_assets.cli.commands import (
    ask,
    azure,
    azure_evaluation,
    comparison,
    config,
    data,
    doctor,
    embedded,
    estimate,
    init,
    local,
    money,
    preview,
    questions,
    rebuild,
    review,
    run,
    servers,
    sql,
    status,
    student,
)
from raft_assets.core.errors import RaftError, describe_error, is_disk_full

INTERRUPTED = 130
COMMANDS = (
    init.init,
    run.run,
    embedded.embedded,
    servers.serve,
    servers.ui,
    local.local,
    status.status,
    config.config,
    config.domains,
    doctor.doctor,
    estimate.estimate,
    money.costs,
    money.calls,
    money.batches,
    student.student,
    student.jobs,
    student.teardown,
    sql.sql,
    azure.azure,
    azure_evaluation.azure_evaluation,
    preview.preview,
    ask.ask,
    questions.questions,
    review.review,
    rebuild.rebuild,
    data.report,
    comparison.compare,
    comparison.evaluate,
    data.export,
    data.import_,
    data.purge,
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="raft-assets")
def raft() -> None:
    """Turn folders of documents into fine-tuned, evaluated students.

    \b
    Examples:
      raft init my-project      a folder for documents, settings and keys; --example for something to try
      raft run --all            materialize the lineage of every domain in data/
      raft status               what is fresh, stale, missing or failed, and the last verdicts
      raft report bats --open   open the eval report of a domain
      raft ask bats "Why?"      ask its newest student
      raft ui                   the Dagster UI on 127.0.0.1
    """


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or settings, 3 waiting, 130 interrupted."""
    atexit.register(gc.disable)  # the first of two collections at the end, which takes a third of a second with Dagster
    try:
        sys.exit(raft.main(standalone_mode=False))
    except (RaftError, OSError) as error:
        click.echo(f"Error: {_name_address(describe_error(error))}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Finished work is kept; run the same command again to continue.", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not is_disk_full(error):
            raise
        click.echo(f"Error: {describe_error(error)}", err=True)
        sys.exit(2)


def _name_address(message: str) -> str:
    """Return a message with the address of documents that lie in a container, not of what was fetched of them."""
    from raft_assets.settings.project import Project

    try:
        return Project.load().name_address(message)
    except (RaftError, OSError):
        return message


if __name__ == "__main__":
    main()
