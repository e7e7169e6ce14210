"""`raft azure`: the commands between an empty subscription and models."""

import click

from raft_assets.cli.commands.azure_provision import export, predown, preflight, status


@click.group(commands=(export, preflight, predown, status))
def azure() -> None:
    """Choose models and region on Azure, for azd to provision.

    \b
    Examples:
      azd auth login && azd env new mine
      raft azure configure
      azd up
    """


@azure.command()
def configure() -> None:
    """Choose a model for each role and a region, and write the choice into the azd environment."""
