"""What somebody meant who mistyped a name."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAMED = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names what is like a name, with a space before it; empty where nothing is."""
    folded = {_fold(one): one for one in known}
    close = [folded[one] for one in get_close_matches(_fold(name), folded, n=MAX_NAMED)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
