"""The lines of a PDF page, with their geometry, as they are drawn."""

import ctypes
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pypdfium2
import pypdfium2.raw as pdfium

from raft_assets.documents.readers.cleaning import to_one_line

# all geometry is in points, y upwards; "size" is the height of a font's box, about 1.2 times its nominal size
BOLD_WEIGHT = 600
SUPERSCRIPT_SIZE = 0.85  # of the size of the text that it belongs to
MIN_FULL_SIZE = 2  # characters of full size by which superscripts are told from small text


@dataclass(frozen=True)
class Line:
    """A line of text as it is drawn. Its text keeps a hyphen at its end."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    bold: bool

    @property
    def middle(self) -> float:
        """Vertical centre."""
        return (self.bottom + self.top) / 2


@dataclass(frozen=True)
class Block:
    """Lines of one paragraph or heading."""

    lines: tuple[Line, ...]

    @cached_property
    def left(self) -> float:
        """Left edge of the leftmost line."""
        return min(line.left for line in self.lines)

    @cached_property
    def right(self) -> float:
        """Right edge of the rightmost line."""
        return max(line.right for line in self.lines)

    @cached_property
    def bottom(self) -> float:
        """Lower edge of the lowest line."""
        return min(line.bottom for line in self.lines)

    @cached_property
    def top(self) -> float:
        """Upper edge of the highest line."""
        return max(line.top for line in self.lines)

    @cached_property
    def size(self) -> float:
        """Median size of the lines."""
        return statistics.median(line.size for line in self.lines)


@dataclass(frozen=True)
class PageLines:
    """The lines of a page in the order in which the file draws them."""

    number: int
    height: float
    lines: tuple[Line, ...]


def horizontal_lines(text_page: pypdfium2.PdfTextPage) -> tuple[Line, ...]:
    """Return the lines of a page that run from left to right, in the order in which they are drawn."""
    return tuple(_join_lines(_drawn_lines(text_page)))


def _drawn_lines(text_page: pypdfium2.PdfTextPage) -> Iterator[Line]:
    """Yield lines as PDFium returns them.

    It breaks before superscripts, and marks a hyphen at a line's end by U+0002 only.
    """
    raw, run = text_page.raw, list[int]()
    for index in range(text_page.count_chars()):
        code = pdfium.FPDFText_GetUnicode(raw, index)
        if code not in (0x0A, 0x0D):
            run.append(index)
        if code in (0x02, 0x0A, 0x0D):
            yield from _line(raw, run)
            run = []
    yield from _line(raw, run)


def _line(raw: pdfium.FPDF_TEXTPAGE, indices: Sequence[int]) -> Iterator[Line]:
    text = "".join(chr(pdfium.FPDFText_GetUnicode(raw, index)) for index in indices)
    visible = [
        index for index, character in zip(indices, text, strict=True) if not character.isspace() and character > "\x1f"
    ]
    if not visible:
        return
    boxes = [box_of(raw, index) for index in visible]
    full = _without_superscripts(boxes)
    bottom, top = (statistics.median(values) for values in ([box.bottom for box in full], [box.top for box in full]))
    hyphenated = text.rstrip("\r\n").endswith("\x02")
    yield Line(
        text=to_one_line(text) + ("\u00ad" if hyphenated else ""),
        left=min(box.left for box in boxes),
        bottom=bottom,
        right=max(box.right for box in boxes),
        top=top,
        size=top - bottom,
        bold=_is_bold(raw, visible[0]) and _is_bold(raw, visible[-1]),
    )


def box_of(raw: pdfium.FPDF_TEXTPAGE, index: int) -> pdfium.FS_RECTF:
    """Return the box of a character in its font."""
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(raw, index, box)
    return box


def _without_superscripts(boxes: Sequence[pdfium.FS_RECTF]) -> Sequence[pdfium.FS_RECTF]:
    """Return the characters that say how large a line is: a short line may have more superscripts than words."""
    median = statistics.median(box.top - box.bottom for box in boxes)
    full = [box for box in boxes if SUPERSCRIPT_SIZE * (box.top - box.bottom) > median]
    if len(full) < MIN_FULL_SIZE:
        return boxes
    base = statistics.median(box.bottom for box in full)
    raised = [box for box in boxes if box.bottom > base and box.top - box.bottom <= median]
    return full if 2 * len(raised) >= len(boxes) - len(full) else boxes


def _is_bold(raw: pdfium.FPDF_TEXTPAGE, index: int) -> bool:
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    pdfium.FPDFText_GetFontInfo(raw, index, name, len(name), flags)
    return b"bold" in name.value.lower() or pdfium.FPDFText_GetFontWeight(raw, index) >= BOLD_WEIGHT


def _join_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines, with superscripts and what follows them joined to the line that they are on."""
    previous: Line | None = None
    for line in lines:
        if previous and _continues(previous, line):
            space = "" if line.left - previous.right < 0.12 * previous.size else " "
            larger = max(previous, line, key=lambda part: part.size)
            previous = replace(
                larger,
                text=previous.text + space + line.text,
                left=previous.left,
                right=line.right,
                bold=previous.bold and line.bold,
            )
            continue
        if previous:
            yield previous
        previous = line
    if previous:
        yield previous


def _continues(previous: Line, line: Line) -> bool:
    overlap = min(previous.top, line.top) - max(previous.bottom, line.bottom)
    gap = line.left - previous.right
    return overlap > 0.5 * min(previous.size, line.size) and -1.0 < gap < previous.size
