"""Which question pairs a run may bring, and which rows follow: what an estimate can't count, it plays through.

What belongs here: what the stored calls of a preview taught about a chunk's pairs, what is assumed where there are
none, and the splits that follow. Tokens and money belong in `estimate`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw
from raft_assets.core.tables import Chunk
from raft_assets.dataset.related_chunks import Relate, RelatedChunks
from raft_assets.dataset.splits import AcceptedPair, assign_splits
from raft_assets.documents.retrieval import RetrievalRanks, VectorIndex
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import NO_USAGE, Answer, Request
from raft_assets.operations.pair_form import PairForm
from raft_assets.pairs.gates import Vocabulary, apply_gates
from raft_assets.pairs.questions import Draft, plan_questions
from raft_assets.settings.domain import DomainSettings

SCENARIOS = 12  # ways in which a run may go; the range of an estimate is theirs
MAX_DRAWN_CHUNKS = 100_000  # of all scenarios together: a large corpus differs less from one to the next
MIN_SCENARIOS = 4
MIN_SAMPLED_CHUNKS = 5  # from which the others are taken for like them
CLOZE = "cloze"
REJECTED = ""
# what happens to each question about a chunk: the kind of an accepted pair, or REJECTED
Outcome = tuple[str, ...]


@dataclass(frozen=True)
class Assumption:
    """What is assumed of a teacher of which nothing is stored yet, each as the least and the most that is expected."""

    answered: tuple[float, float]  # questions that a call brings, as a share of those asked for
    accepted: tuple[float, float]  # share of the pairs that the gates accept
    clozes: tuple[float, float]  # share of the accepted pairs that are clozes, which only train
    answer_tokens: tuple[float, float]


# a language model writes as many questions as it is asked for, and no clozes
LANGUAGE_MODEL = Assumption((0.92, 1.0), (0.6, 0.95), (0.0, 0.0), (90, 190))
# the embedded provider's teacher finds what its rules find (`docs/costs.md` has the figures)
EMBEDDED_TEACHER = Assumption((0.55, 0.85), (0.72, 0.88), (0.1, 0.3), (48, 60))
EMBEDDED_TEACHER_OF_APIS = Assumption((0.95, 1.0), (0.55, 0.9), (0.0, 0.0), (48, 60))


@dataclass(frozen=True)
class Scenario:
    """A way in which a run may go: questions that will be answered anew, accepted ones of them, and rows.

    `tokens` is where the lengths of answers are in the range of what is assumed of them, from 0 to 1.
    """

    new_questions: int
    new_accepted: int
    trained: int
    evaluated: int
    tokens: float


class ExpectedPairs:
    """Plays through what the chunks may bring, given the outcomes of those that were asked about already."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        settings: DomainSettings,
        *,
        known: Mapping[str, Outcome],
        unanswered: Mapping[str, int],
        assumed: Assumption,
        golden_chunk_ids: Collection[str],
        register: Mapping[str, str],
        relate: Relate,
    ) -> None:
        """`unanswered`: how many questions have no stored answer yet, by chunk, where the questions are stored."""
        self._chunks = {chunk.chunk_id: chunk for chunk in chunks}
        self._settings = settings
        self._known = dict(known)
        self._unanswered = dict(unanswered)
        self.assumed = assumed
        self.golden = frozenset(golden_chunk_ids)
        self._register = register
        self._relate = relate

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenarios, none where there is nothing to ask about."""
        count = max(MIN_SCENARIOS, min(SCENARIOS, MAX_DRAWN_CHUNKS // max(len(self._chunks), 1)))
        return [self._play(number, number / (count - 1)) for number in range(count)]

    def _play(self, number: int, level: float) -> Scenario:
        full = self._settings.questions.questions_per_chunk
        outcomes = {chunk_id: self._outcome(number, level, chunk_id, full) for chunk_id in self._chunks}
        planned = self._planned(outcomes)
        outcomes = {chunk_id: outcomes[chunk_id][:count] for chunk_id, count in planned.items()}
        new = {chunk_id: outcome for chunk_id, outcome in outcomes.items() if chunk_id not in self._known}
        questions = sum(self._unanswered.get(chunk_id, len(outcome)) for chunk_id, outcome in new.items())
        accepted = [AcceptedPair(chunk_id, kind) for chunk_id, outcome in outcomes.items() for kind in outcome if kind]
        trained, evaluated = self._rows(accepted)
        return Scenario(
            new_questions=questions,
            new_accepted=sum(kind != REJECTED for outcome in new.values() for kind in outcome),
            trained=trained,
            evaluated=evaluated,
            tokens=level,
        )

    def _outcome(self, number: int, level: float, chunk_id: str, full: int) -> Outcome:
        if chunk_id in self._known:
            return self._known[chunk_id]
        if sample := self._samples:
            # a sample of the sample: how far its means may be from those of the corpus
            place = int(draw(number, chunk_id, "of the sample") * len(sample))
            return sample[int(draw(number, str(place), "sampled") * len(sample))]
        assumed = self.assumed
        if assumed is EMBEDDED_TEACHER and self._chunks[chunk_id].kind == "api":
            assumed = EMBEDDED_TEACHER_OF_APIS
        answered, accepted, clozes = (
            low + (high - low) * share
            for (low, high), share in (
                (assumed.answered, level),
                (assumed.accepted, level),
                (assumed.clozes, 1 - level),
            )
        )
        kinds = list[str]()
        for question in map(str, range(full)):
            if draw(number, chunk_id, question, "answered") < answered:
                is_accepted = draw(number, chunk_id, question, "accepted") < accepted
                is_cloze = draw(number, chunk_id, question, "cloze") < clozes
                kinds.append(REJECTED if not is_accepted else CLOZE if is_cloze else "other")
        return tuple(kinds)

    @cached_property
    def _samples(self) -> list[Outcome]:
        return list(self._known.values()) if self.is_sampled else []

    @property
    def sampled(self) -> int:
        """How many chunks were asked about, with every answer."""
        return len(self._known)

    @property
    def is_sampled(self) -> bool:
        """Whether enough chunks were asked about to take the others for like them."""
        return self.sampled >= MIN_SAMPLED_CHUNKS

    def _planned(self, outcomes: Mapping[str, Outcome]) -> dict[str, int]:
        """Return how many questions are asked about each chunk until the target is reached."""
        chunks, settings = list(self._chunks.values()), self._settings.questions
        most = len(chunks) * settings.questions_per_chunk
        accepted = sum(kind != REJECTED for outcome in outcomes.values() for kind in outcome)
        if settings.target_pairs is None or accepted <= settings.target_pairs:
            return dict.fromkeys(self._chunks, settings.questions_per_chunk)
        wanted = round(most * settings.target_pairs / accepted)
        return {chunk.chunk_id: count for chunk, count in plan_questions(chunks, settings, wanted, 0)}

    @cached_property
    def _related(self) -> RelatedChunks:
        return self._relate(self._chunks, self._settings.dataset.near_duplicate)

    def _rows(self, accepted: Sequence[AcceptedPair]) -> tuple[int, int]:
        """Return the rows that train and that evaluate, as the splits would be drawn."""
        try:
            plan = assign_splits(
                accepted,
                self._chunks,
                related=self._related,
                golden_chunk_ids=self.golden,
                settings=self._settings.dataset,
                register=self._register,
            )
        except DataError:  # too few pairs: the run itself says so
            return 0, 0
        rows = Counter(plan.split_of(pair) for pair in accepted)
        most = self._settings.evaluation.max_rows
        return rows["train"], rows["eval"] if most is None else min(rows["eval"], most)


def not_asked() -> Answer:
    """Return what stands for an answer that isn't stored."""
    return Answer("", "", "failed", "It isn't asked yet.", NO_USAGE, 0.0, from_store=False)


def sampled_outcomes(
    drafts: Sequence[Draft],
    chunks: Sequence[Chunk],
    settings: DomainSettings,
    *,
    form: PairForm,
    encoder: Caller,
    judge: Caller | None,
) -> dict[str, Outcome]:
    """Return what the gates say of drafts whose answers are stored, by chunk. Nothing is asked.

    The retrieval gate is off where a vector isn't stored, and the judge where a verdict isn't.
    """
    asked = [draft for draft in drafts if draft.question]
    ranks, by_id = _stored_ranks(asked, chunks, settings, encoder), {chunk.chunk_id: chunk for chunk in chunks}

    def retrieved_instead(question: str, chunk_id: str) -> list[Chunk]:
        return [by_id[name] for name in ranks.retrieved_instead(question, chunk_id)] if ranks else []

    pairs = apply_gates(
        asked,
        settings=settings.questions,
        rank_of=ranks.rank_of if ranks else None,
        retrieved_instead=retrieved_instead,
        ask_judge=(lambda requests: _stored_verdicts(judge, list(requests))) if judge else None,
        vocabulary=Vocabulary(chunk.passage for chunk in chunks),
        gate_set=form.gate_set,
    )
    outcomes: dict[str, Outcome] = {draft.chunk.chunk_id: () for draft in drafts}
    for pair in pairs:
        is_accepted = pair.accepted or pair.reason == "judge_failed"  # a verdict that isn't there yet
        outcomes[pair.chunk_id] += (pair.kind if is_accepted else REJECTED,)
    return outcomes


def _stored_ranks(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], settings: DomainSettings, encoder: Caller
) -> RetrievalRanks | None:
    texts = [*(chunk.passage for chunk in chunks), *(draft.question for draft in drafts)]
    if not settings.questions.retrieval_top_k or not all(encoder.has_embeddings(texts)):
        return None
    vectors = np.array(list(encoder.embed(texts[: len(chunks)])), np.float32)
    index = VectorIndex([chunk.chunk_id for chunk in chunks], vectors)
    ranks = RetrievalRanks(index, encoder.embed, settings.questions.retrieval_top_k)
    ranks.look_up((draft.question, draft.chunk.chunk_id) for draft in drafts)
    return ranks


def _stored_verdicts(judge: Caller, requests: Sequence[Request]) -> Iterator[Answer]:
    for answer in judge.stored(requests):
        yield answer or not_asked()
