"""What a reader leaves out of a document: words by reason, counted so that no loss goes unnoticed.

What belongs here: the reasons, how words are counted, and which share of a reason is out of the ordinary. What is left
out is decided by each reader.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from raft_assets.core.languages import script_words
from raft_assets.core.tables import SourceDocument

LeftOutReason = Literal[
    "header",
    "footer",
    "page_number",
    "references",
    "caption",
    "table_furniture",
    "navigation",
    "outside_main",
    "aside",
    "form",
    "control",
    "hidden",
    "graphic",
    "front_matter",
    "comment",
    "unread",
    "output",
    "formula",
    "illegible",
    "field",
]
# of all words of the file: the largest share that is usual in reports, handbooks, manuals and encyclopedias.
# Wikipedia's PDFs have up to 40 % references and 15 % captions; short web pages are mostly navigation
ORDINARY_SHARES: Mapping[LeftOutReason, float] = {
    "header": 0.10,
    "footer": 0.10,
    "page_number": 0.03,
    "references": 0.45,
    "caption": 0.20,
    "table_furniture": 0.10,
    "navigation": 0.60,
    "outside_main": 0.60,
    "aside": 0.20,
    "form": 0.20,
    "control": 0.10,
    "hidden": 0.20,
    "graphic": 0.10,
    "front_matter": 0.15,
    "comment": 0.15,
    "unread": 0.02,
    "output": 0.50,
    "formula": 0.02,
    "illegible": 0.05,
    "field": 0.30,  # of entries with a text: ids, addresses, dates
}
OCR_COMMAND = "`pip install 'raft-assets[ocr]'`"
MIN_UNUSUAL_WORDS = 8  # fewer are no warning: of a page with ten words anything is a large share


def count_words(text: str) -> int:
    """Return the number of words; in scripts without spaces every letter is one."""
    return len(script_words(text))


def counted(words: Mapping[LeftOutReason, int]) -> dict[str, int]:
    """Return the counts as a document keeps them: those above zero, largest first."""
    return {reason: count for reason, count in Counter(words).most_common() if count > 0}


@dataclass(frozen=True)
class ReadingLoss:
    """What is left out of one document."""

    path: str
    words: int  # of its text
    left_out: Mapping[str, int]  # words by reason
    scanned: Mapping[str, int] = field(default_factory=dict)  # pages that are pictures, by what became of them

    @property
    def total(self) -> int:
        """Words that are left out, for whatever reason."""
        return sum(self.left_out.values())

    @property
    def total_share(self) -> float:
        """Their share in all words of the file."""
        return self.total / max(1, self.words + self.total)

    def share(self, reason: str) -> float:
        """Return the share of one reason in all words of the file."""
        return self.left_out[reason] / max(1, self.words + self.total)

    @property
    def unusual(self) -> list[str]:
        """Reasons whose share is out of the ordinary."""
        return [
            reason
            for reason, words in self.left_out.items()
            if words >= MIN_UNUSUAL_WORDS and self.share(reason) > ORDINARY_SHARES.get(reason, 0.0)  # type: ignore[call-overload]
        ]

    @property
    def warning(self) -> str:
        """What is out of the ordinary and what to do, in sentences; empty where nothing is."""
        return " ".join(filter(None, (self._warn_of_words(), self._warn_of_pictures())))

    def _warn_of_words(self) -> str:
        if not self.unusual:
            return ""
        parts = ", ".join(f"{self.share(reason):.0%} as {describe_reason(reason)}" for reason in self.unusual)
        return (
            f"Of {self.path} an unusual share of the words is left out ({parts}). Compare its text with the file; "
            "if something is missing, save the file in another format, such as .docx or .md."
        )

    def _warn_of_pictures(self) -> str:
        pages = self.scanned.get("unread", 0)
        if not pages:
            return ""
        return (
            f"Of {self.path} {pages:,} pages are pictures that were not read; install OCR with {OCR_COMMAND}, or put "
            "their text through OCR elsewhere."
        )


def describe_ocr(losses: Iterable[ReadingLoss]) -> str:
    """Return how many pages were read by OCR, in a sentence; empty where none was."""
    pages = [loss.scanned.get("ocr", 0) for loss in losses if loss.scanned.get("ocr", 0)]
    if not pages:
        return ""
    return (
        f"{sum(pages):,} scanned pages of {len(pages):,} documents were read by OCR, which mistakes some characters "
        "and tells headings by their size only."
    )


def describe_reason(reason: str) -> str:
    """Return the reason in words."""
    return reason.replace("_", " ")


def left_out_by_reason(losses: Iterable[ReadingLoss]) -> Counter[str]:
    """Return the words that documents leave out together, by reason."""
    reasons: Counter[str] = Counter()
    for loss in losses:
        reasons.update(loss.left_out)
    return reasons


def reading_losses(pages: Iterable[SourceDocument]) -> Iterator[ReadingLoss]:
    """Yield what is left out of every document, in order. The pages of a document follow one another."""
    for path, group in groupby(pages, key=lambda page: page.path):
        document = list(group)
        words = sum(count_words(page.text) for page in document)
        yield ReadingLoss(path, words, document[0].left_out, document[0].scanned)
