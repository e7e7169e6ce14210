"""PDF: lines with their geometry become paragraphs and headings in reading order, without running headers."""

import itertools
import re
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pypdfium2
import pypdfium2.raw as pdfium

from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import FileKind, ParsedContent, Section, UnreadableError, find_headings
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.ocr import needs_ocr
from raft_assets.documents.readers.pdf_furniture import OPEN_END, remove_furniture, usual_size
from raft_assets.documents.readers.pdf_lines import Block, Line, PageLines, page_lines
from raft_assets.documents.readers.pdf_references import find_reference_lists
from raft_assets.documents.readers.pdf_scans import Scans, read_scans
from raft_assets.documents.readers.pdf_words import divides_words
from raft_assets.documents.readers.progress import told

_PDFIUM = threading.Lock()  # PDFium has global state and is not made for threads

# all geometry is in points, y upwards; "size" is the height of a font's box, about 1.2 times its nominal size
HEADING_SIZE = 1.15  # times the body's size
MAX_HEADING_CHARACTERS, MAX_BOLD_HEADING_CHARACTERS = 160, 80
MIN_GUTTER = 0.8  # least width of the white between two columns, in sizes
PARAGRAPH_GAP = 0.35  # more white than usual between two lines of one paragraph, in sizes
FULL_LINE, MAX_SENTENCE_GAP = (
    0.15,
    1.0,
)  # of the width, by which a full line is shorter; white within a sentence, in sizes
INDENT = 0.8  # of a paragraph's first line, in sizes
SMALL_SIZE = 0.85  # of the body's size; captions and cells of tables are smaller
MAX_CAPTION_CHARACTERS = 250
MIN_CELLS = 4  # short blocks that follow one another; fewer are captions or headings
MIN_REGULAR_SHARE, MIN_ROW_WORDS = 0.7, 3  # share of a table's rows with the usual number of cells, and words of a row
MIN_NOTE_WORDS = 3  # of a footnote without a mark
MAX_ASIDE_CHARACTERS = 60  # captions and cells of tables are shorter, paragraphs rarely
MAX_CARRIED_CHARACTERS = 600  # characters of a sentence that are carried back over a page break

_BULLET = re.compile(r"[•◦▪‣●○■□–*\uf0b7]\s+|[oO-]\s+(?=\S)")
_LIST_GAP = re.compile(r"(?<=\n)(- [^\n]*\n)\n(?=- )")
_NUMBERED = re.compile(r"\(?(?:\d{1,3}|[a-z])[.)]\s+\S")
_HYPHENATED = re.compile(r"([^\W\d_]+|\d+)[-\u2010\u00ad\x02]$")
# words that keep the hyphen after them
_COMPOUNDING = frozenset(
    {"all", "cross", "ex", "full", "half", "high", "large", "long", "low", "mid", "non", "one", "self"}
)
_COMPOUNDING |= {"short", "single", "small", "three", "two", "well"}
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?:。！？：][\"”’')\]」』）]*(?:\[\d+\])*$")
_FIRST_SENTENCE = re.compile(r".*?(?:[.!?][\"”’')\]]*(?:\[\d+\])*(?=\s|$)|[。！？][”’」』）]*)", re.DOTALL)
# scripts whose lines are joined without a blank
_WITHOUT_BLANKS = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
_SHOWN_LINK = re.compile(r"\s?\(\s?h\s?ttps?://[^()]{1,400}\)|(?<!\S)https?://\S+$")  # browsers print a link's target
_NOTE_MARK = re.compile(
    r"[*†‡§¶※]+\s?\S|(?:note|nb|n\.b\.|remark|anm(?:erkung)?|hinweis|nota|remarque)\b\.?:", re.IGNORECASE
)
_NUMBERED_NOTE = re.compile(r"\(?\d{1,2}[).:]?\s+[^\W\d]|[¹²³⁰-⁹]")
_CAPTION = re.compile(r"(?:fig(?:ure|\.)|tab(?:le|\.)|abb(?:ildung|\.)|photo|image|source)\b", re.IGNORECASE)
_JUNK_TITLE = re.compile(
    r"untitled|microsoft \w+ - |.*\.(?:docx?|pdf|indd|tex|pptx?)$|\(?anonymous\)?$",
    re.IGNORECASE,
)


def read_pdf(data: bytes) -> ParsedContent:
    """Return a section per page that has text; pages that are pictures are read by OCR where that is installed.

    Raises UnreadableError (encrypted, corrupt, no_text, needs_extra, too_large).
    """
    with _PDFIUM, closing(_open(data)) as document:
        metadata_title = to_one_line(document.get_metadata_value("Title"))
        pages = [page_lines(document, index) for index in told(range(len(document)))]
        scans = read_scans(document, pages)
    pages = [
        order_lines(scans.recognized[index]) if index in scans.recognized else page for index, page in enumerate(pages)
    ]
    if not any(line.text for page in pages for line in page.lines):
        raise _why_no_text(pages, scans)
    title = "" if _JUNK_TITLE.match(metadata_title) else metadata_title
    content = build_content("pdf", pages, title, Counter({"illegible": scans.illegible}))
    return replace(content, scanned=scans.counts)


def build_content(
    kind: FileKind, pages: Sequence[PageLines], title: str, left_out: Counter[LeftOutReason]
) -> ParsedContent:
    """Return a section per page that has text, from lines with their geometry. `left_out`: words besides."""
    pages, furniture = remove_furniture(pages)
    style = _Style.of(pages)
    paragraphs = [
        list(style.render_blocks(_sort_in_reading_order(style.blocks(page.lines), style.body_size)))
        for page in told(pages)
    ]
    paragraphs, references = _remove_references(paragraphs)
    _repair_page_breaks(paragraphs, style)
    texts = [[paragraph.text for paragraph in page] for page in paragraphs]
    first_heading = next((text for page in texts for text in page if text.startswith("## ")), "").removeprefix("## ")
    left_out = left_out + furniture + style.left_out + Counter[LeftOutReason]({"references": references})
    return ParsedContent(kind, title or first_heading, tuple(_build_sections(pages, texts)), counted(left_out))


def order_lines(page: PageLines) -> PageLines:
    """Return a page with its lines in reading order, where they are in none: column by column."""
    blocks = [Block((line,)) for line in page.lines]
    ordered = _sort_in_reading_order(blocks, usual_size(page.lines))
    return replace(page, lines=tuple(block.lines[0] for block in ordered))


def _why_no_text(pages: Sequence[PageLines], scans: Scans) -> UnreadableError:
    count = f"The PDF has {len(pages)} pages and no text"
    if scans.problem:
        return scans.problem
    if scans.unread:
        return needs_ocr(f"{count}, so it is probably scanned")
    return UnreadableError("no_text", f"{count}; put text into it or delete it.")


def _open(data: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise UnreadableError("encrypted", "The PDF is protected by a password; save it without one.") from error
        raise UnreadableError("corrupt", "The file is not a whole PDF; export or download it again.") from error


# ---- paragraphs ----


@dataclass
class _Paragraph:
    """A paragraph, heading, list or table as text."""

    text: str
    is_note: bool = False  # a footnote, which stands between two parts of the text


@dataclass(frozen=True)
class _Style:
    """What is usual in the document: size and edges of its body, the white between two lines, its words.

    `left_out` counts the words of what is not rendered.
    """

    body_size: float
    left: float
    right: float
    line_gap: float
    words: Counter[str]
    divides_words: bool = True
    left_out: Counter[LeftOutReason] = field(default_factory=Counter)

    @classmethod
    def of(cls, pages: Sequence[PageLines]) -> "_Style":
        """Measure the style of the pages."""
        lines = [line for page in pages for line in page.lines]
        body_size = usual_size(lines)
        gaps = [
            upper.bottom - lower.top
            for page in pages
            for upper, lower in zip(page.lines, page.lines[1:], strict=False)
            if abs(upper.left - lower.left) < body_size and abs(upper.bottom - lower.top) < body_size
        ]
        words = Counter(word.casefold() for line in lines for word in _WORD.findall(line.text))
        body = [line for line in lines if abs(line.size - body_size) < 0.1 * body_size] or lines
        left = Counter(round(line.left) for line in body).most_common(1)[0][0] if body else 0
        right = sorted(line.right for line in body)[int(0.95 * (len(body) - 1))] if body else 0.0
        line_gap = statistics.median(gaps) if gaps else 0.0
        return cls(body_size, left, right, line_gap, words, divides_words([page.lines for page in pages], words))

    def blocks(self, lines: Sequence[Line]) -> list[Block]:
        """Group consecutive lines that belong to one paragraph, list item or heading."""
        grouped: list[list[Line]] = []
        for line in lines:
            if grouped and self._continues_block(line, grouped[-1]):
                grouped[-1].append(line)
            else:
                grouped.append([line])
        return [Block(tuple(group)) for group in grouped]

    def _continues_block(self, line: Line, block: Sequence[Line]) -> bool:
        previous = block[-1]
        gap = previous.bottom - line.top
        if abs(line.size - previous.size) > 0.12 * self.body_size or (
            line.bold != previous.bold and (line.bold or len(block) == 1)
        ):
            return False
        is_apart = gap > self.line_gap + PARAGRAPH_GAP * self.body_size and not self._goes_on(line, previous, gap)
        if is_apart or gap < -0.5 * self.body_size:
            return False
        if line.left > max(one.right for one in block) or line.right < min(one.left for one in block):
            return False
        if _BULLET.match(line.text) or (_NUMBERED.match(line.text) and _SENTENCE_END.search(previous.text)):
            return False
        if self._begins_item(line, previous):
            return False
        indented = INDENT * self.body_size < line.left - previous.left < 4 * self.body_size and len(block) > 1
        return not (indented and _SENTENCE_END.search(previous.text))

    def _goes_on(self, line: Line, previous: Line, gap: float) -> bool:
        """Return whether a full line goes on in the next one, although there is more white between them."""
        is_full = previous.right > self.right - FULL_LINE * (self.right - self.left)
        return (
            is_full
            and gap < MAX_SENTENCE_GAP * self.body_size
            and abs(line.left - previous.left) < 1.0
            and line.text[:1].islower()
            and not _SENTENCE_END.search(previous.text)
        )

    def _begins_item(self, line: Line, previous: Line) -> bool:
        """Return whether an indented line begins an item of its own, whose bullet is drawn and not a character.

        It does if the line before it ended although the first word would have fitted.
        """
        first = line.text.split(" ", 1)[0]
        is_indented = line.left - self.left > INDENT * self.body_size and abs(line.left - previous.left) < 1.0
        if not is_indented or not (first[0].isupper() or first[0].isdigit()):
            return False
        width = (line.right - line.left) * (len(first) + 1) / len(line.text)
        return previous.right + width < self.right - self.body_size

    def render_blocks(self, blocks: Sequence[Block]) -> Iterator[_Paragraph]:
        """Yield the blocks as paragraphs, headings, lists, tables and footnotes.

        Captions, and tables that fell apart, are left out.
        """
        text_bottom = min((block.bottom for block in blocks if not self._is_small(block)), default=0.0)
        for is_short, run in itertools.groupby(blocks, self._is_short):
            members = list(run)
            if not is_short:
                yield from (self._paragraph(block, text_bottom) for block in members)
            elif len(members) < MIN_CELLS:
                yield from self._render_short(members, text_bottom)
            elif max(block.left for block in members) - min(block.left for block in members) < self.body_size / 2:
                if all(self._is_note(block, text_bottom) for block in members):
                    yield from (self._paragraph(block, text_bottom) for block in members)
                else:
                    yield _Paragraph("\n".join(f"- {self._without_bullet(block)}" for block in members))
            elif table := self._table(members):
                yield _Paragraph(table)
            else:
                yield from self._render_notes(members, text_bottom, "table_furniture")

    def _render_short(self, members: Sequence[Block], text_bottom: float) -> Iterator[_Paragraph]:
        for block in members:
            if self._is_small(block):
                yield from self._render_notes([block], text_bottom, "caption")
            else:
                yield _Paragraph(self.render_block(block))

    def _render_notes(
        self, members: Sequence[Block], text_bottom: float, reason: LeftOutReason
    ) -> Iterator[_Paragraph]:
        """Yield the blocks that are footnotes; the others are left out."""
        for block in members:
            if self._is_note(block, text_bottom):
                yield self._paragraph(block, text_bottom)
            else:
                self.left_out[reason] += count_words(" ".join(line.text for line in block.lines))

    def _paragraph(self, block: Block, text_bottom: float) -> _Paragraph:
        is_note = self._is_note(block, text_bottom)
        return _Paragraph(self._joined_lines(block) if is_note else self.render_block(block), is_note)

    def _is_note(self, block: Block, text_bottom: float) -> bool:
        """Return whether a small block is a footnote: it has a mark, or ends a sentence below the text of the page."""
        text = " ".join(line.text for line in block.lines)
        if not self._is_small(block) or _CAPTION.match(text) or not count_words(text):
            return False
        is_below = block.top <= text_bottom + self.body_size / 2
        return bool(
            _NOTE_MARK.match(text)
            or (is_below and _NUMBERED_NOTE.match(text))
            or (is_below and _SENTENCE_END.search(text) and count_words(text) >= MIN_NOTE_WORDS)
        )

    def _without_bullet(self, block: Block) -> str:
        return _BULLET.sub("", self.render_block(block), count=1)

    def _table(self, cells: Sequence[Block]) -> str:
        """Return rows whose cells are next to one another; an empty string if most have other numbers of cells."""
        rows = [[self.render_block(cell) for cell in row] for row in _group_into_rows(cells)]
        counts = Counter(map(len, rows))
        columns, usual = counts.most_common(1)[0]
        words = sum(len(cell.split()) for row in rows for cell in row)
        is_whole = (
            usual >= MIN_REGULAR_SHARE * len(rows)
            and words >= MIN_ROW_WORDS * len(rows)
            and (columns > 1 or len(rows) > 2)
        )
        return "\n".join(map(" | ".join, rows)) if is_whole else ""

    def _is_short(self, block: Block) -> bool:
        """Return whether the block is a caption, an item or a cell rather than text, which has sentences."""
        length = sum(len(line.text) for line in block.lines)
        ends = bool(_SENTENCE_END.search(block.lines[-1].text))
        if self._is_small(block):
            return length <= (MAX_ASIDE_CHARACTERS if ends else MAX_CAPTION_CHARACTERS)
        text = block.lines[0].text
        return (
            length < MAX_ASIDE_CHARACTERS and not ends and not _BULLET.match(text) and not self._is_heading(block, text)
        )

    def _is_small(self, block: Block) -> bool:
        return block.size < SMALL_SIZE * self.body_size

    def render_block(self, block: Block) -> str:
        """Return the block as Markdown: `## Heading`, `- item` or a paragraph on one line."""
        text = self._joined_lines(block)
        if self._is_heading(block, text):
            return f"## {text}"
        return _BULLET.sub("- ", text, count=1) if _BULLET.match(text) else text

    def _joined_lines(self, block: Block) -> str:
        text = block.lines[0].text
        for line in block.lines[1:]:
            text = self.joined(text, line.text)
        return _SHOWN_LINK.sub("", _end_of_line(text))

    def joined(self, text: str, continuation: str) -> str:
        """Return two lines as one.

        A hyphen is removed where it only divided a word, and stays in what looks like a compound.
        """
        if _WITHOUT_BLANKS.match(text[-1:]) and _WITHOUT_BLANKS.match(continuation[:1]):
            return text + continuation
        broken = _HYPHENATED.search(text)
        if not broken or not continuation[:1].isalnum():
            return f"{_end_of_line(text)} {continuation}"
        head, tail = broken[1].casefold(), _WORD.match(continuation)
        divided = continuation[0].islower() and tail and not self._is_compound(head, tail[0].split("-")[0].casefold())
        return text[: broken.end(1)] + ("" if divided else "-") + continuation

    def _is_compound(self, head: str, tail: str) -> bool:
        if self.words[head + tail]:
            return False
        return (
            not self.divides_words
            or head in _COMPOUNDING
            or bool(self.words[f"{head}-{tail}"])
            or (self.words[head] > 1 and self.words[tail] > 1)
        )

    def _is_heading(self, block: Block, text: str) -> bool:
        if len(block.lines) > 3 or not any(character.isalpha() for character in text) or _BULLET.match(text):
            return False
        size = block.size
        if size >= HEADING_SIZE * self.body_size:
            return len(text) <= MAX_HEADING_CHARACTERS
        bold = all(line.bold for line in block.lines) and size > 0.95 * self.body_size
        return bold and len(text) <= MAX_BOLD_HEADING_CHARACTERS and not text.endswith((".", ",", ";", ":"))


def _group_into_rows(blocks: Iterable[Block]) -> list[list[Block]]:
    """Return blocks that are next to one another, from left to right, from top to bottom."""
    rows = _group_by_gaps(blocks, lambda block: (-block.top, -block.bottom), 0.0)
    return [sorted(row, key=lambda block: block.left) for row in rows]


def _remove_references(pages: Sequence[Sequence[_Paragraph]]) -> tuple[list[list[_Paragraph]], int]:
    """Return the pages without reference lists and lists of links, and how many words these have."""
    listed = find_reference_lists([[paragraph.text for paragraph in page] for page in pages])
    kept: list[list[_Paragraph]] = [
        [paragraph for index, paragraph in enumerate(page) if (number, index) not in listed]
        for number, page in enumerate(pages)
    ]
    return kept, sum(count_words(pages[number][index].text) for number, index in listed)


def _end_of_line(text: str) -> str:
    return text[:-1] + "-" if text.endswith("\u00ad") else text


def _sort_in_reading_order(blocks: list[Block], size: float) -> list[Block]:
    """Return columns from left to right, each from top to bottom.

    The files' own order puts headings or captions anywhere.
    """
    ordered: list[Block] = []
    while len(blocks) > 1:
        columns = _group_by_gaps(blocks, lambda block: (block.left, block.right), MIN_GUTTER * size)
        if len(columns) > 1:
            return ordered + [block for column in columns for block in _sort_in_reading_order(column, size)]
        bands = _group_by_gaps(blocks, lambda block: (-block.top, -block.bottom), -0.3 * size)
        if len(bands) == 1:
            break
        top = bands[0]
        ordered += _sort_in_reading_order(top, size) if len(top) > 1 else top
        blocks = [block for band in bands[1:] for block in band]
    return ordered + blocks


def _group_by_gaps(
    blocks: Iterable[Block],
    extent: Callable[[Block], tuple[float, float]],
    least: float,
) -> list[list[Block]]:
    """Return groups of blocks with at least `least` white between them along one axis, in the order of the axis."""
    groups: list[list[Block]] = []
    reached = 0.0
    for block in sorted(blocks, key=lambda block: extent(block)[0]):
        start, end = extent(block)
        if groups and start - reached < least:
            groups[-1].append(block)
            reached = max(reached, end)
        else:
            groups.append([block])
            reached = end
    return groups


def _repair_page_breaks(pages: Sequence[list[_Paragraph]], style: _Style) -> None:
    """Move the end of a sentence that crosses a page break back to the page on which it began."""
    for page, following in pairwise(page for page in pages if page):
        broken = _find_open_paragraph(page)
        first = next((index for index, paragraph in enumerate(following) if not _is_aside(paragraph)), None)
        if broken is None or first is None or not _goes_on(broken.text, following[first].text):
            continue
        text = following[first].text
        end = _FIRST_SENTENCE.match(text)
        if end is None or end.end() > MAX_CARRIED_CHARACTERS:
            continue
        broken.text = style.joined(broken.text, end[0])
        following[first].text = text[end.end() :].strip()
        if not following[first].text:
            following.pop(first)


def _goes_on(text: str, following: str) -> bool:
    """Return whether a paragraph that ends within a sentence goes on in the first one of the next page."""
    first = following[0]
    has_no_case = first.isalpha() and first.lower() == first.upper()
    return first.islower() or has_no_case or (first.isalnum() and bool(OPEN_END.search(text)))


def _find_open_paragraph(page: Sequence[_Paragraph]) -> _Paragraph | None:
    """Return the last paragraph of a page, if it ends within a sentence."""
    last = next((paragraph for paragraph in reversed(page) if not _is_aside(paragraph)), None)
    return None if last is None or _SENTENCE_END.search(last.text) else last


def _is_aside(paragraph: _Paragraph) -> bool:
    """Return whether a text is a heading, footnote, caption or cell rather than a paragraph."""
    text = paragraph.text
    return (
        paragraph.is_note
        or text.startswith("## ")
        or (len(text) < MAX_ASIDE_CHARACTERS and not _SENTENCE_END.search(text))
    )


def _build_sections(pages: Sequence[PageLines], paragraphs: Sequence[Sequence[str]]) -> Iterator[Section]:
    """Yield pages with text; a page without a heading at its top has the last heading before it."""
    heading = ""
    for page, texts in zip(pages, paragraphs, strict=True):
        text = _LIST_GAP.sub(r"\1", clean("\n\n".join(texts))).strip()
        if not text:
            continue
        here = [words for _, words in find_headings(text)]
        yield Section(page.number, here[0] if here and text.startswith("#") else heading, text)
        heading = here[-1] if here else heading
