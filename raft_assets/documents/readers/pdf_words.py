"""Whether a document divides words at line ends, or has there only the hyphens that its words have."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from raft_assets.core.vocabularies import encode
from raft_assets.documents.readers.pdf_lines import Line

VOCABULARY = "o200k_base"
_HEAD = re.compile(r"([^\W\d_]+)[-\u2010\u00ad\x02]$")
_TAIL = re.compile(r"[^\W\d_]+")


def divides_words(pages: Sequence[Sequence[Line]], words: Counter[str]) -> bool:
    """Return whether a line end of the document divides a word: what is before or after the hyphen is none.

    Browsers and many word processors divide no words, so that every hyphen at a line end belongs to its word. `words`
    counts those of the document, parts at line ends included.
    """
    for lines in pages:
        for upper, lower in pairwise(lines):
            head, tail = _HEAD.search(upper.text), _TAIL.match(lower.text)
            if not head or not tail or not tail[0].islower():
                continue
            parts = head[1].casefold(), tail[0].casefold()
            if words["".join(parts)] or not all(words[part] > 1 or _is_word(part) for part in parts):
                return True
    return False


def _is_word(text: str) -> bool:
    """Return whether the text is so common a word that a vocabulary of byte pairs has it as one token."""
    return len(encode(f" {text}", VOCABULARY)) == 1
