"""RAFT rows: a question, its oracle document among distractors, answer and split."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw
from raft_assets.core.progress import track
from raft_assets.core.prompt_contract import abstention_answer, abstention_in
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.tables import Chunk, GoldenQuestion, QAPair, RaftRow
from raft_assets.dataset.distractors import DistractorPool, Vector, keep_chunks, pick_distractors
from raft_assets.dataset.golden import GoldenWords, golden_chunk_ids
from raft_assets.dataset.leakage import Leaks
from raft_assets.dataset.related_chunks import Join, Relate, find_related_chunks
from raft_assets.dataset.shared_text import shared_words
from raft_assets.dataset.splits import SplitPlan, assign_splits
from raft_assets.settings.domain import DatasetSettings

DATASET_VERSION = "2"  # changes whenever the same pairs, chunks and settings give other rows

_NO_CHUNKS: AbstractSet[str] = frozenset()
MAX_JOINS_SHOWN = 5  # of a unit
SHARES_TEXT = "shares_text_with_other_split"  # why a row is lost that the splits kept and the check did not
LIKE_GOLDEN = "like_golden_question"  # why a pair is no row where passages of golden questions may train


class Assembly:
    """The rows of a domain, made one at a time while they are read."""

    def __init__(
        self,
        pairs: Mapping[str, QAPair],
        pool: DistractorPool,
        plan: SplitPlan,
        settings: DatasetSettings,
        *,
        like_golden: int = 0,
    ) -> None:
        self.plan = plan
        self._like_golden = like_golden  # pairs that ask what a golden question asks, left out
        self.chunks = pool.chunks
        self._pairs = pairs
        self._pool = pool
        self._settings = settings
        self._counts: Counter[str] = Counter()
        self._never_shown = plan.held_out  # to train or validate on
        if not settings.distractors_from_evaluation:
            evaluated = {self.chunks[chunk_id].doc_id for chunk_id, split in plan.splits.items() if split == "eval"}
            self._never_shown |= {name for name, chunk in self.chunks.items() if chunk.doc_id in evaluated}
        self._evaluated: set[str] = set()  # chunk ids
        self._leaks = Leaks()

    def leave_out(self, leaks: Leaks) -> bool:
        """Lose the rows from now on that show what a check found in several splits; return whether any is new."""
        before, self._leaks = self._leaks, self._leaks.and_also(leaks)
        return self._leaks != before

    def rows(self) -> Iterator[RaftRow]:
        """Yield the rows, sorted by question_id.

        Raises DataError behind the last one if none of them trains because of what is left out.
        """
        self._counts.clear()
        self._evaluated.clear()
        for question_id in track("pairs made into rows", sorted(self._pairs), len(self._pairs)):
            pair = self._pairs[question_id]
            if not self.plan.reason_to_drop(pair):
                row = self._row(pair)
                if self._leaks.have(row):
                    self._counts[SHARES_TEXT] += 1
                    continue
                self._count(row)
                yield row
        if self._counts[SHARES_TEXT] and not self._counts["train"]:
            raise DataError(
                f"Every training row shares text with evaluation ({self._counts[SHARES_TEXT]:,} rows, found by the "
                "check on finished rows): add documents of other content."
            )

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of rows and distractors; complete once `rows` has been read to its end."""
        counts = self._counts
        learned = counts["train"] + counts["valid"]
        of_rows = {LIKE_GOLDEN: self._like_golden, SHARES_TEXT: counts[SHARES_TEXT]}
        return {
            "unit": self.plan.unit_name,
            "units": len(set(self.plan.units.values())),
            **{f"{split}_rows": counts[split] for split in ("train", "valid", "eval")},
            "eval_passages": len(self._evaluated),
            "dropped": {**self.plan.dropped, **{why: count for why, count in of_rows.items() if count}},
            "distractors_asked": counts["asked"],
            "distractors_given": counts["given"],
            "rows_with_fewer_distractors": counts["fewer"],
            "share_without_oracle": counts["without_oracle"] / learned if learned else 0.0,
        }

    @property
    def shared_text(self) -> dict[str, Any]:
        """What chunks share, and what that does to units; for people."""
        shared = self.plan.shared
        linked = {chunk_id for pair in shared.links for chunk_id in pair}
        total = len(self.plan.units)
        units = Counter(self.plan.units.values())
        return {
            "chunks_that_share_text": len(linked),
            "chunks_with_boilerplate": len(shared.boilerplate),
            "boilerplate_share": sum(shared.boilerplate.values()) / max(len(self.chunks), 1),
            "joins_not_made": len(self.plan.cut),
            "large_units": [
                {"unit": unit, "share_of_chunks": units[unit] / total, "joined_by": list(self._describe_joins(joins))}
                for unit, joins in sorted(self.plan.joined.items())
            ],
        }

    def _describe_joins(self, joins: Sequence[Join]) -> Iterator[str]:
        for join in joins[:MAX_JOINS_SHOWN]:
            one, other = self.chunks[join.one], self.chunks[join.other]
            yield f"{one.path} and {other.path}: {shared_words(one.text, other.text)}"

    def _row(self, pair: QAPair) -> RaftRow:
        split = self.plan.splits[pair.chunk_id]
        distractors = self._distractors(pair, _NO_CHUNKS if split == "eval" else self._never_shown)
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
            answer=abstention_answer(pair.language) if abstains else pair.answer,
            final_answer=abstention_in(pair.language) if abstains else pair.final_answer,
            split=split,
            unit=self.plan.units[pair.chunk_id],
            chunk_id=pair.chunk_id,
            doc_id=pair.doc_id,
            path=pair.path,
            kind=pair.kind,
            language=pair.language,
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
    *,
    relate: Relate = find_related_chunks,
) -> Assembly:
    """Return the RAFT rows of the accepted pairs.

    `vectors` are needed for hard negatives only; `relate` finds how chunks are related. Pairs and chunks are read once
    and kept in files: memory holds some hundred bytes of each. A row that loses its oracle by `p` keeps it if there is
    no distractor. Where passages of golden questions may train, pairs that ask the same or nearly the same are left
    out. Raises DataError if the pairs are too few for training and evaluation.
    """
    holds_out = settings.protocol == "unseen_passages"
    words, like_golden = GoldenWords(() if holds_out else golden), 0

    def usable() -> Iterator[QAPair]:
        nonlocal like_golden
        for pair in pairs:
            if pair.accepted and words.have(pair.question, pair.chunk_id):
                like_golden += 1
            elif pair.accepted:
                yield pair

    accepted = DiskBackedRows(QAPair, usable(), lambda pair: pair.question_id)
    table = keep_chunks(chunks)
    related = relate(table, settings.near_duplicate)
    pool = DistractorPool(table, vectors=vectors, near_duplicate=settings.near_duplicate, group_of=related.group_of)
    plan = assign_splits(
        accepted.values(),
        table,
        related=related,
        golden_chunk_ids=golden_chunk_ids(golden) if holds_out else _NO_CHUNKS,
        settings=settings,
        register=register,
    )
    return Assembly(accepted, pool, plan, settings, like_golden=like_golden)
