"""RAFT rows: a question, its oracle document among distractors, answer and split; and the check that nothing leaks.

`leaks` judges finished rows by itself and knows nothing of how they were assembled.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from raft_assets.raft.contract import ABSTAINING_ANSWER, ABSTENTION
from raft_assets.raft.distractors import Pool, Vector, pick
from raft_assets.raft.identity import draw
from raft_assets.raft.kinship import kin_groups
from raft_assets.raft.similarity import words
from raft_assets.raft.splits import SplitPlan, assign_splits
from raft_assets.raft.tables import Chunk, GoldenQuestion, QAPair, RaftRow
from raft_assets.settings import DatasetSettings

DATASET_VERSION = "1"  # changes whenever the same pairs, chunks and settings give other rows

_NOTHING: AbstractSet[str] = frozenset()


class Assembly:
    """The rows of a domain, made one at a time while they are read."""

    def __init__(
        self,
        pairs: Sequence[QAPair],
        chunks: Mapping[str, Chunk],
        pool: Pool,
        plan: SplitPlan,
        settings: DatasetSettings,
    ) -> None:
        self.plan = plan
        self._pairs = sorted(pairs, key=lambda pair: pair.question_id)
        self._chunks = chunks
        self._pool = pool
        self._settings = settings
        self._counts: Counter[str] = Counter()

    def rows(self) -> Iterator[RaftRow]:
        """The rows, sorted by question_id."""
        self._counts.clear()
        for pair in self._pairs:
            if not self.plan.reason_to_drop(pair):
                row = self._row(pair)
                self._count(row)
                yield row

    @property
    def summary(self) -> dict[str, Any]:
        """What became of the pairs; complete once `rows` has been read to its end."""
        counts = self._counts
        learned = counts["train"] + counts["valid"]
        return {
            "unit": self.plan.unit_name,
            "units": len(set(self.plan.units.values())),
            **{f"{split}_rows": counts[split] for split in ("train", "valid", "eval")},
            "dropped": dict(self.plan.dropped),
            "distractors_asked": counts["asked"],
            "distractors_given": counts["given"],
            "rows_with_fewer_distractors": counts["fewer"],
            "share_without_oracle": counts["without_oracle"] / learned if learned else 0.0,
        }

    def _row(self, pair: QAPair) -> RaftRow:
        split = self.plan.splits[pair.chunk_id]
        distractors = self._distractors(pair, _NOTHING if split == "eval" else self.plan.withheld)
        has_oracle = (
            split == "eval" or not distractors or draw(self._settings.seed, pair.question_id, "p") < self._settings.p
        )
        shown = [pair.chunk_id, *distractors[: self._settings.distractors]] if has_oracle else distractors
        shown.sort(key=lambda chunk_id: (draw(self._settings.seed, pair.question_id, chunk_id, "order"), chunk_id))
        abstains = not has_oracle and self._settings.without_oracle == "abstain"
        return RaftRow(
            question_id=pair.question_id,
            question=pair.question,
            documents=[self._chunks[chunk_id].passage for chunk_id in shown],
            document_chunk_ids=shown,
            oracle_index=shown.index(pair.chunk_id) if has_oracle else None,
            has_oracle=has_oracle,
            answer=ABSTAINING_ANSWER if abstains else pair.answer,
            final_answer=ABSTENTION if abstains else pair.final_answer,
            split=split,
            unit=self.plan.units[pair.chunk_id],
            chunk_id=pair.chunk_id,
            doc_id=pair.doc_id,
            path=pair.path,
            kind=pair.kind,
        )

    def _distractors(self, pair: QAPair, forbidden: AbstractSet[str]) -> list[str]:
        """One more than beside an oracle: it takes the oracle's place, so that the number of documents says nothing."""
        return pick(
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


def assemble(  # noqa: PLR0917 - the tables in the order of the lineage
    pairs: Iterable[QAPair],
    chunks: Sequence[Chunk],
    vectors: Mapping[str, Vector] | None,
    golden: Sequence[GoldenQuestion],
    settings: DatasetSettings,
    register: Mapping[str, str],
) -> Assembly:
    """RAFT rows of the accepted pairs. Raises DataError where these are too few for training and evaluation.

    `vectors` are needed for hard negatives only. A row that loses its oracle by `p` keeps it where no distractor is to
    be had.
    """
    accepted = [pair for pair in pairs if pair.accepted]
    plan = assign_splits(accepted, chunks, golden_chunks(golden), settings, register)
    pool = Pool(chunks, vectors=vectors, near_duplicate=settings.near_duplicate)
    return Assembly(accepted, {chunk.chunk_id: chunk for chunk in chunks}, pool, plan, settings)


def golden_chunks(golden: Iterable[GoldenQuestion]) -> frozenset[str]:
    """The chunks that hold the evidence of golden questions."""
    return frozenset(chunk_id for question in golden for chunk_id in question.oracle_chunk_ids)


def leaks(
    rows: Iterable[RaftRow], golden: Sequence[GoldenQuestion], chunks: Iterable[Chunk], settings: DatasetSettings
) -> dict[str, list[str]]:
    """What evaluation shares with training in finished rows: kind of leak to a sentence per find."""
    splits_of_unit: dict[str, set[str]] = defaultdict(set)
    splits_of_question: dict[str, set[str]] = defaultdict(set)
    splits_of_oracle: dict[str, set[str]] = defaultdict(set)
    shown_in_training: dict[str, str] = {}  # chunk id to the first row that shows it
    for row in rows:
        splits_of_unit[row.unit].add(row.split)
        splits_of_question[" ".join(words(row.question))].add(row.split)
        splits_of_oracle[row.chunk_id].add(row.split)
        if row.split != "eval":
            for chunk_id in (row.chunk_id, *row.document_chunk_ids):
                shown_in_training.setdefault(chunk_id, row.question_id)
    evaluated = {chunk_id for chunk_id, splits in splits_of_oracle.items() if "eval" in splits}
    evidence = golden_chunks(golden)
    involved = splits_of_oracle.keys() | shown_in_training.keys() | evidence
    # by other hash functions than when the splits were made
    groups = kin_groups((c for c in chunks if c.chunk_id in involved), settings.near_duplicate, settings.seed + 1)
    group_of = {chunk_id: min(group) for group in groups for chunk_id in group}
    splits_of_group: dict[str, set[str]] = defaultdict(set)
    for chunk_id, splits in splits_of_oracle.items():
        splits_of_group[group_of.get(chunk_id, chunk_id)] |= splits
    return {
        "unit_in_several_splits": list(_in_several("unit", splits_of_unit)),
        "question_in_several_splits": list(_in_several("question", splits_of_question)),
        "kin_in_several_splits": list(_in_several("chunk", splits_of_group)),
        "eval_oracle_in_training": list(_shown(evaluated, shown_in_training, group_of)),
        "golden_evidence_in_training": list(_shown(evidence, shown_in_training, group_of)),
    }


def _in_several(what: str, splits_of: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    for name, splits in sorted(splits_of.items()):
        if len(splits) > 1:
            yield f"{what} {name!r} is in {' and '.join(sorted(splits))}"


def _shown(held_out: AbstractSet[str], shown: Mapping[str, str], group_of: Mapping[str, str]) -> Iterator[str]:
    """Held out chunks, and kin of theirs, that a training row shows."""
    groups = {group_of.get(chunk_id, chunk_id): chunk_id for chunk_id in sorted(held_out)}
    for chunk_id, question_id in sorted(shown.items()):
        if (group := group_of.get(chunk_id, chunk_id)) in groups:
            yield f"row {question_id} shows chunk {chunk_id}, which is, resembles or overlaps {groups[group]}"
