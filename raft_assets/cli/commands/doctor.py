"""`raft doctor`."""

import click


@click.command()
@click.option("--relearn", is_flag=True, help="First forget what services have taught about what their models take.")
def doctor(*, relearn: bool) -> None:
    """Check what a run needs: folders, settings, model weights and, with a test call, every role's endpoint.

    Each role is asked one short question (a fraction of a cent where it costs money), the student's service whether it
    fine-tunes, and Azure whether a model may be deployed.

    \b
    Examples:
      raft doctor
      raft doctor --relearn
    """
    from raft_assets.cli.doctor import print_findings

    print_findings(relearn=relearn)
