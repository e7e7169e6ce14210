"""Which document a person means by a path: other spellings of it are recognised, and a wrong one is refused.

What belongs here: names. Nothing is read but the places of folders.
"""

import difflib
import os
import posixpath
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from raft_assets.core.errors import DataError

MAX_SUGGESTED = 5
MIN_LIKENESS = 0.5  # of a name that is suggested, from 0 to 1


def recognise_document(given: str, folder: Path, known: Collection[str]) -> str:
    """Return the known document that a path names: relative to the domain's folder, absolute, or from here.

    White space counts, as in file names. Raises DataError with the nearest names if it names none.
    """
    for spelling in _spellings(given, folder):
        if spelling in known:
            return spelling
    nearest = _nearest(given, known)
    hint = f"Did you mean {' or '.join(map(repr, nearest))}?" if nearest else f"Known: {_some(known)}."
    raise DataError(
        f"{given!r} is no document that {folder.name!r} has or had, so nothing was deleted. {hint} Name it relative to "
        f"the domain's folder, spelled as it is there."
    )


def _spellings(given: str, folder: Path) -> Iterator[str]:
    """Yield what the path may be relative to the domain's folder, the most literal first."""
    composed = unicodedata.normalize("NFC", given)
    for path in dict.fromkeys((composed, composed.replace("\\", "/"))):
        yield path
        if path:
            yield posixpath.normpath(path)
            for base in (folder, folder.resolve()):
                relative = os.path.relpath(Path(path).absolute(), base)
                yield unicodedata.normalize("NFC", Path(relative).as_posix())


def _nearest(given: str, known: Collection[str]) -> list[str]:
    """Return the known names that are most like a path or its last part, whatever their case."""
    by_folded: dict[str, list[str]] = {}
    for name in sorted(known):
        for folded in dict.fromkeys((_fold(name), _fold(posixpath.basename(name)))):
            by_folded.setdefault(folded, []).append(name)
    asked = dict.fromkeys((_fold(given), _fold(posixpath.basename(given.replace("\\", "/")))))
    likes = [
        like
        for name in asked
        for like in difflib.get_close_matches(name, by_folded, n=MAX_SUGGESTED, cutoff=MIN_LIKENESS)
    ]
    likes.sort(key=lambda like: -max(difflib.SequenceMatcher(None, name, like).ratio() for name in asked))
    return list(dict.fromkeys(name for like in likes for name in by_folded[like]))[:MAX_SUGGESTED]


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _some(known: Collection[str]) -> str:
    shown = ", ".join(map(repr, sorted(known)[:MAX_SUGGESTED]))
    return shown + (f" and {len(known) - MAX_SUGGESTED} more" if len(known) > MAX_SUGGESTED else "") or "none"
