"""What rules without a model answer."""

import pytest

from raft_assets.evaluation.evaluate import evaluate
from raft_assets.evaluation.reference import answer_by_rules, reference_answers
from raft_assets_tests.evaluation.builders import ABSTAINED, DISTRACTOR, ORACLE, RIGHT, WRONG, both, unanswerable

PIER = (
    "The pier at Halden was opened by Marit Lund on 3 May 1907. It stands on 14 piles of oak because iron rusts in the "
    "salt air. Its lamps burn 20 litres of oil a night. The foreman slept in Bergen."
)


@pytest.mark.parametrize(
    ("question", "span"),
    [
        ("When was the pier at Halden opened?", "3 May 1907"),
        ("Who opened the pier at Halden?", "Marit Lund"),
        ("On how many piles of oak does it stand?", "14"),
        ("Where did the foreman sleep?", "Bergen"),
        ("Why does it stand on piles of oak?", "iron rusts in the salt air"),
        ("How much oil do the lamps burn a night?", "20 litres"),
    ],
)
def test_the_best_sentence_gives_the_span_that_the_question_is_after(question: str, span: str) -> None:
    sentence, found = answer_by_rules(question, [DISTRACTOR, PIER])
    assert span in sentence
    assert span in found


def test_nothing_to_read_is_no_answer() -> None:
    assert answer_by_rules("Who?", []) == ("", "")


def test_every_evaluation_has_what_rules_reach_on_the_same_questions() -> None:
    answers = [row for number in range(3) for row in both(f"q{number}", WRONG, RIGHT)]
    answers += unanswerable("u", ABSTAINED, WRONG)
    (first, *_) = reference_answers(answers)
    assert (first.evaluated, first.call, first.documents) == ("reference", "", [ORACLE, DISTRACTOR])
    found = evaluate(answers, [], draws=1000, guard_margin=0.1)
    main = found.summary[(found.summary["arm"] == "main") & (found.summary["metric"] == "token_f1")].iloc[0]
    assert (main["baseline"], main["student"], main["reference"]) == (0, 1, 1)
    assert {answer.evaluated for answer in found.answers} == {"baseline", "student", "reference"}
    only_distractors = found.summary[found.summary["arm"] == "distractors_only"]
    assert only_distractors["reference"].isna().all()
