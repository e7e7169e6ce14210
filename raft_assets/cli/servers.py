"""Commands that serve: the embedded provider to any OpenAI client, and the Dagster UI."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from raft_assets.cli.project import activate_project
from raft_assets.core.errors import SettingsError
from raft_assets.embedded.provider import FAULTS, Simulation
from raft_assets.settings.project import Project


@click.command()
@click.option("--port", default=8321, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
@click.option("--simulate", is_flag=True, help="Behave like a hosted service, with latency, rate limits and faults.")
@click.option("--latency", default=0.3, show_default=True, type=click.FloatRange(0), help="Seconds of every call.")
@click.option(
    "--per-token", default=0.01, show_default=True, type=click.FloatRange(0), help="Seconds a token of output."
)
@click.option("--concurrency", type=click.IntRange(1), help="Calls at once; more get a 429.")
@click.option("--requests-per-minute", type=click.IntRange(1), help="More get a 429 with its headers.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Of prompts and the room for answers; likewise.")
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND=SHARE", help=f"May be repeated. Kinds: {', '.join(FAULTS)}."
)
@click.option("--seed", default=0, show_default=True, help="Of the draw of faults.")
def serve(port: int, simulate: bool, faults: tuple[str, ...], **limits: Any) -> None:
    """Serve the embedded provider and the fine-tuned students over the OpenAI API on 127.0.0.1.

    With --simulate you can rehearse a run before paying for it: name it as a role's service in .env, give it a price in
    prices.yaml, and `raft run` meets the waits, rejections and faults of a hosted service, and a bill.

    \b
    Examples:
      raft serve
      curl http://127.0.0.1:8321/v1/models
      raft serve --simulate --concurrency 32 --requests-per-minute 600
      raft serve --simulate --latency 0.05 --fault rate_limit=0.05 --fault reset=0.02
    """
    project = Project.load()
    simulation = _parse_simulation(limits, faults) if simulate else None
    from raft_assets.operations.model_clients import embedded_provider

    click.echo(f"OpenAI API at http://127.0.0.1:{port}/v1 (no key needed; Ctrl-C ends it)")
    if simulation:
        click.echo(f"simulated: {simulation}")
    embedded_provider(project).serve(port=port, simulation=simulation)


def _parse_simulation(limits: Mapping[str, Any], faults: Iterable[str]) -> Simulation:
    """Raises SettingsError for a fault that is none."""
    shares: dict[str, float] = {}
    for fault in faults:
        kind, _, share = fault.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError as error:
            raise SettingsError(f"--fault {fault}: write KIND=SHARE, such as rate_limit=0.05.") from error
    named = {"latency_s": limits["latency"], "seconds_per_token": limits["per_token"]}
    rest = {name: limits[name] for name in ("concurrency", "requests_per_minute", "tokens_per_minute", "seed")}
    return Simulation(**named, **rest, faults=shares)


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
def ui(port: int) -> None:
    """Starts the Dagster UI with its daemon on 127.0.0.1.

    \b
    Examples:
      raft ui
      raft ui --port 3001
    """
    project = Project.load()
    activate_project(project)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workspace",
        str(project.workspace_file),
    ]
    os.chdir(project.folder)
    os.execv(sys.executable, command)
