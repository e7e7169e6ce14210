"""What a domain's next run will ask of its models: calls, tokens, money and time, before it starts.

Documents are read and cut as in the lineage, requests are those that it will make, and calls in the call store count as
paid. What only the models can show (how many questions a call brings, which pairs pass the gates, how long answers are)
is measured on the stored calls of the same corpus, which `raft preview` makes by an even sample; without enough of them
it is assumed, and listed as an assumption. What isn't known is a range. The embedded teacher is rules of this package:
what it will ask is computed (predicted), for as many chunks as take seconds.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

from raft_assets.core.errors import EndpointError, SettingsError
from raft_assets.core.prompt_contract import CLOSED_BOOK_INSTRUCTIONS
from raft_assets.core.tables import Arm, Chunk
from raft_assets.dataset.golden import golden_chunk_ids, resolve_golden_questions
from raft_assets.dataset.golden import read_golden_questions as parse_golden
from raft_assets.evaluation.arms import MIN_GOLDEN_QUESTIONS, robustness_arms
from raft_assets.llm.prompts import answer_request, read_prompt
from raft_assets.llm.requests import Answer, Request, Usage
from raft_assets.operations.corpus import Corpus
from raft_assets.operations.deploying import deployed_student
from raft_assets.operations.document_ids import former_paths_of
from raft_assets.operations.evaluation import known_requests
from raft_assets.operations.expected_epochs import are_epochs_chosen, known_epochs
from raft_assets.operations.expected_pairs import LANGUAGE_MODEL, ExpectedPairs, Scenario
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.ranges import MAX_WIDTH, CallEstimate, Length, estimate_of_ways, output_tokens
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.operations.request_tokens import TOKENS_PER_MESSAGE, count_tokens, request_tokens, wording
from raft_assets.operations.splits import read_register
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.student_tokens import student_tokenizer
from raft_assets.operations.teacher_sample import TeacherSample
from raft_assets.pairs.judge import judge_request
from raft_assets.pairs.questions import teacher_answer_request
from raft_assets.pairs.structured import structured_answer_request
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import QUESTIONS_FILE, domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.student.approval import auto_epochs
from raft_assets.student.deployment import StudentDeployment, smoke_request

ASSUMED_QUESTION_TOKENS = 18
ASSUMED_VERDICT_TOKENS = (25, 60)
ASSUMED_QUESTION_LENGTHS = (11, 18)  # tokens of a question that is embedded
# of what answers of the teacher have: baseline and student are asked the same way, and abstain more briefly
ASSUMED_ANSWER_SHARE = (0.75, 1.1)
MAX_WIDTH_PREVIEWED, PREVIEWED_CHUNKS = 1.3, 20  # after a preview of so many chunks
ABSTENTION_TOKENS = 25
SMOKE_ANSWER_TOKENS = (35, 65)
SHORT_DOCUMENT = "Bats"
TYPICAL_QUESTION = "What does the passage say about the subject that it explains first?"
DATASET = frozenset({"qa_dataset", "golden_questions", "chunks", "chunk_embeddings"})  # what an evaluation asks about
SAMPLED_PASSAGES = 50  # of which tokenizers are compared


def estimate_calls(
    models: ModelClients, domain: str, corpus: Corpus, *, fresh: Collection[str] = ()
) -> list[CallEstimate]:
    """Estimate the calls of a run of the domain, in the order of the lineage; none for assets that are `fresh`.

    Raises SettingsError as a run would.
    """
    settings = resolve_student_form(models.project, Lake.of(models.project), domain, keep=False)
    documents, chunks = corpus.documents, corpus.chunks
    estimates: list[CallEstimate] = []
    if "chunk_embeddings" not in fresh:
        estimates.append(_estimate_embeddings(models, chunks))
    golden = parse_golden(domain_folder(models.project.data, domain) / QUESTIONS_FILE)
    renamed = former_paths_of(Lake.of(models.project), domain, documents)
    resolved = resolve_golden_questions(golden, documents, chunks, renamed=renamed)
    held_out = golden_chunk_ids(resolved) if settings.dataset.protocol == "unseen_passages" else frozenset[str]()
    sample = TeacherSample.read(models, domain, chunks, settings)
    pairs = ExpectedPairs(
        chunks,
        settings,
        known=sample.outcomes,
        unanswered=sample.unanswered,
        predicted=sample.prediction.outcomes,
        retrieved=sample.retrieved,
        golden_chunk_ids=held_out,
        register=read_register(Lake.of(models.project), domain, settings.dataset),
        relate=remembered_relations(models.project, domain),
    )
    if "qa_pairs" not in fresh:
        estimates += _estimate_pairs(models, settings, sample, pairs)
    rows = _Rows(models, settings, chunks, sample, pairs)
    if "finetuned_model" not in fresh and not settings.student.finetuned_model:
        estimates.append(_estimate_training(rows))
    known = sum(question.answerable and bool(question.evidence) for question in golden)
    if "deployment" not in fresh:
        estimates.append(_estimate_smoke_test(models, settings))
    for role in (Role.BASELINE, Role.STUDENT):
        asset = f"{role.value.lower()}_answers"
        if asset not in fresh:
            if golden and role is Role.BASELINE:  # the student's are the same
                estimates.append(_estimate_golden_embeddings(models, [one.question for one in golden], asset))
            stored = _estimate_known_evaluation(rows, role, domain, fresh) if DATASET.issubset(fresh) else None
            estimates.append(stored or _estimate_evaluation(rows, role, known, len(golden) - known))
    if "judged_answers" not in fresh and Role.JUDGE in models.endpoints:
        estimates.append(_estimate_judging(rows, known))
    return estimates


def _estimate_embeddings(models: ModelClients, chunks: Sequence[Chunk]) -> CallEstimate:
    with models.caller(Role.EMBEDDING) as encoder:
        stored = encoder.has_embeddings([chunk.passage for chunk in chunks])
        new = [chunk.passage for chunk, is_stored in zip(chunks, stored, strict=True) if not is_stored]
        calls = encoder.embedding_calls(new)
    made = estimate_of_ways(models, "chunk_embeddings", Role.EMBEDDING, [(calls, Usage(sum(map(count_tokens, new))))])
    return replace(made, stored=sum(stored))


def _estimate_pairs(
    models: ModelClients, settings: DomainSettings, sample: TeacherSample, pairs: ExpectedPairs
) -> Iterator[CallEstimate]:
    answer_of = structured_answer_request if sample.form.structured else teacher_answer_request
    instructions = settings.prompt.instructions
    as_sent = wording(models, Role.TEACHER)
    to_ask = sum(request_tokens(as_sent(request)) for request in sample.question_requests)
    known = sum(request_tokens(as_sent(request)) for request in sample.answer_requests)
    prediction = sample.prediction
    per_answer = _mean(
        request_tokens(as_sent(request))
        for request in prediction.answer_requests
        or (answer_of(TYPICAL_QUESTION, chunk, settings.questions, instructions) for chunk, _ in sample.new_chunks)
    )
    per_question_call = Length.of(prediction.questions or output_tokens(sample.questions)) or Length(
        *(share * ASSUMED_QUESTION_TOKENS * _mean(count for _, count in sample.new_chunks) for share in (0.6, 1.2))
    )
    per_reply = Length.of(prediction.answers or output_tokens(sample.answers)) or Length(*LANGUAGE_MODEL.answer_tokens)
    written = sample.written_length

    def usage(scenario: Scenario) -> tuple[float, Usage]:
        coming = scenario.new_questions - len(sample.answer_requests)
        tokens = (to_ask + known + coming * per_answer) * sample.input_ratio
        output = len(sample.question_requests) * per_question_call.at(scenario.tokens)
        output += scenario.new_questions * per_reply.at(scenario.tokens)
        calls = len(sample.question_requests) + scenario.new_questions
        return calls, Usage(round(tokens), round(tokens * sample.cached_share), round(output))

    seconds = median(answer.latency_s for answer in [*sample.questions, *sample.answers]) if sample.questions else None
    made = estimate_of_ways(
        models, "qa_pairs", Role.TEACHER, map(usage, pairs.scenarios), seconds=seconds, widest=_widest(pairs)
    )
    assumed = (
        *(() if pairs.is_sampled or prediction.outcomes else ("questions per call",)),
        *(() if sample.is_enough or prediction.outcomes else ("length of answers",)),
    )
    yield replace(made, stored=len(sample.questions) + len(sample.answers), assumed=assumed if made.calls else ())
    if settings.questions.retrieval_top_k:
        yield _estimate_question_embeddings(models, sample, pairs)
    if Role.JUDGE in models.endpoints:
        prompt = request_tokens(judge_request(TYPICAL_QUESTION, "", "")) + _mean(
            chunk.tokens for chunk, _ in sample.new_chunks
        )
        verdict = Length(*ASSUMED_VERDICT_TOKENS)
        judged = [
            (
                scenario.new_accepted,
                Usage(
                    round(scenario.new_accepted * (prompt + written.at(scenario.tokens))),
                    0,
                    round(scenario.new_accepted * verdict.at(scenario.tokens)),
                ),
            )
            for scenario in pairs.scenarios
        ]
        verdicts = estimate_of_ways(models, "qa_pairs", Role.JUDGE, judged, widest=_widest(pairs))
        yield replace(verdicts, assumed=("accepted pairs", "length of verdicts"))


def _estimate_question_embeddings(models: ModelClients, sample: TeacherSample, pairs: ExpectedPairs) -> CallEstimate:
    """Estimate the vectors of questions: those that are known, and those to come."""
    questions = sample.prediction.asked or sample.told
    length = Length.of(list(map(count_tokens, questions))) or Length(*ASSUMED_QUESTION_LENGTHS)
    with models.caller(Role.EMBEDDING) as encoder:
        stored = encoder.has_embeddings(sample.told)
        known = [question for question, is_stored in zip(sample.told, stored, strict=True) if not is_stored]
        tokens = sum(map(count_tokens, known))
        coming = {scenario: scenario.new_questions - len(sample.answer_requests) for scenario in pairs.scenarios}
        ways = [
            (
                encoder.embedding_calls([*known, *[TYPICAL_QUESTION] * count]),
                Usage(round(tokens + count * length.at(scenario.tokens))),
            )
            for scenario, count in coming.items()
        ]
    return estimate_of_ways(models, "qa_pairs", Role.EMBEDDING, ways, widest=_widest(pairs))


def _estimate_golden_embeddings(models: ModelClients, questions: Sequence[str], asset: str) -> CallEstimate:
    """Estimate the vectors of golden questions, for the retrieved arm."""
    with models.caller(Role.EMBEDDING) as encoder:
        stored = encoder.has_embeddings(questions)
        new = [question for question, is_stored in zip(questions, stored, strict=True) if not is_stored]
        calls = encoder.embedding_calls(new)
    return estimate_of_ways(models, asset, Role.EMBEDDING, [(calls, Usage(sum(map(count_tokens, new))))])


@dataclass(frozen=True)
class _Prompt:
    """Tokens of the prompt of a question: without documents, around each of them, and from memory (closed book)."""

    empty: int
    around: int
    closed_book: int

    @classmethod
    def of(
        cls,
        settings: DomainSettings,
        count: Callable[[str], int] = count_tokens,
        *,
        as_sent: Callable[[Request], Request] = lambda request: request,
    ) -> "_Prompt":
        """Measure the prompts of a domain's student; `as_sent`: what becomes of one on its way to a model."""
        student = settings.student

        def measured(documents: int, instructions: str | None) -> int:
            request = answer_request(
                TYPICAL_QUESTION,
                [SHORT_DOCUMENT] * documents,
                student.format,
                1,
                instructions,
                has_examples=student.examples == "always",
            )
            return request_tokens(as_sent(request), count)

        one, two = (measured(documents, settings.prompt.instructions) for documents in (1, 2))
        around = two - one - count(SHORT_DOCUMENT)
        return cls(2 * one - two, around, measured(0, CLOSED_BOOK_INSTRUCTIONS))

    def tokens(self, documents: int, passage: float) -> float:
        """Return the tokens with so many documents of so many tokens."""
        return self.empty + documents * (self.around + passage) if documents else self.closed_book


class _Rows:
    """What training and evaluation have in common: lengths of prompts and answers, and the rows of each scenario."""

    def __init__(
        self,
        models: ModelClients,
        settings: DomainSettings,
        chunks: Sequence[Chunk],
        sample: TeacherSample,
        pairs: ExpectedPairs,
    ) -> None:
        self.models, self.settings = models, settings
        self.chunks = chunks
        self.scenarios = pairs.scenarios
        self.widest = _widest(pairs)
        self.answer = sample.written_length
        self.assumed = () if pairs.is_sampled else ("accepted pairs",)
        self.passage = _mean(chunk.tokens for chunk in chunks)
        self.trained_passage = _mean(chunk.tokens for chunk in chunks if chunk.chunk_id not in pairs.golden)

    @property
    def evaluated(self) -> "Length":
        """The length of an answer of baseline or student."""
        return Length(self.answer.low * ASSUMED_ANSWER_SHARE[0], self.answer.high * ASSUMED_ANSWER_SHARE[1])

    def passages(self, documents: int) -> int:
        """Return how many documents a prompt has: no more than there are chunks."""
        return min(documents, len(self.chunks))


def _estimate_training(rows: _Rows) -> CallEstimate:
    settings, models = rows.settings, rows.models
    student = models.endpoints[Role.STUDENT]
    price = models.prices.of(student)
    _, count = student_tokenizer(models.project, student, settings.training_files.tokenizer)
    ratio, prompt = _tokenizer_ratio(rows.chunks, count), _Prompt.of(settings, count)
    teaches_abstention = settings.dataset.without_oracle == "abstain"
    answered = settings.dataset.p if teaches_abstention else 1.0

    def tokens(scenario: Scenario) -> float:
        answer = answered * rows.answer.at(scenario.tokens) + (1 - answered) * ABSTENTION_TOKENS
        documents = rows.passages(1 + settings.dataset.distractors)
        return scenario.trained * (prompt.tokens(documents, rows.trained_passage * ratio) + answer * ratio)

    epochs = known_epochs(models, settings.training)
    passes = [tokens(scenario) for scenario in rows.scenarios]
    ways = [
        (1, Usage(round(one * times)))
        for one, scenario in zip(passes, rows.scenarios, strict=True)
        for times in epochs or [auto_epochs(scenario.trained)]
    ]
    widest = rows.widest
    if epochs and epochs[0] < epochs[1] and min(passes):  # two causes that have nothing to do with each other
        of_rows = math.log(min(max(passes) / min(passes), widest))
        widest = math.exp(math.hypot(of_rows, math.log(epochs[1] / epochs[0])))
    made = estimate_of_ways(
        models,
        "finetuned_model",
        Role.STUDENT,
        ways,
        cost=lambda used: price.training_cost(used.input_tokens),
        widest=widest,
    )
    is_chosen = are_epochs_chosen(models, settings.training)
    return replace(made, assumed=(*rows.assumed, *(("epochs",) if is_chosen else ())))


def _estimate_smoke_test(models: ModelClients, settings: DomainSettings) -> CallEstimate:
    request = wording(models, Role.STUDENT)(smoke_request(settings.student, 1, settings.prompt.instructions))
    ways = [(1, Usage(request_tokens(request), 0, tokens)) for tokens in SMOKE_ANSWER_TOKENS]
    return estimate_of_ways(models, "deployment", Role.STUDENT, ways)


def _estimate_evaluation(rows: _Rows, role: Role, known: int, only_retrieved: int) -> CallEstimate:
    """Estimate the answers to evaluation rows and golden questions.

    `known`: golden questions with evidence, asked under every arm; `only_retrieved`: the others.
    """
    settings, evaluation = rows.settings, rows.settings.evaluation
    distractors, top_k = settings.dataset.distractors, evaluation.top_k
    shown = {"main": 1 + distractors, "retrieved": top_k, "distractors_only": distractors, "closed_book": 0}
    prompt = _Prompt.of(settings, as_sent=wording(rows.models, role))
    varied = {(count, kind) for _, count, kind in robustness_arms(settings.dataset)}
    varied -= {(distractors, settings.dataset.distractor_kind)}  # is the main arm, and stored with it
    # from memory there is nothing to quote; and a student may have learned to abstain where no document answers
    brief: set[Arm] = {"closed_book"}
    if role is Role.STUDENT and settings.dataset.without_oracle == "abstain":
        brief.add("distractors_only")

    def usage(scenario: Scenario) -> tuple[float, Usage]:
        questions = scenario.evaluated + known
        prompts = [(questions, shown[arm]) for arm in evaluation.arms]
        prompts += [(only_retrieved, top_k)] * ("retrieved" in evaluation.arms)
        decisive = known if known >= MIN_GOLDEN_QUESTIONS else scenario.evaluated
        prompts += [(min(decisive, evaluation.robustness_rows), 1 + count) for count, _ in varied]
        calls = sum(count for count, _ in prompts)
        tokens = sum(count * prompt.tokens(rows.passages(documents), rows.passage) for count, documents in prompts)
        briefly = questions * len(brief.intersection(evaluation.arms))
        length = rows.evaluated.at(scenario.tokens)
        short = ABSTENTION_TOKENS + (length - ABSTENTION_TOKENS) * scenario.tokens
        return calls, Usage(round(tokens), 0, round((calls - briefly) * length + briefly * short))

    made = estimate_of_ways(
        rows.models, f"{role.value.lower()}_answers", role, map(usage, rows.scenarios), widest=rows.widest
    )
    return replace(made, assumed=(*rows.assumed, "length of answers"))


def _estimate_known_evaluation(rows: _Rows, role: Role, domain: str, fresh: Collection[str]) -> CallEstimate | None:
    """Estimate the answers that aren't stored, where the dataset is there; None where they can't be looked up.

    A student that is trained anew has answered nothing.
    """
    models, lake = rows.models, Lake.of(rows.models.project)
    try:
        requests = known_requests(models, lake, domain)
        if requests is None:
            return None
        answers = list[Answer | None]([None] * len(requests))
        deployed = _trained_student(lake, domain) if role is Role.STUDENT and "finetuned_model" in fresh else None
        if deployed or role is Role.BASELINE:
            with models.caller(role, deployed=deployed) as caller:
                answers = list(caller.stored(requests))
    except (SettingsError, EndpointError):  # such as a budget without a price: the run says so if it comes to calls
        return None
    missing = [request for request, answer in zip(requests, answers, strict=True) if answer is None]
    made = _estimate_prompts(
        models,
        role,
        missing,
        seen=Length.of(output_tokens(answer for answer in answers if answer)),
        otherwise=rows.evaluated,
        widest=rows.widest,
    )
    return replace(made, stored=len(requests) - len(missing))


def _trained_student(lake: Lake, domain: str) -> StudentDeployment | None:
    """Return the student of the last training if it was deployed."""
    deployed = deployed_student(lake, domain)
    if deployed is None:
        return None
    trained: str = lake.read_record("finetuned_model", domain)["training_hash"]
    return deployed if deployed.training_hash == trained else None


def estimate_student_answers(
    models: ModelClients,
    model: str,
    requests: Sequence[Request],
    *,
    stored: int,
    lengths: Sequence[int],
    priced_as: str,
) -> CallEstimate:
    """Estimate the answers of one student to prompts that are known word for word.

    `priced_as`: the model whose price its calls have. `lengths`: tokens of another model's answers to them. `stored`:
    how many more are answered already.
    """
    endpoint = models.endpoints[Role.STUDENT]
    price = models.prices.of(endpoint, priced_as)
    made = _estimate_prompts(
        models,
        Role.STUDENT,
        requests,
        seen=Length.of(lengths),
        otherwise=Length(*LANGUAGE_MODEL.answer_tokens),
        cost=partial(price.of, batched=endpoint.batch),
    )
    return replace(made, model=model, stored=stored)


def _estimate_prompts(
    models: ModelClients,
    role: Role,
    requests: Sequence[Request],
    *,
    seen: "Length | None",
    otherwise: "Length",
    cost: Callable[[Usage], float | None] | None = None,
    widest: float = MAX_WIDTH,
) -> CallEstimate:
    """Estimate the answers of baseline or student to prompts that are known word for word.

    Their length is the one `seen` of other answers, `otherwise` an assumed one.
    """
    as_sent, length = wording(models, role), seen or otherwise
    tokens = sum(request_tokens(as_sent(request)) for request in requests)
    ways = [(len(requests), Usage(tokens, 0, round(len(requests) * length.at(place)))) for place in (0.0, 0.5, 1.0)]
    made = estimate_of_ways(models, f"{role.value.lower()}_answers", role, ways, cost=cost, widest=widest)
    return replace(made, assumed=() if seen or not requests else ("length of answers",))


def _estimate_judging(rows: _Rows, known: int) -> CallEstimate:
    """Estimate the judging of both models' answers by every metric; only groundedness is shown the documents."""
    settings = rows.settings.judging
    documents = (1 + rows.settings.dataset.distractors) * rows.passage * ("groundedness" in settings.metrics)
    instructions = sum(
        count_tokens(read_prompt("raft_assets.evaluation", metric).instructions) for metric in settings.metrics
    )
    verdict = Length(*ASSUMED_VERDICT_TOKENS)

    def usage(scenario: Scenario) -> tuple[float, Usage]:
        questions = min(scenario.evaluated + known, settings.max_questions)
        rated = 2 * (questions + min(questions, settings.repeated_questions))
        answer = rows.answer.at(scenario.tokens) + count_tokens(TYPICAL_QUESTION) + 2 * TOKENS_PER_MESSAGE
        calls = rated * len(settings.metrics)
        tokens = rated * (instructions + documents + len(settings.metrics) * answer)
        return calls, Usage(round(tokens), 0, round(calls * verdict.at(scenario.tokens)))

    made = estimate_of_ways(rows.models, "judged_answers", Role.JUDGE, map(usage, rows.scenarios), widest=rows.widest)
    return replace(made, assumed=(*rows.assumed, "length of verdicts"))


def _widest(pairs: ExpectedPairs) -> float:
    """Return how wide a range may be that follows from the pairs."""
    return MAX_WIDTH_PREVIEWED if pairs.sampled >= PREVIEWED_CHUNKS else MAX_WIDTH


def _tokenizer_ratio(chunks: Sequence[Chunk], count: Callable[[str], int]) -> float:
    """Return the student's tokens of some passages to those counted here."""
    passages = [chunk.passage for chunk in chunks[:: max(len(chunks) // SAMPLED_PASSAGES, 1)]]
    return sum(map(count, passages)) / max(sum(map(count_tokens, passages)), 1)


def _mean(numbers: Iterable[float]) -> float:
    """Return the mean; 0 of none."""
    listed = list(numbers)
    return fmean(listed) if listed else 0.0
