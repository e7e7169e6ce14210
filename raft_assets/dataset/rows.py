"""RAFT rows: a question, its oracle document among distractors, answer and split; and the leakage check.

`LeakageCheck` checks finished rows by itself and knows nothing of how they were assembled.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw, short_digest
from raft_assets.core.prompt_contract import ABSTENTION, ABSTENTION_ANSWER
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.similarity import words
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, RaftRow, Split
from raft_assets.dataset.distractors import DistractorPool, Vector, pick_distractors
from raft_assets.dataset.near_duplicates import near_duplicate_groups
from raft_assets.dataset.splits import SplitPlan, assign_splits
from raft_assets.settings.domain import DatasetSettings

DATASET_VERSION = "1"  # changes whenever the same pairs, chunks and settings give other rows

_NO_CHUNKS: AbstractSet[str] = frozenset()
_BIT: Mapping[Split, int] = {"train": 1, "valid": 2, "eval": 4}
_SINGLE_SPLITS = frozenset(_BIT.values())


class Assembly:
    """The rows of a domain, made one at a time while they are read."""

    def __init__(
        self, pairs: Mapping[str, QAPair], pool: DistractorPool, plan: SplitPlan, settings: DatasetSettings
    ) -> None:
        self.plan = plan
        self.chunks = pool.chunks
        self._pairs = pairs
        self._pool = pool
        self._settings = settings
        self._counts: Counter[str] = Counter()
        self._evaluated: set[str] = set()  # chunk ids

    def rows(self) -> Iterator[RaftRow]:
        """Yield the rows, sorted by question_id."""
        self._counts.clear()
        self._evaluated.clear()
        for question_id in sorted(self._pairs):
            pair = self._pairs[question_id]
            if not self.plan.reason_to_drop(pair):
                row = self._row(pair)
                self._count(row)
                yield row

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of rows and distractors; complete once `rows` has been read to its end."""
        counts = self._counts
        learned = counts["train"] + counts["valid"]
        return {
            "unit": self.plan.unit_name,
            "units": len(set(self.plan.units.values())),
            **{f"{split}_rows": counts[split] for split in ("train", "valid", "eval")},
            "eval_passages": len(self._evaluated),
            "dropped": dict(self.plan.dropped),
            "distractors_asked": counts["asked"],
            "distractors_given": counts["given"],
            "rows_with_fewer_distractors": counts["fewer"],
            "share_without_oracle": counts["without_oracle"] / learned if learned else 0.0,
        }

    def _row(self, pair: QAPair) -> RaftRow:
        split = self.plan.splits[pair.chunk_id]
        distractors = self._distractors(pair, _NO_CHUNKS if split == "eval" else self.plan.held_out)
        has_oracle = (
            split == "eval" or not distractors or draw(self._settings.seed, pair.question_id, "p") < self._settings.p
        )
        shown = [pair.chunk_id, *distractors[: self._settings.distractors]] if has_oracle else distractors
        shown.sort(key=lambda chunk_id: (draw(self._settings.seed, pair.question_id, chunk_id, "order"), chunk_id))
        abstains = not has_oracle and self._settings.without_oracle == "abstain"
        return RaftRow(
            question_id=pair.question_id,
            question=pair.question,
            documents=[self.chunks[chunk_id].passage for chunk_id in shown],
            document_chunk_ids=shown,
            oracle_index=shown.index(pair.chunk_id) if has_oracle else None,
            has_oracle=has_oracle,
            answer=ABSTENTION_ANSWER if abstains else pair.answer,
            final_answer=ABSTENTION if abstains else pair.final_answer,
            split=split,
            unit=self.plan.units[pair.chunk_id],
            chunk_id=pair.chunk_id,
            doc_id=pair.doc_id,
            path=pair.path,
            kind=pair.kind,
        )

    def _distractors(self, pair: QAPair, forbidden: AbstractSet[str]) -> list[str]:
        """Return one distractor more than a row with its oracle needs.

        It takes the oracle's place if that is left out, so that the number of documents reveals nothing.
        """
        return pick_distractors(
            pair.chunk_id,
            pool=self._pool,
            count=self._settings.distractors + 1,
            kind=self._settings.distractor_kind,
            seed=self._settings.seed,
            question_id=pair.question_id,
            forbidden=forbidden,
            answer=pair.final_answer,
        )

    def _count(self, row: RaftRow) -> None:
        asked = self._settings.distractors + (not row.has_oracle)
        given = len(row.documents) - row.has_oracle
        self._counts.update({row.split: 1, "asked": asked, "given": given, "fewer": given < asked})
        self._counts["without_oracle"] += not row.has_oracle
        if row.split == "eval":
            self._evaluated.add(row.chunk_id)


def assemble_rows(  # noqa: PLR0917 - the tables in the order of the lineage
    pairs: Iterable[QAPair],
    chunks: Iterable[Chunk],
    vectors: Mapping[str, Vector] | None,
    golden: Sequence[GoldenQuestion],
    settings: DatasetSettings,
    register: Mapping[str, str],
) -> Assembly:
    """Return the RAFT rows of the accepted pairs.

    `vectors` are needed for hard negatives only. Pairs and chunks are read once and kept in files: memory holds some
    hundred bytes of each. A row that loses its oracle by `p` keeps it if there is no distractor. Raises DataError if
    the pairs are too few for training and evaluation.
    """
    accepted = DiskBackedRows(QAPair, (pair for pair in pairs if pair.accepted), lambda pair: pair.question_id)
    pool = DistractorPool(chunks, vectors=vectors, near_duplicate=settings.near_duplicate)
    plan = assign_splits(
        accepted.values(),
        pool.chunks,
        group_of=pool.group_of,
        golden_chunk_ids=golden_chunk_ids(golden),
        settings=settings,
        register=register,
    )
    return Assembly(accepted, pool, plan, settings)


def golden_chunk_ids(golden: Iterable[GoldenQuestion]) -> frozenset[str]:
    """Return the chunks that contain the evidence of golden questions."""
    return frozenset(chunk_id for question in golden for chunk_id in question.oracle_chunk_ids)


class LeakageError(DataError):
    """Evaluation shares something with training: kind of leakage to a sentence per finding."""

    def __init__(self, findings: Mapping[str, Sequence[str]]) -> None:
        self.findings = findings
        kinds = ", ".join(kind for kind, sentences in findings.items() if sentences)
        super().__init__(
            f"Evaluation data leaks into training ({kinds}): nothing was written. Materialize qa_dataset again with "
            "--force; if that doesn't help, please report it."
        )


def check_leakage(
    rows: Iterable[RaftRow], golden: Sequence[GoldenQuestion], chunks: Mapping[str, Chunk], settings: DatasetSettings
) -> Iterator[RaftRow]:
    """Yield the rows as they come.

    Raises LeakageError after the last one if evaluation shares anything with training.
    """
    check = LeakageCheck(golden, settings)
    for row in rows:
        check.add(row)
        yield row
    if any((findings := check.findings(chunks)).values()):
        raise LeakageError(findings)


class LeakageCheck:
    """Checks finished rows, one at a time, for what evaluation shares with training.

    Memory holds ids and a hash of every question.
    """

    def __init__(self, golden: Sequence[GoldenQuestion], settings: DatasetSettings) -> None:
        self._evidence = golden_chunk_ids(golden)
        self._settings = settings
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
            for chunk_id in (row.chunk_id, *row.document_chunk_ids):
                self._shown_in_training.setdefault(chunk_id, row.question_id)

    def findings(self, chunks: Mapping[str, Chunk]) -> dict[str, list[str]]:
        """Return a sentence per finding, by kind of leakage."""
        evaluated = {chunk_id for chunk_id, splits in self._of_oracle.items() if splits & _BIT["eval"]}
        involved = self._of_oracle.keys() | self._shown_in_training.keys() | self._evidence
        # with other hash functions than when the splits were made
        group_of = near_duplicate_groups(involved & chunks.keys(), chunks, self._settings.near_duplicate, seed=1)
        of_group: dict[str, int] = {}
        for chunk_id, splits in self._of_oracle.items():
            group = group_of.get(chunk_id, chunk_id)
            of_group[group] = of_group.get(group, 0) | splits
        return {
            "unit_in_several_splits": list(_describe_crossings("unit", self._of_unit)),
            "question_in_several_splits": list(_describe_crossings("question", self._repeated)),
            "kin_in_several_splits": list(_describe_crossings("chunk", of_group)),
            "eval_oracle_in_training": list(_describe_exposures(evaluated, self._shown_in_training, group_of)),
            "golden_evidence_in_training": list(_describe_exposures(self._evidence, self._shown_in_training, group_of)),
        }


def _describe_crossings(what: str, splits_of: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(name for name, splits in splits_of.items() if splits not in _SINGLE_SPLITS):
        splits = sorted(split for split, bit in _BIT.items() if splits_of[name] & bit)
        yield f"{what} {name!r} is in {' and '.join(splits)}"


def _describe_exposures(
    held_out: AbstractSet[str], shown: Mapping[str, str], group_of: Mapping[str, str]
) -> Iterator[str]:
    """Yield held out chunks, and near-duplicates of theirs, that a training row shows."""
    groups = {group_of.get(chunk_id, chunk_id): chunk_id for chunk_id in sorted(held_out)}
    for chunk_id in sorted(name for name in shown if group_of.get(name, name) in groups):
        held = groups[group_of.get(chunk_id, chunk_id)]
        yield f"row {shown[chunk_id]} shows chunk {chunk_id}, which is, resembles or overlaps {held}"
