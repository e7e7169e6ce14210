"""Similarity of texts by their words: shingles, Jaccard, and near-duplicates among many texts in near-linear time.

What belongs here: lexical similarity. What follows from it (a rejected question, a shared split) is decided where it
matters.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from raft_assets.core.identity import digest, normalize
from raft_assets.core.languages import script_words
from raft_assets.core.progress import track

Shingles = npt.NDArray[np.uint64]

CHUNK_SHINGLE_WORDS = 3
HASHES = 128  # of a MinHash signature; the estimate of a similarity has a standard deviation of at most 0.045
ESTIMATE_SLACK = 0.25  # candidates whose estimate is lower than the threshold by more are not compared: 5 deviations
BATCH_TEXTS = 1 << 10  # texts whose signatures are made at once
MAX_CACHED_WORDS = 1 << 18  # hashes kept in memory, about 50 MB
CACHED_TEXTS = 1 << 12  # texts whose shingles are kept while candidates are compared
MISS_PROBABILITY = 1e-6  # that no band of two texts exactly at the threshold agrees

_WORD = re.compile(r"[^\W_]+")
# a character beyond Latin, Greek and Cyrillic and the punctuation between them: only such text needs `script_words`,
# which takes several times as long
_OF_OTHER_SCRIPTS = re.compile(r"[\u0300-\u036f\u0483-\u0489\u0530-\u1dff\u20d0-\u20ff\u2c00-\U0010ffff]")
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> list[str]:
    """Return the words of a text as similarity sees them: runs of letters and digits, case folded.

    In scripts that put no spaces between words every letter is one.
    """
    folded = _fold_case(text)
    return script_words(folded) if _OF_OTHER_SCRIPTS.search(folded) else _WORD.findall(folded)


def letters(text: str) -> str:
    """Return the letters and digits of a text and nothing else, case and width folded."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _fold_case(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


_STOP_WORDS = frozenset(
    words(
        """a about after all also an and any are as at be because been being both but by can could did do does during
        each for from had has have he her his how i if in into is it its may might more most must no not of on or other
        our out over own she should so some such than that the their them then there these they this those through to
        under up was we were what when where which while who why will with would yes you your"""
    )
)


def content_words(text: str) -> list[str]:
    """Return the words of a text that say what it is about; none of "Yes" and "It was"."""
    return [word for word in words(text) if word not in _STOP_WORDS]


# frequent in English, and hardly used by other languages in Latin script ("in", "was", "of" and "do" are)
_ENGLISH_WORDS = frozenset(
    words(
        """the and to are were that with which what how who when where why does did from it be these this can than their
        its not"""
    )
)
MIN_ENGLISH_SHARE = 0.05  # of such words; English prose has 9 to 25 %, API descriptions 6 %, other languages under 1 %


def is_english(text: str) -> bool:
    """Return whether the text is English, as far as its frequent words show."""
    all_words = words(text)
    return sum(word in _ENGLISH_WORDS for word in all_words) >= MIN_ENGLISH_SHARE * len(all_words) > 0


def contains_phrase(text: str, phrase: str) -> bool:
    """Return whether the phrase is in the text word for word.

    Never for a phrase of stop words, which are in every text.
    """
    telling, spaced = _phrase(phrase)
    if not telling:
        return False
    folded = _fold_case(text)  # a text that lacks a word needn't be split into words
    return all(word in folded for word in telling) and spaced in f" {' '.join(words(text))} "


@lru_cache(maxsize=1024)
def _phrase(phrase: str) -> tuple[list[str], str]:
    return content_words(phrase), f" {' '.join(words(phrase))} "


def shingles(text: str, length: int = CHUNK_SHINGLE_WORDS) -> Shingles:
    """Return the hashes of every run of `length` words, sorted, each once; of a shorter text as a whole.

    Shape (n,), n >= 1.
    """
    return np.unique(run_hashes(_words_or_text(text), length))


def run_hashes(tokens: Sequence[str], length: int) -> npt.NDArray[np.uint64]:
    """Return a hash of every run of `length` words, in order; one of a shorter text as a whole.

    Shape (n,), n >= 1.
    """
    return _ngram_hashes(np.array(_padded_hashes(tokens, length), np.uint64), length)


def jaccard(one: Shingles, other: Shingles) -> float:
    """Return shared shingles divided by all shingles."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def near_duplicate_pairs(
    names: Iterable[str],
    text_of: Callable[[str], str],
    threshold: float,
    seed: int,
    *,
    length: int = CHUNK_SHINGLE_WORDS,
    groupings: Sequence[Callable[[str], str | None]] = (),
) -> Iterator[tuple[str, str]]:
    """Yield pairs of ids whose texts have a Jaccard similarity of at least `threshold`, each once and smaller id first.

    MinHash signatures in bands (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4) propose the
    pairs and the true similarity decides. A pair at the threshold is missed with a probability of `MISS_PROBABILITY`, a
    more similar one more rarely. Of texts with equal shingles only neighbours by id are yielded, and only the first is
    compared with other texts: through it every similarity of the others is covered. Memory holds a signature of 256
    bytes of each text; the texts are read again where they are compared.

    `groupings`: functions that name the group of an id, or None if it is in none. With them only the pairs that share a
    group are asked for, and others may be left out: where texts have much in common, as questions have, that is what
    keeps the time near-linear.
    """
    ids = sorted(names)
    shingles_of = lru_cache(CACHED_TEXTS)(lambda position: shingles(text_of(ids[position]), length))
    signatures = np.empty((len(ids), HASHES), np.uint16)
    functions = _hash_functions(seed)
    for start in track("batches of texts read for near-duplicates", range(0, len(ids), BATCH_TEXTS)):
        texts = map(text_of, ids[start : start + BATCH_TEXTS])
        signatures[start : start + BATCH_TEXTS] = _signatures(texts, functions, length)
    first = np.ones(len(ids), bool)
    for alike in _groups_of_equal_values(_hash_rows(signatures)):
        copies: dict[bytes, list[int]] = defaultdict(list)
        for position in alike.tolist():
            copies[hashlib.blake2b(shingles_of(position).tobytes(), digest_size=16).digest()].append(position)
        for equal in copies.values():
            first[equal[1:]] = False
            yield from ((ids[one], ids[other]) for one, other in pairwise(equal))
    distinct = np.flatnonzero(first)
    numbered = [_number_groups(ids, group_of) for group_of in groupings]
    for one, other in _candidates(signatures, distinct, threshold, numbered):
        if jaccard(shingles_of(one), shingles_of(other)) >= threshold:
            yield ids[one], ids[other]


def connected_components(pairs: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return the connected components of the pairs."""
    group_of: dict[str, set[str]] = {}
    for one, other in pairs:
        larger, smaller = sorted(
            (group_of.setdefault(one, {one}), group_of.setdefault(other, {other})), key=len, reverse=True
        )
        if larger is not smaller:
            larger |= smaller
            group_of.update(dict.fromkeys(smaller, larger))
    return list({id(group): group for group in group_of.values()}.values())


class _WordHashes(dict[str, int]):
    """Hash of a word, computed on first use; the words of a corpus are few and frequent."""

    def __missing__(self, word: str) -> int:
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        return self.setdefault(word, value)


_HASH_OF = _WordHashes()


def _words_or_text(text: str) -> list[str]:
    """Return the words of a text; the whole text if it has none."""
    return words(text) or [normalize(text)]


def _padded_hashes(tokens: Sequence[str], length: int) -> list[int]:
    """Return a hash per word, padded to `length`."""
    return list(map(_HASH_OF.__getitem__, tokens)) + [0] * (length - len(tokens))


def _ngram_hashes(hashes: npt.NDArray[np.uint64], length: int) -> Shingles:
    """Return a hash of every run of `length` hashes, in order."""
    runs = np.zeros(len(hashes) - length + 1, np.uint64)
    for offset in range(length):
        runs = (runs ^ hashes[offset : offset + len(runs)]) * _MIXER
        runs ^= runs >> np.uint64(29)  # else the order of words would not count in the lowest bits
    return runs


def _hash_functions(seed: int) -> npt.NDArray[np.uint32]:
    """Return factors and offsets of `HASHES` functions x -> factor * x + offset modulo 2**32.

    Shape (HASHES, 2).
    """
    draws = b"".join(bytes.fromhex(digest("minhash", seed, number)) for number in range(HASHES // 4))
    functions = np.frombuffer(draws, ">u4").astype(np.uint32).reshape(HASHES, 2)
    return functions | np.array([1, 0], np.uint32)  # odd factors keep every bit


def _signatures(texts: Iterable[str], functions: npt.NDArray[np.uint32], length: int) -> npt.NDArray[np.uint16]:
    """Return the lower half of the smallest value of each hash function over the shingles.

    Shape (texts, HASHES).
    """
    hashes = [_padded_hashes(_words_or_text(text), length) for text in texts]
    runs = _ngram_hashes(np.fromiter(chain.from_iterable(hashes), np.uint64), length)
    ends = np.cumsum([len(of_text) for of_text in hashes])
    is_within = np.ones(len(runs), bool)
    for before in range(1, length):  # runs that reach into the next text
        is_within[ends[:-1] - before] = False
    folded = (runs[is_within] >> np.uint64(32)).astype(np.uint32)
    starts = np.concatenate([[0], (ends - np.arange(1, len(ends) + 1) * (length - 1))[:-1]])
    smallest = [np.minimum.reduceat(folded * factor + offset, starts) for factor, offset in functions]
    return np.array(smallest, np.uint32).T.astype(np.uint16)


def _hash_rows(rows: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint64]:
    """Return a hash of every row."""
    mixed = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        mixed = (mixed ^ column) * _MIXER
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _groups_of_equal_values(values: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the positions of values that occur more than once, by value, ascending."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=~values[order[-1:]])) + 1
    starts = np.concatenate([[0], ends[:-1]])
    for group in np.flatnonzero(ends - starts > 1):
        yield order[starts[group] : ends[group]]


def _candidates(
    signatures: npt.NDArray[np.uint16],
    distinct: npt.NDArray[np.intp],
    threshold: float,
    groupings: Sequence[npt.NDArray[np.int64]],
) -> Iterator[tuple[int, int]]:
    """Yield pairs of distinct texts whose signatures agree in a whole band and nearly as often as the threshold asks.

    Each pair once. Shapes: `signatures` (texts, HASHES), each of `groupings` (texts,).
    """
    rows = _rows_per_band(threshold)
    seen: set[tuple[int, int]] = set()
    for start in track("bands of near-duplicates compared", range(0, HASHES - rows + 1, rows), HASHES // rows):
        bands = _hash_rows(signatures[distinct, start : start + rows])
        for within, values in _split_by_group(bands, [numbers[distinct] for numbers in groupings]):
            for members in _groups_of_equal_values(values):
                new = set(_similar_by_estimate(signatures, distinct[within[members]], threshold)) - seen
                seen |= new
                yield from sorted(new)


def _number_groups(ids: Sequence[str], group_of: Callable[[str], str | None]) -> npt.NDArray[np.int64]:
    """Return the number of each id's group, -1 where it is in none."""
    numbers: dict[str | None, int] = {None: -1}
    return np.fromiter((numbers.setdefault(group_of(name), len(numbers)) for name in ids), np.int64, len(ids))


def _split_by_group(
    values: npt.NDArray[np.uint64], groupings: Sequence[npt.NDArray[np.int64]]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64]]]:
    """Yield positions and values, made different in different groups: by each grouping, or all as they are."""
    if not groupings:
        yield np.arange(len(values)), values
    for numbers in groupings:
        within = np.flatnonzero(numbers >= 0)
        mixed = (values[within] ^ numbers[within].astype(np.uint64)) * _MIXER
        yield within, mixed ^ (mixed >> np.uint64(29))


def _similar_by_estimate(
    signatures: npt.NDArray[np.uint16], members: npt.NDArray[np.intp], threshold: float
) -> Iterator[tuple[int, int]]:
    for position, one in enumerate(members[:-1], start=1):
        others = members[position:]
        estimates = (signatures[others] == signatures[one]).mean(axis=1)
        yield from ((int(one), int(other)) for other in others[estimates >= threshold - ESTIMATE_SLACK])


def _rows_per_band(threshold: float) -> int:
    """Return the length of the longest bands that miss pairs rarely enough.

    The longer the bands, the fewer pairs are proposed in vain.
    """
    return max(rows for rows in range(1, HASHES + 1) if (1 - threshold**rows) ** (HASHES // rows) <= MISS_PROBABILITY)
