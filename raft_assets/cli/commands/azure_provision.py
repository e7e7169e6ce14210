"""`raft azure export`, `preflight`, `predown` and `status`: what azd's hooks call, and a person may."""

import click

_environment = click.option("-e", "--environment", help="The azd environment, where it isn't azd's default one.")


@click.command()
@_environment
@click.option("--check", is_flag=True, help="Then wait until new roles hold, and do what `raft doctor` does.")
def export(environment: str | None, *, check: bool) -> None:
    """Write the provisioned endpoints of every role into .env.state, without a key.

    What .env sets comes first and stays as it is: a role that it configures is left out. Lake and paid calls move to
    Azure only after `raft azure configure --lake azure`. config.json is written for the classic path alone. Nothing
    changes where nothing has changed. azd calls this after `azd provision`.

    \b
    Examples:
      raft azure export
      raft azure export --environment mine --check
    """
    from raft_assets.cli.azure_provision import export_state

    export_state(environment, check=check)


@click.command()
@_environment
def preflight(environment: str | None) -> None:
    """Check what would fail minutes after `azd provision` began, and exit with 1 where something would.

    Values that the template takes, a deleted account that still holds the name, models that are gone, quota, the
    right to assign roles. azd calls this before `azd provision`.

    \b
    Example:
      raft azure preflight
    """
    from raft_assets.cli.azure_provision import print_preflight

    print_preflight(environment)


@click.command()
@_environment
def predown(environment: str | None) -> None:
    """Print what `azd down` would delete for good, and refuse where the resource group isn't azd's own.

    Deployments, students, and lake and paid calls where they are on Azure. azd calls this before `azd down`, which
    then asks (not with --force).

    \b
    Example:
      raft azure predown
    """
    from raft_assets.cli.azure_provision import print_losses

    print_losses(environment)


@click.command()
@_environment
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per resource or deployment.")
def status(environment: str | None, *, as_json: bool) -> None:
    """Print what is on Azure of an azd environment, what each is for, and what it costs while nobody uses it.

    \b
    Examples:
      raft azure status
      raft azure status --environment mine --json
    """
    from raft_assets.cli.azure_provision import print_resources

    print_resources(environment, as_json=as_json)
