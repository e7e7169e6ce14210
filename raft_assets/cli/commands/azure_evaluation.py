"""`raft azure-evaluation`."""

import click

from raft_assets.cli.commands.completion import complete_domains


@click.command("azure-evaluation")
@click.argument("domain", shell_complete=complete_domains)
def azure_evaluation(domain: str) -> None:
    """Rate a domain's judged answers again with the evaluators of azure-ai-evaluation, and compare both ratings.

    The JUDGE role answers them through the call store, within the budgets, so that each call is paid once. The rows
    are in the lake as azure_judged_answers. The package is an extra for an environment of its own:

    \b
      pip install --no-deps --require-hashes -r infra/constraints/azure-evaluation.txt
      pip install --no-deps --no-build-isolation -e .

    \b
    Examples:
      raft azure-evaluation mine
      raft sql "SELECT metric, avg(score) FROM azure_judged_answers GROUP BY metric"
    """
    from raft_assets.cli.azure_evaluation import rate_judged_answers

    rate_judged_answers(domain)
