"""Running headers, footers and page numbers of a PDF, told from lines of the text that repeat or are numbers."""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from raft_assets.documents.readers.left_out import LeftOutReason, count_words
from raft_assets.documents.readers.pdf_lines import Line, PageLines

MARGIN = 0.12  # share of the page at top and bottom where running headers, footers and page numbers are
POSITION_TOLERANCE = 6.0  # points that a running header may move between pages
MIN_REPEATED_PAGES = 3  # pages that a line must repeat on to be furniture; both pages of a short document are enough
SAME_SIZE = 0.08  # of the size, by which lines of one text differ at most
SAME_PITCH = 0.15  # of the distance between two lines of one text, by which it varies at most
MAX_ROW_PITCH = 3.0  # between two rows of a table, in sizes
MIN_HEADING_SIZE = 1.15  # times the usual size
MAX_SENTENCE_PITCH = 2.5  # between two lines of one sentence, in usual distances
FULL_WIDTH = 0.85  # of the widest line; running titles are shorter
MIN_OPEN_WORDS = 12  # of a line in the middle of a sentence; running titles have fewer
MIN_SENTENCE_WORDS = 10  # of sentences that repeat on every page; running titles and notices are shorter or smaller

_PAGE_NUMBER = re.compile(
    r"\W*(?:(?:page|seite|p\.?)\s*)?(?:#+|[ivxlc]{1,6})(?:\s*(?:/|of|von|-)\s*#+)?\W*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。！？][\"”’')\]]*$")
# a line that ends so goes on
OPEN_END = re.compile(
    r"[,;(]$|\b(?:a|an|and|are|as|at|be|by|for|from|if|in|is|nor|of|on|or|shall|that|the|to|was|which|with)$"
)


def remove_furniture(pages: Sequence[PageLines]) -> tuple[list[PageLines], Counter[LeftOutReason]]:
    """Return the pages without page numbers and running lines, and the words that these have.

    Running lines have the same words except for numbers, in one position, on several pages. Lines of the text do so as
    well (contracts, forms, tables): what continues other lines, or is a sentence, stays.
    """
    style = _Usual.of(pages)
    places: dict[str, list[tuple[int, Line]]] = defaultdict(list)
    for page in pages:
        for line in page.lines:
            if _in_margin(line, page):
                places[_mask_digits(line)].append((page.number, line))
    needed = max(2, min(MIN_REPEATED_PAGES, len(pages)))
    kept: list[PageLines] = []
    words: Counter[LeftOutReason] = Counter()
    for page in pages:
        suspects = {
            index: reason
            for index, line in enumerate(page.lines)
            if _in_margin(line, page) and (reason := style.suspected(line, page, places[_mask_digits(line)], needed))
        }
        furniture = style.without_text(page.lines, suspects)
        for index, reason in furniture.items():
            words[reason] += count_words(page.lines[index].text)
        kept.append(replace(page, lines=tuple(line for index, line in enumerate(page.lines) if index not in furniture)))
    return kept, words


def usual_size(lines: Iterable[Line]) -> float:
    """Return the size that most of the text has; 1 if there is none."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(2 * line.size) / 2] += len(line.text)
    return (sizes.most_common(1)[0][0] if sizes else 1.0) or 1.0


@dataclass(frozen=True)
class _Usual:
    """What is usual in the document: the size of its text and the distance between two lines of it."""

    size: float
    pitch: float

    @classmethod
    def of(cls, pages: Sequence[PageLines]) -> "_Usual":
        size = usual_size(line for page in pages for line in page.lines)
        pitches = [
            upper.middle - lower.middle
            for page in pages
            for upper, lower in pairwise(page.lines)
            if abs(upper.left - lower.left) < size and 0.5 * size < upper.middle - lower.middle < 2 * size
        ]
        return cls(size, statistics.median(pitches) if pitches else 1.2 * size)

    def suspected(
        self, line: Line, page: PageLines, places: Sequence[tuple[int, Line]], needed: int
    ) -> LeftOutReason | None:
        """Return what a line in the margin looks like by itself, None if like text."""
        if _PAGE_NUMBER.fullmatch(_mask_digits(line)):
            return "page_number"
        same = [(number, other) for number, other in places if abs(other.middle - line.middle) <= POSITION_TOLERANCE]
        if len({number for number, _ in same}) < needed or self._is_numbered_heading(line, [one for _, one in same]):
            return None
        return "header" if line.middle > page.height / 2 else "footer"

    def _is_numbered_heading(self, line: Line, same: Sequence[Line]) -> bool:
        """Return whether large lines at the top of pages differ by their number: Chapter 1, Chapter 2, Chapter 3."""
        return line.size >= MIN_HEADING_SIZE * self.size and len({other.text for other in same}) == len(same)

    def without_text(self, lines: Sequence[Line], suspects: dict[int, LeftOutReason]) -> dict[int, LeftOutReason]:
        """Return the suspects without those that belong to the text."""
        sentences = self._sentences(lines, suspects)
        furniture = {index: reason for index, reason in suspects.items() if index not in sentences}
        while True:
            text = [line for index, line in enumerate(lines) if index not in furniture]
            belonging = [index for index in furniture if self._belongs(lines[index], text)]
            if not belonging:
                return furniture
            for index in belonging:
                del furniture[index]

    def _sentences(self, lines: Sequence[Line], suspects: Iterable[int]) -> set[int]:
        """Return the suspects that are whole sentences in the size of the text."""
        groups: list[list[int]] = []
        for index in sorted(suspects, key=lambda index: -lines[index].middle):
            if groups and self._is_next(lines[groups[-1][-1]], lines[index], self.pitch):
                groups[-1].append(index)
            else:
                groups.append([index])
        return {
            index
            for group in groups
            for index in group
            if all(abs(lines[one].size - self.size) <= SAME_SIZE * self.size for one in group)
            and _SENTENCE_END.search(lines[group[-1]].text)
            and sum(count_words(lines[one].text) for one in group) >= MIN_SENTENCE_WORDS
        }

    def _belongs(self, line: Line, text: Sequence[Line]) -> bool:
        """Return whether a line continues a paragraph or a table, or is in a row that does."""
        if self._continues(line, text):
            return True
        return any(self._continues(mate, text) for mate in text if _in_one_row(line, mate) and _has_size_of(line, mate))

    def _continues(self, line: Line, text: Sequence[Line]) -> bool:
        for other in text:
            if other is line or not _is_over(line, other) or not _has_size_of(line, other):
                continue
            pitch = abs(line.middle - other.middle)
            if self._is_next(line, other, self.pitch) or self._share_sentence(line, other, text):
                return True
            if pitch <= MAX_ROW_PITCH * line.size and any(
                self._is_next(other, third, pitch)
                for third in text
                if third is not line and (third.middle - other.middle) * (other.middle - line.middle) > 0
            ):
                return True
        return False

    def _share_sentence(self, line: Line, other: Line, text: Sequence[Line]) -> bool:
        """Return whether a sentence goes from the upper of two lines to the lower one, with more white than usual."""
        upper, lower = (line, other) if line.middle > other.middle else (other, line)
        if (
            abs(upper.left - lower.left) > self.size / 2
            or upper.middle - lower.middle > MAX_SENTENCE_PITCH * self.pitch
            or _SENTENCE_END.search(upper.text)
        ):
            return False
        if OPEN_END.search(upper.text):
            return True
        width = max(one.right - one.left for one in text)
        is_full = upper.right - upper.left >= FULL_WIDTH * width or count_words(upper.text) >= MIN_OPEN_WORDS
        is_whole = line is upper or bool(_SENTENCE_END.search(lower.text))
        return is_full and is_whole and lower.text[:1].isalpha() and not lower.text[:1].isupper()

    @staticmethod
    def _is_next(line: Line, other: Line, pitch: float) -> bool:
        distance = abs(line.middle - other.middle)
        return (
            0.5 * line.size < distance
            and abs(distance - pitch) <= SAME_PITCH * pitch
            and _is_over(line, other)
            and _has_size_of(line, other)
        )


def _is_over(line: Line, other: Line) -> bool:
    return min(line.right, other.right) > max(line.left, other.left) and not _in_one_row(line, other)


def _in_one_row(line: Line, other: Line) -> bool:
    return line is not other and min(line.top, other.top) - max(line.bottom, other.bottom) > 0.5 * min(
        line.size, other.size
    )


def _has_size_of(line: Line, other: Line) -> bool:
    return abs(line.size - other.size) <= SAME_SIZE * max(line.size, other.size)


def _in_margin(line: Line, page: PageLines) -> bool:
    return not MARGIN * page.height < line.middle < (1 - MARGIN) * page.height


def _mask_digits(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text.casefold())
