"""What `raft estimate` does: the cost of the next run, before it starts."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import click
import dagster as dg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.cli.hosted import hosted_states, open_platform
from raft_assets.cli.output import print_json, table_console
from raft_assets.cli.project import activate_project, open_instance, select_domains
from raft_assets.core.errors import DataError, SettingsError
from raft_assets.defs.dagster_internals import StaleResolver
from raft_assets.defs.observation import observe
from raft_assets.defs.staleness import AssetState, Graph, asset_states, with_upstream
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.estimate import estimate_calls
from raft_assets.operations.golden_coverage import GoldenCoverage, coverage_of_questions
from raft_assets.operations.life_cycles import check_student_model, role_life_cycles
from raft_assets.operations.losses import Losses
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.outlook import TRAINING_ASSET
from raft_assets.operations.ranges import CallEstimate
from raft_assets.settings.hosted import HostedPlatform
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


def print_estimates(domains: Sequence[str], *, everything: bool, as_json: bool) -> None:
    """Print and store the estimate of each domain.

    Exits with 1 where the documents of one can't be read, or a student is due that can't be trained or deployed.
    """
    project = Project.load()
    names = select_domains(project, domains, everything=everything)
    models = ModelClients(project)
    console = table_console()
    failed = 0
    with open_freshness(project) as (instance, fresh_assets_of):
        for name in names:
            fresh = fresh_assets_of(name)
            try:
                corpus = read_corpus(models, name, fresh=fresh)
                forecasts = estimate_calls(models, name, corpus, fresh=fresh)
            except DataError as error:
                click.echo(f"{name}: {error}", err=True)
                failed += 1
                continue
            save_estimate(instance, project, name, forecasts)
            _print_estimate(console, name, forecasts, as_json=as_json)
            failed += not _tell_life_cycles(project, forecasts)
            if not as_json and "eval_scores" not in fresh:
                _print_coverage(console, coverage_of_questions(project, name, corpus.documents, corpus.chunks))
    sys.exit(1 if failed else 0)


@contextmanager
def open_freshness(project: Project) -> Iterator[tuple[dg.DagsterInstance | None, Callable[[str], set[str]]]]:
    """Open the project's instance, and look what changed; with it comes what returns a domain's fresh assets.

    Of a hosted platform there is no instance: it is asked for its states.
    """
    from raft_assets.definitions import definitions  # a second or two: only once the arguments are known to be right

    graph = definitions().resolve_asset_graph()
    if hosted := HostedPlatform.of(project.environment):
        with open_platform(hosted) as platform:
            assets = platform.assets()
            yield None, lambda name: fresh_assets(graph, hosted_states(platform, assets, [name])[name])
        return
    activate_project(project)
    with open_instance(project) as instance:
        observe(instance, project)  # what changed since is stale
        resolver, losses = StaleResolver(instance, graph), Losses.find(project)
        yield instance, lambda name: fresh_assets(graph, asset_states(instance, graph, name, losses, resolver))


def save_estimate(
    instance: dg.DagsterInstance | None, project: Project, domain: str, forecasts: Sequence[CallEstimate]
) -> None:
    """Store an estimate for the report, which compares it with the actual costs, and show it on the assets in the UI.

    An estimate without calls keeps the previous one. Without an instance nothing is shown in the UI.
    """
    if not any(estimate.calls for estimate in forecasts):
        return
    rows = [{**asdict(estimate), "role": estimate.role.value} for estimate in forecasts]
    Lake.of(project).write_record("estimate", domain, {"made": time.time(), "rows": rows})
    if instance is None:
        return
    for asset in dict.fromkeys(estimate.asset for estimate in forecasts):
        of_asset = [estimate for estimate in forecasts if estimate.asset == asset]
        metadata: dict[str, int | str] = {
            "estimated_calls": sum(estimate.calls for estimate in of_asset),
            "estimated_tokens": sum(
                estimate.usage.input_tokens + estimate.usage.output_tokens for estimate in of_asset
            ),
            "estimated_us_dollars": _dollar_range(of_asset),
        }
        instance.report_runless_asset_event(
            dg.AssetObservation(dg.AssetKey(asset), partition=domain, metadata=metadata)
        )


def fresh_assets(graph: Graph, states: Mapping[dg.AssetKey, AssetState]) -> set[str]:
    """Return the assets that are fresh with everything upstream.

    What is downstream of a stale asset may change with it.
    """
    stale = {key for key, state in states.items() if state.state != "fresh"}
    return {key.to_user_string() for key in states if stale.isdisjoint(with_upstream(graph, [key]))}


def _print_estimate(console: Console, domain: str, forecasts: Sequence[CallEstimate], *, as_json: bool) -> None:
    if as_json:
        for estimate in forecasts:
            print_json({"domain": domain, **asdict(estimate), "role": estimate.role.value})
        return
    console.print(
        _table(domain, forecasts) if forecasts else Text(f"{domain}: everything is fresh, no calls are needed.")
    )
    for what in sorted({what for estimate in forecasts for what in estimate.assumed if estimate.calls}):
        console.print(Text(f"Assumed: {what}.", style="yellow"))
    for model in sorted({estimate.model for estimate in forecasts if estimate.dollars is None and estimate.calls}):
        message = f"The price of {model} is unknown: add it to {PRICES_FILE} of the project."
        console.print(Text(message, style="yellow"))
    console.print()


def _tell_life_cycles(project: Project, forecasts: Sequence[CallEstimate]) -> bool:
    """Say on stderr when the models end that are to be asked or trained; return whether the student can be trained."""
    today, is_trained = datetime.now(UTC).date(), any(one.asset == TRAINING_ASSET for one in forecasts)
    asked = {one.role for one in forecasts if one.calls}
    if is_trained:
        try:
            check_student_model(project, today)
        except SettingsError as error:
            click.echo(f"Problem: {error}", err=True)
            return False
    for role, life_cycle in role_life_cycles(project, today, is_trained=is_trained).items():
        if role in asked and life_cycle is not None:
            click.echo(f"{role}: {life_cycle.sentence}.", err=True)
    return True


def _print_coverage(console: Console, coverage: GoldenCoverage) -> None:
    """Say whether a verdict can be reached at all, beside what it costs."""
    style = "" if coverage.questions and coverage.can_decide and coverage.can_train else "yellow"
    console.print(Text(f"Golden questions: {coverage.sentence}", style=style))
    console.print()


def _table(domain: str, forecasts: Sequence[CallEstimate]) -> Table:
    table = Table(title=Text(domain, style="bold"), title_justify="left", box=None, pad_edge=False)
    for column in ("asset", "role", "model"):
        table.add_column(column)
    for column in ("calls", "stored", "input", "output", "US$", "minutes"):
        table.add_column(column, justify="right")
    for estimate in forecasts:
        low, high = estimate.low, estimate.high
        table.add_row(
            estimate.asset,
            estimate.role.value.lower(),
            Text(estimate.model),
            _range(low.calls, high.calls),
            f"{estimate.stored:,}",
            _range(low.usage.input_tokens, high.usage.input_tokens),
            _range(low.usage.output_tokens, high.usage.output_tokens),
            _dollar_range([estimate]),
            "?" if estimate.seconds is None else f"{estimate.seconds / 60:.1f}",
        )
    calls = _range(
        sum(estimate.low.calls for estimate in forecasts), sum(estimate.high.calls for estimate in forecasts)
    )
    table.add_row("all", "", "", calls, "", "", "", _dollar_range(forecasts), "")
    return table


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _dollar_range(forecasts: Sequence[CallEstimate]) -> str:
    """Return the range of the dollars that are known; with a question mark where others are not."""
    known = [
        (estimate.low.dollars, estimate.high.dollars)
        for estimate in forecasts
        if estimate.low.dollars is not None and estimate.high.dollars is not None
    ]
    if not known:
        return "?"
    ends = [f"{sum(dollars):,.4f}" for dollars in zip(*known, strict=True)]
    return "–".join(dict.fromkeys(ends)) + " + ?" * (len(known) < len(forecasts))
