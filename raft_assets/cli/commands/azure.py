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
@click.option("--region", help="Azure's name of a region, such as swedencentral.")
@click.option("--student", help="The base model to fine-tune.")
@click.option("--teacher", help="The model that writes questions and answers.")
@click.option("--baseline", help="The model to compare with: the student's base model unless named.")
@click.option("--embedding", help="The model that embeds passages.")
@click.option("--judge", help="The model that rates answers, or none.")
@click.option(
    "--capacity",
    multiple=True,
    metavar="[ROLE=]N",
    help="Thousands of tokens a minute, of every role or of one (teacher=200); repeatable.",
)
@click.option(
    "--lake", type=click.Choice(["azure", "local"]), default=None, help="Where tables and paid calls are kept."
)
@click.option("-e", "--environment", help="The azd environment, where it isn't azd's default one.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the best that is offered for what no option names.")
@click.option("--offline", is_flag=True, help="Ask Azure nothing: choose from the shipped list of models.")
@click.option("--dry-run", is_flag=True, help="Write nothing: print what would be written.")
def configure(
    *,
    region: str | None,
    student: str | None,
    teacher: str | None,
    baseline: str | None,
    embedding: str | None,
    judge: str | None,
    capacity: tuple[str, ...],
    lake: str | None,
    environment: str | None,
    yes: bool,
    offline: bool,
    dry_run: bool,
) -> None:
    """Choose a model for each role and a region, and write the choice into the azd environment.

    On a terminal it asks for what no option names, and says why a model isn't offered: its region, its end, the
    licence of teacher and student, quota. Truth is what Azure lists for the subscription of the azd environment
    (AZURE_SUBSCRIPTION_ID), as you are signed in; without it, the shipped list, whose age is told. One model may fill
    several roles and is deployed once. Nothing is created, and nothing is paid: `azd up` does that.

    \b
    Examples:
      raft azure configure
      raft azure configure --region swedencentral --teacher gpt-oss-120b --student gpt-oss-20b --yes
      raft azure configure --student Qwen3-32B --judge DeepSeek-V3.2 --capacity teacher=200 --yes
      raft azure configure --offline --dry-run
    """
    from raft_assets.cli.azure import Wishes, configure_models

    wishes = Wishes(
        region=region,
        models={"STUDENT": student, "TEACHER": teacher, "BASELINE": baseline, "EMBEDDING": embedding, "JUDGE": judge},
        capacities=capacity,
        lake=lake,
        environment=environment,
    )
    configure_models(wishes, asks=not (yes or dry_run), offline=offline, dry_run=dry_run)
