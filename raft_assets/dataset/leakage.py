"""The leakage check: whether finished rows share anything between evaluation and training.

It knows nothing of how the rows were assembled, and compares texts in a way of its own: by runs of characters, where
the splits were drawn by runs of words.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raft_assets.core.errors import DataError
from raft_assets.core.identity import short_digest
from raft_assets.core.progress import track
from raft_assets.core.similarity import letters, words
from raft_assets.core.tables import Chunk, GoldenQuestion, RaftRow, Split
from raft_assets.dataset.golden import golden_chunk_ids
from raft_assets.settings.domain import Protocol

_BIT: Mapping[Split, int] = {"train": 1, "valid": 2, "eval": 4}
_HELD_OUT: Sequence[Split] = ("eval", "valid")  # of training
_SINGLE_SPLITS = frozenset(_BIT.values())

RUN_CHARACTERS = 20  # letters and digits
DENSE_CHARACTERS = 4  # that a letter of Chinese, Japanese and Korean counts as: a word has one or two
MIN_COMMON_SHARE = 0.6  # of the shorter text's runs, without boilerplate
MIN_EQUAL_SHARE = 0.95  # of the longer text's runs, whatever they are
MIN_COMMON_RUNS = 60  # a shorter text in common says too little
MAX_DOCUMENTS, MAX_TEXTS = 3, 16  # more documents, or texts of whatever documents, repeat a run as boilerplate
SAMPLED = 4  # of so many runs one is looked at

_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")

Runs = npt.NDArray[np.uint64]
_NO_RUNS = np.empty(0, np.int32)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Leaks:
    """Chunks that the check calls alike and the splits didn't join.

    `shown`: chunks that no row shows that trains or validates; `trained`: chunks that no row is about that trains.
    """

    shown: AbstractSet[str] = frozenset()
    trained: AbstractSet[str] = frozenset()

    def have(self, row: RaftRow) -> bool:
        """Return whether a row is to be lost; none that evaluates is."""
        if row.split == "eval":
            return False
        if row.chunk_id in self.shown or not self.shown.isdisjoint(row.document_chunk_ids):
            return True
        return row.split == "train" and row.chunk_id in self.trained

    def and_also(self, other: "Leaks") -> "Leaks":
        """Return these and others."""
        return Leaks(self.shown | other.shown, self.trained | other.trained)


class LeakageError(DataError):
    """Evaluation shares something with training: kind of leakage to a sentence per finding.

    Rows that don't have its `leaks` share no text, unless the splits themselves are wrong.
    """

    def __init__(self, findings: Mapping[str, Sequence[str]], leaks: Leaks) -> None:
        self.findings = findings
        self.leaks = leaks
        kinds = ", ".join(kind for kind, sentences in findings.items() if sentences)
        super().__init__(
            f"Evaluation data leaks into training ({kinds}): nothing was written. Materialize qa_dataset again with "
            "--force; if that doesn't help, please report it."
        )


def check_leakage(
    rows: Iterable[RaftRow],
    golden: Sequence[GoldenQuestion],
    chunks: Mapping[str, Chunk],
    protocol: Protocol = "unseen_passages",
) -> Iterator[RaftRow]:
    """Yield the rows as they come.

    Raises LeakageError after the last one if evaluation shares anything with training: of golden questions the
    passages, or, where the protocol lets these train, the questions.
    """
    check = LeakageCheck(golden, protocol)
    for row in rows:
        check.add(row)
        yield row
    exposed = check.exposed(chunks)
    if any((findings := check.findings(exposed)).values()):
        raise LeakageError(findings, check.leaks(exposed))


class LeakageCheck:
    """Checks finished rows, one at a time, for what evaluation shares with training.

    Memory holds ids and a hash of every question.
    """

    def __init__(self, golden: Sequence[GoldenQuestion], protocol: Protocol = "unseen_passages") -> None:
        holds_out = protocol == "unseen_passages"
        self._evidence = golden_chunk_ids(golden) if holds_out else frozenset[str]()
        self._golden = {} if holds_out else {letters(one.question): one.question_id for one in golden}
        self._asked_in_training: list[str] = []  # a sentence each
        self._of_unit: dict[str, int] = {}  # splits as sums of `_BIT`
        self._of_question: dict[int, int] = {}
        self._of_oracle: dict[str, int] = {}
        self._shown_in_training: dict[str, str] = {}  # chunk id to the first row that shows it
        self._repeated: dict[str, int] = {}  # words of a question to its splits

    def add(self, row: RaftRow) -> None:
        """Record a row."""
        bit = _BIT[row.split]
        self._of_unit[row.unit] = self._of_unit.get(row.unit, 0) | bit
        self._of_oracle[row.chunk_id] = self._of_oracle.get(row.chunk_id, 0) | bit
        question = " ".join(words(row.question))
        name = int(short_digest("question", question), 16)
        self._of_question[name] = splits = self._of_question.get(name, 0) | bit
        if splits not in _SINGLE_SPLITS:
            self._repeated[question] = splits
        if row.split != "eval":
            if asked := self._golden.get(letters(row.question)):
                self._asked_in_training.append(f"row {row.question_id} asks the golden question {asked}")
            for chunk_id in (row.chunk_id, *row.document_chunk_ids):
                self._shown_in_training.setdefault(chunk_id, row.question_id)

    def exposed(self, chunks: Mapping[str, Chunk]) -> list[tuple[str, str]]:
        """Return the chunks that training shows, each with one that is held out and that it is, overlaps or is like."""
        shown = self._shown_in_training
        held = self._evidence.union(*map(self._oracles_of, _HELD_OUT))
        return list(_HeldTexts(held, shown.keys() | self._of_oracle.keys(), chunks).find_in(shown))

    def leaks(self, exposed: Sequence[tuple[str, str]]) -> Leaks:
        """Return what rows must not have, so that no chunk is found there."""
        held_out = self._oracles_of("eval") | self._evidence
        return Leaks(
            shown=frozenset(shown for shown, held in exposed if held in held_out),
            trained=frozenset(shown for shown, held in exposed if held not in held_out),
        )

    def findings(self, exposed: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        """Return a sentence per finding, by kind of leakage."""
        shown = self._shown_in_training
        return {
            "unit_in_several_splits": list(_describe_crossings("unit", self._of_unit)),
            "question_in_several_splits": list(_describe_crossings("question", self._repeated)),
            "kin_in_several_splits": [
                f"rows about chunk {one} and about {other}, which is, resembles or overlaps it, are in several splits"
                for one, other in exposed
                if self._of_oracle.get(one, 0) | self._of_oracle.get(other, 0) not in (0, *_SINGLE_SPLITS)
            ],
            "eval_oracle_in_training": list(_describe_exposures(exposed, self._oracles_of("eval"), shown)),
            "golden_evidence_in_training": list(_describe_exposures(exposed, self._evidence, shown)),
            "golden_question_in_training": self._asked_in_training,
        }

    def _oracles_of(self, split: Split) -> set[str]:
        return {chunk_id for chunk_id, splits in self._of_oracle.items() if splits & _BIT[split]}


def _describe_crossings(what: str, splits_of: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(name for name, splits in splits_of.items() if splits not in _SINGLE_SPLITS):
        splits = sorted(split for split, bit in _BIT.items() if splits_of[name] & bit)
        yield f"{what} {name!r} is in {' and '.join(splits)}"


def _describe_exposures(
    exposed: Iterable[tuple[str, str]], held_out: AbstractSet[str], shown: Mapping[str, str]
) -> Iterator[str]:
    """Yield the chunks that a training row shows although they are, or share text with, one that is held out."""
    of_chunk = {chunk_id: held for chunk_id, held in exposed if held in held_out}
    for chunk_id, held in sorted(of_chunk.items()):
        yield f"row {shown[chunk_id]} shows chunk {chunk_id}, which is, resembles or overlaps {held}"


class _HeldTexts:
    """The texts that training must not show, as sampled runs of characters.

    Memory holds 24 bytes per four of their characters, and 4 per run that another text has in common with them.
    """

    def __init__(self, held: AbstractSet[str], shown: AbstractSet[str], chunks: Mapping[str, Chunk]) -> None:
        self._chunks = chunks
        self._held = held
        self._spans: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self._known = [name for name in sorted(held) if name in chunks]  # of others the id alone is compared
        runs = {
            name: _sampled_runs(chunks[name].passage)
            for name in track("held-out chunks read", self._known, len(self._known))
        }
        for name in self._known:
            self._spans[chunks[name].doc_id].append((chunks[name].start, chunks[name].end, name))
        for spans in self._spans.values():
            spans.sort()
        self._longest = max((end - start for spans in self._spans.values() for start, end, _ in spans), default=0)
        all_runs = np.concatenate([np.empty(0, np.uint64), *runs.values()])
        owners = np.repeat(np.arange(len(self._known), dtype=np.int32), [len(found) for found in runs.values()])
        order = np.argsort(all_runs, kind="stable")
        values, begins = np.unique(all_runs[order], return_index=True)
        self._starts = np.append(begins, len(all_runs))  # of each distinct run, among the owners
        self._owners = owners[order]
        self._read_all(values, runs, shown | held)
        self._all = np.bincount(owners, minlength=len(self._known))
        is_free = np.repeat(self._is_free, np.diff(self._starts))
        self._free = np.bincount(self._owners[is_free], minlength=len(self._known))

    def _read_all(self, values: Runs, runs: Mapping[str, Runs], names: AbstractSet[str]) -> None:
        """Read every text once: how many runs it has, and which of the held ones (`values`); count their documents."""
        self._lengths: dict[str, int] = {}
        self._common: dict[str, npt.NDArray[np.int32]] = {}
        by_document: dict[str, list[str]] = defaultdict(list)
        for name in track("chunks read for leaks", sorted(names), len(names)):
            if name not in self._chunks:
                continue
            chunk = self._chunks[name]
            by_document[chunk.doc_id].append(name)
            found = runs[name] if name in runs else _sampled_runs(chunk.passage)
            places = np.minimum(np.searchsorted(values, found), max(len(values) - 1, 0))
            self._lengths[name] = len(found)
            self._common[name] = places[values[places] == found].astype(np.int32) if len(values) else _NO_RUNS
        documents, texts = np.zeros(len(values), np.int32), np.zeros(len(values), np.int32)
        for members in by_document.values():
            found = np.concatenate([self._common[name] for name in members])
            np.add.at(texts, found, 1)
            documents[np.unique(found)] += 1
        self._is_free = (documents <= MAX_DOCUMENTS) & (texts <= MAX_TEXTS)

    def find_in(self, shown: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the shown chunks with a held one that each is, overlaps or shares text with, every such pair once."""
        for name in track("chunks compared for leaks", shown, len(shown)):
            if name in self._held:
                yield name, name
            if name in self._chunks:
                yield from ((name, other) for other in self._alike(name) if other != name)

    def _alike(self, name: str) -> set[str]:
        alike = set(self._overlapping(self._chunks[name]))
        alike.update(self._known[owner] for owner in self._with_common_text(name))
        alike.update(self._known[owner] for owner in self._with_equal_text(name))
        return alike

    def _with_common_text(self, name: str) -> list[int]:
        """Return the held texts that have much in common with a text, boilerplate left out."""
        common = self._common[name]
        is_free = self._is_free[common]
        owners, shared = np.unique(self._owners_of(common[is_free]), return_counts=True)
        # of the runs of this chunk, those that are boilerplate here are known where the held texts have them as well
        own_free = self._lengths[name] - int(np.count_nonzero(~is_free))
        shorter = np.maximum(np.minimum(self._free[owners], own_free), 1)
        is_alike = (shared >= MIN_COMMON_RUNS / SAMPLED) & (shared / shorter >= MIN_COMMON_SHARE)
        found: list[int] = owners[is_alike].tolist()
        return found

    def _with_equal_text(self, name: str) -> list[int]:
        """Return the held texts that are all but equal to a text, boilerplate or not.

        Such a text lacks few of this one's runs, so it has one of the rarest of them, if these are more than those few.
        """
        common, length = self._common[name], self._lengths[name]
        lacking = int(length * (1 - MIN_EQUAL_SHARE) + 1e-9)
        if len(common) < length - lacking:
            return []
        rare = common[np.argsort(self._counts(common), kind="stable")][: lacking + 1]
        owners = np.unique(self._owners_of(rare))
        longer = np.maximum(self._all[owners], length)
        owners = owners[length / longer >= MIN_EQUAL_SHARE]  # of texts of other lengths too few can be equal
        found: list[int] = []
        for owner in owners.tolist():
            theirs = self._common[self._known[owner]]
            equal = len(np.intersect1d(common, theirs, assume_unique=True))
            if equal / max(int(self._all[owner]), length, 1) >= MIN_EQUAL_SHARE:
                found.append(owner)
        return found

    def _overlapping(self, chunk: Chunk) -> Iterator[str]:
        spans = self._spans.get(chunk.doc_id, [])
        first = bisect_left(spans, (chunk.start - self._longest, 0, ""))
        for start, end, name in spans[first:]:
            if start >= chunk.end:
                break
            if end > chunk.start:
                yield name

    def _owners_of(self, runs: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the held texts that have these runs, each as often as it has one of them."""
        counts = self._counts(runs)
        before = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) + np.repeat(self._starts[runs] - before, counts)
        owners: npt.NDArray[np.int32] = self._owners[places]
        return owners

    def _counts(self, runs: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
        """Return in how many held texts each run is."""
        counts: npt.NDArray[np.intp] = self._starts[runs + 1] - self._starts[runs]
        return counts


def _sampled_runs(text: str) -> Runs:
    """Return the hashes of one in `SAMPLED` runs of letters and digits, the same ones in every text, each once.

    A shorter text has one run, all of it.
    """
    kept = letters(text)
    if not kept.isascii():
        kept = _DENSE.sub(lambda letter: letter[0] * DENSE_CHARACTERS, kept)
    codes = np.frombuffer(kept.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    length = min(RUN_CHARACTERS, max(len(codes), 1))
    codes = np.pad(codes, (0, max(length - len(codes), 0)))
    runs = np.zeros(len(codes) - length + 1, np.uint64)
    for offset in range(length):
        runs = (runs ^ codes[offset : offset + len(runs)]) * _FACTOR
        runs ^= runs >> np.uint64(31)
    if length == RUN_CHARACTERS and len(kept) >= MIN_COMMON_RUNS:
        runs = runs[runs % np.uint64(SAMPLED) == 0]
    return np.unique(runs)
