"""Reviewers' verdicts on question pairs: `reviews.jsonl` of a domain, and the files that are sent out and come back.

What belongs here: writing pairs for a reviewer, validating and storing what comes back. What a verdict does to a pair
belongs in `gates`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw
from raft_assets.core.jsonl import NonEmptyText, read_jsonl, validate_as
from raft_assets.core.sheets import read_csv, read_text, write_csv
from raft_assets.core.tables import QAPair

ReviewVerdict = Literal["accept", "reject"]
REVIEW_COLUMNS = (
    "question_id",
    "question",
    "final_answer",
    "quotes",
    "passage",
    "kind",
    "reason",
    "verdict",
    "note",
)
SUFFIXES = (".jsonl", ".csv")
QUOTE_SEPARATOR = "\n"
SEED = 0  # of the draw of a sample


class Review(BaseModel):
    """A line of `reviews.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_id: NonEmptyText
    verdict: ReviewVerdict
    note: str = ""


class _ReviewFileRow(BaseModel):
    """A row that came back; columns that a reviewer doesn't fill in are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    question_id: NonEmptyText
    verdict: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)] = ""
    note: Annotated[str, StringConstraints(strip_whitespace=True)] = ""

    @field_validator("verdict")
    @classmethod
    def _is_allowed(cls, verdict: str) -> str:
        if verdict not in ("", "accept", "reject"):
            raise ValueError(f"{verdict!r} is neither accept nor reject nor empty")
        return verdict


def read_reviews(file: Path) -> dict[str, Review]:
    """Return the verdicts of a domain by question_id; none if there is no file.

    Of several verdicts on one question the last counts. Raises DataError with file, line and field.
    """
    return {review.question_id: review for _, review in read_jsonl(file, Review)}


def sample_pairs(pairs: Iterable[QAPair], *, sample: int | None, rejected: bool) -> list[QAPair]:
    """Return the pairs to send out, sorted by question_id: accepted ones, or all, of them `sample` by draw.

    A chunk from which no question came is nothing to review.
    """
    chosen = [pair for pair in pairs if pair.question and (rejected or pair.accepted)]
    drawn = sorted(chosen, key=lambda pair: (draw(SEED, pair.question_id, "review"), pair.question_id))[:sample]
    return sorted(drawn, key=lambda pair: pair.question_id)


def export_reviews(
    pairs: Iterable[QAPair], passages: Mapping[str, str], reviews: Mapping[str, Review], target: Path
) -> None:
    """Write a row per pair for a reviewer, with the verdicts that exist.

    The suffix of `target` decides on CSV or JSON Lines. `passages`: chunk id to what the teacher was shown. Raises
    DataError for another suffix.
    """
    _check_suffix(target)
    rows = [_build_row(pair, passages.get(pair.chunk_id, ""), reviews.get(pair.question_id)) for pair in pairs]
    if target.suffix == ".csv":
        write_csv(target, REVIEW_COLUMNS, rows)
    else:
        write_text(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_review_file(file: Path) -> list[Review]:
    """Return the verdicts in a file that came back; rows without one are left out.

    Raises DataError with file, row (from 1, without the head of a table) and column.
    """
    _check_suffix(file)
    rows = read_csv(file, ("question_id", "verdict")) if file.suffix == ".csv" else _read_json_lines(file)
    reviews: dict[str, Review] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{file}, row {number}"
        returned = validate_as(row, _ReviewFileRow, where, part="column")
        if not returned.verdict:
            continue
        review = Review.model_validate(returned.model_dump())
        if reviews.setdefault(review.question_id, review).verdict != review.verdict:
            raise DataError(
                f"{where}, column verdict: {review.question_id} has a different verdict in an earlier row; keep one."
            )
    return list(reviews.values())


def write_reviews(file: Path, reviews: Iterable[Review]) -> None:
    """Write the verdicts of a domain, sorted, atomically."""
    lines = sorted(review.model_dump_json() for review in reviews)
    write_text(file, "".join(f"{line}\n" for line in lines))


def _check_suffix(file: Path) -> None:
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file} must end in .csv or .jsonl.")


def _build_row(pair: QAPair, passage: str, review: Review | None) -> dict[str, str]:
    return {
        "question_id": pair.question_id,
        "question": pair.question,
        "final_answer": pair.final_answer,
        "quotes": QUOTE_SEPARATOR.join(pair.quotes),
        "passage": passage,
        "kind": pair.kind,
        "reason": pair.reason,
        "verdict": review.verdict if review else "",
        "note": review.note if review else "",
    }


def _read_json_lines(file: Path) -> Iterator[Any]:
    for number, line in enumerate(filter(str.strip, read_text(file).split("\n")), start=1):
        try:
            yield json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{file}, row {number} is not valid JSON ({error}): fix it there.") from error
