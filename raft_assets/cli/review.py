"""`raft review`: pairs go out to a person, verdicts come back."""

from pathlib import Path

import click

from raft_assets.cli.project import select_domains
from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.pairs.reviews import export_reviews, read_review_file, read_reviews, sample_pairs, write_reviews
from raft_assets.settings.domains import REVIEWS_FILE, domain_folder
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

MAX_LISTED = 5  # unknown ids that are named


@click.group()
def review() -> None:
    """Review QA pairs: export pairs to a file, fill in verdicts, import them again.

    \b
    Examples:
      raft review export bats --to review.csv --sample 50
      raft review import bats review.csv && raft run bats
    """


@review.command("export")
@click.argument("domain")
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.csv or FILE.jsonl."
)
@click.option("--sample", type=click.IntRange(min=1), help="Only a sample of this size; the same pairs every time.")
@click.option("--rejected", is_flag=True, help="Also pairs that the gates rejected, with the reason.")
def export(domain: str, target: Path, sample: int | None, rejected: bool) -> None:
    """Writes the pairs of a domain for a person: a row per pair, with its passage. CSV opens in a spreadsheet.

    Write accept or reject into the column verdict, and what you like into note; leave the other columns as they are.
    An apostrophe before a cell keeps a spreadsheet from computing it.

    \b
    Examples:
      raft review export bats --to review.csv
      raft review export bats --to review.jsonl --sample 50 --rejected
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    lake = Lake.of(project)
    pairs = sample_pairs(lake.rows(QAPair, name), sample=sample, rejected=rejected)
    passages = {chunk.chunk_id: chunk.passage for chunk in lake.rows(Chunk, name)}
    reviews = read_reviews(domain_folder(project.data, name) / REVIEWS_FILE)
    export_reviews(pairs, passages, reviews, target)
    click.echo(f"{target}: {len(pairs):,} pairs, {sum(pair.question_id in reviews for pair in pairs):,} with a verdict")


@review.command("import")
@click.argument("domain")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(domain: str, file: Path) -> None:
    """Reads the verdicts of a file that `raft review export` wrote, and keeps them in the domain's reviews.jsonl.

    A reject removes the pair from the dataset. An accept overrides the gates that judge content (answer not supported,
    the judge,
    question points at a text, retrieval, near-duplicate), never those of form. Earlier verdicts on other pairs stay.

    \b
    Examples:
      raft review import bats review.csv
    """
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    returned = {review.question_id: review for review in read_review_file(file)}
    lake = Lake.of(project)
    if not lake.exists("qa_pairs", name):
        raise DataError(f"There are no pairs of {name!r} yet: raft run {name!r} --select qa_pairs")
    known = {pair.question_id for pair in lake.rows(QAPair, name)}
    unknown = sorted(returned.keys() - known)
    kept = {question_id: review for question_id, review in returned.items() if question_id in known}
    stored = domain_folder(project.data, name) / REVIEWS_FILE
    merged = read_reviews(stored) | kept
    if kept:
        write_reviews(stored, merged.values())
    accepts = sum(review.verdict == "accept" for review in kept.values())
    click.echo(f"{accepts:,} accepted, {len(kept) - accepts:,} rejected; {stored} holds {len(merged):,} verdicts")
    if unknown:
        listed = ", ".join(map(ascii, unknown[:MAX_LISTED]))
        click.echo(
            f"{len(unknown):,} question_ids belong to no pair of {name!r} and were ignored: {listed}"
            f"{', …' if len(unknown) > MAX_LISTED else ''}",
            err=True,
        )
    if kept:
        click.echo(f"Next: raft run {name!r}")
