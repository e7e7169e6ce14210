"""What `raft serve --model` and `raft local` do."""

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raft_assets.cli.confirming import confirm
from raft_assets.cli.project import select_domains
from raft_assets.core.addresses import is_every_address
from raft_assets.operations.local_models import ENDS_UNUSED, local_provider, shared_server
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.environment import SERVE_KEY_VARIABLE
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

if TYPE_CHECKING:
    from raft_assets.local.provider import Engines


def serve_open_model(
    model: str, engine: "Engines", *, context: int | None, host: str, names: Sequence[str], port: int
) -> None:
    """Serve an open model until the process is interrupted."""
    project = Project.load()
    provider = local_provider(project)
    settings = provider.settings(model, engine, context=context)
    names = names or ([socket.gethostname()] if is_every_address(host) else [])
    click.echo(f"{settings.model.path} ({settings.model.bytes / 1e9:.1f} GB), engine {settings.engine}")

    key = project.environment.get(SERVE_KEY_VARIABLE) or ""

    def tell_address(model_id: str) -> None:
        address = f"http://{names[0] if names else host}:{port}/v1"
        click.echo(f"OpenAI API at {address} (Ctrl-C ends it). In .env:")
        click.echo(f"  STUDENT_OPENAI_BASE_URL={address}\n  STUDENT_OPENAI_DEPLOYMENT={model_id}")
        if key:
            click.echo(f"  STUDENT_OPENAI_API_KEY=<the value of {SERVE_KEY_VARIABLE}>")

    if project.environment.get(ENDS_UNUSED):
        shared = shared_server(project)
        shared.own()
        threading.Thread(target=shared.end_unused, daemon=True).start()
    provider.serve(settings, host=host, port=port, key=key, names=names, tell=click.echo, on_start=tell_address)


def export_student(domain: str, target: Path, *, merged: bool, gguf: str | None) -> None:
    """Write a domain's student into a folder, with its card and the licences that travel with it."""
    from raft_assets.operations.export_model import export_model

    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    for line in export_model(ModelClients(project), Lake.of(project), name, target, merged=merged, gguf=gguf):
        click.echo(line)


def install_interpreter(build: str) -> None:
    """Make the interpreter of local models, and say what is in it."""
    made = local_provider(Project.load()).install(build, tell=click.echo)
    click.echo(", ".join(f"{name} {version}" for name, version in made.versions.items()))


def pull_model(name: str, revision: str, *, confirmed: bool) -> None:
    """Download a model, after saying its size and licence."""
    project = Project.load()
    offer = local_provider(project).offer(name, revision, project.environment.get("HF_TOKEN"))
    click.echo(f"{name} at {offer.commit[:12]}: {len(offer.files)} files, {offer.bytes / 1e9:.2f} GB")
    click.echo(f"Licence: {offer.licence}. Read it: {offer.page}")
    if not confirmed:
        confirm(f"Download it into {offer.target}?")
    click.echo(offer.fetch())
