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
        ("What was used up by the lamps every night?", "20 litres of oil"),
    ],
)
def test_the_best_sentence_gives_the_span_that_the_question_is_after(question: str, span: str) -> None:
    sentence, found = answer_by_rules(question, [DISTRACTOR, PIER])
    assert span in sentence
    assert span in found


def test_a_sentence_with_a_span_of_the_type_wins_over_a_likelier_one_without() -> None:
    text = "The pier of oak at Halden was opened with a feast. The pier at Halden is of oak since May 1907."
    assert answer_by_rules("When was the pier of oak at Halden opened?", [text])[1] == "May 1907"


API = (
    "api_name: Gate\n\napi_call: harbour.gate.open(name, slowly=False)\n\napi_arguments.slowly: Whether the gate takes "
    "its time.\n\nfunctionality: Opens the gate of a dock."
)


@pytest.mark.parametrize(
    ("question", "span"),
    [
        ("How do I open the gate of a dock?", "harbour.gate.open(name, slowly=False)"),
        ("Which argument says whether the gate takes its time?", "slowly"),
    ],
)
def test_a_call_is_found_by_what_stands_beside_it(question: str, span: str) -> None:
    assert answer_by_rules(question, [DISTRACTOR, API])[1] == span


@pytest.mark.parametrize(
    ("language", "question", "sentence"),
    [
        ("de", "Weshalb wählte die Architektin Granit?", "Die Architektin wählte Granit, weil Eisen rostet."),
        ("zh", "灯塔建于哪一年？", "灯塔于一八九零年建成。"),
    ],
)
def test_in_another_language_the_sentence_is_found_by_the_stems_of_that_language(
    language: str, question: str, sentence: str
) -> None:
    other = {"de": "Der Hafen hat viele Boote und ein Zollhaus.", "zh": "港口有很多船。"}[language]
    assert answer_by_rules(question, [other, sentence], language)[0] == sentence


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
