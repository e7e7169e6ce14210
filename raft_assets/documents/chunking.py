"""Split documents into chunks: passages of at most a number of tokens that break at the document's own structure.

`document_text[chunk.start:chunk.end] == chunk.text`, every word of a document is in a chunk, and the same document and
settings give the same chunks on every machine.

A section is split where cuts cost least: into the fewest chunks, evenly filled, and between paragraphs rather than
between lines, sentences or words. Tokens are counted once for the document, which takes most of the time.
"""

import bisect
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from raft_assets.core.identity import chunk_id, normalize
from raft_assets.core.tables import CONTINUOUS_KINDS, Chunk
from raft_assets.documents.readers.content import find_headings
from raft_assets.documents.reading import ReadDocument
from raft_assets.settings.domain import ChunkSettings

# changes where every domain has to be cut anew; better cuts of some documents aren't that (ADR 0043)
CHUNKING_VERSION = "4"

_MAX_COUNTED_CHARACTERS = 500_000  # characters; bpe-openai refuses a million
# share of the maximum that a heading leaves to what follows it; a longer heading is text like any other
_MIN_ROOM_SHARE = 0.25
_SEAM_TOKENS = 2  # tokens that a span may have more by itself than within its document
_WORDS_PER_UNIT = 32  # of a sentence that is too long for a chunk: split into runs of words, then of characters

# the cost of a cut, in addition to the chunk that it begins, which costs 1, and the square of the share left empty
_PARAGRAPH, _LINE, _SENTENCE, _WORD = 0.0, 0.1, 0.3, 0.8
_AFTER_TITLE = 0.9  # between the title of a passage, which the reader found to be no heading, and the passage
MAX_TITLE_CHARACTERS = 60
# by embedding: the cost of a cut between the most similar texts of a document, and the gain of one between the least
_TOPIC_COST, _TOPIC_CHANGE_BONUS, _TOPIC_CHANGE_SHARE = 3.0, -2.0, 0.1

_HEADING_LINE = re.compile(r"#{1,6}[ \t]")
# a full stop after these ends no sentence; where it does, two sentences are merely kept together
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Gen|Col|Capt|Lt|Sgt|Rev|Hon|vs|No|Fig|[A-Z])\Z")
_MAX_ABBREVIATION_CHARACTERS = 5  # with the character before it
# where a text may be split: after the first group; each begins with what a search finds fast
_CUTS = (
    (_PARAGRAPH, re.compile(r"(\n[ \t]*\n\s*)")),
    (_LINE, re.compile(r"(\n)(?=[ \t]*(?:[-*+•‣▪–|>]|\(?\d{1,3}[.)]\s|```|[A-Za-z_][\w.]*: ))")),
    (_SENTENCE, re.compile(r"[.!?…][\"”’')\]*_]*(?:\[[\w ]{1,20}\])*(\s+)(?=[\"“‘'(\[*_`]*[^\W_a-zß-ÿ])")),
    (_SENTENCE, re.compile(r"([。！？])(?=[^”’」』）])")),
)
_TITLE = re.compile(r"[^\W_a-z][^\n|]*[^\n|.!?…,;。！？]")  # a line that begins large and ends no sentence
_SINGLE_SPACE = re.compile(r"(?<=\S) (?=\S)")
_GAP = re.compile(r"\s+")

Span = tuple[int, int]
Heading = tuple[int, str]  # offset and words of a heading
GapSimilarity = Callable[[Sequence[str]], Sequence[float]]


def chunk_document(
    document: ReadDocument, settings: ChunkSettings, *, likeness: GapSimilarity | None = None
) -> list[Chunk]:
    """Return the chunks of a document, in order.

    `likeness` returns, for texts that follow one another, how similar each is to the next, (n - 1,), in any unit. With
    it the document is split where the subject changes; the maximum and the document's structure apply all the same.
    """
    cutter = _Chunker(document.document_text, settings, likeness)
    marks = [] if document.kind == "api" else list(find_headings(document.document_text))
    parts = _parts(document, marks)
    if document.kind == "api":  # entries stay separate; the pieces of one that is too long repeat its signature
        pieces = [piece for part in parts for piece in cutter.split_entry(part)]
    else:
        pieces = [
            (span, "") for span in cutter.merge_small_pieces([span for part in parts for span in cutter.pieces(part)])
        ]
    return list(_build_chunks(document, pieces, cutter, marks))


def find_oversized_chunks(chunks: Iterable[Chunk], settings: ChunkSettings) -> list[str]:
    """Return the ids of chunks whose passage is longer than the maximum.

    The passages are counted anew and as a whole.
    """
    size, tokenizer = settings.chunk_size, settings.tokenizer
    return [chunk.chunk_id for chunk in chunks if token_count(chunk.passage, tokenizer) > size]


def token_count(text: str, tokenizer: str) -> int:
    """Return the length of the text in tokens; what looks like a special token counts as plain text."""
    encode = _encoding(tokenizer).encode_ordinary
    if len(text) <= _MAX_COUNTED_CHARACTERS:
        return len(encode(text))
    starts = range(0, len(text), _MAX_COUNTED_CHARACTERS)
    return sum(len(encode(text[start : start + _MAX_COUNTED_CHARACTERS])) for start in starts)


@functools.cache
def _encoding(tokenizer: str) -> Any:
    import bpe_openai  # here: importing it unpacks its vocabularies, 0.6 s that most commands don't need

    return bpe_openai.get_encoding(tokenizer)


@functools.cache
def _token_bytes(tokenizer: str) -> npt.NDArray[np.int64]:
    """Return the length of every ordinary token in bytes, by its id."""
    return np.array([len(value) for value in _encoding(tokenizer).token_byte_values()])


def _token_ends(text: str, tokenizer: str) -> npt.NDArray[np.int64]:
    """Return the offset in the text, in characters, after each of its tokens."""
    encode = _encoding(tokenizer).encode_ordinary
    blocks = range(0, len(text), _MAX_COUNTED_CHARACTERS)
    ids = [token for start in blocks for token in encode(text[start : start + _MAX_COUNTED_CHARACTERS])]
    ends = np.cumsum(_token_bytes(tokenizer)[np.array(ids, np.int64)])
    if text.isascii():
        return ends
    begins_character = (np.frombuffer(text.encode("utf-8", "replace"), np.uint8) & 0xC0) != 0x80
    return np.concatenate([[0], np.cumsum(begins_character)])[np.minimum(ends, len(begins_character))]


# ---- parts ----


@dataclass(frozen=True)
class _Part:
    """A section or entry, which chunks don't cross unless they would be too small."""

    start: int
    body: int  # where the headings that it begins with end
    end: int


def _parts(document: ReadDocument, headings: Sequence[Heading]) -> list[_Part]:
    """Return the sections of a document.

    They begin at headings, and at rows unless these are pages; adjacent headings begin one section.
    """
    text = document.document_text
    marks = {offset: _line_end(text, offset) for offset, _ in headings}
    rows = [] if document.kind in CONTINUOUS_KINDS else [page.start for page in document.pages]
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


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


# ---- pieces ----


@dataclass(frozen=True)
class _Units:
    """The units that a section is split between: its sentences, or the parts of a sentence too long for a chunk.

    Unit i is the text from `starts[i]` to `starts[i + 1]`, white space included; `costs[i]` is that of a cut before it,
    and `tokens[i]` the number of the document's tokens before it.
    """

    starts: list[int]
    costs: list[float]
    tokens: list[int]


@dataclass
class _Chunker:
    """Splits one document. Spans are trimmed of white space."""

    text: str
    settings: ChunkSettings
    likeness: GapSimilarity | None = None
    token_counts: dict[Span, int] = field(default_factory=dict)

    @functools.cached_property
    def token_ends(self) -> list[int]:
        """Offset after each token of the document."""
        ends: list[int] = _token_ends(self.text, self.settings.tokenizer).tolist()
        return ends

    @functools.cached_property
    def cuts(self) -> list[tuple[int, float]]:
        """Where the document may be split, and what that costs."""
        costs: dict[int, float] = {}
        for cost, pattern in _CUTS:
            for match in pattern.finditer(self.text):
                if cost != _SENTENCE or not self._is_abbreviated(match.start()):
                    costs.setdefault(match.end(1), cost)  # the cheapest kind comes first
        for offset in self._after_titles(sorted(offset for offset, cost in costs.items() if cost == _PARAGRAPH)):
            costs[offset] = _AFTER_TITLE
        cuts = sorted(costs.items())
        return self._cost_by_topic([offset for offset, _ in cuts]) if self.likeness else cuts

    def _after_titles(self, offsets: Sequence[int]) -> Iterator[int]:
        """Yield where a short line that is no sentence ends and a passage of sentences begins."""
        for start, middle, end in zip([0, *offsets], offsets, [*offsets[1:], len(self.text)], strict=False):
            title, passage = self.text[start:middle].strip(), self.text[middle:end].strip()
            is_title = len(title) <= MAX_TITLE_CHARACTERS and _TITLE.fullmatch(title)
            if is_title and len(passage) > MAX_TITLE_CHARACTERS and passage[0].isalnum():
                yield middle

    def _cost_by_topic(self, offsets: list[int]) -> list[tuple[int, float]]:
        """Return the cuts with their costs by topic.

        A cut costs the more, the more of the document's cuts are between texts that are less similar.
        """
        assert self.likeness is not None
        texts = [self.text[slice(*self._trim(one, other))] for one, other in pairwise([0, *offsets, len(self.text)])]
        alike = np.asarray(self.likeness(texts), np.float64)
        ranks = np.searchsorted(np.sort(alike), alike) / max(len(alike) - 1, 1)
        costs = np.where(ranks < _TOPIC_CHANGE_SHARE, _TOPIC_CHANGE_BONUS, _TOPIC_COST * ranks).tolist()
        return list(zip(offsets, costs, strict=True))

    def split_entry(self, part: _Part) -> Iterator[tuple[Span, str]]:
        """Yield an entry of an API list in pieces, each with the signature that it must repeat.

        The signature is empty for a piece that contains it.
        """
        start, end = self._trim(part.start, part.end)
        signature, room = self._signature(start, end)
        for span in [(start, end)] if self._fits(start, end) else self._cut(start, end, room):
            yield span, "" if signature in self.text[slice(*span)] else signature

    def _signature(self, start: int, end: int) -> tuple[str, int]:
        """Return the line that says how the call is made, else its name, and the tokens that it leaves.

        The line is empty if it leaves too few.
        """
        lines = self.text[start:end].split("\n")
        for field_name in ("api_call: ", "api_name: "):
            line = next((line for line in lines if line.startswith(field_name)), "")
            room = self.settings.chunk_size - self._count_text(f"{line}\n")
            if line and room >= _MIN_ROOM_SHARE * self.settings.chunk_size:
                return line, room
        return "", self.settings.chunk_size

    def pieces(self, part: _Part) -> Iterator[Span]:
        """Yield the part in pieces within the maximum, its headings with the text that follows them."""
        start, end = self._trim(part.start, part.end)
        if start == end:
            return
        size = self.settings.chunk_size
        if self._fits(start, end) and not self.likeness:
            yield start, end
            return
        body, _ = self._trim(part.body, part.end)
        is_headed = start < body < end and self._tokens(start, body) <= (1 - _MIN_ROOM_SHARE) * size
        pieces = self._cut(start, end, size - self.settings.chunk_overlap, whole_until=body if is_headed else start)
        yield from self._add_overlap(pieces)

    def merge_small_pieces(self, pieces: Sequence[Span]) -> list[Span]:
        """Merge pieces that are too small, or headings without text, with a neighbour where the maximum allows it.

        A piece that begins a section is rather merged with the next one, any other with the one before.
        """

        def joins(last: Span, piece: Span) -> bool:
            return self._is_too_small(last) or (
                self._is_too_small(piece) and not _HEADING_LINE.match(self.text, piece[0])
            )

        forwards = self._merge(pieces, joins)
        return self._attach_last_heading(self._merge(forwards, lambda _, piece: self._is_too_small(piece)))

    def _merge(self, pieces: Iterable[Span], wanted: Callable[[Span, Span], bool]) -> list[Span]:
        joined: list[Span] = []
        for piece in pieces:
            if joined and wanted(joined[-1], piece) and self._fits(joined[-1][0], piece[1]):
                joined[-1] = (joined[-1][0], piece[1])
            else:
                joined.append(piece)
        return joined

    def _attach_last_heading(self, pieces: list[Span]) -> list[Span]:
        """Return the pieces with a heading that ends the document attached to the piece before it.

        Such a heading has no text of its own; it goes after the end of the previous piece.
        """
        if len(pieces) < 2 or not self._is_only_headings(pieces[-1]):
            return pieces
        *before, previous, last = pieces
        room = self.settings.chunk_size - self._tokens(previous[1], last[1])
        if room < _MIN_ROOM_SHARE * self.settings.chunk_size:
            return pieces
        *kept, end = self._cut(*previous, room)
        return [*before, *kept, *self._split_to_limit((end[0], last[1]), self.settings.chunk_size)]

    def _cut(self, start: int, end: int, limit: int, *, whole_until: int = 0) -> list[Span]:
        """Return trimmed pieces of at most `limit` tokens.

        The text before `whole_until` and what follows it stay together. Of all ways to cut between units the cheapest
        one is taken.
        """
        units = self._units(start, end, limit, whole_until)
        cuts = _cheapest_cuts(units, max(limit - _SEAM_TOKENS, (limit + 1) // 2))
        spans = (self._trim(one, other) for one, other in zip(cuts, [*cuts[1:], end], strict=True))
        return [piece for span in spans if span[0] < span[1] for piece in self._split_to_limit(span, limit)]

    def _units(self, start: int, end: int, limit: int, whole_until: int) -> _Units:
        first = bisect.bisect_right(self.cuts, (max(start, whole_until), math.inf))
        last = bisect.bisect_left(self.cuts, (end, -math.inf))
        within = self.cuts[first:last]
        starts = [start, *(offset for offset, _ in within), end]
        costs = [_PARAGRAPH, *(cost for _, cost in within), _PARAGRAPH]
        tokens = self._tokens_before(starts)
        if any(after - before > limit for before, after in pairwise(tokens)):
            starts, costs = self._split_long_units(starts, costs, tokens, limit)
            tokens = self._tokens_before(starts)
        return _Units(starts, costs, tokens)

    def _tokens_before(self, offsets: Iterable[int]) -> list[int]:
        return [bisect.bisect_right(self.token_ends, offset) for offset in offsets]

    def _is_abbreviated(self, at: int) -> bool:
        return _ABBREVIATION.search(self.text, max(0, at - _MAX_ABBREVIATION_CHARACTERS), at) is not None

    def _split_long_units(
        self, starts: Sequence[int], costs: Sequence[float], tokens: Sequence[int], limit: int
    ) -> tuple[list[int], list[float]]:
        """Return the units, with those that are too long split into runs of words."""
        cuts: list[tuple[int, float]] = []
        run = max(1, min(_WORDS_PER_UNIT, limit // 8))
        for number, (first, last) in enumerate(pairwise(starts)):
            cuts.append((first, costs[number]))
            if tokens[number + 1] - tokens[number] > limit:
                gaps = [match.end() for match in _GAP.finditer(self.text, first, last)]
                cuts += [(gap, _WORD) for gap in gaps[run - 1 :: run] if first < gap < last]
        return [start for start, _ in cuts] + [starts[-1]], [cost for _, cost in cuts] + [costs[-1]]

    def _add_overlap(self, pieces: Sequence[Span]) -> Iterator[Span]:
        """Yield the pieces, every one but the first with text of the one before it, as `chunk_overlap` says.

        The shared text is whole sentences, else words.
        """
        overlap = self.settings.chunk_overlap
        for number, (start, end) in enumerate(pieces):
            begin = start
            if overlap and number:
                units = self._units(pieces[number - 1][0], start, overlap, 0)
                shared = (self._trim(one, start) for one in units.starts[1:-1])
                fitting = (one for one, other in shared if one < other and self._tokens(one, other) <= overlap)
                begin = next((one for one in fitting if self._fits(one, end)), start)
            yield begin, end

    def _split_to_limit(self, piece: Span, limit: int) -> Iterator[Span]:
        """Yield the piece, halved until it keeps the limit.

        Tokens of parts don't always add up to those of the whole.
        """
        start, end = piece
        if end - start <= 1 or self._tokens(start, end) <= limit:
            yield piece
            return
        middle = (start + end) // 2
        gap = max(self.text.rfind(space, start, middle) for space in " \n")
        middle = gap if gap > start else middle
        for half in (self._trim(start, middle), self._trim(middle, end)):
            if half[0] < half[1]:
                yield from self._split_to_limit(half, limit)

    def passage_tokens(self, start: int, end: int, signature: str) -> int:
        """Return the length of the text with its signature before it, in tokens."""
        text = self.text[start:end]
        return self._count_text(f"{signature}\n{text}") if signature else self._tokens(start, end)

    def _is_too_small(self, piece: Span) -> bool:
        return self._is_only_headings(piece) or self._tokens(*piece) < self.settings.min_chunk_tokens

    def _is_only_headings(self, piece: Span) -> bool:
        return self.text.startswith("#", piece[0]) and all(
            _HEADING_LINE.match(line) for line in self.text[slice(*piece)].split("\n") if line
        )

    def _fits(self, start: int, end: int) -> bool:
        return self._tokens(start, end) <= self.settings.chunk_size

    def _tokens(self, start: int, end: int) -> int:
        """Return the length of the span by itself: exact, though only its first and last words are counted anew.

        No token of these vocabularies crosses a single space between two words, so what is between the first and the
        last of them has the tokens that it has in the document.
        """
        known = self.token_counts.get((start, end))
        if known is None:
            known = self.token_counts[start, end] = self._count(start, end)
        return known

    def _count(self, start: int, end: int) -> int:
        first = _SINGLE_SPACE.search(self.text, start, end)
        if first is None:
            return self._count_text(self.text[start:end])
        last = self.text.rfind(" ", first.start(), end)
        while not _SINGLE_SPACE.match(self.text, last, end):
            last = self.text.rfind(" ", first.start(), last)
        one, other = self._tokens_before((first.start(), last))
        return self._count_text(self.text[start : first.start()] + self.text[last:end]) + other - one

    def _count_text(self, text: str) -> int:
        return token_count(text, self.settings.tokenizer)

    def _trim(self, start: int, end: int) -> Span:
        content = self.text[start:end]
        begin = start + len(content) - len(content.lstrip())
        return begin, max(begin, start + len(content.rstrip()))


def _cheapest_cuts(units: _Units, limit: int) -> list[int]:
    """Return where the pieces begin, of at most `limit` tokens each (a single unit may have more).

    Dynamic programming over the units: a piece costs 1, the square of the share that it leaves empty, and its cut.
    """
    tokens, costs = units.tokens, units.costs
    best, before = [0.0], [0]
    first = 0
    for last in range(1, len(tokens)):
        while first < last - 1 and tokens[last] - tokens[first] > limit:
            first += 1
        cheapest, chosen = math.inf, last - 1
        for begin in range(first, last):
            empty = 1 - (tokens[last] - tokens[begin]) / limit
            cost = best[begin] + costs[begin] + 1 + empty * empty
            if cost < cheapest:
                cheapest, chosen = cost, begin
        best.append(cheapest)
        before.append(chosen)
    cuts: list[int] = []
    at = len(tokens) - 1
    while at:
        at = before[at]
        cuts.append(units.starts[at])
    return cuts[::-1]


# ---- rows ----


def _build_chunks(
    document: ReadDocument, pieces: Iterable[tuple[Span, str]], cutter: _Chunker, marks: Sequence[Heading]
) -> Iterator[Chunk]:
    text = document.document_text
    starts = [page.start for page in document.pages]
    occurrences: Counter[str] = Counter()
    for (start, end), signature in pieces:
        content = text[start:end]
        first, last = bisect.bisect_right(starts, start) - 1, bisect.bisect_left(starts, end) - 1
        same = normalize(content)
        yield Chunk(
            chunk_id=chunk_id(document.doc_id, content, occurrences[same]),
            doc_id=document.doc_id,
            path=document.path,
            kind="api" if document.kind == "api" else "prose",
            page_from=document.pages[first].page,
            page_to=document.pages[last].page,
            start=start,
            end=end,
            heading=_find_heading(text, start, end, marks) or document.pages[first].heading,
            text=content,
            signature=signature,
            tokens=cutter.passage_tokens(start, end, signature),
        )
        occurrences[same] += 1


def _find_heading(text: str, start: int, end: int, marks: Sequence[Heading]) -> str:
    """Return the last of the headings that the chunk begins with, else the last one before it."""
    behind = bisect.bisect_right(marks, start, key=lambda mark: mark[0])
    heading = marks[behind - 1][1] if behind else ""
    body = _line_end(text, start) if behind and marks[behind - 1][0] == start else start
    for offset, words in marks[behind:]:
        if offset >= end or text[body:offset].strip():
            break
        heading, body = words, _line_end(text, offset)
    return heading
