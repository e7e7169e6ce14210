"""Stable identity: content hashes, and draws that depend on nothing but what they are about.

Everything random in the product is `draw`; everything that identifies a row is `digest`. There is no sequence, clock or
counter.
"""

import hashlib
import unicodedata
from functools import lru_cache
from pathlib import PurePath

ID_LENGTH = 20  # hex digits, 80 bits: a collision among 10 million ids has probability 4e-11


def digest(*parts: str | bytes | float | None) -> str:
    """Return the SHA-256 (64 hex digits) of the parts with their lengths: ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def short_digest(*parts: str | bytes | float | None) -> str:
    """Return the first `ID_LENGTH` hex digits of `digest`: an id for a row."""
    return digest(*parts)[:ID_LENGTH]


def doc_id(path: PurePath | str) -> str:
    """Return the id of a document that is first seen at `path`, relative to its domain, in any Unicode form of it."""
    return short_digest("doc", unicodedata.normalize("NFC", PurePath(path).as_posix()))


@lru_cache(maxsize=64)  # a chunk is normalized for its id, its count and its quotes
def normalize(text: str) -> str:
    """Return the text as identity sees it: NFC, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def chunk_id(document: str, text: str, occurrence: int) -> str:
    """Return the id of the `occurrence`-th (from 0) chunk of a document with this text.

    Position and offsets don't count.
    """
    return short_digest("chunk", document, normalize(text), occurrence)


def question_id(chunk: str, question: str) -> str:
    """Return the id of a question about a chunk."""
    return short_digest("question", chunk, normalize(question))


def draw(seed: int, *ids: str) -> float:
    """Return a number in [0, 1) that depends on its arguments only (rendezvous hashing).

    Adding other ids never moves it.
    """
    return int(digest("draw", seed, *ids)[:13], 16) / 16**13
