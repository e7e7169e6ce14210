"""`raft run`."""

import click

from raft_assets.cli.commands.completion import complete_assets, complete_domains, complete_presets


@click.command()
@click.argument("domain", nargs=-1, shell_complete=complete_domains)
@click.option("--all", "everything", is_flag=True, help="Every domain in data/.")
@click.option(
    "--select",
    "selected",
    multiple=True,
    metavar="ASSET",
    shell_complete=complete_assets,
    help="Only this asset and its upstream assets; may be repeated.",
)
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=complete_presets,
    help="Settings from presets/NAME.yaml, remembered for these domains.",
)
@click.option("--force", is_flag=True, help="Materialize fresh assets too. Paid calls are not repeated.")
@click.option(
    "--retry-rejected",
    is_flag=True,
    help="Ask again where an answer was filtered, truncated, looping or empty; implies --force.",
)
@click.option("--yes", is_flag=True, help="Approve fine-tuning that may cost money; without it such a job waits.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0),
    metavar="US$",
    help="Stop before the paid calls of this command pass this amount.",
)
def run(
    domain: tuple[str, ...],
    *,
    everything: bool,
    selected: tuple[str, ...],
    preset: str | None,
    force: bool,
    retry_rejected: bool,
    yes: bool,
    budget: float | None,
) -> None:
    """Materialize what is stale or missing, from documents to eval report.

    These are the same runs as those started from the UI, where their events and metadata appear. Ctrl-C keeps finished
    work; run the same command again to continue. With RAFT_HOSTED_URL they are runs of that platform, as one backfill
    in its queue, and Ctrl-C only ends the looking on.

    \b
    Examples:
      raft run --all
      raft run bats "harbor handbook"
      raft run bats --select training_files     stop before training
      raft run bats --preset hard_distractors
      raft run bats --yes                       approve a fine-tuning job that costs money
      raft run bats --budget 5                  US$; answers already paid for are kept for a run with a higher budget
    """
    from raft_assets.settings.hosted import HostedPlatform
    from raft_assets.settings.project import Project

    if hosted := HostedPlatform.of(Project.load().environment):
        from raft_assets.cli.hosted import submit_domains

        if preset or retry_rejected:
            option = "--preset" if preset else "--retry-rejected"
            raise click.UsageError(
                f"{option} changes what belongs to the platform of RAFT_HOSTED_URL: name a preset in the domain's "
                "domain.yaml, and ask again for rejected answers on a machine of the platform."
            )
        submit_domains(
            hosted,
            domain,
            everything=everything,
            selected=selected,
            force=force,
            approved=yes,
            budget=budget,
        )
        return
    from raft_assets.cli.run import materialize_domains

    materialize_domains(
        domain,
        everything=everything,
        selected=selected,
        preset=preset,
        force=force,
        retry_rejected=retry_rejected,
        approved=yes,
        budget=budget,
    )
