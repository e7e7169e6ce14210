"""Search for a text that a person or another tool copied, however it was spaced, hyphenated or quoted.

`LooseText` finds what differs by more, for those who then take the words of the text itself.
"""

import bisect
import itertools
import re
import unicodedata
from array import array
from collections.abc import Iterator

from raft_assets.core.languages import is_unspaced

Span = tuple[int, int]


# white space, hyphens and the marks of Markdown: what reading a file may add, remove or break a line at
_IGNORED = r"\s\-\u00ad\u2010\u2011#*_`|>\u2022"
_KEPT = re.compile(f"[^{_IGNORED}]+")
_QUOTES = str.maketrans("‘’‚“”„«»–—", '\'\'\'"""""--')
# numbers of notes, as readers of PDFs and web pages leave them: [12], [3, 4–6], [a], superscripts, and digits that
# follow a word or its punctuation without a space
_CITATIONS = re.compile(
    r"\[\s*(?:note\s*)?(?:\d{1,3}|[a-z])(?:\s*[,;–-]\s*(?:\d{1,3}|[a-z]))*\s*\]"
    r"|[⁰¹²³⁴-⁹]+"
    r"|(?:(?<=[^\W\d_][.,;:)”\"’])|(?<=[^\W\d_]{3}))\d{1,3}(?:[,–-]\d{1,3})*(?=[\s.,;:)”\"’]|$)"
)
MIN_LOOSE_LETTERS = 6  # of what is sought: less is in many places by chance


class SearchableText:
    """A text in which strings are found whatever its white space, hyphens, quotation marks and Markdown."""

    def __init__(self, text: str) -> None:
        self._text = text
        runs = list(_KEPT.finditer(text.translate(_QUOTES).replace("-", " ")))
        lengths = [len(run[0]) for run in runs]
        self._originals = [run.start() for run in runs]
        self._squeezed_starts = list(itertools.accumulate(lengths, initial=0))[:-1]
        self._squeezed = "".join(run[0] for run in runs)

    def find(self, wanted: str) -> Iterator[Span]:
        """Yield every occurrence that begins and ends at the edge of a word, as a span of the text."""
        needle = "".join(_KEPT.findall(unicodedata.normalize("NFC", wanted).translate(_QUOTES).replace("-", " ")))
        at = self._squeezed.find(needle) if needle else -1
        while at >= 0:
            start, end = self._original_offset(at), self._original_offset(at + len(needle) - 1) + 1
            if not self._inside_word(start) and not self._inside_word(end):
                yield start, end
            at = self._squeezed.find(needle, at + 1)

    def _original_offset(self, squeezed: int) -> int:
        run = bisect.bisect_right(self._squeezed_starts, squeezed) - 1
        return self._originals[run] + squeezed - self._squeezed_starts[run]

    def _inside_word(self, at: int) -> bool:
        if not 0 < at < len(self._text):
            return False
        before, after = self._text[at - 1], self._text[at]
        # in scripts without spaces, and between them and others, every letter is an edge
        return before.isalnum() and after.isalnum() and not is_unspaced(before) and not is_unspaced(after)


class LooseText:
    """A text in which strings are found by their letters and digits alone.

    White space, case, ligatures, accents, punctuation and the numbers of notes don't count.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._folded, self._origins = _fold_letters(text)

    def find(self, wanted: str) -> Span | None:
        """Return the first occurrence that begins and ends at the edge of a word, as a span of the text."""
        needle, _ = _fold_letters(wanted)
        at = self._folded.find(needle) if len(needle) >= MIN_LOOSE_LETTERS else -1
        while at >= 0:
            start, end = self._origins[at], self._origins[at + len(needle) - 1] + 1
            if self._is_edge(start) and self._is_edge(end):
                return start, self._with_mark(end)
            at = self._folded.find(needle, at + 1)
        return None

    def _is_edge(self, at: int) -> bool:
        if not 0 < at < len(self._text):
            return True
        before, after = self._text[at - 1], self._text[at]
        is_note = before.isalpha() and after.isdigit()
        return not (before.isalnum() and after.isalnum()) or is_note or is_unspaced(before) or is_unspaced(after)

    def _with_mark(self, end: int) -> int:
        """Return the end with the number of a note that is part of the word, and the mark that ends the sentence."""
        while self._text[end - 1].isalnum() and self._text[end : end + 1].isdigit():
            end += 1
        return end + (self._text[end : end + 1] in {".", "!", "?", "。"})


def _fold_letters(text: str) -> tuple[str, "array[int]"]:
    """Return the letters and digits of a text, folded, and where each of them is in the text."""
    left_out = {place for note in _CITATIONS.finditer(text) for place in range(*note.span())}
    folded, origins = list[str](), array("I")
    for place, character in enumerate(text):
        if place not in left_out:
            kept = [one for one in unicodedata.normalize("NFKD", character).casefold() if one.isalnum()]
            folded += kept
            origins.extend([place] * len(kept))
    return "".join(folded), origins
