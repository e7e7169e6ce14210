"""Documents become chunks: passages of at most so many tokens that break at the document's own structure.

`document_text[chunk.start:chunk.end] == chunk.text`, every word of a document stands in a chunk, and the same document
and settings give the same chunks on every machine. The maximum holds for the passage: where an API description is
continued, its signature counts too.
"""

import bisect
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import bpe_openai
from semantic_text_splitter import TextSplitter

from raft_assets.raft.identity import chunk_id, normalized
from raft_assets.raft.readers.content import headings
from raft_assets.raft.reading import ReadDocument
from raft_assets.raft.tables import Chunk
from raft_assets.settings import ChunkSettings

CHUNKING_VERSION = "3"  # changes whenever the same document and settings give other chunks

_MODEL_OF_TOKENIZER = {
    "o200k_base": "gpt-4o",
    "cl100k_base": "gpt-4",
}  # the splitter knows tokenizers by a model's name
_COUNTED_AT_ONCE = 500_000  # characters; bpe-openai refuses a million
_LEAST_ROOM = (
    0.25  # share of the maximum that a heading leaves to what follows it; a longer heading is text like any other
)
# a piece is full, and the next begins, at one of these shares of an even division: 1 alone would leave crumbs behind
_FULL = (1.0, 0.9, 0.8, 0.65)
_EVEN = 0.9  # share of an even piece from which the smallest one is large enough to look no further
_HEADING_LINE = re.compile(r"#{1,6}[ \t]")
# a full stop that ends no sentence; hiding one that does only makes two sentences stay together
_ABBREVIATION = re.compile(r"\b((?:Mr|Mrs|Ms|Dr|Prof|St|Gen|Col|Capt|Lt|Sgt|Rev|Hon|vs|No|Fig|[A-Z]))\.(?=\s)")
_CALL, _NAME = (re.compile(rf"^{field}: [^\n]*", re.MULTILINE) for field in ("api_call", "api_name"))
_SIGNATURE = 0.5  # share of the maximum that a repeated signature may take
_LINE_WITHIN_FIELD = re.compile(r"\n(?!\n|[A-Za-z_][\w.]*: )")

Span = tuple[int, int]


def chunk_document(document: ReadDocument, settings: ChunkSettings) -> list[Chunk]:
    """The chunks of a document, in order."""
    cutter = _Cutter(document.document_text, _layout(document), settings)
    parts = _parts(document)
    if document.kind == "api":  # entries stay apart
        signed = [piece for part in parts for piece in _entry_pieces(cutter, part)]
    else:  # sections that are too small may be joined
        pieces = [piece for part in parts for piece in cutter.pieces(part)]
        signed = [(span, "") for span in cutter.without_crumbs(pieces)]
    return list(_rows(document, signed, settings))


def token_count(text: str, tokenizer: str) -> int:
    """Length of the text in tokens; what looks like a special token counts as the text that it is."""
    encoding = _encoding(tokenizer)
    starts = range(0, len(text), _COUNTED_AT_ONCE)
    return sum(len(encoding.encode_ordinary(text[start : start + _COUNTED_AT_ONCE])) for start in starts)


@functools.cache
def _encoding(tokenizer: str) -> bpe_openai.Encoding:
    return bpe_openai.get_encoding(tokenizer)


@functools.lru_cache(maxsize=256)
def _splitter(tokenizer: str, full: int, limit: int, overlap: int) -> TextSplitter:
    return TextSplitter.from_tiktoken_model(_MODEL_OF_TOKENIZER[tokenizer], (full, limit), overlap)


# ---- parts ----


@dataclass(frozen=True)
class _Part:
    """A section or entry, which chunks don't leave unless they would be too small."""

    start: int
    body: int  # where the headings that it begins with end
    end: int


def _parts(document: ReadDocument) -> list[_Part]:
    """Sections begin at headings, and at rows unless these are pages; adjacent headings begin one section."""
    text = document.document_text
    marks = {offset: _line_end(text, offset) for offset, _ in _headings(document)}
    rows = [] if document.kind == "pdf" else [page.start for page in document.pages]
    parts: list[_Part] = []
    for offset in sorted({0, *rows, *marks}):
        body = marks.get(offset, offset)
        if parts and parts[-1].start < parts[-1].body and not text[parts[-1].body : offset].strip():
            parts[-1] = replace(parts[-1], body=body)
            continue
        if parts:
            parts[-1] = replace(parts[-1], end=offset)
        parts.append(_Part(offset, body, len(text)))
    return parts


def _headings(document: ReadDocument) -> list[tuple[int, str]]:
    return [] if document.kind == "api" else list(headings(document.document_text))


def _layout(document: ReadDocument) -> str:
    """The text for the splitter, of the same length: no sentence ends in Dr., and an API entry breaks at fields."""
    text = _ABBREVIATION.sub(r"\1,", document.document_text)
    return _LINE_WITHIN_FIELD.sub(" ", text) if document.kind == "api" else text


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


# ---- API descriptions ----


def _entry_pieces(cutter: "_Cutter", entry: _Part) -> list[tuple[Span, str]]:
    """The pieces of an API description; each that doesn't hold the signature itself has it beside it."""
    whole = list(cutter.pieces(entry))
    if len(whole) < 2:
        return [(span, "") for span in whole]
    first, last, signature = _signature(cutter, entry)
    signing = replace(cutter, before=f"{signature}\n" if signature else "")
    spans = signing.without_crumbs(list(signing.pieces(entry)))
    return [((start, end), "" if start <= first and last <= end else signature) for start, end in spans]


def _signature(cutter: "_Cutter", entry: _Part) -> tuple[int, int, str]:
    """Where the signature stands and its one line: the call, or the name where the call leaves too little room."""
    for pattern in (_CALL, _NAME):
        found = pattern.search(cutter.layout, entry.start, entry.end)
        if found:
            line = " ".join(cutter.text[found.start() : found.end()].split())
            if token_count(f"{line}\n", cutter.settings.tokenizer) <= _SIGNATURE * cutter.settings.chunk_size:
                return found.start(), found.end(), line
    return entry.start, entry.start, ""


# ---- pieces ----


@dataclass(frozen=True)
class _Cutter:
    """Cuts one document. Spans are trimmed of white space."""

    text: str
    layout: str
    settings: ChunkSettings
    before: str = ""  # what stands before every piece when it is shown, and counts
    counted: dict[Span, int] = field(default_factory=dict)  # tokens; the same spans are asked for again and again

    def pieces(self, part: _Part) -> Iterator[Span]:
        """The part in pieces within the maximum, its headings with what follows them."""
        start, end = self._trimmed(part.start, part.end)
        if start == end or self._fits(start, end):
            yield from [(start, end)] if start < end else []
            return
        body, _ = self._trimmed(part.body, part.end)
        room = self._room - self._tokens(start, body)
        if body in (start, end) or room < _LEAST_ROOM * self.settings.chunk_size:
            found = self._split(start, end, self._room)
        else:
            found = self._split(body, end, self._room)
            if not self._fits(start, found[0][1]):
                found[:1] = self._split(*found[0], room)
            found[0] = (start, found[0][1])
        reached = start
        for piece in sorted(part for whole in found for part in self._within_maximum(whole)):
            if piece[1] > reached:  # with an overlap, what was cut again may lie within its neighbour
                yield piece
                reached = piece[1]

    def without_crumbs(self, pieces: Sequence[Span]) -> list[Span]:
        """Pieces that are too small, or headings without text, join a neighbour where the maximum allows it.

        What begins a section rather joins the next one, the rest rather the one before.
        """

        def joins(last: Span, piece: Span) -> bool:
            return self._is_crumb(last) or (self._is_crumb(piece) and not _HEADING_LINE.match(self.text, piece[0]))

        forwards = self._joined(pieces, joins)
        return self._with_last_heading(self._joined(forwards, lambda _, piece: self._is_crumb(piece)))

    def _joined(self, pieces: Iterable[Span], wanted: Callable[[Span, Span], bool]) -> list[Span]:
        joined: list[Span] = []
        for piece in pieces:
            if joined and wanted(joined[-1], piece) and self._fits(joined[-1][0], piece[1]):
                joined[-1] = (joined[-1][0], piece[1])
            else:
                joined.append(piece)
        return joined

    def _with_last_heading(self, pieces: list[Span]) -> list[Span]:
        """A heading that ends the document stands before nothing: it goes behind the end of the piece before it."""
        if len(pieces) < 2 or not self._only_headings(pieces[-1]):
            return pieces
        *before, previous, last = pieces
        room = self._room - self._tokens(previous[1], last[1])
        if room < _LEAST_ROOM * self.settings.chunk_size:
            return pieces
        *kept, end = self._split(*previous, room)
        return [*before, *kept, *self._within_maximum((end[0], last[1]))]

    def _split(self, start: int, end: int, limit: int) -> list[Span]:
        """Pieces between paragraphs, else sentences, else words: the fewest, and of these divisions the most even."""
        total = self._tokens(start, end)
        even = total / math.ceil(total / limit)

        def divided(share: float) -> list[Span]:
            full = max(1, min(limit, round(share * even)))
            splitter = _splitter(self.settings.tokenizer, full, limit, min(self.settings.chunk_overlap, full - 1))
            found = splitter.chunk_indices(self.layout[start:end])
            return [(start + offset, start + offset + len(piece)) for offset, piece in found if piece.strip()]

        def badness(pieces: list[Span]) -> tuple[bool, int, int]:
            too_long = any(self._tokens(*piece) > limit for piece in pieces)
            return too_long, len(pieces), -min(finish - begin for begin, finish in pieces)

        best = divided(_FULL[0])
        for share in _FULL[1:]:
            too_long, count, smallest = badness(best)
            if not too_long and count == math.ceil(total / limit) and -smallest >= _EVEN * (end - start) / count:
                break
            best = min(best, divided(share), key=badness)
        return best

    def _within_maximum(self, piece: Span) -> Iterator[Span]:
        """The piece, halved until it keeps the maximum: tokens of parts don't always add up to those of the whole."""
        start, end = piece
        if end - start <= 1 or self._fits(start, end):
            yield piece
            return
        middle = (start + end) // 2
        gap = max(self.text.rfind(space, start, middle) for space in " \n")
        middle = gap if gap > start else middle
        for half in (self._trimmed(start, middle), self._trimmed(middle, end)):
            if half[0] < half[1]:
                yield from self._within_maximum(half)

    def _is_crumb(self, piece: Span) -> bool:
        return self._only_headings(piece) or self._tokens(*piece) < self.settings.min_chunk_tokens

    def _only_headings(self, piece: Span) -> bool:
        return all(_HEADING_LINE.match(line) for line in self.text[slice(*piece)].split("\n") if line)

    @property
    def _room(self) -> int:
        return self.settings.chunk_size - token_count(self.before, self.settings.tokenizer)

    def _fits(self, start: int, end: int) -> bool:
        if self._tokens(start, end) > self.settings.chunk_size:
            return False
        passage = self.before + self.text[start:end]
        return not self.before or token_count(passage, self.settings.tokenizer) <= self.settings.chunk_size

    def _tokens(self, start: int, end: int) -> int:
        if (start, end) not in self.counted:
            self.counted[start, end] = token_count(self.text[start:end], self.settings.tokenizer)
        return self.counted[start, end]

    def _trimmed(self, start: int, end: int) -> Span:
        content = self.text[start:end]
        begin = start + len(content) - len(content.lstrip())
        return begin, max(begin, start + len(content.rstrip()))


# ---- rows ----


def _rows(document: ReadDocument, signed: Iterable[tuple[Span, str]], settings: ChunkSettings) -> Iterator[Chunk]:
    text, marks = document.document_text, _headings(document)
    starts = [page.start for page in document.pages]
    occurrences: Counter[str] = Counter()
    for (start, end), signature in signed:
        content = text[start:end]
        first, last = bisect.bisect_right(starts, start) - 1, bisect.bisect_left(starts, end) - 1
        same = normalized(content)
        chunk = Chunk(
            chunk_id=chunk_id(document.doc_id, content, occurrences[same]),
            doc_id=document.doc_id,
            path=document.path,
            kind="api" if document.kind == "api" else "prose",
            page_from=document.pages[first].page,
            page_to=document.pages[last].page,
            start=start,
            end=end,
            heading=_heading_of(text, start, end, marks) or document.pages[first].heading,
            signature=signature,
            text=content,
            tokens=0,
        )
        yield chunk.model_copy(update={"tokens": token_count(chunk.passage, settings.tokenizer)})
        occurrences[same] += 1


def _heading_of(text: str, start: int, end: int, marks: Sequence[tuple[int, str]]) -> str:
    """The last of the headings that the chunk begins with, else the last one before it."""
    behind = bisect.bisect_right(marks, start, key=lambda mark: mark[0])
    heading = marks[behind - 1][1] if behind else ""
    body = _line_end(text, start) if behind and marks[behind - 1][0] == start else start
    for offset, words in marks[behind:]:
        if offset >= end or text[body:offset].strip():
            break
        heading, body = words, _line_end(text, offset)
    return heading
