"""A chunk as the rules see it: its sentences of prose, each on one line with markup blanked out."""

import re
from dataclasses import dataclass
from functools import cached_property

from raft_assets.core.sentences import split_sentences
from raft_assets.embedded.teacher.phrasing import content_words

LONGEST_WORDS = 60
_REFERENCE_MARK = re.compile(
    r"\[\s?(?:\d{1,3}|[a-z]|note \d+|nb \d+|citation needed|[a-z ]{2,20}\?)\s?\](?::\s?\d+(?:[–-]\d+)?)?"
)
_EMPHASIS = re.compile(r"(?<![\w*_])[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?![\w*_])|`")
_FIELD_NAME = re.compile(r"^(?:\w+_\w+|functionality)(?:\.\w+)?:\s+")  # "meta_data.description: "
_HARD = re.compile(r"--|https?:|www\.|\w-\n|[{}<>|\\=]")
# a capital in mid-sentence where no sentence begins: a caption or heading ran into the sentence
_POLLUTED = re.compile(
    r"[a-z0-9)] (?:The|A|An|In|It|He|She|They|This|These|Its|His|Her|Although|While|However|Some|Many|Most|As|Due|After"
    r"|When|Starting|During|Since|From) [a-z]"
)
_TERMINATED = re.compile(r"[.!]['\"”’)\]*_]*$")


@dataclass(frozen=True)
class Prose:
    """A sentence: the quote as it is in the chunk, and the same on one line.

    `text` has exactly the quote's length, so that positions in one are positions in the other.
    """

    quote: str
    text: str

    @cached_property
    def content(self) -> frozenset[str]:
        """Its words of meaning."""
        return frozenset(content_words(self.text))

    @cached_property
    def is_askable(self) -> bool:
        """Whether it looks like one whole sentence of prose."""
        text = self.text
        if (
            not 4 <= len(text.split()) <= LONGEST_WORDS
            or not _TERMINATED.search(text.rstrip())
            or _HARD.search(self.quote)
        ):
            return False
        if text.count('"') % 2 or text.count("(") != text.count(")") or "[" in text or _POLLUTED.search(text):
            return False
        first = text.lstrip(' "“‘(')[:1]
        letters = sum(char.isalpha() or char.isspace() for char in text)
        return (first.isupper() or first.isdigit()) and letters > 0.72 * len(text)


def prose_of(text: str) -> list[Prose]:
    """Return the sentences of the text, without headings."""
    quotes = (_FIELD_NAME.sub("", quote) for quote in split_sentences(text) if not quote.startswith("#"))
    return [Prose(quote, _on_one_line(quote)) for quote in quotes]


def _on_one_line(quote: str) -> str:
    """Replace line breaks, markup and reference marks by blanks, one for one."""
    text = re.sub(r"\s", " ", quote)
    for pattern in (_REFERENCE_MARK, _EMPHASIS):
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return text
