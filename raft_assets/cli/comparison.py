"""What `raft compare` and `raft evaluate` do."""

import sys
import uuid
import webbrowser
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.cli.output import print_json, table_console
from raft_assets.cli.paid_calls import confirm_paid_calls, show_progress
from raft_assets.cli.project import select_domains
from raft_assets.core.errors import DataError, WaitingError
from raft_assets.core.terminal import strip_control_characters
from raft_assets.evaluation.comparison_page import COMPARISON_TABLE, ComparisonData, describe_figures, render_comparison
from raft_assets.evaluation.wording import format_interval, format_percent, format_points
from raft_assets.operations.comparison import compare_domain, to_record
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import claim_domain
from raft_assets.operations.ranges import CallEstimate
from raft_assets.operations.report_pages import openable_page
from raft_assets.operations.student_evaluation import PlannedEvaluation, carry_out, plan_evaluation
from raft_assets.settings.endpoints import Role
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

WAITS = 3  # exit code while a result is still to come, as of `raft run`


def print_comparison(domain: str, students: Sequence[str], *, in_browser: bool, as_json: bool) -> None:
    """Compare students of a domain, write the page, and print the comparison with the page's path."""
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    lake = Lake.of(project)
    data = compare_domain(ModelClients(project), ResultsStore.of(project), name, students)
    lake.write_text(COMPARISON_TABLE, name, ".html", render_comparison(data))
    page = lake.path(COMPARISON_TABLE, name, ".html")
    if as_json:
        print_json(to_record(data) | {"page": str(page)})
    else:
        _print_table(data)
        click.echo(f"page: {page}")
    if in_browser:
        webbrowser.open(openable_page(project, lake, page).as_uri())


def evaluate_older_student(domain: str, given: str, *, confirmed: bool) -> None:
    """Ask a student what the newest one of the domain was asked, after showing the price.

    Raises UsageError where there is no terminal to ask for confirmation. Ends the process with 3 while a batch has no
    result.
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    models, lake, results = ModelClients(project, command=uuid.uuid4().hex), Lake.of(project), ResultsStore.of(project)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    claimed = claim_domain(project, name)
    if claimed is None:
        raise DataError(f"A command is working on {name!r}: wait until it ends, then evaluate.")
    try:
        plan = plan_evaluation(models, lake, results, name, given)
        console.print(strip_control_characters(_describe_plan(plan)))
        is_paid = plan.estimate.calls > 0 and not models.endpoints[Role.STUDENT].is_free
        confirm_paid_calls(console, [_describe_price(plan.estimate)] if is_paid else [], confirmed=confirmed)
        with show_progress() as progress_of:
            usage = carry_out(models, lake, results, plan, on_progress=progress_of(f"{plan.student.id} answers"))
    except WaitingError as error:
        console.print(f"waiting: {error}", style="cyan")
        sys.exit(WAITS)
    finally:
        claimed.close()
    console.print(f"{usage.calls:,} calls, {usage.from_store:,} answers from the store, {usage.failures:,} failed")
    console.print(f"Next: raft compare {name!r}")


def _describe_plan(plan: PlannedEvaluation) -> str:
    asked, student = plan.estimate, plan.student
    return (
        f"{student.id}: {student.model} at {student.service}, {asked.calls + asked.stored:,} prompts of the latest "
        f"evaluation: {asked.calls:,} calls to make, {asked.stored:,} answers are stored"
    )


def _describe_price(asked: CallEstimate) -> str:
    low, high = asked.low, asked.high
    tokens = f"{low.usage.input_tokens:,}–{high.usage.input_tokens:,} tokens in, "
    tokens += f"{low.usage.output_tokens:,}–{high.usage.output_tokens:,} out"
    if low.dollars is None or high.dollars is None:
        price = f"at an unknown price (add it to {PRICES_FILE} of the project)"
    else:
        price = f"US$ {low.dollars:,.4f}–{high.dollars:,.4f}"
    assumed = f", the {' and '.join(asked.assumed)} assumed" if asked.assumed else ""
    return f"{Role.STUDENT.value} ({asked.model}): {asked.calls:,} calls, {tokens}, {price}{assumed}"


def _print_table(data: ComparisonData) -> None:
    console = table_console()
    comparison, deciding = data.comparison, data.comparison.deciding
    console.print(f"{deciding.sentence} in common: {deciding.basis.sentence}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("student")
    table.add_column("preset")
    for column in ("token F1", "difference, 95 %", "US$ per 1,000", "seconds, median / 9 in 10"):
        table.add_column(column, justify="right")
    first = data.students[0]
    for student in data.students:
        interval = None if student is first else comparison.between(first.id, student.id).interval
        figures = describe_figures(student.figures)
        table.add_row(
            Text(strip_control_characters(student.name)),
            Text(strip_control_characters(student.preset or "?")),
            format_percent(comparison.mean(student.id)),
            f"{format_points(interval.mean)} ({format_interval(interval.low, interval.high)})" if interval else "–",
            figures["dollars"],
            figures["seconds"],
        )
    console.print(table)
    console.print(Text(strip_control_characters(data.sentence)), soft_wrap=True)
    for step in data.next_steps:
        console.print(Text(f"  {strip_control_characters(step)}"), soft_wrap=True)
    for name, why, command in data.left_out:
        console.print(
            Text(strip_control_characters(f"not compared: {name}: {why}{f': {command}' if command else ''}")),
            soft_wrap=True,
        )
