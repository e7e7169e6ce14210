"""Commands that look and change nothing: status, config, domains."""

import json
from collections.abc import Mapping

import click
import dagster as dg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raft_assets.cli.money import dollars_told
from raft_assets.cli.project import chosen_domains, enter, instance_of
from raft_assets.cli.student import show_hosted
from raft_assets.defs.observation import observe
from raft_assets.defs.runs import close_killed_runs
from raft_assets.defs.staleness import AssetState, Graph, states
from raft_assets.llm.ledger import Sum, spent
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domain import dotted
from raft_assets.settings.domains import domain_folder, list_documents
from raft_assets.settings.project import Workplace
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.results import ResultsStore

STYLES = {"fresh": "green", "stale": "yellow", "missing": "dim", "waiting": "cyan", "failed": "red"}


@click.command()
@click.argument("domain", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object per domain.")
def status(domain: tuple[str, ...], as_json: bool) -> None:
    """Says of every asset whether it is fresh, stale (and why), missing or failed, and shows the last verdicts.

    \b
    Examples:
      raft status
      raft status bats --json
    """
    workplace = Workplace.load()
    names = chosen_domains(workplace, domain, everything=not domain)
    from raft_assets.definitions import definitions  # a second or two: only once the arguments are known to be right

    enter(workplace)
    graph: Graph = definitions().resolve_asset_graph()
    with instance_of(workplace) as instance:
        close_killed_runs(instance)
        for name, problem in observe(instance, workplace).problems.items():
            click.echo(f"{name}: {problem}", err=True)
        found = {name: states(instance, graph, name) for name in names}
    results = ResultsStore.of(workplace)
    sentences = {name: verdict["sentence"] for name, verdict in results.verdicts().items()}
    compared = {name: told["sentence"] for name in found if (told := results.comparison(name))}
    models = ModelClients(workplace)
    with open_call_store(workplace) as store:
        paid = spent(store, models.prices)
    if as_json:
        for name, of_domain in found.items():
            click.echo(
                json.dumps(
                    {
                        "domain": name,
                        "assets": _plain(of_domain),
                        "verdict": sentences.get(name),
                        "against_previous_student": compared.get(name),
                        "calls": paid[name].calls if name in paid else 0,
                        "dollars": paid[name].dollars if name in paid else 0.0,
                        "calls_without_price": paid[name].unpriced if name in paid else 0,
                    },
                    ensure_ascii=False,
                )
            )
        return
    console = Console(highlight=False)
    for name, of_domain in found.items():
        console.print(_status_table(name, of_domain))
        known = [sentence for sentence in (sentences.get(name), compared.get(name)) if sentence]
        console.print(Text(f"verdict: {' '.join(known) or 'none yet'}"))
        console.print(Text(f"{_paid(paid.get(name))}\n"))
    show_hosted(console, models)


def _paid(of_domain: Sum | None) -> str:
    if of_domain is None:
        return "calls: none yet"
    money = dollars_told(of_domain.dollars, of_domain.unpriced)
    return f"calls: {of_domain.calls:,} stored, US$ {money} (`raft costs`)"


def _plain(of_domain: Mapping[dg.AssetKey, AssetState]) -> dict[str, dict[str, object]]:
    return {
        state.key.to_user_string(): {"state": state.state, "reasons": list(state.reasons)}
        for state in of_domain.values()
    }


def _status_table(name: str, of_domain: Mapping[dg.AssetKey, AssetState]) -> Table:
    table = Table(title=Text(name, style="bold"), title_justify="left", box=None, pad_edge=False)
    for column in ("asset", "state", "because"):
        table.add_column(column)
    for state in of_domain.values():
        table.add_row(
            state.key.to_user_string(), Text(state.state, style=STYLES[state.state]), Text("; ".join(state.reasons))
        )
    return table


@click.command()
@click.argument("domain", nargs=-1)
def config(domain: tuple[str, ...]) -> None:
    """Prints the resolved settings of a domain, its roles' models, and where each value comes from.

    \b
    Examples:
      raft config bats
    """
    workplace = Workplace.load()
    for name in chosen_domains(workplace, domain, everything=not domain):
        resolved = workplace.settings(name)
        click.echo(f"# {name} (preset {resolved.preset})")
        for dotted_name, value in dotted(resolved.values):
            source = resolved.sources[dotted_name]
            click.echo(f"{dotted_name} = {json.dumps(value, ensure_ascii=False)}  # {source}")
        click.echo()
    click.echo("# roles")
    for role, endpoint in workplace.endpoints.items():
        key = (
            "nothing configured"
            if endpoint.provider == "embedded"
            else f"key {'set' if endpoint.api_key else 'absent'}"
        )
        click.echo(f"{role.value} = {endpoint.model}  # {endpoint.service}, {key}")
    click.echo("\n# workplace")
    for label, where in (
        ("project", workplace.project),
        ("data", workplace.data),
        ("lake", workplace.lake),
        ("DAGSTER_HOME", workplace.dagster_home),
    ):
        click.echo(f"{label} = {where}")


@click.command()
def domains() -> None:
    """Lists the domains: the folders of data/ with their documents.

    \b
    Examples:
      raft domains
    """
    workplace = Workplace.load()
    for name in chosen_domains(workplace, (), everything=True):
        files = list_documents(domain_folder(workplace.data, name))
        click.echo(
            f"{name}: {len(files)} documents, {sum(file.size for file in files):,} bytes, "
            f"preset {workplace.settings(name).preset}"
        )
