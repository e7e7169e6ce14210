"""What `raft review` does: it exports pairs to a reviewer and imports the verdicts."""

from pathlib import Path

import click

from raft_assets.cli.project import select_domains
from raft_assets.core.errors import DataError
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.pairs.reviews import export_reviews, read_review_file, read_reviews, sample_pairs, write_reviews
from raft_assets.settings.domains import REVIEWS_FILE, domain_folder
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import edited

MAX_LISTED = 5  # unknown ids that are named


def export_pairs(domain: str, target: Path, *, sample: int | None, rejected: bool) -> None:
    """Write the pairs of a domain, or a sample of them, into `target`, with the verdicts that they have already."""
    project = Project.load()
    (name,) = select_domains(project, [domain], everything=False)
    lake = Lake.of(project)
    pairs = sample_pairs(lake.rows(QAPair, name), sample=sample, rejected=rejected)
    passages = {chunk.chunk_id: chunk.passage for chunk in lake.rows(Chunk, name)}
    reviews = read_reviews(domain_folder(project.data, name) / REVIEWS_FILE)
    export_reviews(pairs, passages, reviews, target)
    click.echo(f"{target}: {len(pairs):,} pairs, {sum(pair.question_id in reviews for pair in pairs):,} with a verdict")


def import_verdicts(domain: str, file: Path) -> None:
    """Merge the verdicts of a review file into the domain's reviews.jsonl.

    Raises DataError where the domain has no pairs yet.
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
    with edited(project, name, REVIEWS_FILE) as stored:
        merged = read_reviews(stored) | kept
        if kept:
            write_reviews(stored, merged.values())
    accepts = sum(review.verdict == "accept" for review in kept.values())
    place = project.name_address(str(stored))
    click.echo(f"{accepts:,} accepted, {len(kept) - accepts:,} rejected; {place} holds {len(merged):,} verdicts")
    if unknown:
        listed = ", ".join(map(ascii, unknown[:MAX_LISTED]))
        click.echo(
            f"{len(unknown):,} question_ids belong to no pair of {name!r} and were ignored: {listed}"
            f"{', …' if len(unknown) > MAX_LISTED else ''}",
            err=True,
        )
    if kept:
        click.echo(f"Next: raft run {name!r}")
