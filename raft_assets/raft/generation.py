"""From chunks to drafts: the two calls of RAFT, questions of a chunk, then an answer to each."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from raft_assets.calls.requests import Answer, Request
from raft_assets.raft.questions import Draft, answer_request_for, chunks_to_ask, parse_questions, question_request
from raft_assets.raft.tables import Chunk
from raft_assets.settings import QuestionSettings

Ask = Callable[[Iterable[Request]], Iterator[Answer]]


def draft_pairs(
    chunks: Sequence[Chunk],
    settings: QuestionSettings,
    *,
    ask: Ask,
    instructions: str | None = None,
    seed: int = 0,
) -> Iterator[Draft]:
    """Asks questions of every chunk, then an answer to each, in the order of the chunks.

    `instructions`: the system prompt of the answers, as set for the domain. What fails is a draft with its status.
    """
    plan = chunks_to_ask(chunks, settings, seed)
    asked = list[Draft]()
    for (chunk, count), answer in zip(
        plan, ask(question_request(chunk, count, settings) for chunk, count in plan), strict=True
    ):
        questions = parse_questions(answer.text, count) if answer.status == "ok" else []
        asked += [
            Draft(
                chunk=chunk,
                question=question,
                question_call=answer.key,
                answer="",
                answer_call="",
                call_status="ok",
                call_detail="",
            )
            for question in questions or [""]
        ]
        if not questions:
            asked[-1] = _failed(asked[-1], answer)
    answers = ask(
        answer_request_for(draft.question, draft.chunk, settings, instructions) for draft in asked if draft.question
    )
    for draft in asked:
        yield _answered(draft, next(answers)) if draft.question else draft


def _failed(draft: Draft, answer: Answer) -> Draft:
    return Draft(
        chunk=draft.chunk,
        question="",
        question_call=answer.key,
        answer=answer.text,
        answer_call="",
        call_status=answer.status,
        call_detail=answer.detail,
    )


def _answered(draft: Draft, answer: Answer) -> Draft:
    return Draft(
        chunk=draft.chunk,
        question=draft.question,
        question_call=draft.question_call,
        answer=answer.text,
        answer_call=answer.key,
        call_status=answer.status,
        call_detail=answer.detail,
    )
