"""Where sentences begin and end: the one splitter that teacher, reader and gates share.

A text is split into blocks by its structure (blank lines, headings, list items, table rows, fields of an API
description), then a block into sentences by its punctuation. Markers of list items belong to no sentence; neither do
lines without a letter or digit. English has rules of its own here; other languages have those of sentencex, which
knows their abbreviations, and in every script the marks of Unicode that end a sentence and nothing else (ADR 0046).
"""

import re
from collections.abc import Iterator, Sequence

import regex

from raft_assets.core.languages import ENGLISH

Span = tuple[int, int]

# longest text that an open parenthesis or quotation mark holds together; after that it was left open by mistake
MAX_ENCLOSED_CHARACTERS = 400
# a line without full stop is a heading of a PDF when it is shorter than this share of the widest line
MAX_HEADING_WIDTH = 0.62

_LINE = re.compile(r"[^\n]+|(?<=\n)(?=\n)")
_MARKED_HEADING = re.compile(r"#{1,6}\s")
_UNDERLINE = re.compile(r"=+|-{3,}")
_LIST_MARKER = re.compile(r"\s*(?:[-*+•‣▪–]|\(?\d{1,3}[.)]|\(?[a-z]\))[ \t]+(?=\S)")
_FIELD = re.compile(r"[a-z]\w*(?:\.[\w*]+)*:(?:\s|$)")
_API_DESCRIPTION = re.compile(r"^(?:api_call|api_name|functionality):", re.MULTILINE)
_HAS_WORD = re.compile(r"[^\W_]")
_FULL_STOP = re.compile(r"[.!?][\"”’')\]*_]*$")
_TERMINATED = re.compile(r"[.!?:;,…][\"”’')\]*_]*$")

_BOUNDARY = re.compile(r"([.!?…]+)[\"”’')\]*_]*(?:\[[\w ]{1,20}\])*(\s+)(?=[\"“‘'(\[*_`]*[^\W_a-zß-ÿ])")
_INITIAL = re.compile(r"(?:^|[\s(.\"“-])[A-Z]$")
_ABBREVIATION = re.compile(
    r"(?<![^\W\d_])(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|inc|ltd|co|corp|vol|figs?|eds?|dept|est|gov|gen|col|sgt|capt|rev|hon|lt|ca|cf|pp?"
    r"|e\.g|i\.e|approx|ave|mt|ft|spp?|subsp|var|op|ser|messrs|mme|mlle|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)$",
    re.IGNORECASE,
)
# these sometimes end a sentence, so only a number after them holds the sentence together
_BEFORE_NUMBER = re.compile(r"(?<![^\W\d_])(?:nos?|art|sec|chap|ch|pl|v)$", re.IGNORECASE)
_PAIRS = (("(", ")"), ("“", "”"), ("[", "]"))
# marks that end a sentence whatever follows (UAX #29, Sentence_Break=STerm, without those that English shares), with
# the closing marks after them
_STOP = regex.compile(r"[[\p{SB=STerm}]--[!?]]+\p{SB=Close}*+", regex.V1)
# what no sentence begins with: a small letter (SB8), in Japanese a particle after a quotation
_CONTINUED = regex.compile(
    r"\s*[[\p{Latin}\p{Cyrillic}\p{Greek}\p{Armenian}]&&[\p{Ll}]]|(?<=[」』）])\p{Hiragana}", regex.V1
)
# Thai and Lao have no marks: a blank between their letters ends a sentence that is as long as one
_UNMARKED = regex.compile(r"(?<=[\p{Thai}\p{Lao}])[ \t]+(?=[\p{Thai}\p{Lao}])")
MIN_UNMARKED_CHARACTERS = 50
_LONE_ABBREVIATION = regex.compile(r"\s*(?:\p{L}\p{M}*){1,3}\.\s*")
_BRACKETS = (*_PAIRS, ("（", "）"), ("「", "」"), ("『", "』"), ("《", "》"), ("【", "】"), ("«", "»"))


def split_sentences(text: str, language: str = "") -> list[str]:
    """Return the sentences of the text in order, each an exact substring."""
    return [text[start:end] for start, end in sentence_spans(text, language)]


def sentence_spans(text: str, language: str = "") -> list[Span]:
    """Return the sentences as (start, end), in order, without overlap, none empty or surrounded by white space.

    `language`: its code; where it is empty the script decides, and Latin script is taken for English.
    """
    language = language or _language_by_script(text)
    if language == ENGLISH:
        return [span for block in _blocks(text) for span in _sentences_of_block(text, block)]
    spans = [span for block in _blocks(text) for span in _foreign_sentences(text, block, language)]
    return [part for span in spans for part in _unmarked_sentences(text, span)]


def _language_by_script(text: str) -> str:
    if text.isascii():
        return ENGLISH
    from raft_assets.core.language_detection import detect_language, main_script  # numpy: not for the teacher's start

    if main_script(text) in ("", "latin"):
        return ENGLISH
    return detect_language(text) or ENGLISH


def _blocks(text: str) -> Iterator[Span]:
    """Yield runs of lines that one sentence may cross."""
    lines = [match.span() for match in _LINE.finditer(text)]
    contents = [text[start:end].strip() for start, end in lines]
    widest = max(map(len, contents), default=0)
    is_api = bool(_API_DESCRIPTION.search(text))
    block: Span | None = None
    for i, ((start, end), content) in enumerate(zip(lines, contents, strict=True)):
        following = contents[i + 1] if i + 1 < len(contents) else ""
        marker = _LIST_MARKER.match(text, start, end)
        opens_block = block is None or bool(_FULL_STOP.search(contents[i - 1]))
        stands_alone = (
            is_api or _is_heading(content, following, widest, opens_block=opens_block) or content.startswith("|")
        )
        if block and (
            stands_alone
            or marker
            or not _HAS_WORD.search(content)
            or (_FIELD.match(content) and "_" in content.split(":")[0])
        ):
            yield block
            block = None
        if not _HAS_WORD.search(content):
            continue
        block = (block[0] if block else marker.end() if marker else start, end)
        if stands_alone:
            yield block
            block = None
    if block:
        yield block


def _is_heading(line: str, following: str, widest: int, *, opens_block: bool) -> bool:
    """Return whether the line is a heading: marked by #, underlined, or (in a PDF) short and open, before a capital."""
    if _MARKED_HEADING.match(line) or _UNDERLINE.fullmatch(following):
        return True
    if not opens_block or not following or _TERMINATED.search(line) or len(line) > MAX_HEADING_WIDTH * widest:
        return False
    return line[:1].isupper() and following[:1].isupper() and len(line.split()) <= 10


def _sentences_of_block(text: str, block: Span) -> Iterator[Span]:
    start, end = block
    for match in _BOUNDARY.finditer(text, start, end):
        cut = match.start(2)
        if _is_abbreviated(text, start, match) or _is_enclosed(text, start, cut, end):
            continue
        yield from _strip_span(text, start, cut)
        start = match.end()
    yield from _strip_span(text, start, end)


def _foreign_sentences(text: str, block: Span, language: str) -> Iterator[Span]:
    """Yield the sentences of a block in another language than English."""
    from sentencex import segment  # reads its lists of abbreviations

    start, end = block
    cut = start
    for piece in segment(language, text[start:end]):
        for match in _STOP.finditer(text, cut, cut + len(piece)):
            if not _is_enclosed(text, start, match.end(), end, _BRACKETS) and not _CONTINUED.match(text, match.end()):
                yield from _strip_span(text, start, match.end())
                start = match.end()
        cut += len(piece)
        if not _CONTINUED.match(text, cut, end) and not _LONE_ABBREVIATION.fullmatch(text, start, cut):
            yield from _strip_span(text, start, cut)
            start = cut
    yield from _strip_span(text, start, end)


def _unmarked_sentences(text: str, span: Span) -> Iterator[Span]:
    """Yield the parts of a line in which nothing marks the end of a sentence."""
    start, end = span
    for blank in _UNMARKED.finditer(text, start, end):
        if blank.start() - start >= MIN_UNMARKED_CHARACTERS:
            yield from _strip_span(text, start, blank.start())
            start = blank.end()
    yield from _strip_span(text, start, end)


def _strip_span(text: str, start: int, end: int) -> Iterator[Span]:
    content = text[start:end]
    begin = start + len(content) - len(content.lstrip())
    finish = start + len(content.rstrip())
    if begin < finish and _HAS_WORD.search(content):
        yield begin, finish


def _is_abbreviated(text: str, start: int, boundary: re.Match[str]) -> bool:
    """Return whether the full stop belongs to an abbreviation or an initial rather than to the sentence."""
    if boundary.group(1) != ".":
        return False
    before = text[max(start, boundary.start() - 20) : boundary.start()]
    if _INITIAL.search(before):
        return not re.search(r"\b(?:I|[Vv]itamin [A-Z]|[Tt]ype [A-Z]|[Pp]lan [A-Z])$", before)
    if _BEFORE_NUMBER.search(before) and text[boundary.end() : boundary.end() + 1].isdigit():
        return True
    return bool(_ABBREVIATION.search(before))


def _is_enclosed(text: str, start: int, cut: int, end: int, pairs: Sequence[tuple[str, str]] = _PAIRS) -> bool:
    """Return whether the cut lies inside a parenthesis or quotation that closes within the block."""
    before, after = text[start:cut], text[cut : min(end, start + MAX_ENCLOSED_CHARACTERS)]
    if any(before.count(opening) > before.count(closing) and closing in after for opening, closing in pairs):
        return True
    return before.count('"') % 2 == 1 and '"' in after
