"""The arms: what a model is shown with each evaluation question, the prompt made of it, and its answer as a row.

Evaluation rows always have their oracle; arms are made here. Nothing depends on the model, so baseline and student get
the very same prompts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from raft_assets.core.identity import draw
from raft_assets.core.prompt_contract import (
    closed_book_instructions_in,
    instructions_in,
    parse_answer,
    render_user_message,
    repeats,
)
from raft_assets.core.tables import (
    ANSWERS,
    Arm,
    Chunk,
    EvaluatedModel,
    GoldenQuestion,
    ModelAnswer,
    QuestionSource,
    RaftRow,
    RobustnessArm,
)
from raft_assets.dataset.distractors import MAX_HARD_CANDIDATES, DistractorKind, DistractorPool
from raft_assets.llm.prompts import answer_request
from raft_assets.llm.requests import Answer, Request
from raft_assets.pairs.questions import classify_question
from raft_assets.settings.domain import DatasetSettings, DomainSettings, EvaluationSettings

Nearest = Callable[[str, int], Sequence[str]]

MIN_GOLDEN_QUESTIONS = 30  # below, generated questions are shown more documents
PROMPT_OVERHEAD_TOKENS = 500  # about what instructions, delimiters and question have


@dataclass(frozen=True)
class EvaluationItem:
    """A question with what a model is shown under one arm; the fields are those of `ModelAnswer`."""

    question_id: str
    source: QuestionSource
    arm: Arm | RobustnessArm
    question: str
    documents: tuple[str, ...]
    document_chunk_ids: tuple[str, ...]
    oracle_chunk_ids: tuple[str, ...]
    golden_answers: tuple[str, ...]
    answerable: bool
    kind: str
    cluster: str
    language: str = ""


@dataclass(frozen=True)
class _ShownDocuments:
    """The documents shown with a question, and whether they contain an answer."""

    chunk_ids: tuple[str, ...]
    oracle_chunk_ids: tuple[str, ...]
    answerable: bool = True


@dataclass(frozen=True)
class _EvaluationQuestion:
    """A question with its documents in the main arm; none where its oracle chunk is unknown."""

    question_id: str
    source: QuestionSource
    question: str
    chunk_ids: tuple[str, ...]
    oracle_chunk_ids: tuple[str, ...]
    golden_answers: tuple[str, ...]
    answerable: bool
    kind: str
    language: str

    @property
    def cluster(self) -> str:
        return self.oracle_chunk_ids[0] if self.oracle_chunk_ids else self.question_id


def build_items(
    rows: Iterable[RaftRow],
    golden: Sequence[GoldenQuestion],
    chunks: Sequence[Chunk],
    *,
    nearest: Nearest,
    evaluation: EvaluationSettings,
    dataset: DatasetSettings,
    group_of: Mapping[str, str] | None = None,
) -> list[EvaluationItem]:
    """Build every question under every arm that applies to it, sorted by arm, source and question.

    Golden questions without known evidence, and those that the documents don't answer, are asked in the retrieved arm
    only. `nearest` returns the chunks nearest to a question, nearest first; none for a question without a vector, which
    the retrieved arm leaves out. `group_of`: groups of near-duplicate chunks, where they are known already.
    """
    text_of = {chunk.chunk_id: chunk.passage for chunk in chunks}
    pool = DistractorPool(chunks, near_duplicate=dataset.near_duplicate, group_of=group_of)
    evaluated = _sample_rows((row for row in rows if row.split == "eval"), evaluation.max_rows, dataset.seed)
    beside = _DistractorPicker(pool, nearest, dataset)
    asked = [*map(_from_row, evaluated), *(_from_golden(question, beside) for question in golden)]
    shown: list[tuple[_EvaluationQuestion, Arm | RobustnessArm, _ShownDocuments | None]] = [
        (question, arm, _documents_for(question, arm, pool, nearest, evaluation.top_k))
        for question in asked
        for arm in evaluation.arms
    ]
    shown += [
        (question, arm, _ShownDocuments(beside.with_oracles(question, count, kind), question.oracle_chunk_ids))
        for question in _robustness_questions(asked, evaluation.robustness_rows, dataset.seed)
        for arm, count, kind in robustness_arms(dataset)
    ]
    made = [_build_item(question, arm, documents, text_of) for question, arm, documents in shown if documents]
    return sorted(made, key=lambda item: (item.arm, item.source, item.question_id))


def robustness_arms(dataset: DatasetSettings) -> list[tuple[RobustnessArm, int, DistractorKind]]:
    """Return the arms of robustness with number and kind of their distractors.

    The main arm shows one of each.
    """
    counts: dict[RobustnessArm, int] = {
        "distractors_1": 1,
        "distractors_3": 3,
        "distractors_5": 5,
        "distractors_10": 10,
    }
    return [
        *((arm, count, dataset.distractor_kind) for arm, count in counts.items()),
        ("random_distractors", dataset.distractors, "random"),
        ("hard_distractors", dataset.distractors, "hard"),
    ]


def max_prompt_tokens(settings: DomainSettings) -> int:
    """Return about how many tokens a prompt with its answer has at most."""
    evaluation, dataset = settings.evaluation, settings.dataset
    varied = [count for _, count, _ in robustness_arms(dataset)] if evaluation.robustness_rows else []
    documents = max(evaluation.top_k, 1 + max([dataset.distractors, *varied]))
    return documents * settings.chunks.chunk_size + PROMPT_OVERHEAD_TOKENS + evaluation.max_answer_tokens


def item_request(
    item: EvaluationItem,
    form: Literal["chat", "completion"],
    settings: EvaluationSettings,
    instructions: str | None = None,
    *,
    has_examples: bool = False,
) -> Request:
    """Build the prompt of an item in the student's format, with the domain's instructions and worked examples."""
    told = closed_book_instructions_in(item.language) if item.arm == "closed_book" else instructions
    most = settings.max_answer_tokens
    asked = answer_request(
        item.question, item.documents, form, most, told, has_examples=has_examples, language=item.language
    )
    return asked.with_parameters(temperature=settings.temperature, seed=settings.seed)


def to_model_answer(
    item: EvaluationItem,
    answer: Answer,
    *,
    evaluated: EvaluatedModel,
    model: str,
    instructions: str | None = None,
) -> ModelAnswer:
    """Build the row of a model's answer, read by the prompt contract; a failed call is a row with its status.

    A model that repeats its prompt has given no answer. `instructions`: those set for the domain.
    """
    parsed = parse_answer(answer.text, instructions or instructions_in(item.language))
    shown = render_user_message(item.question, item.documents)
    is_echo = answer.status == "ok" and (parsed.is_echo or (not parsed.final_answer and repeats(answer.text, shown)))
    return ANSWERS[evaluated](
        question_id=item.question_id,
        source=item.source,
        arm=item.arm,
        evaluated=evaluated,
        model=model,
        question=item.question,
        documents=list(item.documents),
        document_chunk_ids=list(item.document_chunk_ids),
        oracle_chunk_ids=list(item.oracle_chunk_ids),
        golden_answers=list(item.golden_answers),
        answerable=item.answerable,
        kind=item.kind,
        cluster=item.cluster,
        language=item.language,
        answer=answer.text,
        final_answer=parsed.final_answer,
        quotes=list(parsed.quotes),
        abstained=parsed.abstained,
        well_formed=parsed.well_formed,
        status="echo" if is_echo else answer.status,
        detail="The model repeated its prompt instead of answering." if is_echo else answer.detail,
        call=answer.key,
    )


def recall_by_source(items: Iterable[EvaluationItem] | Iterable[ModelAnswer]) -> dict[str, float]:
    """Return the share of retrieved questions with a known oracle chunk whose documents contain one, by source.

    Golden questions first; a source without such a question is left out.
    """
    known: dict[str, list[bool]] = {"golden": [], "generated": []}
    for item in items:
        if item.arm == "retrieved" and item.oracle_chunk_ids:
            known[item.source].append(item.answerable)
    return {source: sum(found) / len(found) for source, found in known.items() if found}


def _sample_rows(rows: Iterable[RaftRow], most: int | None, seed: int) -> list[RaftRow]:
    """Sample the same rows in every arm, and the same ones however many others there are."""
    kept = list(rows)
    return kept if most is None else sorted(kept, key=lambda row: draw(seed, "evaluated", row.question_id))[:most]


def _from_row(row: RaftRow) -> _EvaluationQuestion:
    return _EvaluationQuestion(
        question_id=row.question_id,
        source="generated",
        question=row.question,
        chunk_ids=tuple(row.document_chunk_ids),
        oracle_chunk_ids=(row.chunk_id,),
        golden_answers=(row.final_answer,),
        answerable=True,
        kind=row.kind,
        language=row.language,
    )


def _from_golden(question: GoldenQuestion, beside: "_DistractorPicker") -> _EvaluationQuestion:
    asked = _EvaluationQuestion(
        question_id=question.question_id,
        source="golden",
        question=question.question,
        chunk_ids=(),
        oracle_chunk_ids=tuple(question.oracle_chunk_ids),
        golden_answers=tuple(question.answers),
        answerable=question.answerable,
        kind=classify_question(question.question, "prose", question.language),
        language=question.language,
    )
    return replace(asked, chunk_ids=beside.with_oracles(asked)) if asked.oracle_chunk_ids else asked


def _robustness_questions(asked: Sequence[_EvaluationQuestion], most: int, seed: int) -> list[_EvaluationQuestion]:
    """Choose questions of the source that decides, golden if there are enough, whatever the number of others."""
    known = [question for question in asked if question.oracle_chunk_ids and question.answerable]
    golden = [question for question in known if question.source == "golden"]
    chosen = golden if len(golden) >= MIN_GOLDEN_QUESTIONS else [one for one in known if one.source == "generated"]
    return sorted(chosen, key=lambda question: draw(seed, "varied", question.question_id))[:most]


def _documents_for(
    asked: _EvaluationQuestion, arm: Arm, pool: DistractorPool, nearest: Nearest, top_k: int
) -> _ShownDocuments | None:
    """Return what a question is shown under an arm; None where the arm doesn't apply to it."""
    if arm != "retrieved" and not asked.chunk_ids:
        return None
    match arm:
        case "main":
            return _ShownDocuments(asked.chunk_ids, asked.oracle_chunk_ids)
        case "retrieved":
            found = tuple(nearest(asked.question, top_k))
            if not found:
                return None
            same = tuple(chunk for chunk in found if _holds_same_answer(chunk, asked, pool))
            is_known = bool(asked.oracle_chunk_ids)
            answerable = any(chunk in found for chunk in (*asked.oracle_chunk_ids, *same))
            return _ShownDocuments(
                found, (*asked.oracle_chunk_ids, *same), answerable if is_known else asked.answerable
            )
        case "distractors_only":
            others = tuple(chunk for chunk in asked.chunk_ids if chunk not in asked.oracle_chunk_ids)
            return _ShownDocuments(others, asked.oracle_chunk_ids, answerable=False) if others else None
        case "closed_book":
            return _ShownDocuments((), asked.oracle_chunk_ids)


def _holds_same_answer(chunk: str, asked: _EvaluationQuestion, pool: DistractorPool) -> bool:
    """Return whether a chunk other than the oracles contains the answer as they do.

    Such a chunk is a near-duplicate or shares their text, and contains the answer word for word.
    """
    if chunk in asked.oracle_chunk_ids or not any(
        pool.are_near_duplicates(chunk, oracle) for oracle in asked.oracle_chunk_ids
    ):
        return False
    return any(pool.holds(chunk, answer) for answer in asked.golden_answers)


def _build_item(
    asked: _EvaluationQuestion, arm: Arm | RobustnessArm, shown: _ShownDocuments, text_of: Mapping[str, str]
) -> EvaluationItem:
    return EvaluationItem(
        question_id=asked.question_id,
        source=asked.source,
        arm=arm,
        question=asked.question,
        documents=tuple(text_of[chunk] for chunk in shown.chunk_ids),
        document_chunk_ids=shown.chunk_ids,
        oracle_chunk_ids=shown.oracle_chunk_ids,
        golden_answers=asked.golden_answers if shown.answerable else (),
        answerable=shown.answerable,
        kind=asked.kind,
        cluster=asked.cluster,
        language=asked.language,
    )


@dataclass(frozen=True)
class _DistractorPicker:
    """Picks the distractors of a question, for golden questions and rows of the dataset alike.

    `pick` of RAFT rows knows one oracle and one answer; a golden question has several of both.
    """

    pool: DistractorPool
    nearest: Nearest
    settings: DatasetSettings

    def with_oracles(
        self, asked: _EvaluationQuestion, count: int | None = None, kind: DistractorKind | None = None
    ) -> tuple[str, ...]:
        """Return the question's oracles among `count` distractors, by default as in the settings, in no fixed order."""
        count = self.settings.distractors if count is None else count
        picked = list(islice(self._dissimilar_chunks(asked, kind or self.settings.distractor_kind), count))
        shown = {*asked.oracle_chunk_ids, *picked}
        if shown == set(asked.chunk_ids):
            return asked.chunk_ids
        return tuple(sorted(shown, key=lambda chunk: draw(self.settings.seed, "order", asked.question_id, chunk)))

    def _dissimilar_chunks(self, asked: _EvaluationQuestion, kind: DistractorKind) -> Iterator[str]:
        """Yield chunks unlike the oracles and one another of which none contains an accepted answer, each once."""
        taken = list(asked.oracle_chunk_ids)
        for candidate in self._candidates(asked, kind):
            is_known = any(self.pool.are_near_duplicates(candidate, other) for other in taken)
            if not is_known and not any(self.pool.holds(candidate, answer) for answer in asked.golden_answers):
                taken.append(candidate)
                yield candidate

    def _candidates(self, asked: _EvaluationQuestion, kind: DistractorKind) -> Iterator[str]:
        if kind == "hard":
            yield from self.nearest(asked.question, MAX_HARD_CANDIDATES)
        yield from self.pool.random_chunks(self.settings.seed, asked.question_id)
