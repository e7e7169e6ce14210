"""PDF: lines with their geometry become paragraphs and headings in reading order, without running headers."""

import itertools
import math
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

from raft_assets.core.progress import track
from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import FileKind, ParsedContent, Section, UnreadableError, find_headings
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.ocr import needs_ocr
from raft_assets.documents.readers.pdf_furniture import OPEN_END, remove_furniture, usual_size
from raft_assets.documents.readers.pdf_lines import Block, Line, PageLines, horizontal_lines
from raft_assets.documents.readers.pdf_references import find_reference_lists
from raft_assets.documents.readers.pdf_scans import Scans, read_scans
from raft_assets.documents.readers.pdf_vertical import is_vertical, vertical_lines
from raft_assets.documents.readers.pdf_words import divides_words

_PDFIUM = threading.Lock()  # PDFium has global state and is not made for threads

MAX_PAGES, MAX_CHARACTERS = 20_000, 30_000_000  # of a document: the longest handbooks have 10,000 pages of 3,000
# text of this length and more is none where a byte of the file holds more of it: pages may share all they draw
MIN_BOMB_CHARACTERS, MAX_RATIO = 2_000_000, 20

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
_UNSPACED_END = re.compile(r"\w[/–—]$")  # what joins two words without a blank
# words that keep the hyphen after them
_COMPOUNDING = frozenset(
    {"all", "cross", "ex", "full", "half", "high", "large", "long", "low", "mid", "non", "one", "self"}
)
_COMPOUNDING |= {"short", "single", "small", "three", "two", "well"}
# after a hyphen that stands for what two words share: "Haupt- und Nebenhafen", "pre- and post-war"
_SHARING = re.compile(
    r"(?:and|or|to|und|oder|bzw|bis|sowie|als|et|ou|e|ed|o|y|u|en|of|och|eller|og|i|oraz|lub|a|и|или)\b(?!-)"
)
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?:…。！？：؟۔।॥។።][\"”’»“')\]」』）*†‡]*(?:\[\d+\])*$")
_FIRST_SENTENCE = re.compile(r".*?(?:[.!?…؟۔।॥។።][\"”’»“')\]]*(?:\[\d+\])*(?=\s|$)|[。！？][”’」』）]*)", re.DOTALL)
# scripts whose lines are joined without a blank
_WITHOUT_BLANKS = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
_SHOWN_LINK = re.compile(r"\s?\(\s?h\s?ttps?://[^()]{1,400}\)")  # browsers print a link's target
_NOTE_MARK = re.compile(
    r"[*†‡§¶※]+\s?\S|(?:note|nb|n\.b\.|remark|anm(?:erkung)?|hinweis|nota|remarque|opmerking|uwaga|примечание|прим"
    r"|not)\b\.?:|(?:注|註|備考|备注|주)\s?\d{0,2}[:：.)）]",
    re.IGNORECASE,
)
_NUMBERED_NOTE = re.compile(r"\(?\d{1,2}[).:]?\s+[^\W\d]|[¹²³⁰-⁹ªᵃ-ᶻ]|\[\w{1,2}\]\s?\S|\(?[a-z]\)\s?\S")
_CAPTION = re.compile(
    r"(?:fig(?:ure|ura|uur|\.)|tab(?:le|ela|elle|la|\.)|abb(?:ildung|\.)|bild|foto|photo|image|source|quelle|fuente"
    r"|рис(?:унок|\.)|таблица|rys(?:unek|\.))(?![^\W\d_])|[图圖図表]\s?\d",
    re.IGNORECASE,
)
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
        pages = list(_read_pages(document, len(data)))
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
        for page in track("pages laid out", pages, len(pages))
    ]
    paragraphs, references = _remove_references(paragraphs)
    _repair_breaks(paragraphs, style)
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


def _read_pages(document: pypdfium2.PdfDocument, size: int) -> Iterator[PageLines]:
    """Yield the lines of every page of a file of `size` bytes. Raises UnreadableError (corrupt, too_large)."""
    count = len(document)
    if count > MAX_PAGES:
        raise UnreadableError("too_large", f"The PDF has {count:,} pages and the limit is {MAX_PAGES:,}; split it.")
    characters = 0
    for index in track("pages read", range(count), count):
        page = _page_lines(document, index)
        characters += sum(len(line.text) for line in page.lines)
        if characters > MAX_CHARACTERS or characters > max(MIN_BOMB_CHARACTERS, MAX_RATIO * size):
            raise UnreadableError(
                "too_large",
                f"The {size / 1e6:,.1f} MB of the PDF hold more than {characters:,} characters, which no text needs; "
                "print it to a new PDF, or split it.",
            )
        yield page


def _page_lines(document: pypdfium2.PdfDocument, index: int) -> PageLines:
    """Return the lines of a page. Raises UnreadableError (corrupt)."""
    try:
        with closing(document[index]) as page, closing(page.get_textpage()) as text_page:
            width, height = page.get_size()
            lines = horizontal_lines(text_page)
            if is_vertical(text_page, lines):
                return PageLines(index + 1, width, vertical_lines(text_page, width, height))
            return PageLines(index + 1, height, lines)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError(
            "corrupt", f"Page {index + 1} of the PDF can't be read; export or download it again."
        ) from error


# ---- paragraphs ----


@dataclass
class _Paragraph:
    """A paragraph, heading, list or table as text."""

    text: str
    is_apart: bool = False  # a footnote, list or table, which may stand between two parts of the text
    room: float = math.inf  # of its last line: characters that it could still hold
    block: Block | None = None  # where it is drawn, unless it is apart


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
                    yield _Paragraph("\n".join(f"- {self._without_bullet(block)}" for block in members), is_apart=True)
            elif table := self._table(members):
                yield _Paragraph(table, is_apart=True)
            else:
                yield from self._render_notes(members, text_bottom, "table_furniture")

    def _render_short(self, members: Sequence[Block], text_bottom: float) -> Iterator[_Paragraph]:
        for block in members:
            if self._is_small(block):
                yield from self._render_notes([block], text_bottom, "caption")
            else:
                yield self._paragraph(block, text_bottom)

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
        if is_note:
            return _Paragraph(self._joined_lines(block), is_apart=True)
        return _Paragraph(self.render_block(block), room=self._room(block), block=block)

    def _room(self, block: Block) -> float:
        """Return how many characters the block's last line could still hold."""
        last = block.lines[-1]
        right = block.right if len(block.lines) > 1 else self.right
        return (right - last.right) * len(last.text) / max(1.0, last.right - last.left)

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
        length = sum(_width(line.text) for line in block.lines)
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
        if _UNSPACED_END.search(text) and continuation[:1].isalnum():
            return text + continuation
        broken = _HYPHENATED.search(text)
        if not broken or not continuation[:1].isalnum():
            return f"{_end_of_line(text)} {continuation}"
        head, tail = broken[1].casefold(), _WORD.match(continuation)
        if _SHARING.match(continuation):
            return f"{text[: broken.end(1)]}- {continuation}"
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


def _repair_breaks(pages: Sequence[list[_Paragraph]], style: _Style) -> None:
    """Join the sentences that a column, a page or something between them breaks.

    Within a page the paragraph is whole afterwards; on the next one only the end of its sentence is moved back.
    """
    for page in pages:
        for index in reversed(range(len(page))):
            broken, following = page[index], _continuation_beside(page, index, style.body_size)
            if following is not None:
                rest = page.pop(following)
                broken.text, broken.room = style.joined(broken.text, rest.text), rest.room
    for page, next_page in pairwise(page for page in pages if page):
        found = _find_continuation(page, next_page, style.body_size)
        if found is None:
            continue
        broken, following = found
        text = next_page[following].text
        end = _FIRST_SENTENCE.match(text)
        if end is None or end.end() > MAX_CARRIED_CHARACTERS:
            continue
        broken.text = style.joined(broken.text, end[0])
        next_page[following].text = text[end.end() :].strip()
        if not next_page[following].text:
            next_page.pop(following)


def _find_continuation(
    page: Sequence[_Paragraph], next_page: Sequence[_Paragraph], size: float
) -> tuple[_Paragraph, int] | None:
    """Return the paragraph that ends within a sentence at the end of a page, and where it goes on on the next one.

    Cells and captions may stand beside the text on either page, so columns that go on are looked for first.
    """
    ends = list(_broken_ends(page, size))
    places = [index for index, paragraph in enumerate(next_page) if paragraph.block and not _is_aside(paragraph)]
    for broken in ends:
        tops = (index for index in places if _are_of_one_column(broken.block, next_page[index].block, size))
        top = next(tops, None)
        if top is not None and _begins_small(next_page[top].text):
            return broken, top
    return (ends[0], places[0]) if ends and places and _goes_on(ends[0], next_page[places[0]].text) else None


def _broken_ends(page: Sequence[_Paragraph], size: float) -> Iterator[_Paragraph]:
    """Yield the paragraphs that end within a sentence and have none below them in their column, the last one first."""
    below: list[_Paragraph] = []
    for paragraph in reversed(page):
        if paragraph.block is None or _is_aside(paragraph):
            continue
        is_last = not any(_are_of_one_column(paragraph.block, other.block, size) for other in below)
        if is_last and not _SENTENCE_END.search(paragraph.text):
            yield paragraph
        below.append(paragraph)


def _are_of_one_column(one: Block | None, other: Block | None, size: float) -> bool:
    return one is not None and other is not None and abs(one.left - other.left) < size


def _continuation_beside(page: Sequence[_Paragraph], index: int, size: float) -> int | None:
    """Return where on its page a paragraph goes on that ends within a sentence; None if it doesn't.

    It does in the next paragraph of its column, over cells and captions that stand beside it, else at the top of
    another column; there with a small letter only, as anything may stand beside a sentence.
    """
    broken = page[index]
    if broken.block is None or _is_aside(broken) or _SENTENCE_END.search(broken.text):
        return None
    for number, paragraph in enumerate(page[index + 1 :], start=index + 1):
        if paragraph.text.startswith("## "):
            return None
        if paragraph.block is None or _is_aside(paragraph):
            continue
        is_below = paragraph.block.top <= broken.block.bottom and _are_of_one_column(
            broken.block, paragraph.block, size
        )
        is_elsewhere = paragraph.block.top > broken.block.bottom and number == index + 1
        if _begins_small(paragraph.text) and (is_elsewhere or (is_below and number > index + 1)):
            return number
        if is_below:
            return None
    return None


def _goes_on(broken: _Paragraph, following: str) -> bool:
    """Return whether a paragraph that ends within a sentence goes on in another one.

    What begins with a capital or a number goes on where the words before it call for more, or where its first word had
    no room on the line before.
    """
    if _begins_small(following):
        return True
    if _NUMBERED.match(following) or not (following[0].isalnum() or following[0] in '"“‘«„('):
        return False
    return len(following.split(" ", 1)[0]) + 1 >= broken.room or _is_open(broken)


def _begins_small(text: str) -> bool:
    """Return whether a text begins with a small letter, or one of a script without capitals, and is no item."""
    first = text[0]
    return first.isalpha() and first.lower() == first and not _NUMBERED.match(text) and not _BULLET.match(text)


def _width(text: str) -> int:
    """Return how wide the text is in letters; a Chinese or Japanese character is as wide as two."""
    return len(text) + len(_WITHOUT_BLANKS.findall(text))


def _is_open(paragraph: _Paragraph) -> bool:
    return OPEN_END.search(paragraph.text) is not None


def _is_aside(paragraph: _Paragraph) -> bool:
    """Return whether a text is a heading, footnote, list, caption or cell rather than a paragraph."""
    text = paragraph.text
    return (
        paragraph.is_apart
        or text.startswith("## ")
        or (_width(text) < MAX_ASIDE_CHARACTERS and not _SENTENCE_END.search(text) and not _is_open(paragraph))
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
