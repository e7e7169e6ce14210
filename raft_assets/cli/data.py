"""Commands about what was made: export, import, report, purge."""

import webbrowser
from collections.abc import Iterator
from pathlib import Path

import click
from upath import UPath

from raft_assets.cli.project import open_instance, select_domains
from raft_assets.core.atomic import is_local
from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.defs.run_history import DagsterHistory
from raft_assets.operations.purge import purge as forget
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


@click.command()
@click.argument("domain")
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "chat", "completion", "eval"]),
    default="hf",
    show_default=True,
    help="Format, as RAFT's own scripts name them.",
)
@click.option("--container", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write, one file per split.",
)
def export(domain: str, form: str, container: str, target: Path) -> None:
    """Export a domain's QA dataset for other tools; Hugging Face `datasets` can load the folder.

    The data card (DATA_CARD.md, data_card.json) and the manifest are written next to the rows.

    \b
    Examples:
      raft export bats --to out/bats
      raft export bats --format chat --to out/bats-chat
      raft export bats --format hf --container parquet --to out/bats-hf
    """
    from raft_assets.dataset.formats import write_export

    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    lake = Lake.of(project)
    files = write_export(
        lake.rows(RaftRow, name),
        form,  # type: ignore[arg-type]  # click has checked the choices
        container,  # type: ignore[arg-type]
        target,
        settings=project.settings(name).values,
        oracles={chunk.chunk_id: chunk.passage for chunk in lake.rows(Chunk, name)} if form == "hf" else {},
    )
    for file in [*files, *_copy_card(lake, name, target)]:
        click.echo(file)


def _copy_card(lake: Lake, domain: str, target: Path) -> Iterator[Path]:
    """Data card and manifest beside an export of the rows that they are about; others than those are removed."""
    from raft_assets.dataset.data_card import CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE
    from raft_assets.dataset.manifest import Manifest

    manifest = lake.read_lines("data_card", domain, MANIFEST_FILE)
    is_of_the_rows = bool(manifest) and (
        Manifest.model_validate_json(manifest).digests["qa_dataset"] == lake.digest("qa_dataset", domain)
    )
    for name in (CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE):
        if is_of_the_rows:
            (target / name).write_bytes(lake.read_lines("data_card", domain, name))
            yield target / name
        else:
            (target / name).unlink(missing_ok=True)
    if not is_of_the_rows:
        click.echo(
            f"Exported without a data card, because there is none for these rows: raft run {domain!r} --select "
            "data_card",
            err=True,
        )


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
def import_(domain: str, path: Path, container: str) -> None:
    """Create a domain from a dataset written by RAFT's own raft.py: contexts become documents, pairs are kept.

    PATH is a JSON Lines or Parquet file in the hf form, or a folder of them or of Hugging Face's save_to_disk. The new
    domain's pairs go through the quality gates and get splits without leakage; the teacher is not called.

    \b
    Examples:
      raft import zoo raft-out               the folder that raft.py --output wrote
      raft import zoo raft-out.jsonl && raft run zoo
      raft import copy out/bats-hf           what raft export --format hf wrote
    """
    from raft_assets.dataset.import_raft_py import MAX_CHUNK_TOKENS, import_dataset

    project, name = Project.load(), normalize(domain.rstrip("/"))
    made = import_dataset(path, None if container == "auto" else container, project.data, name)  # type: ignore[arg-type]  # click has checked the choice
    click.echo(
        f"{made.folder}: {made.pairs:,} pairs, {made.contexts:,} contexts, the longest of {made.longest:,} tokens"
    )
    if made.longest > MAX_CHUNK_TOKENS:
        click.echo(f"Contexts of more than {MAX_CHUNK_TOKENS:,} tokens are cut into several chunks.", err=True)
    click.echo(f"Next: raft run {name!r}")


@click.command()
@click.argument("domain", required=False)
@click.option("--open", "in_browser", is_flag=True, help="Open it in the web browser.")
def report(domain: str | None, in_browser: bool) -> None:
    """Print the path of a domain's eval report, or of the index of all reports.

    \b
    Examples:
      raft report bats --open
      raft report
    """
    project = Project.load()
    lake = Lake.of(project)
    if domain is None:
        path = lake.index_path
    else:
        path = lake.path("eval_report", select_domains(project, [domain], everything=False)[0], ".html")
    if not path.is_file():
        raise DataError(f"There is no report at {path} yet. Make it: raft run {repr(domain) if domain else '--all'}")
    click.echo(path)
    if in_browser:
        webbrowser.open(_local_copy(path, project.home / "reports").as_uri())


def _local_copy(path: UPath, folder: Path) -> Path:
    """The file itself where it is local, else a copy of it: browsers don't open a lake in a cloud."""
    if is_local(path):
        return Path(path.path)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return copy


@click.command()
@click.argument("domain")
@click.option(
    "--document", metavar="PATH", help="Only this document, relative to the domain, once it is deleted there."
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
def purge(domain: str, document: str | None, yes: bool) -> None:
    """Delete everything that was made from a text: in the lake, call store, results, caches and run history.

    The documents in data/ are yours to delete. What else the domain holds is made again by the next run; answers
    about other documents stay stored and are not paid again.

    \b
    Examples:
      rm data/bats/secret.pdf && raft purge bats --document secret.pdf && raft run bats
      raft purge bats --yes
    """
    project, domain = Project.load(), normalize(domain.rstrip("/"))
    if not yes:
        click.confirm(f"Delete everything that was made from {document or 'the documents'} of {domain!r}?", abort=True)
    with open_instance(project) as instance:
        for line in forget(DagsterHistory(instance), project, domain, document):
            click.echo(line)
