"""What `raft status` does: it prints the state of every asset, the verdicts and what was paid."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import click
import dagster as dg
from rich.cells import cell_len
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from raft_assets.cli.hosted import hosted_states, open_platform, open_runs, select_hosted_domains
from raft_assets.cli.money import format_dollars
from raft_assets.cli.output import print_json
from raft_assets.cli.project import activate_project, open_instance, select_domains
from raft_assets.cli.student import print_deployments
from raft_assets.core.errors import RaftError
from raft_assets.core.tables import RefusedChunk
from raft_assets.core.terminal import strip_control_characters
from raft_assets.defs.dagster_internals import StaleResolver
from raft_assets.defs.observation import observe
from raft_assets.defs.runs import close_killed_runs
from raft_assets.defs.staleness import AssetState, Graph, ShownState, asset_states
from raft_assets.llm.ledger import LedgerTotal, spending_by_domain
from raft_assets.operations.losses import Losses
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.purge import unfinished_purges
from raft_assets.operations.vectors import read_refused_chunks
from raft_assets.settings.hosted import HostedPlatform
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

STYLES: Mapping[ShownState, str] = {
    "fresh": "green",
    "stale": "yellow",
    "will follow": "yellow dim",
    "missing": "dim",
    "waiting": "cyan",
    "failed": "red",
}
COLUMNS, GAP = ("asset", "state", "because"), "  "
TO_DO, UNREADABLE, WAITS = 1, 2, 3  # exit codes where they are asked for


def print_status(domains: Sequence[str], *, as_json: bool, tells_by_code: bool) -> None:
    """Print the state of every asset, the verdicts and what was paid, of the given domains or of all.

    `tells_by_code`: end the process with what there is to do.
    """
    project = Project.load()
    hosted = HostedPlatform.of(project.environment)
    states, problems, runs = _hosted_states(hosted, domains) if hosted else (*_own_states(project, domains), {})
    results = ResultsStore.of(project)
    sentences = {name: verdict["sentence"] for name, verdict in results.verdicts().items()}
    evaluated = {name for name, _ in results.runs()} & states.keys()
    compared = {name: comparison["sentence"] for name in evaluated if (comparison := results.comparison(name))}
    models, lake = ModelClients(project), Lake.of(project)
    files = lake.files()  # one listing: a lake far away takes a while to say of each domain that there is nothing
    refused = {
        name: read_refused_chunks(lake, name) if f"{RefusedChunk.table}/{name}.parquet" in files else []
        for name in states
    }
    purges = unfinished_purges(project)
    with open_call_store(project) as store:
        paid = spending_by_domain(store, models.prices)
    for name, of_domain in states.items() if as_json else ():
        print_json(
            {
                "domain": name,
                "assets": _to_json(of_domain),
                "verdict": sentences.get(name),
                "against_previous_student": compared.get(name),
                "chunks_without_vector": len(refused[name]),
                "unfinished_purges": purges.get(name, []),
                "calls": paid[name].calls if name in paid else 0,
                "dollars": paid[name].dollars if name in paid else 0.0,
                "calls_without_price": paid[name].unpriced if name in paid else 0,
            }
        )
    console = Console(highlight=False)
    for name, of_domain in states.items() if not as_json else ():
        _print_states(console, name, of_domain)
        known = [sentence for sentence in (sentences.get(name), compared.get(name)) if sentence]
        console.print(Text(f"verdict: {' '.join(known) or 'none yet'}"))
        for line in runs.get(name, ()):
            console.print(Text(line))
        if refused[name]:
            console.print(Text(_refused_line(refused[name])))
        for command in purges.get(name, ()):
            console.print(Text(f"a purge was begun and has not ended; end it by: {strip_control_characters(command)}"))
        console.print(Text(f"{_paid_line(paid.get(name))}\n"))
    if not as_json:
        print_deployments(console, models)
    if tells_by_code:
        sys.exit(UNREADABLE if problems.keys() & states.keys() else _exit_code(states.values()))


def _own_states(
    project: Project, domains: Sequence[str]
) -> tuple[dict[str, dict[dg.AssetKey, AssetState]], Mapping[str, RaftError]]:
    """Return the states of the domains, and what is wrong with those that can't be looked at."""
    names = select_domains(project, domains, everything=not domains)
    from raft_assets.definitions import definitions  # a second or two: only once the arguments are known to be right

    activate_project(project)
    _ = project.endpoints  # what is wrong with a role is told once, and not for each domain
    graph: Graph = definitions().resolve_asset_graph()
    with open_instance(project) as instance:
        close_killed_runs(instance)
        problems = observe(instance, project).problems
        for name in names:
            if name in problems:
                click.echo(f"{name}: {problems[name]}", err=True)
        resolver, losses = StaleResolver(instance, graph), Losses.find(project)
        return {name: asset_states(instance, graph, name, losses, resolver) for name in names}, problems


def _hosted_states(
    hosted: HostedPlatform, domains: Sequence[str]
) -> tuple[dict[str, dict[dg.AssetKey, AssetState]], Mapping[str, RaftError], Mapping[str, Sequence[str]]]:
    """Return the states of the platform's domains, no problems, and which runs of a domain are open there."""
    with open_platform(hosted) as platform:
        assets = platform.assets()
        names = select_hosted_domains(platform, assets, domains, everything=not domains)
        return hosted_states(platform, assets, names), {}, open_runs(platform)


def _exit_code(states: Iterable[Mapping[dg.AssetKey, AssetState]]) -> int:
    found = {state.shown for of_domain in states for state in of_domain.values()}
    if found & {"stale", "missing", "failed"}:
        return TO_DO
    return WAITS if "waiting" in found else 0


def _refused_line(refused: Sequence[RefusedChunk]) -> str:
    reason, count = Counter(chunk.reason for chunk in refused).most_common(1)[0]
    return f"chunks without a vector: {len(refused):,}, {count:,} of them because: {strip_control_characters(reason)}"


def _paid_line(of_domain: LedgerTotal | None) -> str:
    if of_domain is None:
        return "calls: none yet"
    money = format_dollars(of_domain.dollars, of_domain.unpriced)
    return f"calls: {of_domain.calls:,} stored, US$ {money} (`raft costs`)"


def _to_json(of_domain: Mapping[dg.AssetKey, AssetState]) -> dict[str, dict[str, object]]:
    return {
        state.key.to_user_string(): {"state": state.shown, "reasons": list(state.reasons)}
        for state in of_domain.values()
    }


def _print_states(console: Console, name: str, of_domain: Mapping[dg.AssetKey, AssetState]) -> None:
    """Print the states of a domain in columns: as lines where they fit, as a table takes ten times as long."""
    rows = [
        (state.key.to_user_string(), state.shown, strip_control_characters("; ".join(state.reasons)))
        for state in of_domain.values()
    ]
    asset, shown, reasons = (max(map(cell_len, column)) for column in zip(COLUMNS, *rows, strict=True))
    is_too_wide = max(cell_len(name), asset + shown + reasons + 2 * len(GAP)) > console.width
    if is_too_wide or any("\n" in because for *_, because in rows):
        console.print(_status_table(name, rows))
        return
    head = f"{COLUMNS[0]:<{asset}}{GAP}{COLUMNS[1]:<{shown}}{GAP}{COLUMNS[2]}"
    lines = [_painted(console, name, "bold"), _painted(console, head, "bold")]
    for key, state, because in rows:
        lines.append(f"{key:<{asset}}{GAP}{_painted(console, f'{state:<{shown}}', STYLES[state])}{GAP}{because}")
    console.out("\n".join(lines), highlight=False)


def _painted(console: Console, text: str, style: str) -> str:
    """Return a text with the codes that show it in a style, as far as the terminal has colors."""
    parsed = Style.parse(style)
    if console.no_color:
        parsed = parsed.without_color
    return parsed.render(text, color_system=COLOR_SYSTEMS.get(console.color_system or ""))


def _status_table(name: str, rows: Iterable[tuple[str, ShownState, str]]) -> Table:
    table = Table(title=Text(name, style="bold"), title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column)
    for key, state, because in rows:
        table.add_row(key, Text(state, style=STYLES[state]), Text(because))
    return table
