"""What `raft azure-evaluation` does: Microsoft's evaluators on the rows that the judge rated."""

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from raft_assets.cli.project import select_domains
from raft_assets.core.errors import SettingsError
from raft_assets.core.tables import ANSWERS, AzureJudgedAnswer, Chunk, JudgedAnswer
from raft_assets.evaluation.azure_evaluators import JudgeComparison, compare_judges, rate_answers
from raft_assets.llm.gateway import gateway
from raft_assets.llm.requests import Origin
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domains import PAIRS_FILE, QUESTIONS_FILE
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


def rate_judged_answers(domain: str) -> None:
    """Rate the judged answers of a domain with azure-ai-evaluation, store the ratings and print the comparison."""
    project = Project.load()
    [name] = select_domains(project, [domain], everything=False)
    models, lake = ModelClients(project), Lake.of(project)
    judge = models.endpoints.get(Role.JUDGE)
    if judge is None:
        raise SettingsError("No judge is configured: set JUDGE_OPENAI_* or JUDGE_AZURE_OPENAI_*, and run the domain.")
    ours = list(lake.rows(JudgedAnswer, name))
    answers = [row for model in ANSWERS.values() for row in lake.rows(model, name)]
    count = sum(row.sample == 0 for row in ours)
    # which call is about which document, the package doesn't say
    documents = {chunk.path for chunk in lake.rows(Chunk, name)} | {QUESTIONS_FILE, PAIRS_FILE}
    origin = Origin(AzureJudgedAnswer.table, name)
    with (
        models.caller(Role.JUDGE, origin=origin, live=True) as caller,
        gateway(caller, documents=documents) as address,
    ):
        rows = rate_answers(ours, answers, base_url=address, model=judge.model)
        theirs = list(track(rows, f"{name}: {judge.model} rates by azure-ai-evaluation", total=count, transient=True))
    written = lake.write(AzureJudgedAnswer, name, theirs)
    failed = sum(row.score is None for row in theirs)
    Console(highlight=False).print(_table(compare_judges(ours, theirs)))
    click.echo(f"{written.rows} rows in {written.address}, {failed} without a score; {caller.usage_stats.calls} calls")


def _table(comparisons: list[JudgeComparison]) -> Table:
    table = Table("metric", box=None, header_style="bold")
    for title in ("answers", "our mean", "theirs", "the same", "points apart"):
        table.add_column(title, justify="right")
    for comparison in comparisons:
        agreed = comparison.agreement
        means = (f"{comparison.ours:.2f}", f"{comparison.theirs:.2f}")
        table.add_row(agreed.metric, str(agreed.n), *means, f"{agreed.same:.0%}", f"{agreed.difference:.2f}")
    return table
