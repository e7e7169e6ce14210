"""Find the text that chunks share: edited copies, long sentences, and boilerplate that every document repeats.

Two chunks are linked where half of the smaller one is in the other, or some lines or a long sentence are, nearly word
for word. Compared are runs of words, so an edit costs the runs around it. Text in more than three documents is
boilerplate: it links nothing, and what is compared are the other runs.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from raft_assets.core.languages import script_words
from raft_assets.core.progress import track
from raft_assets.core.sentences import split_sentences
from raft_assets.core.similarity import run_hashes
from raft_assets.core.tables import Chunk

RUN_WORDS = 3
MIN_CONTAINMENT = 0.5  # of the runs of the smaller chunk
MIN_SENTENCE_CONTAINMENT = 0.6  # of a sentence's runs: one word in eight may be another
MIN_SENTENCE_WORDS = 14  # a shorter sentence may be said twice by chance
MANY_RUNS = 16  # whatever share of the chunks they are: unrelated prose shares up to 6
MIN_RUNS = 8  # that are shared; a chunk that is boilerplate but for a few words is compared with nothing
MAX_DOCUMENTS = 3  # of one text; more repeat it as boilerplate
MAX_CHUNKS = 16  # of one run of words: in more chunks of whatever documents it is boilerplate as well
BLOCK_ENTRIES = 1 << 21  # runs whose pairs are counted at once
MAX_SHOWN_WORDS = 40


@dataclass(frozen=True)
class SharedText:
    """What chunks share.

    `links`: pairs of chunk ids, the smaller first, and the share of the smaller chunk's runs that the other one holds;
    between chunks of one document as well. `boilerplate`: chunk id to the share of its runs that is
    boilerplate; chunks without any are left out.
    """

    links: Mapping[tuple[str, str], float]
    boilerplate: Mapping[str, float]


NOTHING_SHARED = SharedText({}, {})


def find_shared_text(names: Iterable[str], chunks: Mapping[str, Chunk]) -> SharedText:
    """Return what the named chunks share, in time and memory that grow with their words (some 20 bytes a word)."""
    runs = _Runs(sorted(names), chunks)
    links = {
        (min(pair), max(pair)): share
        for one, other, share in runs.links()
        for pair in [(runs.names[one], runs.names[other])]
    }
    return SharedText(dict(sorted(links.items())), runs.boilerplate())


def shared_words(one: str, other: str) -> str:
    """Return the longest run of words that two texts share, for people; shortened."""
    mine, theirs = (one.split(), other.split())
    match = SequenceMatcher(
        None, [word.casefold() for word in mine], [word.casefold() for word in theirs], autojunk=False
    ).find_longest_match()
    shown = mine[match.a : match.a + match.size]
    return " ".join(shown[:MAX_SHOWN_WORDS]) + ("..." if len(shown) > MAX_SHOWN_WORDS else "")


def _words(text: str) -> list[str]:
    return script_words(unicodedata.normalize("NFKC", text).casefold())


class _Runs:
    """Every run of words of the chunks, once per chunk, sorted by its hash and then by chunk.

    Chunks are numbered by document, so that the chunks of a run that belong to one document are neighbours.
    """

    def __init__(self, names: Iterable[str], chunks: Mapping[str, Chunk]) -> None:
        document_of = {name: chunks[name].doc_id for name in names}
        self.names = sorted(document_of, key=lambda name: (document_of[name], name))
        documents = {document: number for number, document in enumerate(sorted(set(document_of.values())))}
        self._documents = np.array([documents[document_of[name]] for name in self.names], np.int32)
        hashes, owners, sentences = [], [], []
        self._sentence_chunks: list[int] = []  # of the long sentences
        for number, name in enumerate(track("chunks read for shared text", self.names, len(self.names))):
            found, places = self._read(chunks[name], number)
            hashes.append(found)
            owners.append(np.full(len(found), number, np.int32))
            sentences.append(places)
        self._hashes = np.concatenate([np.empty(0, np.uint64), *hashes])
        owner = np.concatenate([np.empty(0, np.int32), *owners])
        order = np.lexsort((owner, self._hashes))
        self._hashes, self._owners = self._hashes[order], owner[order]
        self._sentences = np.concatenate([np.empty(0, np.int32), *sentences])[order]
        self._mark_boilerplate()

    def _read(self, chunk: Chunk, number: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        """Return the runs of a chunk, each once, and the long sentence that each begins in, or -1."""
        tokens: list[str] = []
        places: list[int] = []
        for sentence in split_sentences(chunk.text, chunk.language) or [chunk.text]:
            of_sentence = _words(sentence)
            tokens += of_sentence
            if len(of_sentence) >= MIN_SENTENCE_WORDS:
                places += [len(self._sentence_chunks)] * (len(of_sentence) - RUN_WORDS + 1) + [-1] * (RUN_WORDS - 1)
                self._sentence_chunks.append(number)
            else:
                places += [-1] * len(of_sentence)
        found, first = np.unique(run_hashes(tokens, RUN_WORDS), return_index=True)
        return found, np.array(places or [-1], np.int32)[first]

    def _mark_boilerplate(self) -> None:
        """Set what is compared: runs that are in several chunks and not in too many."""
        starts = np.flatnonzero(np.diff(self._hashes, prepend=~self._hashes[:1]))
        counts = np.diff(starts, append=len(self._hashes))
        documents = self._documents[self._owners]
        is_new = np.ones(len(documents), np.int32)
        is_new[1:] = documents[1:] != documents[:-1]
        is_new[starts] = 1
        of_run = np.add.reduceat(is_new, starts) if len(starts) else is_new
        is_widespread = np.repeat((of_run > MAX_DOCUMENTS) | (counts > MAX_CHUNKS), counts)
        self._total = np.bincount(self._owners, minlength=len(self.names))
        self._free = np.bincount(self._owners[~is_widespread], minlength=len(self.names))
        within = self._sentences[~is_widespread]
        self._free_of_sentence = np.bincount(within[within >= 0], minlength=len(self._sentence_chunks))
        kept = ~is_widespread & (np.repeat(counts, counts) > 1)
        self._hashes, self._owners, self._sentences = self._hashes[kept], self._owners[kept], self._sentences[kept]

    def boilerplate(self) -> dict[str, float]:
        """Return the share of each chunk's runs that is boilerplate, where it is any."""
        found = np.flatnonzero(self._free < self._total).tolist()
        return {self.names[one]: float(1 - self._free[one] / self._total[one]) for one in found}

    def links(self) -> Iterator[tuple[int, int, float]]:
        """Yield chunks that share enough, and how much."""
        by_owner = np.argsort(self._owners, kind="stable")
        ends = np.cumsum(np.bincount(self._owners, minlength=len(self.names)))
        begin = 0
        while begin < len(by_owner):  # a block ends with a chunk: what a chunk shares is counted in one block
            end = int(ends[np.searchsorted(ends, begin + BLOCK_ENTRIES)]) if begin + BLOCK_ENTRIES < ends[-1] else None
            yield from self._links_of(np.sort(by_owner[begin:end]))
            begin = len(by_owner) if end is None else end

    def _links_of(self, entries: npt.NDArray[np.intp]) -> Iterator[tuple[int, int, float]]:
        """Yield the links of the chunks of these entries to chunks with higher numbers."""
        ones, others = self._neighbours(entries)
        pairs, shared = np.unique(self._pair(self._owners[ones], self._owners[others]), return_counts=True)
        one, other = pairs // len(self.names), pairs % len(self.names)
        share = shared / np.maximum(np.minimum(self._free[one], self._free[other]), 1)
        enough = ((share >= MIN_CONTAINMENT) & (shared >= MIN_RUNS)) | (shared >= MANY_RUNS)
        for mine, theirs in ((ones, others), (others, ones)):
            enough |= np.isin(pairs, self._pairs_by_sentence(mine, theirs))
        yield from zip(one[enough].tolist(), other[enough].tolist(), share[enough].tolist(), strict=True)

    def _pairs_by_sentence(self, mine: npt.NDArray[np.intp], theirs: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Return the pairs of chunks of which one holds a long sentence of the other."""
        is_long = self._sentences[mine] >= 0
        found, shared = np.unique(
            self._pair(self._sentences[mine[is_long]], self._owners[theirs[is_long]]), return_counts=True
        )
        sentence, chunk = found // len(self.names), found % len(self.names)
        share = shared / np.maximum(self._free_of_sentence[sentence], 1)
        enough = (share >= MIN_SENTENCE_CONTAINMENT) & (shared >= MIN_RUNS)
        owner = np.array(self._sentence_chunks, np.int32)[sentence[enough]]
        other = chunk[enough]
        return self._pair(np.minimum(owner, other), np.maximum(owner, other))

    def _pair(self, one: npt.NDArray[np.signedinteger], other: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.int64]:
        return one.astype(np.int64) * len(self.names) + other

    def _neighbours(self, entries: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the entries, each with every later entry of the same run."""
        ones, others = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
        for step in range(1, MAX_CHUNKS):
            entries = entries[entries + step < len(self._hashes)]
            entries = entries[self._hashes[entries] == self._hashes[entries + step]]
            if not len(entries):
                break
            ones.append(entries)
            others.append(entries + step)
        return np.concatenate(ones), np.concatenate(others)
