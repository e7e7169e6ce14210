"""The `raft` command: its groups and how errors end. What a command does stands in the module of its subject."""

import sys
from importlib import import_module

import click

from raft_assets.core.errors import RaftError

INTERRUPTED = 130
# by subject: the module of a command is imported when the command is asked for, since all of them take seconds
COMMANDS = {
    "run": "run",
    **dict.fromkeys(("serve", "ui"), "servers"),
    **dict.fromkeys(("status", "config", "domains"), "look"),
    "doctor": "doctor",
    "estimate": "estimate",
    **dict.fromkeys(("costs", "calls", "batches"), "money"),
    **dict.fromkeys(("jobs", "teardown"), "student"),
    "sql": "sql",
    "azure-evaluation": "azure_evaluation",
    "preview": "preview",
    "review": "review",
    "rebuild": "rebuild",
    **dict.fromkeys(("report", "export", "import", "purge"), "data"),
}


class Commands(click.Group):
    """The commands, each imported from its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"raft_assets.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, "import_" if cmd_name == "import" else cmd_name.replace("-", "_"))
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
        click.echo("Interrupted. Finished work is kept; run the same command again to continue.", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
