"""What a domain's next run will ask of its models: calls, tokens, money and time, before it starts.

Documents are read and cut as in the lineage, requests are those that it will make, and calls in the call store count as
paid. What only the models can show (how many questions a call brings, how long answers are) is measured on the stored
calls of the same corpus, which `raft preview` makes by an even sample; without enough of them it is assumed, and listed
as an assumption.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.dataset.golden import read_golden_questions as parse_golden
from raft_assets.dataset.golden import resolve_golden_questions
from raft_assets.documents.chunking import token_count
from raft_assets.documents.reading import ReadDocument, group_into_documents
from raft_assets.evaluation.arms import robustness_arms
from raft_assets.llm.caller import MAX_TEXTS_PER_CALL, Caller
from raft_assets.llm.prices import Price
from raft_assets.llm.prompts import answer_request, read_prompt
from raft_assets.llm.requests import Answer, Request, Usage
from raft_assets.operations.document_ids import former_paths
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import recorded_form
from raft_assets.operations.sources import chunk_documents, read_sources
from raft_assets.pairs.generation import first_round_plan
from raft_assets.pairs.judge import judge_request
from raft_assets.pairs.questions import parse_questions, question_request, teacher_answer_request
from raft_assets.pairs.structured import (
    parse_structured_questions,
    structured_answer_request,
    structured_question_request,
)
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import QUESTIONS_FILE, domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.student.approval import AUTO_EPOCHS

MIN_SAMPLE = 5  # stored answers from which a mean is taken
ASSUMED_QUESTION_TOKENS, ASSUMED_ANSWER_TOKENS, ASSUMED_VERDICT_TOKENS = 18, 150, 40
ASSUMED_ACCEPTED = 0.8  # share of the pairs that the gates accept
TOKENS_PER_MESSAGE = 4
TYPICAL_QUESTION = "What does the passage say about the subject that it explains first?"
CALLS_AT_ONCE = 16  # what a service takes, until the limiter has measured it


@dataclass(frozen=True)
class CallEstimate:
    """What an asset will ask of a role.

    `calls` are still to be made, `stored` are answered already; tokens and money are those of `calls`. `dollars` is
    None where the price is unknown, `seconds` where no call of the model was timed yet. `assumed` names what no stored
    call could show.
    """

    asset: str
    role: Role
    model: str
    calls: int
    stored: int
    usage: Usage
    dollars: float | None
    seconds: float | None
    assumed: tuple[str, ...] = ()


def estimate_calls(models: ModelClients, domain: str, *, fresh: Collection[str] = ()) -> list[CallEstimate]:
    """Estimate the calls of a run of the domain, in the order of the lineage; none for assets that are `fresh`.

    Raises DataError if no document can be read, and SettingsError as a run would.
    """
    settings = models.project.settings(domain).values
    documents, chunks = _read_corpus(models, domain, settings, fresh)
    estimates: list[CallEstimate] = []
    if "chunk_embeddings" not in fresh:
        with models.caller(Role.EMBEDDING) as encoder:
            stored = encoder.has_embeddings([chunk.passage for chunk in chunks])
        new = [chunk.passage for chunk, is_stored in zip(chunks, stored, strict=True) if not is_stored]
        calls = -(-len(new) // MAX_TEXTS_PER_CALL)
        made = _estimate(models, "chunk_embeddings", Role.EMBEDDING, calls, Usage(sum(map(_count_tokens, new))))
        estimates.append(replace(made, stored=sum(stored)))
    with models.caller(Role.TEACHER) as teacher:
        form = recorded_form(models, Lake.of(models.project), domain)
        pairs = _PairEstimate.of(teacher, chunks, settings, structured=form.structured)
    if "qa_pairs" not in fresh:
        estimates += pairs.forecasts(models, settings)
    golden = parse_golden(domain_folder(models.project.data, domain) / QUESTIONS_FILE)
    renamed = former_paths(Lake.of(models.project), domain)
    resolved = resolve_golden_questions(golden, documents, chunks, renamed=renamed)
    held_out = {name for one in resolved for name in one.oracle_chunk_ids}
    trained, evaluated = pairs.rows(settings, kept=1 - len(held_out) / len(chunks))
    shape = _PromptShape(fmean([chunk.tokens for chunk in chunks]), pairs.answer_tokens, settings)
    if "finetuned_model" not in fresh:
        estimates.append(_estimate_training(models, shape, trained, settings))
    known = sum(question.answerable and bool(question.evidence) for question in golden)
    asked = _QuestionCounts(evaluated + known, len(golden) - known)
    for role in (Role.BASELINE, Role.STUDENT):
        if f"{role.value.lower()}_answers" not in fresh:
            estimates.append(_estimate_evaluation(models, role, shape, asked))
    if "judged_answers" not in fresh and Role.JUDGE in models.endpoints:
        estimates.append(_estimate_judging(models, shape, asked))
    return estimates


def _read_corpus(
    models: ModelClients, domain: str, settings: DomainSettings, fresh: Collection[str]
) -> tuple[Sequence[ReadDocument], list[Chunk]]:
    """Return the documents and their chunks as they are in the lake, else as they are cut by structure.

    Boundaries by embedding would cost money.
    """
    if {"source_documents", "chunks"}.issubset(fresh):
        lake = Lake.of(models.project)
        pages = lake.rows(SourceDocument, domain)
        return list(group_into_documents(pages)), list(lake.rows(Chunk, domain))
    structure = settings.chunks.model_copy(update={"boundaries": "structure"})
    documents = read_sources(models.project, domain).documents
    return documents, chunk_documents(models, structure, documents)


@dataclass(frozen=True)
class _PairEstimate:
    """Questions and answers of the teacher: how many are stored, how many are expected, and how long they will be."""

    question_requests: Sequence[Request]  # not stored
    answer_requests: Sequence[Request]  # to known questions, not stored
    expected: Sequence[tuple[Chunk, float]]  # chunks without known questions, and how many they will bring
    known_questions: int
    stored: int
    question_tokens: float  # of a question call's answer
    answer_tokens: float
    seconds: float | None  # of a call, median
    assumed: tuple[str, ...]
    structured: bool = False

    @classmethod
    def of(
        cls, teacher: Caller, chunks: Sequence[Chunk], settings: DomainSettings, *, structured: bool
    ) -> "_PairEstimate":
        question_of = structured_question_request if structured else question_request
        answer_of = structured_answer_request if structured else teacher_answer_request
        questions_in = parse_structured_questions if structured else parse_questions
        plan = first_round_plan(chunks, settings.questions)
        asked = [question_of(chunk, count, settings.questions) for chunk, count in plan]
        found = list(teacher.stored(asked))
        told = [
            (chunk, question)
            for (chunk, count), answer in zip(plan, found, strict=True)
            if answer
            for question in questions_in(answer.text, count)
        ]
        instructions = settings.prompt.instructions
        requests = [answer_of(question, chunk, settings.questions, instructions) for chunk, question in told]
        answers = list(teacher.stored(requests))
        sampled = [(count, answer) for (_, count), answer in zip(plan, found, strict=True) if answer]
        is_enough = len(sampled) >= MIN_SAMPLE
        share = len(told) / max(sum(count for count, _ in sampled), 1) if is_enough else 1.0
        lengths = _mean_output_tokens(answers)
        assumed = (*(() if is_enough else ("questions per call",)), *(() if lengths else ("length of answers",)))
        asked_of = fmean([count for _, count in plan]) if plan else 0.0
        return cls(
            question_requests=[request for request, answer in zip(asked, found, strict=True) if not answer],
            answer_requests=[request for request, answer in zip(requests, answers, strict=True) if not answer],
            expected=[(chunk, count * share) for (chunk, count), answer in zip(plan, found, strict=True) if not answer],
            known_questions=len(told),
            stored=len(sampled) + sum(answer is not None for answer in answers),
            question_tokens=_mean_output_tokens(found) or asked_of * ASSUMED_QUESTION_TOKENS,
            answer_tokens=lengths or ASSUMED_ANSWER_TOKENS,
            seconds=_median_seconds([*found, *answers]),
            assumed=assumed,
            structured=structured,
        )

    @property
    def questions(self) -> float:
        """All questions, known and expected."""
        return self.known_questions + sum(count for _, count in self.expected)

    def forecasts(self, models: ModelClients, settings: DomainSettings) -> Iterator[CallEstimate]:
        instructions = settings.prompt.instructions
        answer_of = structured_answer_request if self.structured else teacher_answer_request
        coming = [
            (count, _request_tokens(answer_of(TYPICAL_QUESTION, chunk, settings.questions, instructions)))
            for chunk, count in self.expected
        ]
        answers = len(self.answer_requests) + sum(count for count, _ in coming)
        usage = Usage(
            round(
                sum(map(_request_tokens, [*self.question_requests, *self.answer_requests]))
                + sum(count * tokens for count, tokens in coming)
            ),
            0,
            round(len(self.question_requests) * self.question_tokens + answers * self.answer_tokens),
        )
        calls = round(len(self.question_requests) + answers)
        made = _estimate(models, "qa_pairs", Role.TEACHER, calls, usage, seconds=self.seconds)
        yield replace(made, stored=self.stored, assumed=self.assumed if calls else ())
        if settings.questions.retrieval_top_k:
            new = answers  # a question is embedded when it is judged, and stored with its answer's call or not at all
            tokens = round(new * _count_tokens(TYPICAL_QUESTION))
            yield _estimate(models, "qa_pairs", Role.EMBEDDING, -(-round(new) // MAX_TEXTS_PER_CALL), Usage(tokens))
        if Role.JUDGE in models.endpoints:
            passage = fmean([chunk.tokens for chunk, _ in self.expected]) if self.expected else 0.0
            prompt = _request_tokens(judge_request(TYPICAL_QUESTION, "", "")) + self.answer_tokens + passage
            judged = round(answers * ASSUMED_ACCEPTED)
            usage = Usage(round(judged * prompt), 0, judged * ASSUMED_VERDICT_TOKENS)
            verdicts = _estimate(models, "qa_pairs", Role.JUDGE, judged, usage)
            yield replace(verdicts, assumed=("accepted pairs", "length of verdicts"))

    def rows(self, settings: DomainSettings, *, kept: float) -> tuple[float, float]:
        """Return the number of rows that train and that evaluate.

        `kept` is the share of chunks that no golden question holds out.
        """
        rows = self.questions * ASSUMED_ACCEPTED * kept
        evaluated = rows * settings.dataset.eval_share
        most = settings.evaluation.max_rows
        trained = rows * (1 - settings.dataset.eval_share - settings.dataset.valid_share)  # validation costs nothing
        return trained, evaluated if most is None else min(evaluated, most)


@dataclass(frozen=True)
class _QuestionCounts:
    """Questions of the evaluation: under every arm, and golden questions without evidence."""

    everywhere: float
    only_retrieved: int


@dataclass(frozen=True)
class _PromptShape:
    """Lengths of prompts and answers of rows, in tokens."""

    passage: float
    answer: float
    settings: DomainSettings

    def prompt(self, documents: float) -> float:
        empty = answer_request(TYPICAL_QUESTION, [], "chat", 1, self.settings.prompt.instructions)
        return _request_tokens(empty) + documents * self.passage


def _estimate_training(
    models: ModelClients, shape: _PromptShape, rows: float, settings: DomainSettings
) -> CallEstimate:
    epochs = AUTO_EPOCHS if settings.training.n_epochs == "auto" else settings.training.n_epochs
    tokens = round(rows * (shape.prompt(1 + settings.dataset.distractors) + shape.answer) * epochs)
    endpoint = models.endpoints[Role.STUDENT]
    price = models.prices.of(endpoint)
    assumed = ("accepted pairs", *(("epochs",) if settings.training.n_epochs == "auto" else ()))
    return CallEstimate(
        "finetuned_model", Role.STUDENT, endpoint.model, 1, 0, Usage(tokens), price.training_cost(tokens), None, assumed
    )


def _estimate_evaluation(models: ModelClients, role: Role, shape: _PromptShape, asked: _QuestionCounts) -> CallEstimate:
    settings, questions = shape.settings, asked.everywhere
    distractors, top_k = settings.dataset.distractors, settings.evaluation.top_k
    shown = {"main": 1 + distractors, "retrieved": top_k, "distractors_only": distractors, "closed_book": 0}
    prompts = [(questions, shown[arm]) for arm in settings.evaluation.arms]
    prompts += [(asked.only_retrieved, top_k)] * ("retrieved" in settings.evaluation.arms)
    varied = {(count, kind) for _, count, kind in robustness_arms(settings.dataset)}
    varied -= {(distractors, settings.dataset.distractor_kind)}  # is the main arm, and stored with it
    prompts += [(min(questions, settings.evaluation.robustness_rows), 1 + count) for count, _ in varied]
    calls = round(sum(count for count, _ in prompts))
    usage = Usage(
        round(sum(count * shape.prompt(documents) for count, documents in prompts)), 0, round(calls * shape.answer)
    )
    made = _estimate(models, f"{role.value.lower()}_answers", role, calls, usage)
    return replace(made, assumed=("accepted pairs", "length of answers"))


def _estimate_judging(models: ModelClients, shape: _PromptShape, asked: _QuestionCounts) -> CallEstimate:
    """Estimate the judging of both models' answers by every metric; only groundedness is shown the documents."""
    settings = shape.settings.judging
    questions = min(asked.everywhere, settings.max_questions)
    rated = 2 * (questions + min(questions, settings.repeated_questions))
    documents = (1 + shape.settings.dataset.distractors) * shape.passage
    metric_tokens = sum(
        _count_tokens(read_prompt("raft_assets.evaluation", metric).instructions) for metric in settings.metrics
    )
    prompts = metric_tokens + len(settings.metrics) * (
        shape.answer + _count_tokens(TYPICAL_QUESTION) + 2 * TOKENS_PER_MESSAGE
    )
    prompts += documents * ("groundedness" in settings.metrics)
    calls = round(rated * len(settings.metrics))
    usage = Usage(round(rated * prompts), 0, calls * ASSUMED_VERDICT_TOKENS)
    made = _estimate(models, "judged_answers", Role.JUDGE, calls, usage)
    return replace(made, assumed=("accepted pairs", "length of verdicts"))


def _estimate(
    models: ModelClients, asset: str, role: Role, calls: int, usage: Usage, *, seconds: float | None = None
) -> CallEstimate:
    endpoint = models.endpoints[role]
    price: Price = models.prices.of(endpoint)
    at_once = min(CALLS_AT_ONCE, endpoint.limits.max_concurrency)
    return CallEstimate(
        asset,
        role,
        endpoint.model,
        calls,
        0,
        usage,
        price.of(usage),
        None if seconds is None else calls * seconds / at_once,
    )


_count_tokens = partial(token_count, tokenizer="o200k_base")


def _request_tokens(request: Request) -> int:
    messages = request.body["messages"]
    return sum(_count_tokens(message["content"]) + TOKENS_PER_MESSAGE for message in messages)


def _mean_output_tokens(answers: Iterable[Answer | None]) -> float | None:
    """Return the mean length of stored answers in tokens; None for a sample that is too small."""
    lengths = [answer.usage.output_tokens for answer in answers if answer and answer.status == "ok"]
    return fmean(lengths) if len(lengths) >= MIN_SAMPLE else None


def _median_seconds(answers: Iterable[Answer | None]) -> float | None:
    times = [answer.latency_s for answer in answers if answer]
    return median(times) if times else None
