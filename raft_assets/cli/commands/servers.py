"""`raft serve` and `raft ui`."""

from typing import TYPE_CHECKING

import click

from raft_assets.core.addresses import SERVE_PORT

if TYPE_CHECKING:
    from raft_assets.local.provider import Engines

FAULTS = "rate_limit, server_error, unavailable, timeout, reset, malformed, empty, length, content_filter"


@click.command()
@click.option("--model", metavar="FOLDER|NAME", help="An open model of this machine, instead of the embedded ones.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "vllm", "transformers"]),
    default="auto",
    show_default=True,
    help="What answers for --model.",
)
@click.option("--context", type=click.IntRange(256), help="Tokens of a prompt and its answer, for --model.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Another one needs --model and RAFT_SERVE_KEY.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="By which other machines address --host.")
@click.option("--port", default=SERVE_PORT, show_default=True, type=click.IntRange(1, 65535), help="Of the server.")
@click.option("--simulate", is_flag=True, help="Behave like a hosted service, with latency, rate limits and faults.")
@click.option("--latency", default=0.3, show_default=True, type=click.FloatRange(0), help="Seconds of every call.")
@click.option(
    "--per-token", default=0.01, show_default=True, type=click.FloatRange(0), help="Seconds per token of output."
)
@click.option("--concurrency", type=click.IntRange(1), help="Calls at once; more get a 429, or wait with --queue.")
@click.option(
    "--queue", is_flag=True, help="Calls beyond --concurrency (default 1) wait in line, as in a local server."
)
@click.option("--remote", is_flag=True, help="Have clients start as fast as with a hosted service.")
@click.option("--requests-per-minute", type=click.IntRange(1), help="More get a 429 with its headers.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Of prompts and maximum answers; likewise.")
@click.option("--fault", "faults", multiple=True, metavar="KIND=SHARE", help=f"May be repeated. Kinds: {FAULTS}.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of faults.")
def serve(
    *,
    model: str | None,
    engine: "Engines",
    context: int | None,
    host: str,
    names: tuple[str, ...],
    port: int,
    simulate: bool,
    latency: float,
    per_token: float,
    concurrency: int | None,
    queue: bool,
    remote: bool,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    faults: tuple[str, ...],
    seed: int,
) -> None:
    """Serve the embedded provider and the fine-tuned students over the OpenAI API on 127.0.0.1.

    With --model it is an open model instead, and what was fine-tuned from it: a folder of safetensors, a GGUF file, or
    a name in the local cache of the Hugging Face Hub (`raft local pull NAME`). The same server fine-tunes it, by the
    RAFT_LORA_* variables (docs/local.md).

    With --simulate you can rehearse a run before paying for it: name it as a role's service in .env, give it a price in
    prices.yaml, and `raft run` meets the latency, rate limits, faults and costs of a hosted service.

    \b
    Examples:
      raft serve
      curl http://127.0.0.1:8321/v1/models
      raft serve --model Qwen/Qwen3-4B-Instruct-2507
      raft serve --model models/llama-3.1-8b --engine vllm --host 0.0.0.0 --name gpu-box
      raft serve --simulate --concurrency 32 --requests-per-minute 600
      raft serve --simulate --queue --concurrency 2 --latency 5
      raft serve --simulate --latency 0.05 --fault rate_limit=0.05 --fault reset=0.02
    """
    if model:
        from raft_assets.cli.local import serve_open_model

        if simulate:
            raise click.UsageError("--simulate is for the embedded provider: leave out --model.")
        serve_open_model(model, engine, context=context, host=host, names=names, port=port)
        return
    if host != "127.0.0.1":
        raise click.UsageError("--host needs --model: the embedded provider has no key, and serves this machine alone.")
    from raft_assets.cli.servers import parse_faults, serve_models
    from raft_assets.embedded.provider import Simulation

    simulation = None
    if simulate:
        simulation = Simulation(
            latency_s=latency,
            seconds_per_token=per_token,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            faults=parse_faults(faults),
            seed=seed,
            queue=queue,
            remote=remote,
        )
    serve_models(port, simulation)


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
def ui(port: int) -> None:
    """Serve the Dagster UI with its daemon on 127.0.0.1 until Ctrl-C, one per project.

    What dies is started again, and runs whose process was killed are closed. A change of .env, workspace.yaml or the
    package is followed without interrupting runs.

    \b
    Examples:
      raft ui
      raft ui --port 3001
    """
    from raft_assets.cli.ui import start_ui

    start_ui(port)
