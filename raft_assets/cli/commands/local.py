"""`raft local`: what open models on this machine need."""

import click


@click.group()
def local() -> None:
    """Prepare this machine for open models: the interpreter that trains and serves, and the models.

    \b
    Examples:
      raft local install --cuda
      raft local pull Qwen/Qwen3-4B-Instruct-2507
      raft serve --model Qwen/Qwen3-4B-Instruct-2507
    """


@local.command()
@click.option("--cpu", "build", flag_value="cpu", help="torch for the CPU, where no GPU is.")
@click.option("--cuda", "build", flag_value="cuda", default=True, help="torch for NVIDIA GPUs (the default).")
def install(*, build: str) -> None:
    """Make an interpreter of its own for training and serving, with pinned versions (1.5 GB, with CUDA 6 GB).

    torch never enters the product's own environment. RAFT_LOCAL_PYTHON names another interpreter instead.

    \b
    Examples:
      raft local install --cpu
    """
    from raft_assets.cli.local import install_interpreter

    install_interpreter(build)


@local.command()
@click.argument("name")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def pull(name: str, *, revision: str, yes: bool) -> None:
    """Download a model from the Hugging Face Hub into its local cache, after saying its size and licence.

    It is the one command that downloads a model. HF_TOKEN signs in where a model's licence has to be accepted first;
    HF_ENDPOINT names a mirror.

    \b
    Examples:
      raft local pull Qwen/Qwen3-4B-Instruct-2507
    """
    from raft_assets.cli.local import pull_model

    pull_model(name, revision, confirmed=yes)
