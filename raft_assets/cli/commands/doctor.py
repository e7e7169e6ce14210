"""`raft doctor`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", required=False, shell_complete=complete_domains)
@click.option("--relearn", is_flag=True, help="First forget what services have taught about what their models take.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def doctor(domain: str | None, *, relearn: bool, as_json: bool) -> None:
    """Check what a run needs: folders, settings, model weights and, with a test call, every role's endpoint.

    All roles are asked one short question at the same time, those with the same endpoint and model once, and the
    student's service whether it fine-tunes, unless the student is one of your own. A service that may cut prompts
    without an error is also sent a prompt as long as a run's (where it costs money, about as much as one call). Azure
    is asked whether a model may be deployed.

    With DOMAIN it begins with what its next run comes to: time, money, and whether a verdict can follow. Of domains
    only this one is then checked.

    \b
    Examples:
      raft doctor
      raft doctor bats
      raft doctor --relearn
      raft doctor --json
    """
    from raft_assets.cli.doctor import print_findings

    print_findings(domain, relearn=relearn, as_json=as_json)
