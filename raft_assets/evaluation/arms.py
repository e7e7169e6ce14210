"""The arms: what a model is shown with each evaluation question, the prompt made of it, and its answer as a row.

Evaluation rows always have their oracle; arms are made here. Nothing depends on which model is asked, so baseline and
student get the very same prompts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from raft_assets.calls.requests import Answer, Request
from raft_assets.raft.contract import CLOSED_BOOK_INSTRUCTIONS, parse_answer
from raft_assets.raft.distractors import HARD_DEPTH, Pool
from raft_assets.raft.identity import draw
from raft_assets.raft.prompting import answer_request
from raft_assets.raft.questions import question_kind
from raft_assets.raft.tables import Arm, Chunk, Evaluated, GoldenQuestion, ModelAnswer, RaftRow, Source
from raft_assets.settings import DatasetSettings, EvaluationSettings

Nearest = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Item:
    """A question with what a model is shown under one arm; the fields are those of `ModelAnswer`."""

    question_id: str
    source: Source
    arm: Arm
    question: str
    documents: tuple[str, ...]
    document_chunk_ids: tuple[str, ...]
    oracle_chunk_ids: tuple[str, ...]
    golden_answers: tuple[str, ...]
    answerable: bool
    kind: str
    cluster: str


@dataclass(frozen=True)
class _Asked:
    """A question with its documents in the main arm; none where its oracle chunk isn't known."""

    question_id: str
    source: Source
    question: str
    chunk_ids: tuple[str, ...]
    oracle_chunk_ids: tuple[str, ...]
    golden_answers: tuple[str, ...]
    answerable: bool
    kind: str

    @property
    def cluster(self) -> str:
        return self.oracle_chunk_ids[0] if self.oracle_chunk_ids else self.question_id


def items(
    rows: Iterable[RaftRow],
    golden: Sequence[GoldenQuestion],
    chunks: Sequence[Chunk],
    *,
    nearest: Nearest,
    evaluation: EvaluationSettings,
    dataset: DatasetSettings,
) -> list[Item]:
    """Every question under every arm that applies to it, sorted by arm, source and question.

    Golden questions without known evidence, and those that the documents don't answer, are asked in the retrieved arm
    only. `nearest` gives the chunks nearest to a question, nearest first.
    """
    text_of = {chunk.chunk_id: chunk.passage for chunk in chunks}
    pool = Pool(chunks, near_duplicate=dataset.near_duplicate)
    evaluated = _limited((row for row in rows if row.split == "eval"), evaluation.max_rows, dataset.seed)
    asked = [
        *map(_generated, evaluated),
        *(_golden(question, pool, nearest, dataset) for question in golden),
    ]
    made = [
        item
        for question in asked
        for arm in evaluation.arms
        if (item := _item(question, arm, text_of, nearest, evaluation.top_k))
    ]
    return sorted(made, key=lambda item: (item.arm, item.source, item.question_id))


def request(
    item: Item, form: Literal["chat", "completion"], max_tokens: int, instructions: str | None = None
) -> Request:
    """The prompt of an item in the student's format, by the instructions set for the domain."""
    told = CLOSED_BOOK_INSTRUCTIONS if item.arm == "closed_book" else instructions
    return answer_request(item.question, item.documents, form, max_tokens, told)


def model_answer(item: Item, answer: Answer, *, evaluated: Evaluated, model: str) -> ModelAnswer:
    """What a model answered to an item, read by the prompt contract; a call that failed is a row with its status."""
    parsed = parse_answer(answer.text)
    return ModelAnswer(
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
        answer=answer.text,
        final_answer=parsed.final_answer,
        quotes=list(parsed.quotes),
        abstained=parsed.abstained,
        well_formed=parsed.well_formed,
        status=answer.status,
        call=answer.key,
    )


def recall_at_k(items: Iterable[Item] | Iterable[ModelAnswer]) -> float | None:
    """Share of retrieved questions with a known oracle chunk whose documents hold one; None where there are none."""
    known = [item for item in items if item.arm == "retrieved" and item.oracle_chunk_ids]
    return sum(item.answerable for item in known) / len(known) if known else None


def _limited(rows: Iterable[RaftRow], most: int | None, seed: int) -> list[RaftRow]:
    """The same rows in every arm, and the same ones however many others there are."""
    kept = list(rows)
    return kept if most is None else sorted(kept, key=lambda row: draw(seed, "evaluated", row.question_id))[:most]


def _generated(row: RaftRow) -> _Asked:
    return _Asked(
        question_id=row.question_id,
        source="generated",
        question=row.question,
        chunk_ids=tuple(row.document_chunk_ids),
        oracle_chunk_ids=(row.chunk_id,),
        golden_answers=(row.final_answer,),
        answerable=True,
        kind=row.kind,
    )


def _golden(question: GoldenQuestion, pool: Pool, nearest: Nearest, settings: DatasetSettings) -> _Asked:
    oracles = tuple(question.oracle_chunk_ids)
    distractors = _distractors(question, pool, nearest, settings) if oracles else []
    shown = sorted(
        {*oracles, *distractors}, key=lambda chunk: draw(settings.seed, "order", question.question_id, chunk)
    )
    return _Asked(
        question_id=question.question_id,
        source="golden",
        question=question.question,
        chunk_ids=tuple(shown),
        oracle_chunk_ids=oracles,
        golden_answers=tuple(question.answers),
        answerable=question.answerable,
        kind=question_kind(question.question, "prose"),
    )


def _item(asked: _Asked, arm: Arm, text_of: dict[str, str], nearest: Nearest, top_k: int) -> Item | None:
    """The question under an arm, or None where the arm doesn't apply to it."""
    if arm != "retrieved" and not asked.chunk_ids:
        return None
    match arm:
        case "main":
            shown, answerable = asked.chunk_ids, True
        case "retrieved":
            shown = tuple(nearest(asked.question, top_k))
            answerable = (
                any(chunk in shown for chunk in asked.oracle_chunk_ids) if asked.oracle_chunk_ids else asked.answerable
            )
        case "distractors_only":
            shown, answerable = tuple(chunk for chunk in asked.chunk_ids if chunk not in asked.oracle_chunk_ids), False
            if not shown:
                return None
        case "closed_book":
            shown, answerable = (), True
    return Item(
        question_id=asked.question_id,
        source=asked.source,
        arm=arm,
        question=asked.question,
        documents=tuple(text_of[chunk] for chunk in shown),
        document_chunk_ids=shown,
        oracle_chunk_ids=asked.oracle_chunk_ids,
        golden_answers=asked.golden_answers if answerable else (),
        answerable=answerable,
        kind=asked.kind,
        cluster=asked.cluster,
    )


def _distractors(question: GoldenQuestion, pool: Pool, nearest: Nearest, settings: DatasetSettings) -> list[str]:
    """Chunks beside the oracles of a golden question: unlike them and one another, none holds an accepted answer.

    `pick` of RAFT rows knows one oracle and one answer; a golden question has several of both.
    """
    picked: list[str] = []
    for candidate in _candidates(question, pool, nearest, settings):
        if len(picked) == settings.distractors:
            break
        is_known = any(pool.are_alike(candidate, other) for other in (*question.oracle_chunk_ids, *picked))
        if not is_known and not any(pool.holds(candidate, answer) for answer in question.answers):
            picked.append(candidate)
    return picked


def _candidates(question: GoldenQuestion, pool: Pool, nearest: Nearest, settings: DatasetSettings) -> Iterator[str]:
    if settings.distractor_kind == "hard":
        yield from nearest(question.question, HARD_DEPTH)
    yield from pool.at_random(settings.seed, question.question_id)
