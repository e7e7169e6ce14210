"""Reference lists in a document's paragraphs, told by what they hold: a manual has notes and references as well."""

import re
from collections.abc import Iterator, Sequence

from raft_assets.documents.readers.left_out import count_words

Place = tuple[int, int]  # page and paragraph, from 0

MIN_CITATION_SHARE = 0.5  # of the paragraphs below a heading; more and they are a reference list
MIN_PROSE_WORDS = 25  # of a paragraph of sentences in a reference list: text whose heading was not seen
MAX_TITLE_WORDS = 14  # of an item in a list of titles and links

_CITED = re.compile(
    r"(?:\d+\.?\s+)?(?:references|bibliography|notes|citations|works cited|footnotes)(?: and (?:notes|references))?",
    re.IGNORECASE,
)
_LINKED = re.compile(r"(?:\d+\.?\s+)?(?:external links|further reading|see also)", re.IGNORECASE)
# what hardly stands in anything but a citation
_CITATION = re.compile(
    r"https?://|www\.|\bdoi\b|\barxiv\b|\bISBN\b|\bISSN\b|\bet al\b|\bRetrieved\b|\bArchived\b|\bibid\b|\bop\. cit"
    r"|\bpp\.?\s?\d|\bvol\.|\beds?\.\)|\(ed\.\)|\bProc(?:\.|eedings)\b|\bJournal of\b|\bUniversity Press\b"
    r"|[A-Z][\w'’-]+,\s(?:[A-Z]\.[\s,:;&-]*)+|(?:[A-Z]\.\s?)+[A-Z][\w'’-]+,\s|\(\w+ \d{1,2}, (?:1[89]|20)\d\d\)"
    r"|\(\d{1,2} \w+ (?:1[89]|20)\d\d\)|\d+\s?\(\d+\)\s?:\s?\d+|^\W*\^|↑",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^\W*\[?\(?\d{1,3}[\])]?[.)]?\s")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")
_FINITE_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|must|may|can|shall|should|will|would|be|been|does|do|did|not|never|always)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?:][\"”’')\]]*(?:\[\d+\])*$")


def find_reference_lists(pages: Sequence[Sequence[str]]) -> set[Place]:
    """Return the paragraphs of reference lists and lists of links, with their headings.

    A list is what is below a heading that says so, up to the next heading, if most of it are citations or titles.
    """
    return {place for heading, below in _sections(pages) for place in _listed(heading, below, pages)}


def _sections(pages: Sequence[Sequence[str]]) -> Iterator[tuple[Place, list[Place]]]:
    """Yield the headings that may begin a list, and the paragraphs below each."""
    heading: Place | None = None
    below: list[Place] = []
    for page, texts in enumerate(pages):
        for number, text in enumerate(texts):
            if not text.startswith("## "):
                below.append((page, number))
                continue
            if heading:
                yield heading, below
            words = text[3:].strip(" :")
            heading = (page, number) if _CITED.fullmatch(words) or _LINKED.fullmatch(words) else None
            below = []
    if heading:
        yield heading, below


def _listed(heading: Place, below: Sequence[Place], pages: Sequence[Sequence[str]]) -> list[Place]:
    def text_at(place: Place) -> str:
        return pages[place[0]][place[1]]

    lines = [line for place in below for line in text_at(place).split("\n")]
    is_entry = _is_citation if _CITED.fullmatch(text_at(heading)[3:].strip(" :")) else _is_title
    entries = sum(is_entry(line) for line in lines)
    if entries < MIN_CITATION_SHARE * len(lines):
        return []
    return [heading, *(place for place in below if not _is_prose(text_at(place)))]


def _is_citation(line: str) -> bool:
    if _CITATION.search(line):
        return True
    return bool(_NUMBERED.match(line) and _YEAR.search(line) and not _FINITE_VERB.search(line))


def _is_title(line: str) -> bool:
    is_short = count_words(line) <= MAX_TITLE_WORDS and not _SENTENCE_END.search(line)
    return is_short or bool(_CITATION.search(line))


def _is_prose(text: str) -> bool:
    """Return whether a paragraph is text that follows a list without a heading of its own."""
    return (
        count_words(text) >= MIN_PROSE_WORDS
        and not _CITATION.search(text)
        and not _NUMBERED.match(text)
        and bool(_SENTENCE_END.search(text))
        and bool(_FINITE_VERB.search(text))
    )
