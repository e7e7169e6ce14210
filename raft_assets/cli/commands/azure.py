"""`raft azure`: the commands between an empty subscription and models."""

import click


@click.group()
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
