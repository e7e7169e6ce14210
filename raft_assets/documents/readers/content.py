"""What every reader returns, and the error that says why a file can't be read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

FileKind = Literal[
    "pdf",
    "docx",
    "md",
    "txt",
    "html",
    "json",
    "jsonl",
    "api",
    "pptx",
    "xlsx",
    "csv",
    "tsv",
    "epub",
    "ipynb",
    "rtf",
    "image",
]
QuarantineReason = Literal[
    "empty",
    "corrupt",
    "encrypted",
    "no_text",
    "binary",
    "encoding",
    "broken_json",
    "too_large",
    "unsupported",
    "unreadable",
    "same_name",
    "needs_extra",
    "too_costly",
    "unsafe_name",
]

_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
# what opens or closes a block of code; a line with another ` is text with code in it (CommonMark 0.31, section 4.5)
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}(?=[^`]*$)|~{3,})")


@dataclass(frozen=True)
class Section:
    """A page, section or entry, numbered from 1 as people would count it (a page without text has no section)."""

    number: int
    heading: str
    text: str


@dataclass(frozen=True)
class ParsedContent:
    """The content of a file, which depends on its bytes and kind only.

    The title is empty if the file has none but its name. `left_out` counts the words that the sections leave out, by
    reason. `scanned` counts the pages that are pictures without a text layer, by what became of them: ocr
    or unread.
    """

    kind: FileKind
    title: str
    sections: tuple[Section, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    scanned: Mapping[str, int] = field(default_factory=dict)


class UnreadableError(Exception):
    """The file can't be read; `detail` is one sentence that ends in what to do."""

    def __init__(self, reason: QuarantineReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: QuarantineReason = reason
        self.detail = detail


def find_headings(text: str) -> Iterator[tuple[int, str]]:
    """Yield offset and words of every line that is a heading (`## Words`), outside fenced code."""
    offset, fence = 0, ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence and (start := _HEADING.match(line)):
            yield offset, line[start.end() :].rstrip("# \t")
        offset += len(line) + 1


def split_sections(text: str) -> tuple[Section, ...]:
    """Return the sections of a text with headings. Adjacent headings begin one section, named by the last."""
    cuts: list[tuple[int, str]] = []
    previous_end = 0
    for offset, words in find_headings(text):
        between = text[previous_end:offset]
        if cuts and not between.strip():
            cuts[-1] = (cuts[-1][0], words)
        else:
            cuts.append((offset, words))
        line_end = text.find("\n", offset)
        previous_end = len(text) if line_end < 0 else line_end
    if not cuts or text[: cuts[0][0]].strip():
        cuts.insert(0, (0, ""))
    ends = [offset for offset, _ in cuts[1:]] + [len(text)]
    pieces = ((words, text[start:end].strip()) for (start, words), end in zip(cuts, ends, strict=True))
    return tuple(Section(number, words, piece) for number, (words, piece) in enumerate(pieces, start=1) if piece)
