"""Commands that serve: the embedded provider to any OpenAI client, and the Dagster UI."""

import os
import sys

import click

from raft_assets.cli.project import enter
from raft_assets.embedded.app import EmbeddedSettings
from raft_assets.settings import Workplace


@click.command()
@click.option("--port", default=8321, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
def serve(port: int) -> None:
    """Serves the embedded provider and the fine-tuned students by the OpenAI API on 127.0.0.1.

    \b
    Examples:
      raft serve
      curl http://127.0.0.1:8321/v1/models
    """
    workplace = Workplace.load()
    from raft_assets.embedded.server import serve as serve_app

    click.echo(f"OpenAI API at http://127.0.0.1:{port}/v1 (no key needed; Ctrl-C ends it)")
    serve_app(
        EmbeddedSettings(workplace.embedded_folder, workplace.encoder_folder, workplace.huggingface_home), port=port
    )


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
def ui(port: int) -> None:
    """Starts the Dagster UI with its daemon on 127.0.0.1.

    \b
    Examples:
      raft ui
      raft ui --port 3001
    """
    workplace = Workplace.load()
    enter(workplace)
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
        str(workplace.project / "workspace.yaml"),
    ]
    os.chdir(workplace.project)
    os.execv(sys.executable, command)
