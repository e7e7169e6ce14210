"""Which question pairs a run may bring, and which rows follow: what an estimate can't count, it plays through.

What belongs here: what the stored calls of a preview taught about a chunk's pairs, what is assumed where there are
none, and the splits that follow. Tokens and money belong in `estimate`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from statistics import fmean

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw
from raft_assets.core.tables import Chunk
from raft_assets.core.vectors import Embedding
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
ALL = ""  # documents, where outcomes are kept by document
# what happens to each question about a chunk: the kind of an accepted pair, or REJECTED
Outcome = tuple[str, ...]


@dataclass(frozen=True)
class Assumption:
    """What is assumed of a teacher of which nothing is stored yet, each as the least and the most that is expected."""

    answered: tuple[float, float]  # questions that a call brings, as a share of those asked for
    accepted: tuple[float, float]  # share of the pairs that the gates accept
    answer_tokens: tuple[float, float]


# a language model writes as many questions as it is asked for, and no clozes
LANGUAGE_MODEL = Assumption(answered=(0.92, 1.0), accepted=(0.6, 0.95), answer_tokens=(90, 190))
# of the embedded teacher's questions: what it asks is known, and not what retrieval brings back to its passage
ASSUMED_RETRIEVED = (0.7, 0.97)
ASSUMED_RETRIEVED_OF_APIS = (0.9, 1.0)  # they name the call that they are about
ASSUMED_WEIGHT = 30  # questions of a preview that say as much of retrieval as what is assumed: 0.84 ± 2 * 0.067


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


@dataclass(frozen=True)
class RetrievedShare:
    """What retrieval made of the pairs that passed the other gates: `counts` of them and of those left, by chunk.

    `is_gate`: whether further pairs have it before them.
    """

    counts: Sequence[tuple[int, int]] = ()
    is_gate: bool = True

    @classmethod
    def of(cls, before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> "RetrievedShare":
        """Compare the outcomes of the same chunks without the gate and with it."""
        return cls([(_accepted(before[chunk_id]), _accepted(after[chunk_id])) for chunk_id in before])

    def ends(self, assumed: tuple[float, float]) -> tuple[float, float]:
        """Return the share of further pairs, at least and at most: what is `assumed`, and what the counts say of it.

        Two standard errors on either side; the pairs of one chunk are a cluster.
        """
        if not self.is_gate:
            return 1.0, 1.0
        if len(self.counts) < MIN_SAMPLED_CHUNKS:
            return assumed
        expected, seen = fmean(assumed), sum(before for before, _ in self.counts)
        weight = seen + ASSUMED_WEIGHT
        share = (sum(after for _, after in self.counts) + expected * ASSUMED_WEIGHT) / weight
        spread = sum((after - share * before) ** 2 for before, after in self.counts)
        spread += ASSUMED_WEIGHT**2 * ((assumed[1] - assumed[0]) / 4) ** 2
        error = 2 * sqrt(spread) / weight
        return max(share - error, 0.0), min(share + error, 1.0)


class ExpectedPairs:
    """Plays through what the chunks may bring, given the outcomes of those that were asked about already."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        settings: DomainSettings,
        *,
        known: Mapping[str, Outcome],
        unanswered: Mapping[str, int],
        predicted: Mapping[str, Outcome],
        retrieved: RetrievedShare,
        golden_chunk_ids: Collection[str],
        register: Mapping[str, str],
        relate: Relate,
    ) -> None:
        """`unanswered`: how many questions have no stored answer yet, by chunk, where the questions are stored.

        `predicted`: outcomes that were computed and not asked for; `retrieved`: the share of them that retrieval will
        accept, all where it was computed as well.
        """
        self._chunks = {chunk.chunk_id: chunk for chunk in chunks}
        self._settings = settings
        self._known = dict(known)
        self._unanswered = dict(unanswered)
        self._predicted = dict(predicted)
        self._retrieved = retrieved
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
        if chunk_id in self._predicted:
            return self._after_retrieval(number, level, chunk_id, self._predicted[chunk_id])
        if predicted := self._like(chunk_id, self._predicted_by_document):
            return self._after_retrieval(number, level, chunk_id, _resampled(number, chunk_id, predicted))
        if self.is_sampled:
            return _resampled(number, chunk_id, self._like(chunk_id, self._known_by_document))
        kinds = list[str]()
        for question in map(str, range(full)):
            if draw(number, chunk_id, question, "answered") < _at(level, LANGUAGE_MODEL.answered):
                is_accepted = draw(number, chunk_id, question, "accepted") < _at(level, LANGUAGE_MODEL.accepted)
                kinds.append("other" if is_accepted else REJECTED)
        return tuple(kinds)

    def _after_retrieval(self, number: int, level: float, chunk_id: str, outcome: Outcome) -> Outcome:
        share = _at(level, self._retrieved_shares[self._chunks[chunk_id].kind == "api"])
        return tuple(
            kind if draw(number, chunk_id, str(question), "retrieved") < share else REJECTED
            for question, kind in enumerate(outcome)
        )

    @cached_property
    def _retrieved_shares(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The least and the most of prose, and of API descriptions."""
        return self._retrieved.ends(ASSUMED_RETRIEVED), self._retrieved.ends(ASSUMED_RETRIEVED_OF_APIS)

    @cached_property
    def _known_by_document(self) -> dict[str, list[Outcome]]:
        return self._by_document(self._known)

    @cached_property
    def _predicted_by_document(self) -> dict[str, list[Outcome]]:
        return self._by_document(self._predicted)

    def _by_document(self, outcomes: Mapping[str, Outcome]) -> dict[str, list[Outcome]]:
        """Return the outcomes of each document, and under `ALL` those of every chunk."""
        found: dict[str, list[Outcome]] = {ALL: list(outcomes.values())}
        for chunk_id, outcome in outcomes.items():
            found.setdefault(self._chunks[chunk_id].doc_id, []).append(outcome)
        return found

    def _like(self, chunk_id: str, by_document: Mapping[str, list[Outcome]]) -> list[Outcome]:
        """Return the outcomes of the chunk's document if they are enough, else all: documents differ, and are split."""
        of_document = by_document.get(self._chunks[chunk_id].doc_id, [])
        return of_document if len(of_document) >= MIN_SAMPLED_CHUNKS else by_document[ALL]

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


def _resampled(number: int, chunk_id: str, sample: Sequence[Outcome]) -> Outcome:
    """Return an outcome of a sample of the sample: how far its means may be from those of the corpus."""
    place = int(draw(number, chunk_id, "of the sample") * len(sample))
    return sample[int(draw(number, str(place), "sampled") * len(sample))]


def _accepted(outcome: Outcome) -> int:
    return sum(kind != REJECTED for kind in outcome)


def _at(level: float, ends: tuple[float, float]) -> float:
    return ends[0] + (ends[1] - ends[0]) * level


def not_asked() -> Answer:
    """Return what stands for an answer that isn't stored."""
    return Answer("", "", "failed", "It isn't asked yet.", NO_USAGE, 0.0, from_store=False)


def sampled_outcomes(
    drafts: Sequence[Draft],
    chunks: Sequence[Chunk],
    settings: DomainSettings,
    *,
    form: PairForm,
    ranks: RetrievalRanks | None,
    judge: Caller | None,
) -> dict[str, Outcome]:
    """Return what the gates say of drafts whose answers are known, by chunk. Nothing is asked.

    Without `ranks` the retrieval gate is off, and the judge where a verdict isn't stored.
    """
    asked = [draft for draft in drafts if draft.question]
    by_id = {chunk.chunk_id: chunk for chunk in chunks}

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


def stored_index(chunks: Sequence[Chunk], settings: DomainSettings, encoder: Caller) -> VectorIndex | None:
    """Return the index of the passages; None where retrieval is no gate, or the vector of one of them isn't stored."""
    passages = [chunk.passage for chunk in chunks]
    if not settings.questions.retrieval_top_k or not all(encoder.has_embeddings(passages)):
        return None
    return VectorIndex([chunk.chunk_id for chunk in chunks], np.array(list(encoder.embed(passages)), np.float32))


def ranks_of(
    drafts: Sequence[Draft],
    index: VectorIndex,
    settings: DomainSettings,
    embed: Callable[[Iterable[str]], Iterable[Embedding]],
) -> RetrievalRanks:
    """Return what retrieval finds for the questions of drafts, whose vectors `embed` returns."""
    ranks = RetrievalRanks(index, embed, settings.questions.retrieval_top_k)
    ranks.look_up((draft.question, draft.chunk.chunk_id) for draft in drafts if draft.question)
    return ranks


def _stored_verdicts(judge: Caller, requests: Sequence[Request]) -> Iterator[Answer]:
    for answer in judge.stored(requests):
        yield answer or not_asked()
