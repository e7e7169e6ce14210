"""`raft doctor`."""

import click


@click.command()
def doctor() -> None:
    """Check what a run needs: folders, settings, model weights and, with a test call, every role's endpoint.

    Each role is asked one short question (a fraction of a cent where it costs money), the student's service whether it
    fine-tunes, and Azure whether a model may be deployed.

    \b
    Examples:
      raft doctor
    """
    from raft_assets.cli.doctor import print_findings

    print_findings()
