"""Judged metrics: what the judge is asked, what counts as a score, and what its scores become."""

from collections.abc import Iterable, Iterator

import pytest

from raft_assets.core.tables import JudgedAnswer
from raft_assets.evaluation.judged import (
    JUDGED_METRICS,
    Judgement,
    judge_answers,
    judge_family_warning,
    judged_scores,
    parse_judgement,
    self_agreement,
)
from raft_assets.evaluation.summary import pair_scores
from raft_assets.llm.requests import NO_USAGE, Answer, Request
from raft_assets.settings.domain import JudgingSettings
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets_tests.evaluation.builders import both

GOOD = Judgement(score=4, reason="it does")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"reason": "it does", "score": 4}', GOOD),
        (
            '```json\n{"score": 4, "reason": "it does", "status": "completed"}\n```\nDone.',
            GOOD,
        ),
        ('<think>{"score": 1}</think>{"score": 4, "reason": "it does"}', GOOD),
        ('{"score": 4} or {"score": 5}', None),  # two that differ
        ('{"score": 0}', None),  # outside of the scale
        ('{"score": 6}', None),
        ('{"score": 4.5}', None),
        ('{"score": "4"}', None),
        ('{"score": true}', None),
        ("I give it a 4 out of 5.", None),
        ('{"score": 4, "reas', None),
        ("", None),
    ],
)
def test_only_a_whole_number_from_one_to_five_in_an_object_is_a_score(reply: str, expected: Judgement | None) -> None:
    assert parse_judgement(reply) == expected


ABOUT = {  # words by which a metric's prompt is known
    "groundedness": "grounded in documents",
    "relevance": "how relevant",
    "coherence": "how coherent",
    "fluency": "the language",
    "similarity": "similar in meaning",
}


class Judge:
    """Answers like the engine does: a score by metric, worse at the second asking, `broken` for one metric."""

    def __init__(self, broken: str = "") -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.broken = broken

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            system, user = (message["content"] for message in request.body["messages"])
            metric = next(name for name, words in ABOUT.items() if words in system)
            self.asked.append((metric, user, request.sample))
            said = "I'd rather not." if metric == self.broken else f'{{"score": {4 - request.sample}, "reason": "so"}}'
            yield Answer(f"key {len(self.asked)}", said, "ok", "", NO_USAGE, 0.1, False)


def judged(settings: JudgingSettings, judge: Judge, questions: int = 6) -> list[JudgedAnswer]:
    answers = [
        answer
        for number in range(questions)
        for arm in ("main", "retrieved")
        for answer in both(f"q{number}", "eight hours", "42 tonnes", arm=arm)
    ]
    return list(judge_answers(answers, settings, judge.ask))


def test_both_models_answers_of_the_main_arm_are_judged_by_every_metric() -> None:
    judge = Judge()
    rows = judged(JudgingSettings(max_questions=4, repeated_questions=1), judge)
    assert len(rows) == 2 * 5 * (4 + 1)
    assert {row.evaluated for row in rows} == {"baseline", "student"}
    assert {row.metric for row in rows} == set(JUDGED_METRICS)
    # only groundedness is shown the documents, only similarity the golden answer
    assert {metric for metric, user, _ in judge.asked if "<DOCUMENT>" in user} == {"groundedness"}
    assert {metric for metric, user, _ in judge.asked if "Right answer: 42 tonnes" in user} == {"similarity"}


def test_which_questions_are_judged_does_not_change_when_others_come() -> None:
    settings = JudgingSettings(max_questions=3, repeated_questions=0)
    before = {row.question_id for row in judged(settings, Judge(), questions=6)}
    after = {row.question_id for row in judged(settings, Judge(), questions=8)}
    assert len(before - after) <= 2


def test_a_reply_without_a_score_is_a_row_and_no_score() -> None:
    rows = judged(JudgingSettings(repeated_questions=0), Judge(broken="fluency"))
    lost = [row for row in rows if row.score is None]
    assert {(row.metric, row.status) for row in lost} == {("fluency", "unreadable")}
    assert len(lost) == 12
    assert {score.metric for score in judged_scores(rows)} == set(JUDGED_METRICS) - {"fluency"}


def test_judged_scores_are_paired_like_any_other_and_one_that_is_missing_stops_nothing() -> None:
    rows = judged(JudgingSettings(repeated_questions=2), Judge())
    scores = judged_scores(rows)
    assert {score.value for score in scores} == {4.0}  # the second judgement is for agreement alone
    assert len(pair_scores(scores[1:])) == 6 * 5 - 1


def test_agreement_counts_answers_that_were_judged_twice() -> None:
    found = self_agreement(judged(JudgingSettings(repeated_questions=2), Judge()))
    assert [one.metric for one in found] == list(JUDGED_METRICS)
    assert {(one.n, one.same, one.difference) for one in found} == {(4, 0.0, 1.0)}
    assert self_agreement(judged(JudgingSettings(repeated_questions=0), Judge())) == []


@pytest.mark.parametrize(
    ("judge", "teacher", "kin"),
    [
        ("gpt-4.1", "gpt-4o", True),
        ("o3", "gpt-4o", True),
        ("Meta-Llama-3.1-405B-Instruct", "meta-llama/Llama-3.3-70B", True),
        ("claude-sonnet", "gpt-4o", False),
        ("my-judge", "my-teacher", False),  # names that tell nothing
    ],
)
def test_a_judge_of_the_teachers_family_is_doubted(judge: str, teacher: str, kin: bool) -> None:
    endpoints = {
        Role.JUDGE: Endpoint(Role.JUDGE, "openai", judge),
        Role.TEACHER: Endpoint(Role.TEACHER, "openai", teacher),
    }
    assert bool(judge_family_warning(endpoints)) == kin
