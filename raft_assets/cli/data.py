"""What `raft report`, `raft export`, `raft import` and `raft purge` do."""

import json
import os
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raft_assets.cli.confirming import confirm
from raft_assets.cli.output import print_json
from raft_assets.cli.project import load_existing_project, open_instance, select_domains
from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.tables import Chunk, RaftRow
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

if TYPE_CHECKING:
    from raft_assets.dataset.formats import Container, ExportFormat
    from raft_assets.dataset.import_raft_py import SourceContainer


def export_dataset(
    domain: str, form: "ExportFormat", container: "Container", target: Path, *, licence: str = ""
) -> None:
    """Write the rows of a domain into `target`, with the data card and the manifest where they are of these rows.

    `licence`: under which the user passes them on, for the head of the card.
    """
    from raft_assets.dataset.formats import write_export
    from raft_assets.operations.student_form import resolve_student_form

    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    lake = Lake.of(project)
    files = write_export(
        lake.rows(RaftRow, name),
        form,
        container,
        target,
        settings=resolve_student_form(project, lake, name, keep=False),
        oracles={chunk.chunk_id: chunk.passage for chunk in lake.rows(Chunk, name)} if form == "hf" else {},
    )
    for file in [*files, *_copy_card(lake, name, target, files, licence)]:
        click.echo(file)


def _copy_card(lake: Lake, domain: str, target: Path, files: Sequence[Path], licence: str) -> Iterator[Path]:
    """Copy data card and manifest next to an export of the rows that they describe, and remove others from there.

    The card is the README.md by which Hugging Face finds the files, unless somebody else's is there.
    """
    from raft_assets.core.front_matter import is_own_card
    from raft_assets.dataset.card_head import README, exported_card
    from raft_assets.dataset.data_card import CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE
    from raft_assets.dataset.manifest import Manifest

    manifest = lake.read_lines("data_card", domain, MANIFEST_FILE)
    is_of_the_rows = bool(manifest) and (
        Manifest.model_validate_json(manifest).digests["qa_dataset"] == lake.digest("qa_dataset", domain)
    )
    readme = target / README
    is_ours = not readme.exists() or is_own_card(readme.read_text("utf-8", "replace"))
    for stale in (CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE, *([README] if is_ours else [])):
        (target / stale).unlink(missing_ok=True)
    if is_of_the_rows:
        record = lake.read_lines("data_card", domain, CARD_JSON_FILE)
        text = lake.read_lines("data_card", domain, CARD_FILE).decode()
        layout = {file.stem: file.name for file in files}
        card = readme if is_ours else target / CARD_FILE
        card.write_text(exported_card(text, json.loads(record), files=layout, licence=licence), "utf-8", newline="\n")
        (target / CARD_JSON_FILE).write_bytes(record)
        (target / MANIFEST_FILE).write_bytes(manifest)
        yield from (card, target / CARD_JSON_FILE, target / MANIFEST_FILE)
        if not is_ours:
            click.echo(f"{readme} is not a data card of raft-assets and stays; the card is {card}.", err=True)
    else:
        click.echo(
            f"Exported without a data card, because there is none for these rows: raft run {domain!r} --select "
            "data_card",
            err=True,
        )


def import_raft_dataset(domain: str, path: Path, container: "SourceContainer | None") -> None:
    """Create a domain from a dataset of raft.py; the container is detected where it is None."""
    from raft_assets.dataset.import_raft_py import MAX_CHUNK_TOKENS, import_dataset

    project, name = Project.load(), normalize(domain.rstrip("/"))
    if project.data_address:
        raise DataError(
            f"The documents lie at {project.data_address}, and a dataset is imported into a folder: RAFT_DATA=folder "
            f"raft import ..., then upload folder/{name} there."
        )
    made = import_dataset(path, container, project.data, name)
    click.echo(
        f"{made.folder}: {made.pairs:,} pairs, {made.contexts:,} contexts, the longest of {made.longest:,} tokens"
    )
    if made.longest > MAX_CHUNK_TOKENS:
        click.echo(f"Contexts of more than {MAX_CHUNK_TOKENS:,} tokens are cut into several chunks.", err=True)
    click.echo(f"Next: raft run {name!r}")


def print_report_path(domain: str | None, *, in_browser: bool, as_json: bool) -> None:
    """Print the path of a domain's eval report, or of the index; raises DataError where there is no report yet."""
    from raft_assets.operations.report import write_index
    from raft_assets.operations.report_pages import openable_path, report_path
    from raft_assets.storage.results import ResultsStore

    project = Project.load()
    lake = Lake.of(project)
    name = None if domain is None else select_domains(project, [domain], everything=False)[0]
    path = report_path(lake, name)
    if name is None and not path.is_file() and lake.domains("eval_report", ".html"):
        write_index(project, lake, ResultsStore.of(project))  # no run would: the reports are fresh
    if not path.is_file():
        raise DataError(f"There is no report at {path} yet. Create it: raft run {repr(domain) if domain else '--all'}")
    if as_json:
        print_json({"domain": name, "path": str(path)})
    else:
        click.echo(path)
    if in_browser:
        webbrowser.open(openable_path(project, lake, name).as_uri())


def purge_domain(domain: str, document: str | None, *, students: bool, confirmed: bool) -> None:
    """Delete everything that was made from a domain or from one document of it, after saying what that is.

    Raises DataError where something could not be deleted. A reader of the output that leaves early stops nothing once
    it was confirmed.
    """
    from raft_assets.defs.run_history import DagsterHistory
    from raft_assets.operations.purge import open_purge

    project, name = load_existing_project(), normalize(domain.rstrip("/"))
    if "/" in name:
        raise click.UsageError(f"{domain!r} is no name of a domain. For a document: raft purge DOMAIN --document PATH.")
    with (
        open_instance(project) as instance,
        open_purge(DagsterHistory(instance), project, name, document, students=students) as purge,
    ):
        tell = _PatientOutput()
        for line in purge.listing():
            tell(line)
        if not confirmed:
            if not tell.is_open:  # nobody has read what would go
                raise click.Abort
            confirm("Delete it?")
        tell(f"If this is interrupted, the same command goes on: {purge.command}")
        for line in purge.run():
            tell(line)
        if purge.left:
            raise DataError(
                f"Not everything could be deleted: {'; '.join(purge.left)}. Then run again: {purge.command}"
            )


class _PatientOutput:
    """Prints lines until the reader leaves, as `head` does, and goes on without it."""

    def __init__(self) -> None:
        self.is_open = True

    def __call__(self, line: str) -> None:
        if self.is_open:
            try:
                click.echo(line)
            except BrokenPipeError:
                self.is_open = False
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered still has to go
