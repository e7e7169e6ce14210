"""A chunk as the rules see it: sentences of prose on one line each, with markup blanked out, and where they stand in the chunk."""

import re
from dataclasses import dataclass

from raft_assets.raft.sentences import sentence_spans

LONGEST_WORDS = 45
_REFERENCE_MARK = re.compile(r"\[\s?(?:\d{1,3}|[a-z]|note \d+|nb \d+|citation needed|[a-z ]{2,20}\?)\s?\](?::\s?\d+(?:[–-]\d+)?)?")
_EMPHASIS = re.compile(r"(?<![\w*_])[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?![\w*_])|`")
_FIELD = re.compile(r"(?:[a-z]\w*_\w+|functionality|[a-z]\w*\.[\w*]+)(?:\.[\w*]+)*: ")
_HARD = re.compile(r"--|https?:|www\.|\w-\n|[{}<>|\\=]")
# a capital in mid-sentence where no sentence begins: a caption or heading ran into the sentence
_POLLUTED = re.compile(
    r"[a-z0-9)] (?:The|A|An|In|It|He|She|They|This|These|Its|His|Her|Although|While|However|Some|Many|Most|As|Due|After|When) [a-z]"
)
_TERMINATED = re.compile(r"[.!]['\"”’)\]*_]*$")


@dataclass(frozen=True)
class Prose:
    """A sentence. `text` has exactly the quote's length, so that positions in one are positions in the other."""

    quote: str
    text: str

    @property
    def is_askable(self) -> bool:
        """Whether it looks like one whole sentence of prose."""
        text = self.text
        size = len(text.split())
        if not 4 <= size <= LONGEST_WORDS or not _TERMINATED.search(text.rstrip()) or _HARD.search(self.quote):
            return False
        if text.count('"') % 2 or text.count("(") != text.count(")") or "[" in text or _POLLUTED.search(text):
            return False
        first = text.lstrip(' "“‘(')[:1]
        letters = sum(char.isalpha() or char.isspace() for char in text)
        return (first.isupper() or first.isdigit()) and letters > 0.72 * len(text)


def prose_of(chunk: str) -> list[Prose]:
    """The sentences of the chunk, headings left out."""
    quotes = [chunk[start:end] for start, end in sentence_spans(chunk)]
    return [Prose(*_without_field(quote)) for quote in quotes if not quote.startswith("#")]


def _without_field(quote: str) -> tuple[str, str]:
    """A sentence behind "meta_data.description: " without that name."""
    field = _FIELD.match(quote)
    if field and field.end() < len(quote.rstrip()):
        quote = quote[field.end() :].strip()
    return quote, _on_one_line(quote)


def _on_one_line(quote: str) -> str:
    """Line breaks, markup and reference marks become blanks, one for one."""
    text = re.sub(r"\s", " ", quote)
    for pattern in (_REFERENCE_MARK, _EMPHASIS):
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return text
