"""`raft student`, `raft jobs` and `raft teardown`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def student(domain: str, *, as_json: bool) -> None:
    """Print the model card of a domain's student: what it is for, what it was trained on, how it did.

    Its path is printed on stderr; it is a model card of Hugging Face, and written anew with what is known now.

    \b
    Examples:
      raft student bats
      raft student bats > README.md
    """
    from raft_assets.cli.student import print_model_card

    print_model_card(domain, as_json=as_json)


@click.command()
@click.option("--cancel", "cancelled", metavar="JOB", help="Cancel a job; what it has cost so far is charged.")
@click.option("--resume", "resumed", metavar="JOB", help="Resume a paused job.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def jobs(*, cancelled: str | None, resumed: str | None, as_json: bool) -> None:
    """List the fine-tuning jobs that raft-assets submitted to the student's service, newest first.

    \b
    Examples:
      raft jobs
      raft jobs --cancel ftjob-abc123
    """
    from raft_assets.cli.student import print_jobs

    print_jobs(cancelled=cancelled, resumed=resumed, as_json=as_json)


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option("--all", "everything", is_flag=True, help="Every deployment that raft-assets made in the resource.")
@click.option("--expired", is_flag=True, help="Deployments past their expiry.")
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    metavar="HOURS",
    help="Deployments that this project has not called for this long.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per line.")
def teardown(
    domain: tuple[str, ...], *, everything: bool, expired: bool, idle: float | None, dry_run: bool, as_json: bool
) -> None:
    """Delete deployments of fine-tuned students on Azure and verify that they are gone. The models stay.

    \b
    Examples:
      raft teardown bats
      raft teardown --expired
      raft teardown --idle 12 --dry-run
      raft teardown --all
    """
    if sum((bool(domain), everything, expired, idle is not None)) != 1:
        raise click.UsageError("Name a domain, or pass one of --all, --expired and --idle HOURS.")
    from raft_assets.cli.student import delete_deployments

    delete_deployments(domain, everything=everything, expired=expired, idle=idle, dry_run=dry_run, as_json=as_json)
