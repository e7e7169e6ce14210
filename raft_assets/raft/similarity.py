"""How alike two texts are by their words: shingles, Jaccard, and near-duplicates among many texts in about linear time.

What belongs here: lexical likeness. What follows from it (a rejected question, a shared split) is decided where it
matters.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from raft_assets.raft.identity import digest, normalized

Shingles = npt.NDArray[np.uint64]

CHUNK_SHINGLE_WORDS = 3
HASHES = 128  # of a MinHash signature; the estimate of a similarity has a standard deviation of at most 0.045
ESTIMATE_SLACK = 0.25  # candidates whose estimate is lower than the threshold by more are not compared: 5 deviations
CACHED_TEXTS = 1 << 16  # texts whose shingles are kept while candidates are compared
MISS_PROBABILITY = 1e-6  # that no band of two texts exactly at the threshold agrees

_WORD = re.compile(r"[^\W_]+")
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> list[str]:
    """The words of a text as likeness sees them: runs of letters and digits, case folded."""
    return _WORD.findall(normalized(text).casefold())


_STOP_WORDS = frozenset(
    words(
        """a about after all also an and any are as at be because been being both but by can could did do does during
        each for from had has have he her his how i if in into is it its may might more most must no not of on or other
        our out over own she should so some such than that the their them then there these they this those through to
        under up was we were what when where which while who why will with would yes you your"""
    )
)


def content_words(text: str) -> list[str]:
    """The words of a text that say what it is about; none of "Yes" and "It was"."""
    return [word for word in words(text) if word not in _STOP_WORDS]


def holds_phrase(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text word for word; never for one of stop words, which stand everywhere."""
    return bool(content_words(phrase)) and f" {' '.join(words(phrase))} " in f" {' '.join(words(text))} "


def shingles(text: str, length: int = CHUNK_SHINGLE_WORDS) -> Shingles:
    """Hashes of every run of `length` words, sorted, each once; of a shorter text as a whole. Shape (n,), n >= 1."""
    hashes = np.array([_hash(word) for word in words(text) or [normalized(text)]], np.uint64)
    length = min(length, len(hashes))
    runs = np.zeros(len(hashes) - length + 1, np.uint64)
    for offset in range(length):
        runs = (runs ^ hashes[offset : offset + len(runs)]) * _MIXER
        runs ^= runs >> np.uint64(29)  # else the order of words would not count in the lowest bits
    return np.unique(runs)


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared shingles by all shingles."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def near_duplicate_pairs(
    texts: Mapping[str, str], threshold: float, seed: int, *, length: int = CHUNK_SHINGLE_WORDS
) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose texts have a Jaccard similarity of at least `threshold`, each once and smaller id first.

    MinHash signatures in bands (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4) propose the
    pairs and the true similarity decides. A pair at the threshold is missed with a probability of `MISS_PROBABILITY`, a
    more alike one more rarely. Of texts with equal shingles only neighbours by id are told: with them goes every
    likeness that any one of them has.
    """
    factors, offsets = _hash_functions(seed)
    names_of: dict[bytes, list[str]] = {}
    signatures: list[npt.NDArray[np.uint32]] = []
    for name in sorted(texts):
        members = shingles(texts[name], length)
        names = names_of.setdefault(hashlib.blake2b(members.tobytes(), digest_size=16).digest(), [])
        if not names:
            smallest = (members[:, None] * factors + offsets).min(axis=0)
            signatures.append((smallest >> np.uint64(32)).astype(np.uint32))
        names.append(name)
    for names in names_of.values():
        yield from pairwise(names)
    distinct = [names[0] for names in names_of.values()]
    shingles_of = lru_cache(CACHED_TEXTS)(lambda index: shingles(texts[distinct[index]], length))
    for one, other in _candidates(np.array(signatures, np.uint32).reshape(-1, HASHES), threshold):
        if jaccard(shingles_of(one), shingles_of(other)) >= threshold:
            yield distinct[one], distinct[other]


def connected(pairs: Iterable[tuple[str, str]]) -> list[set[str]]:
    """The connected components of the pairs."""
    group_of: dict[str, set[str]] = {}
    for one, other in pairs:
        larger, smaller = sorted(
            (group_of.setdefault(one, {one}), group_of.setdefault(other, {other})), key=len, reverse=True
        )
        if larger is not smaller:
            larger |= smaller
            group_of.update(dict.fromkeys(smaller, larger))
    return list({id(group): group for group in group_of.values()}.values())


@lru_cache(maxsize=1_000_000)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _hash_functions(seed: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Factors and offsets of `HASHES` functions x -> factor * x + offset modulo 2**64."""
    draws = b"".join(bytes.fromhex(digest("minhash", seed, number)) for number in range(HASHES // 2))
    factors, offsets = np.frombuffer(draws, ">u8").astype(np.uint64).reshape(2, HASHES)
    return factors | np.uint64(1), offsets  # odd factors keep every bit


def _candidates(signatures: npt.NDArray[np.uint32], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs of signatures that agree in a whole band and about as often as the threshold asks; each once.

    Shape of `signatures`: (texts, HASHES).
    """
    rows = _rows_per_band(threshold)
    seen: set[tuple[int, int]] = set()
    for start in range(0, HASHES - rows + 1, rows):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for index, band in enumerate(signatures[:, start : start + rows]):
            buckets[band.tobytes()].append(index)
        for members in buckets.values():
            new = set(_promising(signatures, np.array(members), threshold)) - seen
            seen |= new
            yield from sorted(new)


def _promising(
    signatures: npt.NDArray[np.uint32], members: npt.NDArray[np.intp], threshold: float
) -> Iterator[tuple[int, int]]:
    for position, one in enumerate(members[:-1], start=1):
        others = members[position:]
        estimates = (signatures[others] == signatures[one]).mean(axis=1)
        yield from ((int(one), int(other)) for other in others[estimates >= threshold - ESTIMATE_SLACK])


def _rows_per_band(threshold: float) -> int:
    """The longest bands that miss pairs rarely enough: the longer, the fewer pairs are proposed in vain."""
    return max(rows for rows in range(1, HASHES + 1) if (1 - threshold**rows) ** (HASHES // rows) <= MISS_PROBABILITY)
