"""Metrics that a model judges: its prompts, what counts as a score, and how far it agrees with itself.

Names and scale (1 to 5) are those of `azure-ai-evaluation`, so that figures compare; the prompts are our own. Judged
metrics are shown and decide nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from raft_assets.core.identity import draw
from raft_assets.core.tables import Arm, JudgedAnswer, ModelAnswer, Score
from raft_assets.llm.prompts import read_prompt
from raft_assets.llm.requests import JSON_OBJECT, Answer, Request
from raft_assets.pairs.judge import MAX_VERDICT_TOKENS, parse_agreed_object
from raft_assets.settings.domain import JudgingSettings
from raft_assets.settings.endpoints import Endpoint, Role

JUDGED_ARM: Arm = "main"
JUDGED_METRICS = {
    "groundedness": "every claim of the answer stands in the documents shown (judged, 1 to 5)",
    "relevance": "the answer is to what was asked (judged, 1 to 5)",
    "coherence": "its sentences follow from one another (judged, 1 to 5)",
    "fluency": "its language (judged, 1 to 5)",
    "similarity": "it means what the golden answer means (judged, 1 to 5)",
}
SCALE = range(1, 6)
UNREADABLE = "unreadable"  # status of a reply without a score from 1 to 5


class Judgement(BaseModel):
    """What the judge says of an answer."""

    model_config = ConfigDict(frozen=True)

    score: StrictInt = Field(ge=SCALE.start, le=SCALE[-1])
    reason: str = ""


@dataclass(frozen=True)
class Agreement:
    """How far two judgements agree on a metric.

    Of `n` answers that were judged twice, `same` is the share with equal scores, `difference` the mean difference in
    points.
    """

    metric: str
    n: int
    same: float
    difference: float

    @classmethod
    def of(cls, metric: str, differences: Sequence[int]) -> Self:
        """Compute the agreement from the difference of each answer's two scores, in points; at least one."""
        return cls(metric, len(differences), fmean(one == 0 for one in differences), fmean(differences))


def judging_prompts(settings: JudgingSettings) -> dict[str, str]:
    """Return the prompt files of the metrics with their versions."""
    return {metric: read_prompt("raft_assets.evaluation", metric).version for metric in settings.metrics}


def judge_answers(
    answers: Iterable[ModelAnswer],
    settings: JudgingSettings,
    ask: Callable[[Iterable[Request]], Iterable[Answer]],
    documents_of: Callable[[ModelAnswer], Iterable[str]] = lambda _: (),
) -> Iterator[JudgedAnswer]:
    """Yield a row per answer and metric: of the main arm, a stable sample of its questions.

    Some of the questions are judged twice (`sample` 1). A missing answer has no row: it scored 0 elsewhere. A reply
    without a score is a row with a status. `documents_of` returns the paths of what an answer is about.
    """
    plan = list(_plan_judgements(answers, settings))
    requests = (_judge_request(answer, metric, sample).about(documents_of(answer)) for answer, metric, sample in plan)
    for (answer, metric, sample), reply in zip(plan, ask(requests), strict=True):
        assert answer.evaluated != "reference"  # only models are judged
        judgement = parse_judgement(reply.text) if reply.status == "ok" else None
        status = reply.status if reply.status != "ok" else UNREADABLE if judgement is None else "ok"
        yield JudgedAnswer(
            question_id=answer.question_id,
            source=answer.source,
            evaluated=answer.evaluated,
            cluster=answer.cluster,
            metric=metric,
            sample=sample,
            score=judgement.score if judgement else None,
            reason=judgement.reason if judgement else "",
            status=status,
            detail=reply.detail if status != UNREADABLE else "no JSON object with a score from 1 to 5",
            call=reply.key,
        )


def judging_requests(answers: Iterable[ModelAnswer], settings: JudgingSettings) -> Iterator[Request]:
    """Yield the requests of `judge_answers`."""
    return (_judge_request(answer, metric, sample) for answer, metric, sample in _plan_judgements(answers, settings))


def parse_judgement(text: str) -> Judgement | None:
    """Parse the score in a judge's reply, whatever the text around it; None for no score or two that differ.

    Never raises, and guesses nothing from prose or from numbers outside the scale.
    """
    return parse_agreed_object(text, Judgement, by=lambda judgement: judgement.score)


def judged_scores(rows: Iterable[JudgedAnswer]) -> list[Score]:
    """Return the first judgements as scores like any other, on their own scale."""
    return [
        Score(
            question_id=row.question_id,
            source=row.source,
            arm=JUDGED_ARM,
            evaluated=row.evaluated,
            cluster=row.cluster,
            metric=row.metric,
            value=float(row.score),
        )
        for row in rows
        if row.sample == 0 and row.score is not None
    ]


def judge_family_warning(endpoints: Mapping[Role, Endpoint]) -> str:
    """Return a warning if the judge belongs to the teacher's model family, which it would rate higher; else empty."""
    judge, teacher = endpoints.get(Role.JUDGE), endpoints[Role.TEACHER]
    if judge is None or not judge.family or judge.family != teacher.family:
        return ""
    return (
        f"The judge ({judge.base_model}) belongs to the teacher's model family ({teacher.base_model}), and models "
        f"rate answers of their own family higher: set {Role.JUDGE} to a model of another family."
    )


def self_agreement(rows: Iterable[JudgedAnswer]) -> list[Agreement]:
    """Return how far the judge agrees with itself, by metric; nothing for a metric without answers judged twice."""
    scores = {
        (row.metric, row.source, row.question_id, row.evaluated, row.sample): row.score
        for row in rows
        if row.score is not None
    }
    pairs: dict[str, list[int]] = {}
    for (metric, *answer, sample), score in scores.items():
        first = scores.get((metric, *answer, 0)) if sample else None  # type: ignore[arg-type]
        if first is not None:
            pairs.setdefault(metric, []).append(abs(score - first))
    return [Agreement.of(metric, found) for metric in JUDGED_METRICS if (found := pairs.get(metric))]


def _plan_judgements(
    answers: Iterable[ModelAnswer], settings: JudgingSettings
) -> Iterator[tuple[ModelAnswer, str, int]]:
    """Yield which answer is judged by what and how often, question by question, both models side by side."""
    of_question: dict[tuple[str, str], list[ModelAnswer]] = {}
    for answer in answers:
        if answer.arm == JUDGED_ARM and answer.status == "ok":
            of_question.setdefault((answer.source, answer.question_id), []).append(answer)
    chosen = sorted(of_question, key=lambda question: draw(0, "judged", *question))[: settings.max_questions]
    for number, question in enumerate(chosen):
        samples = 2 if number < settings.repeated_questions else 1
        for answer in of_question[question]:
            for metric in settings.metrics:
                yield from ((answer, metric, sample) for sample in range(samples))


def _judge_request(answer: ModelAnswer, metric: str, sample: int) -> Request:
    documents: Sequence[str] = answer.documents if metric == "groundedness" else ()
    golden = answer.golden_answers[0] if answer.golden_answers else ""
    messages = read_prompt("raft_assets.evaluation", metric).messages(
        documents, question=answer.question, answer=answer.answer, golden=golden
    )
    request = Request("chat", {"messages": messages, "max_completion_tokens": MAX_VERDICT_TOKENS}, sample=sample)
    return request.with_parameters(response_format=JSON_OBJECT)
