"""`raft report`, `raft export`, `raft import` and `raft purge`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from raft_assets.cli.commands.completion import complete_domains

if TYPE_CHECKING:
    from raft_assets.dataset.formats import Container, ExportFormat
    from raft_assets.dataset.import_raft_py import SourceContainer


@click.command()
@click.argument("domain", required=False, shell_complete=complete_domains)
@click.option("--open", "in_browser", is_flag=True, help="Open it in the web browser.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one object.")
def report(domain: str | None, *, in_browser: bool, as_json: bool) -> None:
    """Print the path of a domain's eval report, or of the index of all reports.

    \b
    Examples:
      raft report bats --open
      raft report
    """
    from raft_assets.cli.data import print_report_path

    print_report_path(domain, in_browser=in_browser, as_json=as_json)


def _check_licence(_: click.Context, __: click.Parameter, value: str | None) -> str:
    if value and not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", value):
        raise click.BadParameter("name it as https://huggingface.co/docs/hub/repositories-licenses does (cc-by-4.0)")
    return value or ""


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "chat", "completion", "eval", "model"]),
    default="hf",
    show_default=True,
    help="Format, as RAFT's own scripts name them; `model`: the student that was trained on this machine.",
)
@click.option("--container", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write, one file per split.",
)
@click.option("--merged", is_flag=True, help="With --format model: base and adapter as one model (safetensors).")
@click.option(
    "--gguf",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    help="With --format model: one GGUF file, by the llama.cpp that RAFT_LLAMA_CPP names, and a Modelfile for Ollama.",
)
@click.option(
    "--licence",
    metavar="ID",
    callback=_check_licence,
    help="The licence under which you pass it on, as Hugging Face names it (cc-by-4.0); without it none is stated.",
)
def export(
    domain: str,
    *,
    form: "ExportFormat | Literal['model']",
    container: "Container",
    target: Path,
    merged: bool,
    gguf: str | None,
    licence: str,
) -> None:
    """Export a domain's QA dataset for other tools, or its student; Hugging Face `datasets` can load the rows.

    The data card is written next to the rows, as a dataset card of Hugging Face (README.md) and as data_card.json, with
    the manifest.

    \b
    Examples:
      raft export bats --to out/bats
      raft export bats --format chat --to out/bats-chat
      raft export bats --format hf --container parquet --to out/bats-hf
      raft export bats --to out/bats --licence cc-by-4.0
      raft export bats --format model --to out/model --gguf q8_0
    """
    if form == "model":
        from raft_assets.cli.local import export_student

        export_student(domain, target, merged=merged, gguf=gguf)
        return
    if merged or gguf:
        raise click.UsageError("--merged and --gguf are for --format model.")
    from raft_assets.cli.data import export_dataset

    export_dataset(domain, form, container, target, licence=licence)


@click.command("import")
@click.argument("domain")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "container",
    type=click.Choice(["auto", "jsonl", "parquet", "arrow"]),
    default="auto",
    show_default=True,
    help="Format of the file; auto detects it from the content.",
)
def import_(domain: str, path: Path, *, container: "SourceContainer | Literal['auto']") -> None:
    """Create a domain from a dataset written by RAFT's own raft.py: contexts become documents, pairs are kept.

    PATH is a JSON Lines or Parquet file in the hf form, or a folder of them or of Hugging Face's save_to_disk. The new
    domain's pairs go through the quality gates and get splits without leakage; the teacher is not called.

    \b
    Examples:
      raft import zoo raft-out               the folder that raft.py --output wrote
      raft import zoo raft-out.jsonl && raft run zoo
      raft import copy out/bats-hf           what raft export --format hf wrote
    """
    from raft_assets.cli.data import import_raft_dataset

    import_raft_dataset(domain, path, None if container == "auto" else container)


@click.command()
@click.argument("domain", shell_complete=complete_domains)
@click.option(
    "--document", metavar="PATH", help="Only this document, relative to the domain, once it is deleted there."
)
@click.option("--students", is_flag=True, help="Also delete the students that were trained on it, with deployments.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
def purge(domain: str, *, document: str | None, students: bool, yes: bool) -> None:
    """Delete everything that was made from a text: questions, answers, vectors, files at the services, caches and logs.

    It is found whatever happened since: documents that were deleted, other settings, batches. The documents in data/
    are yours to delete. Evaluations keep their numbers. Other domains keep everything, and answers about other
    documents are not paid again. After an interruption the same command goes on.

    \b
    Examples:
      rm data/bats/secret.pdf && raft purge bats --document secret.pdf && raft run bats
      raft purge bats --students
    """
    from raft_assets.cli.data import purge_domain

    purge_domain(domain, document, students=students, confirmed=yes)
