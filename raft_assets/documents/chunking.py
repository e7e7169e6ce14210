"""Split documents into chunks: passages of at most a number of tokens that break at the document's own structure.

`document_text[chunk.start:chunk.end] == chunk.text`, every word of a document is in a chunk, and the same document and
settings give the same chunks on every machine.

A section that is too long is split between paragraphs rather than between lines, sentences or words, and so that an
edit moves few cuts (`documents/steady_cuts`). Sections that a domain had before keep their cuts, which divided them
evenly (`ChunkForm`). Tokens are counted once for the document, which takes most of the time.
"""

import bisect
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import regex

from raft_assets.core.identity import chunk_id, normalize, short_digest
from raft_assets.core.tables import CONTINUOUS_KINDS, Chunk
from raft_assets.core.vocabularies import encode, token_bytes
from raft_assets.documents.readers.content import find_headings
from raft_assets.documents.reading import ReadDocument
from raft_assets.documents.steady_cuts import drawn_by_words, steady_cuts
from raft_assets.settings.domain import ChunkSettings

# changes where every domain has to be cut anew; better cuts of some documents aren't that (ADR 0043)
CHUNKING_VERSION = "4"

_MAX_COUNTED_CHARACTERS = 500_000  # of a text that is encoded at once
# share of the maximum that a heading leaves to what follows it; a longer heading is text like any other
_MIN_ROOM_SHARE = 0.25
_SEAM_TOKENS = 2  # tokens that a span may have more by itself than within its document
_WORDS_PER_UNIT = 32  # of a sentence that is too long for a chunk: split into runs of words, then of characters

# the cost of a cut, in addition to the chunk that it begins, which costs 1, and the square of the share left empty
_PARAGRAPH, _LINE, _SENTENCE, _CLAUSE, _WORD, _CHARACTER = 0.0, 0.1, 0.3, 0.6, 0.8, 1.2
_AFTER_TITLE = 0.9  # between the title of a passage, which the reader found to be no heading, and the passage
MAX_TITLE_CHARACTERS = 60
_MIN_RUN = 3  # small pieces that follow one another; two go together anyway
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
# in sections that are cut steadily, or where the subject changes, besides: after quotation marks, ends of sentences in
# other scripts, and blanks of Thai and Lao, which end clauses and have no other marks
_MORE_CUTS = (
    *_CUTS[:-1],
    (
        _SENTENCE,
        re.compile(
            r"([。！？｡．؟۔।॥።፧։](?:(?:(?<=[。！？｡])|(?<=．)(?!\d))[”’」』）】》]*(?=[^”’」』）】》])"
            r"|(?<=[؟۔।॥።፧։])[”’»\")\]]*\s*(?=\S)))"
        ),
    ),
    (_CLAUSE, re.compile("(?<=[\u0e01-\u0eff])([ \\t]+)(?=[\u0e01-\u0eff])")),
)
_CLAUSE_END = re.compile(r"(?:[,;:،؛](?=\s)|[、，；：])\s*")  # of sentences that are too long
_CLAUSE_MARKS = "，、；："  # where a text without spaces is halved if it is too long for a chunk
_TITLE = re.compile(r"[^\W_a-z][^\n|]*[^\n|.!?…,;。！？]")  # a line that begins large and ends no sentence
_UNFINISHED = re.compile(r"[^\W_][,;]?\Z")  # a paragraph that a page break, or nothing, ends within a sentence
_EMPHASIZED = re.compile(r"(\*\*|__)([^*_\n]+)\1:?")
_LEADS_ON = re.compile(r"[:：?？؟]")  # what a short paragraph ends in that belongs to the next one: a list, an answer
_SINGLE_SPACE = re.compile(r"(?<=\S) (?=\S)")
_GAP = re.compile(r"\s+")
_MARK = regex.compile(r"\p{M}")

Span = tuple[int, int]
Heading = tuple[int, str]  # offset and words of a heading
Piece = tuple[Span, str]  # with the signature that it must repeat
GapSimilarity = Callable[[Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class ChunkForm:
    """Which sections of a domain are divided evenly, as versions before 0.3.0 did with all of them (ADR 0044).

    They are named by `section_digest`; None: all sections. Any other section is cut steadily.
    """

    evenly: frozenset[str] | None = frozenset()

    def is_even(self, section: str) -> bool:
        """Return whether the section is divided evenly."""
        return self.evenly is None or (bool(self.evenly) and section_digest(section) in self.evenly)


STEADY, EVEN = ChunkForm(), ChunkForm(None)


def section_digest(text: str) -> str:
    """Return the name of a section, by its text."""
    return short_digest("section", text)


def chunk_document(
    document: ReadDocument, settings: ChunkSettings, *, form: ChunkForm = STEADY, likeness: GapSimilarity | None = None
) -> list[Chunk]:
    """Return the chunks of a document, in order.

    `likeness` returns, for texts that follow one another, how similar each is to the next, (n - 1,), in any unit. With
    it the document is split where the subject changes; the maximum and the document's structure apply all the same.
    """
    cutter = _Chunker(document.document_text, settings, form, likeness)
    marks = _headings(document)
    return list(_build_chunks(document, _pieces(document, cutter, marks), cutter, marks))


def find_even_sections(document: ReadDocument, settings: ChunkSettings, texts: Collection[str]) -> Iterator[str]:
    """Yield the digests of the document's sections that were divided evenly, and would be cut otherwise.

    `texts` are those of the document's chunks. At either end of a section a chunk may be shared with the next one,
    which may have changed: one may be missing.
    """
    even, steady = (_Chunker(document.document_text, settings, form) for form in (EVEN, STEADY))
    before, now = ([span for span, _ in _pieces(document, cutter, _headings(document))] for cutter in (even, steady))
    for section in even.sections:
        old, new = _overlapping(before, section), _overlapping(now, section)
        kept = sum(even.text[start:end] in texts for start, end in old)
        if old != new and kept >= max(1, len(old) - 1):
            yield section_digest(even.text[slice(*section)])


def _overlapping(spans: Sequence[Span], section: Span) -> Sequence[Span]:
    first = bisect.bisect_right(spans, section[0], key=lambda span: span[1])
    return spans[first : bisect.bisect_left(spans, section[1], key=lambda span: span[0])]


def _headings(document: ReadDocument) -> list[Heading]:
    return [] if document.kind == "api" else list(find_headings(document.document_text))


def _pieces(document: ReadDocument, cutter: "_Chunker", marks: Sequence[Heading]) -> list[Piece]:
    parts = _parts(document, marks)
    if document.kind == "api":  # entries stay separate; the pieces of one that is too long repeat its signature
        return [piece for part in parts for piece in cutter.split_entry(part)]
    pieces = [span for part in parts for span in cutter.pieces(part)]
    return [(span, "") for span in cutter.merge_small_pieces(pieces)]


def find_oversized_chunks(chunks: Iterable[Chunk], settings: ChunkSettings) -> list[str]:
    """Return the ids of chunks whose passage is longer than the maximum.

    The passages are counted anew and as a whole.
    """
    size, tokenizer = settings.chunk_size, settings.tokenizer
    return [chunk.chunk_id for chunk in chunks if token_count(chunk.passage, tokenizer) > size]


def token_count(text: str, tokenizer: str) -> int:
    """Return the length of the text in tokens; what looks like a special token counts as plain text."""
    if len(text) <= _MAX_COUNTED_CHARACTERS:
        return len(encode(text, tokenizer))
    starts = range(0, len(text), _MAX_COUNTED_CHARACTERS)
    return sum(len(encode(text[start : start + _MAX_COUNTED_CHARACTERS], tokenizer)) for start in starts)


def _token_ends(text: str, tokenizer: str) -> npt.NDArray[np.int64]:
    """Return the offset in the text, in characters, after each of its tokens."""
    blocks = range(0, len(text), _MAX_COUNTED_CHARACTERS)
    ids = [token for start in blocks for token in encode(text[start : start + _MAX_COUNTED_CHARACTERS], tokenizer)]
    ends = np.cumsum(token_bytes(tokenizer)[np.array(ids, np.int64)])
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
    form: ChunkForm
    likeness: GapSimilarity | None = None
    token_counts: dict[Span, int] = field(default_factory=dict)
    sections: list[Span] = field(default_factory=list)  # those whose form was asked for

    @functools.cached_property
    def token_ends(self) -> list[int]:
        """Offset after each token of the document."""
        ends: list[int] = _token_ends(self.text, self.settings.tokenizer).tolist()
        return ends

    @functools.cached_property
    def even_cuts(self) -> list[tuple[int, float]]:
        """Where the document may be divided evenly, and what that costs."""
        costs = self._find_cuts(_MORE_CUTS if self.likeness else _CUTS)
        for offset in self._after_titles(sorted(offset for offset, cost in costs.items() if cost == _PARAGRAPH)):
            costs[offset] = _AFTER_TITLE
        cuts = sorted(costs.items())
        return self._cost_by_topic([offset for offset, _ in cuts]) if self.likeness else cuts

    @functools.cached_property
    def steady_cuts(self) -> list[tuple[int, float]]:
        """Where the document may be cut steadily, and what that costs."""
        costs = self._find_cuts(_MORE_CUTS)
        offsets = sorted(offset for offset, cost in costs.items() if cost == _PARAGRAPH)
        titles = set(self._after_titles(offsets))
        is_open = False  # what is after the offset leads on to what follows
        for start, offset in reversed(list(zip([0, *offsets], offsets, strict=False))):
            before = self.text[start:offset].strip()
            is_open = offset in titles or self._leads_on(before, is_followed=is_open)
            if is_open:
                costs[offset] = _AFTER_TITLE
            elif _UNFINISHED.search(before) and self.text[offset : offset + 1].islower():
                costs[offset] = _WORD
        return sorted(costs.items())

    @functools.cached_property
    def drawn(self) -> Callable[[int], float]:
        """A number in [0, 1) for an offset, by the words around it."""
        return functools.cache(drawn_by_words(self.text))

    def is_even(self, section: Span) -> bool:
        """Return whether a section is divided evenly: it was before, or is split where the subject changes."""
        self.sections.append(section)
        return self.likeness is not None or self.form.is_even(self.text[slice(*section)])

    def _find_cuts(self, patterns: Iterable[tuple[float, re.Pattern[str]]]) -> dict[int, float]:
        costs: dict[int, float] = {}
        for cost, pattern in patterns:
            for match in pattern.finditer(self.text):
                if cost != _SENTENCE or not self._is_abbreviated(match.start()):
                    costs.setdefault(match.end(1), cost)  # the cheapest kind comes first
        return costs

    @staticmethod
    def _leads_on(paragraph: str, *, is_followed: bool) -> bool:
        """Return whether a paragraph belongs to the next one: a title above another, a question, an announcement."""
        if len(paragraph) > MAX_TITLE_CHARACTERS:
            return False
        if _LEADS_ON.match(paragraph, len(paragraph) - 1) or _EMPHASIZED.fullmatch(paragraph):
            return True
        return is_followed and _TITLE.fullmatch(paragraph) is not None

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
        is_whole = self._fits(start, end)
        spans = [(start, end)] if is_whole else self._cut(start, end, room, evenly=self.is_even((start, end)))
        for span in spans:
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
        evenly, whole_until = self.is_even((start, end)), body if is_headed else start
        pieces = self._cut(start, end, size - self.settings.chunk_overlap, whole_until=whole_until, evenly=evenly)
        yield from self._add_overlap(pieces, evenly=evenly)

    def merge_small_pieces(self, pieces: Sequence[Span]) -> list[Span]:
        """Merge pieces that are too small, or headings without text, with a neighbour where the maximum allows it.

        A piece that begins a section is rather merged with the next one, any other with the one before.
        """

        def joins(last: Span, piece: Span) -> bool:
            return self._is_too_small(last) or (
                self._is_too_small(piece) and not _HEADING_LINE.match(self.text, piece[0])
            )

        forwards = self._merge(self._group_small_pieces(pieces), joins)
        return self._attach_last_heading(self._merge(forwards, lambda _, piece: self._is_too_small(piece)))

    def _group_small_pieces(self, pieces: Iterable[Span]) -> Iterator[Span]:
        """Yield the pieces, small ones that follow one another in groups that an edit moves little."""
        for is_small, run in itertools.groupby(pieces, self._is_too_small):
            members = list(run)
            whole = (members[0][0], members[-1][1])
            if not is_small or len(members) < _MIN_RUN or self.is_even(whole):
                yield from members
            else:
                yield from self._group(members)

    def _group(self, pieces: Sequence[Span]) -> Iterator[Span]:
        """Yield small pieces in groups: sections until they are large enough, other pieces until they fill a chunk."""
        size, least = self.settings.chunk_size, self.settings.min_chunk_tokens
        starts = [start for start, _ in pieces]
        are_sections = all(_HEADING_LINE.match(self.text, start) for start in starts)
        limit = max(least, min(2 * least, size - _SEAM_TOKENS)) if are_sections else max(least, size - _SEAM_TOKENS)
        tokens = self._tokens_before([*starts, pieces[-1][1]])
        costs = [_PARAGRAPH] * len(tokens)
        begins = steady_cuts(
            tokens, costs, lambda unit: self.drawn(starts[unit]), limit, least=least, fill=not are_sections
        )
        for first, after in pairwise([*begins, len(pieces)]):
            yield from self._split_to_limit((starts[first], pieces[after - 1][1]), size)

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
        *kept, end = self._cut(*previous, room, evenly=True)
        return [*before, *kept, *self._split_to_limit((end[0], last[1]), self.settings.chunk_size)]

    def _cut(self, start: int, end: int, limit: int, *, evenly: bool, whole_until: int = 0) -> list[Span]:
        """Return trimmed pieces of at most `limit` tokens.

        The text before `whole_until` and what follows it stay together. Divided evenly, of all ways to cut between
        units the cheapest one is taken.
        """
        units = self._units(start, end, limit, whole_until, evenly=evenly)
        room = max(limit - _SEAM_TOKENS, (limit + 1) // 2)
        cuts = _cheapest_cuts(units, room) if evenly else self._steady_starts(units, room)
        spans = (self._trim(one, other) for one, other in zip(cuts, [*cuts[1:], end], strict=True))
        return [piece for span in spans if span[0] < span[1] for piece in self._split_to_limit(span, limit)]

    def _steady_starts(self, units: _Units, room: int) -> list[int]:
        least = min(self.settings.min_chunk_tokens, room // 2)
        cuts = steady_cuts(units.tokens, units.costs, lambda unit: self.drawn(units.starts[unit]), room, least=least)
        return [units.starts[unit] for unit in cuts]

    def _units(self, start: int, end: int, limit: int, whole_until: int, *, evenly: bool) -> _Units:
        cuts = self.even_cuts if evenly else self.steady_cuts
        first = bisect.bisect_right(cuts, (max(start, whole_until), math.inf))
        last = bisect.bisect_left(cuts, (end, -math.inf))
        within = cuts[first:last]
        starts = [start, *(offset for offset, _ in within), end]
        costs = [_PARAGRAPH, *(cost for _, cost in within), _PARAGRAPH]
        tokens = self._tokens_before(starts)
        if any(after - before > limit for before, after in pairwise(tokens)):
            split = self._split_long_units if evenly else self._open_long_units
            starts, costs = split(starts, costs, tokens, limit)
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

    def _open_long_units(
        self, starts: Sequence[int], costs: Sequence[float], tokens: Sequence[int], limit: int
    ) -> tuple[list[int], list[float]]:
        """Return the units, with those that are too long split between clauses and words, else between characters.

        Where, depends on the text around a cut only.
        """
        found: dict[int, float] = dict(zip(starts, costs, strict=True))
        for (first, last), (before, after) in zip(pairwise(starts), pairwise(tokens), strict=True):
            if after - before <= limit:
                continue
            for pattern, cost in ((_CLAUSE_END, _CLAUSE), (_GAP, _WORD)):
                for match in pattern.finditer(self.text, first, last):
                    found.setdefault(match.end(), cost)
            for start, end in pairwise(sorted(offset for offset in found if first <= offset <= last)):
                one, other = self._tokens_before((start, end))
                if other - one > limit:
                    found.update((offset, _CHARACTER) for offset in self.token_ends[one:other] if start < offset < end)
        return sorted(found), [found[offset] for offset in sorted(found)]

    def _add_overlap(self, pieces: Sequence[Span], *, evenly: bool) -> Iterator[Span]:
        """Yield the pieces, every one but the first with text of the one before it, as `chunk_overlap` says.

        The shared text is whole sentences, else words.
        """
        overlap = self.settings.chunk_overlap
        for number, (start, end) in enumerate(pieces):
            begin = start
            if overlap and number:
                units = self._units(pieces[number - 1][0], start, overlap, 0, evenly=evenly)
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
        clause = 1 + max(self.text.rfind(mark, start, middle) for mark in _CLAUSE_MARKS)
        middle = gap if gap > start else clause if clause > start else self._before_letter(start, middle)
        for half in (self._trim(start, middle), self._trim(middle, end)):
            if half[0] < half[1]:
                yield from self._split_to_limit(half, limit)

    def _before_letter(self, start: int, at: int) -> int:
        """Return an offset near `at` that separates no vowel sign from its letter."""
        while at > start + 1 and _MARK.match(self.text, at):
            at -= 1
        return at

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
