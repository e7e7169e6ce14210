"""Names of things that must not change: hashes of content and draws that depend on nothing but what they are about.

Everything random in the product is `draw`; everything that identifies a row is `digest`. No sequence, no clock, no
counter.
"""

import hashlib
import unicodedata
from functools import lru_cache
from pathlib import PurePath

ID_LENGTH = 20  # hex digits, 80 bits: a collision among 10 million ids has probability 4e-11


def digest(*parts: str | bytes | int | float | None) -> str:
    """SHA-256 (64 hex digits) of the parts with their lengths, so that ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def short_digest(*parts: str | bytes | int | float | None) -> str:
    """The first `ID_LENGTH` hex digits of `digest`: an id for a row."""
    return digest(*parts)[:ID_LENGTH]


def doc_id(path: PurePath | str) -> str:
    """Id of the document at `path`, relative to its domain, whatever unicode form the file system spells it in."""
    return short_digest("doc", unicodedata.normalize("NFC", PurePath(path).as_posix()))


@lru_cache(maxsize=64)  # of a chunk it is asked for its id, its count and its quotes
def normalize(text: str) -> str:
    """Text as identity sees it: NFC, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def chunk_id(document: str, text: str, occurrence: int) -> str:
    """Id of the `occurrence`-th (from 0) chunk of a document with this text; position and offsets don't count."""
    return short_digest("chunk", document, normalize(text), occurrence)


def question_id(chunk: str, question: str) -> str:
    """Id of a question asked of a chunk."""
    return short_digest("question", chunk, normalize(question))


def draw(seed: int, *ids: str) -> float:
    """A number in [0, 1) that depends on its arguments only (rendezvous hashing): adding other ids never moves it."""
    return int(digest("draw", seed, *ids)[:13], 16) / 16**13
