"""What the teacher's stored calls show of those to come; what the embedded teacher's rules will ask is computed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice

from raft_assets.core.errors import RaftError
from raft_assets.core.tables import Chunk
from raft_assets.documents.retrieval import RetrievalRanks, Vectors
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import Answer, Request
from raft_assets.operations.expected_pairs import (
    LANGUAGE_MODEL,
    Outcome,
    RetrievedShare,
    not_asked,
    ranks_of,
    sampled_outcomes,
    stored_index,
)
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.pair_form import PairForm, recorded_form
from raft_assets.operations.ranges import MIN_SAMPLE, Length
from raft_assets.operations.request_tokens import count_tokens, request_tokens, wording
from raft_assets.pairs.generation import draft_round, first_round_plan
from raft_assets.pairs.questions import Draft, plan_questions, question_request
from raft_assets.pairs.structured import structured_question_request
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake

PREDICTED_CHUNKS = 500  # at most: 10 ms of CPU each, with the gates


@dataclass(frozen=True)
class TeacherSample:
    """The teacher's stored calls, and what they show."""

    form: PairForm
    question_requests: Sequence[Request]  # not stored
    answer_requests: Sequence[Request]  # to known questions, not stored
    new_chunks: Sequence[tuple[Chunk, int]]  # without known questions, and how many will be asked for
    outcomes: dict[str, Outcome]  # of chunks whose answers are all stored
    unanswered: dict[str, int]  # questions without a stored answer, by chunk
    told: Sequence[str]  # questions that are known
    questions: Sequence[Answer]  # stored answers
    answers: Sequence[Answer]
    written: Sequence[int]  # tokens of the answers as rows have them: thoughts and JSON are left out
    retrieved: RetrievedShare
    prediction: "Prediction"
    input_ratio: float  # of the input tokens that the service counts to those counted here
    cached_share: float  # of the input tokens

    @classmethod
    def read(
        cls, models: ModelClients, domain: str, chunks: Sequence[Chunk], settings: DomainSettings
    ) -> "TeacherSample":
        """Look up what a run would ask about the chunks; chunks without stored answers are predicted where possible."""
        form = recorded_form(models, Lake.of(models.project), domain, chunks)
        question_of = structured_question_request if form.structured else question_request
        plan = first_round_plan(chunks, settings.questions)
        requests = [question_of(chunk, count, settings.questions) for chunk, count in plan]
        with ExitStack() as stack:
            teacher = stack.enter_context(models.caller(Role.TEACHER))
            encoder = stack.enter_context(models.caller(Role.EMBEDDING))
            judge = stack.enter_context(models.caller(Role.JUDGE)) if Role.JUDGE in models.endpoints else None
            questions = list(teacher.stored(requests))
            asked = _StoredAnswers(teacher, wording(models, Role.TEACHER))
            drafts = list(
                draft_round(
                    [entry for entry, answer in zip(plan, questions, strict=True) if answer],
                    settings.questions,
                    ask=asked.ask,
                    instructions=settings.prompt.instructions,
                    structured=form.structured,
                )
            )
            missing = Counter(draft.chunk.chunk_id for draft in drafts if draft.question and not draft.answer_call)
            complete = [draft for draft in drafts if draft.chunk.chunk_id not in missing]
            index = stored_index(chunks, settings, encoder)
            known = all(encoder.has_embeddings([draft.question for draft in complete if draft.question]))
            ranks = ranks_of(complete, index, settings, encoder.embed) if index is not None and known else None
            outcomes = sampled_outcomes(complete, chunks, settings, form=form, ranks=ranks, judge=judge)

            def rank(predicted: Sequence[Draft]) -> RetrievalRanks | None:
                embed = _questions_encoder(models) if index is not None else None
                return ranks_of(predicted, index, settings, embed) if index is not None and embed else None

            prediction = Prediction.of(models, chunks, settings, form, asked=outcomes, rank=rank)
            is_gate = bool(settings.questions.retrieval_top_k) and not prediction.is_retrieved
            retrieved = RetrievedShare(is_gate=is_gate)
            if ranks and is_gate and prediction.outcomes:
                compared = set(islice(outcomes, PREDICTED_CHUNKS))
                some = [draft for draft in complete if draft.chunk.chunk_id in compared]
                before = sampled_outcomes(some, chunks, settings, form=form, ranks=None, judge=judge)
                retrieved = RetrievedShare.of(before, outcomes)
        replies = [answer for answer in questions if answer]
        return cls(
            form=form,
            question_requests=[request for request, answer in zip(requests, questions, strict=True) if not answer],
            answer_requests=asked.missing,
            new_chunks=[entry for entry, answer in zip(plan, questions, strict=True) if not answer],
            outcomes=outcomes,
            unanswered=dict(missing),
            told=[draft.question for draft in drafts if draft.question],
            questions=replies,
            answers=[answer for _, answer in asked.stored[len(replies) :]],
            written=_written_tokens(complete),
            retrieved=retrieved,
            prediction=prediction,
            input_ratio=asked.input_ratio,
            cached_share=asked.cached_share,
        )

    @property
    def is_enough(self) -> bool:
        """Whether the lengths of questions and answers are known."""
        return min(len(self.questions), len(self.answers)) >= MIN_SAMPLE

    @property
    def written_length(self) -> "Length":
        """The length of an answer as it stands in a row."""
        return Length.of([*self.written, *self.prediction.answers]) or Length(*LANGUAGE_MODEL.answer_tokens)


@dataclass(frozen=True)
class Prediction:
    """What the embedded teacher will ask and answer, computed by its rules; empty for another teacher."""

    outcomes: Mapping[str, Outcome] = field(default_factory=dict)  # by chunk
    is_retrieved: bool = False  # whether they are those after retrieval
    questions: Sequence[int] = ()  # tokens of the replies with questions
    answers: Sequence[int] = ()  # tokens of the answers
    answer_requests: Sequence[Request] = ()
    asked: Sequence[str] = ()  # questions

    @classmethod
    def of(
        cls,
        models: ModelClients,
        chunks: Sequence[Chunk],
        settings: DomainSettings,
        form: PairForm,
        *,
        asked: Collection[str],
        rank: Callable[[Sequence[Draft]], RetrievalRanks | None],
    ) -> "Prediction":
        """Predict what is asked about chunks that were not `asked` about, an even sample of them.

        `rank` looks their questions up among the passages, as far as the vectors of these are known.
        """
        if not models.endpoints[Role.TEACHER].is_embedded_model or form.structured:
            return cls()
        most = len(chunks) * settings.questions.questions_per_chunk
        plan = plan_questions(chunks, settings.questions, most, 0)
        plan = [(chunk, count) for chunk, count in plan if chunk.chunk_id not in asked][:PREDICTED_CHUNKS]
        rules = _RuleAnswers(embedded_provider(models.project).teacher_rules)
        drafts = list(draft_round(plan, settings.questions, ask=rules.ask, instructions=settings.prompt.instructions))
        ranks = rank(drafts)
        return cls(
            outcomes=sampled_outcomes(drafts, chunks, settings, form=form, ranks=ranks, judge=None),
            is_retrieved=ranks is not None,
            questions=rules.tokens[: len(plan)],
            answers=rules.tokens[len(plan) :],
            answer_requests=rules.requests[len(plan) :],
            asked=[draft.question for draft in drafts if draft.question],
        )


def _questions_encoder(models: ModelClients) -> Callable[[Iterable[str]], Iterable[Vectors]] | None:
    """Return what embeds questions without a call; None where the encoder isn't the embedded one of this machine."""
    if not models.endpoints[Role.EMBEDDING].is_embedded_model:
        return None
    provider = embedded_provider(models.project)
    try:
        provider.find_weights()
    except RaftError:  # the weights are on another machine, which serves them
        return None
    return lambda texts: provider.encode(list(texts))


class _RuleAnswers:
    """The embedded teacher's rules, for those who ask a model; notes what was asked and how long the replies are."""

    def __init__(self, rules: Callable[[str], str | None]) -> None:
        self._rules = rules
        self.requests: list[Request] = []
        self.tokens: list[int] = []

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            text = self._rules(request.body["messages"][-1]["content"]) or ""
            self.requests.append(request)
            self.tokens.append(count_tokens(text))
            yield replace(not_asked(), text=text, status="ok", detail="")


class _StoredAnswers:
    """Answers from the store instead of a model, for those who ask one; notes what isn't there."""

    def __init__(self, teacher: Caller, as_sent: Callable[[Request], Request]) -> None:
        self._teacher, self._as_sent = teacher, as_sent
        self.missing: list[Request] = []
        self.stored: list[tuple[Request, Answer]] = []

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        requests = list(requests)
        for request, answer in zip(requests, self._teacher.stored(requests), strict=True):
            if answer:
                self.stored.append((request, answer))
            else:
                self.missing.append(request)
            yield answer or not_asked()

    @property
    def input_ratio(self) -> float:
        if len(self.stored) < MIN_SAMPLE:
            return 1.0
        return sum(answer.usage.input_tokens for _, answer in self.stored) / sum(
            request_tokens(self._as_sent(request)) for request, _ in self.stored
        )

    @property
    def cached_share(self) -> float:
        usages = [answer.usage for _, answer in self.stored]
        return sum(usage.cached_tokens for usage in usages) / max(sum(usage.input_tokens for usage in usages), 1)


def _written_tokens(drafts: Iterable[Draft]) -> list[int]:
    return [count_tokens(draft.answer) for draft in drafts if draft.question and draft.call_status == "ok"]
