"""Generation of drafts from chunks: RAFT's two calls, questions about a chunk, then an answer to each, up to a target.

Every chunk is asked about once before any is asked about twice. Without a target, one round asks everything. With a
target, a round asks as many questions as accepted pairs are still missing, so that there are never more than the
target, and the next round continues until it is reached or no chunk has a question left. Calls are stored, so a
generation that stopped continues at no cost.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from raft_assets.core.similarity import words
from raft_assets.core.tables import Chunk
from raft_assets.llm.requests import Answer, Request
from raft_assets.pairs.drafts import DraftFile
from raft_assets.pairs.questions import Draft, parse_questions, plan_questions, question_request, teacher_answer_request
from raft_assets.pairs.structured import (
    parse_structured_questions,
    render_structured_answer,
    structured_answer_request,
    structured_question_request,
)
from raft_assets.settings.domain import QuestionSettings

Ask = Callable[[Iterable[Request]], Iterator[Answer]]
CountAccepted = Callable[[DraftFile], int]


def draft_pairs(
    chunks: Sequence[Chunk],
    settings: QuestionSettings,
    *,
    ask: Ask,
    accepted: CountAccepted,
    instructions: str | None = None,
    structured: bool = False,
    seed: int = 0,
) -> DraftFile:
    """Return the drafts of every chunk, up to `target_pairs` accepted ones.

    `accepted` returns how many of the drafts so far the gates accept. `instructions`: the system prompt of the answers,
    as set for the domain. `structured`: ask for JSON of a schema instead of text. A failed call is a draft with its
    status.
    """
    most = len(chunks) * settings.questions_per_chunk
    plan = first_round_plan(chunks, settings, seed)
    wanted = sum(count for _, count in plan)
    asked_counts = dict[str, int]()
    drafts = DraftFile()
    while True:
        due = [(chunk, count) for chunk, count in plan if count > asked_counts.get(chunk.chunk_id, 0)]
        drafts.extend(
            draft_round(due, settings, ask=ask, instructions=instructions, structured=structured, earlier=drafts)
        )
        asked_counts = {chunk.chunk_id: count for chunk, count in plan}
        missing = 0 if settings.target_pairs is None else settings.target_pairs - accepted(drafts)
        if missing <= 0 or wanted == most:
            return drafts
        wanted = min(most, wanted + missing)
        plan = plan_questions(chunks, settings, wanted, seed)


def first_round_plan(chunks: Sequence[Chunk], settings: QuestionSettings, seed: int = 0) -> list[tuple[Chunk, int]]:
    """Return what the first round asks: about which chunks, in order, how many questions."""
    most = len(chunks) * settings.questions_per_chunk
    return plan_questions(chunks, settings, min(settings.target_pairs or most, most), seed)


def draft_round(
    plan: Sequence[tuple[Chunk, int]],
    settings: QuestionSettings,
    *,
    ask: Ask,
    instructions: str | None = None,
    structured: bool = False,
    earlier: Iterable[Draft] = (),
) -> Iterator[Draft]:
    """Yield drafts of the chunks with as many questions as planned, counting those of `earlier` rounds.

    All questions are asked for before the first is answered.
    """
    known: dict[str, set[str]] = {chunk.chunk_id: set() for chunk, _ in plan}
    for draft in earlier:
        if draft.question and draft.chunk.chunk_id in known:
            known[draft.chunk.chunk_id].add(_comparison_key(draft.question))
    asked = DraftFile()
    question_of = structured_question_request if structured else question_request
    answer_of = structured_answer_request if structured else teacher_answer_request
    for (chunk, count), answer in zip(
        plan, ask(question_of(chunk, count, settings).about([chunk.path]) for chunk, count in plan), strict=True
    ):
        before = known[chunk.chunk_id]
        questions = _questions_in(answer, count, structured=structured)
        new = [question for question in questions if _comparison_key(question) not in before][
            : max(0, count - len(before))
        ]
        asked.extend(_new_draft(chunk, question, answer) for question in new)
        if not questions and not before:
            asked.extend([_failed_draft(chunk, answer)])
    answers = ask(
        answer_of(draft.question, draft.chunk, settings, instructions).about(draft.documents)
        for draft in asked
        if draft.question
    )
    for draft in asked:
        yield _with_answer(draft, next(answers), structured=structured) if draft.question else draft
    next(answers, None)  # to their end, where it shows that nothing was answered


def _questions_in(answer: Answer, count: int, *, structured: bool) -> list[str]:
    """Return the questions of a reply; of a list that was cut off those that are whole."""
    if structured and answer.status in ("ok", "truncated", "looping"):
        return parse_structured_questions(answer.text, count)
    return parse_questions(answer.text, count) if answer.status == "ok" else []


def _comparison_key(question: str) -> str:
    return " ".join(words(question))


def _new_draft(chunk: Chunk, question: str, answer: Answer) -> Draft:
    return Draft(
        chunk=chunk,
        question=question,
        question_call=answer.key,
        answer="",
        answer_call="",
        call_status="ok",
        call_detail="",
    )


def _failed_draft(chunk: Chunk, answer: Answer) -> Draft:
    draft = _new_draft(chunk, "", answer)
    return replace(draft, answer=answer.text, call_status=answer.status, call_detail=answer.detail)


def _with_answer(draft: Draft, answer: Answer, *, structured: bool) -> Draft:
    rendered = render_structured_answer(answer.text, draft.chunk.passage, draft.chunk.language) if structured else None
    return replace(
        draft,
        answer=answer.text if rendered is None else rendered,
        structured=rendered is not None,
        answer_call=answer.key,
        call_status=answer.status,
        call_detail=answer.detail,
    )
