"""What `raft serve` and `raft embedded` do: they serve the embedded provider, and install its encoder."""

from collections.abc import Iterable

import click

from raft_assets.core.errors import RaftError, SettingsError
from raft_assets.embedded.provider import Simulation
from raft_assets.settings.project import Project

BOUND_CALLS, BOUND_TOKENS = 1000, 170  # of the bound that a simulation prints


def serve_models(port: int, simulation: Simulation | None) -> None:
    """Serve the embedded provider on 127.0.0.1 until the process is interrupted."""
    from raft_assets.operations.model_clients import embedded_provider

    project = Project.load()
    click.echo(f"OpenAI API at http://127.0.0.1:{port}/v1 (no key needed; Ctrl-C ends it)")
    if simulation:
        click.echo(f"simulated: {simulation}")
        seconds = simulation.bound_s(BOUND_CALLS, BOUND_TOKENS)
        click.echo(f"bound: {BOUND_CALLS:,} calls with answers of {BOUND_TOKENS} tokens take at least {seconds:,.1f} s")
    embedded_provider(project).serve(port=port, simulation=simulation)


def install_encoder() -> None:
    """Install the encoder's weights unless they are here. Raises WeightsError where they can't be."""
    from raft_assets.operations.model_clients import embedded_provider

    provider = embedded_provider(Project.load())
    try:
        click.echo(f"The encoder is installed already: {provider.find_weights()}")
    except RaftError:
        click.echo(f"The encoder is installed: {provider.install_weights()}")


def parse_faults(faults: Iterable[str]) -> dict[str, float]:
    """Parse KIND=SHARE of each fault; raises SettingsError where the share is no number."""
    shares: dict[str, float] = {}
    for fault in faults:
        kind, _, share = fault.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError as error:
            raise SettingsError(f"--fault {fault}: write KIND=SHARE, such as rate_limit=0.05.") from error
    return shares
