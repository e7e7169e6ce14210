"""Search for a text that a person or another tool copied, however it was spaced, hyphenated or quoted."""

import bisect
import itertools
import re
import unicodedata
from collections.abc import Iterator

from raft_assets.core.languages import is_unspaced

Span = tuple[int, int]


# white space, hyphens and the marks of Markdown: what reading a file may add, remove or break a line at
_IGNORED = r"\s\-\u00ad\u2010\u2011#*_`|>\u2022"
_KEPT = re.compile(f"[^{_IGNORED}]+")
_QUOTES = str.maketrans("‘’‚“”„«»–—", '\'\'\'"""""--')


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
