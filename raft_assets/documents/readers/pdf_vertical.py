"""Pages of a PDF whose lines run from top to bottom, as in Japanese and Chinese books.

Such a page is turned a quarter to the left: its lines then run from left to right and follow one another from top to
bottom, and what is made of lines (paragraphs, headings, tiers) is what it is on any other page. Page numbers and
running titles, which run from left to right, are put above and below it.
"""

import math
import re
import statistics
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import pypdfium2
import pypdfium2.raw as pdfium

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.pdf_lines import Line, box_of

SAMPLE = 400  # pairs of characters that tell how a page runs
MIN_STEPS = 6  # downwards; fewer are a label beside a picture
# in sizes: how far a character is from the middle of its line, and below the one before it
OFF_MIDDLE, UPWARDS, DOWNWARDS = 0.6, 0.3, 3.0
RUBY_SIZE = 0.75  # of the size of the page: readings beside the characters
MARGIN = 0.12  # of the page at top and bottom where running titles and page numbers are

_VERTICAL_SCRIPT = re.compile(
    "[\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\ufe10-\ufe4f\uff01-\uff60]"
)
_PRESENTATION = re.compile("[\ufe10-\ufe19\ufe30-\ufe4f]")  # the forms of punctuation in vertical lines


@dataclass(frozen=True)
class _Character:
    text: str
    x: float  # centre
    y: float
    size: float
    after_blank: bool

    def steps_down(self, other: "_Character") -> bool:
        size = max(self.size, other.size)
        return abs(other.x - self.x) < 0.5 * size and 0.4 * size < self.y - other.y < 2 * size

    def steps_right(self, other: "_Character") -> bool:
        size = max(self.size, other.size)
        return abs(other.y - self.y) < 0.5 * size and 0.2 * size < other.x - self.x < 2 * size


@dataclass
class _Run:
    """Characters that follow one another in one direction."""

    characters: list[_Character] = field(default_factory=list)
    is_vertical: bool = True

    @property
    def size(self) -> float:
        return statistics.median(character.size for character in self.characters)

    @property
    def x(self) -> float:
        return statistics.median(character.x for character in self.characters)

    @property
    def top(self) -> float:
        return self.characters[0].y + self.size / 2

    @property
    def bottom(self) -> float:
        return self.characters[-1].y - self.size / 2

    @property
    def text(self) -> str:
        parts = (" " * character.after_blank + character.text for character in self.characters)
        text = _PRESENTATION.sub(lambda form: unicodedata.normalize("NFKC", form[0]), "".join(parts))
        return re.sub(f"(?<={_VERTICAL_SCRIPT.pattern}) | (?={_VERTICAL_SCRIPT.pattern})", "", to_one_line(text))

    def takes(self, character: _Character) -> bool:
        last = self.characters[-1]
        if len(self.characters) == 1 and last.steps_right(character) and not _VERTICAL_SCRIPT.match(last.text):
            self.is_vertical = False
        if not self.is_vertical:
            return last.steps_right(character)
        size = max(self.size, character.size)
        return (
            abs(character.x - self.x) < OFF_MIDDLE * size
            and -UPWARDS * size < last.y - character.y < DOWNWARDS * size
            and character.size > RUBY_SIZE * self.size
        )


def is_vertical(text_page: pypdfium2.PdfTextPage, lines: Iterable[Line]) -> bool:
    """Return whether the lines of a page run from top to bottom."""
    if not any(_VERTICAL_SCRIPT.search(line.text) for line in lines):
        return False
    pairs = ((one, other) for one, other in pairwise(_characters(text_page)) if _are_vertical_script(one, other))
    sample = list(islice(pairs, SAMPLE))
    down = sum(one.steps_down(other) for one, other in sample)
    return down >= MIN_STEPS and down > sum(one.steps_right(other) for one, other in sample)


def vertical_lines(text_page: pypdfium2.PdfTextPage, width: float, height: float) -> tuple[Line, ...]:
    """Return the lines of a page of that width and height, as they are on the page when it is turned.

    Readings of characters are after all other lines.
    """
    runs = _runs(_characters(text_page))
    for run in runs:
        run.is_vertical = run.is_vertical and any(_VERTICAL_SCRIPT.match(one.text) for one in run.characters)
    usual = statistics.median(run.size for run in runs for _ in run.characters) if runs else 1.0
    body = _in_order(_joined(run for run in runs if run.is_vertical and run.size > RUBY_SIZE * usual))
    ruby = [run for run in runs if run.is_vertical and run.size <= RUBY_SIZE * usual]
    across = [run for run in runs if not run.is_vertical]
    return (
        *(_turned(run, height) for run in (*body, *ruby)),
        *(_put_aside(run, place, width, height) for place, run in enumerate(across, start=1)),
    )


def _are_vertical_script(one: _Character, other: _Character) -> bool:
    return _VERTICAL_SCRIPT.match(one.text) is not None and _VERTICAL_SCRIPT.match(other.text) is not None


def _characters(text_page: pypdfium2.PdfTextPage) -> Iterator[_Character]:
    raw, after_blank = text_page.raw, False
    for index in range(text_page.count_chars()):
        text = chr(pdfium.FPDFText_GetUnicode(raw, index))
        if text.isspace() or text <= "\x1f":
            after_blank = True
            continue
        box = box_of(raw, index)
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        yield _Character(text, x, y, box.top - box.bottom, after_blank)
        after_blank = False


def _runs(characters: Iterable[_Character]) -> list[_Run]:
    runs: list[_Run] = []
    for character in characters:
        if runs and runs[-1].takes(character):
            runs[-1].characters.append(character)
        else:
            runs.append(_Run([character]))
    return runs


def _joined(runs: Iterable[_Run]) -> list[_Run]:
    """Return the runs, those joined that readings beside them broke."""
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].takes(run.characters[0]):
            joined[-1].characters += run.characters
        else:
            joined.append(run)
    return joined


def _in_order(runs: Iterable[_Run]) -> list[_Run]:
    """Return the runs of each tier from right to left, the tiers from top to bottom; files have them in any order."""
    tiers: list[list[_Run]] = []
    lowest = math.inf
    for run in sorted(runs, key=lambda run: -run.top):
        if run.top < lowest:
            tiers.append([])
        tiers[-1].append(run)
        lowest = min(lowest, run.bottom) if len(tiers[-1]) > 1 else run.bottom
    return [run for tier in tiers for run in sorted(tier, key=lambda run: (-run.x, -run.top))]


def _turned(run: _Run, height: float) -> Line:
    return Line(
        text=run.text,
        left=height - run.top,
        bottom=run.x - run.size / 2,
        right=height - run.bottom,
        top=run.x + run.size / 2,
        size=run.size,
        bold=False,
    )


def _put_aside(run: _Run, place: int, width: float, height: float) -> Line:
    """Return a line that runs from left to right above or below the turned page."""
    size, first, last = run.size, run.characters[0], run.characters[-1]
    is_title = first.y > (1 - MARGIN) * height
    bottom = width + 1.5 * size * place if is_title else -1.5 * size * place
    line = Line(run.text, first.x - size / 2, bottom, last.x + size / 2, bottom + size, size, bold=False)
    return replace(line, left=min(line.left, line.right))
