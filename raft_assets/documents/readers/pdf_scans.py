"""Pages of a PDF that are pictures without a text layer: found, drawn and read by OCR where that is installed."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from raft_assets.core.progress import track
from raft_assets.documents.readers.content import UnreadableError
from raft_assets.documents.readers.left_out import count_words
from raft_assets.documents.readers.ocr import (
    MAX_GUESSED_PAGES,
    MAX_OCR_PAGES,
    MAX_SIDE,
    check_pixels,
    is_available,
    recognize,
)
from raft_assets.documents.readers.pdf_lines import PageLines

DRAWN_DPI = 200
MIN_LAYER_WORDS = 10  # of a text layer; a stamp or number on a scanned page has fewer
MIN_SCAN_SHARE = 0.5  # of a page with such a stamp, that its pictures cover
MIN_PICTURE_SHARE = 0.1  # of a page without any text, so that a logo on a blank page is none
MIN_STROKES = 100  # drawn letters of a page without any text
MAX_OBJECTS = 20_000  # of a page that are looked at
POINTS_PER_INCH = 72


@dataclass
class Scans:
    """The scanned pages of a document."""

    recognized: dict[int, PageLines] = field(default_factory=dict)  # by index
    unread: list[int] = field(default_factory=list)  # numbers of pages
    illegible: int = 0  # words that were guesswork
    guessed: int = 0  # pages that are mostly guesswork, one after the other up to the last one
    problem: UnreadableError | None = None  # why the first unread page wasn't read, where OCR is installed

    @property
    def counts(self) -> dict[str, int]:
        """Scanned pages by what became of them."""
        counts: dict[str, int] = {"ocr": len(self.recognized), "unread": len(self.unread)}
        return {outcome: count for outcome, count in counts.items() if count}


def read_scans(document: pypdfium2.PdfDocument, pages: Sequence[PageLines]) -> Scans:
    """Return what is read in scanned pages.

    Nothing is read without the extra, of pages with too many pixels, and after `MAX_GUESSED_PAGES` illegible ones.
    """
    scans = Scans()
    can_read = is_available()
    for index, lines in enumerate(track("pages searched for scans", pages, len(pages))):
        if sum(count_words(line.text) for line in lines.lines) >= MIN_LAYER_WORDS:
            continue
        try:
            with closing(document[index]) as page:
                if not _is_scanned(page, has_text=bool(lines.lines)):
                    continue
                if can_read and len(scans.recognized) < MAX_OCR_PAGES and scans.guessed < MAX_GUESSED_PAGES:
                    _read_page(page, lines, scans, index)
                    continue
        except UnreadableError as error:
            scans.problem = scans.problem or error
        scans.unread.append(lines.number)
    return scans


def _read_page(page: pypdfium2.PdfPage, lines: PageLines, scans: Scans, index: int) -> None:
    """Read a page by OCR; a blank one isn't counted. Raises UnreadableError (too_large)."""
    for picture in _pictures(page):
        across, down = picture.get_px_size()
        check_pixels(across, down, f"A picture on page {lines.number}")
    width, height = page.get_size()
    scale = min(DRAWN_DPI / POINTS_PER_INCH, MAX_SIDE / max(width, height, 1.0))
    drawn = np.ascontiguousarray(page.render(scale=scale, may_draw_forms=False).to_numpy()[..., :3])
    if drawn.min() == drawn.max():
        return
    found = recognize(drawn, points_per_pixel=1 / scale)
    scans.recognized[index] = PageLines(lines.number, found.height, found.lines)
    scans.illegible += found.illegible
    scans.guessed = scans.guessed + 1 if found.is_guesswork else 0


def _is_scanned(page: pypdfium2.PdfPage, *, has_text: bool) -> bool:
    """Return whether pictures cover the page, or its letters are drawn as strokes."""
    width, height = page.get_size()
    area = max(width * height, 1.0)
    covered = sum(_area(picture, area) for picture in _pictures(page)) / area
    if has_text:
        return bool(covered >= MIN_SCAN_SHARE)
    if covered >= MIN_PICTURE_SHARE:
        return True
    strokes = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_PATH], max_depth=3)
    return sum(1 for _ in islice(strokes, MIN_STROKES)) >= MIN_STROKES


def _pictures(page: pypdfium2.PdfPage) -> Iterator[pypdfium2.PdfImage]:
    return islice(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3), MAX_OBJECTS)


def _area(picture: pypdfium2.PdfImage, page_area: float) -> float:
    if picture.level:  # in a form, which may place it anywhere
        return page_area
    left, bottom, right, top = picture.get_bounds()
    return float(max(0.0, right - left) * max(0.0, top - bottom))
